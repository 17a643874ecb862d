//! The series of a simulated host: names and labels as the host collector has them, and what each shows.

use super::vitals::{CPUS, DATA_DISK, MEMORY, ROOT_DISK, Vitals};
use crate::collectors::host::metrics::{
    CPU_COUNT, CPU_TIME, CPU_UTILIZATION, DISK_IO, DISK_OPERATIONS, FILESYSTEM_LIMIT,
    FILESYSTEM_USAGE, FILESYSTEM_UTILIZATION, LOAD_1M, MEMORY_LIMIT, MEMORY_USAGE,
    MEMORY_UTILIZATION, MetricInfo, NETWORK_ERRORS, NETWORK_IO, NETWORK_PACKETS, PROCESS_COUNT,
    PROCESSES_CREATED, TEMPERATURE, UPTIME,
};

/// The labels of a series beside `host.name`.
pub(super) type Attributes = &'static [(&'static str, &'static str)];

/// Which series of a host: its metric and attributes.
pub(super) type Place = (&'static MetricInfo, Attributes);

/// The busy share of all processors.
pub(super) const BUSY: Place = (CPU_UTILIZATION, &[]);
/// The load average.
pub(super) const LOAD: Place = (LOAD_1M, &[]);
/// Bytes received.
pub(super) const RECEIVED: Place = (NETWORK_IO, RECEIVE);
/// Packets received with errors.
pub(super) const RECEIVE_ERRORS: Place = (NETWORK_ERRORS, RECEIVE);
/// Bytes written.
pub(super) const WRITTEN: Place = (DISK_IO, WRITE);
/// Processes that run.
pub(super) const RUNNING: Place = (PROCESS_COUNT, &[("process.state", "running")]);
/// Time since boot.
pub(super) const UP: Place = (UPTIME, &[]);
/// The share of memory that programs use.
pub(super) const MEMORY_USED: Place = (MEMORY_UTILIZATION, &[("system.memory.state", "used")]);
/// The share of the data disk that is used.
pub(super) const DATA_SHARE: Place = (FILESYSTEM_UTILIZATION, DATA);
/// The temperature of the processors.
pub(super) const CPU_TEMPERATURE: Place = (
    TEMPERATURE,
    &[
        ("hw.id", "hwmon0/temp1"),
        ("hw.name", "coretemp Package id 0"),
    ],
);

const RECEIVE: Attributes = &[
    ("network.interface.name", "eth0"),
    ("network.io.direction", "receive"),
];
const TRANSMIT: Attributes = &[
    ("network.interface.name", "eth0"),
    ("network.io.direction", "transmit"),
];
const READ: Attributes = &[("disk.io.direction", "read"), ("system.device", "vda")];
const WRITE: Attributes = &[("disk.io.direction", "write"), ("system.device", "vda")];

/// The labels of a file system, with its state where there is one.
macro_rules! file_system {
    ($device:literal, $mountpoint:literal $(, $state:literal)?) => {
        &[
            ("system.device", $device),
            ("system.filesystem.mountpoint", $mountpoint),
            ("system.filesystem.type", "ext4"),
            $(("system.filesystem.state", $state),)?
        ]
    };
}
const ROOT: Attributes = file_system!("/dev/vda1", "/");
const ROOT_USED: Attributes = file_system!("/dev/vda1", "/", "used");
const ROOT_FREE: Attributes = file_system!("/dev/vda1", "/", "free");
const DATA: Attributes = file_system!("/dev/vdb", "/data");
const DATA_USED: Attributes = file_system!("/dev/vdb", "/data", "used");
const DATA_FREE: Attributes = file_system!("/dev/vdb", "/data", "free");

/// What a series shows of a host.
pub(super) type Show = fn(&Vitals) -> f64;

fn memory_free(vitals: &Vitals) -> f64 {
    MEMORY - vitals.memory_used - vitals.memory_cached - vitals.memory_buffers
}

/// Every series of a host, in the order in which its samples are published.
pub(super) const SERIES: &[(Place, Show)] = &[
    (BUSY, |host| host.busy),
    ((CPU_UTILIZATION, &[("cpu.mode", "user")]), |host| host.user),
    ((CPU_UTILIZATION, &[("cpu.mode", "system")]), |host| {
        host.busy - host.user
    }),
    ((CPU_UTILIZATION, &[("cpu.mode", "iowait")]), |host| {
        host.io_wait
    }),
    ((CPU_UTILIZATION, &[("cpu.mode", "idle")]), |host| {
        1.0 - host.busy - host.io_wait
    }),
    ((CPU_TIME, &[("cpu.mode", "user")]), |host| host.user_s),
    ((CPU_TIME, &[("cpu.mode", "system")]), |host| host.system_s),
    ((CPU_TIME, &[("cpu.mode", "idle")]), |host| host.idle_s),
    ((CPU_COUNT, &[]), |_| CPUS),
    (LOAD, |host| host.load),
    (UP, |host| host.uptime_s),
    ((MEMORY_LIMIT, &[]), |_| MEMORY),
    ((MEMORY_USAGE, &[("system.memory.state", "used")]), |host| {
        host.memory_used
    }),
    (
        (MEMORY_USAGE, &[("system.memory.state", "cached")]),
        |host| host.memory_cached,
    ),
    (
        (MEMORY_USAGE, &[("system.memory.state", "buffers")]),
        |host| host.memory_buffers,
    ),
    (
        (MEMORY_USAGE, &[("system.memory.state", "free")]),
        memory_free,
    ),
    (MEMORY_USED, |host| host.memory_used / MEMORY),
    ((FILESYSTEM_LIMIT, ROOT), |_| ROOT_DISK),
    ((FILESYSTEM_USAGE, ROOT_USED), |host| host.root_used),
    ((FILESYSTEM_USAGE, ROOT_FREE), |host| {
        ROOT_DISK - host.root_used
    }),
    ((FILESYSTEM_UTILIZATION, ROOT), |host| {
        host.root_used / ROOT_DISK
    }),
    ((FILESYSTEM_LIMIT, DATA), |_| DATA_DISK),
    ((FILESYSTEM_USAGE, DATA_USED), |host| host.data_used),
    ((FILESYSTEM_USAGE, DATA_FREE), |host| {
        DATA_DISK - host.data_used
    }),
    (DATA_SHARE, |host| host.data_used / DATA_DISK),
    ((DISK_IO, READ), |host| host.disk_read),
    (WRITTEN, |host| host.disk_written),
    ((DISK_OPERATIONS, READ), |host| host.disk_reads),
    ((DISK_OPERATIONS, WRITE), |host| host.disk_writes),
    (RECEIVED, |host| host.received),
    ((NETWORK_IO, TRANSMIT), |host| host.sent),
    ((NETWORK_PACKETS, RECEIVE), |host| host.received_packets),
    ((NETWORK_PACKETS, TRANSMIT), |host| host.sent_packets),
    (RECEIVE_ERRORS, |host| host.receive_errors),
    (RUNNING, |host| host.running),
    ((PROCESS_COUNT, &[("process.state", "sleeping")]), |host| {
        host.sleeping
    }),
    ((PROCESSES_CREATED, &[]), |host| host.created),
    (CPU_TEMPERATURE, |host| host.temperature),
];
