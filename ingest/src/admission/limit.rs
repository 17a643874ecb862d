//! The limits of what senders bring: their names, the settings that move them, and what is told to who meets one.

use std::fmt;
use std::sync::Arc;

use schemas::time::{HOUR, Micros};
use schemas::{LABEL_BYTES_MAX, LABELS_MAX};

use super::OwnLimits;

/// A limit that a request, a series or a sender can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Bytes of a body as sent.
    Body,
    /// Bytes of a body decompressed.
    Decompressed,
    /// Times that a body grows when decompressed.
    Ratio,
    /// Samples of one request.
    Samples,
    /// Bytes of all requests being worked on.
    InFlight,
    /// Bytes of one sender's requests being worked on.
    SenderInFlight,
    /// Requests being worked on.
    Requests,
    /// Requests of one sender being worked on.
    SenderRequests,
    /// Labels of one series.
    Labels,
    /// Bytes of a label's name.
    LabelName,
    /// Bytes of a label's value.
    LabelValue,
    /// Active series.
    Series,
    /// Active series of one sender.
    SenderSeries,
    /// New series in a minute.
    NewSeries,
    /// New series of one sender in a minute.
    SenderNewSeries,
    /// New series of a first start, beside those of each minute.
    FirstSeries,
    /// The same of one sender.
    SenderFirstSeries,
}

impl Limit {
    /// All of them.
    pub const ALL: [Limit; 17] = [
        Limit::Body,
        Limit::Decompressed,
        Limit::Ratio,
        Limit::Samples,
        Limit::InFlight,
        Limit::SenderInFlight,
        Limit::Requests,
        Limit::SenderRequests,
        Limit::Labels,
        Limit::LabelName,
        Limit::LabelValue,
        Limit::Series,
        Limit::SenderSeries,
        Limit::NewSeries,
        Limit::SenderNewSeries,
        Limit::FirstSeries,
        Limit::SenderFirstSeries,
    ];

    /// Those that a sender may have of its own, see [`OwnLimits`].
    pub const OF_SENDER: [Limit; 12] = [
        Limit::Body,
        Limit::Decompressed,
        Limit::Ratio,
        Limit::Samples,
        Limit::SenderInFlight,
        Limit::SenderRequests,
        Limit::Labels,
        Limit::LabelName,
        Limit::LabelValue,
        Limit::SenderSeries,
        Limit::SenderNewSeries,
        Limit::SenderFirstSeries,
    ];

    /// The setting that moves it, for every sender that has no value of its own.
    pub fn setting(self) -> &'static str {
        match self {
            Limit::Body => "limits.body_max",
            Limit::Decompressed => "limits.decompressed_max",
            Limit::Ratio => "limits.ratio_max",
            Limit::Samples => "limits.samples_max",
            Limit::InFlight => "limits.in_flight_max",
            Limit::SenderInFlight => "limits.sender.in_flight_max",
            Limit::Requests => "limits.requests_max",
            Limit::SenderRequests => "limits.sender.requests_max",
            Limit::Labels => "limits.labels_max",
            Limit::LabelName => "limits.label_name_max",
            Limit::LabelValue => "limits.label_value_max",
            Limit::Series => "limits.series_max",
            Limit::SenderSeries => "limits.sender.series_max",
            Limit::NewSeries => "limits.series_new_max",
            Limit::SenderNewSeries => "limits.sender.series_new_max",
            Limit::FirstSeries => "limits.series_first_max",
            Limit::SenderFirstSeries => "limits.sender.series_first_max",
        }
    }

    /// The setting's name without its section.
    pub fn key(self) -> &'static str {
        let setting = self.setting();
        setting.rsplit_once('.').map_or(setting, |(_, key)| key)
    }

    /// The stable name used as the label of a metric: the setting's, without `limits.`.
    pub fn name(self) -> &'static str {
        let setting = self.setting();
        setting.strip_prefix("limits.").unwrap_or(setting)
    }
}

/// A limit that was met: which, where it stands and by what it was passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Which.
    pub limit: Limit,
    /// Where it stands.
    pub max: u64,
    /// What was sent, in the limit's unit; where that is not known in full (a body that was not read to its end), what was seen of it.
    pub found: u64,
    /// Of whom or what: a label's name, a sender; empty where there is nothing to name.
    pub of: Arc<str>,
    /// What the sender that met it has, or may have, of its own.
    pub own: Option<Arc<OwnLimits>>,
}

impl Hit {
    /// A limit of nobody in particular.
    pub(crate) fn new(limit: Limit, max: usize, found: usize) -> Self {
        Hit::of(limit, max, found, "")
    }

