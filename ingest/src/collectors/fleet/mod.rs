//! A fleet of hosts that do not exist: a pure function of a seed and of time. No clock, no I/O; for the demo, for tests and benches.
//!
//! Read in this order: [`Fleet`], `plan` (what is planted, week by week), `vitals` (what goes on in a host at a time), `series` (which
//! series show it), `event` (how what was planted is told), `noise` (chance and season).
//!
//! The hosts are alike: their load follows the day and the week, their counters begin anew with each restart, and now and then something
//! is planted that a detector should find, or should not. Since every value is a function of seed, host and time alone, any stretch can
//! be made by itself, and what was made as history goes on without a seam.

mod event;
mod noise;
mod plan;
mod series;
mod vitals;

use std::collections::BTreeSet;

use schemas::demo::EVENT_METRIC;
use schemas::time::{SECOND, Window};
use schemas::{Kind, Labels, LabelsError, Micros, Resource, partition_of};

pub use event::{EventKind, PlantedEvent};

use crate::door::{Batcher, Place, Reason, TimeUnit, TooManySamples};
use noise::{WEEK, mix};
use plan::{LONGEST, Plan, Roles, plantings};
use series::SERIES;
use vitals::Character;

/// The most hosts of a fleet. 10,000: 380,000 series, more than a demo on one machine is good for.
pub const HOSTS_MAX: u32 = 10_000;

/// A simulated fleet. It remembers the plan of the week it made last, which changes how fast it is and nothing else.
#[derive(Debug, Clone)]
pub struct Fleet {
    hosts: Vec<Host>,
}

#[derive(Debug, Clone)]
struct Host {
    name: String,
    seed: u64,
    roles: Roles,
    character: Character,
    /// In the order of [`SERIES`].
    labels: Vec<Labels>,
    plan: Option<Plan>,
}

impl Fleet {
    /// The fleet of a seed with 1 to [`HOSTS_MAX`] hosts, named `demo-01` and so on.
    ///
    /// # Errors
    /// `LabelsError` never in practice: the labels are our own.
    pub fn new(seed: u64, hosts: u32) -> Result<Fleet, LabelsError> {
        let hosts = hosts.clamp(1, HOSTS_MAX) as usize;
        let hosts = (0..hosts)
            .map(|host| Host::new(seed, host, hosts))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Fleet { hosts })
    }

    /// How many series there are, those that tell of what was planted left out.
    pub fn series(&self) -> usize {
        self.hosts.len() * SERIES.len()
    }

    /// The partitions that its samples go to, of so many.
    pub fn partitions(&self, partitions: u32) -> BTreeSet<u32> {
        let hosts = self.hosts.iter();
        hosts
            .filter_map(|host| host.labels.first())
            .map(|labels| partition_of(Resource::of(labels).hash64(), partitions))
            .collect()
    }

    /// Puts all samples of a span into the door, at every multiple of `interval` (> 0) since 1970, and tells of what is planted in it.
    ///
    /// # Errors
    /// `TooManySamples` if the door takes fewer per request: ask for shorter spans.
    pub fn collect(
        &mut self,
        span: Window,
        interval: Micros,
        door: &mut Batcher,
    ) -> Result<(), TooManySamples> {
        let first = -(-span.start).div_euclid(interval) * interval;
        let times: Vec<Micros> = (first..span.end)
            .step_by(interval.unsigned_abs() as usize)
            .collect();
        let mut values = Vec::new();
        for host in &mut self.hosts {
            host.collect(&times, &mut values, door)?;
        }
        for event in self.events(span) {
            tell(&event, event.when.start, door)?;
        }
        Ok(())
    }

    /// Tells of what is under way at a time, as if it began then: for who begins to listen.
    ///
    /// # Errors
    /// `TooManySamples`, as [`Fleet::collect`].
    pub fn collect_under_way(
        &self,
        time: Micros,
        door: &mut Batcher,
    ) -> Result<(), TooManySamples> {
        let begun = Window {
            start: time - LONGEST,
            end: time,
        };
        for event in self.events(begun) {
            if event.when.end > time {
                tell(&event, time, door)?;
            }
        }
        Ok(())
    }

    /// What is planted and begins in a span, by host, then by time.
    pub fn events(&self, span: Window) -> Vec<PlantedEvent> {
        let weeks = span.start.div_euclid(WEEK)..=(span.end - 1).div_euclid(WEEK);
        let mut events = Vec::new();
        for host in &self.hosts {
            let mut found: Vec<_> = weeks
                .clone()
                .flat_map(|week| plantings(host.seed, host.roles, week))
                .filter(|(_, when)| span.contains(when.start))
                .collect();
            found.sort_by_key(|(_, when)| (when.start, when.end));
            events.extend(
                found.into_iter().filter_map(|(planting, when)| {
                    PlantedEvent::new(planting, when, &host.name).ok()
                }),
            );
        }
        events
    }
}

