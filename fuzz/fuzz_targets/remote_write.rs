//! Fuzzes the entry `remote_write`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run("remote_write", data));
