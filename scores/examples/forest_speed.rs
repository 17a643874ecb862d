//! How fast forests are grown and score, on one thread: `forest_speed ROWS FEATURES FILE`, FILE being little-endian doubles, row by row.
//! `benches/peers/forest.py` runs it beside other people's forests.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use analytics::forest::{ForestConfig, UnfittedForest};
use ndarray::Array2;

/// The best of this many runs counts.
const RUNS: usize = 7;

/// The processor time of this thread; where the system doesn't tell it, the time since `start`.
fn time(start: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let told = told.and_then(|text| text.split(' ').next()?.parse().ok());
    told.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

fn read(arguments: &[String]) -> Option<Array2<f64>> {
    let [rows, features, file] = arguments else {
        return None;
    };
    let bytes = std::fs::read(file).ok()?;
    let values = bytes
        .chunks_exact(8)
        .filter_map(|bytes| bytes.try_into().ok())
        .map(f64::from_le_bytes)
        .collect();
    Array2::from_shape_vec((rows.parse().ok()?, features.parse().ok()?), values).ok()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(rows) = read(&arguments) else {
        eprintln!("forest_speed ROWS FEATURES FILE: FILE must hold ROWS × FEATURES doubles");
        return ExitCode::from(2);
    };
    let start = Instant::now();
    let default = ForestConfig::default();
    let plain = ForestConfig {
        samples: 256,
        guided: 0.0,
        tails: false,
        density: false,
        ..default
    };
    for (name, config) in [
        ("default", default),
        (
            "256 samples",
            ForestConfig {
                samples: 256,
                ..default
            },
        ),
        ("256 samples, plain", plain),
    ] {
        let (mut fit, mut score) = (Duration::MAX, Duration::MAX);
        for _ in 0..RUNS {
            let begin = time(start);
            let grown = UnfittedForest::try_new(config).and_then(|forest| forest.fit(rows.view()));
            let between = time(start);
            let scores = grown.and_then(|forest| forest.score(rows.view()));
            if let Err(error) = scores {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
            fit = fit.min(between - begin);
            score = score.min(time(start) - between);
        }
        println!(
            "tidewatch, {name}\t{:.1}\t{:.0}",
            fit.as_secs_f64() * 1e3,
            rows.nrows() as f64 / score.as_secs_f64() / 1e3
        );
    }
    ExitCode::SUCCESS
}
