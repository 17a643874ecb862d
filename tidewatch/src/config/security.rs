//! Takes the section `bus.security`, or the keys of the same names of a source: which keys belong to which protocol, and which of them go together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bus::BusError;
use bus::kafka::{Certificate, Mechanism, Sasl, Secret, Security, Tls};

use super::layers::Layers;

const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];

/// A section of keys that say how brokers are spoken to.
pub(super) struct SecuritySection<'a> {
    /// Its path: `bus.security`.
    pub(super) path: &'a str,
    /// Whether the keys must fit together: not where they are only what others fall back on.
    pub(super) is_complete: bool,
    /// Whether this program must be able to do what they say.
    pub(super) is_used: bool,
}

/// TLS and SASL, with the files of the password and of the key's password, which are read when they are needed.
/// `further`: the other settings of librdkafka, which may not say the same again.
pub(super) fn take_security(
    layers: &mut Layers,
    section: &SecuritySection<'_>,
    further: &BTreeMap<String, String>,
) -> (Security, Option<PathBuf>, Option<PathBuf>) {
    let at = |key: &str| format!("{}.{key}", section.path);
    let protocol: String = layers.take_if(
        &at("protocol"),
        "\"plaintext\", \"ssl\", \"sasl_plaintext\" or \"sasl_ssl\"",
        |protocol: &String| PROTOCOLS.contains(&protocol.as_str()),
    );
    let mechanism: String = layers.take_if(
        &at("mechanism"),
        "\"PLAIN\", \"SCRAM-SHA-256\" or \"SCRAM-SHA-512\"",
        |name: &String| mechanism(name).is_some(),
    );
    let username: String = layers.take(&at("username"));
    let (password, password_file) = take_secret(layers, &at("password"));
    let ca_file = take_file(layers, &at("ca_file"));
    let certificate_file = take_file(layers, &at("certificate_file"));
    let key_file = take_file(layers, &at("key_file"));
    let (key_password, key_password_file) = take_secret(layers, &at("key_password"));

    let has_sasl = protocol.starts_with("sasl_");
    if section.is_complete && has_sasl && username.is_empty() {
        layers.refuse(
            &at("username"),
            &format!("the name of a user, because `{}` has SASL", at("protocol")),
        );
    }
    if section.is_complete && has_sasl && password.is_empty() && password_file.is_none() {
        layers.refuse(
            &at("password"),
            &format!(
                "a password, or a file that holds it in `{}`, because `{}` has SASL",
                at("password_file"),
                at("protocol")
            ),
        );
    }
    let certificate = match (certificate_file, key_file) {
        (Some(certificate_file), Some(key_file)) => Some(Certificate {
            certificate_file,
            key_file,
            key_password,
        }),
        (Some(_), None) if section.is_complete => {
            layers.refuse(&at("key_file"), "the key of `certificate_file`");
            None
        }
        (None, Some(_)) if section.is_complete => {
            layers.refuse(&at("certificate_file"), "the certificate of `key_file`");
            None
        }
        _ => None,
    };
    let security = Security {
        tls: protocol.ends_with("ssl").then_some(Tls {
            ca_file,
            certificate,
        }),
        sasl: has_sasl.then(|| Sasl {
            mechanism: self::mechanism(&mechanism).unwrap_or(Mechanism::ScramSha512),
            username,
            password,
        }),
    };
    // Told here too, so that `tidewatch check` knows it.
    if section.is_used {
        if let Err(error) = security.check(&BTreeMap::new()) {
            layers.refuse_because(&at("protocol"), &of_section(error, section.path));
        }
        for (name, value) in further {
            let alone = BTreeMap::from([(name.clone(), value.clone())]);
            if let Err(error) = Security::default().check(&alone) {
                layers.refuse_because(&format!("bus.settings.{name}"), &error);
            }
        }
    }
    (security, password_file, key_password_file)
}

/// An error that names a setting of `bus.security`, as one of the section that it was made in.
fn of_section(error: BusError, section: &str) -> BusError {
    match error {
        BusError::NoTls { setting } => BusError::NoTls {
            setting: setting.replace("bus.security", section),
        },
        error => error,
    }
}

fn mechanism(name: &str) -> Option<Mechanism> {
    Mechanism::ALL
        .into_iter()
        .find(|mechanism| mechanism.name() == name)
}

fn take_file(layers: &mut Layers, path: &str) -> Option<PathBuf> {
    let file: String = layers.take(path);
    (!file.is_empty()).then(|| PathBuf::from(file))
}

/// A secret, or the file that holds it: not both.
fn take_secret(layers: &mut Layers, path: &str) -> (Secret, Option<PathBuf>) {
    let secret = Secret::new(layers.take::<String>(path));
    let file_path = format!("{path}_file");
    let file = take_file(layers, &file_path);
    if file.is_some() && !secret.is_empty() {
        layers.refuse(&file_path, &format!("\"\", because `{path}` is set"));
    }
    (secret, file)
}
