//! What is known of the series of one target: which to keep, under which labels, and which went away. Synchronous; the time is given.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use schemas::{Kind, LABELS_MAX, Labels, LabelsError, Micros};

use super::exposition::{Exposition, Format, Malformed, read_series};
use super::relabel::{LabelMap, apply};
use super::{Job, Target};
use crate::door::{Batcher, Place, Reason, TimeUnit, TooManySamples};

/// The label that names the metric while labels are rewritten.
const NAME_LABEL: &str = "__name__";
/// What a label of an endpoint is called where the target has one of its name.
const EXPORTED: &str = "exported_";
/// The value that says that a series went away: a NaN of these bits, as Prometheus has it.
pub(super) const STALE_MARKER_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The series that a target brought last time.
#[derive(Debug)]
pub(super) struct SeriesBook {
    /// Of this target among all: two may expose the same bytes.
    number: u32,
    known: HashMap<Box<[u8]>, Known, RandomState>,
    /// Number of the last scrape that succeeded, from 1.
    scrape: u64,
    /// The number and the bytes of the series at hand.
    key: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    first_seen: u64,
    last_seen: u64,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The rules drop it.
    Dropped,
    /// It is kept; a marker tells when it is gone.
    Kept,
    /// It brings its own times, so that nobody but its endpoint knows when it ended.
    KeptWithTimes,
}

/// What became of the bytes of a series.
enum Made {
    Series(String, Labels),
    Dropped,
    Refused(Reason),
}

/// What one scrape brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Scraped {
    /// Samples that the endpoint exposed.
    pub(super) exposed: usize,
    /// Samples left by the rules.
    pub(super) kept: usize,
    /// Series that the last scrape did not have.
    pub(super) added: usize,
    /// Exemplars left out.
    pub(super) exemplars: usize,
}

/// Why all of a scrape is given up.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ScrapeError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(
        "more than {0} samples after relabelling (samples_max); drop some by metric_relabel or raise it"
    )]
    TooMany(usize),
    #[error(transparent)]
    Door(#[from] TooManySamples),
}

impl SeriesBook {
    /// A book without series.
    pub(super) fn new(number: u32) -> Self {
        SeriesBook {
            number,
            known: HashMap::default(),
            scrape: 0,
            key: Vec::new(),
        }
    }

    /// Takes all samples of a body; then tells which series are gone since the last scrape.
    ///
    /// # Errors
    /// `ScrapeError`: discard the door's samples and call [`SeriesBook::lose_all`].
    pub(super) fn take(
        &mut self,
        body: &[u8],
        format: Format,
        time: Micros,
        job: &Job,
        target: &Target,
        door: &mut Batcher,
    ) -> Result<Scraped, ScrapeError> {
        let this = self.scrape + 1;
        let mut lines = Exposition::new(body, format);
        let mut scraped = Scraped::default();
        while let Some(line) = lines.next_line()? {
            scraped.exposed += 1;
            let own_time = line.time.filter(|_| job.honor_timestamps);
            let place = Place::Line {
                line: line.number,
                column: 1,
            };
            let mut made = None;
            match self.known.get_mut(line.series) {
                Some(known) => {
                    if known.last_seen < this {
                        scraped.added += usize::from(known.last_seen < self.scrape);
                        known.last_seen = this;
                    }
                    if known.fate == Fate::Dropped {
                        continue;
                    }
                }
                None => {
                    let fate = match make(line.series, job, target) {
                        Ok(Made::Series(metric, labels)) => {
                            made = Some((metric, labels));
                            scraped.added += 1;
                            if own_time.is_some() {
                                Fate::KeptWithTimes
                            } else {
                                Fate::Kept
                            }
                        }
                        Ok(Made::Dropped) => Fate::Dropped,
                        Ok(Made::Refused(reason)) => {
                            door.reject(1, place, reason);
                            continue;
                        }
                        Err(wrong) => return Err(lines.malformed(wrong).into()),
                    };
                    let known = Known {
                        first_seen: this,
                        last_seen: this,
                        fate,
                    };
                    self.known.insert(line.series.into(), known);
                    if fate == Fate::Dropped {
                        continue;
                    }
                }
            }
            scraped.kept += 1;
            if scraped.kept > job.samples_max {
                return Err(ScrapeError::TooMany(job.samples_max));
            }
            let time = own_time.unwrap_or(time);
            let sample = Sample {
                series: line.series,
                kind: line.kind,
                time,
                value: line.value,
            };
            self.push(sample, made, job, target, place, door)?;
        }
        scraped.exemplars = lines.exemplars();
        self.scrape = this;
        let gone = self.known.extract_if(|_, known| known.last_seen < this);
        let gone: Vec<Box<[u8]>> = gone
            .filter(|(_, known)| known.fate == Fate::Kept)
            .map(|(series, _)| series)
            .collect();
        self.mark_stale(&gone, time, job, target, door)?;
        Ok(scraped)
    }

    /// Tells of every series that the last successful scrape had that it is gone.
    ///
    /// # Errors
    /// `TooManySamples` where the door takes no more.
    pub(super) fn lose_all(
        &mut self,
        time: Micros,
        job: &Job,
        target: &Target,
        door: &mut Batcher,
    ) -> Result<(), TooManySamples> {
        let last = self.scrape;
        // What only a scrape that failed brought was never told of.
        let gone: Vec<Box<[u8]>> = std::mem::take(&mut self.known)
            .into_iter()
            .filter(|(_, known)| known.fate == Fate::Kept && known.first_seen <= last)
            .map(|(series, _)| series)
            .collect();
        self.mark_stale(&gone, time, job, target, door)
    }