    /// A limit with the name of who or what met it.
    pub(crate) fn of(limit: Limit, max: usize, found: usize, of: impl Into<Arc<str>>) -> Self {
        Hit {
            limit,
            max: max as u64,
            found: found as u64,
            of: of.into(),
            own: None,
        }
    }

    /// The same, met by a sender that has, or may have, limits of its own.
    pub(crate) fn by(self, own: &Option<Arc<OwnLimits>>) -> Self {
        Hit {
            own: own.clone(),
            ..self
        }
    }

    /// The setting at which a limit stands for who met this one.
    fn setting_of(&self, limit: Limit) -> String {
        match &self.own {
            Some(own) => own.setting_in_force(limit),
            None => limit.setting().to_owned(),
        }
    }

    /// The setting that moves the limit.
    pub fn setting(&self) -> String {
        self.setting_of(self.limit)
    }

    /// Where the limit is inherited, that it may be set for the sender alone; to stand behind a message.
    pub(crate) fn advice(&self) -> String {
        let may_own = |own: &&Arc<OwnLimits>| {
            Limit::OF_SENDER.contains(&self.limit) && own.get(self.limit).is_none()
        };
        match self.own.as_ref().filter(may_own) {
            Some(own) => format!(
                "; `{}` sets it for this sender alone",
                own.setting(self.limit)
            ),
            None => String::new(),
        }
    }
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hit {
            limit,
            max,
            found,
            of,
            own: _,
        } = self;
        let setting = self.setting();
        match limit {
            Limit::Body => write!(
                f,
                "the body has more than {max} bytes ({found} came or were announced); send it in several requests, or raise `{setting}`"
            ),
            Limit::Decompressed => write!(
                f,
                "the {of} body has more than {max} bytes when decompressed (at least {found}); send it in several requests, or raise `{setting}`"
            ),
            Limit::Ratio => write!(
                f,
                "the {of} body grows to more than {max} times its size (at least {found} times), as no samples do; send it with less compression, or raise `{setting}`"
            ),
            Limit::Samples => write!(
                f,
                "more than {max} samples in one request; send them in several, or raise `{setting}`"
            ),
            Limit::InFlight => write!(
                f,
                "{found} bytes more would make more than {max} of requests being worked on (`{setting}`); send again after the time that Retry-After names"
            ),
            Limit::SenderInFlight => write!(
                f,
                "{found} bytes more would make more than {max} of requests of {of} being worked on (`{setting}`); send again after the time that Retry-After names"
            ),
            Limit::Requests => write!(
                f,
                "{max} requests are being worked on, which is all that `{setting}` allows; send again after the time that Retry-After names"
            ),
            Limit::SenderRequests => write!(
                f,
                "{max} requests of {of} are being worked on, which is all that `{setting}` allows; send again after the time that Retry-After names"
            ),
            Limit::Labels => write!(
                f,
                "{found} labels in one series, `{setting}` allows {max}; drop some at the sender, or raise the setting"
            ),
            Limit::LabelName => write!(
                f,
                "the name of label `{of}…` has {found} bytes, `{setting}` allows {max}; shorten it at the sender, or raise the setting"
            ),
            Limit::LabelValue => write!(
                f,
                "the value of label `{of}` has {found} bytes, `{setting}` allows {max}; shorten it at the sender, or raise the setting"
            ),
            Limit::Series => write!(
                f,
                "a new series: {found} are active, `{setting}` allows {max}; known ones are taken, a new one when others have been silent for \
                 `limits.series_idle`; find the label that makes so many by `tidewatch cardinality list`, or raise the setting if there is memory"
            ),
            Limit::SenderSeries => write!(
                f,
                "a new series: {found} of {of} are active, `{setting}` allows {max}; known ones are taken, a new one when others have been silent \
                 for `limits.series_idle`; find the label that makes so many by `tidewatch cardinality list`, or raise the setting if there is memory"
            ),
            Limit::NewSeries => write!(
                f,
                "a new series: {max} have begun within a minute, which is all that `{setting}` allows; known ones are taken, this one if it comes again in a minute"
            ),
            Limit::SenderNewSeries => write!(
                f,
                "a new series: {max} of {of} have begun within a minute, which is all that `{setting}` allows; known ones are taken, this one if it comes \
                 again in a minute"
            ),
            Limit::FirstSeries => write!(
                f,
                "a new series: {max} have begun since this first start, which is all that `{setting}` allows, and as many as may in any minute, {found} \
                 (`limits.series_new_max`); known ones are taken, the others follow by themselves, {found} a minute; raise the first of these settings before a first start, or the \
                 second one later, if more are to come at once"
            ),
            Limit::SenderFirstSeries => write!(
                f,
                "a new series: {max} of {of} have begun since this first start, which is all that `{setting}` allows, and as many as may in any minute, {found} \
                 (`{}`); known ones are taken, the others follow by themselves, {found} a minute; raise the first of these settings before a first start, or the \
                 second one later, if more are to come at once",
                self.setting_of(Limit::SenderNewSeries)
            ),
        }?;
        f.write_str(&self.advice())
    }
}

