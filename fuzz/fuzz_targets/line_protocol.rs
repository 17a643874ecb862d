//! Fuzzes the entry `line_protocol`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run("line_protocol", data));
