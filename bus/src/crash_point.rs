//! Named places where a test can make the process die as if by `kill -9`. Compiled to nothing in release builds.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Every crash point there is, so that a test can go through all of them and a misspelt one is caught.
pub const CRASH_POINTS: &[&str] = &[
    "append.before_write",
    "append.before_sync",
    "append.before_answer",
    "claim.before_link",
    "claim.after_link",
    "claim.after_sweep",
    "warm_start.after_past",
    "warm_start.after_snapshot",
    "warm_start.after_link",
    "checkpoint.before_files",
    "checkpoint.after_samples",
    "checkpoint.after_files",
    "checkpoint.after_snapshot",
    "checkpoint.before_link",
    "checkpoint.after_link",
    "checkpoint.after_trim",
    "flush.before_store",
    "flush.after_store",
    "publish.after_events",
    "foreign.before_append",
    "foreign.after_letters",
    "foreign.after_append",
    "compaction.before_files",
    "compaction.after_files",
    "compaction.after_link",
    "compaction.after_delete",
];

/// Dies here if `TIDEWATCH_CRASH_AT` is `name` or `name:n` (at the n-th passing, from 1). Debug builds only.
pub fn crash_point(name: &'static str) {
    if !cfg!(debug_assertions) {
        return;
    }
    debug_assert!(
        CRASH_POINTS.contains(&name),
        "crash point `{name}` is not listed in CRASH_POINTS"
    );
    static TARGET: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let target = TARGET.get_or_init(|| {
        let text = std::env::var("TIDEWATCH_CRASH_AT").ok()?;
        let (name, nth) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), nth.parse().unwrap_or(1)))
    });
    if let Some((target, nth)) = target
        && target == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *nth
    {
        // No destructor, no flush: what a power switch or the OOM killer would leave.
        std::process::abort();
    }
}
