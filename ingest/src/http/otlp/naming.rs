//! From resource, scope, metric and attributes of a data point to series. Remembers what it named by the bytes that it was named with.

use std::borrow::Cow;

use schemas::{LABELS_MAX, Labels, LabelsError};

use super::super::wire::{Value, Wire};
use super::attributes;
use super::unnamed::Unnamed;
use crate::door::{Batcher, Reason, SeriesRef};

/// Begins every key, so that none equals the bytes that another protocol names a series by: no protobuf message begins with it.
const KEY_MARK: u8 = 0x00;
/// The label that tells increases from running totals.
pub(crate) const TEMPORALITY_LABEL: &str = "temporality";
/// The label that names the instrumentation scope.
const SCOPE_LABEL: &str = "otel.scope.name";

/// A label that tells the series of one data point apart: a bucket's bound, a quantile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) label: &'static str,
    pub(super) value: f64,
}

impl Bound {
    fn text(self) -> String {
        bound_text(self.value)
    }
}

/// A bound as Prometheus writes it: `0.005`, `10`, `+Inf`.
pub(crate) fn bound_text(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else {
        value.to_string()
    }
}

/// Where the decoder stands, from the outside in. Which labels win where keys meet: what is further in.
pub(super) struct Naming<'a> {
    resource: Option<Wire<'a>>,
    scope: &'a [u8],
    metric: &'a str,
    is_delta: bool,
    point: Option<Wire<'a>>,
    attributes_field: u64,
    /// What names the series so far: parts with their lengths before them.
    key: Vec<u8>,
    scope_end: usize,
    metric_end: usize,
    point_end: usize,
    name: String,
}

fn add_part(key: &mut Vec<u8>, part: &[u8]) {
    // A body has at most 4 GiB.
    key.extend_from_slice(&(part.len() as u32).to_le_bytes());
    key.extend_from_slice(part);
}

impl<'a> Naming<'a> {
    pub(super) fn new() -> Self {
        Naming {
            resource: None,
            scope: &[],
            metric: "",
            is_delta: false,
            point: None,
            attributes_field: 0,
            key: Vec::new(),
            scope_end: 0,
            metric_end: 0,
            point_end: 0,
            name: String::new(),
        }
    }

    /// Goes into a scope, by its name, of a resource.
    pub(super) fn enter_scope(&mut self, resource: Option<Wire<'a>>, scope: &'a [u8]) {
        (self.resource, self.scope) = (resource, scope);
        self.key.clear();
        self.key.push(KEY_MARK);
        add_part(&mut self.key, resource.map_or(&[], |wire| wire.rest()));
        add_part(&mut self.key, scope);
        self.scope_end = self.key.len();
    }

    /// Goes into a metric of the scope.
    pub(super) fn enter_metric(&mut self, metric: &'a str, is_delta: bool) {
        (self.metric, self.is_delta) = (metric, is_delta);
        self.key.truncate(self.scope_end);
        self.key.push(u8::from(is_delta));
        add_part(&mut self.key, metric.as_bytes());
        self.metric_end = self.key.len();
    }

    /// Goes into a data point of the metric; its attributes are in `attributes_field`, and follow by [`Naming::add_attribute`].
    pub(super) fn enter_point(&mut self, point: Wire<'a>, attributes_field: u64) {
        (self.point, self.attributes_field) = (Some(point), attributes_field);
        self.key.truncate(self.metric_end);
        self.point_end = self.metric_end;
    }

    /// Takes one attribute of the data point, as its bytes.
    pub(super) fn add_attribute(&mut self, bytes: &[u8]) {
        add_part(&mut self.key, bytes);
        self.point_end = self.key.len();
    }

    /// The series of the data point with this suffix and bound.
    pub(super) fn series(
        &mut self,
        suffix: &'static str,
        bound: Option<Bound>,
        door: &mut Batcher,
    ) -> Result<SeriesRef, Unnamed> {
        self.key.truncate(self.point_end);
        add_part(&mut self.key, suffix.as_bytes());
        if let Some(bound) = bound {
            add_part(&mut self.key, bound.label.as_bytes());
            self.key
                .extend_from_slice(&bound.value.to_bits().to_le_bytes());
        }
        self.name.clear();
        self.name.push_str(self.metric);
        self.name.push_str(suffix);
        let (name, mut malformed) = (self.name.as_str(), None);
        let series = door.series_by_raw(&self.key, || match self.labels(bound) {
            Ok(labels) => Ok((name, labels)),
            Err(Unnamed::Refused(reason)) => Err(reason),
            Err(Unnamed::Malformed(error)) => {
                malformed = Some(error);
                Err(Reason::NoMetric)
            }
        });
        match malformed {
            Some(malformed) => Err(malformed.into()),
            None => Ok(series?),
        }
    }

    fn labels(&self, bound: Option<Bound>) -> Result<Labels, Unnamed> {
        // How far in: 0 the resource, 1 the scope, 2 the data point, 3 what the metric's type adds.
        let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>, u8)> = Vec::new();
        let mut add = |message: Wire<'a>, field: u64, level: u8| -> Result<(), Unnamed> {
            let mut message = message;
            while let Some((number, value)) = message.next()? {
                let (true, Value::Bytes(bytes, at)) = (number == field, value) else {
                    continue;
                };
                // Bounded before anything is collected: a body of tiny attributes must not grow in memory.
                if pairs.len() > 2 * LABELS_MAX {
                    return Err(LabelsError::TooMany(pairs.len()).into());
                }
                let (key, text) = attributes::key_and_text(message.inner(bytes, at, "KeyValue"))?;
                pairs.push((key.into(), text, level));
            }
            Ok(())
        };
        if let Some(resource) = self.resource {
            add(resource, 1, 0)?;
        }
        if let Some(point) = self.point {
            add(point, self.attributes_field, 2)?;
        }
        let scope = attributes::utf8(self.scope, "the name of a scope")?;
        pairs.push((SCOPE_LABEL.into(), scope.into(), 1));
        if self.is_delta {
            pairs.push((TEMPORALITY_LABEL.into(), "delta".into(), 3));
        }
        if let Some(bound) = bound {
            pairs.push((bound.label.into(), bound.text().into(), 3));
        }
        pairs.sort_by(|a, b| a.0.cmp(&b.0).then(b.2.cmp(&a.2)));
        // A key twice at the same depth stays, and is refused.
        pairs.dedup_by(|outer, inner| outer.0 == inner.0 && outer.2 < inner.2);
        Ok(Labels::try_new(
            pairs.iter().map(|(key, text, _)| (key, text)),
        )?)
    }
}
