//! What a forecast costs: CPU-milliseconds per M4 hourly series, its whole history taken in and 48 hours with bands given out. Linux.

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;

use scores::forecast::{mstl_ets, read_m4, stream};

/// CPU time of this process so far, milliseconds: the first number of `schedstat` is in nanoseconds.
fn cpu_ms() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    let nanoseconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e6)
}

fn main() -> ExitCode {
    let data = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "../shared/data".to_owned());
    let series = match read_m4(&Path::new(&data).join("m4")) {
        Ok(series) => series,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    for (name, method) in [
        ("seasonal_regression", stream as fn(&[f64]) -> _),
        ("mstl_ets", mstl_ets),
    ] {
        let before = cpu_ms();
        for one in &series {
            black_box(method(black_box(&one.history)));
        }
        let (Some(before), Some(after)) = (before, cpu_ms()) else {
            eprintln!("no CPU time in /proc/self/schedstat");
            return ExitCode::FAILURE;
        };
        println!(
            "{name}: {:.2} CPU-ms per series",
            (after - before) / series.len() as f64
        );
    }
    ExitCode::SUCCESS
}
