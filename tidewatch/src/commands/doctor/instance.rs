//! The running instance: whether one answers, whether it is ready, whether something holds it.

use super::report::Check;
use crate::commands::terminal::duration_text;
use crate::config::Config;
use crate::error::CommandError;
use crate::error_codes;
use crate::http::overview::Overview;

/// A partition whose task has not come round for so long is held, seconds. A large checkpoint to a slow store takes less.
const TURN_AGE_S_MAX: f64 = 300.0;

/// What the instance says of itself; that none runs is worth a look and no failure.
pub(super) fn check(config: &Config, overview: &Result<Overview, CommandError>) -> Vec<Check> {
    const NAME: &str = "instance";
    let overview = match overview {
        Ok(overview) => overview,
        Err(error) => {
            let fix = format!("tidewatch run --data-dir {}", config.data_dir.display());
            return vec![Check::warning(NAME, error.to_string(), fix)];
        }
    };
    let mut checks = Vec::new();
    let about = format!(
        "version {}, process {}, up {}",
        overview.version,
        overview.process.id,
        duration_text(overview.process.uptime_s)
    );
    checks.push(match &overview.reason {
        None => Check::ok(
            NAME,
            format!("{about}, {} partitions run", overview.partitions.len()),
        ),
        Some(reason) => Check::failure(
            NAME,
            format!("{about}, not ready: {reason}"),
            &error_codes::NOT_READY,
        ),
    });
    let held = overview.partitions.iter().filter_map(|partition| {
        let age = partition.turn_age_s.filter(|age| *age > TURN_AGE_S_MAX)?;
        Some(Check::failure(
            NAME,
            format!(
                "partition {} has not come round for {}",
                partition.partition,
                duration_text(age)
            ),
            &error_codes::STUCK,
        ))
    });
    checks.extend(held);
    checks.extend(hardly_compared(config, overview));
    if overview.version != env!("CARGO_PKG_VERSION") {
        checks.push(Check::warning(
            NAME,
            format!(
                "it is version {}, this program is {}",
                overview.version,
                env!("CARGO_PKG_VERSION")
            ),
            "restart it with this version, or use its own program",
        ));
    }
    checks
}

/// Resources are compared with the others of their partition: whether there are enough for that, on the whole. Siblings may meet across partitions.
fn hardly_compared(config: &Config, overview: &Overview) -> Option<Check> {
    let processing = &config.processing;
    let enough = processing.peers.as_ref()?.members_min as usize;
    let partitions = overview.partitions.len();
    let resources: usize = overview.partitions.iter().map(|p| p.resources).sum();
    let what = if processing.siblings_across_partitions {
        "as a whole; their series are, across partitions"
    } else {
        "with each other"
    };
    (resources >= enough && resources < partitions * enough).then(|| {
        Check::warning(
            "comparison",
            format!("{resources} resources on {partitions} partitions: too few in each to be compared {what}"),
            "have eight or more per partition (bus.partitions, which a log or topic keeps as it was made), or see docs/detect.md",
        )
    })
}