/// Where the limits of labels and series stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesLimits {
    /// Labels of one series, at most [`LABELS_MAX`].
    pub labels_max: usize,
    /// Bytes of a label's name, at most [`LABEL_BYTES_MAX`].
    pub label_name_bytes_max: usize,
    /// Bytes of a label's value, at most [`LABEL_BYTES_MAX`].
    pub label_value_bytes_max: usize,
    /// Series that are active, of all senders. 2,000,000: 32 to 70 MB here, and what the partitions hold of each (see docs/limits.md).
    pub series_max: usize,
    /// The same of one sender.
    pub sender_series_max: usize,
    /// Series that may begin within a minute, of all senders.
    pub series_new_max: usize,
    /// The same of one sender.
    pub sender_series_new_max: usize,
    /// Series that may begin besides within five minutes of a start that knows of none, of all senders.
    pub series_first_max: usize,
    /// The same of one sender.
    pub sender_series_first_max: usize,
    /// A series that was silent for so long is no longer active, microseconds; it counts as active for half of it at least.
    pub idle: Micros,
    /// Different values of one label of one metric; further new ones are folded.
    pub values_max: usize,
    /// The same of a label that names a resource, if that is more.
    pub resource_values_max: usize,
}

impl Default for SeriesLimits {
    fn default() -> Self {
        SeriesLimits {
            labels_max: 128,
            label_name_bytes_max: 1024,
            label_value_bytes_max: 4096,
            series_max: 2_000_000,
            sender_series_max: 1_000_000,
            series_new_max: 300_000,
            sender_series_new_max: 100_000,
            series_first_max: 1_000_000,
            sender_series_first_max: 300_000,
            idle: HOUR,
            values_max: 50_000,
            resource_values_max: 200_000,
        }
    }
}

impl SeriesLimits {
    /// No limits but those that every series has.
    pub fn none() -> Self {
        SeriesLimits {
            labels_max: LABELS_MAX,
            label_name_bytes_max: LABEL_BYTES_MAX,
            label_value_bytes_max: LABEL_BYTES_MAX,
            series_max: usize::MAX,
            sender_series_max: usize::MAX,
            series_new_max: usize::MAX,
            sender_series_new_max: usize::MAX,
            series_first_max: usize::MAX,
            sender_series_first_max: usize::MAX,
            idle: HOUR,
            values_max: usize::MAX,
            resource_values_max: usize::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_names_its_setting_where_it_stands_and_what_to_do() {
        for limit in Limit::ALL {
            let told = Hit::of(limit, 4_711, 5_000, "someone").to_string();
            assert!(told.contains("4711"), "{told}");
            assert!(told.contains(limit.setting()), "{told}");
            assert!(told.contains(';'), "{told}");
        }
    }

    #[test]
    fn who_has_a_value_of_its_own_is_told_of_its_own_setting() {
        let told = |limit, own: OwnLimits| {
            let hit = Hit::of(limit, 4_711, 5_000, "someone");
            hit.by(&Some(Arc::new(own))).to_string()
        };
        for limit in Limit::ALL {
            let own = format!("`limits.tokens.a.{}`", limit.key());
            let general = format!("`{}`", limit.setting());
            let set = told(limit, OwnLimits::new("limits.tokens.a", [(limit, 4_711)]));
            let inherited = told(limit, OwnLimits::new("limits.tokens.a", []));
            let is_of_sender = Limit::OF_SENDER.contains(&limit);
            assert_eq!(set.contains(&own), is_of_sender, "{set}");
            assert_eq!(set.contains(&general), !is_of_sender, "{set}");
            assert!(inherited.contains(&general), "{inherited}");
            let advice = format!("; {own} sets it for this sender alone");
            assert_eq!(inherited.ends_with(&advice), is_of_sender, "{inherited}");
        }
    }

    #[test]
    fn a_first_start_names_the_setting_of_each_minute_too() {
        let own = OwnLimits::new("limits.tokens.a", [(Limit::SenderNewSeries, 20)]);
        let hit = Hit::of(Limit::SenderFirstSeries, 10, 20, "someone").by(&Some(Arc::new(own)));
        let told = hit.to_string();
        assert!(
            told.contains("in any minute, 20 (`limits.tokens.a.series_new_max`)"),
            "{told}"
        );
        assert!(
            told.ends_with("`limits.tokens.a.series_first_max` sets it for this sender alone"),
            "{told}"
        );
    }
}