    fn mark_stale(
        &mut self,
        series: &[Box<[u8]>],
        time: Micros,
        job: &Job,
        target: &Target,
        door: &mut Batcher,
    ) -> Result<(), TooManySamples> {
        for series in series {
            let sample = Sample {
                series,
                kind: None,
                time,
                value: f64::from_bits(STALE_MARKER_BITS),
            };
            self.push(sample, None, job, target, Place::Collected, door)?;
        }
        Ok(())
    }

    /// Gives a sample of a kept series to the door, which remembers series by their bytes; `made`: what they are, where that is known already.
    fn push(
        &mut self,
        sample: Sample<'_>,
        made: Option<(String, Labels)>,
        job: &Job,
        target: &Target,
        place: Place,
        door: &mut Batcher,
    ) -> Result<(), TooManySamples> {
        self.key.clear();
        self.key.extend_from_slice(&self.number.to_be_bytes());
        self.key.extend_from_slice(sample.series);
        let mut metric = String::new();
        let name = &mut metric;
        let series = door.series_by_raw(&self.key, move || {
            let (metric, labels) = match made {
                Some(made) => made,
                None => match make(sample.series, job, target) {
                    Ok(Made::Series(metric, labels)) => (metric, labels),
                    Ok(Made::Refused(reason)) => return Err(reason),
                    // Neither can be of bytes that were kept before.
                    Ok(Made::Dropped) | Err(_) => return Err(Reason::NoMetric),
                },
            };
            *name = metric;
            Ok((name.as_str(), labels))
        });
        match series {
            Ok(series) => door.push(
                series.metric,
                series.labels,
                sample.kind,
                sample.time,
                TimeUnit::Microseconds,
                sample.value,
                place,
            ),
            Err(reason) => {
                door.reject(1, place, reason);
                Ok(())
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Sample<'a> {
    series: &'a [u8],
    kind: Option<Kind>,
    time: Micros,
    value: f64,
}

/// What the bytes of a series become: with the target's labels, through the job's rules.
fn make(series: &[u8], job: &Job, target: &Target) -> Result<Made, (usize, String)> {
    let (metric, pairs) = read_series(series)?;
    if pairs.len() > LABELS_MAX {
        return Ok(Made::Refused(LabelsError::TooMany(pairs.len()).into()));
    }
    let mut labels = LabelMap::new();
    for (name, value) in pairs {
        if labels.contains_key(&*name) {
            return Ok(Made::Refused(
                LabelsError::Duplicate(name.into_owned()).into(),
            ));
        }
        labels.insert(name.into_owned(), value.into_owned());
    }
    for (name, value) in target.labels.iter() {
        if job.honor_labels && labels.contains_key(name) {
            continue;
        }
        let theirs = labels.insert(name.to_owned(), value.to_owned());
        if let Some(theirs) = theirs.filter(|theirs| !theirs.is_empty()) {
            let mut exported = format!("{EXPORTED}{name}");
            while labels.contains_key(&exported) || target.labels.get(&exported).is_some() {
                exported.insert_str(0, EXPORTED);
            }
            labels.insert(exported, theirs);
        }
    }
    labels.insert(NAME_LABEL.to_owned(), metric.into_owned());
    if !apply(&job.metric_relabel, &mut labels) {
        return Ok(Made::Dropped);
    }
    let metric = labels.remove(NAME_LABEL).unwrap_or_default();
    if metric.is_empty() {
        return Ok(Made::Refused(Reason::NoMetric));
    }
    Ok(match Labels::try_new(labels) {
        Ok(labels) => Made::Series(metric, labels),
        Err(error) => Made::Refused(error.into()),
    })
}

/// How a scrape went, as samples of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Report {
    pub(super) is_up: bool,
    pub(super) duration_s: f64,
    pub(super) scraped: Scraped,
}

impl Report {
    /// The names and values of a report.
    fn samples(&self) -> [(&'static str, f64); 5] {
        [
            ("up", f64::from(u8::from(self.is_up))),
            ("scrape_duration_seconds", self.duration_s),
            ("scrape_samples_scraped", self.scraped.exposed as f64),
            (
                "scrape_samples_post_metric_relabeling",
                self.scraped.kept as f64,
            ),
            ("scrape_series_added", self.scraped.added as f64),
        ]
    }

    /// Gives its samples to the door.
    ///
    /// # Errors
    /// `TooManySamples` where the door takes no more.
    pub(super) fn push(
        &self,
        time: Micros,
        target: &Target,
        door: &mut Batcher,
    ) -> Result<(), TooManySamples> {
        push_report(self.samples(), time, target, door)
    }
}

/// Tells that there will be no further report of a target.
///
/// # Errors
/// `TooManySamples` where the door takes no more.
pub(super) fn end_reports(
    time: Micros,
    target: &Target,
    door: &mut Batcher,
) -> Result<(), TooManySamples> {
    let none = Report {
        is_up: false,
        duration_s: 0.0,
        scraped: Scraped::default(),
    };
    let stale = f64::from_bits(STALE_MARKER_BITS);
    push_report(
        none.samples().map(|(name, _)| (name, stale)),
        time,
        target,
        door,
    )
}

fn push_report(
    samples: [(&str, f64); 5],
    time: Micros,
    target: &Target,
    door: &mut Batcher,
) -> Result<(), TooManySamples> {
    for (name, value) in samples {
        let metric = door.metric(name);
        let labels = door.label_set(target.labels.clone());
        match (metric, labels) {
            (Ok(metric), Ok(labels)) => door.push(
                metric,
                labels,
                Some(Kind::Gauge),
                time,
                TimeUnit::Microseconds,
                value,
                Place::Collected,
            )?,
            (Err(reason), _) | (_, Err(reason)) => door.reject(1, Place::Collected, reason),
        }
    }
    Ok(())
}
