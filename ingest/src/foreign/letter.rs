//! Dead letters as records of their topic: how they are written, and read again. A note among them tells which were replayed.

use std::fmt::{self, Write as _};

use bus::{ENVELOPE_BYTES_MAX, HeaderName, LogRecord, RECORD_BYTES_MAX, Record};
use bytes::Bytes;
use schemas::ErrorCode;
use schemas::topics::{
    HEADER_CONFIGURED_FORMAT, HEADER_ERROR_CODE, HEADER_GUESSED_FORMAT, HEADER_PREFIX,
    HEADER_REASON, HEADER_REPLAYED_AS, HEADER_SOURCE, HEADER_SOURCE_OFFSET,
    HEADER_SOURCE_PARTITION, HEADER_SOURCE_TIME, HEADER_SOURCE_TOPIC, HEADER_VALUE_BYTES,
};

use super::format::Format;
use super::guess::Guess;

/// The longest reason, bytes. 2 KiB: a message with a piece of what was sent.
const REASON_BYTES_MAX: usize = 2048;
/// What our own headers may take of an envelope.
const OWN_BYTES_MAX: usize = 8 * 1024;

/// Where a record came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) source: &'a str,
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) time_ms: Option<i64>,
}

/// Why a record, or a part of it, could not be taken.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) code: &'static ErrorCode,
    pub(super) configured: Format,
    /// `None` where some of it was read: then the format is right.
    pub(super) guess: Option<Guess>,
    /// The decoder's.
    pub(super) message: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configured {}", self.configured)?;
        if let Some(guess) = &self.guess {
            write!(f, "; looks like {guess}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Trouble {
    /// The letter. A value or envelope that no log takes is cut, and the letter says so.
    pub(super) fn letter(
        &self,
        origin: &Origin<'_>,
        key: Bytes,
        value: &[u8],
        foreign: Vec<(HeaderName, Bytes)>,
    ) -> Record {
        let mut own = OwnHeaders::with_room();
        own.add(HEADER_REASON, self);
        own.cut(REASON_BYTES_MAX);
        own.add(HEADER_ERROR_CODE, &self.code.id);
        own.add(HEADER_SOURCE, &origin.source);
        own.add(HEADER_SOURCE_TOPIC, &origin.topic);
        own.add(HEADER_SOURCE_PARTITION, &origin.partition);
        own.add(HEADER_SOURCE_OFFSET, &origin.offset);
        if let Some(time_ms) = origin.time_ms {
            own.add(HEADER_SOURCE_TIME, &time_ms);
        }
        own.add(HEADER_CONFIGURED_FORMAT, &self.configured);
        if let Some(guess) = &self.guess {
            own.add(HEADER_GUESSED_FORMAT, guess);
        }
        if value.len() > RECORD_BYTES_MAX {
            own.add(HEADER_VALUE_BYTES, &value.len());
        }
        // Ours come first, so that a header of the same name does not hide one of them.
        let mut headers = Vec::with_capacity(own.ends.len() + foreign.len());
        own.finish(&mut headers);
        let mut room = ENVELOPE_BYTES_MAX - OWN_BYTES_MAX;
        let mut fits = |bytes: usize| {
            let left = room.checked_sub(bytes);
            room = left.unwrap_or(room);
            left.is_some()
        };
        let key = if fits(key.len()) { key } else { Bytes::new() };
        headers.extend(
            foreign
                .into_iter()
                .filter(|(name, value)| fits(name.len() + value.len())),
        );
        Record {
            key,
            value: Bytes::copy_from_slice(&value[..value.len().min(RECORD_BYTES_MAX)]),
            headers,
            append_time_ms: None,
        }
    }
}

/// Headers whose values share one buffer: a topic of nothing but garbage makes as many letters as it has records.
struct OwnHeaders {
    text: String,
    /// Names, and where in the text their values end.
    ends: Vec<(&'static str, usize)>,
}

impl OwnHeaders {
    /// With room for what most letters say.
    fn with_room() -> Self {
        OwnHeaders {
            text: String::with_capacity(384),
            ends: Vec::with_capacity(10),
        }
    }

    fn add(&mut self, name: &'static str, value: &dyn fmt::Display) {
        // A string takes whatever is written; only a `Display` of its own could fail, and ours don't.
        let _ = write!(self.text, "{value}");
        self.ends.push((name, self.text.len()));
    }

    /// Leaves at most so many bytes of the first and only value, whole characters.
    fn cut(&mut self, bytes_max: usize) {
        if self.text.len() > bytes_max {
            self.text.truncate(self.text.floor_char_boundary(bytes_max));
            self.text.push('…');
            self.ends[0].1 = self.text.len();
        }
    }

    fn finish(self, headers: &mut Vec<(HeaderName, Bytes)>) {
        let (text, mut begin) = (Bytes::from(self.text), 0);
        for (name, end) in self.ends {
            headers.push((name.into(), text.slice(begin..end)));
            begin = end;
        }
    }
}

/// Names a dead letter: its partition and offset in their topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId {
    /// Partition of the topic of dead letters.
    pub partition: u32,
    /// Offset there.
    pub offset: u64,
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.partition, self.offset)
    }
}

