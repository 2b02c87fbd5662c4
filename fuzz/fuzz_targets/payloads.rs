#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| purgehook_fuzz::payloads::run(data));
