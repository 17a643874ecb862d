//! Missing data: a series that is silent while its resource speaks, and a resource that is silent as a whole, each told once.
//!
//! A series is overdue at a time that its last samples fix ([`SeriesDetectors::due`]), and that time is the event's. It is told when the watermark has
//! passed it, in a pass over all resources that takes a minute of log time, or by the sample that ends the silence, whichever comes first: so the same
//! samples bring the same events, however the clock moves. The watermark and not the log clock: what comes late is not missing.
//!
//! Where nothing at all comes to a partition, not even a tick, nobody was there to miss anything: after that, every series gets its time again.

use analytics::{DetectorConfig, RULE, SeriesDetectors, silence_event};
use schemas::event::RESOURCE_METRIC;
use schemas::time::{MINUTE, SECOND, rfc3339};
use schemas::{
    Anomaly, AnomalyKind, Direction, Micros, Resolution, Series, SeriesDirectory, SeriesId, Vote,
};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::calendar::SeriesCalendar;
use crate::resources::Resources;

/// A pass over all resources takes so much log time.
const PASS: Micros = MINUTE;
/// A resource that is silent as a whole has at least so many series that are known well; of one with fewer, each is told.
const SERIES_MIN: usize = 2;
/// A pause of so many usual intervals may be a silence. 5: half of what a series is given, so that the pause of a resource is known first.
const PAUSE_INTERVALS: Micros = 5;
/// The score of a resource that is silent: twice that of one of its series.
const SCORE_OF_RESOURCE: f64 = 2.0;
/// Asked so long after a series is due, so that rounding does not say that it is not.
const AFTER_DUE: Micros = 1_000;

/// When a resource, or the partition as a whole, spoke.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Spoke {
    /// Time of its newest sample, and of the newest one before that time.
    last: Micros,
    before: Micros,
    /// The usual distance of its times; 0 = not known yet.
    interval: Micros,
    /// Since when it speaks without a silence that could be one.
    since: Micros,
    /// Whether its present silence was told.
    told: bool,
}

impl Spoke {
    const NEVER: Spoke = Spoke {
        last: Micros::MIN,
        before: Micros::MIN,
        interval: 0,
        since: Micros::MIN,
        told: false,
    };

    /// A pause from this length on may be a silence.
    fn pause_min(&self, config: &DetectorConfig) -> Micros {
        let silence = (config.silence_s * SECOND as f64) as Micros;
        silence.max(PAUSE_INTERVALS.saturating_mul(self.interval))
    }

    #[inline]
    fn hear(&mut self, config: &DetectorConfig, time: Micros) {
        if time <= self.last {
            return;
        }
        let pause = time.saturating_sub(self.last);
        if pause >= self.pause_min(config) {
            (self.since, self.told) = (time, false);
        }
        if self.last != Micros::MIN {
            self.interval = match self.interval {
                0 => pause,
                // A long pause says little of what is usual.
                known => known + (pause.min(2 * known) - known) / 8,
            };
        }
        (self.before, self.last) = (self.last, time);
    }
}

impl Default for Spoke {
    fn default() -> Self {
        Spoke::NEVER
    }
}

/// The silences of a partition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Silences {
    /// By resource index.
    spoke: Vec<Spoke>,
    /// The resource that the pass looks at next.
    next: u32,
    /// The watermark of the last look.
    looked_at: Option<Micros>,
    /// All of them together.
    partition: Spoke,
}

/// What is looked at: the parts of a partition's state that silence depends on.
pub(crate) struct View<'a> {
    pub(crate) config: &'a DetectorConfig,
    pub(crate) directory: &'a SeriesDirectory,
    pub(crate) resources: &'a Resources,
    pub(crate) detectors: &'a mut [SeriesDetectors],
    pub(crate) calendar: &'a mut SeriesCalendar,
    pub(crate) told: &'a mut Vec<Anomaly>,
    /// How many alarms were skipped because the calendar says so.
    pub(crate) skipped: &'a mut u64,
}

impl Silences {
    /// A sample of a resource comes.
    #[inline]
    pub(crate) fn hear(&mut self, config: &DetectorConfig, resource: u32, time: Micros) {
        let position = resource as usize;
        if position >= self.spoke.len() {
            self.spoke.resize(position + 1, Spoke::NEVER);
        }
        self.spoke[position].hear(config, time);
        self.partition.hear(config, time);
    }

