//! Fuzzes the entry `exposition`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run("exposition", data));