impl LetterId {
    /// The id that a text stands for: `2-117`.
    pub fn parse(text: &str) -> Option<Self> {
        let (partition, offset) = text.split_once('-')?;
        Some(LetterId {
            partition: partition.parse().ok()?,
            offset: offset.parse().ok()?,
        })
    }
}

/// A dead letter as it was read from its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLetter {
    /// Its name.
    pub id: LetterId,
    /// The record.
    pub record: LogRecord,
}

/// What a record of the topic of dead letters is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// A letter.
    Letter(StoredLetter),
    /// These were replayed at a time, milliseconds since 1970.
    Replayed(Vec<LetterId>, i64),
}

impl Stored {
    /// Reads a record of a partition of the topic. One that someone else wrote there is a letter without headers.
    pub fn read(partition: u32, record: LogRecord) -> Self {
        if record.header(HEADER_REPLAYED_AS).is_some() {
            let text = String::from_utf8_lossy(&record.value);
            let ids = text.lines().filter_map(LetterId::parse);
            return Stored::Replayed(ids.collect(), record.append_time_ms);
        }
        let id = LetterId {
            partition,
            offset: record.offset.0,
        };
        Stored::Letter(StoredLetter { id, record })
    }
}

/// The note that letters were replayed.
pub(super) fn replay_note(ids: &[LetterId], format: Format) -> Record {
    let mut text = String::new();
    for id in ids {
        text.push_str(&id.to_string());
        text.push('\n');
    }
    let name = Bytes::from_static(format.name().as_bytes());
    Record {
        value: Bytes::from(text),
        headers: vec![(HEADER_REPLAYED_AS.into(), name)],
        ..Record::default()
    }
}

