//! `cargo xtask compose`: the services of `docker-compose.yml` for real, where an engine can be had; what they must do is in `tests/tests/compose.rs`.

use std::process::{Command, Stdio};

use crate::steps::{Outcome, build_binary, cargo, step};

/// Runs the test of the services, which removes all it made when it ends; what a killed one left is removed by the next.
pub(crate) fn compose() -> Outcome {
    find_engine()?;
    let binary = build_binary(&[])?;
    let mut test = cargo(&[
        "test",
        "--workspace",
        "--test",
        "compose",
        "--",
        "--nocapture",
    ]);
    test.env("TIDEWATCH_COMPOSE", "1")
        .env("TIDEWATCH_REQUIRE_COMPOSE", "1")
        .env("TIDEWATCH_TEST_BINARY", binary);
    step("compose", test)?;
    Ok(
        "compose: healthy, fed, scaled, one instance killed, taken down and up; nothing was lost"
            .to_owned(),
    )
}

/// Whatever `docker` the PATH and `DOCKER_HOST` lead to.
fn find_engine() -> Result<(), String> {
    println!("--- engine");
    for (arguments, remedy) in [
        (
            &["compose", "version", "--short"][..],
            "install Docker with its compose plugin",
        ),
        (
            &["info", "--format", "engine {{.ServerVersion}}"],
            "start the Docker engine, or name another by DOCKER_HOST",
        ),
    ] {
        let mut command = Command::new("docker");
        command.args(arguments).stdin(Stdio::null());
        let status = command.stderr(Stdio::inherit()).status();
        if !status.is_ok_and(|status| status.success()) {
            return Err(format!("`{command:?}` does not work: {remedy}"));
        }
    }
    Ok(())
}
