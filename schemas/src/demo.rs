//! How the demo tells what it planted: the metric and the label keys of such a sample. `ingest` writes them, the table `demo_events` reads them.

/// The metric of a planted event: one sample when it begins, whose value is how long it lasts, seconds.
pub const EVENT_METRIC: &str = "tidewatch.demo.event";

/// Label: what was planted, such as `spike`.
pub const EVENT_KIND: &str = "demo.kind";
/// Label: the metric it shows in; absent where it shows in no single series.
pub const EVENT_METRIC_NAME: &str = "demo.metric";
/// Label: the id of the series it shows in, 32 hexadecimal digits; absent as above.
pub const EVENT_SERIES_ID: &str = "demo.series_id";
/// Label: the label set of that series, as text; absent as above.
pub const EVENT_LABELS: &str = "demo.labels";
/// Label: the label set that names the resource on which it is planted, as text.
pub const EVENT_RESOURCE: &str = "demo.resource";
/// Label: the id of the series that stands for that resource as a whole ([`crate::RESOURCE_METRIC`] with its labels), 32 hexadecimal digits.
pub const EVENT_RESOURCE_ID: &str = "demo.resource_id";
/// Label: when it begins (inclusive), RFC 3339 in UTC.
pub const EVENT_START: &str = "demo.start";
/// Label: when it is over (exclusive), RFC 3339 in UTC.
pub const EVENT_END: &str = "demo.end";
/// Label: one sentence for a person.
pub const EVENT_DESCRIPTION: &str = "demo.description";
