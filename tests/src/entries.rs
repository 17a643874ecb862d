//! Where bytes from outside enter: every decoder and every format of file, each as a function that must bear any input. Shared by the test
//! `hostile_input` and the targets in `fuzz/`.

use bytes::Bytes;
use ingest::admission::{Admission, SeriesLimits};
use ingest::collectors::scrape::{self, Exposition, read_groups, read_series};
use ingest::door::{Batcher, TimeUnit};
use ingest::foreign::{Format, Reading};
use ingest::http;
use ingest::sockets::{graphite, statsd};
use processors::{PartitionState, ProcessingConfig};
use schemas::time::{DAY, MINUTE};
use schemas::{Checkpoint, Guests, Offset, SampleBatch};

/// Now, for lines without a time: 2027-01-15, microseconds.
const NOW: i64 = 1_800_000_000_000_000;
/// What a receiver takes of one request.
const SAMPLES_MAX: usize = 1_000_000;
/// Label sets remembered in one call.
const MEMO_BYTES_MAX: usize = 1 << 20;

/// A decoder, or a reader of a format.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its name, that of its target and of its corpus.
    pub name: &'static str,
    /// Takes any bytes; errors are of no interest here, panics and memory are.
    pub run: fn(&[u8]),
}

/// All of them.
pub const ENTRIES: [Entry; 19] = [
    entry("remote_write", |body| {
        decode(|door| drop(http::decode_remote_write(body, door)));
    }),
    entry("remote_write_2", |body| {
        decode(|door| drop(http::decode_remote_write_with_symbols(body, door)));
    }),
    entry("otlp", |body| {
        decode(|door| drop(http::decode_otlp(body, NOW, door)));
    }),
    entry("otlp_json", |body| {
        decode(|door| drop(http::decode_otlp_json(body, NOW, door)));
    }),
    entry("line_protocol", |body| {
        for unit in [
            http::LineUnit::Auto,
            http::LineUnit::Fixed(TimeUnit::Nanoseconds),
        ] {
            let options = http::LineOptions { unit, now: NOW };
            decode(|door| drop(http::decode_line_protocol(body, options, door)));
        }
    }),
    entry("json_lines", |body| {
        decode(|door| drop(http::decode_json_lines(body, NOW, door)));
    }),
    entry("telegraf_json", |body| {
        decode_record(Format::TelegrafJson, body);
    }),
    entry("native_json", |body| {
        decode_record(Format::NativeJson, body)
    }),
    entry("statsd", |body| {
        decode(|door| statsd::decode(body, NOW, 1000, door));
    }),
    entry("graphite", |body| {
        let templates = ["metric*", "host.metric*"];
        for template in templates.iter().filter_map(|text| text.parse().ok()) {
            decode(|door| graphite::decode(body, NOW, &template, door));
        }
    }),
    entry("exposition", |body| {
        for format in [scrape::Format::Text, scrape::Format::OpenMetrics] {
            let mut lines = Exposition::new(body, format);
            while let Ok(Some(line)) = lines.next_line() {
                drop(read_series(line.series));
            }
        }
    }),
    entry("scrape_targets", |text| drop(read_groups(text))),
    entry("record", |bytes| {
        // Others may write to the topic of samples, too: what can be read is processed as well.
        if let Ok(batch) = SampleBatch::decode(&Bytes::copy_from_slice(bytes)) {
            process(&batch);
        }
    }),
    entry("guests", |bytes| {
        if let Ok(verdict) = schemas::decode_verdict(bytes) {
            let mut state = PartitionState::new(ProcessingConfig::default()).with_place(0, 2);
            state.step_verdict(Offset(0), NOW, verdict);
        }
        if let Ok(guests) = Guests::decode(bytes) {
            assert!(Guests::decode(&guests.encode()).is_ok_and(|again| again == guests));
            welcome(&guests);
        }
    }),
    entry("link", |bytes| drop(Checkpoint::decode(bytes))),
    entry("snapshot", |bytes| {
        for file in [bytes, &packed_snapshot(bytes)] {
            drop(PartitionState::decode(file, ProcessingConfig::default()));
        }
    }),
    entry("known_series", |bytes| {
        for file in [bytes, &sealed(KNOWN_SERIES, bytes)] {
            let admission = Admission::new(SeriesLimits::default(), NOW);
            if admission.restore_series(file).is_ok() {
                // What was taken up is what the next start reads.
                admission.keep_unsaved_series();
                let saved = admission.unsaved_series().unwrap_or_default();
                assert!(saved.is_empty() || admission.restore_series(&saved).is_ok());
            }
        }
    }),
    entry("folded_labels", |bytes| {
        for file in [bytes, &sealed(FOLDED_LABELS, bytes)] {
            let admission = Admission::new(SeriesLimits::default(), NOW);
            if admission.restore(file).is_ok() {
                release_all(&admission);
            }
        }
    }),
    entry("calendar", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        drop(analytics::calendar::Calendar::parse(&text, "Europe/Berlin"));
    }),
];

