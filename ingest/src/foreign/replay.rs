//! Decodes dead letters again, with the format that their source has now or another one, and appends what was in them. Harmless to repeat: the same samples are
//! dropped as duplicates. A note in the topic of the letters remembers which were replayed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bus::{Bus, BusError};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::decoder::Decoder;
use super::format::{Format, Reading};
use super::letter::{LetterId, Stored, StoredLetter, replay_note};
use super::reader::LetterReader;
use crate::door::{PartitionRecord, Publisher};
use crate::http::LineUnit;

/// For the label sets of a replay.
const MEMO_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Failures that are told with their reason; all are counted.
const FAILURES_TOLD_MAX: usize = 20;
/// Letters of one replay, about. 20,000 of a kilobyte: a second or two.
const LETTERS_PER_REPLAY: usize = 20_000;
/// Ids of letters that are remembered as replayed while a replay looks for those that are not. 24 MB; what is beyond is replayed once more.
const REMEMBERED_MAX: usize = 1_000_000;

/// What is to be replayed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replay {
    /// These, replayed before or not; empty: all that were not.
    pub ids: Vec<LetterId>,
    /// Only what came from this topic.
    pub topic: Option<String>,
    /// As this format; `None`: the one that their source has now.
    pub format: Option<Format>,
    /// Only what comes after this letter: where an earlier replay stopped.
    pub after: Option<LetterId>,
}

/// What came of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Letters of which every sample is in the log now.
    pub replayed: usize,
    /// Samples appended; those that were there before are dropped as duplicates.
    pub samples: usize,
    /// Letters that can't be taken, or not all of them.
    pub failed: usize,
    /// The first of those, with the reason of each.
    pub failures: Vec<Failure>,
    /// The last letter that was looked at, if there may be more: one replay takes a bounded time.
    pub stopped_at: Option<String>,
}

/// A letter that stays one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its id.
    pub id: String,
    /// Why.
    pub error: String,
}

/// Replays the dead letters of a log. One replay at a time; a further one waits.
pub struct Replayer {
    bus: Arc<dyn Bus>,
    topic: String,
    publisher: Publisher,
    sources: BTreeMap<String, Reading>,
    samples_max: usize,
    turn: Mutex<()>,
}

impl Replayer {
    /// A replayer of the letters in `topic`, for sources as they are configured now, each with at most `samples_max` samples in a letter.
    pub fn new(
        bus: Arc<dyn Bus>,
        topic: &str,
        publisher: Publisher,
        sources: BTreeMap<String, Reading>,
        samples_max: usize,
    ) -> Self {
        Replayer {
            bus,
            topic: topic.to_owned(),
            publisher,
            sources,
            samples_max,
            turn: Mutex::new(()),
        }
    }

    /// Replays what is asked for; answers when all of it is durable.
    ///
    /// # Errors
    /// `BusError` of the log: what was done before it is noted, and asking again goes on from there.
    pub async fn replay(&self, ask: &Replay) -> Result<Replayed, BusError> {
        let _turn = self.turn.lock().await;
        let mut result = Replayed::default();
        let mut missing: HashSet<LetterId> = ask.ids.iter().copied().collect();
        let (first, mut seen) = (ask.after.map_or(0, |after| after.partition), 0);
        for partition in first..self.bus.partitions(&self.topic).await? {
            let done = match ask.ids.is_empty() {
                true => self.replayed(partition).await?,
                false => HashSet::new(),
            };
            if !ask.ids.is_empty() && !ask.ids.iter().any(|id| id.partition == partition) {
                continue;
            }
            let mut reader = LetterReader::open(&*self.bus, &self.topic, partition, None).await?;
            loop {
                let stored = reader.next().await?;
                if stored.is_empty() {
                    break;
                }
                let letters: Vec<StoredLetter> = stored
                    .into_iter()
                    .filter_map(|stored| match stored {
                        Stored::Letter(letter) => Some(letter),
                        Stored::Replayed(..) => None,
                    })
                    .filter(|letter| ask.after.is_none_or(|after| letter.id > after))
                    .collect();
                let last = letters.last().map(|letter| letter.id);
                let asked: Vec<StoredLetter> = letters
                    .into_iter()
                    .filter(|letter| match ask.ids.is_empty() {
                        true => !done.contains(&letter.id),
                        false => missing.remove(&letter.id),
                    })
                    .filter(|letter| ask.topic.is_none() || letter.topic() == ask.topic)
                    .collect();
                seen += asked.len();
                self.replay_some(partition, asked, ask.format, &mut result)
                    .await?;
                if seen >= LETTERS_PER_REPLAY {
                    result.stopped_at = last.map(|id| id.to_string());
                    return Ok(result);
                }
            }
        }
        for id in missing {
            result.fail(id, "there is no such dead letter, or no longer".to_owned());
        }
        Ok(result)
    }

