//! Certificates of our own making as other programs read them, files that are wrong, and the exchange while connections go on.

use std::process::Command;
use std::sync::Arc;

use rstest::rstest;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::*;

fn hosts() -> Vec<String> {
    ["node-1", "localhost", "127.0.0.1", "::1"]
        .map(str::to_owned)
        .to_vec()
}

fn day(text: &str) -> Timestamp {
    format!("{text}T00:00:00Z").parse().unwrap()
}

/// A pair of files made at a time, as if they came from elsewhere.
fn files(dir: &Path, made: Timestamp) -> TlsConfig {
    let pair = self_signed::make(&hosts(), made).unwrap();
    let (certificate, key) = (dir.join("c.pem"), dir.join("k.pem"));
    std::fs::write(&certificate, pair.certificate).unwrap();
    std::fs::write(&key, pair.key).unwrap();
    TlsConfig::Files { certificate, key }
}

#[test]
fn a_certificate_of_our_own_is_one_to_openssl_too() {
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::open(&TlsConfig::SelfSigned, dir.path(), &hosts()).unwrap();
    let file = tls.certificate_file().to_owned();
    let first = std::fs::read(&file).unwrap();
    let again = Tls::open(&TlsConfig::SelfSigned, dir.path(), &hosts()).unwrap();
    assert_eq!(std::fs::read(again.certificate_file()).unwrap(), first);
    use std::os::unix::fs::PermissionsExt;
    let key = std::fs::metadata(dir.path().join("tls/key.pem")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);

    let ask = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        let output = command.args(arguments).arg(&file).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Some(text) = ask(&["x509", "-noout", "-text", "-in"]) else {
        eprintln!("SKIPPED: there is no openssl here to read the certificate");
        return;
    };
    for part in [
        "Version: 3",
        "ecdsa-with-SHA256",
        "CN = tidewatch on node-1",
        "DNS:node-1, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
        "TLS Web Server Authentication",
        "prime256v1",
    ] {
        // Versions of openssl differ in the spaces around `=`.
        let squeezed = |text: &str| text.replace(" = ", "=");
        assert!(squeezed(&text).contains(&squeezed(part)), "{part}:\n{text}");
    }
    let verified = ask(&["verify", "-CAfile", &file.display().to_string()]).unwrap();
    assert!(verified.trim().ends_with("OK"), "{verified}");
}

#[rstest]
#[case("2026-11-21", "2026-11-20", "2036-11-20")]
// Past 2050 dates are written in another form.
#[case("2045-01-01", "2044-12-31", "2055-01-01")]
#[case("2050-01-01", "2049-12-31", "2060-01-01")]
fn the_dates_of_a_certificate_are_read(
    #[case] made: &str,
    #[case] begins: &str,
    #[case] ends: &str,
) {
    let pair = self_signed::make(&hosts(), day(made)).unwrap();
    let der = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    let (not_before, not_after) = certificate::validity(&der).unwrap();
    assert_eq!(not_before, day(begins));
    assert!(not_after.duration_since(day(ends)).abs() < SignedDuration::from_hours(72));
    // No beginning of it is one.
    for cut in 0..der.len().min(200) {
        assert_eq!(certificate::validity(&der[..cut]), None, "{cut}");
    }
}

#[test]
fn what_is_wrong_with_the_files_is_told_with_their_settings() {
    let dir = tempfile::tempdir().unwrap();
    let config = files(dir.path(), Timestamp::now());
    let TlsConfig::Files { certificate, key } = &config else {
        unreachable!()
    };
    let open = |certificate: &Path, key: &Path| {
        let config = TlsConfig::Files {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        Tls::open(&config, dir.path(), &hosts())
            .unwrap_err()
            .to_string()
    };
    let missing = dir.path().join("missing.pem");
    assert!(open(&missing, key).contains("server.tls.certificate_file"));
    assert!(open(certificate, &missing).contains("server.tls.key_file"));
    let told = open(key, key);
    assert!(told.contains("expected a certificate"), "{told}");
    let told = open(certificate, certificate);
    assert!(told.contains("expected a private key"), "{told}");
    let other = dir.path().join("other.pem");
    std::fs::write(
        &other,
        self_signed::make(&hosts(), Timestamp::now()).unwrap().key,
    )
    .unwrap();
    let told = open(certificate, &other);
    assert!(told.contains("not that of the certificate"), "{told}");
    std::fs::write(
        &other,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let told = open(&other, key);
    assert!(told.contains("dates"), "{told}");
}

#[tokio::test]
async fn a_new_certificate_holds_for_new_connections_and_a_wrong_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = files(dir.path(), Timestamp::now());
    let tls = Tls::open(&config, dir.path(), &hosts()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tls.acceptor().clone();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() {
                    stream.write_all(&byte).await?;
                }
                Ok::<_, std::io::Error>(())
            });
        }
    });
    let connect = async |trusted: Vec<u8>| {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(&trusted).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    };
    let before = std::fs::read(tls.certificate_file()).unwrap();
    let mut old = connect(before.clone()).await.unwrap();

    // Half of a change: the key is another's.
    std::fs::write(
        tls.certificate_file(),
        self_signed::make(&hosts(), Timestamp::now())
            .unwrap()
            .certificate,
    )
    .unwrap();
    tls.reload();
    connect(before.clone()).await.unwrap();
    files(dir.path(), Timestamp::now());
    tls.reload();
    let after = std::fs::read(tls.certificate_file()).unwrap();
    assert!(connect(before).await.is_err());
    connect(after.clone()).await.unwrap();
    let pinned = std::fs::read(pinned_file(dir.path())).unwrap();
    assert_eq!(
        CertificateDer::from_pem_slice(&pinned).unwrap(),
        CertificateDer::from_pem_slice(&after).unwrap()
    );
    // The old connection goes on.
    old.write_all(b"x").await.unwrap();
    let mut byte = [0];
    old.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"x");
    serving.abort();
}
