//! OTLP's JSON, written anew as the protobuf that it stands for: so both encodings mean the same, and no tree of objects is built.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::refusal::{Malformed, Undecodable};
use super::add_varint;

/// Bytes that a body may have as protobuf. 64 MiB: JSON is longer, except for lists of numbers such as `[0,0,0]`, which a hostile body may consist of.
const PROTOBUF_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A message: the names of its fields in JSON, their numbers and types. What is left out here is left out by the decoder, too.
struct Message {
    name: &'static str,
    fields: &'static [(&'static str, u32, Type)],
}

#[derive(Clone, Copy)]
enum Type {
    Text,
    Bytes,
    Bool,
    /// `int64`, `uint32` and enumerations: a varint.
    Int,
    /// `sint32`.
    Signed,
    /// `fixed64` and `sfixed64`.
    Fixed,
    Double,
    One(&'static Message),
    Many(&'static Message),
    /// Packed.
    Ints,
    Fixeds,
    Doubles,
}

use Type::*;

static REQUEST: Message = Message {
    name: "ExportMetricsServiceRequest",
    fields: &[("resourceMetrics", 1, Many(&RESOURCE_METRICS))],
};
static RESOURCE_METRICS: Message = Message {
    name: "ResourceMetrics",
    fields: &[
        ("resource", 1, One(&RESOURCE)),
        ("scopeMetrics", 2, Many(&SCOPE_METRICS)),
    ],
};
static RESOURCE: Message = Message {
    name: "Resource",
    fields: &[("attributes", 1, Many(&KEY_VALUE))],
};
static SCOPE_METRICS: Message = Message {
    name: "ScopeMetrics",
    fields: &[("scope", 1, One(&SCOPE)), ("metrics", 2, Many(&METRIC))],
};
static SCOPE: Message = Message {
    name: "InstrumentationScope",
    fields: &[("name", 1, Text)],
};
static METRIC: Message = Message {
    name: "Metric",
    fields: &[
        ("name", 1, Text),
        ("gauge", 5, One(&NUMBERS)),
        ("sum", 7, One(&NUMBERS)),
        ("histogram", 9, One(&HISTOGRAM)),
        ("exponentialHistogram", 10, One(&EXPONENTIAL_HISTOGRAM)),
        ("summary", 11, One(&SUMMARY)),
    ],
};
static NUMBERS: Message = Message {
    name: "Sum",
    fields: &[
        ("dataPoints", 1, Many(&NUMBER_POINT)),
        ("aggregationTemporality", 2, Int),
        ("isMonotonic", 3, Bool),
    ],
};
static HISTOGRAM: Message = Message {
    name: "Histogram",
    fields: &[
        ("dataPoints", 1, Many(&HISTOGRAM_POINT)),
        ("aggregationTemporality", 2, Int),
    ],
};
static EXPONENTIAL_HISTOGRAM: Message = Message {
    name: "ExponentialHistogram",
    fields: &[
        ("dataPoints", 1, Many(&EXPONENTIAL_POINT)),
        ("aggregationTemporality", 2, Int),
    ],
};
static SUMMARY: Message = Message {
    name: "Summary",
    fields: &[("dataPoints", 1, Many(&SUMMARY_POINT))],
};
static NUMBER_POINT: Message = Message {
    name: "NumberDataPoint",
    fields: &[
        ("timeUnixNano", 3, Fixed),
        ("asDouble", 4, Double),
        ("asInt", 6, Fixed),
        ("attributes", 7, Many(&KEY_VALUE)),
        ("flags", 8, Int),
    ],
};
static HISTOGRAM_POINT: Message = Message {
    name: "HistogramDataPoint",
    fields: &[
        ("timeUnixNano", 3, Fixed),
        ("count", 4, Fixed),
        ("sum", 5, Double),
        ("bucketCounts", 6, Fixeds),
        ("explicitBounds", 7, Doubles),
        ("attributes", 9, Many(&KEY_VALUE)),
        ("flags", 10, Int),
        ("min", 11, Double),
        ("max", 12, Double),
    ],
};
static EXPONENTIAL_POINT: Message = Message {
    name: "ExponentialHistogramDataPoint",
    fields: &[
        ("attributes", 1, Many(&KEY_VALUE)),
        ("timeUnixNano", 3, Fixed),
        ("count", 4, Fixed),
        ("sum", 5, Double),
        ("scale", 6, Signed),
        ("zeroCount", 7, Fixed),
        ("positive", 8, One(&BUCKETS)),
        ("negative", 9, One(&BUCKETS)),
        ("flags", 10, Int),
        ("min", 12, Double),
        ("max", 13, Double),
        ("zeroThreshold", 14, Double),
    ],
};
static BUCKETS: Message = Message {
    name: "Buckets",
    fields: &[("offset", 1, Signed), ("bucketCounts", 2, Ints)],
};
static SUMMARY_POINT: Message = Message {
    name: "SummaryDataPoint",
    fields: &[
        ("timeUnixNano", 3, Fixed),
        ("count", 4, Fixed),
        ("sum", 5, Double),
        ("quantileValues", 6, Many(&QUANTILE)),
        ("attributes", 7, Many(&KEY_VALUE)),
        ("flags", 8, Int),
    ],
};
static QUANTILE: Message = Message {
    name: "ValueAtQuantile",
    fields: &[("quantile", 1, Double), ("value", 2, Double)],
};
static KEY_VALUE: Message = Message {
    name: "KeyValue",
    fields: &[("key", 1, Text), ("value", 2, One(&ANY_VALUE))],
};
static ANY_VALUE: Message = Message {
    name: "AnyValue",
    fields: &[
        ("stringValue", 1, Text),
        ("boolValue", 2, Bool),
        ("intValue", 3, Int),
        ("doubleValue", 4, Double),
        ("arrayValue", 5, One(&ARRAY_VALUE)),
        ("kvlistValue", 6, One(&KEY_VALUE_LIST)),
        ("bytesValue", 7, Bytes),
    ],
};
static ARRAY_VALUE: Message = Message {
    name: "ArrayValue",
    fields: &[("values", 1, Many(&ANY_VALUE))],
};
static KEY_VALUE_LIST: Message = Message {
    name: "KeyValueList",
    fields: &[("values", 1, Many(&KEY_VALUE))],
};

/// The protobuf bytes of a request in JSON. Unknown keys are left out and `null` is no value, as the specification has it.
///
/// # Errors
/// `Undecodable` if the body is no such JSON (it says where), or too large as protobuf.
pub(super) fn to_protobuf(body: &[u8]) -> Result<Vec<u8>, Undecodable> {
    let mut out = Vec::with_capacity(body.len() / 2);
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = Fields {
        message: &REQUEST,
        out: &mut out,
    }
    .deserialize(&mut json)
    .and_then(|()| json.end());
    if out.len() > PROTOBUF_BYTES_MAX {
        return Err(Undecodable::TooLarge(PROTOBUF_BYTES_MAX));
    }
    match read {
        Ok(()) => Ok(out),
        Err(error) => Err(Malformed {
            byte: offset(body, error.line(), error.column()),
            field: REQUEST.name.to_owned(),
            problem: error.to_string(),
        }
        .into()),
    }
}

/// The byte at a line and column, both from 1.
fn offset(body: &[u8], line: usize, column: usize) -> usize {
    let before = body
        .split_inclusive(|byte| *byte == b'\n')
        .take(line.saturating_sub(1));
    before.map(<[u8]>::len).sum::<usize>() + column.saturating_sub(1)
}

fn add_tag(out: &mut Vec<u8>, number: u32, wire_type: u32) {
    add_varint(out, u64::from(number << 3 | wire_type));
}

/// Leaves room for a length of five bytes, which is more than most need and is read all the same; [`end_length`] fills it in.
fn begin_length(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 5]);
    out.len()
}

