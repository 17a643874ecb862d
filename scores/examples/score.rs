//! Runs benchmarks without the rest of the program, which takes much longer to build: `score NAME [DATA [JSON]]`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("", String::as_str);
    let data = arguments.get(1).map_or("../shared/data", String::as_str);
    let Some((_, run)) = scores::BENCHMARKS.iter().find(|(known, _)| *known == name) else {
        eprintln!("no benchmark `{name}`");
        return ExitCode::from(2);
    };
    match run(Path::new(data)) {
        Ok(report) => {
            print!("{}", report.table());
            if let Some(path) = arguments.get(2)
                && let Err(error) = serde_json::to_vec_pretty(&report)
                    .map_err(std::io::Error::from)
                    .and_then(|json| std::fs::write(path, json))
            {
                eprintln!("cannot write {path}: {error}");
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
