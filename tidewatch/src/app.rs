//! `tidewatch run`: puts the rooms together, says when it is ready, and takes them apart in the order that loses nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bus::embedded::Clock;
use ingest::admission::Admission;
use ingest::foreign::Replayer;
use ingest::http::Receivers;
use ingest::{IngestCounters, Publisher};
use metrics_exporter_prometheus::PrometheusHandle;
use pipeline::{Phase, Pipeline, PipelineOptions};
use query::Engine;
use sinks::aggregates::AggregateStore;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::access::{self, Access, Issued, Registry, Route, Token};
use crate::config::{BusKind, Config};
use crate::doors::{self, Doors};
use crate::error::CommandError;
use crate::error_codes;
use crate::http::overview::{BusReport, Wiring};
use crate::http::{self, Context, Instance};
use crate::log_watch::LogWatch;
use crate::signals::stop_on_signals;
use crate::sources::{self, Sources};
use crate::systemd::ServiceManager;
use crate::tables::{PipelineTables, Running};
use crate::telemetry;
use crate::tls::{self, Tls};
use crate::{admission, clock, commands, intake_metrics, stores};

pub(crate) use inlet::Inlet;
use inlet::status;

mod collecting;
mod inlet;

/// File in the data directory that names the address of the instance that runs on it.
const ADDRESS_FILE: &str = "http-address";
/// How long requests that are being worked on may take once the end was asked for.
const REQUESTS_MAX: Duration = Duration::from_secs(3);
/// How long all of the end may take: below the 10 s that are promised, so that it is us who end it.
const STOP_MAX: Duration = Duration::from_millis(9_500);
/// How often the recorder of metrics tidies up. Between two, each request costs it 16 bytes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How often old rows leave the aggregate store and new ones are made safe from a power cut.
const STORE_INTERVAL: Duration = Duration::from_secs(60);
/// How often readiness is looked at until the start is told.
const READY_POLL: Duration = Duration::from_millis(20);

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// `Failed` where something can't be opened, or the end took too long.
pub async fn run(config: Config) -> Result<(), CommandError> {
    clock::expect_set(clock::now())?;
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    let app = tokio::select! {
        started = App::start(config, None, &stop) => started?,
        // Nothing was accepted yet.
        () = stop.cancelled() => return Ok(()),
    };
    let manager = ServiceManager::from_environment();
    let telling = tokio::spawn(app.keep_told(manager.clone(), &stop));
    app.announce(&stop).await;
    stop.cancelled().await;
    manager.stopping();
    telling.abort();
    app.shut_down().await
}

/// The address of the instance that runs, or ran, on a data directory.
pub(crate) fn read_address(data_dir: &Path) -> Option<SocketAddr> {
    let text = std::fs::read_to_string(data_dir.join(ADDRESS_FILE)).ok()?;
    text.trim().parse().ok()
}

/// Everything that runs.
pub(crate) struct App {
    address: SocketAddr,
    default_address: bool,
    data_dir: PathBuf,
    running: Running,
    inlet: Inlet,
    aggregates: Arc<AggregateStore>,
    partitions_own: Option<u32>,
    /// Ends the collectors, then the server.
    intake: CancellationToken,
    /// What collects, and what gathers from sockets.
    collectors: Vec<JoinHandle<()>>,
    /// Of the server's own address and of the receivers'.
    servers: Vec<JoinHandle<()>>,
    housekeeping: JoinHandle<()>,
    admission: Arc<Admission>,
    /// Lets the admission's time pass.
    admitting: JoinHandle<()>,
    tls: Option<Tls>,
    /// Takes new certificates.
    keeping_tls: Option<JoinHandle<()>>,
    log: LogWatch,
    watching: JoinHandle<()>,
    /// By which commands that can read the data directory are let in; `None` where everybody is.
    local_token: Option<Issued>,
}

