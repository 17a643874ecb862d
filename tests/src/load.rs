//! A load whose values anyone can recompute, and the book of what was acknowledged. Shares no code with the product.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::http::{Answer, NoAnswer};
use crate::process::Tidewatch;
use crate::random::mix;

/// Metrics per host.
const METRICS_PER_HOST: u32 = 5;

/// The value of series `i` at `time_ms`: a public hash of both, as eighths from −50,000 (inclusive) to 50,000 (exclusive), so that every
/// value is an exact `f64` and its text is short.
pub fn value_at(series: u32, time_ms: i64) -> f64 {
    let hash = mix(mix(u64::from(series) + 1) ^ time_ms.cast_unsigned());
    (hash % 800_000) as f64 / 8.0 - 50_000.0
}

/// What is known of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered 2xx: every sample of it must be in the archive, once.
    Ok,
    /// Refused, or never sent: nothing of it was promised.
    Fail,
    /// No answer, or 5xx: it may be stored or not, and is to be sent again.
    Unknown,
}

/// One request: a sample of every series at one time.
#[derive(Debug, Clone)]
pub struct Request {
    time_ms: i64,
    series: std::ops::Range<u32>,
    spike: bool,
}

impl Request {
    /// Metric, host, value of each sample.
    fn samples(&self) -> impl Iterator<Item = (String, String, f64)> + '_ {
        self.series.clone().map(|i| {
            let value = if self.spike {
                1e9
            } else {
                value_at(i, self.time_ms)
            };
            (
                format!("m{}", i % METRICS_PER_HOST),
                format!("load-{:03}", i / METRICS_PER_HOST),
                value,
            )
        })
    }

    /// The request as line protocol: measurement `load`, one line per sample.
    fn body(&self) -> String {
        let mut body = String::new();
        for (field, host, value) in self.samples() {
            let _infallible = writeln!(body, "load,host={host} {field}={value} {}", self.time_ms);
        }
        body
    }
}

/// Sends requests and keeps the book. What is not acknowledged waits to be sent again, unchanged.
#[derive(Debug)]
pub struct Load {
    series: u32,
    last_time_ms: i64,
    /// At most one request is under way, so this holds what one crash leaves, or a few.
    unacknowledged: VecDeque<Request>,
    acknowledged: Vec<Request>,
    last_refusal: Option<Answer>,
    sent: u64,
    spikes_every: Option<u64>,
    /// From each request to the next, at least.
    step_ms: i64,
}

impl Load {
    /// A load over that many series, five on each host.
    pub fn new(series: u32) -> Self {
        Load {
            series,
            last_time_ms: 0,
            unacknowledged: VecDeque::new(),
            acknowledged: Vec::new(),
            last_refusal: None,
            sent: 0,
            spikes_every: None,
            step_ms: 1,
        }
    }

    /// Makes every n-th request a spike far outside what came before, so that there are anomalies to publish.
    pub fn spikes_every(mut self, requests: u64) -> Self {
        self.spikes_every = Some(requests);
        self
    }

    /// Puts an hour between the times of two requests, so that days of it are soon there. They lie ahead of the clock: `processing.future_max`
    /// must allow that.
    pub fn hourly(mut self) -> Self {
        self.step_ms = 3_600_000;
        self
    }

    /// Sends the next request: every series at the present time (at least a millisecond after the last, or an hour).
    pub fn send(&mut self, to: &Tidewatch) -> Outcome {
        let now_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_millis() as i64);
        self.last_time_ms = now_ms.max(self.last_time_ms + self.step_ms);
        self.sent += 1;
        let spike = self
            .spikes_every
            .is_some_and(|every| self.sent.is_multiple_of(every));
        let request = Request {
            time_ms: self.last_time_ms,
            series: 0..self.series,
            spike,
        };
        self.deliver(to, request)
    }

    /// Sends again what was never acknowledged, in order, until all is.
    ///
    /// # Panics
    /// If the program refuses one: it took the same request before, or never saw it.
    pub fn resend(&mut self, to: &Tidewatch) {
        for request in std::mem::take(&mut self.unacknowledged) {
            let time_ms = request.time_ms;
            let outcome = self.deliver(to, request);
            assert_eq!(
                outcome,
                Outcome::Ok,
                "the request of time {time_ms} ms was sent again and not taken\n{}",
                to.log()
            );
        }
    }

    /// Sends acknowledged requests a second time: what a client does that lost the answer. Must change nothing.
    pub fn repeat_last(&mut self, to: &Tidewatch, requests: usize) {
        for request in self.acknowledged.iter().rev().take(requests) {
            let answer = to.write_lines(&request.body()).expect("the program is up");
            assert!(
                answer.is_success(),
                "a repeated request was answered {} {}",
                answer.status,
                answer.text()
            );
        }
    }

    fn deliver(&mut self, to: &Tidewatch, request: Request) -> Outcome {
        let outcome = match to.write_lines(&request.body()) {
            Ok(answer) if answer.is_success() => Outcome::Ok,
            Ok(answer) if (400..500).contains(&answer.status) && answer.status != 429 => {
                panic!("the load was refused: {} {}", answer.status, answer.text())
            }
            Ok(answer) => {
                self.last_refusal = Some(answer);
                Outcome::Unknown
            }
            Err(NoAnswer::NotSent(_)) => Outcome::Fail,
            Err(NoAnswer::Unknown(_)) => Outcome::Unknown,
        };
        match outcome {
            Outcome::Ok => self.acknowledged.push(request),
            Outcome::Fail | Outcome::Unknown => self.unacknowledged.push_back(request),
        }
        outcome
    }

    /// The latest answer that was neither a success nor a complaint about the request.
    pub fn last_refusal(&self) -> Option<&Answer> {
        self.last_refusal.as_ref()
    }

    /// How many samples were acknowledged.
    pub fn acknowledged_samples(&self) -> usize {
        self.acknowledged.len() * self.series as usize
    }

    /// How many requests wait to be sent again.
    pub fn unacknowledged_requests(&self) -> usize {
        self.unacknowledged.len()
    }

    /// Writes every acknowledged sample as a line of JSON: `metric`, `labels`, `time_us`, `value_bits` (16 hexadecimal digits).
    pub fn write_acknowledged(&self, path: &Path) {
        let mut file =
            std::io::BufWriter::new(std::fs::File::create(path).expect("the book can be written"));
        for request in &self.acknowledged {
            for (field, host, value) in request.samples() {
                let line = serde_json::json!({
                    "metric": format!("load_{field}"),
                    "labels": { "host": host },
                    "time_us": request.time_ms * 1000,
                    "value_bits": format!("{:016x}", value.to_bits()),
                });
                writeln!(file, "{line}").expect("the book can be written");
            }
        }
        file.flush().expect("the book can be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_function_of_series_and_time_and_its_text_is_exact() {
        assert_eq!(
            value_at(3, 1_700_000_000_000),
            value_at(3, 1_700_000_000_000)
        );
        assert_ne!(
            value_at(3, 1_700_000_000_000),
            value_at(4, 1_700_000_000_000)
        );
        for i in 0..1000 {
            let value = value_at(i, i64::from(i) * 977);
            assert_eq!(
                value.to_string().parse::<f64>().map(f64::to_bits),
                Ok(value.to_bits())
            );
        }
    }
}