    /// The letters of a partition that notes name as replayed.
    async fn replayed(&self, partition: u32) -> Result<HashSet<LetterId>, BusError> {
        let mut done = HashSet::new();
        let mut letters = LetterReader::open(&*self.bus, &self.topic, partition, None).await?;
        loop {
            let stored = letters.next().await?;
            if stored.is_empty() {
                return Ok(done);
            }
            for note in stored {
                if let Stored::Replayed(ids, _) = note
                    && done.len() < REMEMBERED_MAX
                {
                    done.extend(ids);
                }
            }
        }
    }

    /// Replays some letters of a partition, and notes those that were taken whole: by format, for the note names it.
    async fn replay_some(
        &self,
        partition: u32,
        letters: Vec<StoredLetter>,
        format: Option<Format>,
        result: &mut Replayed,
    ) -> Result<(), BusError> {
        let mut by_format: Vec<(Reading, Vec<StoredLetter>)> = Vec::new();
        for letter in letters {
            match self.reading(&letter, format) {
                Ok(reading) => match by_format.iter_mut().find(|(known, _)| *known == reading) {
                    Some((_, letters)) => letters.push(letter),
                    None => by_format.push((reading, vec![letter])),
                },
                Err(reason) => result.fail(letter.id, reason),
            }
        }
        for (reading, letters) in by_format {
            let (publisher, samples_max) = (self.publisher.clone(), self.samples_max);
            let decoding = tokio::task::spawn_blocking(move || {
                let memo = MEMO_BYTES_MAX;
                decode(
                    &letters,
                    Decoder::new("", reading, &publisher, memo, samples_max),
                )
            });
            let decoded = decoding.await.map_err(|error| BusError::Unavailable {
                action: "decoding dead letters".into(),
                detail: error.to_string(),
            })?;
            result.samples += self.publisher.publish(decoded.records).await?.samples;
            if !decoded.whole.is_empty() {
                let note = replay_note(&decoded.whole, reading.format);
                self.bus.append(&self.topic, partition, vec![note]).await?;
            }
            result.replayed += decoded.whole.len();
            for (id, reason) in decoded.failed {
                result.fail(id, reason);
            }
        }
        Ok(())
    }

    /// How a letter is read now.
    fn reading(&self, letter: &StoredLetter, format: Option<Format>) -> Result<Reading, String> {
        if let Some(bytes) = letter.value_bytes_lost() {
            return Err(format!(
                "only the first {} of its {bytes} bytes were kept",
                letter.record.value.len()
            ));
        }
        let Some(source) = letter.source() else {
            return Err("it came from our own log, not from a foreign topic".to_owned());
        };
        let configured = self.sources.get(&source).copied();
        match (format, configured) {
            (Some(format), configured) => Ok(Reading {
                format,
                unit: configured.map_or(LineUnit::Auto, |reading| reading.unit),
            }),
            (None, Some(reading)) => Ok(reading),
            (None, None) => Err(format!(
                "its source `{source}` is not configured any more; name a format by --as"
            )),
        }
    }
}

impl Replayed {
    fn fail(&mut self, id: LetterId, error: String) {
        self.failed += 1;
        if self.failures.len() < FAILURES_TOLD_MAX {
            let id = id.to_string();
            self.failures.push(Failure { id, error });
        }
    }
}

/// What was in some letters.
#[derive(Default)]
struct Decoded {
    records: Vec<PartitionRecord>,
    whole: Vec<LetterId>,
    failed: Vec<(LetterId, String)>,
}

/// Decodes letters as when they were first read: samples without a time get the same one.
fn decode(letters: &[StoredLetter], mut decoder: Decoder) -> Decoded {
    let (mut result, mut left) = (Decoded::default(), letters);
    while !left.is_empty() {
        let now = jiff::Timestamp::now().as_microsecond();
        let decoded = match decoder.take(left, now) {
            Ok(decoded) => decoded,
            Err(error) => {
                let failed = left.iter().map(|letter| (letter.id, error.to_string()));
                result.failed.extend(failed);
                return result;
            }
        };
        let (taken, rest) = left.split_at(decoded.taken);
        let failed: HashMap<usize, String> = decoded
            .letters
            .iter()
            .map(|failed| (failed.index, failed.trouble.to_string()))
            .collect();
        for (index, letter) in taken.iter().enumerate() {
            match failed.get(&index) {
                None => result.whole.push(letter.id),
                Some(reason) => result.failed.push((letter.id, reason.clone())),
            }
        }
        result.records.extend(decoded.records);
        left = rest;
    }
    result
}
