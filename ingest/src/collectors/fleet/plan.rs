//! What is planted on a host, week by week: a pure function of the host's seed, its roles and the number of the week. Makes no values.

use schemas::Micros;
use schemas::time::{DAY, HOUR, MINUTE, Window};

use super::noise::{WEEK, mix, pick, uniform};

/// Each stretch of this length has one spike.
const SPIKE_SLOT: Micros = 4 * HOUR;
/// How long after its clean-up a disk is said to have been cleaned: the time in which a detector may speak of it.
const CLEAN_UP_SHOWN: Micros = 10 * MINUTE;
/// How long after a change of level it is news; then the new level is normal.
const SHIFT_SHOWN: Micros = HOUR;
/// How long after a host has turned its day is news; what lasts for hours is where it usually is.
const TURNED_SHOWN: Micros = 6 * HOUR;
/// When the day is turned: at its peak, which becomes its trough.
const TURNED_AT: Micros = 14 * HOUR;
/// The disk that fills is full after so long, and is then replaced.
const FILLING_PERIOD: Micros = 4 * WEEK;
/// The disk that is cleaned fills anew so often.
const CLEAN_UP_PERIOD: Micros = DAY;
/// No spike is so near to a restart or a silence that one would hide the other.
const APART: Micros = 15 * MINUTE;

/// What may befall a host. A small fleet has several on one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Roles {
    /// Its data disk fills for four weeks.
    pub(super) filling_disk: bool,
    /// Its data disk is cleaned each day.
    pub(super) sawtooth_disk: bool,
    /// A program on it loses memory until the host is restarted.
    pub(super) leak: bool,
    /// Its fan fails for a day or two.
    pub(super) fan: bool,
    /// Its collector dies for some hours.
    pub(super) silent: bool,
    /// For two days of a week it works at night, unlike the others.
    pub(super) odd: bool,
}

impl Roles {
    /// How many roles there are.
    const COUNT: usize = 6;
    /// Hosts that share one set of roles. 8: two of them are just hosts.
    const POD: usize = 8;

    /// The roles of a host in a fleet: each is played once in every eight hosts.
    pub(super) fn of(seed: u64, host: usize, hosts: usize) -> Roles {
        let first = host / Self::POD * Self::POD;
        let size = Self::POD.min(hosts - first);
        let turn = (mix(seed, first as u64) % Self::POD as u64) as usize;
        let plays = |role: usize| first + (role + turn) % size == host;
        let [filling_disk, sawtooth_disk, leak, fan, silent, odd]: [bool; Self::COUNT] =
            std::array::from_fn(plays);
        Roles {
            filling_disk,
            // One disk can't do both.
            sawtooth_disk: sawtooth_disk && !filling_disk,
            leak,
            fan,
            silent,
            odd,
        }
    }
}

/// Where a spike shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpikeOf {
    Cpu,
    Load,
    Network,
    DiskWrites,
    Processes,
    NetworkErrors,
}

impl SpikeOf {
    /// All of them, in the order of their discriminants.
    pub(super) const ALL: [SpikeOf; 6] = [
        SpikeOf::Cpu,
        SpikeOf::Load,
        SpikeOf::Network,
        SpikeOf::DiskWrites,
        SpikeOf::Processes,
        SpikeOf::NetworkErrors,
    ];
}

/// A short stretch in which something is far above normal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spike {
    pub(super) of: SpikeOf,
    pub(super) when: Window,
    /// 1 to 1.5: what the usual height of such a spike is multiplied by.
    pub(super) strength: f64,
}

/// What is planted on a host in a week, and what its counters carry over from the week before.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Number of the week since 1970.
    pub(super) week: i64,
    /// When the host had come up before this week's restart.
    pub(super) boot_before: Micros,
    /// When it is down.
    pub(super) restart: Window,
    /// When its collector is dead.
    pub(super) silence: Option<Window>,
    /// When memory is being lost; ends with the restart.
    pub(super) leak: Option<Window>,
    /// When the fan stands still.
    pub(super) fan: Option<Window>,
    /// When its day is turned: it works at night.
    pub(super) turned: Option<Window>,
    /// That of the week before.
    pub(super) turned_before: Option<Window>,
    /// Spikes since `boot_before`, in time order.
    pub(super) spikes: Vec<Spike>,
}

