//! What was checked and how it is: lines for people, one object for programs. Checks nothing itself.

use schemas::{ErrorCode, HasCode};
use serde::Serialize;

use crate::commands::terminal::{Tone, wrap};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// It works, and should be looked at.
    Warning,
    /// It does not work, or will not for long.
    Failure,
    /// Another failure keeps it from being checked.
    Skipped,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failure => "failure",
            State::Skipped => "skipped",
        }
    }

    fn tone(self) -> Tone {
        match self {
            State::Ok => Tone::Good,
            State::Warning => Tone::Doubtful,
            State::Failure => Tone::Bad,
            State::Skipped => Tone::Faint,
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// What was looked at, stable for programs.
    pub(super) name: &'static str,
    pub(super) state: State,
    /// What was found; of a failure, the cause.
    pub(super) found: String,
    /// The command or setting that changes it. Every warning and failure has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
    /// The code of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<&'static str>,
}

impl Check {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Check {
        Check {
            name,
            state: State::Ok,
            found: found.into(),
            fix: None,
            code: None,
        }
    }

    pub(super) fn warning(
        name: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Check {
        Check {
            state: State::Warning,
            fix: Some(fix.into()),
            ..Check::ok(name, found)
        }
    }

    /// A failure that has a page, which says what to do.
    pub(super) fn failure(
        name: &'static str,
        found: impl Into<String>,
        code: &'static ErrorCode,
    ) -> Check {
        Check {
            state: State::Failure,
            fix: Some(code.fix.to_owned()),
            code: Some(code.id),
            ..Check::ok(name, found)
        }
    }

    /// A failure by an error of a room.
    pub(super) fn failed<E: HasCode + std::fmt::Display>(name: &'static str, error: &E) -> Check {
        Check::failure(name, error.to_string(), error.code())
    }

    pub(super) fn skipped(name: &'static str, why: impl Into<String>) -> Check {
        Check {
            state: State::Skipped,
            ..Check::ok(name, why)
        }
    }

    /// The same with a better fix than the page's.
    pub(super) fn with_fix(self, fix: impl Into<String>) -> Check {
        Check {
            fix: Some(fix.into()),
            ..self
        }
    }
}

/// All checks, in the order in which they are shown.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    ok: bool,
    failures: usize,
    warnings: usize,
    checks: Vec<Check>,
}

impl Report {
    pub(super) fn new(checks: Vec<Check>) -> Report {
        let count = |state| checks.iter().filter(|check| check.state == state).count();
        let failures = count(State::Failure);
        Report {
            version: env!("CARGO_PKG_VERSION"),
            ok: failures == 0,
            failures,
            warnings: count(State::Warning),
            checks,
        }
    }

    pub(super) fn failures(&self) -> usize {
        self.failures
    }

    pub(super) fn json(&self) -> String {
        // Texts and numbers always serialise.
        let json = serde_json::to_string_pretty(self).unwrap_or_default();
        format!("{json}\n")
    }

    /// Aligned lines of at most so many columns.
    pub(super) fn text(&self, columns: usize, colour: bool) -> String {
        const STATE: usize = 9;
        let names = self
            .checks
            .iter()
            .map(|check| check.name.len())
            .max()
            .unwrap_or(0);
        let indent = STATE + names + 2;
        // In a very narrow terminal a word per line is still better than none.
        let width = columns.saturating_sub(indent).max(20);
        let mut text = String::new();
        for check in &self.checks {
            let state = check
                .state
                .tone()
                .paint(&format!("{:<STATE$}", check.state.name()), colour);
            let found = match check.code {
                Some(code) => format!("{code}: {}", check.found),
                None => check.found.clone(),
            };
            let fix = check.fix.as_ref().map(|fix| format!("fix: {fix}"));
            let lines = wrap(&found, width)
                .into_iter()
                .chain(fix.iter().flat_map(|fix| wrap(fix, width)));
            for (number, line) in lines.enumerate() {
                match number {
                    0 => text.push_str(&format!("{state}{:<names$}  {line}\n", check.name)),
                    _ => text.push_str(&format!("{:indent$}{line}\n", "")),
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_codes;

    #[test]
    fn a_report_is_aligned_wrapped_and_counted() {
        let report = Report::new(vec![
            Check::ok("clock", "right"),
            Check::warning("instance", "none runs here at the moment", "tidewatch run"),
            Check::failure("disk space", "full", &error_codes::DISK_SPACE).with_fix("free some"),
            Check::skipped("topics", "no broker"),
        ]);
        assert_eq!(
            report.text(41, false),
            "ok       clock       right\n\
             warning  instance    none runs here at\n\
             \x20                    the moment\n\
             \x20                    fix: tidewatch run\n\
             failure  disk space  TW-DOCTOR-002: full\n\
             \x20                    fix: free some\n\
             skipped  topics      no broker\n"
        );
        assert!(
            report
                .text(41, true)
                .starts_with("\x1b[32mok       \x1b[0mclock")
        );
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(
            (&json["ok"], &json["failures"], &json["warnings"]),
            (&false.into(), &1.into(), &1.into())
        );
        assert_eq!(json["checks"][2]["code"], "TW-DOCTOR-002");
        assert_eq!(json["checks"][0].get("fix"), None);
    }
}
