//! The program: settings, wiring, HTTP, command line. What it wires lives in the other rooms.
//!
//! Read in this order: [`cli`] (what can be asked), [`config`] (what can be set), [`app`] (how `run` puts the rooms together and takes them
//! apart), `http` (what is answered while it runs), [`access`] (who may ask), `tables` (what SQL sees of the running pipeline), [`replay`] (history through the same rooms), [`telemetry`] (what it tells of itself).

pub mod access;
mod admission;
pub mod app;
mod args;
pub mod cli;
mod clock;
mod commands;
pub mod config;
mod doors;
pub mod error;
pub mod error_codes;
mod http;
mod intake_metrics;
mod log_watch;
mod logs;
pub mod replay;
mod signals;
mod sources;
mod stores;
mod systemd;
mod tables;
pub mod telemetry;
pub mod tls;
