//! Telegraf's own JSON (`data_format = "json"`): `{"fields":{…},"name":"cpu","tags":{…},"timestamp":1458229140}`, or several in `{"metrics":[…]}`.
//!
//! The sample of each field that is a number or a boolean (1 or 0) is named `name_field`, as of line protocol; text is left out and counted.

mod decode;

pub(super) use decode::decode;

#[cfg(test)]
mod tests;
