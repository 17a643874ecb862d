//! Which metrics of a history are counters: by their names, as a live sender that does not say it is understood, or as told.

use schemas::Kind;

/// Names told on the command line go before the guess from Prometheus' conventions ([`Kind::guess`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KindRules {
    /// Metrics that are counters; a `*` at the end stands for any ending.
    pub counters: Vec<String>,
    /// Metrics that are gauges; go before `counters`.
    pub gauges: Vec<String>,
}

impl KindRules {
    /// The kind of a metric.
    pub fn of(&self, metric: &str) -> Kind {
        let named = |rules: &[String]| {
            rules.iter().any(|rule| match rule.strip_suffix('*') {
                Some(beginning) => metric.starts_with(beginning),
                None => metric == rule,
            })
        };
        if named(&self.gauges) {
            Kind::Gauge
        } else if named(&self.counters) {
            Kind::Counter
        } else {
            Kind::guess(metric)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_goes_before_the_guess() {
        let rules = KindRules {
            counters: vec!["net.*".to_owned(), "bytes".to_owned()],
            gauges: vec!["queue_total".to_owned()],
        };
        for (metric, kind) in [
            ("net.in", Kind::Counter),
            ("bytes", Kind::Counter),
            ("bytes_free", Kind::Gauge),
            ("requests_total", Kind::Counter),
            ("queue_total", Kind::Gauge),
            ("cpu", Kind::Gauge),
        ] {
            assert_eq!(rules.of(metric), kind, "{metric}");
        }
    }
}
