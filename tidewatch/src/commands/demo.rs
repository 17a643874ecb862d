//! `tidewatch demo`: an instance of its own with a simulated fleet, history first and then live; or the fleet alone, published to Kafka.
//!
//! Time in a demo's log is simulated time. Each record carries the time of its first sample as its append time, and the log's own
//! clock, which ticks and other senders get, is the end of what was published last. So watermarks, windows and detectors live through
//! three weeks in seconds as they would have in three weeks, and the same again after a restart. Live at speed 1 it is the wall clock.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use ingest::collectors::fleet::{Fleet, HOSTS_MAX};
use ingest::{IngestCounters, Publisher};
use schemas::{HasCode, Micros};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::app::App;
use crate::args::RunArgs;
use crate::config::{BusKind, Config, parse_duration};
use crate::error::CommandError;
use crate::signals::stop_on_signals;
use crate::stores;

mod feed;
mod identity;
mod progress;
mod telling;

use feed::{Feed, LIVE_INTERVAL, LogClock, STRETCH, now};
use identity::Identity;
use progress::Progress;

/// The fleet where none is asked for. 7: any number would do, and all who try the demo see the same.
const SEED: u64 = 7;
/// 8: one set of everything that can be planted.
const HOSTS: u32 = 8;
/// What ends the name of the demo's data directory.
const DIRECTORY_SUFFIX: &str = "-demo";
/// Samples that wait for a checkpoint, per partition, at most. 100,000: at one sample a minute each brings two rollups and more, of some 130
/// bytes, and history comes as fast as it is taken, so the default of two million would be gigabytes.
const CHECKPOINT_SAMPLES_MAX: usize = 100_000;

/// What `--help` says after the flags.
pub(crate) const AFTER_HELP: &str = "The demo keeps everything in a data directory of its own: the configured one with `-demo` at its end, or that of --data-dir; the archive is \
always inside. Started again it goes on where its log ends, as the same fleet. With another speed than 1 simulated time runs ahead of \
the clock on the wall.\n\n\
With --publish-only and [bus] kind = \"kafka\" it only publishes, for others to process. There the broker stamps the records, so there is no \
history and no speed: weeks that arrive within a minute would all be late, and late samples are stored but not judged.\n\n\
Examples:\n  tidewatch demo\n  tidewatch demo --hosts 20 --history 6w --speed 60\n  \
TIDEWATCH__BUS__KIND=kafka TIDEWATCH__BUS__BROKERS=broker:9092 tidewatch demo --publish-only";

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Simulated hosts, 1 to 10000, each with 38 series. Default: 8.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(HOSTS_MAX)))]
    pub hosts: Option<u32>,
    /// How long the fleet has lived already. "0s": begin now. Default: 3w.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub history: Option<Duration>,
    /// Time between two samples of a series in the history, a multiple of 10s up to 10m. Live it is 10 s.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = interval)]
    pub interval: Duration,
    /// Simulated seconds per second once the history is there: 60 is a minute per second. Default: 1.
    #[arg(long, value_name = "FACTOR", value_parser = speed)]
    pub speed: Option<f64>,
    /// Which fleet: the same number makes the same hosts with the same values. Default: 7.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Publish to Kafka and nothing else. From now on, at speed 1.
    #[arg(long)]
    pub publish_only: bool,
    /// Where the instance listens.
    #[command(flatten)]
    pub run: RunArgs,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .ok_or_else(|| "expected a duration with a unit, such as 3w, 36h or 90s".to_owned())
}

fn interval(text: &str) -> Result<Duration, String> {
    duration(text)
        .ok()
        // Live samples, ten seconds apart, then fall on the same times.
        .filter(|interval| (10_000..=600_000).contains(&interval.as_millis()))
        .filter(|interval| interval.as_millis() % 10_000 == 0)
        .ok_or_else(|| "expected a multiple of 10s, up to 10m".to_owned())
}

fn speed(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|speed| (0.001..=100_000.0).contains(speed))
        .ok_or_else(|| "expected a number from 0.001 to 100000, such as 60".to_owned())
}

