//! Fuzzes the reading of a configuration file.
#![no_main]

use tidewatch::config::Config;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if let Ok(config) = Config::from_layers(Some(("fuzz.toml", &text)), [], &[]) {
        // What is shown is read again.
        assert!(Config::from_layers(Some(("shown.toml", &config.to_toml())), [], &[]).is_ok());
    }
});
