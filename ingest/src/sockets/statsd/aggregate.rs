//! What was gathered of each series since the last tick. Bounded in series, in the values of a set, and in the buckets of a distribution.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use schemas::{Kind, Labels, METRIC_BYTES_MAX, Micros};

use super::decode::{Line, Values};
use super::sketch::Sketch;
use crate::door::{Batcher, Place, Reason, TimeUnit};

/// Different values of a set that are told apart in one interval; further ones are refused. 8 bytes each.
const SET_VALUES_MAX: usize = 100_000;
/// Ticks without a value after which a gauge is forgotten, and `+1` begins at 0 again. An hour of the default interval.
const IDLE_TICKS_MAX: u32 = 360;
/// Quantiles that are told of a distribution, and how.
const QUANTILES: [(f64, &str); 3] = [(0.5, "0.5"), (0.95, "0.95"), (0.99, "0.99")];
/// The longest suffix that a name gets.
const SUFFIX_BYTES_MAX: usize = "_count".len();

/// A series as it was sent. Types do not mix: a counter and a timer of one name are two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    name: Box<str>,
    tags: Labels,
    class: Class,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Class {
    Count,
    Gauge,
    Timing,
    Set,
}

#[derive(Debug)]
enum State {
    Count(f64),
    Gauge {
        value: f64,
        /// Whether it was sent since the last tick.
        is_new: bool,
        idle_ticks: u32,
    },
    Timing(Box<Sketch>),
    Set(HashSet<u64, RandomState>),
}

/// All series that are gathered.
#[derive(Debug)]
pub(super) struct Aggregate {
    series: HashMap<Key, State, RandomState>,
    series_max: usize,
    hasher: RandomState,
}

impl Aggregate {
    pub(super) fn new(series_max: usize) -> Self {
        Aggregate {
            series: HashMap::default(),
            series_max,
            hasher: RandomState::default(),
        }
    }

    /// Takes the values of a line. What its sender has gathered for a time goes straight to the door.
    pub(super) fn add(
        &mut self,
        line: &Line<'_>,
        place: Place,
        door: &mut Batcher,
    ) -> Result<(), Reason> {
        // Checked now, so that the sender's line is told, and nothing is refused at the tick.
        match line.name.len() {
            0 => return Err(Reason::NoMetric),
            bytes if bytes + SUFFIX_BYTES_MAX > METRIC_BYTES_MAX => {
                return Err(Reason::MetricTooLong(bytes));
            }
            _ => {}
        }
        let tags = Labels::try_new(line.tags.iter().copied())?;
        if let Some(time_s) = line.time_s {
            return push_timed(line, tags, time_s, place, door);
        }
        let (class, empty) = match &line.values {
            Values::Count(_) => (Class::Count, State::Count(0.0)),
            Values::Gauge(_) => (
                Class::Gauge,
                State::Gauge {
                    value: 0.0,
                    is_new: false,
                    idle_ticks: 0,
                },
            ),
            Values::Timing(_) => (Class::Timing, State::Timing(Box::default())),
            Values::Set(_) => (Class::Set, State::Set(HashSet::default())),
        };
        let key = Key {
            name: line.name.into(),
            tags,
            class,
        };
        let is_full = self.series.len() >= self.series_max;
        let state = match self.series.entry(key) {
            hashbrown::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hashbrown::hash_map::Entry::Vacant(_) if is_full => {
                return Err(Reason::Syntax(format!(
                    "a series beyond the {} that are gathered at once (setting `receivers.statsd.series_max`)",
                    self.series_max
                )));
            }
            hashbrown::hash_map::Entry::Vacant(entry) => entry.insert(empty),
        };
        match (state, &line.values) {
            (State::Count(sum), Values::Count(values)) => {
                *sum += values.iter().sum::<f64>() * line.weight;
            }
            (
                State::Gauge {
                    value,
                    is_new,
                    idle_ticks,
                },
                Values::Gauge(values),
            ) => {
                for (number, is_change) in values {
                    *value = if *is_change { *value + number } else { *number };
                }
                (*is_new, *idle_ticks) = (true, 0);
            }
            (State::Timing(sketch), Values::Timing(values)) => {
                for value in values {
                    sketch.add(*value, line.weight);
                }
            }
            (State::Set(set), Values::Set(values)) => {
                for value in values {
                    let hash = self.hasher.hash_one(value);
                    if set.len() < SET_VALUES_MAX {
                        set.insert(hash);
                    } else if !set.contains(&hash) {
                        return Err(Reason::Syntax(format!(
                            "more than {SET_VALUES_MAX} different values of a set in one interval"
                        )));
                    }
                }
            }
            // The class is part of the key.
            _ => {}
        }
        Ok(())
    }

