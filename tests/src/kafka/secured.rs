//! A real Kafka that speaks TLS and SASL, with certificates of its own made by the `openssl` command.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::broker::{Broker, free_ports};

/// The user of all SASL mechanisms.
pub const USER: &str = "tidewatch";
/// Its password, which must never be seen anywhere.
pub const PASSWORD: &str = "canary-0b1f-password";
/// What the key of the client's certificate is encrypted with, which must never be seen either.
pub const KEY_PASSWORD: &str = "canary-77ce-key";

/// A broker with a listener for a password over TLS, and one for TLS with a certificate of the client.
#[derive(Debug)]
pub struct SecuredBroker {
    _broker: Broker,
    certificates: tempfile::TempDir,
    sasl_ssl: u16,
    ssl: u16,
}

impl SecuredBroker {
    /// Makes certificates, fetches Kafka if needed, and starts a broker with an empty log.
    ///
    /// # Errors
    /// What is missing or went wrong, in words.
    pub fn start() -> Result<SecuredBroker, String> {
        let certificates = tempfile::tempdir().map_err(|error| format!("a directory: {error}"))?;
        make_certificates(certificates.path())?;
        let (sasl_ssl, ssl) = free_ports()?;
        let file = |name: &str| certificates.path().join(name).display().to_string();
        let module = |name: &str| format!("org.apache.kafka.common.security.{name}");
        let properties = [
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL".to_owned(),
            "ssl.keystore.type=PEM".to_owned(),
            format!("ssl.keystore.location={}", file("broker.pem")),
            "ssl.truststore.type=PEM".to_owned(),
            format!("ssl.truststore.location={}", file("ca.pem")),
            "listener.name.ssl.ssl.client.auth=required".to_owned(),
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned(),
            format!(
                "listener.name.sasl_ssl.plain.sasl.jaas.config={} required user_{USER}=\"{PASSWORD}\";",
                module("plain.PlainLoginModule")
            ),
            format!(
                "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={} required;",
                module("scram.ScramLoginModule")
            ),
            format!(
                "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={} required;",
                module("scram.ScramLoginModule")
            ),
        ];
        let scram =
            [256, 512].map(|bits| format!("SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]"));
        let format: Vec<String> = scram
            .into_iter()
            .flat_map(|user| ["--add-scram".to_owned(), user])
            .collect();
        let listeners = format!(",SASL_SSL://127.0.0.1:{sasl_ssl},SSL://127.0.0.1:{ssl}");
        Ok(SecuredBroker {
            _broker: Broker::start_with(&listeners, &properties, &format)?,
            certificates,
            sasl_ssl,
            ssl,
        })
    }

    /// `host:port` where a password is asked for, over TLS.
    pub fn sasl_ssl(&self) -> String {
        format!("127.0.0.1:{}", self.sasl_ssl)
    }

    /// `host:port` where a certificate of the client is asked for.
    pub fn ssl(&self) -> String {
        format!("127.0.0.1:{}", self.ssl)
    }

    /// The authority that signed the broker's certificate, PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.certificates.path().join("ca.pem")
    }

    /// An authority that signed nothing here, PEM.
    pub fn foreign_ca_file(&self) -> PathBuf {
        self.certificates.path().join("foreign.pem")
    }

    /// A client's certificate, PEM.
    pub fn certificate_file(&self) -> PathBuf {
        self.certificates.path().join("client.crt")
    }

    /// Its key, encrypted with [`KEY_PASSWORD`], PEM.
    pub fn key_file(&self) -> PathBuf {
        self.certificates.path().join("client.key")
    }
}

/// Two authorities, a certificate of the broker and one of a client from the first.
fn make_certificates(directory: &Path) -> Result<(), String> {
    let authority = |name: &str| {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        openssl(
            directory,
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                &format!("/CN={name}"),
                "-keyout",
                &key,
                "-out",
                &certificate,
            ],
        )
    };
    authority("ca")?;
    authority("foreign")?;
    std::fs::write(
        directory.join("names"),
        "subjectAltName=DNS:localhost,IP:127.0.0.1\n",
    )
    .map_err(|error| format!("writing below {}: {error}", directory.display()))?;
    for (name, encryption) in [
        ("broker", &["-nodes"][..]),
        ("client", &["-passout", &format!("pass:{KEY_PASSWORD}")]),
    ] {
        let [key, request, certificate] =
            ["key", "csr", "crt"].map(|ending| format!("{name}.{ending}"));
        let subject = format!("/CN={name}");
        let mut words = vec!["req", "-newkey", "rsa:2048", "-subj", &subject];
        words.extend(encryption);
        words.extend(["-keyout", &key, "-out", &request]);
        openssl(directory, &words)?;
        openssl(
            directory,
            &[
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
                "-days",
                "2",
                "-extfile",
                "names",
                "-out",
                &certificate,
            ],
        )?;
    }
    // Kafka wants the key and its certificate in one file.
    let read = |name: &str| {
        std::fs::read_to_string(directory.join(name)).map_err(|error| format!("{name}: {error}"))
    };
    let both = read("broker.key")? + &read("broker.crt")?;
    std::fs::write(directory.join("broker.pem"), both)
        .map_err(|error| format!("broker.pem: {error}"))
}

fn openssl(directory: &Path, words: &[&str]) -> Result<(), String> {
    let output = Command::new("openssl")
        .args(words)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("starting openssl: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "openssl {} failed: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    ))
}
