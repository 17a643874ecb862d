//! The Kafka log: brokers and their version, topics and their settings, how far the group is behind.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bus::kafka::{BROKER_VERSION_MIN, BrokerVersion, Cluster, KafkaBus, TopicState};
use bus::{Bus, BusError};
use schemas::{Micros, NextOffset};
use sinks::ChainView;
use tokio::time::timeout;

use super::log::{Checked, fits};
use super::report::{Check, State};
use super::{QUESTION_MAX, samples, within};
use crate::commands::terminal::{duration_text, grouped};
use crate::config::Config;
use crate::{error_codes, stores};

/// How long a broker may take; the clients of the pipeline are given twice that.
const REQUEST_MS_MAX: u32 = 5_000;
/// How long one record may take to come.
const RECORD_MAX: Duration = Duration::from_secs(5);
/// An oldest waiting record of this age is a lag worth a look: a partition that only hears ticks reports every 10 minutes.
const WAITING_S_MAX: u64 = 900;
/// Partitions whose oldest waiting record is looked at: those that are most behind.
const LOOKED_AT_MAX: usize = 8;

pub(super) async fn check(config: &Config, chains: &[ChainView]) -> Checked {
    const NAME: &str = "broker";
    let mut options = match stores::kafka_options(config) {
        Ok(options) => options,
        Err(error) => return Checked::only(Check::failed(NAME, &error)),
    };
    options.request_ms_max = REQUEST_MS_MAX;
    // Whatever there is, is to be told.
    options.partitions_expected.clear();
    let bus = match KafkaBus::connect(options) {
        Ok(bus) => bus,
        Err(error) => return Checked::only(Check::failed(NAME, &error)),
    };
    let asked = within(NAME, &config.bus.brokers, async {
        let cluster = bus.cluster().await;
        cluster.map_err(|error| Check::failed(NAME, &error))
    });
    let mut checks = match asked.await {
        Ok(cluster) => vec![broker(&cluster, config.bus.security.protocol())],
        Err(failure) => {
            let why = "the broker does not answer";
            return Checked {
                checks: vec![
                    failure.with_fix(format!(
                        "start the brokers at {}, or correct bus.brokers (and bus.security for TLS and SASL)",
                        config.bus.brokers
                    )),
                    Check::skipped("topics", why),
                    Check::skipped("log and archive", why),
                    Check::skipped("lag", why),
                ],
                newest: None,
            };
        }
    };
    let topics = topics(config, &bus).await;
    let samples_there = topics.samples_there;
    checks.extend(topics.checks);
    if !samples_there {
        let why = "the topic of the samples can't be used";
        checks.push(Check::skipped("log and archive", why));
        checks.push(Check::skipped("lag", why));
        return Checked {
            checks,
            newest: None,
        };
    }
    let topic = samples(config);
    let fit = within("log and archive", &config.bus.brokers, async {
        Ok(fits(&*bus, &topic, chains).await)
    });
    checks.push(fit.await.unwrap_or_else(|failure| failure));
    let behind = within("lag", &config.bus.brokers, lag(config, &bus, &topic));
    let (behind, newest) = match behind.await {
        Ok(told) => told,
        Err(failure) => (failure, None),
    };
    checks.push(behind);
    Checked { checks, newest }
}

fn broker(cluster: &Cluster, protocol: &str) -> Check {
    const NAME: &str = "broker";
    let (major, minor) = BROKER_VERSION_MIN;
    let version = match cluster.version {
        BrokerVersion::Protocol(major, minor) => format!("Kafka {major}.{minor}"),
        BrokerVersion::AtLeastFour => "Kafka 4.0 or later".to_owned(),
        BrokerVersion::Unknown => {
            format!("a version that it does not tell ({major}.{minor} is needed)")
        }
    };
    let found = format!(
        "{} over {protocol}, of cluster {}, {version}",
        cluster.brokers.join(", "),
        cluster.id
    );
    match cluster.version.is_usable() {
        Some(false) => Check::failure(
            NAME,
            format!("{found}; at least {major}.{minor} is needed"),
            &error_codes::BROKER_VERSION,
        ),
        _ => Check::ok(NAME, found),
    }
}

struct Topics {
    checks: Vec<Check>,
    samples_there: bool,
}

/// Each topic that we use: there, led, with the right partitions and settings.
async fn topics(config: &Config, bus: &Arc<KafkaBus>) -> Topics {
    const NAME: &str = "topics";
    let mut checks = Vec::new();
    let mut samples_there = true;
    let mut partitions = 0;
    let names = stores::topics(config).all();
    let count = names.len();
    for topic in names {
        let asked = within(NAME, &config.bus.brokers, async {
            let state = bus.topic_state(&topic).await;
            state.map_err(|error| match error {
                BusError::NoTopic { .. } => {
                    Check::failed(NAME, &error).with_fix("tidewatch topics create")
                }
                error => Check::failed(NAME, &error),
            })
        });
        let found = match asked.await {
            Ok(state) => {
                partitions = state.partitions;
                judge_topic(config, &topic, &state)
            }
            Err(failure) => {
                samples_there &= topic != samples(config);
                vec![failure]
            }
        };
        checks.extend(found);
    }
    if !checks.iter().any(|check| check.state == State::Failure) {
        let text =
            format!("{count} topics with {partitions} partitions each, with the right settings");
        checks.insert(0, Check::ok(NAME, text));
    }
    Topics {
        checks,
        samples_there,
    }
}

