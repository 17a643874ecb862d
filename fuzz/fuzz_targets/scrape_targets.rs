//! Fuzzes the entry `scrape_targets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::run("scrape_targets", data));