    /// Tells what was gathered, as samples at `tick`, and begins anew; gauges keep their value.
    pub(super) fn flush(&mut self, tick: Micros, door: &mut Batcher) {
        self.series.retain(|key, state| {
            let mut teller = Teller { key, tick, door };
            match state {
                State::Count(sum) => teller.tell("", Some(DELTA), *sum),
                State::Set(values) => teller.tell("", None, values.len() as f64),
                State::Timing(sketch) => {
                    teller.tell("_count", Some(DELTA), sketch.count);
                    teller.tell("_sum", Some(DELTA), sketch.sum);
                    teller.tell("_min", None, sketch.min);
                    teller.tell("_max", None, sketch.max);
                    for (share, text) in QUANTILES {
                        teller.tell("", Some(("quantile", text)), sketch.quantile(share));
                    }
                }
                State::Gauge {
                    value,
                    is_new,
                    idle_ticks,
                } => {
                    if std::mem::take(is_new) {
                        teller.tell("", None, *value);
                    }
                    *idle_ticks += 1;
                    return *idle_ticks <= IDLE_TICKS_MAX;
                }
            }
            false
        });
    }
}

const DELTA: (&str, &str) = ("temporality", "delta");

/// Pushes the series of one key.
struct Teller<'a> {
    key: &'a Key,
    tick: Micros,
    door: &'a mut Batcher,
}

impl Teller<'_> {
    fn tell(&mut self, suffix: &str, label: Option<(&str, &str)>, value: f64) {
        let name = format!("{}{suffix}", self.key.name);
        let taken = push(
            &name,
            &self.key.tags,
            label,
            (self.tick, TimeUnit::Microseconds),
            value,
            Place::Collected,
            self.door,
        );
        if let Err(reason) = taken {
            self.door.reject(1, Place::Collected, reason);
        }
    }
}

/// Pushes a sample; `label` stands instead of a tag of the same name.
fn push(
    name: &str,
    tags: &Labels,
    label: Option<(&str, &str)>,
    (time, unit): (i64, TimeUnit),
    value: f64,
    place: Place,
    door: &mut Batcher,
) -> Result<(), Reason> {
    let labels = match label {
        None => tags.clone(),
        Some(label) => {
            let others = tags.iter().filter(|(key, _)| *key != label.0);
            Labels::try_new(others.chain([label]))?
        }
    };
    let labels = door.label_set(labels)?;
    let metric = door.metric(name)?;
    door.push(metric, labels, Some(Kind::Gauge), time, unit, value, place)
        .map_err(|error| Reason::Syntax(error.to_string()))
}

fn push_timed(
    line: &Line<'_>,
    tags: Labels,
    time_s: i64,
    place: Place,
    door: &mut Batcher,
) -> Result<(), Reason> {
    let (label, value) = match &line.values {
        Values::Count(values) => (Some(DELTA), values.iter().sum::<f64>() * line.weight),
        Values::Gauge(values) if values.iter().all(|(_, is_change)| !is_change) => {
            (None, values.last().map_or(0.0, |(value, _)| *value))
        }
        _ => {
            return Err(Reason::Syntax(
                "a time is taken for counts and plain gauges only".into(),
            ));
        }
    };
    let time = (time_s, TimeUnit::Seconds);
    push(line.name, &tags, label, time, value, place, door)
}
