//! The state of one partition and its step. Everything that a checkpoint must make final waits in [`Pending`].

use std::collections::BTreeMap;

use analytics::anomaly_event;
use schemas::time::{TIME_MAX, TIME_MIN};
use schemas::{
    Anomaly, Counts, Guests, Kind, Micros, NextOffset, Offset, Resolution, RollupRow, SampleBatch,
    SampleRows, SeriesDirectory, SeriesId, Watermark,
};

use crate::ProcessingConfig;
use crate::alarm_budget::AlarmBudgets;
use crate::calendar::SeriesCalendar;
use crate::correlation::{Correlation, MOVE_SCORE, Unusual};
use crate::forecasting::{self, Forecasting, Measure};
use crate::levels::{LEVELS, Level};
use crate::pending::{LateSample, Pending};
use crate::per_series::PerSeries;
use crate::resource_forest::{Judging, ResourceForests};
use crate::rollup_figures::{completeness, rate_of};
use crate::scored::Scored;
use crate::series_table::SeriesTable;
use crate::service::ServiceKey;
use crate::siblings::{Comparing, Place, SiblingGroups};
use crate::silence::{Silences, View};
use crate::window::{INTERVAL_UNKNOWN, Offered, OpenWindow, SealedRollup};

/// The state of one partition: pure, deterministic, bounded by the number of series and the lateness.
#[derive(Debug, Clone)]
pub struct PartitionState {
    pub(crate) config: ProcessingConfig,
    pub(crate) calendar: SeriesCalendar,
    pub(crate) table: SeriesTable,
    pub(crate) per_series: PerSeries,
    /// Open 10 s windows by start.
    pub(crate) open: BTreeMap<Micros, OpenWindow>,
    pub(crate) levels: [Level; 4],
    pub(crate) correlation: Correlation,
    pub(crate) alarm_budgets: AlarmBudgets,
    pub(crate) forests: ResourceForests,
    pub(crate) siblings: SiblingGroups,
    /// This partition among all, where siblings meet across them.
    pub(crate) place: Option<Place>,
    pub(crate) silences: Silences,
    pub(crate) forecasting: Forecasting,
    pub(crate) log_clock: Micros,
    pub(crate) next_offset: NextOffset,
    /// Records below were covered by a checkpoint before this state was restored: stepping over them again only rebuilds state.
    pub(crate) committed_until: NextOffset,
    pub(crate) pending: Pending,
}

impl PartitionState {
    /// The state before the first record of a partition.
    pub fn new(config: ProcessingConfig) -> Self {
        PartitionState {
            calendar: SeriesCalendar::new(&config),
            config,
            table: SeriesTable::default(),
            per_series: PerSeries::default(),
            open: BTreeMap::new(),
            levels: LEVELS.map(Level::new),
            correlation: Correlation::default(),
            alarm_budgets: AlarmBudgets::default(),
            forests: ResourceForests::default(),
            siblings: SiblingGroups::default(),
            place: None,
            silences: Silences::default(),
            forecasting: Forecasting::default(),
            log_clock: Micros::MIN,
            next_offset: NextOffset(0),
            committed_until: NextOffset(0),
            pending: Pending::default(),
        }
    }

    /// Tells that records below an offset are covered by the chain: their outputs are dropped when they are stepped over.
    #[must_use]
    pub fn with_committed_until(mut self, end: NextOffset) -> Self {
        self.committed_until = end;
        self
    }

    /// Starts at an offset other than 0: the partition's log begins there.
    #[must_use]
    pub fn with_next_offset(mut self, next: NextOffset) -> Self {
        self.next_offset = next;
        self
    }

    /// Tells which of how many partitions this is: siblings in several of them are compared where they meet, if the settings want it. Without it, a state
    /// tells no other one anything, and welcomes no guests.
    #[must_use]
    pub fn with_place(mut self, partition: u32, partitions: u32) -> Self {
        let config = &self.config;
        let are_compared = config.detection.is_some() && config.peers.is_some();
        let is_wanted = are_compared && config.siblings_across_partitions && partitions > 1;
        if !is_wanted {
            self.siblings.forget_meetings();
        }
        self.place = is_wanted.then_some(Place {
            partition,
            partitions,
        });
        self
    }

