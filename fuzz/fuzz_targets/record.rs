//! Fuzzes the entry `record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run("record", data));
