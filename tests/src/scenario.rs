//! Scenarios as text: records sent at times of the log clock, checkpoints and crashes in between, and what the archive must then hold.
//!
//! ```text
//! at 0s                                   the log clock of what follows, from 2026-01-01T00:00:00Z
//! send cpu{host=a} 0s:1 3s:3 | mem{host=a} 0s:7     one record; `p1 cpu{…}` names a partition other than 0; `nan`, `inf`, `-0` are values
//! future 3d                               samples may be so far ahead of the log clock; 10 min where nothing is said
//! tick 150s                               a record without samples at that log clock, to partition 0
//! garbage                                 a record that is no batch
//! checkpoint                              everything so far becomes final
//! compact                                 small files of the archive are merged
//! crash                                   the pipeline ends as by a power switch and starts again
//! expect sample cpu{host=a} 3s = 3
//! expect samples 2                        rows of `samples` in all
//! expect rollup 10s cpu{host=a} 0s count=2 sum=4 revision=0
//! expect no rollup 1m cpu{host=a} 0s
//! expect counts accepted=2 duplicate=0    summed over the chain; what is not named is not checked
//! expect anomalies 0                   likewise forecasts, forecast_scores
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Record, TopicSpec};
use bytes::Bytes;
use pipeline::{CheckpointPolicy, Phase, Pipeline, PipelineOptions};
use processors::ProcessingConfig;
use schemas::{
    BatchBuilder, Counts, Kind, Labels, Micros, Resolution, SampleBatch, SeriesId, Table, Topics,
    topics,
};
use sinks::aggregates::{AggregateStore, Retention};
use sinks::compaction::CompactionPolicy;
use sinks::{Archive, ArchivedRollup, ArchivedSample, Wanted};

/// 2026-01-01T00:00:00Z in microseconds.
const BASE: Micros = 1_767_225_600_000_000;
/// Partitions of a scenario's topic.
const PARTITIONS: u32 = 2;

/// Where and how a scenario runs.
pub struct Stage {
    /// The log. Its topics are created per run, with supplied append times.
    pub bus: Arc<dyn Bus>,
    /// A directory of the test's own.
    pub directory: std::path::PathBuf,
    /// Distinguishes runs that share a log.
    pub run: String,
    /// Commit after so many samples; `usize::MAX`: only where the scenario says `checkpoint`, and at the end.
    pub commit_samples: usize,
}

/// A step of a scenario.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Send {
        partition: u32,
        at: Micros,
        value: Vec<u8>,
    },
    Tick {
        at: Micros,
    },
    Garbage {
        at: Micros,
    },
    Checkpoint,
    Compact,
    Crash,
}

/// A parsed scenario.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    /// How far ahead of the log clock samples may be, where it is not the default.
    future_max: Option<Micros>,
    steps: Vec<Step>,
    expectations: Vec<String>,
}

