//! From rollups to levels: which series tell of a pool (something with a ceiling), which belong together, and what they held over time.
//!
//! Far back a day is enough, of the last two weeks each hour, of the last twelve hours each five minutes: a thousand rows of a series
//! whatever its age. Places (hosts, else services) are asked for a few hundred series at a time, so that memory holds one such group.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use analytics::capacity::ceilings::{Part, Role, level, role};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use futures::StreamExt;
use schemas::time::{DAY, HOUR, MINUTE};
use schemas::{Fault, Micros};

use crate::commands::source::Source;
use crate::error::CommandError;

/// Of how long ago each hour is asked for, and each five minutes; before, each day.
const HOURLY: Micros = 14 * DAY;
const FINE: Micros = 12 * HOUR;
/// How far back days are asked for. Two years: the forecasts' own memory halves in that time.
const DAILY: Micros = 730 * DAY;
/// Series in one question: each brings up to 730 rows to one answer, which may have a million.
const SERIES_MAX: u64 = 500;

/// What is known of a pool over time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pool {
    /// What is used: `disk`, `memory`, …
    pub(super) what: String,
    /// The metrics that told of it, sorted.
    pub(super) metrics: Vec<String>,
    /// What it is called, without what tells parts of it apart.
    pub(super) labels: BTreeMap<String, String>,
    /// In the order of time.
    pub(super) levels: Vec<Level>,
}

/// What it held at the end of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Level {
    pub(super) time: Micros,
    pub(super) used: f64,
    pub(super) ceiling: f64,
    /// The most it held within the window, and the middle of the window.
    pub(super) peak: Option<(Micros, f64)>,
}

/// Everything that was found.
pub(super) struct Gathered<T> {
    /// What was made of each pool.
    pub(super) pools: Vec<T>,
    /// End of the newest window; `None` if there is none.
    pub(super) newest: Option<Micros>,
    /// What the answers lack.
    pub(super) notes: Vec<String>,
}

/// Gathers all pools, and gives each to `assess`.
pub(super) async fn gather<T>(
    source: &Source,
    assess: impl Fn(&Pool) -> Option<T>,
) -> Result<Gathered<T>, CommandError> {
    let mut gathered = Gathered {
        pools: Vec::new(),
        newest: None,
        notes: Vec::new(),
    };
    let mut asking = Asking {
        source,
        notes: &mut gathered.notes,
    };
    let Some((metrics, newest)) = asking.metrics().await? else {
        return Ok(gathered);
    };
    let spans = spans(newest);
    let mut groups = asking.places(&metrics, spans[1].from).await?;
    while let Some(group) = groups.pop() {
        let mut series = Collected::default();
        for span in &spans {
            asking.rows(&metrics, &group, span, &mut series).await?;
        }
        gathered
            .pools
            .extend(series.pools().iter().filter_map(&assess));
    }
    gathered.newest = Some(newest);
    Ok(gathered)
}

/// A stretch of time and the table that tells of it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    table: &'static str,
    width: Micros,
    from: Micros,
    to: Micros,
}

/// Days, hours, five minutes, up to the end of the newest window, without a gap and without a row told twice.
fn spans(newest: Micros) -> [Span; 3] {
    let floor = |time: Micros, width: Micros| time.div_euclid(width) * width;
    let (days, hours) = (floor(newest - HOURLY, DAY), floor(newest - FINE, HOUR));
    let span = |table, width, from, to| Span {
        table,
        width,
        from,
        to,
    };
    [
        span("rollups_1d", DAY, days - DAILY, days),
        span("rollups_1h", HOUR, days, hours),
        span("rollups_5m", 5 * MINUTE, hours, newest),
    ]
}

struct Asking<'a> {
    source: &'a Source,
    notes: &'a mut Vec<String>,
}

/// The name of a place in SQL.
const PLACE: &str = "coalesce(host, service, '')";

