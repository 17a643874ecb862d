//! This host's metrics, by OpenTelemetry's semantic names. See [`METRICS`] for the table of all.
//!
//! Linux is read through `/proc` and `/sys` (`linux.rs`), every other system through the sysinfo crate (`portable.rs`), which knows less. A part that cannot be
//! read (no permission, no such file) is left out of that collection and logged once; the others go on.

#[cfg(target_os = "linux")]
mod linux;
pub(in crate::collectors) mod metrics;
mod portable;
mod run;

use schemas::{Kind, Labels, Micros};

pub use metrics::{METRICS, MetricInfo};

use crate::door::{Batcher, PartitionRecord, Place, Reason, TimeUnit};

/// What to collect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostOptions {
    /// The value of `host.name`; `None`: the name of this host.
    pub host_name: Option<String>,
    /// Whether CPU metrics come per logical processor too (label `cpu.logical_number`).
    pub per_cpu: bool,
}

/// One value of one collection.
#[derive(Debug, Clone, PartialEq)]
pub struct HostSample {
    /// Its name: one of [`METRICS`].
    pub metric: &'static str,
    /// Gauge or counter.
    pub kind: Kind,
    /// `host.name` and what the metric adds.
    pub labels: Labels,
    /// The time of the collection, microseconds; the same in all its samples.
    pub time: Micros,
    /// The value, in the metric's unit.
    pub value: f64,
}

/// Reads this host.
#[derive(Debug)]
pub struct HostCollector {
    options: HostOptions,
    host_name: String,
    source: Source,
    complaints: Vec<String>,
}

#[derive(Debug)]
enum Source {
    #[cfg(target_os = "linux")]
    Linux(Box<linux::Reader>),
    Portable(Box<portable::Reader>),
}

impl HostCollector {
    /// A collector that reads this system in the best way there is.
    pub fn new(options: HostOptions) -> Self {
        #[cfg(target_os = "linux")]
        let source = Source::Linux(Box::default());
        #[cfg(not(target_os = "linux"))]
        let source = Source::Portable(Box::default());
        Self::with_source(options, source)
    }

    /// A collector that reads through sysinfo, which works on every system and knows less than [`HostCollector::new`] does on Linux.
    pub fn portable(options: HostOptions) -> Self {
        Self::with_source(options, Source::Portable(Box::default()))
    }

    fn with_source(options: HostOptions, source: Source) -> Self {
        let host_name = options
            .host_name
            .clone()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(own_name);
        HostCollector {
            options,
            host_name,
            source,
            complaints: Vec::new(),
        }
    }

    /// The value of `host.name`.
    pub fn host_name(&self) -> &str {
        &self.host_name
    }

    /// Reads everything once; all samples bear the given time. Utilizations of CPUs need two collections, so the first has none.
    pub fn collect(&mut self, now: Micros) -> Vec<HostSample> {
        let mut sheet = Sheet {
            host_name: &self.host_name,
            time: now,
            samples: Vec::with_capacity(128),
            complaints: Vec::new(),
        };
        match &mut self.source {
            #[cfg(target_os = "linux")]
            Source::Linux(reader) => reader.read(&self.options, &mut sheet),
            Source::Portable(reader) => reader.read(&self.options, &mut sheet),
        }
        let Sheet {
            samples,
            complaints,
            ..
        } = sheet;
        for complaint in complaints {
            if !self.complaints.contains(&complaint) {
                tracing::warn!(complaint, "part of the host cannot be read and is left out");
                self.complaints.push(complaint);
            }
        }
        samples
    }

    /// The same as records for the log, with the number of samples the door refused (labels of unreasonable length).
    fn collect_records(
        &mut self,
        now: Micros,
        door: &mut Batcher,
    ) -> Result<(Vec<PartitionRecord>, u64), schemas::BatchError> {
        for sample in self.collect(now) {
            let ids = door
                .metric(sample.metric)
                .and_then(|metric| Ok((metric, door.label_set(sample.labels)?)));
            match ids {
                Ok((metric, labels)) => {
                    let pushed = door.push(
                        metric,
                        labels,
                        Some(sample.kind),
                        now,
                        TimeUnit::Microseconds,
                        sample.value,
                        Place::Collected,
                    );
                    if let Err(too_many) = pushed {
                        door.reject(1, Place::Collected, Reason::Syntax(too_many.to_string()));
                    }
                }
                Err(reason) => door.reject(1, Place::Collected, reason),
            }
        }
        let (records, rejections) = door.finish()?;
        Ok((records, rejections.samples()))
    }
}

fn own_name() -> String {
    sysinfo::System::host_name()
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// Where a reader writes what it found.
#[derive(Debug)]
struct Sheet<'a> {
    host_name: &'a str,
    time: Micros,
    samples: Vec<HostSample>,
    complaints: Vec<String>,
}

impl Sheet<'_> {
    /// Adds a value of a metric of the table.
    fn add(&mut self, metric: &'static MetricInfo, attributes: &[(&str, &str)], value: f64) {
        if !value.is_finite() {
            return;
        }
        let pairs =
            std::iter::once(("host.name", self.host_name)).chain(attributes.iter().copied());
        match Labels::try_new(pairs) {
            Ok(labels) => self.samples.push(HostSample {
                metric: metric.name,
                kind: metric.kind,
                labels,
                time: self.time,
                value,
            }),
            Err(error) => self.complain(metric.name, &error),
        }
    }

    /// Notes that a part could not be read.
    fn complain(&mut self, what: &str, error: &dyn std::fmt::Display) {
        self.complaints.push(format!("{what}: {error}"));
    }
}

#[cfg(test)]
mod tests;
