//! What goes on in a simulated host at a time: a pure function of its seed, its roles and the plan of the week.

use schemas::Micros;
use schemas::time::{HOUR, MINUTE, SECOND};

use super::noise::{Season, gauss, mix, phase, uniform, wander};
use super::plan::{Plan, Roles, SpikeOf, between_clean_ups, filling};

/// Logical processors of each host.
pub(super) const CPUS: f64 = 8.0;
/// Memory of each host, bytes.
pub(super) const MEMORY: f64 = 34_359_738_368.0;
/// Size of the root file system, bytes.
pub(super) const ROOT_DISK: f64 = 42_949_672_960.0;
/// Size of the data file system, bytes.
pub(super) const DATA_DISK: f64 = 536_870_912_000.0;
/// Share of time that waits for disks, always.
const IO_WAIT: f64 = 0.012;
/// What an operation on the disk moves, bytes.
const OPERATION_BYTES: f64 = 16_384.0;
/// What a packet carries, bytes.
const PACKET_BYTES: f64 = 900.0;
/// The jitter of a counter lies between lines a minute apart.
const JITTER_STEP: Micros = MINUTE;
/// How strong that jitter is, share of the usual rate. Far below the least rate of a season (0.35), so that counters never fall.
const JITTER: f64 = 0.2;

/// How much later the day begins of a host that works at night.
const TURNED_BY: Micros = 12 * HOUR;

/// A season at a time, or turned if the host's day is.
fn season_at(season: &Season, plan: &Plan, time: Micros) -> f64 {
    if plan.turned.is_some_and(|turned| turned.contains(time)) {
        turned(season).at(time)
    } else {
        season.at(time)
    }
}

/// The integral of [`season_at`] since boot.
fn season_sum(season: &Season, plan: &Plan, boot: Micros, time: Micros) -> f64 {
    let turns = [plan.turned_before, plan.turned].into_iter().flatten();
    turns.fold(season.sum(boot, time), |sum, turn| {
        let (from, to) = (turn.start.max(boot), turn.end.min(time));
        if from < to {
            sum + turned(season).sum(from, to) - season.sum(from, to)
        } else {
            sum
        }
    })
}

fn turned(season: &Season) -> Season {
    Season {
        delay: season.delay + TURNED_BY,
        ..*season
    }
}

/// The unchanging character of a host.
#[derive(Debug, Clone)]
pub(super) struct Character {
    seed: u64,
    roles: Roles,
    /// Share of busy time, 0 to 1.
    busy: Season,
    /// Received bytes per second.
    received: Season,
    /// Written bytes per second.
    written: Season,
    /// Processes begun per second.
    created: Season,
    memory_used: f64,
    data_used: f64,
}

/// Everything that the series of a host show at one time. Shares are 0 to 1, sizes bytes, counters since boot.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Vitals {
    pub(super) uptime_s: f64,
    pub(super) busy: f64,
    pub(super) user: f64,
    pub(super) user_s: f64,
    pub(super) system_s: f64,
    pub(super) idle_s: f64,
    pub(super) io_wait: f64,
    pub(super) load: f64,
    pub(super) memory_used: f64,
    pub(super) memory_cached: f64,
    pub(super) memory_buffers: f64,
    pub(super) root_used: f64,
    pub(super) data_used: f64,
    pub(super) disk_read: f64,
    pub(super) disk_reads: f64,
    pub(super) disk_written: f64,
    pub(super) disk_writes: f64,
    pub(super) received: f64,
    pub(super) received_packets: f64,
    pub(super) sent: f64,
    pub(super) sent_packets: f64,
    pub(super) receive_errors: f64,
    pub(super) running: f64,
    pub(super) sleeping: f64,
    pub(super) created: f64,
    pub(super) temperature: f64,
}

