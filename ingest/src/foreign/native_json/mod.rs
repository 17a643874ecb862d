//! Vector's metric events as JSON: the codec `native_json` (`{"metric":{…}}`) and what `json` writes of a metric, the object alone.
//!
//! Counters, gauges, sets (their size), distributions, aggregated histograms and summaries become series as those of OpenTelemetry do; what is incremental is
//! an increase, with the label `temporality="delta"`.

mod decode;

pub(super) use decode::decode;

#[cfg(test)]
mod tests;