/// Whole minutes from a part of a week: everything planted begins at one, so that samples a minute apart see it begin.
fn minutes(seed: u64, key: u64, least: Micros, most: Micros) -> Micros {
    pick(seed, key, least / MINUTE, most / MINUTE) * MINUTE
}

/// The parts of a week that do not depend on each other's spikes.
struct Outline {
    restart: Window,
    silence: Option<Window>,
    leak: Option<Window>,
    fan: Option<Window>,
    turned: Option<Window>,
}

impl Outline {
    // The keys 1 to 9 are those of the outline, larger ones of the spikes. Restarts lie in the first five and a half days, silences
    // after them, so that they never meet.
    fn of(seed: u64, roles: Roles, week: i64) -> Outline {
        let (start, seed) = (week * WEEK, mix(seed, week as u64));
        let stretch = |at: Micros, length: Micros| Window {
            start: start + at,
            end: start + at + length,
        };
        let leak = roles.leak.then(|| {
            stretch(
                minutes(seed, 1, 6 * HOUR, 36 * HOUR),
                minutes(seed, 2, 2 * DAY, 4 * DAY),
            )
        });
        let down = minutes(seed, 3, 2 * MINUTE, 5 * MINUTE);
        let restart = match leak {
            Some(leak) => Window {
                start: leak.end,
                end: leak.end + down,
            },
            None => stretch(minutes(seed, 4, 12 * HOUR, 132 * HOUR), down),
        };
        Outline {
            restart,
            silence: roles.silent.then(|| {
                stretch(
                    minutes(seed, 5, 6 * DAY, 6 * DAY + 19 * HOUR),
                    minutes(seed, 6, HOUR, 4 * HOUR),
                )
            }),
            leak,
            fan: roles.fan.then(|| {
                stretch(
                    minutes(seed, 7, 12 * HOUR, 84 * HOUR),
                    minutes(seed, 8, DAY, 2 * DAY),
                )
            }),
            turned: roles
                .odd
                .then(|| stretch(pick(seed, 9, 1, 4) * DAY + TURNED_AT, 2 * DAY)),
        }
    }

    fn spikes(&self, seed: u64, week: i64) -> impl Iterator<Item = Spike> {
        let (start, seed) = (week * WEEK, mix(seed, week as u64));
        let quiet: Vec<Window> = self.silence.into_iter().chain([self.restart]).collect();
        (0..WEEK / SPIKE_SLOT).filter_map(move |slot| {
            let key = 16 + 8 * slot as u64;
            let length = minutes(seed, key, 3 * MINUTE, 13 * MINUTE);
            let begin = start + slot * SPIKE_SLOT + minutes(seed, key + 1, 0, SPIKE_SLOT - length);
            let when = Window {
                start: begin,
                end: begin + length,
            };
            let hidden = quiet
                .iter()
                .any(|quiet| when.start < quiet.end + APART && quiet.start < when.end + APART);
            let of = SpikeOf::ALL[pick(seed, key + 2, 0, SpikeOf::ALL.len() as i64) as usize];
            let strength = 1.0 + 0.5 * uniform(seed, key + 3);
            (!hidden).then_some(Spike { of, when, strength })
        })
    }
}

impl Plan {
    /// The plan of the week that holds a time.
    pub(super) fn of(seed: u64, roles: Roles, time: Micros) -> Plan {
        let week = time.div_euclid(WEEK);
        let (before, now) = (
            Outline::of(seed, roles, week - 1),
            Outline::of(seed, roles, week),
        );
        let boot_before = before.restart.end;
        let spikes = before
            .spikes(seed, week - 1)
            .filter(|spike| spike.when.start >= boot_before)
            .chain(now.spikes(seed, week))
            .collect();
        Plan {
            week,
            boot_before,
            restart: now.restart,
            silence: now.silence,
            leak: now.leak,
            fan: now.fan,
            turned: now.turned,
            turned_before: before.turned,
            spikes,
        }
    }

