//! Reading any bytes as a container, strictly and with recovery: no panic, no memory beyond what the input pays for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lmfs_codec::stream::{Decoder, StreamOptions};
use lmfs_codec::{Codec, Options};

fuzz_target!(|data: &[u8]| {
    for recover in [false, true] {
        let mut options = StreamOptions::default();
        (options.threads, options.recover) = (1, recover);
        let codec_of = |_: &_| Codec::new(None, Options::default());
        let mut decoder = Decoder::new(data, codec_of, options);
        while let Ok(Some(_)) = decoder.next_chunk() {}
    }
});