const fn entry(name: &'static str, run: fn(&[u8])) -> Entry {
    Entry { name, run }
}

/// A snapshot's file of these bytes: what stands behind its compression, which few changes of a whole file reach.
pub fn packed_snapshot(state: &[u8]) -> Vec<u8> {
    let mut file = PartitionState::new(ProcessingConfig::default()).encode();
    // Magic and versions stay; then come the length and the compressed bytes.
    file.truncate(16);
    file.extend_from_slice(&(state.len() as u64).to_le_bytes());
    file.extend(zstd::bulk::compress(state, 1).unwrap_or_default());
    file
}

/// What the file of known series begins with, before its checksum.
pub const KNOWN_SERIES: &str = "tidewatch-known-series 1 crc32=";
/// What the file of folded labels begins with.
pub const FOLDED_LABELS: &str = "tidewatch-folded-labels 1 crc32=";

/// A file of the limits with this body: what stands behind a checksum, which no change of a whole file gets past.
pub fn sealed(head: &str, body: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(body);
    let mut file = format!("{head}{:08x}\n", crc.sum()).into_bytes();
    file.extend_from_slice(body);
    file
}

/// Takes up again what an admission saves of its folded labels, and tells and releases each of them.
fn release_all(admission: &Admission) {
    admission.keep_unsaved();
    let saved = admission.unsaved().unwrap_or_default();
    let again = Admission::new(SeriesLimits::default(), NOW);
    assert!(again.restore(&saved).is_ok());
    for label in again.report().folded {
        drop(label.event(again.values_max()));
        assert!(again.release(&label.metric, &label.label));
    }
    assert_eq!(again.counts(), (0, 0));
}

/// Steps over a record that is appended at its latest time, and over one a day later, by which all of its windows have ended.
fn process(batch: &SampleBatch) {
    let newest = batch.times().iter().copied().max().unwrap_or(NOW);
    let mut state = PartitionState::new(ProcessingConfig::default());
    state.step(Offset(0), newest, batch);
    state.step_empty(Offset(1), newest.saturating_add(DAY), false);
    state.settle();
    drop(state.encode());
}

/// Has each of two partitions welcome guests twice and wait for others in vain, with a restart in between.
fn welcome(guests: &Guests) {
    for partition in 0..2 {
        let (config, minute) = (ProcessingConfig::default(), guests.minute());
        let mut state = PartitionState::new(config.clone()).with_place(partition, 2);
        for offset in 0..2 {
            state.step_guests(Offset(offset), minute + 3 * MINUTE, guests);
        }
        let mut state = PartitionState::decode(&state.encode(), config)
            .map(|state| state.with_place(partition, 2))
            .unwrap_or_else(|error| panic!("what was saved is read: {error}"));
        state.step_empty(Offset(2), minute + DAY, false);
    }
}

/// Decodes the value of a record of a foreign topic.
fn decode_record(format: Format, value: &[u8]) {
    let unit = http::LineUnit::Auto;
    decode(|door| drop(Reading { format, unit }.decode(value, NOW, door)));
}

/// Decodes into a door of its own, and writes what came in as records.
fn decode(take: impl FnOnce(&mut Batcher)) {
    let mut door = Batcher::new(4, MEMO_BYTES_MAX, SAMPLES_MAX);
    take(&mut door);
    drop(door.finish());
}
