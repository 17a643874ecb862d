//! The table of all metrics of a host: name, unit, kind, attributes. Names follow OpenTelemetry's semantic conventions where these have one.

use schemas::Kind;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricInfo {
    /// Its name.
    pub name: &'static str,
    /// Its unit (UCUM).
    pub unit: &'static str,
    /// Gauge, or counter since boot.
    pub kind: Kind,
    /// The labels it has beside `host.name`; `?` marks those that are not always there.
    pub attributes: &'static str,
    /// What it says.
    pub meaning: &'static str,
}

macro_rules! table {
    ($($constant:ident $name:literal $unit:literal $kind:ident [$($attributes:literal)?] $meaning:literal;)*) => {
        $(pub(in crate::collectors) const $constant: &MetricInfo =
            &MetricInfo { name: $name, unit: $unit, kind: Kind::$kind, attributes: concat!($($attributes)?), meaning: $meaning };)*

        /// Every metric of a host.
        ///
        /// | metric | unit | kind | attributes | meaning |
        /// |---|---|---|---|---|
        $(#[doc = concat!("| `", $name, "` | ", $unit, " | ", stringify!($kind), " | ", $($attributes,)? " | ", $meaning, " |")])*
        pub const METRICS: &[&MetricInfo] = &[$($constant),*];
    };
}

table! {
    CPU_TIME "system.cpu.time" "s" Counter ["cpu.mode, cpu.logical_number?"] "time spent in a mode, all processors together";
    CPU_UTILIZATION "system.cpu.utilization" "1" Gauge ["cpu.mode?, cpu.logical_number?"] "share of time in a mode since the last collection, 0 to 1; without mode: all that is not idle or iowait";
    CPU_COUNT "system.cpu.logical.count" "{cpu}" Gauge [] "logical processors";
    LOAD_1M "system.cpu.load_average.1m" "{thread}" Gauge [] "load average over a minute";
    LOAD_5M "system.cpu.load_average.5m" "{thread}" Gauge [] "load average over five minutes";
    LOAD_15M "system.cpu.load_average.15m" "{thread}" Gauge [] "load average over fifteen minutes";
    UPTIME "system.uptime" "s" Gauge [] "time since boot";
    MEMORY_USAGE "system.memory.usage" "By" Gauge ["system.memory.state"] "memory by state: used, free, cached, buffers; they add up to the limit";
    MEMORY_UTILIZATION "system.memory.utilization" "1" Gauge ["system.memory.state"] "the same as a share of the limit, 0 to 1";
    MEMORY_LIMIT "system.memory.limit" "By" Gauge [] "memory in all";
    MEMORY_AVAILABLE "system.memory.linux.available" "By" Gauge [] "what new programs can have without swapping";
    MEMORY_SLAB "system.memory.linux.slab.usage" "By" Gauge ["system.memory.linux.slab.state"] "kernel caches: reclaimable, unreclaimable";
    PAGING_USAGE "system.paging.usage" "By" Gauge ["system.paging.state"] "swap by state: used, free";
    PAGING_UTILIZATION "system.paging.utilization" "1" Gauge ["system.paging.state"] "the same as a share of all swap, 0 to 1";
    PAGING_FAULTS "system.paging.faults" "{fault}" Counter ["system.paging.fault.type"] "page faults: major, minor";
    PAGING_OPERATIONS "system.paging.operations" "{operation}" Counter ["system.paging.direction"] "pages swapped in, out";
    FILESYSTEM_USAGE "system.filesystem.usage" "By" Gauge ["system.device, system.filesystem.mountpoint, .type, .state"] "space by state: used, free, reserved (for root)";
    FILESYSTEM_LIMIT "system.filesystem.limit" "By" Gauge ["system.device, system.filesystem.mountpoint, .type"] "space in all";
    FILESYSTEM_UTILIZATION "system.filesystem.utilization" "1" Gauge ["system.device, system.filesystem.mountpoint, .type"] "used ÷ (used + free): the share of what programs may fill, 0 to 1";
    INODES_USAGE "system.filesystem.inodes.usage" "{inode}" Gauge ["system.device, system.filesystem.mountpoint, .type, .state"] "inodes: used, free";
    INODES_UTILIZATION "system.filesystem.inodes.utilization" "1" Gauge ["system.device, system.filesystem.mountpoint, .type"] "used inodes as a share of all, 0 to 1";
    DISK_IO "system.disk.io" "By" Counter ["system.device, disk.io.direction"] "bytes read, written";
    DISK_OPERATIONS "system.disk.operations" "{operation}" Counter ["system.device, disk.io.direction"] "operations that ended: read, write";
    DISK_OPERATION_TIME "system.disk.operation_time" "s" Counter ["system.device, disk.io.direction"] "time of these operations added up";
    DISK_IO_TIME "system.disk.io_time" "s" Counter ["system.device"] "time in which the disk was busy";
    NETWORK_IO "system.network.io" "By" Counter ["network.interface.name, network.io.direction"] "bytes: receive, transmit";
    NETWORK_PACKETS "system.network.packet.count" "{packet}" Counter ["network.interface.name, network.io.direction"] "packets";
    NETWORK_ERRORS "system.network.errors" "{error}" Counter ["network.interface.name, network.io.direction"] "packets with errors";
    NETWORK_DROPPED "system.network.packet.dropped" "{packet}" Counter ["network.interface.name, network.io.direction"] "packets dropped";
    PROCESS_COUNT "system.process.count" "{process}" Gauge ["process.state"] "processes: running, sleeping, stopped, defunct, other";
    PROCESSES_CREATED "system.process.created" "{process}" Counter [] "processes begun";
    TEMPERATURE "hw.temperature" "Cel" Gauge ["hw.id, hw.name"] "temperature of a sensor";
}
