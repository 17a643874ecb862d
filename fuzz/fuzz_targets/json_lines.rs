//! Fuzzes the entry `json_lines`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run("json_lines", data));
