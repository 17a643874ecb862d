//! Who sends: a token, an address, a receiver of ours; how much each has in hand, and how many series each may still begin.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use hashbrown::HashMap;
use schemas::time::{MINUTE, Micros};

use super::{Limit, OwnLimits};

/// Senders known at once. 1,024: tokens, or addresses where nobody needs a token; those that come when all places are taken share one. Who has limits of
/// its own gets a place all the same: as many as the settings and the tokens make.
const SENDERS_MAX: usize = 1024;
/// The place that is shared.
const OTHERS: &str = "other senders";
/// A sender that nobody named.
const UNNAMED: &str = "an unnamed sender";

/// Who brings a request. The server that knows it puts it into the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    name: Arc<str>,
    own: Option<Arc<OwnLimits>>,
}

impl Sender {
    /// A sender by a name for people, such as `token 3f9c01ab` or `address 192.0.2.7`. Who has the same name shares limits.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Sender {
            name: name.into(),
            own: None,
        }
    }

    /// The same with limits of its own, or with none yet and the section where they may be set.
    pub fn with_limits(self, own: Arc<OwnLimits>) -> Self {
        Sender {
            own: Some(own),
            ..self
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its own limits, or where they may be set.
    pub fn own(&self) -> Option<&OwnLimits> {
        self.own.as_deref()
    }
}

impl Default for Sender {
    fn default() -> Self {
        Sender::new(UNNAMED)
    }
}

impl<S: Sync> FromRequestParts<S> for Sender {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// A sender as its requests know it; held by each of them.
pub(crate) struct Load {
    pub(crate) name: Arc<str>,
    /// Limits of its own.
    pub(crate) own: Option<Arc<OwnLimits>>,
    /// Its place among the senders, while this is held.
    pub(crate) place: u32,
    pub(crate) in_hand: Arc<InHand>,
}

/// What a sender has in hand.
#[derive(Debug, Default)]
pub(crate) struct InHand {
    /// Bytes of its requests being worked on.
    pub(crate) bytes: AtomicUsize,
    /// Its requests being worked on.
    pub(crate) requests: AtomicUsize,
}

impl Load {
    /// Whether this is a sender with the limits that it has now.
    pub(crate) fn is_of(&self, sender: &Sender) -> bool {
        self.name == sender.name && self.own == sender.own
    }

    /// Where a limit stands for this sender; `general` is where it stands for those without a value of their own.
    pub(crate) fn max(&self, limit: Limit, general: usize) -> usize {
        let own = self.own.as_ref().and_then(|own| own.get(limit));
        own.unwrap_or(general)
    }

    /// Tells senders whose labels are bounded otherwise than all others' from these and from each other.
    pub(crate) fn label_rules(&self) -> u32 {
        self.own.as_ref().map_or(0, |own| own.label_rules())
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Load({})", self.name)
    }
}

/// Adds to a count unless it would pass a limit.
pub(crate) fn take_up_to(count: &AtomicUsize, amount: usize, max: usize) -> bool {
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            now.checked_add(amount).filter(|sum| *sum <= max)
        })
        .is_ok()
}

/// Series that may begin: a first start's worth once, then a minute's worth at once, and as much again in each minute.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    /// Of what a first start allows.
    first: usize,
    taken: f64,
    at: Micros,
}

impl Bucket {
    /// Whether one may begin now, at so many per minute and so many more at first.
    pub(super) fn has_room(&mut self, now: Micros, per_minute: usize, at_first: usize) -> bool {
        if self.first < at_first {
            return true;
        }
        let passed = (now - self.at).max(0) as f64 / MINUTE as f64;
        self.taken = (self.taken - passed * per_minute as f64).max(0.0);
        self.at = self.at.max(now);
        self.taken + 1.0 <= per_minute as f64
    }

    /// Takes the room of one.
    pub(super) fn take(&mut self, at_first: usize) {
        if self.first < at_first {
            self.first += 1;
        } else {
            self.taken += 1.0;
        }
    }
}

/// One sender.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) load: Arc<Load>,
    /// Active series that it brought first.
    pub(super) series: usize,
    pub(super) begun: Bucket,
}

/// The senders known at present.
#[derive(Debug, Default)]
pub(super) struct Senders {
    places: Vec<Option<Place>>,
    by_name: HashMap<Arc<str>, u32>,
}

