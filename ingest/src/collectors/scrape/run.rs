//! Scrapes until cancelled: a task per job that finds targets, and one per target.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use schemas::{HasCode, Micros};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::discovery::{Discovery, LOOK_INTERVAL};
use super::fetch::{Answer, Clients, FetchError};
use super::series::{Report, Scraped, SeriesBook, end_reports};
use super::target::Target;
use super::{Job, ScrapeFailure};
use crate::admission::Sender;
use crate::backlog::{Backlog, Collection, next_tick, publish_while};
use crate::counters::{IngestCounters, Intake, add};
use crate::door::{Batcher, Publisher};

/// For the label sets of all targets.
const MEMO_BYTES_MAX: usize = 256 * 1024 * 1024;
/// More than a job may ask for, with a stale marker for each series.
const SCRAPE_SAMPLES_MAX: usize = 20_000_000;
/// Answers held at once; further ones wait to be read. 16: with bodies of 100 KB some MB, with the largest 16 times `body_max`, twice if compressed.
const ANSWERS_MAX: usize = 16;

/// What all targets share.
struct Shared {
    /// One for all: decoding is quick beside waiting for answers, and memory is that of the largest scrape, not of all.
    door: Mutex<Batcher>,
    backlog: Arc<Backlog>,
    counters: Arc<IngestCounters>,
    places: Arc<Semaphore>,
    targets: AtomicU32,
}

/// Scrapes all jobs until cancelled; then publishes what waits, for at most 3 s.
pub async fn run(
    jobs: Vec<(Job, Clients)>,
    publisher: Publisher,
    counters: Arc<IngestCounters>,
    cancellation: CancellationToken,
) {
    let backlog = Arc::new(Backlog::default());
    let shared = Arc::new(Shared {
        door: Mutex::new(publisher.batcher(MEMO_BYTES_MAX, SCRAPE_SAMPLES_MAX)),
        backlog: Arc::clone(&backlog),
        counters: Arc::clone(&counters),
        places: Arc::new(Semaphore::new(ANSWERS_MAX)),
        targets: AtomicU32::new(0),
    });
    let scraping = |_| async move {
        let tasks = TaskTracker::new();
        for (job, clients) in jobs {
            let job = Arc::new(job);
            tasks.spawn(follow(
                job,
                clients,
                Arc::clone(&shared),
                cancellation.clone(),
            ));
        }
        tasks.close();
        tasks.wait().await;
    };
    publish_while(scraping, &backlog, &publisher, &counters, Intake::Scrape).await;
}