impl App {
    /// Opens and starts everything. `clock`: the embedded log's, where it is not the machine's; records may then bring their append times.
    pub(crate) async fn start(
        mut config: Config,
        clock: Option<Clock>,
        stop: &CancellationToken,
    ) -> Result<App, CommandError> {
        let started = Instant::now();
        // Recorded from the first request on.
        let metrics = telemetry::install();
        let data_dir = stores::create_data_dir(&config)?;
        let registry = Arc::new(open_tokens(&config)?);
        let listener = doors::listen(config.server.listen, "--listen HOST:PORT").await?;
        let address = listener.local_addr().map_err(|error| {
            CommandError::surroundings(format!("the listening address: {error}"))
        })?;
        let doors = Doors::open(&config.receivers).await?;
        let tls = match &config.server.tls {
            None => None,
            Some(tls) => {
                let opened = Tls::open(tls, &data_dir, &tls::hosts(config.server.listen));
                Some(opened.map_err(|error| CommandError::of("server.tls", error))?)
            }
        };
        let scraped = doors::scrape_clients(&config.scrape)?;

        let topics = stores::topics(&config);
        let own_times = clock.is_some();
        let log = stores::open_log(&config, &data_dir, clock).await?;
        stores::check_topics(&config, &log.bus, own_times).await?;
        let archive = stores::open_archive(&config, &data_dir)?;
        let aggregates = Arc::new(stores::open_aggregates(&config, &data_dir).await?);
        if config.query.spill_bytes > 0 {
            let spill = data_dir.join("spill");
            std::fs::create_dir_all(&spill).map_err(|error| {
                CommandError::surroundings(format!("`{}`: {error}", spill.display()))
            })?;
            config.query.spill_directory = Some(spill);
        }

        let pipeline = Pipeline::start(PipelineOptions {
            bus: Arc::clone(&log.bus),
            topics: topics.clone(),
            group: config.bus.group.clone(),
            owner: owner(),
            archive: archive.clone(),
            aggregates: Arc::clone(&aggregates),
            archived_rollups: config.archive.rollups.clone(),
            processing: config.processing.clone(),
            checkpoint: config.checkpoint.clone(),
            compaction: config.archive.compaction,
            rebuild_damaged_states: config.archive.rebuild_damaged_states,
            tick_interval: config.tick_interval,
        });
        let pipeline = pipeline
            .await
            .map_err(|error| CommandError::of("the pipeline", error))?;
        let partitions = pipeline.partitions();
        let running: Running = Arc::new(RwLock::new(Some(pipeline)));
        let tables = PipelineTables::new(
            Arc::clone(&running),
            &archive,
            Arc::clone(&aggregates),
            &config.archive.rollups,
            Arc::clone(&log.bus),
            topics.clone(),
        );

        let counters = Arc::new(IngestCounters::default());
        let admission = admission::open(config.limits.series, &data_dir)?;
        let publisher = Publisher::new(Arc::clone(&log.bus), &topics.samples(), partitions)
            .with_admission(Arc::clone(&admission));
        let receivers = Arc::new(Receivers::new(
            publisher.clone(),
            config.limits,
            Arc::clone(&counters),
        ));
        let inlet = Inlet {
            publisher: publisher.clone(),
            counters: Arc::clone(&counters),
            bus: Arc::clone(&log.bus),
            topic: topics.samples(),
            running: Arc::clone(&running),
        };
        let intake = CancellationToken::new();
        let mut collectors = collecting::start(
            &config,
            doors.sockets,
            scraped,
            &publisher,
            &counters,
            &intake,
        );
        let sink = ingest::foreign::Sink {
            publisher: publisher.clone(),
            bus: Arc::clone(&log.bus),
            dead_letters: topics.dead_letters(),
            counters: Arc::clone(&counters),
        };
        if own_times {
            // A log on a clock of its own is a demo's: what others measure now is not part of it.
            config.sources.clear();
        }
        let sources = Sources::start(&config, &sink, &intake)?;
        collectors.extend(sources.tasks);
        let replayer = Replayer::new(
            Arc::clone(&log.bus),
            &topics.dead_letters(),
            publisher,
            sources.readings,
            config.limits.samples_max,
        );

        let watch = LogWatch::default();
        let watching = tokio::spawn(watch.clone().follow(Arc::clone(&log.bus), topics.samples()));
        let partitions_own = (config.bus.kind == BusKind::Embedded).then_some(partitions);
        let context = Arc::new(Context {
            instance: Instance {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                data_dir: data_dir.clone(),
            },
            engine: Engine::new(archive.store(), Arc::new(tables), config.query.clone()),
            bus: log.bus,
            topics,
            partitions_own,
            partitions: {
                let running = Arc::clone(&running);
                Box::new(move || status(&running))
            },
            wiring: Wiring {
                bus: BusReport {
                    kind: config.bus.kind.name().to_owned(),
                    brokers: (config.bus.kind == BusKind::Kafka)
                        .then(|| config.bus.brokers.clone()),
                    topic: stores::topics(&config).samples(),
                    partitions,
                    stored_bytes: None,
                },
                archive: archive.url().to_owned(),
                counters: Arc::clone(&counters),
                admission: Arc::clone(&admission),
                embedded: log.embedded.clone(),
            },
            log: watch.clone(),
            record: {
                let admission = Arc::clone(&admission);
                Box::new(move || {
                    intake_metrics::record(&counters, &admission, log.embedded.as_deref());
                    sources::record(&sources.counters);
                })
            },
            replayer,
            metrics: metrics.clone(),
            started,
            tails: Arc::new(Semaphore::new(config.server.tails_max)),
            stop: stop.clone(),
            request_timeout: config.server.request_timeout,
        });
        let local_token = local_token(&config)?;
        let door = Door {
            config: &config,
            registry: &registry,
            local_token: &local_token,
            tls: &tls,
            stop,
        };
        let routes = http::routes(&context, ingest::http::routes(&receivers));
        let mut servers = vec![door.serve(listener, config.server.listen, &context, routes)];
        for (listener, address) in doors.otlp.into_iter().zip(&config.receivers.otlp_listen) {
            let routes = http::otlp_routes(&receivers);
            servers.push(door.serve(listener, *address, &context, routes));
        }
        let default_address =
            Config::defaults().is_some_and(|defaults| defaults.server.listen == address);
        let housekeeping = tokio::spawn(keep_house(metrics, Arc::clone(&aggregates)));
        let admitting = tokio::spawn(admission::keep(
            Arc::clone(&admission),
            data_dir.clone(),
            Arc::clone(&context.bus),
            context.topics.clone(),
        ));
        info!(%address, data_dir = %data_dir.display(), partitions, bus = ?config.bus.kind, archive = archive.url(), "started");
        Ok(App {
            address,
            default_address,
            data_dir,
            running,
            inlet,
            aggregates,
            partitions_own,
            intake,
            collectors,
            servers,
            housekeeping,
            admission,
            admitting,
            keeping_tls: tls.clone().map(|tls| tokio::spawn(tls.keep())),
            tls,
            log: watch,
            watching,
            local_token,
        })
    }

