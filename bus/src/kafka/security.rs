//! How brokers are spoken to: TLS, and who we are to them (SASL), as settings of librdkafka. Secrets are never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use rdkafka::ClientConfig;

use crate::BusError;

/// Whether this program speaks TLS and SASL/SCRAM to Kafka: whether it was built with the feature `kafka-tls`.
pub const HAS_TLS: bool = cfg!(feature = "kafka-tls");

/// librdkafka settings that [`Security`] decides, each with our name for it, below `bus.security`.
const DECIDED: &[(&str, &str)] = &[
    ("sasl.mechanism", "mechanism"),
    ("sasl.mechanisms", "mechanism"),
    ("sasl.password", "password"),
    ("sasl.username", "username"),
    ("security.protocol", "protocol"),
    ("ssl.ca.location", "ca_file"),
    ("ssl.certificate.location", "certificate_file"),
    ("ssl.key.location", "key_file"),
    ("ssl.key.password", "key_password"),
];

/// A text that is not shown to anyone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// The password itself is sent: only over TLS is it safe from listeners.
    Plain,
    /// The password is proved, not sent (RFC 5802), with SHA-256.
    ScramSha256,
    /// The same with SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// All there are.
    pub const ALL: [Mechanism; 3] = [
        Mechanism::Plain,
        Mechanism::ScramSha256,
        Mechanism::ScramSha512,
    ];

    /// As Kafka writes it.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// Who we are to the brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How it is proved.
    pub mechanism: Mechanism,
    /// The user's name.
    pub username: String,
    /// The user's password.
    pub password: Secret,
}

/// The client's own certificate, for brokers that ask for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// PEM file of the certificate and those that signed it.
    pub certificate_file: PathBuf,
    /// PEM file of its private key.
    pub key_file: PathBuf,
    /// What the key is encrypted with; empty: it is not.
    pub key_password: Secret,
}

/// How connections are encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the authorities that the brokers' certificates must come from; `None`: those of this system.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate.
    pub certificate: Option<Certificate>,
}

/// How brokers are spoken to. The default: in the clear, as nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// Encryption.
    pub tls: Option<Tls>,
    /// Authentication.
    pub sasl: Option<Sasl>,
}

