//! Asks a running instance over HTTP, plain or with TLS. Knows nothing of SQL or tail.

mod trust;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use axum::http::uri::{Authority, Scheme};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use schemas::Fault;

use crate::error::CommandError;
use crate::error_codes;
use crate::http::{INSTANCE_PATH, Instance};
use crate::tls::pinned_file;

/// How long a connection may take to be made. An instance is usually on this machine or in the next rack.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an instance may take to say who it is.
const INSTANCE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest error answer that is read.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// Environment variable with the token for the instance that is asked.
const TOKEN_VARIABLE: &str = "TIDEWATCH_TOKEN";

/// An instance at an address.
pub(crate) struct Peer {
    /// The Authorization header of each request.
    authorization: Option<HeaderValue>,
    scheme_and_authority: (Scheme, Authority),
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Peer {
    /// A peer at `http://host:port` or `https://host:port`, asked with the token of `TIDEWATCH_TOKEN` if there is one, and believed if the system
    /// or `TIDEWATCH_CA_FILE` vouches for it.
    pub(crate) fn new(url: &str) -> Result<Peer, CommandError> {
        Peer::with_trust(url, None)
    }

    /// The same; `certificate` (PEM) is the one that is believed, and no other.
    fn with_trust(url: &str, certificate: Option<&[u8]>) -> Result<Peer, CommandError> {
        let wrong = || {
            CommandError::Usage(format!(
                "--url `{url}`: expected http://HOST:PORT or https://HOST:PORT without a path, such as http://127.0.0.1:7744"
            ))
        };
        let uri: Uri = url.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let parts = uri.into_parts();
        let path = parts
            .path_and_query
            .map_or_else(String::new, |path| path.to_string());
        match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority))
                if [Scheme::HTTP, Scheme::HTTPS].contains(&scheme)
                    && matches!(path.as_str(), "" | "/") =>
            {
                let mut connector = HttpConnector::new();
                connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
                // The layer above decides.
                connector.enforce_http(false);
                let trust = match (certificate, scheme == Scheme::HTTPS) {
                    (Some(certificate), true) => trust::only(certificate)?,
                    (None, true) => trust::authorities()?,
                    // Reading what the system trusts takes a moment.
                    (_, false) => trust::nobody()?,
                };
                let connector = HttpsConnectorBuilder::new()
                    .with_tls_config(trust)
                    .https_or_http()
                    .enable_http1()
                    .wrap_connector(connector);
                let client = Client::builder(TokioExecutor::new()).build(connector);
                let authorization = match std::env::var(TOKEN_VARIABLE) {
                    Ok(token) if !token.trim().is_empty() => Some(bearer(&token)?),
                    _ => None,
                };
                Ok(Peer {
                    authorization,
                    scheme_and_authority: (scheme, authority),
                    client,
                })
            }
            _ => Err(wrong()),
        }
    }

    /// The same, asked with a token of our own where the environment names none.
    ///
    /// # Errors
    /// `Usage` if it is no token.
    pub(crate) fn or_token(self, token: &str) -> Result<Peer, CommandError> {
        Ok(Peer {
            authorization: match self.authorization {
                Some(named) => Some(named),
                None => Some(bearer(token)?),
            },
            ..self
        })
    }

    /// The instance of this machine that listens on an address of the settings, which may stand for all of its interfaces.
    /// `data_dir`, where there is one, is that of the instance: where that speaks TLS, its certificate is there.
    pub(crate) fn on_this_machine(
        listen: SocketAddr,
        data_dir: Option<&Path>,
    ) -> Result<Peer, CommandError> {
        let host = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let address = SocketAddr::new(host, listen.port());
        match data_dir.and_then(|dir| std::fs::read(pinned_file(dir)).ok()) {
            Some(certificate) => {
                Peer::with_trust(&format!("https://{address}"), Some(&certificate))
            }
            None => Peer::new(&format!("http://{address}")),
        }
    }

    /// `http://host:port` or `https://host:port`, for messages.
    pub(crate) fn url(&self) -> String {
        format!(
            "{}://{}",
            self.scheme_and_authority.0, self.scheme_and_authority.1
        )
    }

    /// Sends a request and waits for the head of a good answer.
    ///
    /// # Errors
    /// `Failed` with the instance's own message where it sends one.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>, CommandError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| CommandError::Usage(format!("{}{path}: {error}", self.url())))?;
        let response = self.client.request(request).await.map_err(|error| {
            let reason = causes(&error);
            CommandError::known(&error_codes::NO_INSTANCE, format!("no answer from {}: {reason}; is `tidewatch run` running there? Name another instance by --url{}", self.url(), trust::advice(&self.scheme_and_authority.0, &reason)))
        })?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refusal(response).await)
        }
    }

    /// Who answers there; `None` if nobody does, or something else than Tidewatch.
    pub(crate) async fn instance(&self) -> Option<Instance> {
        let asking = async {
            let response = self
                .ask(Method::GET, INSTANCE_PATH, &[], Bytes::new())
                .await
                .ok()?;
            let body = response.into_body().collect().await.ok()?.to_bytes();
            serde_json::from_slice(&body).ok()
        };
        tokio::time::timeout(INSTANCE_TIMEOUT, asking)
            .await
            .ok()
            .flatten()
    }

    /// The whole body of an answer, if it is no longer than so many bytes.
    ///
    /// # Errors
    /// `Failed` if it breaks off or is longer.
    pub(crate) async fn body(
        &self,
        response: Response<Incoming>,
        bytes_max: usize,
    ) -> Result<Bytes, CommandError> {
        let body = http_body_util::Limited::new(response.into_body(), bytes_max)
            .collect()
            .await;
        body.map(|body| body.to_bytes()).map_err(|error| {
            CommandError::surroundings(format!("the answer of {} broke off: {error}", self.url()))
        })
    }

    async fn refusal(&self, response: Response<Incoming>) -> CommandError {
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), ERROR_BYTES_MAX)
            .collect()
            .await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let answer = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
        let told = answer["error"]["message"].as_str().map(str::to_owned);
        let code = answer["error"]["code"].as_str().and_then(error_codes::find);
        let message = told.unwrap_or_else(|| {
            format!(
                "{} answered {status}: {}",
                self.url(),
                String::from_utf8_lossy(&body).trim()
            )
        });
        let fault = match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Fault::Outage,
            status if status.is_client_error() => Fault::BadInput,
            _ => Fault::Bug,
        };
        match code {
            Some(code) => CommandError::Known {
                message,
                fault,
                code,
            },
            None => CommandError::Failed { message, fault },
        }
    }
}

