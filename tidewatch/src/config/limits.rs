//! Takes the sections `limits` and `limits.sender`: what all senders may bring, and what each may.

use ingest::admission::{Limit, SeriesLimits};
use schemas::{LABEL_BYTES_MAX, LABELS_MAX};

use super::layers::{Layers, Size};
use super::read::{micros, take_count, take_memory, within};

/// Takes both, for those senders that have nothing of their own.
pub(super) fn take_limits(layers: &mut Layers) -> ingest::http::Limits {
    let mut max = |limit: Limit| take_limit(layers, limit.setting(), limit);
    let limits = ingest::http::Limits {
        body_bytes_max: max(Limit::Body),
        decompressed_bytes_max: max(Limit::Decompressed),
        ratio_max: max(Limit::Ratio),
        samples_max: max(Limit::Samples),
        in_flight_bytes_max: max(Limit::InFlight),
        sender_in_flight_bytes_max: max(Limit::SenderInFlight),
        requests_max: max(Limit::Requests),
        sender_requests_max: max(Limit::SenderRequests),
        ..ingest::http::Limits::default()
    };
    let series = SeriesLimits {
        labels_max: max(Limit::Labels),
        label_name_bytes_max: max(Limit::LabelName),
        label_value_bytes_max: max(Limit::LabelValue),
        series_max: max(Limit::Series),
        sender_series_max: max(Limit::SenderSeries),
        series_new_max: max(Limit::NewSeries),
        sender_series_new_max: max(Limit::SenderNewSeries),
        series_first_max: max(Limit::FirstSeries),
        sender_series_first_max: max(Limit::SenderFirstSeries),
        idle: micros(layers.take_if(
            "limits.series_idle",
            "a duration from \"1m\" to \"30d\"",
            within(60_000, 30 * 86_400_000),
        )),
        values_max: take_count(layers, "limits.values_max", 1, 1_000_000),
        resource_values_max: take_count(layers, "limits.resource_values_max", 1, 1_000_000),
    };
    ingest::http::Limits {
        memo_bytes_max: take_memory(layers, "limits.label_memory_max", 1 << 10),
        series,
        ..limits
    }
}

/// A limit by the path of the setting that moves it, within what it may be.
pub(super) fn take_limit(layers: &mut Layers, path: &str, limit: Limit) -> usize {
    const SERIES_MAX: u64 = 1 << 32;
    match limit {
        Limit::Body | Limit::Decompressed | Limit::InFlight | Limit::SenderInFlight => {
            take_memory(layers, path, 1 << 10)
        }
        Limit::Ratio => take_count(layers, path, 1, 1_000_000),
        Limit::Samples => take_count(layers, path, 1, 100_000_000),
        Limit::Requests | Limit::SenderRequests => take_count(layers, path, 1, 1_000_000),
        Limit::Labels => take_count(layers, path, 1, LABELS_MAX as u64),
        Limit::LabelName | Limit::LabelValue => {
            let expected = format!("a size from 1 to {LABEL_BYTES_MAX} bytes");
            let size = layers.take_if(path, &expected, |size: &Size| {
                (1..=LABEL_BYTES_MAX as u64).contains(&size.0)
            });
            usize::try_from(size.0).unwrap_or(LABEL_BYTES_MAX)
        }
        Limit::Series | Limit::SenderSeries | Limit::NewSeries | Limit::SenderNewSeries => {
            take_count(layers, path, 1, SERIES_MAX)
        }
        Limit::FirstSeries | Limit::SenderFirstSeries => take_count(layers, path, 0, SERIES_MAX),
    }
}
