//! What is valid and yet hardly meant: settings without effect, settings that contradict each other, names that are almost right.

use std::net::SocketAddr;
use std::time::Duration;

use bus::kafka::Mechanism;
use ingest::admission::{Limit, OwnLimits};

use super::layers::{ENV_PREFIX, Origin};
use super::{BusKind, Config, DEFAULTS, SourceConfig};

/// Keys that mean something with SASL only.
const SASL_ONLY: [&str; 4] = [
    "bus.security.mechanism",
    "bus.security.username",
    "bus.security.password",
    "bus.security.password_file",
];
/// Keys that mean something with TLS only.
const TLS_ONLY: [&str; 5] = [
    "bus.security.ca_file",
    "bus.security.certificate_file",
    "bus.security.key_file",
    "bus.security.key_password",
    "bus.security.key_password_file",
];

/// Variables that are almost settings: one `_` where two belong. Each with what was meant.
pub(super) fn near_misses(env: &[(String, String)]) -> Vec<String> {
    let bare = |text: &str| text.replace(['_', '.'], "").to_ascii_lowercase();
    let paths: Vec<String> = super::layers::known_paths(DEFAULTS);
    let mut found: Vec<String> = env
        .iter()
        .filter(|(name, _)| !name.starts_with(ENV_PREFIX))
        .filter_map(|(name, _)| {
            let rest = bare(name.strip_prefix("TIDEWATCH_")?);
            let path = paths.iter().find(|path| bare(path) == rest)?;
            let meant = path.to_ascii_uppercase().replace('.', "__");
            Some(format!(
                "environment variable {name} is not a setting and has no effect; {ENV_PREFIX}{meant} is"
            ))
        })
        .collect();
    found.sort();
    found
}

