//! A real S3 server for the tests of archive and chain on S3.

pub mod server;

use std::net::SocketAddr;

/// Names a server that runs, `http://HOST:PORT`; `cargo xtask test` sets it.
pub const TEST_S3: &str = "TIDEWATCH_TEST_S3";

/// The address of a real S3 server with the bucket and the keys of [`server`], or `None`, said loudly.
///
/// # Panics
/// If there is none and `TIDEWATCH_REQUIRE_S3=1`.
pub fn s3_for_tests(test: &str) -> Option<SocketAddr> {
    let Some(endpoint) = std::env::var(TEST_S3).ok().filter(|text| !text.is_empty()) else {
        crate::skip(
            test,
            "an S3 server (TIDEWATCH_TEST_S3; `cargo xtask test` starts one)",
            "TIDEWATCH_REQUIRE_S3",
        );
        return None;
    };
    let address = endpoint
        .strip_prefix("http://")
        .and_then(|address| address.trim_end_matches('/').parse().ok());
    Some(address.unwrap_or_else(|| panic!("{TEST_S3} is `{endpoint}`, expected http://IP:PORT")))
}
