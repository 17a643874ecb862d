//! Fuzzes the entry `telegraf_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run("telegraf_json", data));