impl Config {
    /// What is valid and yet hardly meant, one sentence each, beginning with where it was set.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = self.near_misses.clone();
        for overridden in &self.overridden {
            doubts.push(format!(
                "{}: `{}` has no effect: {} sets it too, and wins",
                overridden.origin, overridden.path, overridden.by
            ));
        }
        doubts.extend(self.without_effect());
        doubts.extend(self.contradictions());
        doubts
    }

    /// Where a key was set; `None` if it was not.
    fn origin(&self, path: &str) -> Option<&Origin> {
        let origin = &self.effective.get(path)?.origin;
        (*origin != Origin::Default).then_some(origin)
    }

    /// Keys that something else makes pointless.
    fn without_effect(&self) -> Vec<String> {
        let kafka_only = [
            "bus.brokers",
            "bus.session_timeout",
            "bus.security.",
            "bus.settings.",
        ];
        let embedded_only = ["bus.retention_size", "bus.free_space_min"];
        // Sources may read from the brokers that are set there, and all of them take the further settings.
        let shares = |source: &SourceConfig| source.cluster.is_none();
        let (unused, reason) = match self.bus.kind {
            BusKind::Embedded if self.sources.iter().any(shares) => (&[][..], ""),
            BusKind::Embedded if !self.sources.is_empty() => {
                (&kafka_only[..3], "bus.kind is \"embedded\"")
            }
            BusKind::Embedded => (&kafka_only[..], "bus.kind is \"embedded\""),
            BusKind::Kafka => (&embedded_only[..], "bus.kind is \"kafka\""),
        };
        let mut rules: Vec<(&str, &str)> = unused.iter().map(|path| (*path, reason)).collect();
        if self.bus.kind == BusKind::Kafka {
            if self.bus.security.sasl.is_none() {
                let reason = "bus.security.protocol has no SASL";
                rules.extend(SASL_ONLY.map(|path| (path, reason)));
            }
            if self.bus.security.tls.is_none() {
                let reason = "bus.security.protocol has no TLS";
                rules.extend(TLS_ONLY.map(|path| (path, reason)));
            }
        }
        if !self.archive.url.starts_with("s3://") {
            rules.push(("archive.options.", "the archive is a directory"));
        }
        if self.host_interval.is_none() {
            rules.push((
                "collectors.host.interval",
                "collectors.host.enabled is false",
            ));
        }
        let mut addresses = self.receivers.otlp_listen.iter();
        if self.is_anonymous_at(self.server.listen)
            && addresses.all(|address| self.is_anonymous_at(*address))
        {
            rules.push((
                "limits.tokens.",
                "nobody is asked for a token here (docs/access.md)",
            ));
        }
        if self.receivers.statsd_listen.is_empty() {
            let reason = "receivers.statsd.listen names no address";
            rules.push(("receivers.statsd.flush_interval", reason));
            rules.push(("receivers.statsd.series_max", reason));
        }
        if self.receivers.graphite_listen.is_empty() {
            rules.push((
                "receivers.graphite.template",
                "receivers.graphite.listen names no address",
            ));
        }
        if self.processing.detection.is_none() {
            rules.push(("detection.", "detection.enabled is false"));
        }
        if self.processing.peers.is_none() {
            let reason = "detection.peers is false";
            rules.push(("detection.peers_min", reason));
            rules.push(("detection.siblings_across_partitions", reason));
        }
        if self.processing.forecasting.is_none() {
            rules.push(("forecast.", "forecast.enabled is false"));
        }
        if self.processing.backfill {
            rules.push(("processing.late_max", "processing.backfill is true"));
        }
        let mut doubts = Vec::new();
        for path in self.effective.keys() {
            let rule = rules
                .iter()
                .find(|(unused, _)| match unused.ends_with('.') {
                    true => path.starts_with(unused) && !path.ends_with(".enabled"),
                    false => path == unused,
                });
            if let (Some((_, reason)), Some(origin)) = (rule, self.origin(path)) {
                doubts.push(format!(
                    "{origin}: `{path}` has no effect, because {reason}"
                ));
            }
        }
        doubts
    }

    /// Values that don't go together, told of the one that was set.
    fn contradictions(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let mut doubt = |wrong: bool, paths: &[&str], text: String| {
            if wrong {
                let origin = paths.iter().find_map(|path| self.origin(path));
                let place = origin.unwrap_or(&Origin::Default);
                doubts.push(format!("{place}: {text}"));
            }
        };
        let listen: SocketAddr = self.server.listen;
        doubt(
            !listen.ip().is_loopback() && self.is_anonymous_at(listen),
            &["server.insecure_listen"],
            format!(
                "every machine that reaches {listen} can read and write everything, because nobody is asked for a token; make tokens by `tidewatch token create` and set server.insecure_listen = false"
            ),
        );
        for (path, addresses) in [
            ("receivers.statsd.listen", &self.receivers.statsd_listen),
            ("receivers.graphite.listen", &self.receivers.graphite_listen),
        ] {
            let open = addresses.iter().find(|address| !address.ip().is_loopback());
            doubt(
                open.is_some(),
                &[path],
                format!(
                    "`{path}` names an address that other machines reach, and the protocol knows no token: whoever reaches it can send; let a firewall say who"
                ),
            );
        }
        doubt(
            self.server.insecure_listen && self.access.required,
            &["access.required", "server.insecure_listen"],
            "`access.required` asks for tokens at loopback addresses and `server.insecure_listen` for none elsewhere".to_owned(),
        );
        doubt(
            self.bus.kind == BusKind::Kafka && self.archive.url.is_empty(),
            &["bus.kind"],
            "the archive is in the data directory of this process, where others of the group can't reach it; set `archive.url` to a place that all share".to_owned(),
        );
        doubt(
            self.limits.body_bytes_max > self.limits.decompressed_bytes_max,
            &["limits.body_max", "limits.decompressed_max"],
            "`limits.body_max` is above `limits.decompressed_max`, so a body of that size is never taken".to_owned(),
        );
        doubt(
            self.limits.decompressed_bytes_max > self.limits.in_flight_bytes_max,
            &["limits.decompressed_max", "limits.in_flight_max"],
            "`limits.decompressed_max` is above `limits.in_flight_max`, so a body of that size is never taken".to_owned(),
        );
        for (_, own) in self.token_limits.iter() {
            for (settings, text) in self.contradictions_of_token(own) {
                doubt(true, &settings.each_ref().map(String::as_str), text);
            }
        }
        let (limits, series) = (&self.limits, &self.limits.series);
        for (of_sender, of_all, key) in [
            (
                limits.sender_in_flight_bytes_max,
                limits.in_flight_bytes_max,
                "in_flight_max",
            ),
            (
                limits.sender_requests_max,
                limits.requests_max,
                "requests_max",
            ),
            (series.sender_series_max, series.series_max, "series_max"),
            (
                series.sender_series_new_max,
                series.series_new_max,
                "series_new_max",
            ),
            (
                series.sender_series_first_max,
                series.series_first_max,
                "series_first_max",
            ),
        ] {
            let (mine, all) = (format!("limits.sender.{key}"), format!("limits.{key}"));
            doubt(
                of_sender > of_all,
                &[&mine, &all],
                format!("`{mine}` is above `{all}`, so one sender can take all of it"),
            );
        }
        doubt(
            self.query.memory_bytes > self.query.memory_bytes_total,
            &["query.memory", "query.memory_total"],
            "`query.memory` is above `query.memory_total`, so no query gets that much".to_owned(),
        );
        doubt(
            self.server.request_timeout < self.query.wait,
            &["server.request_timeout", "query.wait"],
            "`server.request_timeout` is below `query.wait`: a question that waits for its turn is cut before it runs".to_owned(),
        );
        doubt(
            self.bus.retention < self.checkpoint.interval * 10,
            &["bus.retention", "processing.checkpoint_interval"],
            "the log keeps records for less than ten checkpoints; an outage of the archive that lasts longer loses samples".to_owned(),
        );
        doubt(
            self.bus.kind == BusKind::Kafka
                && self.bus.security.tls.is_none()
                && self
                    .bus
                    .security
                    .sasl
                    .as_ref()
                    .is_some_and(|sasl| sasl.mechanism == Mechanism::Plain),
            &["bus.security.protocol"],
            "the password is sent to the brokers in the clear; take \"sasl_ssl\"".to_owned(),
        );
        let lateness = Duration::from_micros(self.processing.lateness.unsigned_abs());
        doubt(
            self.host_interval
                .is_some_and(|interval| interval > lateness),
            &["collectors.host.interval", "processing.lateness"],
            "`collectors.host.interval` is longer than `processing.lateness`: windows close before their samples come".to_owned(),
        );
        doubts
    }

    /// What of one token's limits goes beyond others that bound it: both settings, the smaller one last, and what to say.
    fn contradictions_of_token(&self, own: &OwnLimits) -> Vec<([String; 2], String)> {
        let (limits, series) = (&self.limits, &self.limits.series);
        let body = own.get(Limit::Body).unwrap_or(limits.body_bytes_max);
        let decompressed = own
            .get(Limit::Decompressed)
            .unwrap_or(limits.decompressed_bytes_max);
        let in_flight = own
            .get(Limit::SenderInFlight)
            .unwrap_or(limits.sender_in_flight_bytes_max);
        let never_taken = [
            (Limit::Body, body, Limit::Decompressed, decompressed),
            (
                Limit::Decompressed,
                decompressed,
                Limit::SenderInFlight,
                in_flight,
            ),
        ];
        let mut found = Vec::new();
        for (limit, max, other, bound) in never_taken {
            let is_own = own.get(limit).is_some() || own.get(other).is_some();
            if is_own && max > bound {
                let settings = [limit, other].map(|limit| own.setting_in_force(limit));
                let [above, below] = &settings;
                let text = format!(
                    "`{above}` is above `{below}`, so a body of that size is never taken from this token"
                );
                found.push((settings, text));
            }
        }
        for (limit, total, bound) in [
            (
                Limit::SenderInFlight,
                Limit::InFlight,
                limits.in_flight_bytes_max,
            ),
            (Limit::SenderRequests, Limit::Requests, limits.requests_max),
            (Limit::SenderSeries, Limit::Series, series.series_max),
            (
                Limit::SenderNewSeries,
                Limit::NewSeries,
                series.series_new_max,
            ),
            (
                Limit::SenderFirstSeries,
                Limit::FirstSeries,
                series.series_first_max,
            ),
        ] {
            if own.get(limit).is_some_and(|max| max > bound) {
                let settings = [own.setting(limit), total.setting().to_owned()];
                let [above, below] = &settings;
                let text = format!(
                    "`{above}` is above `{below}`, which bounds all senders together and so this token, too"
                );
                found.push((settings, text));
            }
        }
        found
    }
}