impl Senders {
    /// What a sender has in hand; a sender not seen before gets a place.
    pub(super) fn load(&mut self, sender: &Sender) -> Arc<Load> {
        let has_own = |own: &OwnLimits| own.iter().next().is_some();
        let is_told_apart =
            self.by_name.contains_key(&sender.name) || sender.own().is_some_and(has_own);
        if !is_told_apart && self.by_name.len() + 1 >= SENDERS_MAX {
            self.forget_idle();
        }
        let (name, own) = match is_told_apart || self.by_name.len() + 1 < SENDERS_MAX {
            true => (Arc::clone(&sender.name), sender.own.clone()),
            false => (Arc::from(OTHERS), None),
        };
        if let Some(place) = self.by_name.get(&name)
            && let Some(Some(known)) = self.places.get_mut(*place as usize)
        {
            // A token that was given another name has other limits from now on.
            if known.load.own != own {
                known.load = Arc::new(Load {
                    name,
                    own,
                    place: *place,
                    in_hand: Arc::clone(&known.load.in_hand),
                });
            }
            return Arc::clone(&known.load);
        }
        let free = self.places.iter().position(Option::is_none);
        let place = free.unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(None);
        }
        let load = Arc::new(Load {
            name: Arc::clone(&name),
            own,
            place: place as u32,
            in_hand: Arc::default(),
        });
        self.places[place] = Some(Place {
            load: Arc::clone(&load),
            series: 0,
            begun: Bucket::default(),
        });
        self.by_name.insert(name, place as u32);
        load
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Place> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    pub(super) fn lose_series(&mut self, place: u32) {
        if let Some(sender) = self.get_mut(place) {
            sender.series = sender.series.saturating_sub(1);
        }
    }

    /// Frees the places of senders that have no active series and no request.
    pub(super) fn forget_idle(&mut self) {
        for place in &mut self.places {
            let is_held = |load: &Arc<Load>| {
                Arc::strong_count(load) > 1 || Arc::strong_count(&load.in_hand) > 1
            };
            let idle = place
                .as_ref()
                .is_some_and(|known| known.series == 0 && !is_held(&known.load));
            if idle && let Some(gone) = place.take() {
                self.by_name.remove(&gone.load.name);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether one may begin, at three per minute; if so, it does.
    fn begin_at(bucket: &mut Bucket, now: Micros, at_first: usize) -> bool {
        let room = bucket.has_room(now, 3, at_first);
        if room {
            bucket.take(at_first);
        }
        room
    }

    #[test]
    fn what_a_first_start_allows_comes_before_a_minutes_worth_and_once() {
        let mut bucket = Bucket::default();
        let start = 1_000 * MINUTE;
        let begun = (0..20).filter(|_| begin_at(&mut bucket, start, 5)).count();
        assert_eq!(begun, 8);
        let later = start + 2 * MINUTE;
        let begun = (0..20).filter(|_| begin_at(&mut bucket, later, 5)).count();
        assert_eq!(begun, 3);
    }

    #[test]
    fn a_bucket_holds_a_minute_and_fills_again() {
        let mut bucket = Bucket::default();
        let mut begin = |now: Micros| begin_at(&mut bucket, now, 0);
        let start = 1_000 * MINUTE;
        assert_eq!([begin(start), begin(start), begin(start)], [true; 3]);
        assert!(!begin(start));
        assert!(!begin(start + MINUTE / 3 - 1_000), "a third is not over");
        assert!(begin(start + MINUTE / 3 + 1_000));
        assert!(!begin(start), "a clock that was set back gives nothing");
        assert!(begin(start + 10 * MINUTE));
    }

    #[test]
    fn senders_beyond_the_places_share_one_until_places_are_free() {
        let mut senders = Senders::default();
        let held: Vec<_> = (0..SENDERS_MAX + 10)
            .map(|number| senders.load(&Sender::new(format!("sender {number}"))))
            .collect();
        assert_eq!(&*held[0].name, "sender 0");
        assert_eq!(&*held[SENDERS_MAX + 9].name, OTHERS);
        assert_eq!(senders.iter().count(), SENDERS_MAX);
        // Who has limits of its own is told apart all the same, and nobody else.
        let own = |limits: &[(Limit, usize)]| {
            let own = OwnLimits::new("limits.tokens.a", limits.iter().copied());
            Sender::new("token a").with_limits(Arc::new(own))
        };
        assert_eq!(&*senders.load(&own(&[])).name, OTHERS);
        let load = senders.load(&own(&[(Limit::SenderSeries, 7)]));
        assert_eq!(&*load.name, "token a");
        assert_eq!(load.max(Limit::SenderSeries, 5), 7);
        assert_eq!(load.max(Limit::SenderRequests, 5), 5);
        // Its limits change, what it has in hand stays.
        assert!(take_up_to(&load.in_hand.requests, 3, 5));
        let other = senders.load(&own(&[(Limit::SenderSeries, 9)]));
        assert_eq!(
            (other.place, other.max(Limit::SenderSeries, 5)),
            (load.place, 9)
        );
        assert!(!take_up_to(&other.in_hand.requests, 3, 5));
        // All others make room; a request of the former limits holds its sender's place.
        drop((held, other));
        let late = senders.load(&Sender::new("late"));
        assert_eq!(&*late.name, "late");
        assert_eq!(senders.iter().count(), 2);
        drop(load);
        senders.forget_idle();
        assert_eq!(senders.iter().count(), 1);
    }

    #[test]
    fn a_count_never_passes_its_limit() {
        let count = AtomicUsize::new(0);
        assert!(take_up_to(&count, 7, 10));
        assert!(!take_up_to(&count, 4, 10));
        assert!(take_up_to(&count, 3, 10));
        assert!(!take_up_to(&count, usize::MAX, usize::MAX));
    }
}
