//! From the bytes of an `ExportMetricsServiceRequest` to samples, in place: a series seen before costs one walk and one comparison of its bytes.
//!
//! ```text
//! ExportMetricsServiceRequest { 1: repeated ResourceMetrics }
//! ResourceMetrics { 1: Resource { 1: repeated KeyValue }, 2: repeated ScopeMetrics }
//! ScopeMetrics    { 1: InstrumentationScope { 1: name }, 2: repeated Metric }
//! Metric          { 1: name, one of 5: Gauge, 7: Sum, 9: Histogram, 10: ExponentialHistogram, 11: Summary }
//! each of these   { 1: repeated …DataPoint, 2: aggregation temporality, 3: is monotonic (Sum) }
//! ```
//!
//! Fields may come in any order, so what depends on a later one is read in a second walk. Descriptions, units, exemplars and start times are
//! left out. What becomes of each type is told in the decision page on OpenTelemetry's data points.

use schemas::time::{TIME_MAX, TIME_MIN};
use schemas::{Kind, Micros};

use super::super::refusal::{Malformed, Undecodable};
use super::super::wire::{Value, Wire};
use super::attributes::utf8;
use super::naming::{Bound, Naming};
use crate::door::{Batcher, Place, Reason, TimeUnit};

/// Buckets of one histogram, and quantiles of one summary, that are taken. The SDKs make at most 160, or what an application lists by hand.
pub(super) const BUCKETS_MAX: usize = 4096;
/// Flag of a data point that tells that there is no value.
const NO_RECORDED_VALUE: u64 = 1;

/// Decodes a decompressed request into a batcher; `now` is the time of data points that have none. Answers how many data points were skipped
/// because they say themselves that they have no value. One that can't be taken is one rejection; the rest goes on.
///
/// # Errors
/// `Undecodable` if the bytes are no request (it says where) or hold too many samples: discard the batcher.
pub fn decode(body: &[u8], now: Micros, door: &mut Batcher) -> Result<usize, Undecodable> {
    let mut points = Points {
        door,
        now,
        seen: 0,
        skipped: 0,
        naming: Naming::new(),
        counts: Vec::new(),
        bounds: Vec::new(),
    };
    let mut request = Wire::new(body, "ExportMetricsServiceRequest");
    while let Some((field, value)) = request.next()? {
        if field == 1 {
            points.take_resource(message(&request, field, value, "ResourceMetrics")?)?;
        }
    }
    Ok(points.skipped)
}

/// The message that a field must hold.
pub(super) fn message<'a>(
    outer: &Wire<'a>,
    field: u64,
    value: Value<'a>,
    name: &'static str,
) -> Result<Wire<'a>, Malformed> {
    match value {
        Value::Bytes(bytes, at) => Ok(outer.inner(bytes, at, name)),
        _ => Err(wrong_type(outer, field)),
    }
}

#[cold]
pub(super) fn wrong_type(message: &Wire<'_>, field: u64) -> Malformed {
    message.malformed(
        message.at,
        field,
        "another wire type than this field has in OTLP 1.x",
    )
}

/// How a data point's time is pushed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time(i64, TimeUnit);

/// A series of a data point before it has a name, and its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) suffix: &'static str,
    pub(super) bound: Option<Bound>,
    pub(super) kind: Kind,
    pub(super) value: f64,
}

/// The decoder, while it walks.
pub(super) struct Points<'a, 'd> {
    pub(super) door: &'d mut Batcher,
    now: Micros,
    seen: usize,
    pub(super) skipped: usize,
    pub(super) naming: Naming<'a>,
    /// Buckets of the histogram being read.
    pub(super) counts: Vec<u64>,
    /// Their bounds.
    pub(super) bounds: Vec<f64>,
}

/// The data of a metric.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
}

