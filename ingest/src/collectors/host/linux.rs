//! Reads a Linux host through `/proc` and `/sys`. Asks only for what answers at once: no network file systems.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

use procfs::{CpuTime, Current, CurrentSI, KernelStats, LoadAverage, Meminfo, Uptime};

use super::metrics::*;
use super::{HostOptions, Sheet};

/// The kernel counts disk transfers in sectors of 512 bytes, whatever the disk's own are.
const SECTOR_BYTES: f64 = 512.0;
/// Local file systems without a device under `/dev`.
const POOLED_FILE_SYSTEMS: [&str; 2] = ["zfs", "bcachefs"];
/// Images: always full, by design.
const IMAGE_FILE_SYSTEMS: [&str; 4] = ["squashfs", "iso9660", "erofs", "udf"];

/// The modes of one processor, in ticks.
type Modes = [(&'static str, u64); 7];

/// Reads the host; remembers the CPU times of the last collection.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// All processors together first, then each.
    last_cpus: Vec<Modes>,
}

impl Reader {
    pub(super) fn read(&mut self, options: &HostOptions, sheet: &mut Sheet<'_>) {
        self.cpu(options, sheet);
        load_and_uptime(sheet);
        memory(sheet);
        paging(sheet);
        file_systems(sheet);
        disks(sheet);
        networks(sheet);
        processes(sheet);
        temperatures(Path::new("/sys/class/hwmon"), sheet);
    }

    fn cpu(&mut self, options: &HostOptions, sheet: &mut Sheet<'_>) {
        let stats = match KernelStats::current() {
            Ok(stats) => stats,
            Err(error) => return sheet.complain("/proc/stat", &error),
        };
        sheet.add(CPU_COUNT, &[], stats.cpu_time.len() as f64);
        sheet.add(PROCESSES_CREATED, &[], stats.processes as f64);
        let cpus: Vec<Modes> = std::iter::once(&stats.total)
            .chain(&stats.cpu_time)
            .map(modes)
            .collect();
        let ticks_per_second = procfs::ticks_per_second() as f64;
        let shown = if options.per_cpu { cpus.len() } else { 1 };
        for (index, cpu) in cpus.iter().enumerate().take(shown) {
            let number = index.checked_sub(1).map(|number| number.to_string());
            let with = |mode: Option<&'static str>| {
                let mut attributes = Vec::with_capacity(2);
                attributes.extend(mode.map(|mode| ("cpu.mode", mode)));
                attributes.extend(
                    number
                        .as_deref()
                        .map(|number| ("cpu.logical_number", number)),
                );
                attributes
            };
            for (mode, ticks) in cpu {
                sheet.add(
                    CPU_TIME,
                    &with(Some(mode)),
                    *ticks as f64 / ticks_per_second,
                );
            }
            let Some(shares) = self.last_cpus.get(index).and_then(|last| shares(last, cpu)) else {
                continue;
            };
            let mut busy = 0.0;
            for (mode, share) in shares {
                sheet.add(CPU_UTILIZATION, &with(Some(mode)), share);
                busy += if matches!(mode, "idle" | "iowait") {
                    0.0
                } else {
                    share
                };
            }
            sheet.add(CPU_UTILIZATION, &with(None), busy);
        }
        self.last_cpus = cpus;
    }
}

fn modes(cpu: &CpuTime) -> Modes {
    [
        ("user", cpu.user),
        ("nice", cpu.nice),
        ("system", cpu.system),
        ("idle", cpu.idle),
        ("iowait", cpu.iowait.unwrap_or(0)),
        ("interrupt", cpu.irq.unwrap_or(0) + cpu.softirq.unwrap_or(0)),
        ("steal", cpu.steal.unwrap_or(0)),
    ]
}