    /// Tells the service manager how we are.
    fn keep_told(
        &self,
        manager: ServiceManager,
        stop: &CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (running, own) = (Arc::clone(&self.running), self.partitions_own);
        let log = self.log.clone();
        manager.keep_told(
            move || status(&running),
            move |partitions| http::not_ready(partitions, own, log.trouble().as_ref(), false),
            stop.clone(),
        )
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The data directory, absolute.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// What a command feeds it by.
    pub(crate) fn inlet(&self) -> Inlet {
        self.inlet.clone()
    }

    /// What `tidewatch sql` and `tail` must be given to find us: nothing at the default address.
    pub(crate) fn url_argument(&self) -> String {
        if self.tls.is_some() {
            // There they find the certificate, too.
            format!(" --data-dir {}", self.data_dir.display())
        } else if self.default_address {
            String::new()
        } else {
            format!(" --url http://{}", self.address)
        }
    }

    /// Our URL.
    fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Waits until every partition runs or one can't, and notes our address in the data directory. Answers what to say of it, such as
    /// `is ready`; `None` if the end was asked for meanwhile.
    pub(crate) async fn wait_ready(&self, stop: &CancellationToken) -> Option<String> {
        let mut told = None;
        loop {
            let partitions = status(&self.running);
            let trouble = self.log.trouble();
            let waiting =
                http::not_ready(&partitions, self.partitions_own, trouble.as_ref(), false);
            let stuck = trouble.is_some()
                || partitions.iter().any(|partition| {
                    matches!(partition.phase, Phase::Stopped(_) | Phase::Retrying(_))
                });
            if waiting.is_none() || stuck {
                told = waiting;
                break;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(READY_POLL) => {}
            }
        }
        if stop.is_cancelled() {
            return None;
        }
        if let Some(tls) = &self.tls
            && let Err(error) = tls.pin()
        {
            warn!(%error, "the certificate could not be left in the data directory; commands on this machine need TIDEWATCH_CA_FILE");
        }
        // A convenience for `tidewatch sql`: without it the address must be given there.
        if let Err(error) = std::fs::write(
            self.data_dir.join(ADDRESS_FILE),
            format!("{}\n", self.address),
        ) {
            warn!(%error, file = ADDRESS_FILE, "the address could not be noted in the data directory");
        }
        if let Some(token) = &self.local_token
            && let Err(error) = access::write_private(
                &access::local_token_file(&self.data_dir),
                token.text.as_bytes(),
            )
        {
            warn!(%error, "no token could be left in the data directory; commands need one in TIDEWATCH_TOKEN");
        }
        Some(told.map_or_else(
            || "is ready".to_owned(),
            |reason| format!("runs, but is not ready: {reason}"),
        ))
    }

    /// Tells on standard output where we are and what to try, once every partition runs or one can't.
    async fn announce(&self, stop: &CancellationToken) {
        let Some(state) = self.wait_ready(stop).await else {
            return;
        };
        let certificate = self.tls.as_ref().map_or_else(String::new, |tls| {
            format!("\n  certificate     {}", tls.certificate_file().display())
        });
        let text = format!(
            "tidewatch {} {state}\n  listens on      {}{certificate}\n  data directory  {}\n\nTry next:\n{}\n\nCtrl-C stops.\n",
            env!("CARGO_PKG_VERSION"),
            self.url(),
            self.data_dir.display(),
            http::next_commands(&self.url_argument()),
        );
        if let Err(error) = commands::print(&text) {
            warn!(%error, "the start could not be told");
        }
    }

    /// Intake first, then the last checkpoint, then the stores.
    pub(crate) async fn shut_down(mut self) -> Result<(), CommandError> {
        let deadline = tokio::time::Instant::now() + STOP_MAX;
        self.intake.cancel();
        let requests_end = tokio::time::Instant::now() + REQUESTS_MAX;
        for collector in self.collectors.drain(..) {
            let _ = tokio::time::timeout_at(requests_end, collector).await;
        }
        for server in &mut self.servers {
            if tokio::time::timeout_at(requests_end, &mut *server)
                .await
                .is_err()
            {
                warn!(
                    "requests that took too long were cut; what they were not told is durable must be sent again"
                );
                server.abort();
            }
        }
        let pipeline = self
            .running
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let stopped = match pipeline {
            None => Vec::new(),
            Some(pipeline) => tokio::time::timeout_at(deadline, pipeline.shutdown()).await.map_err(|_| {
                CommandError::known(
                    &error_codes::UNFINISHED_STOP,
                    "the last checkpoint did not end in time; nothing is lost, the next start reads the log again from the one before".to_owned(),
                )
            })?,
        };
        self.housekeeping.abort();
        self.admitting.abort();
        if let Some(keeping) = &self.keeping_tls {
            keeping.abort();
        }
        if let Err(error) = admission::save(&self.admission, &self.data_dir) {
            warn!(%error, "the folded labels could not be saved; the next start folds them anew");
        }
        self.watching.abort();
        if let Err(error) = self.aggregates.sync().await {
            warn!(%error, "the aggregate store could not be synced; what it lacks is computed again");
        }
        // Only a hint: who finds it asks whether anyone is there.
        let _ = std::fs::remove_file(self.data_dir.join(ADDRESS_FILE));
        let _ = std::fs::remove_file(access::local_token_file(&self.data_dir));
        let _ = std::fs::remove_file(tls::pinned_file(&self.data_dir));
        info!("stopped");
        if stopped.is_empty() {
            return Ok(());
        }
        let reasons: Vec<String> = stopped
            .iter()
            .map(|(partition, reason)| format!("partition {partition}: {reason}"))
            .collect();
        Err(CommandError::known(
            &error_codes::STOPPED_PARTITIONS,
            format!(
                "partitions could not finish, and what the log holds for them is not in the archive yet: {}",
                reasons.join("; ")
            ),
        ))
    }
}

/// What all addresses that are served have in common.
struct Door<'a> {
    config: &'a Config,
    registry: &'a Arc<Registry>,
    local_token: &'a Option<Issued>,
    tls: &'a Option<Tls>,
    stop: &'a CancellationToken,
}

