//! Fuzzes the entry `otlp_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run("otlp_json", data));
