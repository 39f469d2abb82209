//! Decoding any bytes as a block: no panic; and encoding them as one: they return.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lmfs_codec::{Codec, Options, Stop};

fuzz_target!(|data: &[u8]| {
    if let Ok(codec) = Codec::new(None, Options::default()) {
        let _ = codec.decode(data, &Stop::new());
        if let Ok(block) = codec.encode(data, &Stop::new()) {
            assert_eq!(
                codec.decode(&block, &Stop::new()).ok().as_deref(),
                Some(data)
            );
        }
    }
});
