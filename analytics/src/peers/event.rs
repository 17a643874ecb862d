//! What is told of a member that stands apart, and the sentence for a person.

use schemas::{Direction, Micros};

use crate::detection::number;

/// A member stands apart from its siblings, and has for a while. Told once per story.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeerEvent {
    /// Who.
    pub member: u32,
    /// Start of the window that it is told in, microseconds.
    pub window_start: Micros,
    /// Start of the first window of the story, microseconds.
    pub since: Micros,
    /// Its value in the window.
    pub value: f64,
    /// What its siblings' values and its usual place among them let expect.
    pub expected: f64,
    /// Lower edge of the band.
    pub lower: f64,
    /// Upper edge of the band.
    pub upper: f64,
    /// The smallest score since the story began, above 1; at most 1e6.
    pub score: f64,
    /// Distance from the expectation in σ in this window, ≥ 0.
    pub sigmas: f64,
    /// Which side of the expectation it is on.
    pub direction: Direction,
    /// How many siblings had a value in the window.
    pub siblings: u32,
    /// The smallest value among siblings that do not stand apart themselves.
    pub siblings_low: f64,
    /// The largest of those.
    pub siblings_high: f64,
}

impl PeerEvent {
    /// One sentence: who is where, and where its siblings are.
    pub fn explain(&self, name: &str) -> String {
        let (low, high) = (number(self.siblings_low), number(self.siblings_high));
        let range = if low == high {
            low
        } else {
            format!("{low}–{high}")
        };
        // Where it is usually beside or among its siblings: said only if the range does not say it.
        let usual = if (self.siblings_low..=self.siblings_high).contains(&self.value)
            || !(self.siblings_low..=self.siblings_high).contains(&self.expected)
        {
            format!(
                "; by its usual place among them it would be at {}",
                number(self.expected)
            )
        } else {
            String::new()
        };
        format!(
            "{name} is at {}, its {} siblings are at {range}{usual}",
            number(self.value),
            self.siblings
        )
    }
}
