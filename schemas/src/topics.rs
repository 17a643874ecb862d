//! The names of topics and record headers.

/// The topics of one installation: `PREFIX.samples` and its siblings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
}

impl Topics {
    /// Topics with a prefix; the default is `tidewatch`.
    pub fn new(prefix: &str) -> Self {
        Topics {
            prefix: prefix.to_owned(),
        }
    }

    /// Columnar sample batches, partitioned by resource.
    pub fn samples(&self) -> String {
        format!("{}.samples", self.prefix)
    }

    /// Anomaly events, JSON.
    pub fn anomalies(&self) -> String {
        format!("{}.anomalies", self.prefix)
    }

    /// Forecast events, JSON.
    pub fn forecasts(&self) -> String {
        format!("{}.forecasts", self.prefix)
    }

    /// What could not be decoded: raw bytes, with the reason and the source in headers.
    pub fn dead_letters(&self) -> String {
        format!("{}.dead-letters", self.prefix)
    }

    /// All topics.
    pub fn all(&self) -> [String; 4] {
        [
            self.samples(),
            self.anomalies(),
            self.forecasts(),
            self.dead_letters(),
        ]
    }
}

impl Default for Topics {
    fn default() -> Self {
        Topics::new("tidewatch")
    }
}

/// Header of a record in `samples`: what the value is (`batch/1`, `tick/1`, `end/1`, `guests/1` or `verdict/1`).
pub const HEADER_FORMAT: &str = "tidewatch-format";
/// Value of [`HEADER_FORMAT`]: a sample batch.
pub const FORMAT_BATCH: &[u8] = b"batch/1";
/// Value of [`HEADER_FORMAT`]: an empty record that only carries its append time, so that idle partitions keep time.
pub const FORMAT_TICK: &[u8] = b"tick/1";
/// Value of [`HEADER_FORMAT`]: as a tick, and a history ends here: its windows close, and no sample is missed that could have come after it.
pub const FORMAT_END: &[u8] = b"end/1";
/// Value of [`HEADER_FORMAT`]: values of series of another partition, which are compared in this one with their siblings. No samples.
pub const FORMAT_GUESTS: &[u8] = b"guests/1";
/// Value of [`HEADER_FORMAT`]: the event about a series of this partition that another one, which compared it, found. No samples.
pub const FORMAT_VERDICT: &[u8] = b"verdict/1";
/// Header of a dead letter: why.
pub const HEADER_REASON: &str = "tidewatch-reason";
/// Header of a dead letter: the topic it came from.
pub const HEADER_SOURCE_TOPIC: &str = "tidewatch-source-topic";
/// Header of a dead letter: the partition it came from.
pub const HEADER_SOURCE_PARTITION: &str = "tidewatch-source-partition";
/// Header of a dead letter: the offset it came from.
pub const HEADER_SOURCE_OFFSET: &str = "tidewatch-source-offset";
/// Header of a dead letter: its append time there, milliseconds since 1970.
pub const HEADER_SOURCE_TIME: &str = "tidewatch-source-time";
/// Header of a dead letter: the source of the configuration that read it; a record of our own log has none.
pub const HEADER_SOURCE: &str = "tidewatch-source";
/// Header of a dead letter: the format that the source is configured for.
pub const HEADER_CONFIGURED_FORMAT: &str = "tidewatch-configured-format";
/// Header of a dead letter: what its bytes look like.
pub const HEADER_GUESSED_FORMAT: &str = "tidewatch-guessed-format";
/// Header of a dead letter: the code of the error.
pub const HEADER_ERROR_CODE: &str = "tidewatch-error-code";
/// Header of a dead letter whose value was too large to be kept whole: how many bytes it had.
pub const HEADER_VALUE_BYTES: &str = "tidewatch-value-bytes";
/// Header of a note among the dead letters: its value names letters, one id per line, that were replayed as the format that this header names.
pub const HEADER_REPLAYED_AS: &str = "tidewatch-replayed-as";
/// What the names of all headers of ours begin with.
pub const HEADER_PREFIX: &str = "tidewatch-";
