//! Relabelling: rules that rewrite, keep or drop targets and series by their labels, as Prometheus has them.

use std::collections::BTreeMap;

use regex::Regex;

/// Labels while they are rewritten; one with an empty value is as good as none.
pub(super) type LabelMap = BTreeMap<String, String>;

/// What a rule does with what it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Sets the target label to the replacement; one that comes out empty is removed.
    Replace,
    /// Drops what does not match.
    Keep,
    /// Drops what matches.
    Drop,
    /// Copies each label whose name matches to the name that the replacement makes.
    LabelMap,
    /// Removes each label whose name matches.
    LabelDrop,
    /// Removes each label whose name does not match.
    LabelKeep,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 6] = [
        Action::Replace,
        Action::Keep,
        Action::Drop,
        Action::LabelMap,
        Action::LabelDrop,
        Action::LabelKeep,
    ];

    /// As rules are written.
    pub fn name(self) -> &'static str {
        match self {
            Action::Replace => "replace",
            Action::Keep => "keep",
            Action::Drop => "drop",
            Action::LabelMap => "labelmap",
            Action::LabelDrop => "labeldrop",
            Action::LabelKeep => "labelkeep",
        }
    }
}

/// One rule, with the names and defaults of Prometheus.
#[derive(Debug, Clone)]
pub struct Rule {
    source_labels: Vec<String>,
    separator: String,
    regex: Regex,
    target_label: String,
    replacement: String,
    action: Action,
}

/// What a rule is made of, before it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleText {
    /// Labels whose values are joined and matched; missing ones are empty.
    pub source_labels: Vec<String>,
    /// What joins them.
    pub separator: String,
    /// What the whole joined value, or the whole name of a label, must match.
    pub regex: String,
    /// The label that `replace` sets; may name groups of the expression.
    pub target_label: String,
    /// What it is set to; may name groups of the expression.
    pub replacement: String,
    /// What is done.
    pub action: Action,
}

impl Default for RuleText {
    fn default() -> Self {
        RuleText {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex: "(.*)".to_owned(),
            target_label: String::new(),
            replacement: "$1".to_owned(),
            action: Action::Replace,
        }
    }
}

/// Why a rule can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The expression is none.
    #[error("`{0}` is no regular expression: {1}")]
    Regex(String, String),
    /// A rule that sets a label does not say which.
    #[error("a rule `replace` needs `target_label`, the label that it sets")]
    NoTarget,
    /// A rule that drops by values does not say whose.
    #[error("a rule `{0}` needs `source_labels`, the labels that it looks at")]
    NoSource(&'static str),
}

impl Rule {
    /// Checks a rule. Its expression is anchored at both ends, and `.` matches newlines too.
    ///
    /// # Errors
    /// `RuleError` (bad configuration).
    pub fn try_new(text: RuleText) -> Result<Self, RuleError> {
        match text.action {
            Action::Replace if text.target_label.is_empty() => return Err(RuleError::NoTarget),
            Action::Keep | Action::Drop if text.source_labels.is_empty() => {
                return Err(RuleError::NoSource(text.action.name()));
            }
            _ => {}
        }
        let regex = Regex::new(&format!("^(?s:{})$", text.regex)).map_err(|error| {
            let error = error.to_string();
            let last = error.lines().last().unwrap_or_default();
            let reason = last.trim_start_matches("error: ").to_owned();
            RuleError::Regex(text.regex.clone(), reason)
        })?;
        Ok(Rule {
            source_labels: text.source_labels,
            separator: text.separator,
            regex,
            target_label: text.target_label,
            replacement: text.replacement,
            action: text.action,
        })
    }

    /// Rewrites the labels; false where what they belong to is dropped.
    fn apply(&self, labels: &mut LabelMap) -> bool {
        match self.action {
            Action::Keep => self.regex.is_match(&self.source(labels)),
            Action::Drop => !self.regex.is_match(&self.source(labels)),
            Action::Replace => {
                self.replace(labels);
                true
            }
            Action::LabelMap => {
                let renamed: Vec<(String, String)> = labels
                    .iter()
                    .filter_map(|(name, value)| {
                        let groups = self.regex.captures(name)?;
                        let mut renamed = String::new();
                        groups.expand(&self.replacement, &mut renamed);
                        Some((renamed, value.clone()))
                    })
                    .collect();
                labels.extend(renamed);
                true
            }
            Action::LabelDrop => {
                labels.retain(|name, _| !self.regex.is_match(name));
                true
            }
            Action::LabelKeep => {
                labels.retain(|name, _| self.regex.is_match(name));
                true
            }
        }
    }

    fn source(&self, labels: &LabelMap) -> String {
        let values: Vec<&str> = self
            .source_labels
            .iter()
            .map(|name| labels.get(name).map_or("", String::as_str))
            .collect();
        values.join(&self.separator)
    }

    fn replace(&self, labels: &mut LabelMap) {
        let source = self.source(labels);
        let Some(groups) = self.regex.captures(&source) else {
            return;
        };
        let (mut target, mut value) = (String::new(), String::new());
        groups.expand(&self.target_label, &mut target);
        groups.expand(&self.replacement, &mut value);
        if target.is_empty() {
            return;
        }
        if value.is_empty() {
            labels.remove(&target);
        } else {
            labels.insert(target, value);
        }
    }
}

/// Applies rules in order; false as soon as one drops what the labels belong to.
pub(super) fn apply(rules: &[Rule], labels: &mut LabelMap) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}
