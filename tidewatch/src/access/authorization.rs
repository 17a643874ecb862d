//! Reads the Authorization header in the three ways that agents write it.

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest header that is looked at, bytes: a token has 76.
const BYTES_MAX: usize = 1024;

/// The token of `Bearer TOKEN` (RFC 6750), `Token TOKEN` (InfluxDB) or `Basic BASE64(name:TOKEN)` (RFC 7617, any name); `None` for anything else.
pub(super) fn read(header: &HeaderValue) -> Option<String> {
    let text = header
        .to_str()
        .ok()
        .filter(|text| text.len() <= BYTES_MAX)?;
    let (scheme, rest) = text.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") {
        return Some(rest.to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        return pair
            .split_once(':')
            .map(|(_, password)| password.to_owned());
    }
    None
}
