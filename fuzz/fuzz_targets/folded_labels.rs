//! Fuzzes the entry `folded_labels`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run("folded_labels", data));
