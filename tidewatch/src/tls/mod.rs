//! TLS of our own server: a certificate from files or one that we make ourselves, exchanged while connections go on. Knows no route.

mod certificate;
mod self_signed;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use schemas::{ErrorCode, Fault, HasCode, HasFault};
use tokio_rustls::TlsAcceptor;
use tracing::{error, info, warn};

use crate::access::write_private;
use crate::error_codes;
use crate::telemetry::{self, Metric};

/// How often the files are looked at. 10 s: a new certificate is never urgent to the second.
const LOOK: Duration = Duration::from_secs(10);
/// How long before its end a certificate is warned of. 14 days: those that are renewed by themselves are by then.
const WARNED_BEFORE: SignedDuration = SignedDuration::from_hours(14 * 24);
/// How often that is said again.
const WARNED_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// What a client can speak, named when it says hello.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// Directory in the data directory for a certificate of our own making.
const DIRECTORY: &str = "tls";
/// File in the data directory by which commands on this machine know the running instance: its certificate.
const PINNED: &str = "tls-certificate.pem";

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsConfig {
    /// PEM files: the certificate with those between it and its authority, and its key.
    Files {
        /// The chain, our own certificate first.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Made by ourselves, kept in the data directory.
    SelfSigned,
}

/// The certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("`{}`: {cause}; {}", path.display(), advice(setting))]
    Unreadable {
        path: PathBuf,
        cause: String,
        setting: &'static str,
    },
    #[error("`{}`: expected {expected} in PEM (`-----BEGIN …`), found {found}; {}", path.display(), advice(setting))]
    NotPem {
        path: PathBuf,
        expected: &'static str,
        found: String,
        setting: &'static str,
    },
    #[error("the key in `{}` is not that of the certificate in `{}`: {cause}; name the pair that belongs together", key.display(), certificate.display())]
    Mismatch {
        certificate: PathBuf,
        key: PathBuf,
        cause: String,
    },
    #[error("a certificate can't be made: {0}")]
    NotMade(String),
}

fn advice(setting: &str) -> String {
    match setting {
        "" => "remove the directory, and a new pair is made".to_owned(),
        setting => format!("setting `{setting}` names it"),
    }
}

impl HasFault for TlsError {
    fn fault(&self) -> Fault {
        Fault::BadConfig
    }
}

impl HasCode for TlsError {
    fn code(&self) -> &'static ErrorCode {
        &error_codes::SERVER_TLS
    }
}

/// The names of the settings that a pair came from, for messages; empty for one of our own making.
struct Settings {
    certificate: &'static str,
    key: &'static str,
}

/// The pair of files in use.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    own: bool,
}

/// A certificate that was read, with what is told of it.
#[derive(Debug)]
struct Loaded {
    certified: Arc<CertifiedKey>,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// The certificate in force. Each new connection gets the one that is in force then.
#[derive(Debug)]
struct InForce(RwLock<Arc<Loaded>>);

impl InForce {
    fn get(&self) -> Arc<Loaded> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for InForce {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.get().certified))
    }
}

/// TLS as the servers of an instance speak it.
#[derive(Clone)]
pub(crate) struct Tls {
    pair: Pair,
    in_force: Arc<InForce>,
    acceptor: TlsAcceptor,
    /// Where commands on this machine find the certificate.
    pinned: PathBuf,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({:?})", self.pair)
    }
}

impl Tls {
    /// Reads the certificate, or makes one. `hosts` are the names and addresses that one of our own making is for.
    ///
    /// # Errors
    /// `TlsError` (bad configuration) if it can't be read, the key is not its own, or none can be made. One that has ended, or has not begun, is
    /// told and used: whoever checks it will refuse it, and all else goes on.
    pub(crate) fn open(
        config: &TlsConfig,
        data_dir: &Path,
        hosts: &[String],
    ) -> Result<Tls, TlsError> {
        let pair = match config {
            TlsConfig::Files { certificate, key } => Pair {
                certificate: certificate.clone(),
                key: key.clone(),
                own: false,
            },
            TlsConfig::SelfSigned => {
                let directory = data_dir.join(DIRECTORY);
                let pair = Pair {
                    certificate: directory.join("certificate.pem"),
                    key: directory.join("key.pem"),
                    own: true,
                };
                if !pair.certificate.exists() {
                    make(&directory, &pair, hosts)?;
                }
                pair
            }
        };
        let loaded = Arc::new(pair.load()?);
        let in_force = Arc::new(InForce(RwLock::new(loaded)));
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::NotMade(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&in_force) as Arc<dyn ResolvesServerCert>);
        server.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        let tls = Tls {
            pair,
            in_force,
            acceptor: TlsAcceptor::from(Arc::new(server)),
            pinned: pinned_file(data_dir),
        };
        tls.tell(Timestamp::now());
        Ok(tls)
    }

    /// What shakes hands.
    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// The file of the certificate, for whoever must trust it.
    pub(crate) fn certificate_file(&self) -> &Path {
        &self.pair.certificate
    }

    /// Leaves the certificate where commands on this machine look for it.
    pub(crate) fn pin(&self) -> std::io::Result<()> {
        let loaded = self.in_force.get();
        let leaf = loaded.certified.cert.first();
        let text = leaf.map_or_else(String::new, |leaf| certificate::to_pem("CERTIFICATE", leaf));
        write_private(&self.pinned, text.as_bytes())
    }

    /// Takes a new certificate when the files change, and warns before it ends; until it is aborted.
    pub(crate) async fn keep(self) {
        let mut ticks = tokio::time::interval(LOOK);
        let mut seen = self.pair.stamp();
        let mut told = Timestamp::now();
        loop {
            ticks.tick().await;
            let now = Timestamp::now();
            let stamp = self.pair.stamp();
            if stamp != seen {
                seen = stamp;
                self.reload();
                self.tell(now);
                told = now;
            }
            if now.duration_since(told) >= WARNED_EVERY {
                self.tell(now);
                told = now;
            }
        }
    }

    fn reload(&self) {
        match self.pair.load() {
            Ok(loaded) => {
                info!(file = %self.pair.certificate.display(), ends = %loaded.not_after, "a new certificate is in force");
                *self
                    .in_force
                    .0
                    .write()
                    .unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
                if let Err(error) = self.pin() {
                    warn!(%error, "the certificate could not be left in the data directory; commands on this machine need TIDEWATCH_CA_FILE");
                }
            }
            // Both files can't change at one moment: what was there stays until they fit.
            Err(error) => {
                warn!(code = error.code().id, %error, "the new certificate can't be used; the one before stays in force");
            }
        }
    }

    /// Says how long the certificate is good, if that is not long.
    fn tell(&self, now: Timestamp) {
        let loaded = self.in_force.get();
        let (ends, file) = (loaded.not_after, self.pair.certificate.display());
        telemetry::set(
            Metric::TlsCertificateExpiryTimestampSeconds,
            &[],
            ends.as_second() as f64,
        );
        let code = error_codes::SERVER_TLS.id;
        if ends <= now {
            error!(code, %file, %ends, "the certificate of this server has ended: clients that check it refuse it");
        } else if loaded.not_before > now {
            error!(code, %file, begins = %loaded.not_before, "the certificate of this server is not valid yet: clients that check it refuse it");
        } else if ends.duration_since(now) < WARNED_BEFORE {
            warn!(code, %file, %ends, "the certificate of this server ends soon");
        }
    }
}

