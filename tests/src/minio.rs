//! A real S3 server for the tests of archive and chain on S3.

pub mod server;