impl<'a> Points<'a, '_> {
    fn take_resource(&mut self, message: Wire<'a>) -> Result<(), Undecodable> {
        let (mut walk, mut resource) = (message, None);
        while let Some((field, value)) = walk.next()? {
            if field == 1 {
                resource = Some(self::message(&walk, field, value, "Resource")?);
            }
        }
        let mut walk = message;
        while let Some((field, value)) = walk.next()? {
            if field == 2 {
                let scope = self::message(&walk, field, value, "ScopeMetrics")?;
                self.take_scope(resource, scope)?;
            }
        }
        Ok(())
    }

    fn take_scope(
        &mut self,
        resource: Option<Wire<'a>>,
        message: Wire<'a>,
    ) -> Result<(), Undecodable> {
        let (mut walk, mut scope): (_, &[u8]) = (message, &[]);
        while let Some((field, value)) = walk.next()? {
            if field == 1 {
                let mut inner = self::message(&walk, field, value, "InstrumentationScope")?;
                while let Some((field, value)) = inner.next()? {
                    match (field, value) {
                        (1, Value::Bytes(name, _)) => scope = name,
                        (1, _) => return Err(wrong_type(&inner, field).into()),
                        _ => {}
                    }
                }
            }
        }
        self.naming.enter_scope(resource, scope);
        let mut walk = message;
        while let Some((field, value)) = walk.next()? {
            if field == 2 {
                self.take_metric(self::message(&walk, field, value, "Metric")?)?;
            }
        }
        Ok(())
    }

    fn take_metric(&mut self, message: Wire<'a>) -> Result<(), Undecodable> {
        let (mut walk, mut name, mut data): (_, &[u8], _) = (message, &[], None);
        while let Some((field, value)) = walk.next()? {
            let (shape, what) = match field {
                1 => {
                    name = self::message(&walk, field, value, "Metric")?.rest();
                    continue;
                }
                5 => (Shape::Gauge, "Gauge"),
                7 => (Shape::Sum, "Sum"),
                9 => (Shape::Histogram, "Histogram"),
                10 => (Shape::ExponentialHistogram, "ExponentialHistogram"),
                11 => (Shape::Summary, "Summary"),
                _ => continue,
            };
            data = Some((shape, self::message(&walk, field, value, what)?));
        }
        let Some((shape, data)) = data else {
            return Ok(());
        };
        let (mut walk, mut temporality, mut is_monotonic) = (data, 0, false);
        while let Some((field, value)) = walk.next()? {
            match (shape, field, value) {
                (Shape::Gauge | Shape::Summary, ..) => {}
                (_, 2, Value::Varint(bits)) => temporality = bits,
                (Shape::Sum, 3, Value::Varint(bits)) => is_monotonic = bits != 0,
                (_, 2, _) | (Shape::Sum, 3, _) => return Err(wrong_type(&walk, field).into()),
                _ => {}
            }
        }
        let named = utf8(name, "the name of a metric");
        let is_delta = temporality == 1;
        let refused = match (shape, temporality, named) {
            (_, _, Err(reason)) => Some(reason),
            (Shape::Sum | Shape::Histogram | Shape::ExponentialHistogram, 0 | 3.., Ok(name)) => {
                Some(Reason::Syntax(format!(
                    "metric `{name:.64}` has aggregation temporality {temporality}; expected 1 (delta) or 2 (cumulative)"
                )))
            }
            (_, _, Ok(name)) => {
                self.naming.enter_metric(name, is_delta);
                None
            }
        };
        let kind = match shape {
            Shape::Sum if !is_monotonic => Kind::Gauge,
            Shape::Gauge => Kind::Gauge,
            // The increase of an interval goes up and down.
            _ if is_delta => Kind::Gauge,
            _ => Kind::Counter,
        };
        let mut walk = data;
        while let Some((field, value)) = walk.next()? {
            if field != 1 {
                continue;
            }
            let point = self::message(&walk, field, value, "DataPoint")?;
            let place = Place::DataPoint { index: self.seen };
            self.seen += 1;
            if let Some(reason) = &refused {
                self.door.reject(1, place, reason.clone());
                continue;
            }
            let taken = match shape {
                Shape::Gauge | Shape::Sum => self.take_number(point, kind, place),
                Shape::Histogram => self.take_histogram(point, kind, place),
                Shape::ExponentialHistogram => self.take_exponential(point, kind, place),
                Shape::Summary => self.take_summary(point, place),
            };
            match taken? {
                Ok(()) => {}
                Err(reason) => self.door.reject(1, place, reason),
            }
        }
        Ok(())
    }

    fn take_number(&mut self, point: Wire<'a>, kind: Kind, place: Place) -> Taken {
        self.naming.enter_point(point, 7);
        let (mut walk, mut time, mut number, mut flags) = (point, 0, None, 0);
        while let Some((field, value)) = walk.next()? {
            match (field, value) {
                (7, Value::Bytes(bytes, _)) => self.naming.add_attribute(bytes),
                (3, Value::Fixed64(bits)) => time = bits,
                (4, Value::Fixed64(bits)) => number = Some(f64::from_bits(bits)),
                // Beyond 2^53 the nearest double.
                (6, Value::Fixed64(bits)) => number = Some(bits as i64 as f64),
                (8, Value::Varint(bits)) => flags = bits,
                (3 | 4 | 6 | 7 | 8, _) => return Err(wrong_type(&walk, field).into()),
                _ => {}
            }
        }
        if flags & NO_RECORDED_VALUE != 0 {
            self.skipped += 1;
            return Ok(Ok(()));
        }
        let Some(value) = number else {
            return Ok(Err(Reason::Syntax("a data point without a value".into())));
        };
        let part = Part {
            suffix: "",
            bound: None,
            kind,
            value,
        };
        self.push_all(time, [part], place)
    }

    fn take_summary(&mut self, point: Wire<'a>, place: Place) -> Taken {
        self.naming.enter_point(point, 7);
        let (mut walk, mut time, mut count, mut sum, mut flags) = (point, 0, 0, 0.0, 0);
        let mut quantiles = Vec::new();
        while let Some((field, value)) = walk.next()? {
            match (field, value) {
                (7, Value::Bytes(bytes, _)) => self.naming.add_attribute(bytes),
                (3, Value::Fixed64(bits)) => time = bits,
                (4, Value::Fixed64(bits)) => count = bits,
                (5, Value::Fixed64(bits)) => sum = f64::from_bits(bits),
                (6, Value::Bytes(bytes, at)) => {
                    if quantiles.len() == BUCKETS_MAX {
                        return Ok(Err(Reason::Syntax(format!(
                            "a summary of more than {BUCKETS_MAX} quantiles"
                        ))));
                    }
                    quantiles.push(quantile(walk.inner(bytes, at, "ValueAtQuantile"))?);
                }
                (8, Value::Varint(bits)) => flags = bits,
                (3..=8, _) => return Err(wrong_type(&walk, field).into()),
                _ => {}
            }
        }
        if flags & NO_RECORDED_VALUE != 0 {
            self.skipped += 1;
            return Ok(Ok(()));
        }
        let of_quantile = |(quantile, value)| Part {
            suffix: "",
            bound: Some(Bound {
                label: "quantile",
                value: quantile,
            }),
            kind: Kind::Gauge,
            value,
        };
        let totals = [("_count", count as f64), ("_sum", sum)].map(|(suffix, value)| Part {
            suffix,
            bound: None,
            kind: Kind::Counter,
            value,
        });
        self.push_all(
            time,
            quantiles.into_iter().map(of_quantile).chain(totals),
            place,
        )
    }

    /// Takes the series of one data point, those first whose names and labels are longest: what is refused of them is refused at the first,
    /// so that a data point is taken as a whole or not at all.
    pub(super) fn push_all(
        &mut self,
        time_ns: u64,
        parts: impl IntoIterator<Item = Part>,
        place: Place,
    ) -> Taken {
        let Time(time, unit) = match self.time(time_ns) {
            Ok(time) => time,
            Err(reason) => return Ok(Err(reason)),
        };
        for part in parts {
            let series = match self.naming.series(part.suffix, part.bound, self.door) {
                Ok(series) => series,
                Err(unnamed) => return unnamed.reason().map(Err),
            };
            self.door.push(
                series.metric,
                series.labels,
                Some(part.kind),
                time,
                unit,
                part.value,
                place,
            )?;
        }
        Ok(Ok(()))
    }

    fn time(&self, time_ns: u64) -> Result<Time, Reason> {
        // Zero stands for a time that is not known.
        let (time, unit) = match time_ns {
            0 => (self.now, TimeUnit::Microseconds),
            // What is beyond 64 bits with a sign is beyond the year 2262, and refused.
            time => (
                i64::try_from(time).unwrap_or(i64::MAX),
                TimeUnit::Nanoseconds,
            ),
        };
        let is_valid = unit
            .micros(time)
            .is_some_and(|micros| (TIME_MIN..TIME_MAX).contains(&micros));
        if is_valid {
            Ok(Time(time, unit))
        } else {
            Err(Reason::time(time, unit))
        }
    }
}

/// What became of a data point: taken, refused for a reason, or the request ends.
pub(super) type Taken = Result<Result<(), Reason>, Undecodable>;

fn quantile(mut message: Wire<'_>) -> Result<(f64, f64), Malformed> {
    let (mut quantile, mut at_quantile) = (0.0, 0.0);
    while let Some((field, value)) = message.next()? {
        match (field, value) {
            (1, Value::Fixed64(bits)) => quantile = f64::from_bits(bits),
            (2, Value::Fixed64(bits)) => at_quantile = f64::from_bits(bits),
            (1 | 2, _) => return Err(wrong_type(&message, field)),
            _ => {}
        }
    }
    Ok((quantile, at_quantile))
}