    /// Whether nothing comes from the host: it is down, or its collector is dead.
    pub(super) fn is_silent(&self, time: Micros) -> bool {
        self.restart.contains(time) || self.silence.is_some_and(|silence| silence.contains(time))
    }

    /// When the host came up that runs at a time.
    pub(super) fn boot(&self, time: Micros) -> Micros {
        if time >= self.restart.end {
            self.restart.end
        } else {
            self.boot_before
        }
    }
}

/// The present turn of something that repeats from a moment that the seed decides, a whole minute.
fn turn(seed: u64, key: u64, period: Micros, time: Micros) -> Window {
    let shift = minutes(seed, key, 0, period);
    let start = (time - shift).div_euclid(period) * period + shift;
    Window {
        start,
        end: start + period,
    }
}

/// The four weeks in which the filling disk fills that hold a time.
pub(super) fn filling(seed: u64, time: Micros) -> Window {
    turn(seed, 10, FILLING_PERIOD, time)
}

/// The day between two clean-ups that holds a time.
pub(super) fn between_clean_ups(seed: u64, time: Micros) -> Window {
    turn(seed, 11, CLEAN_UP_PERIOD, time)
}

/// What was planted, without its place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Planting {
    Spike(SpikeOf),
    LevelShift { up: bool },
    Leak,
    Restart,
    Silence,
    NewDisk,
    FillingDisk,
    CleanUp,
    UnlikeSiblings,
}

/// Everything planted on a host that begins in a week, in no order.
pub(super) fn plantings(seed: u64, roles: Roles, week: i64) -> Vec<(Planting, Window)> {
    let outline = Outline::of(seed, roles, week);
    let within = Window {
        start: week * WEEK,
        end: (week + 1) * WEEK,
    };
    let mut found: Vec<(Planting, Window)> = outline
        .spikes(seed, week)
        .map(|spike| (Planting::Spike(spike.of), spike.when))
        .collect();
    found.push((
        Planting::Restart,
        Window {
            // It shows when the host is back.
            end: outline.restart.end + APART,
            ..outline.restart
        },
    ));
    found.extend(outline.silence.map(|when| (Planting::Silence, when)));
    found.extend(outline.leak.map(|when| (Planting::Leak, when)));
    if let Some(fan) = outline.fan {
        for (up, start) in [(true, fan.start), (false, fan.end)] {
            let end = start + SHIFT_SHOWN;
            found.push((Planting::LevelShift { up }, Window { start, end }));
        }
    }
    if roles.filling_disk {
        let turn = filling(seed, within.end - 1);
        let news = Window {
            start: turn.start,
            end: turn.start + SHIFT_SHOWN,
        };
        found.extend(
            within
                .contains(news.start)
                .then_some((Planting::NewDisk, news)),
        );
        // The new disk is one story, that it fills another.
        let turn = filling(seed, within.end - 1 - SHIFT_SHOWN);
        let filling = Window {
            start: turn.start + SHIFT_SHOWN,
            ..turn
        };
        found.extend(
            within
                .contains(filling.start)
                .then_some((Planting::FillingDisk, filling)),
        );
    }
    if roles.sawtooth_disk {
        let first = between_clean_ups(seed, within.start).start;
        for start in (first..within.end).step_by(CLEAN_UP_PERIOD as usize) {
            let when = Window {
                start,
                end: start + CLEAN_UP_SHOWN,
            };
            found.extend(within.contains(start).then_some((Planting::CleanUp, when)));
        }
    }
    if let Some(turned) = outline.turned {
        let news = Window {
            end: turned.start + TURNED_SHOWN,
            ..turned
        };
        found.push((Planting::UnlikeSiblings, news));
    }
    found
}

/// Nothing planted lasts longer.
pub(super) const LONGEST: Micros = FILLING_PERIOD;
