//! Asks one endpoint for its metrics, within limits of time and size. Knows nothing of what the answer holds.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use schemas::{ErrorCode, Fault, HasCode, HasFault};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Format, Job, Target};
use crate::error_codes;

/// OpenMetrics first: it names kinds and ends where it ends.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
/// A connection without a scrape for so long is closed. 5 min: longer than the usual intervals.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// The largest file of a password or a token.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// What proves who asks. Secrets stand in files, read at each scrape, so that a changed one is used at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    #[default]
    None,
    /// A user and the file of the password.
    Basic {
        /// The user.
        username: String,
        /// The file.
        password_file: PathBuf,
    },
    /// The file of a token.
    Bearer {
        /// The file.
        token_file: PathBuf,
    },
}

/// TLS can't be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of authorities can't be read.
    #[error("`{path}`: expected certificates in PEM: {problem}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The library refused.
    #[error("TLS: {0}")]
    Library(#[from] rustls::Error),
}

impl HasFault for TlsError {
    fn fault(&self) -> Fault {
        Fault::BadConfig
    }
}

impl HasCode for TlsError {
    fn code(&self) -> &'static ErrorCode {
        match self {
            TlsError::Authorities { .. } => &error_codes::SCRAPE_AUTHORITIES,
            TlsError::Library(_) => Fault::BadConfig.code(),
        }
    }
}

/// Why a scrape brought nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0}")]
    Unreachable(String),
    #[error("no whole answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    #[error("the answer is {0}{1}; expected 200")]
    Status(StatusCode, String),
    #[error(
        "the answer is `{0}`; expected text/plain or application/openmetrics-text: is the path right?"
    )]
    ContentType(String),
    #[error("the answer is encoded as `{0}`; expected gzip or nothing")]
    Encoding(String),
    #[error("the answer has more than {0} bytes (body_max)")]
    TooLarge(usize),
    #[error("the answer broke off: {0}")]
    Broken(String),
    #[error("`{}` can't be read: {problem}", path.display())]
    Secret { path: PathBuf, problem: String },
}

/// What an endpoint answered, and the place among the answers held at once that it takes.
#[derive(Debug)]
pub(super) struct Answer {
    body: Bytes,
    is_gzip: bool,
    pub(super) format: Format,
    _place: OwnedSemaphorePermit,
}

/// Connections to the endpoints of one job, kept between scrapes.
#[derive(Debug, Clone)]
pub struct Clients {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Clients {
    /// Connections that trust the authorities of a file, or those of the system.
    ///
    /// # Errors
    /// `TlsError` (bad configuration) if the file can't be read or holds no certificate.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let mut authorities = RootCertStore::empty();
        match ca_file {
            Some(path) => {
                let wrong = |problem: String| TlsError::Authorities {
                    path: path.to_owned(),
                    problem,
                };
                let certificates =
                    CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))?;
                for certificate in certificates {
                    let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
                    authorities
                        .add(certificate)
                        .map_err(|e| wrong(e.to_string()))?;
                }
                if authorities.is_empty() {
                    return Err(wrong("there are none".to_owned()));
                }
            }
            // A system without any, or with some that can't be read, can still scrape over http.
            None => {
                authorities
                    .add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authorities)
            .with_no_client_auth();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Clients { client })
    }

    /// Asks an endpoint. `places` bounds how many answers are held at once.
    pub(super) async fn fetch(
        &self,
        job: &Job,
        target: &Target,
        places: &Arc<Semaphore>,
    ) -> Result<Answer, FetchError> {
        match tokio::time::timeout(job.timeout, self.ask(job, target, places)).await {
            Ok(answer) => answer,
            Err(_) => Err(FetchError::Timeout(job.timeout)),
        }
    }

    async fn ask(
        &self,
        job: &Job,
        target: &Target,
        places: &Arc<Semaphore>,
    ) -> Result<Answer, FetchError> {
        let mut request = Request::get(target.uri.clone())
            .header(header::ACCEPT, ACCEPT)
            .header(header::ACCEPT_ENCODING, "gzip")
            .header(
                header::USER_AGENT,
                concat!("tidewatch/", env!("CARGO_PKG_VERSION")),
            )
            .header(
                "x-prometheus-scrape-timeout-seconds",
                job.timeout.as_secs_f64().to_string(),
            );
        if let Some(authorization) = authorization(&job.credentials).await? {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request
            .body(Empty::new())
            .map_err(|error| FetchError::Unreachable(error.to_string()))?;
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| FetchError::Unreachable(with_causes(&error)))?;
        let (head, mut body) = response.into_parts();
        if head.status != StatusCode::OK {
            let location = head.headers.get(header::LOCATION);
            let location = location.and_then(|to| to.to_str().ok());
            let leads_to = location.map_or(String::new(), |to| format!(" to `{to:.200}`"));
            return Err(FetchError::Status(head.status, leads_to));
        }
        let format = format(&head.headers)?;
        let is_gzip = match text(&head.headers, header::CONTENT_ENCODING).as_str() {
            "" | "identity" => false,
            "gzip" => true,
            other => return Err(FetchError::Encoding(other.to_owned())),
        };
        // Only now: an endpoint that does not answer must not keep others waiting.
        let place = Arc::clone(places).acquire_owned().await;
        let place = place.map_err(|error| FetchError::Broken(error.to_string()))?;
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| FetchError::Broken(with_causes(&error)))?;
            let Ok(chunk) = frame.into_data() else {
                continue;
            };
            if bytes.len() + chunk.len() > job.body_bytes_max {
                return Err(FetchError::TooLarge(job.body_bytes_max));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Answer {
            body: bytes.into(),
            is_gzip,
            format,
            _place: place,
        })
    }
}