impl Scenario {
    /// Parses the text.
    ///
    /// # Panics
    /// On a line that is no step and no expectation.
    pub fn parse(text: &str) -> Self {
        let mut scenario = Scenario::default();
        let mut at = 0;
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "at" => at = micros(rest),
                "future" => scenario.future_max = Some(micros(rest)),
                "send" => {
                    let (partition, rest) =
                        rest.strip_prefix("p1 ").map_or((0, rest), |rest| (1, rest));
                    scenario.steps.push(Step::Send {
                        partition,
                        at,
                        value: batch(rest),
                    });
                }
                "tick" => {
                    at = micros(rest);
                    scenario.steps.push(Step::Tick { at });
                }
                "garbage" => scenario.steps.push(Step::Garbage { at }),
                "checkpoint" => scenario.steps.push(Step::Checkpoint),
                "compact" => scenario.steps.push(Step::Compact),
                "crash" => scenario.steps.push(Step::Crash),
                "expect" => scenario.expectations.push(rest.to_owned()),
                _ => panic!(
                    "scenario line `{line}`: expected at, future, send, tick, garbage, checkpoint, compact, crash or expect"
                ),
            }
        }
        scenario
    }

    /// How many places there are for a crash: after each step.
    pub fn boundaries(&self) -> usize {
        self.steps.len()
    }

    /// The scenario with a crash after some steps.
    #[must_use]
    pub fn crashing_after(&self, crashes: impl Fn(usize) -> bool) -> Self {
        let mut steps = Vec::new();
        for (i, step) in self.steps.iter().enumerate() {
            steps.push(step.clone());
            if crashes(i) {
                steps.push(Step::Crash);
            }
        }
        Scenario {
            steps,
            future_max: self.future_max,
            expectations: self.expectations.clone(),
        }
    }

    /// Every series that is sent.
    fn series(&self) -> Wanted {
        let mut series = HashMap::new();
        for step in &self.steps {
            let Step::Send { value, .. } = step else {
                continue;
            };
            let batch = SampleBatch::decode(&Bytes::copy_from_slice(value))
                .expect("what was encoded decodes");
            for (metric, labels) in batch.metric_keys().iter().zip(batch.label_keys()) {
                let id = SeriesId::of(
                    &batch.metrics()[*metric as usize],
                    &batch.label_sets()[*labels as usize],
                );
                series.insert(id, (Micros::MIN, Micros::MAX));
            }
        }
        Wanted { series }
    }

    /// Runs it and checks each expectation.
    ///
    /// # Panics
    /// If an expectation is not met, with the expectation and what there is.
    pub async fn run(&self, stage: &Stage) {
        let topics = Topics::new(&format!("scenario-{}", stage.run));
        let spec = |name: String, partitions| TopicSpec {
            name,
            partitions,
            retention_ms: -1,
            log_append_time: false,
        };
        let specs = [
            spec(topics.samples(), PARTITIONS),
            spec(topics.anomalies(), 1),
            spec(topics.forecasts(), 1),
            spec(topics.dead_letters(), 1),
        ];
        stage
            .bus
            .create_topics(&specs)
            .await
            .expect("topics can be created");
        let url = format!("file://{}", stage.directory.join("archive").display());
        let archive = Archive::open(&url, &BTreeMap::new()).expect("the archive can be opened");
        let mut incarnation = 0;
        let mut running = Some(
            self.start(stage, &topics, &archive, incarnation, false)
                .await,
        );
        for step in &self.steps {
            match step {
                Step::Send {
                    partition,
                    at,
                    value,
                } => {
                    append(
                        stage,
                        &topics,
                        *partition,
                        *at,
                        value.clone(),
                        topics::FORMAT_BATCH,
                    )
                    .await
                }
                Step::Tick { at } => {
                    append(stage, &topics, 0, *at, Vec::new(), topics::FORMAT_TICK).await
                }
                Step::Garbage { at } => {
                    append(
                        stage,
                        &topics,
                        0,
                        *at,
                        b"no batch at all".to_vec(),
                        topics::FORMAT_BATCH,
                    )
                    .await
                }
                Step::Checkpoint | Step::Compact | Step::Crash => {
                    if let Some(pipeline) = running.take() {
                        if *step == Step::Crash {
                            drop(pipeline);
                        } else {
                            caught_up(stage, &topics, &pipeline).await;
                            pipeline.shutdown().await;
                        }
                    }
                    if *step == Step::Compact {
                        incarnation += 1;
                        let eager = self
                            .start(stage, &topics, &archive, incarnation, true)
                            .await;
                        compacted(stage, &eager).await;
                        eager.shutdown().await;
                    }
                    incarnation += 1;
                    running = Some(
                        self.start(stage, &topics, &archive, incarnation, false)
                            .await,
                    );
                }
            }
        }
        if let Some(pipeline) = running {
            caught_up(stage, &topics, &pipeline).await;
            pipeline.shutdown().await;
        }
        let found = Found::read(&archive, &topics, self.series()).await;
        for (topic, archived) in [
            (topics.anomalies(), found.anomalies),
            (topics.forecasts(), found.forecasts),
        ] {
            let events = published_events(stage, &topic).await;
            assert_eq!(
                events.len() as u64,
                archived,
                "C3, run {}: as many different events on {topic} as the archive holds: {events:?}",
                stage.run
            );
        }
        for expectation in &self.expectations {
            found.check(expectation, &stage.run);
        }
        assert!(
            found.counts.balances(),
            "C4, run {}: {:?}",
            stage.run,
            found.counts
        );
        assert_eq!(
            found.samples.len() as u64,
            found.counts.accepted - found.counts.replaced,
            "C4, run {}: {:?}",
            stage.run,
            found.counts
        );
    }

    async fn start(
        &self,
        stage: &Stage,
        topics: &Topics,
        archive: &Archive,
        incarnation: u32,
        compacts: bool,
    ) -> Pipeline {
        let aggregates = AggregateStore::open(
            &stage.directory.join(format!("aggregates-{incarnation}")),
            Retention::default(),
        );
        let defaults = ProcessingConfig::default();
        let options = PipelineOptions {
            bus: Arc::clone(&stage.bus),
            topics: topics.clone(),
            // A group of its own each time: the group that a crash left would keep its dead member for a session.
            group: format!("{}-{incarnation}", stage.run),
            owner: format!("scenario {incarnation}"),
            archive: archive.clone(),
            aggregates: Arc::new(aggregates.expect("the aggregate store can be opened")),
            archived_rollups: Resolution::ALL.to_vec(),
            processing: ProcessingConfig {
                future_max: self.future_max.unwrap_or(defaults.future_max),
                ..defaults
            },
            checkpoint: CheckpointPolicy {
                interval: Duration::from_secs(3600),
                samples_max: stage.commit_samples,
                compaction_interval: if compacts {
                    Duration::from_millis(1)
                } else {
                    Duration::from_secs(3600)
                },
                ..CheckpointPolicy::default()
            },
            compaction: CompactionPolicy {
                files_max: 2,
                ..CompactionPolicy::default()
            },
            rebuild_damaged_states: false,
            tick_interval: Duration::from_secs(3600),
        };
        Pipeline::start(options).await.expect("the pipeline starts")
    }
}

