//! The servers and programs that tests need beside us: started once for all tests, and ended with us. What can't be had is said, and its tests are skipped.

use std::env;

#[path = "../../tests/src/kafka/broker.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the tests room, which uses all of it"
)]
mod broker;
#[path = "../../tests/src/minio/server.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the tests room, which uses all of it"
)]
mod minio;
#[path = "../../tests/src/python/venv.rs"]
#[allow(unreachable_pub, reason = "shared with the tests room")]
mod venv;

/// What was gathered. Dropping it ends what was started.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    variables: Vec<(&'static str, String)>,
    broker: Option<broker::Broker>,
    s3: Option<minio::MinioServer>,
}

impl Peers {
    /// Finds or starts everything that can be had here.
    pub(crate) fn gather() -> Self {
        println!("--- peers");
        let mut peers = Peers::default();
        peers.kafka();
        python();
        peers.s3();
        peers
    }

    /// The ones that agents need: Kafka between them and us, and Python, which some are libraries of.
    pub(crate) fn for_agents() -> Self {
        println!("--- peers");
        let mut peers = Peers::default();
        peers.kafka();
        python();
        peers
    }

    /// The variables by which tests find them.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
    }

    fn kafka(&mut self) {
        const VARIABLE: &str = "TIDEWATCH_TEST_KAFKA";
        if let Some(given) = given(VARIABLE) {
            return println!("kafka: {given}, as {VARIABLE} says");
        }
        if !broker::can_start() {
            return missing("kafka", "`java` and `mvn` are not both installed");
        }
        match broker::Broker::start() {
            Ok(broker) => {
                println!(
                    "kafka: {} started on {}",
                    broker::KAFKA_VERSION,
                    broker.address()
                );
                self.variables.push((VARIABLE, broker.address()));
                self.broker = Some(broker);
            }
            Err(why) => missing("kafka", &why),
        }
    }

    fn s3(&mut self) {
        const VARIABLE: &str = "TIDEWATCH_TEST_S3";
        if let Some(given) = given(VARIABLE) {
            return println!("s3: {given}, as {VARIABLE} says");
        }
        if !has_program("go") {
            return missing("s3", "`go` is not installed, which MinIO is built with");
        }
        println!("s3: MinIO is built the first time, which takes two minutes");
        match minio::MinioServer::start(
            &env::temp_dir().join(format!("tidewatch-minio-{}", std::process::id())),
        ) {
            Ok(server) => {
                println!(
                    "s3: MinIO {} started on {}",
                    minio::VERSION,
                    server.endpoint()
                );
                self.variables.push((VARIABLE, server.endpoint()));
                self.s3 = Some(server);
            }
            Err(why) => missing("s3", &why.to_string()),
        }
    }
}

/// Makes the Python environment before the tests, which would otherwise make it in the middle of one. They find it by themselves.
fn python() {
    match venv::interpreter() {
        Ok(interpreter) => println!("python: {}", interpreter.display()),
        Err(why) => missing("python", &why),
    }
}

/// Whether a program is on the PATH.
pub(crate) fn has_program(name: &str) -> bool {
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .any(|directory| directory.join(name).is_file())
}

/// The value of a variable, if it has one.
fn given(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.is_empty())
}

fn missing(peer: &str, why: &str) {
    println!("{peer}: not available, its tests will be SKIPPED: {why}");
}
