//! Fuzzes the entry `otlp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run("otlp", data));
