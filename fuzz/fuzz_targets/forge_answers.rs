#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| purgehook_fuzz::forge_answers::run(data));