impl Host {
    fn new(seed: u64, host: usize, hosts: usize) -> Result<Host, LabelsError> {
        let (name, own_seed) = (format!("demo-{:02}", host + 1), mix(seed, host as u64 + 1));
        let roles = Roles::of(seed, host, hosts);
        let labels = SERIES
            .iter()
            .map(|((_, attributes), _)| event::labels(&name, attributes))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Host {
            character: Character::new(own_seed, roles),
            seed: own_seed,
            roles,
            labels,
            name,
            plan: None,
        })
    }

    /// Puts the samples of this host at these times into the door, series by series. `values` is scratch: times × series.
    fn collect(
        &mut self,
        times: &[Micros],
        values: &mut Vec<f64>,
        door: &mut Batcher,
    ) -> Result<(), TooManySamples> {
        values.clear();
        let mut spoken: Vec<Micros> = Vec::with_capacity(times.len());
        for time in times {
            let known = self.plan.take();
            let plan = known.filter(|plan| plan.week == time.div_euclid(WEEK));
            let plan = self
                .plan
                .insert(plan.unwrap_or_else(|| Plan::of(self.seed, self.roles, *time)));
            if plan.is_silent(*time) {
                continue;
            }
            let vitals = self.character.at(plan, *time);
            values.extend(SERIES.iter().map(|(_, show)| show(&vitals)));
            spoken.push(*time);
        }
        for (series, ((metric, _), _)) in SERIES.iter().enumerate() {
            let samples = spoken
                .iter()
                .enumerate()
                .map(|(row, time)| (*time, values[row * SERIES.len() + series]));
            let labels = self.labels[series].clone();
            put(metric.name, labels, metric.kind, samples, door)?;
        }
        Ok(())
    }
}

/// Tells of what is planted, by a sample at a time.
fn tell(event: &PlantedEvent, time: Micros, door: &mut Batcher) -> Result<(), TooManySamples> {
    let seconds = (event.when.end - event.when.start) as f64 / SECOND as f64;
    match event.labels() {
        Ok(labels) => put(
            EVENT_METRIC,
            labels,
            Kind::Gauge,
            std::iter::once((time, seconds)),
            door,
        ),
        Err(error) => {
            door.reject(1, Place::Collected, Reason::Syntax(error.to_string()));
            Ok(())
        }
    }
}

/// Puts the samples of one series into the door.
fn put(
    metric: &str,
    labels: Labels,
    kind: Kind,
    samples: impl ExactSizeIterator<Item = (Micros, f64)>,
    door: &mut Batcher,
) -> Result<(), TooManySamples> {
    let ids = door
        .metric(metric)
        .and_then(|metric| Ok((metric, door.label_set(labels)?)));
    match ids {
        Ok((metric, labels)) => {
            for (time, value) in samples {
                door.push(
                    metric,
                    labels,
                    Some(kind),
                    time,
                    TimeUnit::Microseconds,
                    value,
                    Place::Collected,
                )?;
            }
        }
        Err(reason) => door.reject(samples.len() as u64, Place::Collected, reason),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
