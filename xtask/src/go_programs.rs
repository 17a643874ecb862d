//! Programs that are built with Go: fetched as modules and built once, kept outside the clone by their versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::peers::has_program;

/// Tries of a build: a proxy of modules that is asked for hundreds of them at once fails now and then, and what was fetched is kept.
const TRIES: u32 = 5;

/// What is fetched and built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GoProgram {
    /// Of the file.
    pub(crate) name: &'static str,
    /// As people name it.
    pub(crate) version: &'static str,
    source: Source,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    /// A package of a module at a version, the tags it is built with, and the variable of its code that holds the version that it tells.
    Package {
        module: &'static str,
        version: &'static str,
        package: &'static str,
        tags: &'static str,
        version_variable: &'static str,
    },
    /// A distribution of the Collector, put together by its own builder of a version.
    Collector {
        builder: &'static str,
        components: &'static str,
    },
}

/// The OpenTelemetry Collector with what it takes to get metrics in over HTTP and out by every way to us.
pub(crate) const COLLECTOR: GoProgram = GoProgram {
    name: "otelcol",
    version: "0.155.0",
    source: Source::Collector {
        builder: "go.opentelemetry.io/collector/cmd/builder@v0.155.0",
        components: "\
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v0.155.0
exporters:
  - gomod: go.opentelemetry.io/collector/exporter/otlpexporter v0.155.0
  - gomod: go.opentelemetry.io/collector/exporter/otlphttpexporter v0.155.0
  - gomod: github.com/open-telemetry/opentelemetry-collector-contrib/exporter/kafkaexporter v0.155.0
",
    },
};

/// Telegraf with the plugins that the tests use; with all of them it takes a hundred times the modules.
pub(crate) const TELEGRAF: GoProgram = GoProgram {
    name: "telegraf",
    version: "1.37.2",
    source: Source::Package {
        module: "github.com/influxdata/telegraf",
        version: "v1.37.2",
        package: "/cmd/telegraf",
        tags: "custom,inputs.file,parsers.influx,outputs.kafka,outputs.http,outputs.influxdb,outputs.influxdb_v2,outputs.opentelemetry,\
               serializers.influx,serializers.json,serializers.prometheusremotewrite",
        version_variable: "github.com/influxdata/telegraf/internal.Version",
    },
};

/// VictoriaMetrics' agent, which scrapes and remote-writes.
pub(crate) const VMAGENT: GoProgram = GoProgram {
    name: "vmagent",
    version: "1.130.0",
    source: Source::Package {
        module: "github.com/VictoriaMetrics/VictoriaMetrics",
        version: "v1.130.0",
        package: "/app/vmagent",
        tags: "",
        version_variable: "github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version",
    },
};

/// Prometheus without its discovery of targets in clouds.
pub(crate) const PROMETHEUS: GoProgram = GoProgram {
    name: "prometheus",
    version: "3.15.0",
    source: Source::Package {
        module: "github.com/prometheus/prometheus",
        version: "v0.315.0",
        package: "/cmd/prometheus",
        tags: "remove_all_sd",
        version_variable: "github.com/prometheus/common/version.Version",
    },
};

impl GoProgram {
    /// Where it is, built first unless it is there as it would be built now.
    ///
    /// # Errors
    /// Why it can't be had.
    pub(crate) fn get(&self) -> Result<PathBuf, String> {
        let directory = cache()?.join(format!("{}-{}", self.name, self.version));
        let program = directory.join(self.name);
        let recipe = format!("{:#?}\n", self.source);
        let recipe_path = directory.join("recipe");
        let built_by = fs::read_to_string(&recipe_path).unwrap_or_default();
        if program.is_file() && built_by == recipe {
            println!("{} {}: {}", self.name, self.version, program.display());
            return Ok(program);
        }
        if !has_program("go") {
            return Err("`go` is not installed, which it is built with: 1.26 or newer".to_owned());
        }
        println!(
            "{} {}: building below {}, which takes minutes, once",
            self.name,
            self.version,
            directory.display()
        );
        let failed = |error| format!("{}: {error}", directory.display());
        fs::create_dir_all(&directory).map_err(failed)?;
        let begun = Instant::now();
        // Built under another name and renamed, so that an interrupted build is not taken for a program.
        let unfinished = format!("unfinished-{}", std::process::id());
        self.build(&directory, &unfinished)?;
        fs::rename(directory.join(unfinished), &program).map_err(failed)?;
        fs::write(recipe_path, recipe).map_err(failed)?;
        let seconds = begun.elapsed().as_secs();
        println!("{} {}: built in {seconds} s", self.name, self.version);
        Ok(program)
    }

    fn build(&self, directory: &Path, output: &str) -> Result<(), String> {
        match self.source {
            Source::Package {
                module,
                version,
                package,
                tags,
                version_variable,
            } => {
                if !directory.join("go.mod").is_file() {
                    go(directory, &["mod", "init", "agent"])?;
                }
                let require = format!("-require={module}@{version}");
                go(directory, &["mod", "edit", &require])?;
                let package = format!("{module}{package}");
                let told = format!("-ldflags=-s -w -X {version_variable}={}", self.version);
                let words = ["build", "-mod=mod", "-tags", tags, &told, "-o", output];
                let words = [words.as_slice(), &[package.as_str()]].concat();
                go_persistently(directory, &words)
            }
            Source::Collector {
                builder,
                components,
            } => {
                // The builder writes the program's source into a folder, and compiles it there.
                let sources = "source";
                let config = format!(
                    "dist:\n  name: {}\n  description: OpenTelemetry Collector\n  version: {}\n  output_path: {sources}\n{components}",
                    self.name, self.version
                );
                let written = fs::write(directory.join("builder.yaml"), config);
                written.map_err(|error| format!("builder.yaml: {error}"))?;
                go_persistently(directory, &["run", builder, "--config=builder.yaml"])?;
                let built = directory.join(sources).join(self.name);
                fs::rename(&built, directory.join(output))
                    .map_err(|error| format!("{}: {error}", built.display()))
            }
        }
    }
}

/// `agents` below the cache of this user.
fn cache() -> Result<PathBuf, String> {
    let of_user = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = of_user("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(Path::new(&of_user("HOME")?).join(".cache")));
    let cache = cache.ok_or("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(cache.join("tidewatch/agents"))
}

/// Runs `go` until it succeeds, a few times.
fn go_persistently(directory: &Path, words: &[&str]) -> Result<(), String> {
    let mut outcome = go(directory, words);
    for attempt in 2..=TRIES {
        let Err(why) = &outcome else { break };
        println!("{why}; try {attempt} of {TRIES}");
        outcome = go(directory, words);
    }
    outcome
}

fn go(directory: &Path, words: &[&str]) -> Result<(), String> {
    let status = Command::new("go")
        .args(words)
        .current_dir(directory)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("`go` can't be started: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`go {}`: {status}", words.join(" ")))
    }
}