/// Four decimals: what a person reads, and what compresses.
fn share(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// What the spikes add: at this moment (per second), and since boot.
#[derive(Default)]
struct Spikes {
    now: [f64; SpikeOf::ALL.len()],
    sum: [f64; SpikeOf::ALL.len()],
}

impl Character {
    pub(super) fn new(seed: u64, roles: Roles) -> Self {
        let about = |key: u64, level: f64| level * (0.85 + 0.3 * uniform(seed, key));
        let season = |level: f64, daily: f64, weekly: f64| Season {
            level,
            daily,
            weekly,
            delay: 0,
        };
        Character {
            seed,
            roles,
            busy: season(about(100, 0.26), 0.45, 0.15),
            received: season(about(101, 2.4e6), 0.5, 0.15),
            written: season(about(102, 3.1e6), 0.35, 0.1),
            created: season(about(103, 2.6), 0.3, 0.1),
            memory_used: about(104, 0.36),
            data_used: about(105, 0.48),
        }
    }

    /// How much a spike of usual strength adds: a share of time, processes, bytes or packets per second.
    fn height(&self, of: SpikeOf) -> f64 {
        match of {
            // With the season's peak (0.48) and the strongest spike below 1.
            SpikeOf::Cpu => 0.3,
            SpikeOf::Load => 7.0,
            SpikeOf::Network => 6.0 * self.received.level,
            SpikeOf::DiskWrites => 8.0 * self.written.level,
            SpikeOf::Processes => 60.0,
            SpikeOf::NetworkErrors => 25.0,
        }
    }

    fn spikes(&self, plan: &Plan, boot: Micros, time: Micros) -> Spikes {
        let mut spikes = Spikes::default();
        for spike in &plan.spikes {
            if spike.when.start >= time {
                break;
            }
            if spike.when.start < boot {
                continue;
            }
            let (height, slot) = (self.height(spike.of) * spike.strength, spike.of as usize);
            let lasted = spike.when.end.min(time) - spike.when.start;
            spikes.sum[slot] += height * (lasted as f64 / SECOND as f64);
            if time < spike.when.end {
                spikes.now[slot] = height;
            }
        }
        spikes
    }

    /// A counter since boot that follows a season, with jitter.
    fn counter(&self, key: u64, season: &Season, plan: &Plan, time: Micros) -> f64 {
        let boot = plan.boot(time);
        let seed = mix(self.seed, key);
        let jitter = |time| wander(seed, time, JITTER_STEP);
        let width = JITTER * season.level * (JITTER_STEP / SECOND) as f64;
        season_sum(season, plan, boot, time) + width * (jitter(time) - jitter(boot))
    }

    fn data_share(&self, time: Micros) -> f64 {
        if self.roles.filling_disk {
            let turn = filling(self.seed, time);
            return 0.3 + 0.66 * phase(time - turn.start, turn.end - turn.start);
        }
        if self.roles.sawtooth_disk {
            let turn = between_clean_ups(self.seed, time);
            // Some days bring more than others.
            let height = 0.3 + 0.15 * uniform(self.seed, turn.start as u64);
            return 0.35 + height * phase(time - turn.start, turn.end - turn.start);
        }
        // Temporary files: a little more and a little less, within a share of a percent.
        self.data_used + 0.004 * wander(mix(self.seed, 200), time, 6 * HOUR)
    }

    /// Everything at a time. `plan` is of the time's week, and the host is not silent then.
    pub(super) fn at(&self, plan: &Plan, time: Micros) -> Vitals {
        let boot = plan.boot(time);
        let spikes = self.spikes(plan, boot, time);
        let now = |of: SpikeOf| spikes.now[of as usize];
        let sum = |of: SpikeOf| spikes.sum[of as usize];
        let noise = |key: u64| gauss(mix(self.seed, key), time as u64);
        let uptime_s = (time - boot) as f64 / SECOND as f64;

        let calm = season_at(&self.busy, plan, time)
            + 0.03 * (wander(mix(self.seed, 201), time, HOUR / 2) - 0.5);
        let busy = share((calm + now(SpikeOf::Cpu) + 0.008 * noise(202)).clamp(0.01, 0.98));
        let user = share(0.78 * busy);
        let busy_s = CPUS * (season_sum(&self.busy, plan, boot, time) + sum(SpikeOf::Cpu));

        let leaked = plan
            .leak
            .filter(|leak| leak.contains(time))
            .map_or(0.0, |leak| {
                0.5 * (time - leak.start) as f64 / (leak.end - leak.start) as f64
            });
        let memory_used = self.memory_used + 0.12 * (calm - self.busy.level) + leaked;
        let memory_used = memory_used + 0.002 * noise(203);
        // The kernel gives up cached pages for what programs need.
        let memory_cached = (0.7 * (0.95 - memory_used)).clamp(0.02, 0.33) + 0.001 * noise(204);

        let received = self.counter(205, &self.received, plan, time) + sum(SpikeOf::Network);
        let sent = 0.6 * self.counter(206, &self.received, plan, time);
        let written = self.counter(207, &self.written, plan, time) + sum(SpikeOf::DiskWrites);
        let read = 0.4 * self.counter(208, &self.written, plan, time);
        let fan_off = plan.fan.is_some_and(|fan| fan.contains(time));
        let heat = 38.0 + 24.0 * (calm + now(SpikeOf::Cpu)) + if fan_off { 14.0 } else { 0.0 };
        Vitals {
            uptime_s,
            busy,
            user,
            user_s: 0.78 * busy_s,
            system_s: 0.22 * busy_s,
            idle_s: CPUS * uptime_s * (1.0 - IO_WAIT) - busy_s,
            io_wait: share((IO_WAIT + 0.002 * noise(209)).min(1.0 - busy)),
            load: ((CPUS * calm + now(SpikeOf::Load) + 0.12 * noise(210)).max(0.0) * 100.0).round()
                / 100.0,
            memory_used: (MEMORY * memory_used).round(),
            memory_cached: (MEMORY * memory_cached).round(),
            memory_buffers: (MEMORY * (0.02 + 0.002 * wander(mix(self.seed, 211), time, HOUR)))
                .round(),
            root_used: (ROOT_DISK * (0.31 + 0.003 * wander(mix(self.seed, 212), time, 12 * HOUR)))
                .round(),
            data_used: (DATA_DISK * self.data_share(time)).round(),
            disk_read: read.floor(),
            disk_reads: (read / OPERATION_BYTES).floor(),
            disk_written: written.floor(),
            disk_writes: (written / OPERATION_BYTES).floor(),
            received: received.floor(),
            received_packets: (received / PACKET_BYTES).floor(),
            sent: sent.floor(),
            sent_packets: (sent / PACKET_BYTES).floor(),
            receive_errors: sum(SpikeOf::NetworkErrors).floor(),
            running: (2.0 + CPUS * calm / 2.0 + now(SpikeOf::Processes) + 0.6 * noise(213))
                .max(1.0)
                .round(),
            sleeping: (190.0 + 24.0 * wander(mix(self.seed, 214), time, HOUR)).round(),
            created: self.counter(215, &self.created, plan, time).floor(),
            temperature: ((heat + 0.3 * noise(216)) * 10.0).round() / 10.0,
        }
    }
}
