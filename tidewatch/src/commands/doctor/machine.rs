//! What the machine gives: a directory to write to, space, file descriptors, a clock.

use std::path::{Path, PathBuf};

use schemas::Micros;
use schemas::time::SECOND;

use super::report::Check;
use crate::clock::{self, CLOCK_MIN};
use crate::commands::terminal::{duration_text, grouped, size_text};
use crate::config::{BusKind, Config};
use crate::error_codes;
use crate::http::overview::{Overview, open_files_max};
use crate::stores;

/// File descriptors besides connections: segments, files of the archive, sockets of the log's client.
const FILES_BESIDES: u64 = 512;
/// Files that can still be made below which it is time to look. A day of checkpoints makes a few thousand.
const INODES_MIN: u64 = 10_000;
/// Space that a process with Kafka needs for spills and the aggregate store, besides what the settings say.
const SPACE_BESIDES: u64 = 64 << 20;
/// How far the log's clock may be ahead of ours: two clocks that are synchronised differ by less.
const CLOCK_AHEAD_MAX: Micros = 5 * SECOND;

/// File descriptors: those of the instance if one runs, else what one started from here would get.
pub(super) fn files(config: &Config, running: Option<&Overview>) -> Check {
    const NAME: &str = "file descriptors";
    let needed = config.server.connections_max as u64 + FILES_BESIDES;
    let (limit, whose) = match running {
        Some(overview) => (overview.process.open_files_max, "the instance"),
        None => (open_files_max(), "this shell"),
    };
    let used = running
        .and_then(|overview| overview.process.open_files)
        .map_or_else(String::new, |used| {
            format!(", {} are in use", grouped(used))
        });
    match limit {
        None => Check::ok(NAME, format!("{whose} may open any number{used}")),
        Some(limit) if limit >= needed => Check::ok(
            NAME,
            format!(
                "{whose} may open {}, {} are needed{used}",
                grouped(limit),
                grouped(needed)
            ),
        ),
        Some(limit) => Check::failure(
            NAME,
            format!(
                "{whose} may open {}, {} are needed ({} connections and {FILES_BESIDES} files){used}",
                grouped(limit),
                grouped(needed),
                grouped(config.server.connections_max as u64)
            ),
            &error_codes::FILE_LIMIT,
        ),
    }
}

/// Whether the data directory is there and can be written, and whether its disk has room.
pub(super) fn data_directory(config: &Config) -> Vec<Check> {
    const NAME: &str = "data directory";
    let Some(dir) = stores::existing_data_dir(config) else {
        return vec![match nearest(&config.data_dir) {
            Some(parent) if !config.data_dir.exists() && is_writable(&parent) => Check::ok(
                NAME,
                format!(
                    "`{}` is not there yet; `tidewatch run` makes it",
                    config.data_dir.display()
                ),
            ),
            _ => Check::failure(
                NAME,
                format!(
                    "`{}` is no directory, and this user can't make it",
                    config.data_dir.display()
                ),
                &error_codes::DATA_DIRECTORY,
            ),
        }];
    };
    let writable = match stores::create_data_dir(config) {
        Ok(dir) => Check::ok(NAME, format!("`{}` can be written", dir.display())),
        Err(error) => Check::failure(NAME, error.to_string(), &error_codes::DATA_DIRECTORY),
    };
    vec![writable, space(config, &dir)]
}

/// The nearest directory above a path that is there.
fn nearest(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors()
        .find(|above| above.is_dir())
        .map(Path::to_owned)
}

fn is_writable(dir: &Path) -> bool {
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok()
}

fn space(config: &Config, dir: &Path) -> Check {
    const NAME: &str = "disk space";
    let disk = match rustix::fs::statvfs(dir) {
        Ok(disk) => disk,
        Err(error) => {
            return Check::warning(
                NAME,
                format!("`{}`: the free space is not told: {error}", dir.display()),
                "look at it with `df`",
            );
        }
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let (needed, growth) = match config.bus.kind {
        BusKind::Embedded => (
            config.bus.free_bytes_min,
            config
                .bus
                .retention_bytes
                .saturating_sub(size_of(&dir.join("bus"))),
        ),
        BusKind::Kafka => (SPACE_BESIDES, 0),
    };
    let wished = needed + growth + config.query.spill_bytes;
    let told = format!(
        "{} free on the disk of `{}`",
        size_text(free),
        dir.display()
    );
    if free < needed {
        return Check::failure(
            NAME,
            format!(
                "{told}, {} needed: the log takes nothing more",
                size_text(needed)
            ),
            &error_codes::DISK_SPACE,
        );
    }
    if free < wished {
        return Check::warning(
            NAME,
            format!(
                "{told}, {} needed at once, {} when the log has grown to `bus.retention_size` and questions spill",
                size_text(needed),
                size_text(wished)
            ),
            "free some space, use a larger disk (setting data.dir), or lower bus.retention_size and query.spill",
        );
    }
    // File systems that make inodes as they go tell 0 of 0.
    if disk.f_files > 0 && disk.f_favail < INODES_MIN {
        return Check::warning(
            NAME,
            format!(
                "{told}, but only {} files more can be made there",
                grouped(disk.f_favail)
            ),
            "remove files, or use a file system with more inodes (setting data.dir)",
        );
    }
    Check::ok(NAME, format!("{told}, {} needed", size_text(wished)))
}

/// Bytes of all files below a directory; what can't be read counts nothing.
fn size_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Our clock against the newest time that the log or the archive holds.
pub(super) fn clock(newest: Option<Micros>) -> Check {
    judge_clock(clock::now(), newest)
}

fn judge_clock(now: Micros, newest: Option<Micros>) -> Check {
    const NAME: &str = "clock";
    let seconds = |micros: Micros| duration_text(micros as f64 / SECOND as f64);
    match newest {
        _ if now < CLOCK_MIN => Check::failure(
            NAME,
            "this machine's clock is before 2024: it was never set",
            &error_codes::CLOCK,
        ),
        None => Check::ok(NAME, "it is set; no log time to compare it with yet"),
        Some(newest) if newest > now + CLOCK_AHEAD_MAX => Check::failure(
            NAME,
            format!(
                "the newest log time is {} ahead of this machine's clock",
                seconds(newest - now)
            ),
            &error_codes::CLOCK,
        ),
        Some(newest) => Check::ok(
            NAME,
            format!("the newest log time is {} ago", seconds(now - newest)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    #[test]
    fn a_clock_is_judged_by_the_newest_log_time() {
        let now = CLOCK_MIN + 1_000 * SECOND;
        let state = |now, newest| judge_clock(now, newest).state;
        assert_eq!(state(now, None), State::Ok);
        assert_eq!(state(now, Some(now - 500 * SECOND)), State::Ok);
        assert_eq!(state(now, Some(now + 5 * SECOND)), State::Ok);
        assert_eq!(state(now, Some(now + 6 * SECOND)), State::Failure);
        assert_eq!(state(3, None), State::Failure);
        assert!(
            judge_clock(now, Some(now + 7_200 * SECOND))
                .found
                .contains("2 h 0 min ahead")
        );
    }
}
