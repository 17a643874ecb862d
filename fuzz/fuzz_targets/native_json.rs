//! Fuzzes the entry `native_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run("native_json", data));
