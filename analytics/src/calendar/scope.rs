//! Whom an event concerns: patterns of the metric's name and of labels.

use schemas::Labels;

use super::error::Complaint;

/// Patterns that one event may name. More is a rule, not a scope.
const PATTERNS_MAX: usize = 100;

/// The series that an event concerns. Empty: all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Scope {
    /// One of them has to match the metric's name, if there are any.
    metrics: Vec<Pattern>,
    /// Every one of them has to match; a label that a series doesn't have matches nothing.
    labels: Vec<(String, Pattern)>,
}

impl Scope {
    pub(super) fn try_new(
        metrics: impl IntoIterator<Item = String>,
        labels: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Complaint> {
        let scope = Scope {
            metrics: metrics.into_iter().map(Pattern).collect(),
            labels: labels
                .into_iter()
                .map(|(key, value)| (key, Pattern(value)))
                .collect(),
        };
        let patterns = scope.metrics.len() + scope.labels.len();
        if patterns > PATTERNS_MAX {
            return Err(Complaint::new(
                format!("{patterns} patterns of metrics and labels"),
                format!("at most {PATTERNS_MAX}"),
                "Use `*`, or several events.",
            ));
        }
        let values = scope.labels.iter().map(|(_, value)| value);
        let empty = scope.metrics.iter().chain(values).any(|p| p.0.is_empty());
        if empty || scope.labels.iter().any(|(key, _)| key.is_empty()) {
            return Err(Complaint::new(
                "an empty pattern of a metric or label",
                "a name, with `*` for any characters",
                "Leave it out to mean all series.",
            ));
        }
        Ok(scope)
    }

    /// Whether a series is concerned.
    pub(super) fn holds(&self, metric: &str, labels: &Labels) -> bool {
        let by_metric =
            self.metrics.is_empty() || self.metrics.iter().any(|pattern| pattern.matches(metric));
        let by_label = |(key, pattern): &(String, Pattern)| {
            labels.get(key).is_some_and(|value| pattern.matches(value))
        };
        by_metric && self.labels.iter().all(by_label)
    }
}

/// A text in which `*` stands for any characters, also none.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(String);

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut p, mut t) = (0, 0);
        // Where the last star was, and the text that it has taken so far ends: only that star needs to take more.
        let mut retry = None;
        while t < text.len() {
            if pattern.get(p) == Some(&b'*') {
                p += 1;
                retry = Some((p, t));
            } else if pattern.get(p) == Some(&text[t]) {
                (p, t) = (p + 1, t + 1);
            } else if let Some((after_star, taken)) = retry {
                (p, t) = (after_star, taken + 1);
                retry = Some((after_star, taken + 1));
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        let cases = [
            ("web-*", "web-12", true),
            ("web-*", "db-1", false),
            ("*", "", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2b3", false),
            ("*-1", "web-1-1", true),
            ("cpu", "cpu", true),
            ("cpu", "cpu2", false),
            ("c*", "ü", false),
            ("*ü*", "grün", true),
        ];
        for (pattern, text, expected) in cases {
            let found = Pattern(pattern.to_owned()).matches(text);
            assert_eq!(found, expected, "{pattern} on {text}");
        }
    }
}
