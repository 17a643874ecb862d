//! Fuzzes the entry `remote_write_2`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run("remote_write_2", data));