/// The certificate of the instance that runs on a data directory, if it speaks TLS.
pub(crate) fn pinned_file(data_dir: &Path) -> PathBuf {
    data_dir.join(PINNED)
}

/// The names and addresses that a certificate of our own making is for.
pub(crate) fn hosts(listen: SocketAddr) -> Vec<String> {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let mut hosts = vec![name, "localhost".to_owned()];
    let loopback = ["127.0.0.1", "::1"].map(str::to_owned);
    let own = (!listen.ip().is_unspecified()).then(|| listen.ip().to_string());
    hosts.extend(loopback.into_iter().chain(own));
    let mut seen = HashSet::new();
    hosts.retain(|host| !host.is_empty() && seen.insert(host.clone()));
    hosts
}

/// The one provider of cryptography in this program.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn make(directory: &Path, pair: &Pair, hosts: &[String]) -> Result<(), TlsError> {
    let made = self_signed::make(hosts, Timestamp::now()).map_err(TlsError::NotMade)?;
    // The key first: a certificate without its key would not be made anew.
    let written = std::fs::create_dir_all(directory)
        .and_then(|()| write_private(&pair.key, made.key.as_bytes()))
        .and_then(|()| write_private(&pair.certificate, made.certificate.as_bytes()));
    written.map_err(|error| TlsError::NotMade(format!("`{}`: {error}", directory.display())))?;
    info!(file = %pair.certificate.display(), hosts = hosts.join(", "), "made a certificate of our own; clients must be told to trust it");
    Ok(())
}

/// What tells one state of a file from another.
type Stamp = Option<(i64, i64, u64, u64)>;

impl Pair {
    fn settings(&self) -> Settings {
        match self.own {
            true => Settings {
                certificate: "",
                key: "",
            },
            false => Settings {
                certificate: "server.tls.certificate_file",
                key: "server.tls.key_file",
            },
        }
    }

    fn stamp(&self) -> [Stamp; 2] {
        [&self.certificate, &self.key].map(|path| {
            let about = std::fs::metadata(path).ok()?;
            Some((about.mtime(), about.mtime_nsec(), about.size(), about.ino()))
        })
    }

    fn load(&self) -> Result<Loaded, TlsError> {
        let settings = self.settings();
        let text = read(&self.certificate, settings.certificate)?;
        let not_pem = |found: String| TlsError::NotPem {
            path: self.certificate.clone(),
            expected: "a certificate",
            found,
            setting: settings.certificate,
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|error| not_pem(error.to_string()))?;
        let leaf = chain.first().ok_or_else(|| not_pem("none".to_owned()))?;
        let validity = certificate::validity(leaf)
            .ok_or_else(|| not_pem("one whose dates can't be read".to_owned()))?;
        let key =
            PrivateKeyDer::from_pem_slice(&read(&self.key, settings.key)?).map_err(|error| {
                TlsError::NotPem {
                    path: self.key.clone(),
                    expected: "a private key that is not encrypted",
                    found: error.to_string(),
                    setting: settings.key,
                }
            })?;
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
            TlsError::Mismatch {
                certificate: self.certificate.clone(),
                key: self.key.clone(),
                cause: error.to_string(),
            }
        })?;
        Ok(Loaded {
            certified: Arc::new(certified),
            not_before: validity.0,
            not_after: validity.1,
        })
    }
}

fn read(path: &Path, setting: &'static str) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Unreadable {
        path: path.to_owned(),
        cause: error.to_string(),
        setting,
    })
}
