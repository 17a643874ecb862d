//! Folds samples into steps: a step's value is the mean of its samples. Knows nothing of what becomes of them.

use schemas::Micros;
use schemas::time::SECOND;
use serde::{Deserialize, Serialize};

use crate::calendar::Lesson;

/// Values are cut here. 1e36: no metric is larger, and products of four such values are still finite.
pub(crate) const VALUE_MAX: f64 = 1e36;

/// The step that is still open.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenStep {
    /// Which one: its start over its width, rounded down.
    pub(crate) index: i64,
    mean: f64,
    samples: u32,
    /// Time of the last sample taken.
    pub(crate) last: Micros,
    /// The usual time between samples, seconds; 0 = not known yet.
    interval_s: f32,
    /// What it is to a forecast: as little as any of its samples.
    pub(crate) lesson: Lesson,
}

impl OpenStep {
    /// A step with its first sample.
    pub(crate) fn new(index: i64, time: Micros, value: f64, lesson: Lesson) -> Self {
        OpenStep {
            index,
            mean: value,
            samples: 1,
            last: time,
            interval_s: 0.0,
            lesson,
        }
    }

    /// Takes a sample of this step, which is later than the last one.
    pub(crate) fn add(&mut self, time: Micros, value: f64, lesson: Lesson) {
        self.lesson = self.lesson.max(lesson);
        self.keep_interval(time);
        self.samples = self.samples.saturating_add(1);
        self.mean += (value - self.mean) / f64::from(self.samples);
        self.last = time;
    }

    /// The later step that begins with this sample.
    pub(crate) fn next(mut self, index: i64, time: Micros, value: f64, lesson: Lesson) -> Self {
        self.keep_interval(time);
        OpenStep {
            interval_s: self.interval_s,
            ..OpenStep::new(index, time, value, lesson)
        }
    }

    /// The mean of its samples.
    pub(crate) fn mean(&self) -> f64 {
        self.mean
    }

    /// What is learned of it: its mean, or nothing.
    pub(crate) fn learned(&self) -> Option<f64> {
        (self.lesson == Lesson::Learn).then_some(self.mean)
    }

    /// Whether no other sample is due in this step, as far as the usual interval tells.
    pub(crate) fn is_full(&self, step_us: i64) -> bool {
        let next = self.last as f64 + f64::from(self.interval_s) * SECOND as f64;
        self.interval_s > 0.0 && next >= (self.index as f64 + 1.0) * step_us as f64
    }

    fn keep_interval(&mut self, time: Micros) {
        let elapsed_s = time.saturating_sub(self.last) as f32 / SECOND as f32;
        if self.interval_s == 0.0 {
            self.interval_s = elapsed_s;
        }
        // A gap moves it by 5 % at most; a shorter interval is followed in some dozen samples.
        let most = 0.05 * self.interval_s;
        self.interval_s += (elapsed_s - self.interval_s).clamp(-most, most);
    }
}