fn micros(duration: Duration) -> Micros {
    // At most a century.
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

/// Runs until SIGINT or SIGTERM. `own_dir`: the data directory was named on the command line, and is the demo's as it is.
///
/// # Errors
/// `Usage` for flags that don't go together or another fleet than the directory's, `Failed` as `run`.
pub(crate) async fn run(config: Config, args: DemoArgs, own_dir: bool) -> Result<(), CommandError> {
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    match (args.publish_only, config.bus.kind) {
        (true, BusKind::Kafka) => publish_only(&config, &args, &stop).await,
        (false, BusKind::Embedded) => embedded(config, &args, own_dir, &stop).await,
        (true, BusKind::Embedded) => Err(CommandError::Usage(
            "--publish-only needs a log that others can read: set [bus] kind = \"kafka\" and brokers, or leave it out to get an instance with everything".to_owned(),
        )),
        (false, BusKind::Kafka) => Err(CommandError::Usage(
            "the settings name a Kafka cluster; give --publish-only to publish simulated hosts to it, or leave [bus] kind at \"embedded\" for a demo that touches nothing else".to_owned(),
        )),
    }
}

async fn publish_only(
    config: &Config,
    args: &DemoArgs,
    stop: &CancellationToken,
) -> Result<(), CommandError> {
    if args.history.is_some_and(|history| !history.is_zero())
        || args.speed.is_some_and(|s| s != 1.0)
    {
        return Err(CommandError::Usage(
            "--publish-only knows neither --history nor --speed: a broker stamps records with its own time, by which weeks of history would be late and the future refused".to_owned(),
        ));
    }
    let work = async {
        let bus = stores::connect_kafka(config).await?;
        stores::check_topics(config, &bus, false).await?;
        let topic = stores::topics(config).samples();
        let partitions = bus
            .partitions(&topic)
            .await
            .map_err(|error| CommandError::of("Kafka", error))?;
        let publisher = Publisher::new(bus, &topic, partitions);
        let fleet = fleet(args.seed.unwrap_or(SEED), args.hosts.unwrap_or(HOSTS))?;
        crate::commands::print(&telling::publishing(&fleet, &topic, &config.bus.brokers))?;
        let begin = now().div_euclid(LIVE_INTERVAL) * LIVE_INTERVAL;
        let counters = Arc::new(IngestCounters::default());
        let mut feed = Feed::new(fleet, publisher, counters, begin);
        feed.live(begin, 1.0).await
    };
    tokio::select! {
        done = work => done,
        () = stop.cancelled() => Ok(()),
    }
}

fn fleet(seed: u64, hosts: u32) -> Result<Fleet, CommandError> {
    Fleet::new(seed, hosts).map_err(|error| {
        CommandError::Usage(format!("a fleet of {hosts} hosts, seed {seed}: {error}"))
    })
}

async fn embedded(
    mut config: Config,
    args: &DemoArgs,
    own_dir: bool,
    stop: &CancellationToken,
) -> Result<(), CommandError> {
    seclude(&mut config, own_dir);
    let interval = micros(args.interval);
    let until = now().div_euclid(interval) * interval;
    let history = micros(args.history.unwrap_or(Duration::from_secs(21 * 86_400)));
    let data_dir = identity::own_directory(&config)?;
    let identity = Identity::remember(
        &data_dir,
        args.seed,
        args.hosts,
        (until - history).max(0).div_euclid(interval) * interval,
    )?;
    let fleet = fleet(identity.seed, identity.hosts)?;

    let clock = LogClock::at(identity.begin_us);
    let app = tokio::select! {
        started = App::start(config, Some(clock.of_log()), stop) => started?,
        () = stop.cancelled() => return Ok(()),
    };
    let fed = tokio::select! {
        fed = feed(&app, fleet, &identity, clock, args, stop) => fed,
        () = stop.cancelled() => Ok(()),
    };
    stop.cancel();
    app.shut_down().await.and(fed)
}

/// Keeps the demo away from everything else that the settings name.
fn seclude(config: &mut Config, own_dir: bool) {
    if !own_dir {
        let mut name = config.data_dir.clone().into_os_string();
        name.push(DIRECTORY_SUFFIX);
        config.data_dir = PathBuf::from(name);
    }
    if !config.archive.url.is_empty() {
        info!(
            url = config.archive.url,
            "the demo leaves the configured archive alone and keeps its own in its data directory"
        );
        config.archive.url.clear();
    }
    config.archive.options.clear();
    config.host_interval = None;
    config.checkpoint.samples_max = config.checkpoint.samples_max.min(CHECKPOINT_SAMPLES_MAX);
    // A record of history holds samples up to so long after its append time.
    config.processing.future_max = config.processing.future_max.max(STRETCH);
}

/// Publishes history and life, and tells of it. Ends only with an error.
async fn feed(
    app: &App,
    fleet: Fleet,
    identity: &Identity,
    clock: LogClock,
    args: &DemoArgs,
    stop: &CancellationToken,
) -> Result<(), CommandError> {
    let Some(state) = app.wait_ready(stop).await else {
        return Ok(());
    };
    let inlet = app.inlet();
    let (interval, speed) = (micros(args.interval), args.speed.unwrap_or(1.0));
    let url = app.url_argument();
    crate::commands::print(&telling::begin(app, &state, &fleet, identity.seed))?;
    let mut feed = Feed::new(
        fleet,
        inlet.publisher.clone(),
        Arc::clone(&inlet.counters),
        identity.begin_us,
    )
    .into_instance(inlet, clock);

    let mut next = feed.resume().await?;
    let until = now().div_euclid(interval) * interval;
    let mut told = None;
    if next < until {
        let (begun, from) = (Instant::now(), next);
        let mut progress = Progress::new(feed.samples(until - next, interval));
        crate::commands::print(&telling::history(from, until, from > identity.begin_us))?;
        next = feed.history(next, until, interval, &mut progress).await?;
        told = Some((progress.finish(), begun.elapsed()));
    }
    crate::commands::print(&telling::live(told, next, speed, &url))?;
    feed.live(next, speed).await
}

/// An error of the log as one of the command.
fn refused<E: HasCode + std::fmt::Display>(error: E) -> CommandError {
    CommandError::of("publishing simulated samples", error)
}