/// The share of each mode between two readings; `None` if no time passed. A mode that runs backwards (iowait does) counts as none.
pub(super) fn shares(last: &Modes, now: &Modes) -> Option<[(&'static str, f64); 7]> {
    let mut passed = [("", 0.0); 7];
    for (slot, (before, (mode, ticks))) in passed.iter_mut().zip(last.iter().zip(now)) {
        *slot = (mode, ticks.saturating_sub(before.1) as f64);
    }
    let all: f64 = passed.iter().map(|(_, ticks)| ticks).sum();
    (all > 0.0).then(|| passed.map(|(mode, ticks)| (mode, ticks / all)))
}

fn load_and_uptime(sheet: &mut Sheet<'_>) {
    match LoadAverage::current() {
        Ok(load) => {
            for (metric, value) in [
                (LOAD_1M, load.one),
                (LOAD_5M, load.five),
                (LOAD_15M, load.fifteen),
            ] {
                // The kernel tells hundredths; the f32 between must not add digits.
                sheet.add(metric, &[], (f64::from(value) * 100.0).round() / 100.0);
            }
        }
        Err(error) => sheet.complain("/proc/loadavg", &error),
    }
    match Uptime::current() {
        Ok(uptime) => sheet.add(UPTIME, &[], uptime.uptime),
        Err(error) => sheet.complain("/proc/uptime", &error),
    }
}

fn memory(sheet: &mut Sheet<'_>) {
    let memory = match Meminfo::current() {
        Ok(memory) => memory,
        Err(error) => return sheet.complain("/proc/meminfo", &error),
    };
    let cached = memory.cached + memory.s_reclaimable.unwrap_or(0);
    let used = memory
        .mem_total
        .saturating_sub(memory.mem_free + memory.buffers + cached);
    sheet.add(MEMORY_LIMIT, &[], memory.mem_total as f64);
    for (state, bytes) in [
        ("used", used),
        ("free", memory.mem_free),
        ("cached", cached),
        ("buffers", memory.buffers),
    ] {
        sheet.add(
            MEMORY_USAGE,
            &[("system.memory.state", state)],
            bytes as f64,
        );
        sheet.add(
            MEMORY_UTILIZATION,
            &[("system.memory.state", state)],
            bytes as f64 / memory.mem_total as f64,
        );
    }
    if let Some(available) = memory.mem_available {
        sheet.add(MEMORY_AVAILABLE, &[], available as f64);
    }
    for (state, bytes) in [
        ("reclaimable", memory.s_reclaimable),
        ("unreclaimable", memory.s_unreclaim),
    ] {
        if let Some(bytes) = bytes {
            sheet.add(
                MEMORY_SLAB,
                &[("system.memory.linux.slab.state", state)],
                bytes as f64,
            );
        }
    }
    // Without swap the utilization is 0 ÷ 0, which is not a value.
    for (state, bytes) in [
        ("used", memory.swap_total.saturating_sub(memory.swap_free)),
        ("free", memory.swap_free),
    ] {
        sheet.add(
            PAGING_USAGE,
            &[("system.paging.state", state)],
            bytes as f64,
        );
        sheet.add(
            PAGING_UTILIZATION,
            &[("system.paging.state", state)],
            bytes as f64 / memory.swap_total as f64,
        );
    }
}

fn paging(sheet: &mut Sheet<'_>) {
    let counts = match procfs::vmstat() {
        Ok(counts) => counts,
        Err(error) => return sheet.complain("/proc/vmstat", &error),
    };
    let count = |name: &str| counts.get(name).map(|count| *count as f64);
    if let (Some(all), Some(major)) = (count("pgfault"), count("pgmajfault")) {
        sheet.add(
            PAGING_FAULTS,
            &[("system.paging.fault.type", "major")],
            major,
        );
        sheet.add(
            PAGING_FAULTS,
            &[("system.paging.fault.type", "minor")],
            all - major,
        );
    }
    for (name, direction) in [("pswpin", "in"), ("pswpout", "out")] {
        if let Some(pages) = count(name) {
            sheet.add(
                PAGING_OPERATIONS,
                &[("system.paging.direction", direction)],
                pages,
            );
        }
    }
}

/// Whether a mount is a real, local file system worth watching. Network ones are left out: asking a dead one blocks for ever.
pub(super) fn is_watched(device: &str, mountpoint: &str, kind: &str) -> bool {
    if IMAGE_FILE_SYSTEMS.contains(&kind)
        || device.starts_with("/dev/loop")
        || kind.starts_with("fuse") && !device.starts_with("/dev/")
    {
        return false;
    }
    // The root of a container is an overlay on the host's disk, which is what fills up.
    device.starts_with("/dev/")
        || POOLED_FILE_SYSTEMS.contains(&kind)
        || (kind == "overlay" && mountpoint == "/")
}

fn file_systems(sheet: &mut Sheet<'_>) {
    let mut mounts = match procfs::mounts() {
        Ok(mounts) => mounts,
        Err(error) => return sheet.complain("/proc/mounts", &error),
    };
    mounts.retain(|mount| is_watched(&mount.fs_spec, &mount.fs_file, &mount.fs_vfstype));
    // A device mounted in several places is one file system: it is named by the shortest path.
    mounts.sort_by_key(|mount| mount.fs_file.len());
    let mut seen = HashSet::new();
    for mount in mounts {
        if !seen.insert(mount.fs_spec.clone()) {
            continue;
        }
        let sizes = match rustix::fs::statvfs(mount.fs_file.as_str()) {
            Ok(sizes) => sizes,
            Err(error) => {
                sheet.complain(&mount.fs_file, &error);
                continue;
            }
        };
        let place = [
            ("system.device", mount.fs_spec.as_str()),
            ("system.filesystem.mountpoint", mount.fs_file.as_str()),
            ("system.filesystem.type", mount.fs_vfstype.as_str()),
        ];
        let with = |state: &'static str| {
            [
                place[0],
                place[1],
                place[2],
                ("system.filesystem.state", state),
            ]
        };
        let bytes = |blocks: u64| blocks as f64 * sizes.f_frsize as f64;
        let (used, free) = (
            bytes(sizes.f_blocks.saturating_sub(sizes.f_bfree)),
            bytes(sizes.f_bavail),
        );
        sheet.add(FILESYSTEM_LIMIT, &place, bytes(sizes.f_blocks));
        sheet.add(FILESYSTEM_USAGE, &with("used"), used);
        sheet.add(FILESYSTEM_USAGE, &with("free"), free);
        sheet.add(
            FILESYSTEM_USAGE,
            &with("reserved"),
            bytes(sizes.f_bfree.saturating_sub(sizes.f_bavail)),
        );
        sheet.add(FILESYSTEM_UTILIZATION, &place, used / (used + free));
        // btrfs and others have no fixed inodes and answer 0.
        if sizes.f_files > 0 {
            let used = sizes.f_files.saturating_sub(sizes.f_ffree) as f64;
            sheet.add(INODES_USAGE, &with("used"), used);
            sheet.add(INODES_USAGE, &with("free"), sizes.f_ffree as f64);
            sheet.add(INODES_UTILIZATION, &place, used / sizes.f_files as f64);
        }
    }
}