    /// Steps over one record of samples that was appended at `log_time` (microseconds).
    pub fn step(&mut self, offset: Offset, log_time: Micros, batch: &SampleBatch) {
        self.step_scored(offset, log_time, batch, |_| {});
    }

    /// As [`PartitionState::step`], and hands out what the detectors made of each sample that they saw, in log order.
    pub fn step_scored(
        &mut self,
        offset: Offset,
        log_time: Micros,
        batch: &SampleBatch,
        scored: impl FnMut(Scored),
    ) {
        let told_before = self.pending.anomalies.len();
        self.advance(offset, log_time);
        self.look_for_silences(Silences::look);
        self.take(log_time, batch, scored);
        self.finish_record(offset, told_before);
    }

    /// Steps over a record without samples: a tick, or one that went to the dead letters.
    pub fn step_empty(&mut self, offset: Offset, log_time: Micros, dead_letter: bool) {
        let told_before = self.pending.anomalies.len();
        self.advance(offset, log_time);
        self.look_for_silences(Silences::look);
        self.pending.counts.dead_letters += u64::from(dead_letter);
        self.finish_record(offset, told_before);
    }

    /// Steps over a record by which another partition tells values of series whose siblings are compared here.
    pub fn step_guests(&mut self, offset: Offset, log_time: Micros, guests: &Guests) {
        let told_before = self.pending.anomalies.len();
        self.advance(offset, log_time);
        self.look_for_silences(Silences::look);
        let watermark = self.watermark();
        if let (Some(config), Some(place)) = (&self.config.peers, self.place)
            && watermark > Watermark::START
        {
            self.siblings.welcome(guests, place, config, watermark.0);
            self.judge_meetings();
        }
        self.finish_record(offset, told_before);
    }

    /// Steps over a record by which another partition tells what it found of a series that lives here: that is told here, once.
    pub fn step_verdict(&mut self, offset: Offset, log_time: Micros, mut verdict: Anomaly) {
        let told_before = self.pending.anomalies.len();
        self.advance(offset, log_time);
        self.look_for_silences(Silences::look);
        let (table, now) = (&self.table, self.log_clock);
        if self.place.is_some() && self.siblings.accept(&mut verdict, table, now) {
            self.pending.anomalies.push(verdict);
        }
        self.finish_record(offset, told_before);
    }

    /// Steps over the record that ends a history: as an empty one, but that what was not measured any more is not missing.
    pub fn step_end(&mut self, offset: Offset, log_time: Micros) {
        let told_before = self.pending.anomalies.len();
        // As if the last sample had a record of its own: how many share one decides nothing.
        self.log_clock = self.log_clock.max(self.silences.heard());
        self.look_for_silences(Silences::look_at_all);
        self.advance(offset, log_time);
        self.finish_record(offset, told_before);
    }

    /// `told_before`: how many anomalies were pending before the record.
    fn finish_record(&mut self, offset: Offset, told_before: usize) {
        let told = &mut self.pending.anomalies;
        self.correlation
            .end_record(self.log_clock, self.table.directory(), told);
        if let Some(config) = &self.config.detection {
            let told = &mut told[told_before..];
            self.alarm_budgets
                .spend(config.alarms_per_month, self.log_clock, told);
        }
        self.correlation.prune(self.watermark().0);
        self.next_offset = offset.next();
        if self.next_offset <= self.committed_until {
            self.settle();
        }
    }