    /// The log clock moves from `before` to `now`. If neither a record nor a sample was anywhere in between, nobody listened.
    pub(crate) fn wake(&mut self, config: &DetectorConfig, before: Micros, now: Micros) {
        let pause = now.saturating_sub(self.partition.last.max(before));
        if self.partition.last != Micros::MIN && pause >= self.partition.pause_min(config) {
            self.partition.since = now;
        }
    }

    /// When a resource spoke. What was before the partition's last pause does not count as speaking.
    fn spoke(&self, resource: u32) -> Option<Spoke> {
        let spoke = *self.spoke.get(resource as usize)?;
        Some(Spoke {
            since: spoke.since.max(self.partition.since),
            ..spoke
        })
    }

    /// A series that has not been heard for long is heard again at `time`; before [`Silences::hear`] and before its detectors learn of it: tells the silence
    /// that ends, if nobody did.
    pub(crate) fn end_silence(
        &mut self,
        view: &mut View<'_>,
        resource: u32,
        series: u32,
        time: Micros,
    ) {
        let Some(spoke) = self.spoke(resource) else {
            return;
        };
        // What came at the same time, before or after this sample in its record, says nothing of the time before.
        let heard = if spoke.last < time {
            spoke.last
        } else {
            spoke.before
        };
        let Some(due) = overdue_at(view, &spoke, series).filter(|due| *due < time) else {
            return;
        };
        let told_at = view.calendar.after_skip(view.directory, series, due);
        if told_at >= time {
            *view.skipped += u64::from(heard >= due);
        } else if heard >= told_at {
            tell_series(view, series, told_at);
        } else if spoke.last < time {
            self.look_at_resource(view, resource, time);
        }
    }

    /// The watermark has moved: looks at as many resources as are due in a pass.
    pub(crate) fn look(&mut self, view: &mut View<'_>, watermark: Micros) {
        let before = *self.looked_at.get_or_insert(watermark);
        let count = self.spoke.len();
        let elapsed = watermark.saturating_sub(before);
        if count == 0 || elapsed <= 0 {
            return;
        }
        // As a share of a pass. What is less than a resource waits for the next step: a pass takes its minute however small the steps are, and a resource
        // with a million series is not looked through with each record.
        let share = elapsed.min(PASS) as u128 * count as u128 / PASS as u128;
        if share == 0 {
            return;
        }
        let looked_for = (share * PASS as u128 / count as u128) as Micros;
        self.looked_at = Some(if elapsed >= PASS {
            watermark
        } else {
            before.saturating_add(looked_for)
        });
        let share = share as usize;
        for _ in 0..share.min(count) {
            if self.next as usize >= count {
                self.next = 0;
            }
            self.look_at_resource(view, self.next, watermark);
            self.look_at_series(view, self.next, watermark);
            self.next += 1;
        }
    }

    /// Looks at all resources at once, as where nothing comes after.
    pub(crate) fn look_at_all(&mut self, view: &mut View<'_>, watermark: Micros) {
        for resource in (0..).take(self.spoke.len()) {
            self.look_at_resource(view, resource, watermark);
            self.look_at_series(view, resource, watermark);
        }
    }

    /// Time of the newest sample of all; `Micros::MIN` before the first.
    pub(crate) fn heard(&self) -> Micros {
        self.partition.last
    }

    /// Tells of each series of a resource that is silent while the resource spoke.
    fn look_at_series(&self, view: &mut View<'_>, resource: u32, watermark: Micros) {
        let Some(spoke) = self.spoke(resource) else {
            return;
        };
        for position in 0..view.resources.series(resource).len() {
            let series = view.resources.series(resource)[position];
            let due = due_before(view, &spoke, series, watermark);
            if let Some(due) = due.filter(|due| *due <= spoke.last) {
                tell_series(view, series, due);
            }
        }
    }