impl Asking<'_> {
    /// The metrics that may tell of something with a ceiling, and the end of the newest window.
    async fn metrics(&mut self) -> Result<Option<(Vec<String>, Micros)>, CommandError> {
        let mut metrics = Vec::new();
        let mut newest: Option<Micros> = None;
        // Without a whole hour there may be five minutes.
        for (table, width) in [("rollups_1h", HOUR), ("rollups_5m", 5 * MINUTE)] {
            let question = format!(
                "SELECT metric, CAST(max(time) AS BIGINT) AS newest FROM {table} GROUP BY metric"
            );
            let batches = self.ask(&question).await?;
            for batch in &batches {
                let names = text(batch, "metric")?;
                let times = integer(batch, "newest")?;
                for row in 0..batch.num_rows() {
                    let name = names.as_string::<i32>().value(row);
                    // Whatever its labels say: here only the name is known.
                    if role(name, |_| Some("used")).is_some() {
                        metrics.push(name.to_owned());
                        let end = times.as_primitive::<Int64Type>().value(row) + width;
                        newest = newest.max(Some(end));
                    }
                }
            }
            if !metrics.is_empty() {
                break;
            }
        }
        let Some(mut newest) = newest else {
            return Ok(None);
        };
        let question = format!(
            "SELECT CAST(max(time) AS BIGINT) AS newest FROM rollups_5m WHERE time >= to_timestamp_micros({})",
            newest - HOUR
        );
        for batch in self.ask(&question).await? {
            let times = integer(&batch, "newest")?;
            let times = times.as_primitive::<Int64Type>();
            if !times.is_empty() && times.is_valid(0) {
                newest = newest.max(times.value(0) + 5 * MINUTE);
            }
        }
        Ok(Some((metrics, newest)))
    }

    /// The places that told something since `from`, in groups of not too many series.
    async fn places(
        &mut self,
        metrics: &[String],
        from: Micros,
    ) -> Result<Vec<Vec<String>>, CommandError> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for table in ["rollups_1h", "rollups_5m"] {
            let question = format!(
                "SELECT {PLACE} AS place, count(DISTINCT series_id) AS series FROM {table} \
                 WHERE metric IN ({}) AND time >= to_timestamp_micros({from}) GROUP BY 1",
                list(metrics)
            );
            for batch in self.ask(&question).await? {
                let (names, series) = (text(&batch, "place")?, integer(&batch, "series")?);
                for row in 0..batch.num_rows() {
                    let name = names.as_string::<i32>().value(row).to_owned();
                    let count = series.as_primitive::<Int64Type>().value(row);
                    counts.insert(name, u64::try_from(count).unwrap_or(0));
                }
            }
            if !counts.is_empty() {
                break;
            }
        }
        let mut groups: Vec<Vec<String>> = Vec::new();
        let mut room = 0;
        for (place, series) in counts {
            match groups.last_mut() {
                Some(group) if series <= room => group.push(place),
                _ => {
                    groups.push(vec![place]);
                    room = SERIES_MAX;
                }
            }
            room = room.saturating_sub(series);
        }
        Ok(groups)
    }

    async fn rows(
        &mut self,
        metrics: &[String],
        places: &[String],
        span: &Span,
        into: &mut Collected,
    ) -> Result<(), CommandError> {
        let question = format!(
            "SELECT CAST(time AS BIGINT) AS time, metric, series_id, labels, min, max, last FROM {} \
             WHERE metric IN ({}) AND {PLACE} IN ({}) \
             AND time >= to_timestamp_micros({}) AND time < to_timestamp_micros({})",
            span.table,
            list(metrics),
            list(places),
            span.from,
            span.to
        );
        for batch in self.ask(&question).await? {
            into.take(&batch, span.width)?;
        }
        Ok(())
    }

    async fn ask(&mut self, question: &str) -> Result<Vec<RecordBatch>, CommandError> {
        let mut rows = self.source.rows(question).await?;
        if let Some(note) = rows.note.take()
            && !self.notes.contains(&note)
        {
            self.notes.push(note);
        }
        let mut batches = Vec::new();
        while let Some(batch) = rows.batches.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

/// Texts as a list in SQL.
fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts
        .iter()
        .map(|text| format!("'{}'", text.replace('\'', "''")))
        .collect();
    quoted.join(", ")
}

fn column(
    batch: &RecordBatch,
    name: &str,
    wanted: &DataType,
) -> Result<Arc<dyn Array>, CommandError> {
    let found = batch.column_by_name(name).ok_or_else(|| lacks(name))?;
    cast(found, wanted).map_err(|_| lacks(name))
}

fn lacks(name: &str) -> CommandError {
    CommandError::Failed {
        message: format!(
            "report: the answer lacks the column `{name}`, or it is of another type; is the instance of another version?"
        ),
        fault: Fault::Bug,
    }
}

fn text(batch: &RecordBatch, name: &str) -> Result<Arc<dyn Array>, CommandError> {
    column(batch, name, &DataType::Utf8)
}

fn integer(batch: &RecordBatch, name: &str) -> Result<Arc<dyn Array>, CommandError> {
    column(batch, name, &DataType::Int64)
}

/// What is used, and the labels of a pool.
type Key = (String, BTreeMap<String, String>);

/// What the parts of a pool were in one window.
#[derive(Debug, Default)]
struct Window {
    width: Micros,
    last: Vec<(Part, f64)>,
    /// The same where most was used.
    peak: Vec<(Part, f64)>,
}

#[derive(Debug, Default)]
struct Kept {
    metrics: Vec<String>,
    /// By the end of the window.
    windows: BTreeMap<Micros, Window>,
}

/// Rows, by what they tell of.
#[derive(Debug, Default)]
struct Collected {
    /// Of each series what it tells; `None` if nothing.
    series: HashMap<String, Option<(Key, Part)>>,
    kept: BTreeMap<Key, Kept>,
}