/// A token as a header that no log shows.
fn bearer(token: &str) -> Result<HeaderValue, CommandError> {
    let mut header = HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_| {
        CommandError::Usage(format!(
            "{TOKEN_VARIABLE}: expected what `tidewatch token create` printed, found characters that no token has"
        ))
    })?;
    header.set_sensitive(true);
    Ok(header)
}

/// An error with its causes, outermost first.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_all_interfaces_is_asked_on_the_loopback_one() {
        for (listen, url) in [
            ("0.0.0.0:7744", "http://127.0.0.1:7744"),
            ("[::]:1", "http://[::1]:1"),
            ("192.0.2.1:2", "http://192.0.2.1:2"),
        ] {
            let peer = Peer::on_this_machine(listen.parse().unwrap(), None).unwrap();
            assert_eq!(peer.url(), url);
        }
    }

    #[test]
    fn only_addresses_of_http_are_taken() {
        for url in [
            "http://127.0.0.1:7744",
            "http://localhost:1/",
            "http://[::1]:7744",
            "https://h:1",
        ] {
            assert!(Peer::new(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "127.0.0.1:7744",
            "https://h:1/api",
            "http://h:1/api",
            "ftp://h",
            "http://",
        ] {
            assert_eq!(
                Peer::new(url).map(|_| ()).unwrap_err().exit_code(),
                2,
                "{url}"
            );
        }
    }
}
