#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| lmfs_fuzz::bodies::block(data));