fn judge_topic(config: &Config, topic: &str, state: &TopicState) -> Vec<Check> {
    const NAME: &str = "topics";
    let mut checks = Vec::new();
    if let Some(expected) = config.bus.partitions
        && expected != state.partitions
    {
        let error = BusError::PartitionCount {
            topic: topic.to_owned(),
            expected,
            found: state.partitions,
        };
        let fix = format!("set bus.partitions = {}", state.partitions);
        checks.push(Check::failed(NAME, &error).with_fix(fix));
    }
    if !state.leaderless.is_empty() {
        checks.push(Check::failure(
            NAME,
            format!(
                "`{topic}`: partitions {:?} have no leader",
                state.leaderless
            ),
            &error_codes::NO_LEADER,
        ));
    }
    let alter = |setting: &str| {
        format!(
            "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {topic} --add-config {setting}",
            config.bus.brokers
        )
    };
    for fault in state.faults() {
        let found = format!(
            "`{topic}`: {} is {}, expected {}: {}",
            fault.setting, fault.found, fault.expected, fault.consequence
        );
        let fix = alter(&format!("{}={}", fault.setting, fault.expected));
        checks.push(Check::failure(NAME, found, &error_codes::TOPIC_SETTING).with_fix(fix));
    }
    let wanted = config.bus.retention.as_millis();
    let kept = state
        .settings
        .get("retention.ms")
        .and_then(|text| text.parse::<i128>().ok());
    if let Some(kept) = kept.filter(|kept| *kept >= 0 && (*kept as u128) < wanted) {
        checks.push(Check::warning(
            NAME,
            format!(
                "`{topic}` keeps records for {}, setting bus.retention says {}",
                duration_text(kept as f64 / 1000.0),
                duration_text(config.bus.retention.as_secs_f64())
            ),
            alter(&format!("retention.ms={wanted}")),
        ));
    }
    checks
}

/// How far the group is behind by its own reports, and the newest append time.
async fn lag(
    config: &Config,
    bus: &Arc<KafkaBus>,
    topic: &str,
) -> Result<(Check, Option<Micros>), Check> {
    const NAME: &str = "lag";
    let failed = |error: BusError| Check::failed(NAME, &error);
    let progress = bus
        .group_progress(topic, &config.bus.group)
        .await
        .map_err(failed)?;
    let mut behind = Vec::new();
    let mut newest = None;
    for (partition, next) in (0u32..).zip(progress) {
        let retained = bus.retained(topic, partition).await.map_err(failed)?;
        let next = next.unwrap_or(NextOffset(0)).max(retained.start);
        behind.push((retained.end.0.saturating_sub(next.0), partition, next));
        let last = retained.end.0.checked_sub(1).map(NextOffset);
        // One partition's clock is enough to compare ours with.
        if let Some(last) = last.filter(|last| newest.is_none() && *last >= retained.start) {
            newest = append_time(bus, topic, partition, last).await;
        }
    }
    let total: u64 = behind.iter().map(|(lag, _, _)| lag).sum();
    behind.sort_unstable_by(|one, other| other.cmp(one));
    let mut oldest: Option<(Micros, u32, u64)> = None;
    for (lag, partition, next) in behind.into_iter().take(LOOKED_AT_MAX) {
        if lag > 0
            && let Some(time) = append_time(bus, topic, partition, next).await
            && oldest.is_none_or(|(oldest, _, _)| time < oldest)
        {
            oldest = Some((time, partition, lag));
        }
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64());
    let group = &config.bus.group;
    let limit_s = config
        .checkpoint
        .interval
        .as_secs()
        .saturating_mul(3)
        .max(WAITING_S_MAX);
    let check = match oldest {
        Some((time, partition, lag)) if now - time as f64 / 1e6 > limit_s as f64 => Check::warning(
            NAME,
            format!(
                "group `{group}` is {} records behind; the oldest, in partition {partition} ({} records), waits for {}",
                grouped(total),
                grouped(lag),
                duration_text(now - time as f64 / 1e6)
            ),
            "start an instance, or one more of the same group; `tidewatch status` shows what one that runs is doing",
        ),
        _ => Check::ok(
            NAME,
            format!("group `{group}` is {} records behind", grouped(total)),
        ),
    };
    Ok((check, newest))
}

/// The append time of a record; `None` if it does not come in time.
async fn append_time(
    bus: &Arc<KafkaBus>,
    topic: &str,
    partition: u32,
    at: NextOffset,
) -> Option<Micros> {
    let read = async {
        let mut reader = bus.reader(topic, partition, at).await.ok()?;
        let records = reader.next(1).await.ok()?;
        Some(records.first()?.append_time_ms * 1000)
    };
    timeout(RECORD_MAX.min(QUESTION_MAX), read).await.ok()?
}