async fn append(
    stage: &Stage,
    topics: &Topics,
    partition: u32,
    at: Micros,
    value: Vec<u8>,
    format: &'static [u8],
) {
    let headers = vec![(topics::HEADER_FORMAT.into(), Bytes::from_static(format))];
    let record = Record {
        value: value.into(),
        headers,
        append_time_ms: Some((BASE + at) / 1000),
        ..Record::default()
    };
    stage
        .bus
        .append(&topics.samples(), partition, vec![record])
        .await
        .expect("a record can be appended");
}

/// Waits until files were merged.
async fn compacted(stage: &Stage, pipeline: &Pipeline) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while pipeline
        .status()
        .iter()
        .all(|status| status.compactions == 0)
    {
        assert!(
            tokio::time::Instant::now() < deadline,
            "run {}: nothing was merged: {:?}",
            stage.run,
            pipeline.status()
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The events on a topic by their id. One that was sent again must be the same, byte for byte.
async fn published_events(stage: &Stage, topic: &str) -> HashMap<Bytes, Bytes> {
    let retained = stage.bus.retained(topic, 0).await.expect("the log answers");
    let mut events: HashMap<Bytes, Bytes> = HashMap::new();
    let mut next = retained.start;
    let mut reader = stage
        .bus
        .reader(topic, 0, next)
        .await
        .expect("the topic can be read");
    while next < retained.end {
        for record in reader.next(1 << 20).await.expect("the topic can be read") {
            next = record.offset.next();
            let id = record.header("ce_id").expect("an event has an id").clone();
            let before = events.insert(id, record.value.clone());
            assert!(
                before.is_none_or(|before| before == record.value),
                "C3, run {}: an event was sent again with other contents",
                stage.run
            );
        }
    }
    events
}

/// Waits until every record is stepped over.
async fn caught_up(stage: &Stage, topics: &Topics, pipeline: &Pipeline) {
    let mut ends = HashMap::new();
    for partition in 0..PARTITIONS {
        ends.insert(
            partition,
            stage
                .bus
                .retained(&topics.samples(), partition)
                .await
                .expect("the log answers")
                .end
                .0,
        );
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let status = pipeline.status();
        if let Some(stopped) = status
            .iter()
            .find(|status| matches!(status.phase, Phase::Stopped(_) | Phase::Fenced))
        {
            panic!("run {}: a partition stopped: {stopped:?}", stage.run);
        }
        let done = status.iter().filter(|status| {
            ends.get(&status.partition)
                .is_some_and(|end| status.next_offset >= *end)
                && status.phase == Phase::Running
        });
        if done.count() == ends.len() {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "run {}: not caught up: {status:?}",
            stage.run
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// `12s`, `-3s`, `2h`, `1d`, `90m` from [`BASE`], microseconds.
fn micros(text: &str) -> Micros {
    let (number, unit) = text.trim().split_at(text.trim().len() - 1);
    let factor = match unit {
        "s" => schemas::time::SECOND,
        "m" => schemas::time::MINUTE,
        "h" => schemas::time::HOUR,
        "d" => schemas::time::DAY,
        _ => panic!("time `{text}`: expected a number and s, m, h or d"),
    };
    number
        .parse::<Micros>()
        .unwrap_or_else(|_| panic!("time `{text}`"))
        * factor
}

/// A number; `none` stands for a rate that is not there.
fn value(text: &str) -> f64 {
    if text == "none" {
        return f64::NAN;
    }
    text.parse().unwrap_or_else(|_| panic!("value `{text}`"))
}

/// `cpu{host=a,core=1}`.
fn series(text: &str) -> (String, Labels) {
    let (metric, labels) = text.split_once('{').unwrap_or((text, "}"));
    let labels = labels
        .trim_end_matches('}')
        .split(',')
        .filter(|pair| !pair.is_empty());
    let labels = labels.map(|pair| {
        pair.split_once('=')
            .unwrap_or_else(|| panic!("label `{pair}`"))
    });
    (
        metric.to_owned(),
        Labels::try_new(labels).expect("valid labels"),
    )
}

fn id(text: &str) -> SeriesId {
    let (metric, labels) = series(text);
    SeriesId::of(&metric, &labels)
}

fn batch(text: &str) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for part in text.split(" | ") {
        let mut words = part.split_whitespace();
        let (name, labels) = series(words.next().expect("a series"));
        let kind = if name.ends_with("_total") {
            Kind::Counter
        } else {
            Kind::Gauge
        };
        let (metric, set) = (builder.metric(&name), builder.label_set(&labels));
        for sample in words {
            let (time, number) = sample
                .split_once(':')
                .unwrap_or_else(|| panic!("sample `{sample}`: expected TIME:VALUE"));
            builder.push(metric, set, kind, BASE + micros(time), value(number));
        }
    }
    builder
        .finish()
        .expect("a valid batch")
        .encode()
        .expect("a batch encodes")
}

/// What the archive holds after a run.
struct Found {
    samples: HashMap<(SeriesId, Micros), f64>,
    rollups: HashMap<(Resolution, SeriesId, Micros), ArchivedRollup>,
    anomalies: u64,
    forecasts: u64,
    forecast_scores: u64,
    counts: Counts,
}

impl Found {
    async fn read(archive: &Archive, topics: &Topics, wanted: Wanted) -> Self {
        let mut found = Found {
            samples: HashMap::new(),
            rollups: HashMap::new(),
            anomalies: 0,
            forecasts: 0,
            forecast_scores: 0,
            counts: Counts::default(),
        };
        for partition in 0..PARTITIONS {
            let Some(chain) = sinks::load_chain(archive, &topics.samples(), partition)
                .await
                .expect("the chain is sound")
            else {
                continue;
            };
            for link in sinks::read_links(archive, &topics.samples(), partition, 0..u64::MAX)
                .await
                .expect("the links are sound")
            {
                found.counts.add(&link.counts);
            }
            let of = |table: Table| {
                chain
                    .files
                    .iter()
                    .filter(|file| file.table == table)
                    .cloned()
                    .collect::<Vec<_>>()
            };
            for ArchivedSample {
                series,
                time,
                value,
                ..
            } in archive
                .read_samples(&of(Table::Samples), &wanted)
                .await
                .expect("readable")
            {
                assert!(
                    found.samples.insert((series, time), value).is_none(),
                    "INV-ONCE: sample {series} at {time} stands twice in the archive"
                );
            }
            for resolution in Resolution::ALL {
                for row in archive
                    .read_rollups(&of(Table::Rollups(resolution)), &wanted)
                    .await
                    .expect("readable")
                {
                    let key = (resolution, row.series, row.start);
                    assert!(
                        found.rollups.insert(key, row).is_none(),
                        "INV-SEAL: rollup {key:?} stands twice in the archive"
                    );
                }
            }
            let rows = |table| of(table).iter().map(|file| file.rows).sum::<u64>();
            found.anomalies += rows(Table::Anomalies);
            found.forecasts += rows(Table::Forecasts);
            found.forecast_scores += rows(Table::ForecastScores);
        }
        found
    }

    fn check(&self, expectation: &str, run: &str) {
        let words: Vec<&str> = expectation.split_whitespace().collect();
        match words.as_slice() {
            ["samples", count] => assert_eq!(
                self.samples.len().to_string(),
                *count,
                "run {run}: expect {expectation}; there are {:?}",
                self.samples
            ),
            [
                table @ ("anomalies" | "forecasts" | "forecast_scores"),
                count,
            ] => {
                let rows = match *table {
                    "anomalies" => self.anomalies,
                    "forecasts" => self.forecasts,
                    _ => self.forecast_scores,
                };
                assert_eq!(rows.to_string(), *count, "run {run}: expect {expectation}");
            }
            ["sample", series, time, "=", number] => {
                let there = self
                    .samples
                    .get(&(id(series), BASE + micros(time)))
                    .map(|value| value.to_bits());
                assert_eq!(
                    there,
                    Some(value(number).to_bits()),
                    "run {run}: expect {expectation}; found {:?}",
                    there.map(f64::from_bits)
                );
            }
            ["no", "rollup", resolution, series, start] => {
                let there = self.rollup(resolution, series, start);
                assert!(
                    there.is_none(),
                    "run {run}: expect {expectation}; found {there:?}"
                );
            }
            ["rollup", resolution, series, start, fields @ ..] => {
                let there = self
                    .rollup(resolution, series, start)
                    .unwrap_or_else(|| panic!("run {run}: expect {expectation}; there is none"));
                for field in fields {
                    let (name, number) = field
                        .split_once('=')
                        .unwrap_or_else(|| panic!("field `{field}`"));
                    let actual = match name {
                        "count" => there.count as f64,
                        "sum" => there.sum,
                        "min" => there.min,
                        "max" => there.max,
                        "first" => there.first,
                        "last" => there.last,
                        "sum_squares" => there.sum_squares,
                        "rate" => there.rate.unwrap_or(f64::NAN),
                        "completeness" => there.completeness,
                        "revision" => f64::from(there.revision),
                        _ => panic!("no such field `{name}`"),
                    };
                    let expected = value(number);
                    let same =
                        (actual - expected).abs() < 1e-9 || actual.is_nan() && expected.is_nan();
                    assert!(same, "run {run}: expect {expectation}; {name} is {actual}");
                }
            }
            ["counts", fields @ ..] => {
                let all = serde_json::to_value(self.counts).expect("counts are plain");
                for field in fields {
                    let (name, number) = field
                        .split_once('=')
                        .unwrap_or_else(|| panic!("count `{field}`"));
                    assert_eq!(
                        all[name].to_string(),
                        number,
                        "run {run}: expect {expectation}; found {:?}",
                        self.counts
                    );
                }
            }
            _ => panic!("expectation `{expectation}` is not understood"),
        }
    }

    fn rollup(&self, resolution: &str, series: &str, start: &str) -> Option<&ArchivedRollup> {
        let resolution = Resolution::ALL
            .into_iter()
            .find(|r| r.name() == resolution)
            .unwrap_or_else(|| panic!("resolution `{resolution}`"));
        self.rollups
            .get(&(resolution, id(series), BASE + micros(start)))
    }
}
