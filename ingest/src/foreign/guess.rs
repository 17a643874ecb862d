//! What the bytes of a record look like that its decoder did not take: one of the other formats, or what people send to a topic by mistake.

use std::borrow::Cow;
use std::fmt;

use schemas::Micros;

use super::format::{Format, Reading};
use crate::door::Batcher;
use crate::http::LineUnit;
use crate::json_text::JsonText;

/// Larger values are looked at by their first bytes only. 1 MiB: what brokers take unless told otherwise.
const TRIAL_BYTES_MAX: usize = 1024 * 1024;
/// Samples that a trial may hold; more make the guess no surer.
const TRIAL_SAMPLES_MAX: usize = 100_000;
/// How far into a value it is looked for the words that give a format away.
const HEAD_BYTES: usize = 4096;
/// Schema registries count from 1; bytes that claim a larger number are taken for something else.
const SCHEMA_ID_MAX: u32 = 1 << 24;

/// The first byte of a request of OpenTelemetry: field 1, bytes.
const REQUEST_TAG: u8 = 0x0a;

/// First bytes that tell a container.
const CONTAINERS: [(&[u8], &str); 6] = [
    (
        &[0x1f, 0x8b],
        "gzip (compress on the topic instead: Kafka does it by itself)",
    ),
    (
        &[0x28, 0xb5, 0x2f, 0xfd],
        "zstd (compress on the topic instead: Kafka does it by itself)",
    ),
    (
        &[0x04, 0x22, 0x4d, 0x18],
        "lz4 (compress on the topic instead: Kafka does it by itself)",
    ),
    (
        b"\xff\x06\x00\x00sNaPpY",
        "framed snappy; only blocks are taken",
    ),
    (
        b"\x82SNAPPY\x00",
        "framed snappy of Java; only blocks are taken",
    ),
    (b"Obj\x01", "an Avro file"),
];

/// What bytes look like.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Guess {
    /// The format that reads them without a rejection, if one does.
    pub(super) format: Option<Format>,
    /// In words: the format's name, or what else it seems to be.
    pub(super) words: Cow<'static, str>,
}

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl From<Format> for Guess {
    fn from(format: Format) -> Self {
        Guess {
            format: Some(format),
            words: format.name().into(),
        }
    }
}

fn words(words: impl Into<Cow<'static, str>>) -> Guess {
    Guess {
        format: None,
        words: words.into(),
    }
}

/// What a value looks like that is not of the format it should be of.
pub(super) fn guess(value: &[u8], configured: Format, now: Micros) -> Guess {
    if let Some((_, name)) = CONTAINERS.iter().find(|(head, _)| value.starts_with(head)) {
        return words(*name);
    }
    if let Some(id) = schema_id(value) {
        return words(format!("a schema registry's framing, schema {id}"));
    }
    if value.len() <= TRIAL_BYTES_MAX {
        let is_json = matches!(value.trim_ascii_start().first(), Some(b'{' | b'['));
        // What begins otherwise needs no trial: no JSON does, and of OpenTelemetry's protobuf, whose requests have one field, nothing that a client sends.
        let may_be = |other: Format| match other {
            Format::OtlpProto => value.first() == Some(&REQUEST_TAG),
            other => is_json || !other.is_json(),
        };
        let is_other = |other: &Format| *other != configured && may_be(*other);
        let mut others = Format::ALL.into_iter().filter(is_other);
        let mut door = Batcher::new(1, 0, TRIAL_SAMPLES_MAX);
        if let Some(format) = others.find(|format| reads(*format, value, now, &mut door)) {
            return format.into();
        }
    }
    let head = &value[..value.len().min(HEAD_BYTES)];
    let holds = |word: &str| memchr::memmem::find(head, word.as_bytes()).is_some();
    match head.trim_ascii_start().first() {
        None => words("nothing"),
        Some(b'{' | b'[') => json(value, &holds),
        _ if is_text(value) => text(head),
        _ => binary(value, &holds),
    }
}

/// Whether a format reads a value without a rejection, and finds something. The door is given back empty.
fn reads(format: Format, value: &[u8], now: Micros, door: &mut Batcher) -> bool {
    let reading = Reading {
        format,
        unit: LineUnit::Auto,
    };
    let found = reading
        .decode(value, now, door)
        .is_ok_and(|skipped| door.rejections().is_empty() && door.samples() + skipped > 0);
    door.discard();
    found
}

/// A zero byte and four of a number, before the value itself.
fn schema_id(value: &[u8]) -> Option<u32> {
    let (head, rest) = value.split_first_chunk::<5>()?;
    let [0, id @ ..] = head else { return None };
    let id = u32::from_be_bytes(*id);
    (!rest.is_empty() && (1..SCHEMA_ID_MAX).contains(&id)).then_some(id)
}

fn json(value: &[u8], holds: &dyn Fn(&str) -> bool) -> Guess {
    let mut json = JsonText::new(value);
    let broken = loop {
        if json.is_at_end() {
            break None;
        }
        if let Err(error) = json.skip() {
            break Some(error.byte);
        }
    };
    let kind = if holds("\"resourceLogs\"") {
        "otlp_json of logs"
    } else if holds("\"resourceSpans\"") {
        "otlp_json of traces"
    } else if holds("\"resourceMetrics\"") {
        "otlp_json"
    } else if holds("\"log\"") && holds("\"message\"") {
        "a log event of Vector"
    } else {
        "JSON of another shape"
    };
    match broken {
        None => words(kind),
        Some(byte) if byte >= value.trim_ascii_end().len() => {
            words(format!("{kind}, cut off after {} bytes", value.len()))
        }
        Some(byte) => words(format!("{kind}, broken at byte {byte}")),
    }
}

/// Whether bytes are UTF-8 of characters that people write: protobuf of short fields is UTF-8, too.
fn is_text(value: &[u8]) -> bool {
    let is_written = |c: char| !c.is_control() || c.is_whitespace();
    std::str::from_utf8(value).is_ok_and(|text| text.chars().all(is_written))
}

fn text(head: &[u8]) -> Guess {
    let head = String::from_utf8_lossy(head);
    let line = head.lines().next().unwrap_or_default();
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let is_number = |text: &&str| text.parse::<f64>().is_ok();
    match fields[..] {
        ["#", "HELP" | "TYPE", ..] => words("a page of Prometheus metrics"),
        [_, value, time] if is_number(&value) && is_number(&time) => words("Graphite's plaintext"),
        _ => words("text"),
    }
}

fn binary(value: &[u8], holds: &dyn Fn(&str) -> bool) -> Guess {
    let Some(length) = value.strip_prefix(&[REQUEST_TAG]).and_then(announced) else {
        return words("binary data");
    };
    if length > value.len() {
        return words(format!(
            "protobuf, cut off: {} bytes of at least {length}",
            value.len()
        ));
    }
    if holds("service.name") || holds("telemetry.sdk") || holds("host.name") {
        return words("otlp_proto of logs or traces");
    }
    words("protobuf of another message")
}

/// How long a message is that begins with one field of bytes: as its varint says, with what stands before.
fn announced(rest: &[u8]) -> Option<usize> {
    let mut length = 0usize;
    for (index, byte) in rest.iter().take(5).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some(length.saturating_add(index + 2));
        }
    }
    None
}