    /// Tells of what the watermark shows to be missing.
    fn look_for_silences(&mut self, look: fn(&mut Silences, &mut View<'_>, Micros)) {
        let watermark = self.watermark().0;
        if let Some(config) = &self.config.detection {
            let mut view = View {
                config,
                directory: self.table.directory(),
                resources: self.table.resources(),
                detectors: &mut self.per_series.detectors,
                calendar: &mut self.calendar,
                told: &mut self.pending.anomalies,
                skipped: &mut self.pending.counts.skipped_alarms,
            };
            look(&mut self.silences, &mut view, watermark);
        }
    }

    /// Moves the log clock (never back) to that of the record at an offset, and seals what the watermark passes.
    fn advance(&mut self, offset: Offset, log_time: Micros) {
        let is_covered = offset.next() <= self.committed_until;
        if let Some(config) = &self.config.detection {
            self.silences.wake(config, self.log_clock, log_time);
        }
        self.log_clock = self.log_clock.max(log_time);
        let watermark = self.watermark();
        while let Some(entry) = self.open.first_entry() {
            let start = *entry.key();
            if !watermark.seals(Resolution::TenSeconds.window(start)) {
                break;
            }
            let window = entry.remove();
            self.seal_levels_before(start, is_covered);
            let folded = window.fold();
            self.watch_resources(start);
            if self.config.detection.is_some() {
                let seen = || folded.iter().filter_map(SealedRollup::glance);
                self.forests.fold(start, seen(), &self.table);
                if self.config.peers.is_some() {
                    self.siblings.fold(start, seen(), &self.table);
                }
            }
            for (series, time, value) in window.uncommitted() {
                self.pending.sealed.push(series, time, value);
            }
            self.emit(Resolution::TenSeconds, start, &folded, is_covered);
            for rollup in &folded {
                self.levels[0].merge(start, rollup);
            }
        }
        if watermark > Watermark::START {
            self.watch_resources(watermark.0);
            self.judge_meetings();
            self.seal_levels_before(watermark.0, is_covered);
        }
    }

    /// Lets the forests and the groups of siblings judge the minute that ends at or before a time.
    fn watch_resources(&mut self, time: Micros) {
        let Some(config) = &self.config.detection else {
            return;
        };
        // What contributes is in the event, and what moved at its time may be forgotten when its minute closes.
        let (calendar, table) = (&mut self.calendar, &self.table);
        let judging = Judging {
            config,
            table,
            announce: true,
        };
        let found = self.forests.close_before(time, judging, calendar);
        self.pending.anomalies.extend(found.events);
        self.pending.counts.skipped_alarms += found.skipped;
        if let Some(config) = &self.config.peers {
            let comparing = Comparing {
                config,
                table,
                place: self.place,
                announce: true,
            };
            let compared = self.siblings.close_before(time, comparing, calendar);
            self.pending.anomalies.extend(compared.events);
            self.pending.guests.extend(compared.guests);
        }
    }

    /// Compares siblings of several partitions that meet here, in the minutes that are complete.
    fn judge_meetings(&mut self) {
        if let (Some(config), Some(_)) = (&self.config.peers, self.place) {
            let comparing = Comparing {
                config,
                table: &self.table,
                place: self.place,
                announce: true,
            };
            let watermark = self.watermark().0;
            let judged = self.siblings.judge_meetings(watermark, comparing);
            self.pending.anomalies.extend(judged.events);
            self.pending.verdicts.extend(judged.verdicts);
        }
    }

    /// Seals each level whose open window ends at or before a time, finest first, handing its rollups to the next.
    fn seal_levels_before(&mut self, time: Micros, is_covered: bool) {
        for i in 0..self.levels.len() {
            if self.levels[i].end().is_none_or(|end| end > time) {
                continue;
            }
            let resolution = self.levels[i].resolution();
            let Some((start, rollups)) = self.levels[i].seal() else {
                continue;
            };
            self.emit(resolution, start, &rollups, is_covered);
            // The next level's open window holds this one: an earlier one was sealed when this one's first samples were merged.
            if let Some(next) = self.levels.get_mut(i + 1) {
                for rollup in &rollups {
                    next.merge(start, rollup);
                }
            }
        }
    }

    /// Hands out sealed rollups; those that a record covered by a checkpoint seals are out already, and would be dropped when it ends.
    fn emit(
        &mut self,
        resolution: Resolution,
        start: Micros,
        rollups: &[SealedRollup],
        is_covered: bool,
    ) {
        if is_covered {
            return;
        }
        let kinds = self.table.kinds();
        let interval_of = |sealed: &SealedRollup| match sealed.interval {
            INTERVAL_UNKNOWN => 0,
            // Late samples alone filled the window.
            0 => self.per_series.interval[sealed.series as usize],
            known => known,
        };
        self.pending
            .rollups
            .extend(rollups.iter().filter_map(|sealed| {
                let rollup = sealed.rollup?;
                Some(RollupRow {
                    series: sealed.series,
                    resolution,
                    start,
                    rollup,
                    rate: rate_of(kinds, sealed.series, &rollup),
                    completeness: completeness(rollup.count, interval_of(sealed), resolution),
                    revision: 0,
                })
            }));
    }

    /// Takes the samples of a record that was appended at `log_time`.
    fn take(&mut self, log_time: Micros, batch: &SampleBatch, mut scored: impl FnMut(Scored)) {
        let watermark = self.watermark().0;
        let future = self.log_clock.saturating_add(self.config.future_max);
        let late_from = if self.config.backfill {
            Micros::MIN
        } else {
            // By the record's own time: a log clock that once ran ahead must not make of what is measured now something too old to be kept.
            log_time.saturating_sub(self.config.late_max)
        };
        let mut counts = Counts {
            read: batch.rows() as u64,
            ..Counts::default()
        };
        // Rows of one record mostly share their window: remember the last one.
        let mut current: Option<(Micros, &mut OpenWindow)> = None;
        let mut resolver = self.table.resolver(batch, self.config.series_max);
        for row in 0..batch.rows() {
            let (time, value) = (batch.times()[row], batch.values()[row]);
            if !(TIME_MIN..TIME_MAX).contains(&time) || time > future {
                counts.invalid += 1;
                continue;
            }
            let window = Resolution::TenSeconds.window(time);
            let late = window.end <= watermark;
            if late && time < late_from {
                counts.late += 1;
                continue;
            }
            let Some(series) = resolver.series(row) else {
                counts.invalid += 1;
                continue;
            };
            let slot = series as usize;
            if self.per_series.grow(slot + 1) {
                let resource_of = |series| resolver.resource_of(series);
                self.forecasting.grow(resolver.directory(), resource_of);
            }
            if late {
                self.pending.late.push(LateSample {
                    series,
                    time,
                    value,
                    watermark,
                    interval: self.per_series.interval[slot],
                });
                continue;
            }
            let resource = resolver.resource_of(series);
            if self.correlation.is_waiting() {
                let told = &mut self.pending.anomalies;
                self.correlation
                    .before(resource, time, resolver.directory(), told);
            }
            let open = match current {
                Some((start, open)) if start == window.start => open,
                _ => self.open.entry(window.start).or_default(),
            };
            let last_time = self.per_series.last_time[slot];
            if time > last_time {
                counts.accepted += 1;
                self.per_series.learn_interval(slot, time);
                self.per_series.last_time[slot] = time;
                open.push(series, time, value, self.per_series.interval(slot));
                let measure = match resolver.kind_of(series) {
                    Kind::Gauge => Some(value),
                    Kind::Counter => self.per_series.rates[slot].observe(time, value),
                };
                let measure = measure.filter(|measure| measure.is_finite());
                let effects = self.calendar.effects(resolver.directory(), series, time);
                if let Some(config) = &self.config.forecasting
                    && value.is_finite()
                {
                    let sample = Measure {
                        series,
                        time,
                        value,
                        measure,
                        lesson: effects.lesson(),
                    };
                    let mut view = forecasting::View {
                        config,
                        directory: resolver.directory(),
                        calendar: &mut self.calendar,
                        told: &mut self.pending,
                    };
                    self.forecasting.observe(&mut view, sample);
                }
                if let Some(config) = &self.config.detection {
                    // As long as nothing can be missing, nothing is looked up.
                    if time.saturating_sub(last_time) > (config.silence_s * 1e6) as Micros {
                        let mut view = View {
                            config,
                            directory: resolver.directory(),
                            resources: resolver.resources(),
                            detectors: &mut self.per_series.detectors,
                            calendar: &mut self.calendar,
                            told: &mut self.pending.anomalies,
                            skipped: &mut counts.skipped_alarms,
                        };
                        self.silences.end_silence(&mut view, resource, series, time);
                    }
                    self.silences.hear(config, resource, time);
                    if let Some(measure) = measure {
                        let detectors = &mut self.per_series.detectors[slot];
                        let ahead_s = self.calendar.utc_offset_s(time);
                        let observation =
                            detectors.observe_during(config, time, ahead_s, &effects, measure);
                        counts.skipped_alarms += u64::from(observation.skipped);
                        scored(Scored::of(
                            resolver.id_of(series),
                            time,
                            measure,
                            &observation,
                        ));
                        if observation.score >= MOVE_SCORE {
                            self.correlation.note(Unusual {
                                resource,
                                service: ServiceKey::of(&resolver.of(series).labels),
                                series,
                                time,
                                score: observation.score,
                                direction: observation.direction,
                                interval: self.per_series.interval[slot],
                            });
                        }
                        if observation.announce {
                            let expected_distance = f64::from(self.per_series.interval[slot]);
                            let completeness =
                                (expected_distance / (time - last_time) as f64).min(1.0);
                            let mut event = anomaly_event(
                                resolver.of(series),
                                time,
                                measure,
                                &observation,
                                completeness,
                            );
                            self.calendar.name_events(&mut event, time);
                            self.correlation.wait(resource, series, time, event);
                        }
                    }
                }
            } else {
                match open.offer(series, time, value, self.per_series.interval(slot)) {
                    Offered::New => counts.accepted += 1,
                    Offered::Duplicate => counts.duplicate += 1,
                    Offered::Replaced => {
                        counts.accepted += 1;
                        counts.replaced += 1;
                    }
                    Offered::ReplacedCommitted => {
                        counts.accepted += 1;
                        counts.replaced += 1;
                        self.pending.replacing.push(series, time, value);
                    }
                }
            }
            current = Some((window.start, open));
        }
        self.pending.counts.add(&counts);
    }

    /// Event time up to which windows are sealed.
    pub fn watermark(&self) -> Watermark {
        if self.log_clock == Micros::MIN {
            Watermark::START
        } else {
            Watermark(self.log_clock.saturating_sub(self.config.lateness))
        }
    }

    /// The latest append time seen, microseconds; `Micros::MIN` before the first record.
    pub fn log_clock(&self) -> Micros {
        self.log_clock
    }

    /// The offset after the last record stepped over.
    pub fn next_offset(&self) -> NextOffset {
        self.next_offset
    }

    /// Whether the records stepped over are all below what the chain covered at restore.
    pub fn is_replaying(&self) -> bool {
        self.next_offset < self.committed_until
    }

    /// The series by their index.
    pub fn directory(&self) -> &SeriesDirectory {
        self.table.directory()
    }

    /// How many resources (hosts, containers, …) its series are of.
    pub fn resource_count(&self) -> usize {
        self.table.resources().len()
    }

    /// The index of a series.
    pub fn series_index(&self, id: SeriesId) -> Option<u32> {
        self.table.get(id)
    }

    /// What no checkpoint covers yet.
    pub fn pending(&self) -> &Pending {
        &self.pending
    }

    /// How many samples wait for a checkpoint.
    pub fn pending_samples(&self) -> usize {
        let open: usize = self.open.values().map(OpenWindow::uncommitted_len).sum();
        self.pending.sealed.len() + self.pending.replacing.len() + self.pending.late.len() + open
    }

    /// Samples that no checkpoint covers and that stand nowhere in the archive: what a query adds to the committed files. Late and
    /// replacing samples are left out until the checkpoint has resolved them.
    pub fn hot_samples(&self) -> SampleRows {
        let mut rows = self.pending.sealed.clone();
        for (series, time, value) in self.open.values().flat_map(OpenWindow::uncommitted) {
            rows.push(series, time, value);
        }
        rows
    }

    /// All samples that the next checkpoint writes.
    pub fn checkpoint_samples(&self) -> SampleRows {
        let mut rows = self.hot_samples();
        rows.series.extend(&self.pending.replacing.series);
        rows.time.extend(&self.pending.replacing.time);
        rows.value.extend(&self.pending.replacing.value);
        rows
    }

    /// All rollups that the next checkpoint writes: newly sealed ones and revised ones.
    pub fn checkpoint_rollups(&self) -> Vec<RollupRow> {
        self.pending
            .rollups
            .iter()
            .chain(&self.pending.revised)
            .copied()
            .collect()
    }

    /// Everything pending is final now (or was, when this record was first stepped over).
    pub fn settle(&mut self) {
        self.pending = Pending::default();
        self.open.values_mut().for_each(OpenWindow::set_committed);
    }
}