impl Door<'_> {
    /// Serves routes to whoever may ask at this address, until the stop.
    fn serve(
        &self,
        listener: TcpListener,
        address: SocketAddr,
        context: &Arc<Context>,
        routes: Vec<Route>,
    ) -> JoinHandle<()> {
        let access = Arc::new(Access::new(
            self.config.is_anonymous_at(address),
            Arc::clone(self.registry),
            self.local_token.clone(),
            self.config.token_limits.clone(),
        ));
        let router = http::router(Arc::clone(context), &access, routes);
        let (tls, stop) = (self.tls.clone(), self.stop.clone());
        let settings = self.config.server.clone();
        tokio::spawn(http::server::serve(listener, router, settings, tls, stop))
    }
}

/// The tokens. Tells what it means where there are none and others can reach us, and which limits belong to none of them.
fn open_tokens(config: &Config) -> Result<Registry, CommandError> {
    let file = stores::tokens_file(config);
    let registry = Registry::open(&file).map_err(|error| CommandError::of("access", error))?;
    if !config.is_anonymous_at(config.server.listen) && registry.entries().is_empty() {
        warn!(file = %file.display(), "there are no tokens yet, so nobody can send or ask from elsewhere; `tidewatch token create` makes one");
    }
    let now = jiff::Timestamp::now();
    for section in access::sections_without_token(&config.token_limits, &registry.entries(), now) {
        warn!(
            section,
            "these limits hold for nobody yet: no valid token has this id or name; `tidewatch token list` names those that are, `tidewatch token create --name NAME` makes one"
        );
    }
    Ok(registry)
}

