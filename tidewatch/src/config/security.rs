//! Takes the section `bus.security`: which keys belong to which protocol, and which of them go together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bus::kafka::{Certificate, Mechanism, Sasl, Secret, Security, Tls};

use super::BusKind;
use super::layers::Layers;

const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];

/// TLS and SASL, with the files of the password and of the key's password, which are read when they are needed.
/// `further`: the other settings of librdkafka, which may not say the same again.
pub(super) fn take_security(
    layers: &mut Layers,
    kind: BusKind,
    further: &BTreeMap<String, String>,
) -> (Security, Option<PathBuf>, Option<PathBuf>) {
    let protocol: String = layers.take_if(
        "bus.security.protocol",
        "\"plaintext\", \"ssl\", \"sasl_plaintext\" or \"sasl_ssl\"",
        |protocol: &String| PROTOCOLS.contains(&protocol.as_str()),
    );
    let mechanism: String = layers.take_if(
        "bus.security.mechanism",
        "\"PLAIN\", \"SCRAM-SHA-256\" or \"SCRAM-SHA-512\"",
        |name: &String| mechanism(name).is_some(),
    );
    let username: String = layers.take("bus.security.username");
    let (password, password_file) = take_secret(layers, "bus.security.password");
    let ca_file = take_file(layers, "bus.security.ca_file");
    let certificate_file = take_file(layers, "bus.security.certificate_file");
    let key_file = take_file(layers, "bus.security.key_file");
    let (key_password, key_password_file) = take_secret(layers, "bus.security.key_password");

    let has_sasl = protocol.starts_with("sasl_");
    if has_sasl && username.is_empty() {
        layers.refuse(
            "bus.security.username",
            "the name of a user, because `bus.security.protocol` has SASL",
        );
    }
    if has_sasl && password.is_empty() && password_file.is_none() {
        layers.refuse(
            "bus.security.password",
            "a password, or a file that holds it in `bus.security.password_file`, because `bus.security.protocol` has SASL",
        );
    }
    let certificate = match (certificate_file, key_file) {
        (Some(certificate_file), Some(key_file)) => Some(Certificate {
            certificate_file,
            key_file,
            key_password,
        }),
        (Some(_), None) => {
            layers.refuse("bus.security.key_file", "the key of `certificate_file`");
            None
        }
        (None, Some(_)) => {
            layers.refuse(
                "bus.security.certificate_file",
                "the certificate of `key_file`",
            );
            None
        }
        (None, None) => None,
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
    if kind == BusKind::Kafka {
        if let Err(error) = security.check(&BTreeMap::new()) {
            layers.refuse_because("bus.security.protocol", &error);
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
