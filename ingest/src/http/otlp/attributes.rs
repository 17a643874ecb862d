//! Attributes as label keys and texts. Strings stay as they are, other scalars are written plainly, arrays and maps as JSON, bytes as base64.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemas::LABEL_BYTES_MAX;

use super::super::wire::{Value, Wire};
use super::unnamed::Unnamed;
use crate::door::Reason;

/// How deep arrays and maps may be nested in an attribute. Senders have at most two or three levels; each costs a stack frame.
const NESTING_MAX: usize = 16;

/// The text in bytes; `what` names it where there is none.
pub(super) fn utf8<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a str, Reason> {
    std::str::from_utf8(bytes).map_err(|_| Reason::NotUtf8(what))
}

/// Key and text of a `KeyValue`. An attribute without a value has the empty text.
pub(super) fn key_and_text<'a>(mut message: Wire<'a>) -> Result<(&'a str, Cow<'a, str>), Unnamed> {
    let (mut key, mut text): (&[u8], Cow<'a, str>) = (&[], Cow::Borrowed(""));
    while let Some((field, value)) = message.next()? {
        match (field, value) {
            (1, Value::Bytes(bytes, _)) => key = bytes,
            (2, Value::Bytes(bytes, at)) => text = plain(message.inner(bytes, at, "AnyValue"))?,
            (1 | 2, _) => {
                return Err(message
                    .malformed(message.at, field, "expected a string and a message")
                    .into());
            }
            _ => {}
        }
    }
    Ok((utf8(key, "the key of an attribute")?, text))
}

/// An `AnyValue` as a label's value.
fn plain<'a>(message: Wire<'a>) -> Result<Cow<'a, str>, Unnamed> {
    Ok(match any(message)? {
        Any::None => Cow::Borrowed(""),
        Any::Text(text) => Cow::Borrowed(text),
        Any::Bytes(bytes) => {
            check_length(bytes.len())?;
            Cow::Owned(STANDARD.encode(bytes))
        }
        Any::Bool(value) => Cow::Borrowed(if value { "true" } else { "false" }),
        Any::Int(value) => Cow::Owned(value.to_string()),
        Any::Double(value) => Cow::Owned(value.to_string()),
        nested @ (Any::Array(_) | Any::Map(_)) => {
            let mut json = String::new();
            write_json(nested, 0, &mut json)?;
            Cow::Owned(json)
        }
    })
}

/// An `AnyValue`, one level of it.
enum Any<'a> {
    None,
    Text(&'a str),
    Bytes(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    Array(Wire<'a>),
    Map(Wire<'a>),
}

fn any<'a>(mut message: Wire<'a>) -> Result<Any<'a>, Unnamed> {
    let mut found = Any::None;
    while let Some((field, value)) = message.next()? {
        found = match (field, value) {
            (1, Value::Bytes(bytes, _)) => Any::Text(utf8(bytes, "the value of an attribute")?),
            (2, Value::Varint(bits)) => Any::Bool(bits != 0),
            (3, Value::Varint(bits)) => Any::Int(bits as i64),
            (4, Value::Fixed64(bits)) => Any::Double(f64::from_bits(bits)),
            (5, Value::Bytes(bytes, at)) => Any::Array(message.inner(bytes, at, "ArrayValue")),
            (6, Value::Bytes(bytes, at)) => Any::Map(message.inner(bytes, at, "KeyValueList")),
            (7, Value::Bytes(bytes, _)) => Any::Bytes(bytes),
            (1..=7, _) => {
                return Err(message
                    .malformed(message.at, field, "another type than the field has")
                    .into());
            }
            _ => continue,
        };
    }
    Ok(found)
}

/// Before anything is made of it: a text that no label may have must not be written out first.
fn check_length(bytes: usize) -> Result<(), Reason> {
    if bytes > LABEL_BYTES_MAX {
        return Err(Reason::Syntax(format!(
            "an attribute of more than {LABEL_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

fn write_json(value: Any<'_>, depth: usize, json: &mut String) -> Result<(), Unnamed> {
    if depth > NESTING_MAX {
        return Err(Reason::Syntax(format!(
            "an attribute that is nested deeper than {NESTING_MAX}"
        ))
        .into());
    }
    // Writing to a string can't fail.
    match value {
        Any::None => json.push_str("null"),
        Any::Text(text) => write_text(text, json)?,
        Any::Bytes(bytes) => {
            check_length(bytes.len())?;
            write_text(&STANDARD.encode(bytes), json)?;
        }
        Any::Bool(value) => {
            let _ = write!(json, "{value}");
        }
        Any::Int(value) => {
            let _ = write!(json, "{value}");
        }
        Any::Double(value) if value.is_finite() => {
            let _ = write!(json, "{value}");
        }
        Any::Double(value) => write_text(&value.to_string(), json)?,
        Any::Array(mut message) => {
            json.push('[');
            let mut is_first = true;
            while let Some((field, value)) = message.next()? {
                if let (1, Value::Bytes(bytes, at)) = (field, value) {
                    separate(&mut is_first, json);
                    write_json(any(message.inner(bytes, at, "AnyValue"))?, depth + 1, json)?;
                }
            }
            json.push(']');
        }
        Any::Map(mut message) => {
            json.push('{');
            let mut is_first = true;
            while let Some((field, value)) = message.next()? {
                if let (1, Value::Bytes(bytes, at)) = (field, value) {
                    separate(&mut is_first, json);
                    write_entry(message.inner(bytes, at, "KeyValue"), depth, json)?;
                }
            }
            json.push('}');
        }
    }
    Ok(check_length(json.len())?)
}

fn separate(is_first: &mut bool, json: &mut String) {
    if !std::mem::take(is_first) {
        json.push(',');
    }
}

fn write_entry(mut message: Wire<'_>, depth: usize, json: &mut String) -> Result<(), Unnamed> {
    let (mut key, mut inner): (&[u8], _) = (&[], Any::None);
    while let Some((field, value)) = message.next()? {
        match (field, value) {
            (1, Value::Bytes(bytes, _)) => key = bytes,
            (2, Value::Bytes(bytes, at)) => inner = any(message.inner(bytes, at, "AnyValue"))?,
            _ => {}
        }
    }
    write_text(utf8(key, "the key of an attribute")?, json)?;
    json.push(':');
    write_json(inner, depth + 1, json)
}

fn write_text(text: &str, json: &mut String) -> Result<(), Unnamed> {
    check_length(text.len())?;
    json.push_str(&serde_json::Value::from(text).to_string());
    Ok(check_length(json.len())?)
}
