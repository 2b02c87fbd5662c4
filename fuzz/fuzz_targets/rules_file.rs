#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| purgehook_fuzz::rules_file::run(data));
