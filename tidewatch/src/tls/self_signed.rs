//! A certificate of our own making: ECDSA P-256, for the names of this machine, signed by its own key (RFC 5280, RFC 5480).

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use super::certificate::{
    BIT_STRING, GENERALIZED_TIME, INTEGER, OBJECT_ID, OCTET_STRING, SEQUENCE, SET, UTC_TIME,
    UTF8_STRING, VERSION, element, to_pem,
};

/// How long it is valid. Ten years: whoever trusts it was told to by hand, and would have to be told again.
const VALID: SignedDuration = SignedDuration::from_hours(3_652 * 24);
/// How long before now it begins: clocks of clients may be behind.
const BACKDATED: SignedDuration = SignedDuration::from_hours(24);

// Object identifiers, as their bytes stand in DER.
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// A certificate and its key, as PEM.
pub(super) struct Made {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Makes one for these names and addresses.
pub(super) fn make(hosts: &[String], now: Timestamp) -> Result<Made, String> {
    let random = SystemRandom::new();
    let failed = |what: &str| format!("{what}: the system gives no randomness");
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| failed("a key"))?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random)
        .map_err(|error| format!("a key: {error}"))?;
    let mut serial = [0; 16];
    random
        .fill(&mut serial)
        .map_err(|_| failed("a serial number"))?;
    // Positive, and no shorter than it looks.
    serial[0] = serial[0] & 0x7f | 0x40;
    let fields = fields(hosts, now, &serial, pair.public_key().as_ref())?;
    let signature = pair
        .sign(&random, &fields)
        .map_err(|_| failed("a signature"))?;
    let certificate = sequence(&[
        fields,
        sequence(&[element(OBJECT_ID, ECDSA_WITH_SHA256)]),
        bits(signature.as_ref()),
    ]);
    Ok(Made {
        certificate: to_pem("CERTIFICATE", &certificate),
        key: to_pem("PRIVATE KEY", key.as_ref()),
    })
}

fn sequence(elements: &[Vec<u8>]) -> Vec<u8> {
    element(SEQUENCE, &elements.concat())
}

/// Whole bytes as a bit string.
fn bits(bytes: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], bytes].concat())
}

/// All of the certificate but its signature.
fn fields(
    hosts: &[String],
    now: Timestamp,
    serial: &[u8],
    public_key: &[u8],
) -> Result<Vec<u8>, String> {
    let first = hosts.first().map_or("localhost", String::as_str);
    let name = element(UTF8_STRING, format!("tidewatch on {first}").as_bytes());
    let name = sequence(&[element(
        SET,
        &sequence(&[element(OBJECT_ID, COMMON_NAME), name]),
    )]);
    let beyond = |error: jiff::Error| format!("the clock of this machine: {error}");
    let validity = sequence(&[
        date(now.checked_sub(BACKDATED).map_err(beyond)?),
        date(now.checked_add(VALID).map_err(beyond)?),
    ]);
    let key = sequence(&[
        sequence(&[
            element(OBJECT_ID, EC_PUBLIC_KEY),
            element(OBJECT_ID, PRIME256V1),
        ]),
        bits(public_key),
    ]);
    let names: Vec<u8> = hosts.iter().flat_map(|host| alternative(host)).collect();
    let extension =
        |id: &[u8], value: &[u8]| sequence(&[element(OBJECT_ID, id), element(OCTET_STRING, value)]);
    let extensions = sequence(&[
        extension(SUBJECT_ALT_NAME, &element(SEQUENCE, &names)),
        extension(
            EXTENDED_KEY_USAGE,
            &sequence(&[element(OBJECT_ID, SERVER_AUTH)]),
        ),
    ]);
    Ok(sequence(&[
        element(VERSION, &element(INTEGER, &[2])),
        element(INTEGER, serial),
        sequence(&[element(OBJECT_ID, ECDSA_WITH_SHA256)]),
        name.clone(),
        validity,
        name,
        key,
        element(0xa3, &extensions),
    ]))
}

/// A date in the form that its year asks for (RFC 5280, 4.1.2.5).
fn date(time: Timestamp) -> Vec<u8> {
    let text = time.strftime("%Y%m%d%H%M%SZ").to_string();
    match text.strip_prefix("20").filter(|rest| *rest < "50") {
        Some(short) => element(UTC_TIME, short.as_bytes()),
        None => element(GENERALIZED_TIME, text.as_bytes()),
    }
}

/// An address or a name, as an alternative name of the subject.
fn alternative(host: &str) -> Vec<u8> {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => element(0x87, &address.octets()),
        Ok(IpAddr::V6(address)) => element(0x87, &address.octets()),
        Err(_) => element(0x82, host.as_bytes()),
    }
}
