//! What is read of a certificate: its dates. And the two ways to write DER: tags, and PEM around it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_ID: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// The first field of a certificate, if it is not of version 1: `[0] version`.
pub(super) const VERSION: u8 = 0xa0;

/// One element of DER: tag, length, content.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    let length = content.len();
    if length < 0x80 {
        element.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        element.push(0x80 | bytes.len() as u8);
        element.extend_from_slice(bytes);
    }
    element.extend_from_slice(content);
    element
}

/// Text with a line of dashes before and after it.
pub(super) fn to_pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for (index, character) in text.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str(&format!("\n-----END {label}-----\n"));
    pem
}

/// Takes the first element: its tag, its content, and what follows.
fn take(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if !(1..=4).contains(&count) {
            return None;
        }
        let (bytes, rest) = rest.split_at_checked(count)?;
        let length = bytes
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

fn take_tagged(der: &[u8], expected: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = take(der)?;
    (tag == expected).then_some((content, rest))
}

/// From when to when a certificate is valid (RFC 5280, 4.1); `None` if it is none.
pub(super) fn validity(certificate: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (certificate, _) = take_tagged(certificate, SEQUENCE)?;
    let (mut fields, _) = take_tagged(certificate, SEQUENCE)?;
    if let Some((_, rest)) = take_tagged(fields, VERSION) {
        fields = rest;
    }
    let (_, rest) = take_tagged(fields, INTEGER)?; // serial number
    let (_, rest) = take_tagged(rest, SEQUENCE)?; // algorithm
    let (_, rest) = take_tagged(rest, SEQUENCE)?; // issuer
    let (validity, _) = take_tagged(rest, SEQUENCE)?;
    let (tag, begin, rest) = take(validity)?;
    let begin = time(tag, begin)?;
    let (tag, end, _) = take(rest)?;
    Some((begin, time(tag, end)?))
}

/// `YYMMDDhhmmssZ`, of 1950 to 2049, or `YYYYMMDDhhmmssZ`.
fn time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_suffix('Z')?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let century = match (tag, digits.len()) {
        (UTC_TIME, 12) if digits < "50" => "20",
        (UTC_TIME, 12) => "19",
        (GENERALIZED_TIME, 14) => "",
        _ => return None,
    };
    let digits = format!("{century}{digits}");
    let [year, month, day, hour, minute, second] =
        [0..4, 4..6, 6..8, 8..10, 10..12, 12..14].map(|part| &digits[part]);
    format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")
        .parse()
        .ok()
}
