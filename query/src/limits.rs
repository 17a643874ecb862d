//! What one query may cost, and what happens when it costs more.

use std::path::PathBuf;
use std::time::Duration;

/// The bounds of every query. Passing one is an error that names the limit, its value and the setting that moves it.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Time from admission to the last row taken by the reader (`query.timeout`). At its end the answer ends with an error. Default 30 s.
    pub timeout: Duration,
    /// Memory that one query's operators may hold, bytes (`query.memory`). A query that needs more spills if `spill_directory` is
    /// set, else fails. The pool counts what operators buffer, not the batches in flight, so allow for some more. Default 256 MiB.
    pub memory_bytes: usize,
    /// Memory that all queries together may hold, bytes (`query.memory_total`). Default 512 MiB.
    pub memory_bytes_total: usize,
    /// Rows of one answer (`query.rows_max`). So many are delivered, then the answer ends with an error. Default 1,000,000.
    pub rows_max: u64,
    /// Queries that run at once (`query.concurrent_max`). A further one waits. Default 4.
    pub concurrent_max: usize,
    /// Queries that may wait (`query.waiting_max`); a further one is refused at once. Default 32.
    pub waiting_max: usize,
    /// How long a query waits for its turn (`query.wait`) before it is refused. Default 10 s.
    pub wait: Duration,
    /// Threads that queries run on, and partitions of their plans (`query.threads`). Default: the cores of the machine, at most 8.
    pub threads: usize,
    /// Whether each file is compared with its SHA-256 in the chain before this engine first uses it (`query.verify_files`). It costs one whole
    /// read of the file; without it, damage that still decodes gives wrong values. Default true.
    pub verify_files: bool,
    /// Where sorts and aggregations spill (`query.spill`); a place inside the data directory. `None`, the default: nowhere.
    pub spill_directory: Option<PathBuf>,
    /// Disk that all spills together may take, bytes (`query.spill`). Default 1 GiB.
    pub spill_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            timeout: Duration::from_secs(30),
            memory_bytes: 256 << 20,
            memory_bytes_total: 512 << 20,
            rows_max: 1_000_000,
            concurrent_max: 4,
            waiting_max: 32,
            wait: Duration::from_secs(10),
            threads: std::thread::available_parallelism().map_or(2, |cores| cores.get().min(8)),
            verify_files: true,
            spill_directory: None,
            spill_bytes: 1 << 30,
        }
    }
}