fn disks(sheet: &mut Sheet<'_>) {
    let disks = match procfs::diskstats() {
        Ok(disks) => disks,
        Err(error) => return sheet.complain("/proc/diskstats", &error),
    };
    // Whole disks only: partitions would count every byte twice. `/sys/block` lists them; where it is hidden, all are taken.
    let whole: HashSet<String> = fs::read_dir("/sys/block")
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        })
        .unwrap_or_default();
    for disk in disks {
        let is_virtual = ["loop", "ram", "zram", "fd", "sr"]
            .iter()
            .any(|prefix| disk.name.starts_with(prefix));
        // Names under /sys write `!` for the `/` of `cciss/c0d0`.
        if is_virtual || !(whole.is_empty() || whole.contains(&disk.name.replace('/', "!"))) {
            continue;
        }
        let directions = [
            ("read", disk.sectors_read, disk.reads, disk.time_reading),
            (
                "write",
                disk.sectors_written,
                disk.writes,
                disk.time_writing,
            ),
        ];
        for (direction, sectors, operations, time_ms) in directions {
            let labels = [
                ("system.device", disk.name.as_str()),
                ("disk.io.direction", direction),
            ];
            sheet.add(DISK_IO, &labels, sectors as f64 * SECTOR_BYTES);
            sheet.add(DISK_OPERATIONS, &labels, operations as f64);
            sheet.add(DISK_OPERATION_TIME, &labels, time_ms as f64 / 1000.0);
        }
        sheet.add(
            DISK_IO_TIME,
            &[("system.device", disk.name.as_str())],
            disk.time_in_progress as f64 / 1000.0,
        );
    }
}

