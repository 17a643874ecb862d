//! One line of StatsD, taken apart.

use schemas::{LABELS_MAX, LabelsError};

use crate::door::Reason;

/// Values of one line. DogStatsD packs as many as fit into a datagram; each costs work, none is kept.
const VALUES_MAX: usize = 16 * 1024;

/// What a line brings.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) values: Values<'a>,
    /// How many events each value stands for: one over the sampling rate, ≥ 1.
    pub(super) weight: f64,
    pub(super) tags: Vec<(&'a str, &'a str)>,
    /// Seconds since 1970, where the sender has gathered itself.
    pub(super) time_s: Option<i64>,
}

/// The values of a line, by its type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values<'a> {
    Count(Vec<f64>),
    /// Values, and whether each is a change of the last one.
    Gauge(Vec<(f64, bool)>),
    Timing(Vec<f64>),
    Set(Vec<&'a str>),
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

fn numbers(values: &str, name: &str) -> Result<Vec<f64>, Reason> {
    let number = |text: &str| {
        let value = text.trim().parse::<f64>().ok();
        value.filter(|value| value.is_finite()).ok_or_else(|| {
            Reason::Syntax(format!(
                "value `{}` of `{}` is no finite number",
                shortened(text),
                shortened(name)
            ))
        })
    };
    values.split(':').map(number).collect()
}

/// Takes a line apart; `None` for an event or a service check.
pub(super) fn decode(line: &[u8]) -> Result<Option<Line<'_>>, Reason> {
    let text = std::str::from_utf8(line).map_err(|_| Reason::NotUtf8("a line"))?;
    if text.starts_with("_e{") || text.starts_with("_sc|") {
        return Ok(None);
    }
    let malformed = || {
        Reason::Syntax(format!(
            "expected `name:value|type`, found `{}`",
            shortened(text)
        ))
    };
    let (name, rest) = text.split_once(':').ok_or_else(malformed)?;
    let mut sections = rest.split('|');
    let (Some(values), Some(kind)) = (sections.next(), sections.next()) else {
        return Err(malformed());
    };
    if values.split(':').count() > VALUES_MAX {
        return Err(Reason::Syntax(format!(
            "more than {VALUES_MAX} values in one line"
        )));
    }
    let values = match kind {
        "c" => Values::Count(numbers(values, name)?),
        "g" => {
            let is_change = values
                .split(':')
                .map(|text| text.trim().starts_with(['+', '-']));
            let numbers = numbers(values, name)?.into_iter();
            Values::Gauge(numbers.zip(is_change).collect())
        }
        "ms" | "h" | "d" => Values::Timing(numbers(values, name)?),
        "s" => Values::Set(values.split(':').collect()),
        other => {
            return Err(Reason::Syntax(format!(
                "type `{}` of `{}`; expected c, g, ms, h, d or s",
                shortened(other),
                shortened(name)
            )));
        }
    };
    let mut found = Line {
        name,
        values,
        weight: 1.0,
        tags: Vec::new(),
        time_s: None,
    };
    for section in sections {
        if let Some(rate) = section.strip_prefix('@') {
            found.weight = rate
                .parse::<f64>()
                .ok()
                // A rate so small that its inverse is no number is none.
                .filter(|rate| (1e-12..=1.0).contains(rate))
                .map(|rate| 1.0 / rate)
                .ok_or_else(|| {
                    Reason::Syntax(format!(
                        "sampling rate `{}`; expected above 0, up to 1",
                        shortened(rate)
                    ))
                })?;
        } else if let Some(tags) = section.strip_prefix('#') {
            for tag in tags.split(',').filter(|tag| !tag.is_empty()) {
                if found.tags.len() > LABELS_MAX {
                    return Err(LabelsError::TooMany(found.tags.len()).into());
                }
                // A tag without a value is one that is there.
                found
                    .tags
                    .push(tag.split_once(':').unwrap_or((tag, "true")));
            }
        } else if let Some(time) = section.strip_prefix('T') {
            let time = time.parse().map_err(|_| {
                Reason::Syntax(format!(
                    "time `{}` is no number of seconds",
                    shortened(time)
                ))
            })?;
            found.time_s = Some(time);
        }
        // Container ids and whatever comes next say who sent, not what.
    }
    Ok(Some(found))
}
