//! Whose certificate a command believes: authorities of the system, those of TIDEWATCH_CA_FILE, or the one that an instance on this machine left.

use std::path::Path;
use std::sync::Arc;

use axum::http::uri::Scheme;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::error::CommandError;
use crate::tls::provider;

/// Environment variable with a PEM file of the authorities, or of the very certificate, that instances are known by.
const CA_VARIABLE: &str = "TIDEWATCH_CA_FILE";

/// Believes the authorities of the environment's file; where it names none, those of the system.
///
/// # Errors
/// `Usage` if the file of the environment holds no certificate.
pub(crate) fn authorities() -> Result<ClientConfig, CommandError> {
    let mut roots = RootCertStore::empty();
    match std::env::var_os(CA_VARIABLE).filter(|path| !path.is_empty()) {
        None => {
            // What can't be read of them is believed by nobody, and said when a certificate is refused.
            for certificate in rustls_native_certs::load_native_certs().certs {
                let _ = roots.add(certificate);
            }
        }
        Some(path) => {
            let wrong = |found: String| {
                CommandError::Usage(format!(
                    "{CA_VARIABLE} `{}`: expected a PEM file of certificates, found {found}",
                    Path::new(&path).display()
                ))
            };
            let text = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&text) {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots
                    .add(certificate)
                    .map_err(|error| wrong(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("none".to_owned()));
            }
        }
    }
    Ok(builder()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// For plain HTTP: believes nobody.
pub(crate) fn nobody() -> Result<ClientConfig, CommandError> {
    Ok(builder()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

/// What to do about a certificate that was refused; empty where it was something else.
pub(crate) fn advice(scheme: &Scheme, reason: &str) -> String {
    if *scheme == Scheme::HTTPS && reason.contains("certificate") {
        format!(
            "; to trust its certificate, or the authority that signed it, name a PEM file of it by {CA_VARIABLE}"
        )
    } else {
        String::new()
    }
}

/// Believes one certificate and no other, whatever names it bears: it comes from the data directory of who shows it.
pub(crate) fn only(pem: &[u8]) -> Result<ClientConfig, CommandError> {
    let certificate = CertificateDer::from_pem_slice(pem).map_err(|error| {
        CommandError::surroundings(format!(
            "the certificate in the data directory can't be read: {error}"
        ))
    })?;
    let verifier = Arc::new(Only {
        certificate,
        provider: provider(),
    });
    Ok(builder()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, CommandError> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| CommandError::surroundings(format!("TLS: {error}")))
}

/// Verifies by comparing: the same certificate, and the handshake signed with its key.
#[derive(Debug)]
struct Only {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
