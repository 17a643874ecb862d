//! What the kernel tells of a running process.

use std::process::Child;

/// User and system time of a process, seconds.
///
/// # Panics
/// If it does not run.
pub fn cpu_seconds(child: &Child) -> f64 {
    let stat =
        std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("the process runs");
    let fields: Vec<&str> = stat
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .collect();
    let ticks: f64 = [11, 12]
        .iter()
        .map(|i| fields[*i].parse::<f64>().unwrap_or(0.0))
        .sum();
    ticks / 100.0
}

/// The most memory in RAM that it has had so far, MiB; 0 where the system does not tell.
pub fn peak_mb(child: &Child) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}

/// Processor time of the calling thread so far, nanoseconds: what other work on the machine takes is not in it.
///
/// # Panics
/// Where the kernel does not tell.
pub fn thread_cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().expect("a number of nanoseconds")
}