/// The token by which commands that can read the data directory are let in; `None` where everybody is.
fn local_token(config: &Config) -> Result<Option<Issued>, CommandError> {
    if config.is_anonymous_at(config.server.listen) {
        return Ok(None);
    }
    let issued = Token::issue().map_err(|error| {
        CommandError::surroundings(format!("the system gives no randomness: {error}"))
    })?;
    Ok(Some(issued))
}

/// Who we are in the chain: for people, not compared with anything.
pub(crate) fn owner() -> String {
    format!(
        "{}:{}",
        rustix::system::uname().nodename().to_string_lossy(),
        std::process::id()
    )
}

/// What must be done from time to time, until it is aborted.
async fn keep_house(metrics: PrometheusHandle, aggregates: Arc<AggregateStore>) {
    let mut upkeep = tokio::time::interval(UPKEEP_INTERVAL);
    let mut store = tokio::time::interval(STORE_INTERVAL);
    loop {
        tokio::select! {
            _ = upkeep.tick() => metrics.run_upkeep(),
            _ = store.tick() => {
                let expired = aggregates.expire(clock::now()).await;
                if let Err(error) = async { expired?; aggregates.sync().await }.await {
                    warn!(%error, "the aggregate store could not be tidied; it is tried again in a minute");
                }
            }
        }
    }
}
