//! `tidewatch check`: all that is wrong with the settings, and what is valid and yet hardly meant.

use std::fmt::Write;

use crate::config::Config;
use crate::error::CommandError;

/// Tells what is there, on standard output, and the doubts, on standard error. Invalid settings never come here.
pub(crate) fn run(config: &Config) -> Result<(), CommandError> {
    let doubts = config.doubts();
    let mut told = String::new();
    for doubt in &doubts {
        let _ = writeln!(told, "warning: {doubt}");
    }
    eprint!("{told}");
    let warnings = match doubts.len() {
        0 => String::new(),
        1 => "; 1 warning".to_owned(),
        count => format!("; {count} warnings"),
    };
    super::print(&format!("ok: {}{warnings}\n", config.origins()))
}
