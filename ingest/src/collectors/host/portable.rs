//! Reads any host through the sysinfo crate: fewer metrics than Linux gives, under the same names.

use std::collections::{BTreeMap, HashSet};

use sysinfo::{
    Components, Disks, Networks, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System,
};

use super::metrics::*;
use super::{HostOptions, Sheet};

/// Reads the host; sysinfo remembers what utilizations need.
#[derive(Default)]
pub(super) struct Reader {
    system: Option<System>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("portable::Reader")
    }
}

impl Reader {
    pub(super) fn read(&mut self, options: &HostOptions, sheet: &mut Sheet<'_>) {
        self.system(options, sheet);
        if let Ok(load) = System::load_average() {
            for (metric, value) in [
                (LOAD_1M, load.one),
                (LOAD_5M, load.five),
                (LOAD_15M, load.fifteen),
            ] {
                sheet.add(metric, &[], value);
            }
        }
        if let Ok(uptime) = System::uptime() {
            sheet.add(UPTIME, &[], uptime as f64);
        }
        disks(sheet);
        networks(sheet);
        temperatures(sheet);
    }

    fn system(&mut self, options: &HostOptions, sheet: &mut Sheet<'_>) {
        let is_first = self.system.is_none();
        let system = match self.system.take().map_or_else(System::new, Ok) {
            Ok(system) => self.system.insert(system),
            Err(error) => return sheet.complain("system", &error),
        };
        system.refresh_memory();
        system.refresh_cpu_usage();
        system.refresh_processes_specifics(
            ProcessesToUpdate::All,
            true,
            ProcessRefreshKind::nothing(),
        );

        sheet.add(CPU_COUNT, &[], system.cpus().len() as f64);
        // A usage needs two readings.
        if !is_first {
            sheet.add(
                CPU_UTILIZATION,
                &[],
                f64::from(system.global_cpu_usage()) / 100.0,
            );
            for (number, cpu) in system.cpus().iter().enumerate().filter(|_| options.per_cpu) {
                sheet.add(
                    CPU_UTILIZATION,
                    &[("cpu.logical_number", &number.to_string())],
                    f64::from(cpu.usage()) / 100.0,
                );
            }
        }
        let total = system.total_memory() as f64;
        sheet.add(MEMORY_LIMIT, &[], total);
        for (state, bytes) in [
            ("used", system.used_memory()),
            (
                "free",
                system.total_memory().saturating_sub(system.used_memory()),
            ),
        ] {
            sheet.add(
                MEMORY_USAGE,
                &[("system.memory.state", state)],
                bytes as f64,
            );
            sheet.add(
                MEMORY_UTILIZATION,
                &[("system.memory.state", state)],
                bytes as f64 / total,
            );
        }
        for (state, bytes) in [("used", system.used_swap()), ("free", system.free_swap())] {
            sheet.add(
                PAGING_USAGE,
                &[("system.paging.state", state)],
                bytes as f64,
            );
            sheet.add(
                PAGING_UTILIZATION,
                &[("system.paging.state", state)],
                bytes as f64 / system.total_swap() as f64,
            );
        }
        let mut counts = BTreeMap::from(
            ["running", "sleeping", "stopped", "defunct", "other"].map(|state| (state, 0u64)),
        );
        for process in system
            .processes()
            .values()
            .filter(|process| process.thread_kind().is_none())
        {
            *counts.entry(state(process.status())).or_default() += 1;
        }
        for (state, count) in counts {
            sheet.add(PROCESS_COUNT, &[("process.state", state)], count as f64);
        }
    }
}

fn state(status: ProcessStatus) -> &'static str {
    match status {
        ProcessStatus::Run => "running",
        ProcessStatus::Sleep | ProcessStatus::Idle | ProcessStatus::UninterruptibleDiskSleep => {
            "sleeping"
        }
        ProcessStatus::Stop | ProcessStatus::Tracing => "stopped",
        ProcessStatus::Zombie | ProcessStatus::Dead => "defunct",
        _ => "other",
    }
}

fn disks(sheet: &mut Sheet<'_>) {
    let disks = match Disks::new_with_refreshed_list() {
        Ok(disks) => disks,
        Err(error) => return sheet.complain("disks", &error),
    };
    // What is mounted twice at one place is seen as it was mounted last; a device counts its I/O once.
    let mounted: BTreeMap<_, _> = disks
        .iter()
        .map(|disk| (disk.mount_point(), disk))
        .collect();
    let mut counted = HashSet::new();
    for disk in mounted.into_values() {
        let (device, mountpoint, kind) = (
            disk.name().to_string_lossy(),
            disk.mount_point().to_string_lossy(),
            disk.file_system().to_string_lossy(),
        );
        let place = [
            ("system.device", &*device),
            ("system.filesystem.mountpoint", &*mountpoint),
            ("system.filesystem.type", &*kind),
        ];
        let with = |state: &'static str| {
            [
                place[0],
                place[1],
                place[2],
                ("system.filesystem.state", state),
            ]
        };
        let (total, free) = (disk.total_space() as f64, disk.available_space() as f64);
        sheet.add(FILESYSTEM_LIMIT, &place, total);
        sheet.add(FILESYSTEM_USAGE, &with("used"), (total - free).max(0.0));
        sheet.add(FILESYSTEM_USAGE, &with("free"), free);
        sheet.add(
            FILESYSTEM_UTILIZATION,
            &place,
            ((total - free) / total).max(0.0),
        );
        if !counted.insert(disk.name()) {
            continue;
        }
        let usage = disk.usage();
        for (direction, bytes) in [
            ("read", usage.total_read_bytes),
            ("write", usage.total_written_bytes),
        ] {
            sheet.add(
                DISK_IO,
                &[
                    ("system.device", &*device),
                    ("disk.io.direction", direction),
                ],
                bytes as f64,
            );
        }
    }
}

fn networks(sheet: &mut Sheet<'_>) {
    let networks = match Networks::new_with_refreshed_list() {
        Ok(networks) => networks,
        Err(error) => return sheet.complain("networks", &error),
    };
    for (name, data) in networks
        .iter()
        .map(|(name, data)| (name.to_string_lossy(), data))
    {
        if name == "lo" || name == "lo0" {
            continue;
        }
        let directions = [
            (
                "receive",
                data.total_received(),
                data.total_packets_received(),
                data.total_errors_on_received(),
            ),
            (
                "transmit",
                data.total_transmitted(),
                data.total_packets_transmitted(),
                data.total_errors_on_transmitted(),
            ),
        ];
        for (direction, bytes, packets, errors) in directions {
            let labels = [
                ("network.interface.name", &*name),
                ("network.io.direction", direction),
            ];
            sheet.add(NETWORK_IO, &labels, bytes as f64);
            sheet.add(NETWORK_PACKETS, &labels, packets as f64);
            sheet.add(NETWORK_ERRORS, &labels, errors as f64);
        }
    }
}

fn temperatures(sheet: &mut Sheet<'_>) {
    let Ok(components) = Components::new_with_refreshed_list() else {
        return;
    };
    for component in components.iter() {
        if let Some(degrees) = component.temperature() {
            let name = component.label();
            sheet.add(
                TEMPERATURE,
                &[("hw.id", component.id().unwrap_or(name)), ("hw.name", name)],
                f64::from(degrees),
            );
        }
    }
}