fn networks(sheet: &mut Sheet<'_>) {
    let interfaces = match procfs::net::dev_status() {
        Ok(interfaces) => interfaces.into_iter().collect::<BTreeMap<_, _>>(),
        Err(error) => return sheet.complain("/proc/net/dev", &error),
    };
    for (name, status) in interfaces.iter().filter(|(name, _)| *name != "lo") {
        let directions = [
            (
                "receive",
                status.recv_bytes,
                status.recv_packets,
                status.recv_errs,
                status.recv_drop,
            ),
            (
                "transmit",
                status.sent_bytes,
                status.sent_packets,
                status.sent_errs,
                status.sent_drop,
            ),
        ];
        for (direction, bytes, packets, errors, dropped) in directions {
            let labels = [
                ("network.interface.name", name.as_str()),
                ("network.io.direction", direction),
            ];
            sheet.add(NETWORK_IO, &labels, bytes as f64);
            sheet.add(NETWORK_PACKETS, &labels, packets as f64);
            sheet.add(NETWORK_ERRORS, &labels, errors as f64);
            sheet.add(NETWORK_DROPPED, &labels, dropped as f64);
        }
    }
}

/// The state of a process by its letter in `/proc/PID/stat`.
pub(super) fn process_state(letter: char) -> &'static str {
    match letter {
        'R' => "running",
        // Uninterruptible and idle kernel threads wait too.
        'S' | 'D' | 'I' => "sleeping",
        'T' | 't' => "stopped",
        'Z' | 'X' | 'x' => "defunct",
        _ => "other",
    }
}

fn processes(sheet: &mut Sheet<'_>) {
    let entries = match fs::read_dir("/proc") {
        Ok(entries) => entries,
        Err(error) => return sheet.complain("/proc", &error),
    };
    let mut counts = BTreeMap::from(
        ["running", "sleeping", "stopped", "defunct", "other"].map(|state| (state, 0u64)),
    );
    for entry in entries.flatten() {
        if !entry
            .file_name()
            .as_encoded_bytes()
            .iter()
            .all(u8::is_ascii_digit)
        {
            continue;
        }
        // A process may end between the listing and the reading.
        let Ok(stat) = fs::read(entry.path().join("stat")) else {
            continue;
        };
        // The name in parentheses may hold anything, also parentheses; the state follows the last one.
        let letter = stat
            .iter()
            .rposition(|byte| *byte == b')')
            .and_then(|at| stat.get(at + 2));
        *counts
            .entry(process_state(
                letter.map_or('?', |letter| char::from(*letter)),
            ))
            .or_default() += 1;
    }
    for (state, count) in counts {
        sheet.add(PROCESS_COUNT, &[("process.state", state)], count as f64);
    }
}

/// Reads `hwmonN/tempM_input` (thousandths of a degree) of each chip. A host without sensors, such as a virtual one, has no such folder.
pub(super) fn temperatures(root: &Path, sheet: &mut Sheet<'_>) {
    let Ok(chips) = fs::read_dir(root) else {
        return;
    };
    let text = |path: &Path| {
        fs::read_to_string(path)
            .ok()
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    };
    let mut chips: Vec<_> = chips.flatten().map(|chip| chip.path()).collect();
    chips.sort();
    for chip in chips {
        let id = chip
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let name = text(&chip.join("name")).unwrap_or_else(|| id.clone());
        for number in 1..=64 {
            let Some(thousandths) = text(&chip.join(format!("temp{number}_input")))
                .and_then(|text| text.parse::<f64>().ok())
            else {
                continue;
            };
            let sensor = text(&chip.join(format!("temp{number}_label")))
                .unwrap_or_else(|| format!("temp{number}"));
            let labels = [
                ("hw.id", format!("{id}/temp{number}")),
                ("hw.name", format!("{name} {sensor}")),
            ];
            sheet.add(
                TEMPERATURE,
                &[(labels[0].0, &labels[0].1), (labels[1].0, &labels[1].1)],
                thousandths / 1000.0,
            );
        }
    }
}