fn end_length(out: &mut [u8], start: usize) {
    let length = out.len() - start;
    for (index, byte) in out[start - 5..start].iter_mut().enumerate() {
        let more = if index < 4 { 0x80 } else { 0 };
        *byte = (length >> (7 * index)) as u8 & 0x7f | more;
    }
}

/// Reads the object of a message and writes its fields.
struct Fields<'o> {
    message: &'static Message,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object ({})", self.message.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let field = self.message.fields.iter().find(|(name, ..)| *name == key);
            match field {
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some((name, number, kind)) => map.next_value_seed(Field {
                    name,
                    number: *number,
                    kind: *kind,
                    out: self.out,
                })?,
            }
            if self.out.len() > PROTOBUF_BYTES_MAX {
                return Err(A::Error::custom("too large"));
            }
        }
        Ok(())
    }
}

/// Reads the value of a field and writes it with its tag.
struct Field<'o> {
    name: &'static str,
    number: u32,
    kind: Type,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Field<'_> {
    fn refuse<E: Error>(&self, found: &str) -> E {
        let expected = match self.kind {
            Text => "a string",
            Bytes => "base64",
            Bool => "true or false",
            Int | Signed | Fixed => "an integer",
            Double => "a number",
            One(_) => "an object",
            Many(_) | Ints | Fixeds | Doubles => "an array",
        };
        E::custom(format_args!(
            "`{}`: expected {expected}, found {found}",
            self.name
        ))
    }

    /// Writes an integer of 64 bits, with or without a sign.
    fn write_bits<E: Error>(&mut self, bits: u64, double: f64) -> Result<(), E> {
        match self.kind {
            Int => {
                add_tag(self.out, self.number, 0);
                add_varint(self.out, bits);
            }
            Signed => {
                let value = i32::try_from(bits as i64)
                    .map_err(|_| self.refuse::<E>("one beyond 32 bits"))?;
                add_tag(self.out, self.number, 0);
                add_varint(self.out, u64::from(((value << 1) ^ (value >> 31)) as u32));
            }
            Fixed => {
                add_tag(self.out, self.number, 1);
                self.out.extend_from_slice(&bits.to_le_bytes());
            }
            Double => return self.write_double(double),
            _ => return Err(self.refuse("a number")),
        }
        Ok(())
    }

    fn write_double<E: Error>(&mut self, value: f64) -> Result<(), E> {
        if !matches!(self.kind, Double) {
            return Err(self.refuse("a number with a fraction"));
        }
        add_tag(self.out, self.number, 1);
        self.out.extend_from_slice(&value.to_bits().to_le_bytes());
        Ok(())
    }

    fn write_bytes(&mut self, bytes: &[u8]) {
        add_tag(self.out, self.number, 2);
        add_varint(self.out, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value of `{}`", self.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        if !matches!(self.kind, Bool) {
            return Err(self.refuse("true or false"));
        }
        add_tag(self.out, self.number, 0);
        self.out.push(u8::from(value));
        Ok(())
    }

    fn visit_u64<E: Error>(mut self, value: u64) -> Result<(), E> {
        self.write_bits(value, value as f64)
    }

    fn visit_i64<E: Error>(mut self, value: i64) -> Result<(), E> {
        self.write_bits(value as u64, value as f64)
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<(), E> {
        self.write_double(value)
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        match self.kind {
            Text => self.write_bytes(text.as_bytes()),
            Bytes => {
                let bytes = STANDARD
                    .decode(text)
                    .map_err(|_| self.refuse::<E>("another text"))?;
                self.write_bytes(&bytes);
            }
            // 64 bits are more than a JavaScript number holds, so integers come as texts.
            Int | Signed | Fixed => {
                let bits = text.parse::<u64>().ok();
                let bits = bits.or_else(|| text.parse::<i64>().ok().map(|value| value as u64));
                let bits = bits.ok_or_else(|| self.refuse::<E>("another text"))?;
                return self.write_bits(bits, 0.0);
            }
            Double => {
                let value = match text {
                    "NaN" => f64::NAN,
                    "Infinity" => f64::INFINITY,
                    "-Infinity" => f64::NEG_INFINITY,
                    number => number
                        .parse()
                        .map_err(|_| self.refuse::<E>("another text"))?,
                };
                return self.write_double(value);
            }
            _ => return Err(self.refuse("a string")),
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let One(message) = self.kind else {
            return Err(self.refuse("an object"));
        };
        add_tag(self.out, self.number, 2);
        let start = begin_length(self.out);
        Fields {
            message,
            out: self.out,
        }
        .visit_map(map)?;
        end_length(self.out, start);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let out = self.out;
        let one = match self.kind {
            Many(message) => loop {
                let undo = out.len();
                add_tag(out, self.number, 2);
                let start = begin_length(out);
                if seq.next_element_seed(Fields { message, out })?.is_none() {
                    out.truncate(undo);
                    return Ok(());
                }
                end_length(out, start);
                if out.len() > PROTOBUF_BYTES_MAX {
                    return Err(A::Error::custom("too large"));
                }
            },
            Ints => Int,
            Fixeds => Fixed,
            Doubles => Double,
            kind => {
                return Err(Field {
                    name: self.name,
                    number: self.number,
                    kind,
                    out,
                }
                .refuse("an array"));
            }
        };
        // Each with its tag: unpacked fields mean the same as packed ones.
        while seq
            .next_element_seed(Field {
                name: self.name,
                number: self.number,
                kind: one,
                out,
            })?
            .is_some()
        {
            if out.len() > PROTOBUF_BYTES_MAX {
                return Err(A::Error::custom("too large"));
            }
        }
        Ok(())
    }
}