/// Keeps a loop for each target that the job has, as its files change.
async fn follow(job: Arc<Job>, clients: Clients, shared: Arc<Shared>, stop: CancellationToken) {
    let loops = TaskTracker::new();
    let mut running: HashMap<Target, CancellationToken> = HashMap::new();
    let mut discovery = Discovery::default();
    loop {
        let looked_for = Arc::clone(&job);
        let look = tokio::task::spawn_blocking(move || {
            let targets = discovery.look(&looked_for);
            (discovery, targets)
        });
        let Ok((returned, targets)) = look.await else {
            tracing::error!(job = %job.name, "looking for targets failed by a mistake of ours; their list stays as it is");
            break;
        };
        discovery = returned;
        running.retain(|target, removed| {
            let stays = targets.contains(target);
            if !stays {
                tracing::info!(job = %job.name, target = %target.uri, "a target is gone from the configuration");
                removed.cancel();
            }
            stays
        });
        for target in targets {
            if running.contains_key(&target) {
                continue;
            }
            let removed = CancellationToken::new();
            running.insert(target.clone(), removed.clone());
            let scraper = Scraper {
                job: Arc::clone(&job),
                target: Arc::new(target),
                clients: clients.clone(),
                shared: Arc::clone(&shared),
                was_up: None,
            };
            loops.spawn(scraper.run(removed, stop.clone()));
        }
        if job.files.is_empty() {
            break;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
    loops.close();
    loops.wait().await;
}

/// The loop of one target.
struct Scraper {
    job: Arc<Job>,
    target: Arc<Target>,
    clients: Clients,
    shared: Arc<Shared>,
    /// How the last scrape went: only a change is logged.
    was_up: Option<bool>,
}

impl Scraper {
    async fn run(mut self, removed: CancellationToken, stop: CancellationToken) {
        let interval = i64::try_from(self.job.interval.as_micros())
            .unwrap_or(i64::MAX)
            .clamp(1_000, 86_400_000_000);
        let offset = self.target.offset(self.job.interval);
        let mut book = self.new_book();
        loop {
            // Asked anew each time: the wall clock may have been set, and a slow scrape skips ticks instead of piling up.
            let now = clock();
            let tick = next_tick(now - offset, interval) + offset;
            let wait = Duration::from_micros((tick - now).unsigned_abs());
            let scrape = async {
                tokio::time::sleep(wait).await;
                let begun = Instant::now();
                let time = scrape_time(tick, clock(), interval);
                let answer = self
                    .clients
                    .fetch(&self.job, &self.target, &self.shared.places);
                (answer.await, time, begun)
            };
            let (answer, time, begun) = tokio::select! {
                () = stop.cancelled() => return,
                () = removed.cancelled() => {
                    self.end(book).await;
                    return;
                }
                scraped = scrape => scraped,
            };
            book = self.take(book, answer, time, begun).await;
        }
    }

    fn new_book(&self) -> SeriesBook {
        SeriesBook::new(self.shared.targets.fetch_add(1, Ordering::Relaxed))
    }

    /// Decodes an answer and puts its samples, or what is told of a failure, into the backlog.
    async fn take(
        &mut self,
        mut book: SeriesBook,
        answer: Result<Answer, FetchError>,
        time: Micros,
        begun: Instant,
    ) -> SeriesBook {
        let (job, target, shared) = (
            Arc::clone(&self.job),
            Arc::clone(&self.target),
            Arc::clone(&self.shared),
        );
        let work = tokio::task::spawn_blocking(move || {
            let plain = answer.map_err(ScrapeFailure::from).and_then(|answer| {
                add(
                    &shared.counters.of(Intake::Scrape).body_bytes,
                    answer.sent_bytes(),
                );
                Ok((answer.decompress(job.body_bytes_max)?, answer))
            });
            let mut door = shared.door(&job);
            let taken = plain.and_then(|(body, answer)| {
                let taken = book.take(&body, answer.format, time, &job, &target, &mut door);
                Ok(taken?)
            });
            let mut told = Ok(());
            if taken.is_err() {
                door.discard();
                told = book.lose_all(time, &job, &target, &mut door);
            }
            let report = Report {
                is_up: taken.is_ok(),
                duration_s: begun.elapsed().as_secs_f64(),
                scraped: *taken.as_ref().unwrap_or(&Scraped::default()),
            };
            let told = told.and_then(|()| report.push(time, &target, &mut door));
            if let Err(error) = told {
                tracing::warn!(job = %job.name, target = %target.uri, %error, "not all stale markers were stored");
            }
            shared.finish(&mut door, &job, &target);
            (book, taken)
        });
        match work.await {
            Ok((book, taken)) => {
                self.tell(taken);
                book
            }
            Err(error) => {
                tracing::error!(job = %self.job.name, target = %self.target.uri, %error, "a scrape failed by a mistake of ours");
                add(&self.shared.counters.of(Intake::Scrape).failures, 1);
                self.new_book()
            }
        }
    }

    /// Counts a scrape, and logs where it went otherwise than the last.
    fn tell(&mut self, taken: Result<Scraped, ScrapeFailure>) {
        let counters = self.shared.counters.of(Intake::Scrape);
        add(&counters.requests, 1);
        let was_up = self.was_up.replace(taken.is_ok());
        let (job, target) = (&self.job.name, &self.target.uri);
        match taken {
            Ok(scraped) => {
                add(&counters.skipped_fields, scraped.exemplars);
                if was_up == Some(false) {
                    tracing::info!(%job, %target, samples = scraped.kept, "a target can be scraped again");
                }
            }
            Err(problem) => {
                add(&counters.failures, 1);
                if was_up != Some(false) {
                    let code = problem.code().id;
                    tracing::warn!(%job, %target, %problem, code, "a target can't be scraped");
                }
            }
        }
    }

    /// Tells that all series of a target that was removed are gone.
    async fn end(self, mut book: SeriesBook) {
        let work = tokio::task::spawn_blocking(move || {
            let time = clock();
            let mut door = self.shared.door(&self.job);
            let told = book
                .lose_all(time, &self.job, &self.target, &mut door)
                .and_then(|()| match self.was_up {
                    Some(_) => end_reports(time, &self.target, &mut door),
                    None => Ok(()),
                });
            if let Err(error) = told {
                tracing::warn!(job = %self.job.name, %error, "not all stale markers were stored");
            }
            self.shared.finish(&mut door, &self.job, &self.target);
        });
        if let Err(error) = work.await {
            tracing::error!(%error, "the end of a target could not be told by a mistake of ours");
        }
    }
}

impl Shared {
    /// The door, for a scrape of a job: the job is who sends.
    fn door(&self, job: &Job) -> MutexGuard<'_, Batcher> {
        let mut door = self.door.lock().unwrap_or_else(|poisoned| {
            // Whoever failed left its samples behind.
            let mut door = PoisonError::into_inner(poisoned);
            door.discard();
            self.door.clear_poison();
            door
        });
        door.begin(&Sender::new(format!("job {}", job.name)), clock());
        door
    }

    /// Puts what the door holds into the backlog.
    fn finish(&self, door: &mut Batcher, job: &Job, target: &Target) {
        let counters = self.counters.of(Intake::Scrape);
        let (records, rejections) = match door.finish() {
            Ok(finished) => finished,
            Err(error) => {
                tracing::error!(job = %job.name, target = %target.uri, %error, "a scrape could not be encoded and is lost");
                return;
            }
        };
        add(&counters.rejected_samples, rejections.samples() as usize);
        if let Some(first) = rejections.first().first() {
            tracing::warn!(job = %job.name, target = %target.uri, rejected = rejections.samples(), %first, "samples of a scrape were refused");
        }
        if records.is_empty() {
            return;
        }
        let dropped = self.backlog.add(Collection { records });
        if dropped > 0 {
            add(&counters.dropped_samples, dropped);
            tracing::warn!(
                samples = dropped,
                "the log has been away too long; the oldest scraped samples were dropped"
            );
        }
    }
}

/// The wall clock.
fn clock() -> Micros {
    jiff::Timestamp::now().as_microsecond()
}

/// The time of the samples of a scrape: the tick, where it was not missed by more than a hundredth of the interval, since even distances pack better.
fn scrape_time(tick: Micros, now: Micros, interval: Micros) -> Micros {
    if (0..=interval / 100).contains(&(now - tick)) {
        tick
    } else {
        now / 1000 * 1000
    }
}