impl Answer {
    /// Bytes that came over the wire.
    pub(super) fn sent_bytes(&self) -> usize {
        self.body.len()
    }

    /// The plain body, of at most so many bytes. Slow: not for a task that others wait for.
    pub(super) fn decompress(&self, bytes_max: usize) -> Result<Bytes, FetchError> {
        if !self.is_gzip {
            return Ok(self.body.clone());
        }
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(&self.body[..])
            .take(bytes_max as u64 + 1)
            .read_to_end(&mut plain)
            .map_err(|error| FetchError::Broken(format!("gzip: {error}")))?;
        if plain.len() > bytes_max {
            return Err(FetchError::TooLarge(bytes_max));
        }
        Ok(plain.into())
    }
}

/// The format that the content type names; without one it is text.
fn format(headers: &HeaderMap) -> Result<Format, FetchError> {
    let named = text(headers, header::CONTENT_TYPE);
    match named.split(';').next().unwrap_or_default().trim() {
        "application/openmetrics-text" => Ok(Format::OpenMetrics),
        "" | "text/plain" => Ok(Format::Text),
        _ => Err(FetchError::ContentType(named)),
    }
}

/// A header in lower case; empty where there is none.
fn text(headers: &HeaderMap, name: header::HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().trim().to_ascii_lowercase()
}

async fn authorization(credentials: &Credentials) -> Result<Option<HeaderValue>, FetchError> {
    let (path, text) = match credentials {
        Credentials::None => return Ok(None),
        Credentials::Basic {
            username,
            password_file,
        } => {
            let pair = format!("{username}:{}", secret(password_file).await?);
            (
                password_file,
                format!("Basic {}", BASE64_STANDARD.encode(pair)),
            )
        }
        Credentials::Bearer { token_file } => {
            (token_file, format!("Bearer {}", secret(token_file).await?))
        }
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| FetchError::Secret {
        path: path.clone(),
        problem: "it holds characters that no header can".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// What a file holds, without the newline at its end.
async fn secret(path: &Path) -> Result<String, FetchError> {
    let wrong = |problem: String| FetchError::Secret {
        path: path.to_owned(),
        problem,
    };
    let meta = tokio::fs::metadata(path).await;
    let bytes = meta.map_err(|error| wrong(error.to_string()))?.len();
    if bytes > SECRET_BYTES_MAX {
        return Err(wrong(format!("more than {SECRET_BYTES_MAX} bytes")));
    }
    let text = tokio::fs::read_to_string(path).await;
    let text = text.map_err(|error| wrong(error.to_string()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// An error with what caused it: the client's own says only that it failed.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