impl Collected {
    fn take(&mut self, batch: &RecordBatch, width: Micros) -> Result<(), CommandError> {
        let (times, metrics, ids) = (
            integer(batch, "time")?,
            text(batch, "metric")?,
            text(batch, "series_id")?,
        );
        let numbers = ["min", "max", "last"].map(|name| column(batch, name, &DataType::Float64));
        let [low, high, last] = numbers;
        let (low, high, last) = (low?, high?, last?);
        let number = |array: &Arc<dyn Array>, row| array.as_primitive::<Float64Type>().value(row);
        for row in 0..batch.num_rows() {
            let id = ids.as_string::<i32>().value(row);
            if !self.series.contains_key(id) {
                let metric = metrics.as_string::<i32>().value(row);
                let told = told(metric, labels(batch, row)?);
                if let Some((key, _)) = &told {
                    let kept = self.kept.entry(key.clone()).or_default();
                    if !kept.metrics.iter().any(|known| known == metric) {
                        kept.metrics.push(metric.to_owned());
                    }
                }
                self.series.insert(id.to_owned(), told);
            }
            let Some(Some((key, part))) = self.series.get(id) else {
                continue;
            };
            let Some(kept) = self.kept.get_mut(key) else {
                continue;
            };
            let end = times.as_primitive::<Int64Type>().value(row) + width;
            let window = kept.windows.entry(end).or_default();
            window.width = width;
            window.last.push((*part, number(&last, row)));
            let most_used = match part {
                Part::Free => number(&low, row),
                Part::Ceiling | Part::Since | Part::Until => number(&last, row),
                Part::Used | Part::UsedToo | Part::Ratio | Part::Percent => number(&high, row),
            };
            window.peak.push((*part, most_used));
        }
        Ok(())
    }

    fn pools(self) -> Vec<Pool> {
        let pool = |((what, labels), mut kept): (Key, Kept)| {
            let mut levels = Vec::with_capacity(kept.windows.len());
            for (end, window) in kept.windows {
                // The windows end between two samples: the last one was before.
                let time = end - 1;
                let Some((used, ceiling)) = level(time as f64 / 1e6, &window.last) else {
                    continue;
                };
                let middle = end - window.width / 2;
                let peak = level(middle as f64 / 1e6, &window.peak)
                    .filter(|(peak, _)| window.width >= HOUR && *peak > used)
                    .map(|(peak, _)| (middle, peak));
                levels.push(Level {
                    time,
                    used,
                    ceiling,
                    peak,
                });
            }
            kept.metrics.sort();
            Pool {
                what,
                metrics: kept.metrics,
                labels,
                levels,
            }
        };
        self.kept
            .into_iter()
            .map(pool)
            .filter(|pool| !pool.levels.is_empty())
            .collect()
    }
}

/// What a series tells, and of which pool.
fn told(metric: &str, mut labels: BTreeMap<String, String>) -> Option<(Key, Part)> {
    let Role { pool, part, inner } = role(metric, |key| labels.get(key).map(String::as_str))?;
    labels.retain(|key, _| !inner.contains(&key.as_str()));
    Some(((pool, labels), part))
}

fn labels(batch: &RecordBatch, row: usize) -> Result<BTreeMap<String, String>, CommandError> {
    let map = batch
        .column_by_name("labels")
        .and_then(|column| column.as_map_opt())
        .ok_or_else(|| lacks("labels"))?;
    let entries = map.value(row);
    let texts =
        |column: &Arc<dyn Array>| cast(column, &DataType::Utf8).map_err(|_| lacks("labels"));
    let (keys, values) = (texts(entries.column(0))?, texts(entries.column(1))?);
    let (keys, values) = (keys.as_string::<i32>(), values.as_string::<i32>());
    Ok((0..keys.len())
        .map(|i| {
            let value = if values.is_null(i) {
                ""
            } else {
                values.value(i)
            };
            (keys.value(i).to_owned(), value.to_owned())
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_follow_each_other_without_a_gap() {
        let newest = 20_000 * DAY + 17 * HOUR + 25 * MINUTE;
        let [days, hours, fine] = spans(newest);
        assert_eq!(
            (days.to, hours.to, fine.to),
            (hours.from, fine.from, newest)
        );
        for span in [days, hours, fine] {
            assert!(span.from < span.to);
            assert_eq!(
                (span.from % span.width, span.to % span.width),
                (0, 0),
                "{span:?}"
            );
        }
    }

    #[test]
    fn what_is_quoted_stays_a_text() {
        assert_eq!(
            list(&["a'; --".to_owned(), "b".to_owned()]),
            "'a''; --', 'b'"
        );
    }

    #[test]
    fn parts_of_one_place_come_together_and_places_stay_apart() {
        let told = |metric: &str, state: &str, mount: &str| {
            let labels = [("system.filesystem.state", state), ("mountpoint", mount)];
            let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
            told(metric, labels.into()).map(|(key, _)| key)
        };
        let used = told("system.filesystem.usage", "used", "/");
        assert_eq!(used, told("system.filesystem.usage", "free", "/"));
        assert_ne!(used, told("system.filesystem.usage", "used", "/data"));
        assert_eq!(told("system.cpu.time", "used", "/"), None);
    }
}