    /// Tells of a resource that is silent as a whole: at the time when half of its series were due and none had spoken.
    fn look_at_resource(&mut self, view: &mut View<'_>, resource: u32, now: Micros) {
        let Some(spoke) = self.spoke(resource) else {
            return;
        };
        if spoke.told || now.saturating_sub(spoke.last) < spoke.pause_min(view.config) {
            return;
        }
        let members = view.resources.series(resource);
        let mut dues: Vec<Micros> = Vec::new();
        for series in members {
            let due = overdue_at(view, &spoke, *series);
            // One that was silent long before the others is no voice of the resource any more.
            if let Some(due) = due.filter(|due| *due > spoke.last) {
                dues.push(view.calendar.after_skip(view.directory, *series, due));
            }
        }
        if dues.len() < SERIES_MIN {
            return;
        }
        dues.sort_unstable();
        let due = dues[(dues.len() - 1) / 2];
        if due >= now {
            return;
        }
        self.spoke[resource as usize].told = true;
        let event = resource_event(view.resources, resource, &spoke, due, dues.len());
        view.told.push(event);
    }

    /// Whether it speaks of at most so many resources.
    pub(crate) fn fits(&self, resources: usize) -> bool {
        self.spoke.len() <= resources
    }
}

/// When a series is overdue, given when its resource spoke: a silence of the whole resource gives it its time again.
fn overdue_at(view: &View<'_>, spoke: &Spoke, series: u32) -> Option<Micros> {
    let detectors = &view.detectors[series as usize];
    let due = detectors.due(view.config)?;
    if due < spoke.since && detectors.last_time() < spoke.since {
        return Some(spoke.since.saturating_add(due - detectors.last_time()));
    }
    Some(due)
}

/// As [`overdue_at`], if that is before `now`: at the end of what the calendar says to skip.
fn due_before(view: &mut View<'_>, spoke: &Spoke, series: u32, now: Micros) -> Option<Micros> {
    let due = overdue_at(view, spoke, series).filter(|due| *due < now)?;
    let told_at = view.calendar.after_skip(view.directory, series, due);
    (told_at < now).then_some(told_at)
}

fn tell_series(view: &mut View<'_>, series: u32, due: Micros) {
    let silence = view.detectors[series as usize].overdue(view.config, due + AFTER_DUE);
    if let Some(silence) = silence {
        let event = silence_event(&view.directory[series as usize], due, &silence);
        view.told.push(event);
    }
}

/// The event of a resource that is silent as a whole.
fn resource_event(
    resources: &Resources,
    resource: u32,
    spoke: &Spoke,
    due: Micros,
    series_count: usize,
) -> Anomaly {
    let labels = resources.get(resource).labels().clone();
    let series_id = SeriesId::of(RESOURCE_METRIC, &labels);
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(RULE.as_bytes());
    bytes.extend_from_slice(b"missing");
    bytes.extend_from_slice(&series_id.0.to_le_bytes());
    bytes.extend_from_slice(&due.to_le_bytes());
    let window = Resolution::TenSeconds.window(due);
    let silent_s = (due - spoke.last) as f64 / SECOND as f64;
    let named = Series::new(RESOURCE_METRIC, labels.clone(), schemas::Kind::Gauge);
    let name = named
        .host()
        .or_else(|| named.service())
        .map_or_else(|| labels.to_string(), str::to_owned);
    let reason = format!("no sample since {}", rfc3339(spoke.last));
    let expected = series_count as f64;
    Anomaly {
        event_id: format!("{:032x}", xxh3_128(&bytes)),
        kind: AnomalyKind::Missing,
        series_id,
        metric: RESOURCE_METRIC.to_owned(),
        labels,
        window_start: rfc3339(window.start),
        window_end: rfc3339(window.end),
        time: rfc3339(due),
        observed: None,
        expected,
        lower: expected,
        upper: expected,
        raw_score: silent_s,
        score: SCORE_OF_RESOURCE,
        alarm: true,
        direction: Direction::Low,
        votes: vec![Vote {
            detector: "silence".to_owned(),
            score: SCORE_OF_RESOURCE,
            expected,
            lower: expected,
            upper: expected,
            reason: reason.clone(),
        }],
        trust: 1.0,
        completeness: 0.0,
        related: Vec::new(),
        contributions: Vec::new(),
        explanation: format!("{name} is silent: {reason} from any of its {series_count} series"),
    }
}
