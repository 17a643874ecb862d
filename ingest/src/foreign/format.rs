//! The formats that records of foreign topics come in, by the names that the agents themselves give them.

use std::fmt;

use schemas::Micros;

use super::{native_json, telegraf_json};
use crate::door::{Batcher, TimeUnit};
use crate::http::{
    LineOptions, LineUnit, Malformed, Undecodable, decode_json_lines, decode_line_protocol,
    decode_otlp, decode_otlp_json, decode_remote_write, decode_remote_write_with_symbols,
    unsnap_block,
};

/// The largest record decompressed, bytes. 32 MiB, as for a request.
const DECOMPRESSED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// First byte of a `WriteRequest` of remote write 1.0 (its field 1, a series); 2.0 has no field 1.
const SERIES_TAG: u8 = 0x0a;

/// What the records of a topic are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One `ExportMetricsServiceRequest` as protobuf: OpenTelemetry Collector.
    OtlpProto,
    /// The same as JSON.
    OtlpJson,
    /// Lines of Influx line protocol: Telegraf's default.
    Influx,
    /// Telegraf's own JSON.
    TelegrafJson,
    /// A snappy block of a remote write request, 1.0 or 2.0.
    RemoteWrite,
    /// Vector's metric events.
    NativeJson,
    /// JSON lines as our own receiver takes them.
    JsonLines,
}

impl Format {
    /// All of them; of those that JSON fits, the one with the most peculiar keys first.
    pub const ALL: [Format; 7] = [
        Format::OtlpProto,
        Format::OtlpJson,
        Format::Influx,
        Format::TelegrafJson,
        Format::RemoteWrite,
        Format::NativeJson,
        Format::JsonLines,
    ];

    /// As agents write it: `encoding` of the Collector's exporter, `data_format` of Telegraf, `codec` of Vector.
    pub fn name(self) -> &'static str {
        match self {
            Format::OtlpProto => "otlp_proto",
            Format::OtlpJson => "otlp_json",
            Format::Influx => "influx",
            Format::TelegrafJson => "json",
            Format::RemoteWrite => "prometheusremotewrite",
            Format::NativeJson => "native_json",
            Format::JsonLines => "json_lines",
        }
    }

    /// The format of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Whether every value of it is JSON.
    pub(super) fn is_json(self) -> bool {
        match self {
            Format::OtlpJson | Format::TelegrafJson | Format::NativeJson | Format::JsonLines => {
                true
            }
            Format::OtlpProto | Format::Influx | Format::RemoteWrite => false,
        }
    }

    /// The names of all, for messages: `otlp_proto, otlp_json, …`.
    pub fn names() -> String {
        Format::ALL.map(Format::name).join(", ")
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Refuses lines that begin as no line does: behind the framing of a schema registry, or what a compressor writes, a measurement's name could be anything.
fn check_text(value: &[u8]) -> Result<(), Malformed> {
    match value.trim_ascii_start().first() {
        Some(byte) if byte.is_ascii_control() => Err(Malformed {
            byte: 0,
            field: "line protocol".to_owned(),
            problem: format!("expected the name of a measurement, found the byte 0x{byte:02x}"),
        }),
        _ => Ok(()),
    }
}

/// The unit of times, by the name that a setting has: `auto`, `ns`, `us`, `ms`, `s`.
pub fn unit_from_name(name: &str) -> Option<LineUnit> {
    Some(match name {
        "auto" => LineUnit::Auto,
        "ns" => LineUnit::Fixed(TimeUnit::Nanoseconds),
        "us" => LineUnit::Fixed(TimeUnit::Microseconds),
        "ms" => LineUnit::Fixed(TimeUnit::Milliseconds),
        "s" => LineUnit::Fixed(TimeUnit::Seconds),
        _ => return None,
    })
}

/// How records are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// What they are.
    pub format: Format,
    /// The unit of times that are whole numbers without one: of line protocol and Telegraf's JSON.
    pub unit: LineUnit,
}

impl Reading {
    /// Decodes the value of one record into a batcher; `now` is the time of samples that have none, which must be the record's own, so that reading it again
    /// gives the same samples. Answers how many values were left out because they are no numbers. What can't be taken of it is a rejection.
    ///
    /// # Errors
    /// `Undecodable` if it is not of this format as a whole: some of its samples may have been pushed.
    pub fn decode(
        self,
        value: &[u8],
        now: Micros,
        door: &mut Batcher,
    ) -> Result<usize, Undecodable> {
        match self.format {
            Format::OtlpProto => decode_otlp(value, now, door),
            Format::OtlpJson => decode_otlp_json(value, now, door),
            Format::Influx => {
                check_text(value)?;
                let unit = self.unit;
                decode_line_protocol(value, LineOptions { unit, now }, door)
            }
            Format::TelegrafJson => telegraf_json::decode(value, self.unit, now, door),
            Format::RemoteWrite => {
                let request = unsnap_block(value, DECOMPRESSED_BYTES_MAX)?;
                match request.first() {
                    None | Some(&SERIES_TAG) => decode_remote_write(&request, door),
                    Some(_) => decode_remote_write_with_symbols(&request, door),
                }
            }
            Format::NativeJson => native_json::decode(value, now, door).map(|()| 0),
            Format::JsonLines => decode_json_lines(value, now, door).map(|()| 0),
        }
    }
}