impl Security {
    /// Kafka's name of the combination.
    pub fn protocol(&self) -> &'static str {
        match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        }
    }

    /// What needs the feature `kafka-tls`, as one would write it in the configuration.
    fn needs_tls(&self) -> Option<String> {
        if self.tls.is_some() {
            return Some(format!("bus.security.protocol = \"{}\"", self.protocol()));
        }
        self.sasl
            .as_ref()
            .map(|sasl| sasl.mechanism)
            .filter(|mechanism| *mechanism != Mechanism::Plain)
            .map(|mechanism| format!("bus.security.mechanism = \"{}\"", mechanism.name()))
    }

    /// Refuses what this program can't do, and what says the same thing twice.
    ///
    /// # Errors
    /// `NoTls` for what only a program with the feature `kafka-tls` can do; `Config` for a further setting that is decided here.
    pub fn check(&self, further: &BTreeMap<String, String>) -> Result<(), BusError> {
        self.check_as(HAS_TLS, further)
    }

    fn check_as(&self, has_tls: bool, further: &BTreeMap<String, String>) -> Result<(), BusError> {
        for name in further.keys() {
            if let Some((_, ours)) = DECIDED.iter().find(|(theirs, _)| theirs == name) {
                return Err(BusError::Config(format!(
                    "the librdkafka setting `{name}` has a setting of its own here: remove it from `bus.settings` and set `bus.security.{ours}`"
                )));
            }
        }
        let further = further
            .keys()
            .find(|name| name.contains("ssl.") || name.starts_with("sasl.oauthbearer"))
            .map(|name| format!("\"{name}\" in bus.settings"));
        match self.needs_tls().or(further) {
            Some(setting) if !has_tls => Err(BusError::NoTls { setting }),
            _ => Ok(()),
        }
    }

    /// Refuses files that can't be read: librdkafka says only that it failed, not which file and why.
    ///
    /// # Errors
    /// `Config` that names the setting and the file.
    pub(super) fn check_files(&self) -> Result<(), BusError> {
        let Some(tls) = &self.tls else { return Ok(()) };
        let own = tls.certificate.as_ref();
        for (setting, file) in [
            ("ca_file", tls.ca_file.as_ref()),
            ("certificate_file", own.map(|own| &own.certificate_file)),
            ("key_file", own.map(|own| &own.key_file)),
        ] {
            let Some(file) = file else { continue };
            std::fs::read(file).map_err(|error| {
                BusError::Config(format!(
                    "`bus.security.{setting}`: {}: {error}; expected a PEM file that this user can read",
                    file.display()
                ))
            })?;
        }
        Ok(())
    }

    pub(super) fn apply(&self, config: &mut ClientConfig) {
        config.set("security.protocol", self.protocol());
        if let Some(sasl) = &self.sasl {
            config
                .set("sasl.mechanism", sasl.mechanism.name())
                .set("sasl.username", &sasl.username)
                .set("sasl.password", &sasl.password.0);
        }
        let Some(tls) = &self.tls else { return };
        // `probe`: where Linux systems keep their authorities. Our OpenSSL is linked in, and its own default is a directory that is nowhere.
        let ca_file = tls.ca_file.as_ref();
        config.set(
            "ssl.ca.location",
            ca_file.map_or("probe".into(), |path| path.to_string_lossy()),
        );
        if let Some(own) = &tls.certificate {
            config
                .set(
                    "ssl.certificate.location",
                    own.certificate_file.to_string_lossy(),
                )
                .set("ssl.key.location", own.key_file.to_string_lossy());
            if !own.key_password.is_empty() {
                config.set("ssl.key.password", &own.key_password.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sasl(mechanism: Mechanism) -> Option<Sasl> {
        Some(Sasl {
            mechanism,
            username: "tidewatch".into(),
            password: Secret::new("canary-password"),
        })
    }

    fn own_certificate() -> Certificate {
        Certificate {
            certificate_file: "own.pem".into(),
            key_file: "own.key".into(),
            key_password: Secret::new("canary-key"),
        }
    }

    #[test]
    fn each_combination_has_its_protocol_and_its_needs() {
        let (with, without) = (Some(Tls::default()), None);
        for (tls, sasl, protocol, needs) in [
            (&without, None, "plaintext", None),
            (&with, None, "ssl", Some("bus.security.protocol = \"ssl\"")),
            (&without, sasl(Mechanism::Plain), "sasl_plaintext", None),
            (
                &without,
                sasl(Mechanism::ScramSha512),
                "sasl_plaintext",
                Some("bus.security.mechanism = \"SCRAM-SHA-512\""),
            ),
            (
                &with,
                sasl(Mechanism::Plain),
                "sasl_ssl",
                Some("bus.security.protocol = \"sasl_ssl\""),
            ),
        ] {
            let security = Security {
                tls: tls.clone(),
                sasl,
            };
            let mut config = ClientConfig::new();
            security.apply(&mut config);
            assert_eq!(config.get("security.protocol"), Some(protocol));
            security.check_as(true, &BTreeMap::new()).unwrap();
            let refused = security.check_as(false, &BTreeMap::new()).err();
            assert_eq!(
                refused.as_ref().map(ToString::to_string),
                needs.map(|setting| BusError::NoTls {
                    setting: setting.into()
                }
                .to_string()),
                "{protocol}"
            );
            if let Some(refused) = refused {
                assert!(refused.to_string().contains("kafka-tls"), "{refused}");
            }
        }
    }

    #[test]
    fn settings_reach_librdkafka_under_its_names() {
        let security = Security {
            tls: Some(Tls {
                ca_file: Some("ca.pem".into()),
                certificate: Some(own_certificate()),
            }),
            sasl: sasl(Mechanism::ScramSha256),
        };
        let mut config = ClientConfig::new();
        security.apply(&mut config);
        for (name, value) in [
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("sasl.username", "tidewatch"),
            ("sasl.password", "canary-password"),
            ("ssl.ca.location", "ca.pem"),
            ("ssl.certificate.location", "own.pem"),
            ("ssl.key.location", "own.key"),
            ("ssl.key.password", "canary-key"),
        ] {
            assert_eq!(config.get(name), Some(value), "{name}");
        }
        let system = Security {
            tls: Some(Tls::default()),
            sasl: None,
        };
        let mut config = ClientConfig::new();
        system.apply(&mut config);
        assert_eq!(config.get("ssl.ca.location"), Some("probe"));
        assert_eq!(config.get("ssl.key.location"), None);
    }

    #[test]
    fn further_settings_may_neither_say_it_again_nor_bring_tls_in() {
        let further = |name: &str| BTreeMap::from([(name.to_owned(), "x".to_owned())]);
        for (theirs, ours) in DECIDED {
            let refused = Security::default()
                .check_as(true, &further(theirs))
                .unwrap_err();
            assert!(
                matches!(&refused, BusError::Config(text) if text.contains(theirs) && text.ends_with(&format!("`bus.security.{ours}`"))),
                "{refused}"
            );
        }
        for name in [
            "ssl.cipher.suites",
            "enable.ssl.certificate.verification",
            "sasl.oauthbearer.config",
        ] {
            let security = Security::default();
            security.check_as(true, &further(name)).unwrap();
            let refused = security.check_as(false, &further(name)).unwrap_err();
            assert!(
                matches!(&refused, BusError::NoTls { setting } if setting.contains(name)),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_file_that_can_not_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let mut security = Security {
            tls: Some(Tls {
                ca_file: Some(file("ca.pem")),
                certificate: Some(Certificate {
                    certificate_file: file("own.pem"),
                    key_file: file("own.key"),
                    ..own_certificate()
                }),
            }),
            sasl: None,
        };
        for (setting, name) in [
            ("bus.security.ca_file", "ca.pem"),
            ("bus.security.certificate_file", "own.pem"),
            ("bus.security.key_file", "own.key"),
        ] {
            let told = security.check_files().unwrap_err().to_string();
            let path = file(name).display().to_string();
            assert!(told.contains(setting) && told.contains(&path), "{told}");
            std::fs::write(path, "x").unwrap();
        }
        security.check_files().unwrap();
        security.tls = None;
        security.check_files().unwrap();
    }

    #[test]
    fn secrets_are_not_shown() {
        let security = Security {
            tls: Some(Tls {
                ca_file: None,
                certificate: Some(own_certificate()),
            }),
            sasl: sasl(Mechanism::Plain),
        };
        let shown = format!("{security:?}");
        assert!(
            !shown.contains("canary") && shown.contains("********") && shown.contains("own.key"),
            "{shown}"
        );
    }
}