impl StoredLetter {
    fn text(&self, name: &str) -> Option<String> {
        let value = self.record.header(name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// Why it is here; empty if it does not say.
    pub fn reason(&self) -> String {
        self.text(HEADER_REASON).unwrap_or_default()
    }

    /// The code of the error.
    pub fn error_code(&self) -> Option<String> {
        self.text(HEADER_ERROR_CODE)
    }

    /// The source of the configuration that read it; `None` for a record of our own log.
    pub fn source(&self) -> Option<String> {
        self.text(HEADER_SOURCE)
    }

    /// The topic that it came from.
    pub fn topic(&self) -> Option<String> {
        self.text(HEADER_SOURCE_TOPIC)
    }

    /// The partition that it came from.
    pub fn source_partition(&self) -> Option<i32> {
        self.text(HEADER_SOURCE_PARTITION)?.parse().ok()
    }

    /// Its offset there.
    pub fn source_offset(&self) -> Option<i64> {
        self.text(HEADER_SOURCE_OFFSET)?.parse().ok()
    }

    /// Its time there, milliseconds since 1970.
    pub fn source_time_ms(&self) -> Option<i64> {
        self.text(HEADER_SOURCE_TIME)?.parse().ok()
    }

    /// The name of the format that its source was configured for.
    pub fn configured_format(&self) -> Option<String> {
        self.text(HEADER_CONFIGURED_FORMAT)
    }

    /// What it looks like, in words.
    pub fn guessed_format(&self) -> Option<String> {
        self.text(HEADER_GUESSED_FORMAT)
    }

    /// How many bytes its value had, if that is more than it has here.
    pub fn value_bytes_lost(&self) -> Option<u64> {
        self.text(HEADER_VALUE_BYTES)?.parse().ok()
    }

    /// The headers that its sender gave it, in order.
    pub fn foreign_headers(&self) -> impl Iterator<Item = &(HeaderName, Bytes)> {
        let headers = self.record.headers.iter();
        headers.filter(|(name, _)| !name.starts_with(HEADER_PREFIX))
    }
}

#[cfg(test)]
mod tests {
    use schemas::Offset;

    use super::*;
    use crate::error_codes;

    fn trouble() -> Trouble {
        Trouble {
            code: &error_codes::MALFORMED,
            configured: Format::OtlpProto,
            guess: Some(Format::OtlpJson.into()),
            message: "malformed body at byte 0".to_owned(),
        }
    }

    fn origin(time_ms: Option<i64>) -> Origin<'static> {
        Origin {
            source: "collector",
            topic: "otlp_metrics",
            partition: 3,
            offset: 12,
            time_ms,
        }
    }

    fn stored(record: Record) -> StoredLetter {
        let record = LogRecord {
            offset: Offset(7),
            append_time_ms: 5,
            key: record.key,
            value: record.value,
            headers: record.headers,
        };
        match Stored::read(2, record) {
            Stored::Letter(letter) => letter,
            note => panic!("{note:?}"),
        }
    }

    #[test]
    fn a_letter_is_read_as_it_was_written() {
        let foreign = vec![
            ("traceparent".into(), Bytes::from_static(b"00-1")),
            // One who reads our dead letters as a source of their own.
            (HEADER_REASON.into(), Bytes::from_static(b"another")),
        ];
        let record = trouble().letter(&origin(Some(99)), Bytes::from_static(b"k"), b"{}", foreign);
        let letter = stored(record);
        assert_eq!(
            letter.reason(),
            "configured otlp_proto; looks like otlp_json: malformed body at byte 0"
        );
        assert_eq!(letter.id.to_string(), "2-7");
        assert_eq!(LetterId::parse("2-7"), Some(letter.id));
        assert_eq!(LetterId::parse("2"), None);
        let told = (letter.source(), letter.topic(), letter.source_partition());
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(told, (text("collector"), text("otlp_metrics"), Some(3)));
        let told = (letter.source_offset(), letter.source_time_ms());
        assert_eq!(told, (Some(12), Some(99)));
        let told = (letter.configured_format(), letter.guessed_format());
        assert_eq!(told, (text("otlp_proto"), text("otlp_json")));
        assert_eq!(letter.error_code(), text("TW-INGEST-001"));
        assert_eq!(
            (&letter.record.key[..], &letter.record.value[..]),
            (&b"k"[..], &b"{}"[..])
        );
        let names: Vec<&str> = letter.foreign_headers().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["traceparent"]);
    }

    #[test]
    fn what_no_log_takes_is_cut_and_told() {
        let foreign = vec![
            ("large".into(), Bytes::from(vec![0; ENVELOPE_BYTES_MAX])),
            ("small".into(), Bytes::from_static(b"1")),
        ];
        let trouble = Trouble {
            message: "é".repeat(5_000),
            ..trouble()
        };
        let value = vec![1; RECORD_BYTES_MAX + 5];
        let key = Bytes::from(vec![0; 40 * 1024]);
        let record = trouble.letter(&origin(None), key, &value, foreign);
        let envelope: usize = record
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        assert!(envelope + record.key.len() <= ENVELOPE_BYTES_MAX);
        assert_eq!(record.value.len(), RECORD_BYTES_MAX);
        let letter = stored(record);
        let kept: Vec<&str> = letter.foreign_headers().map(|(name, _)| &**name).collect();
        assert_eq!(kept, ["small"]);
        assert_eq!(letter.value_bytes_lost(), Some(value.len() as u64));
        assert!(letter.reason().ends_with('…') && letter.reason().len() < 2100);
        assert_eq!(letter.source_time_ms(), None);
    }

    #[test]
    fn a_note_names_the_letters_that_were_replayed() {
        let ids = [(0, 1), (2, 117)].map(|(partition, offset)| LetterId { partition, offset });
        let note = replay_note(&ids, Format::Influx);
        let record = LogRecord {
            offset: Offset(9),
            append_time_ms: 1234,
            key: note.key,
            value: note.value,
            headers: note.headers,
        };
        assert_eq!(
            Stored::read(0, record),
            Stored::Replayed(ids.to_vec(), 1234)
        );
    }
}
