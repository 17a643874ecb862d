//! Fuzzes the entry `known_series`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run("known_series", data));
