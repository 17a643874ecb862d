//! Reads JSON token by token, in place: numbers keep every digit of their text, strings without escapes are lent. For decoders whose objects are flat.

use std::borrow::Cow;

use memchr::memchr2;

use crate::http::{Malformed, Undecodable};

/// How deep what is left out may be nested. 32: no agent writes more than 6.
const DEPTH_MAX: usize = 32;

/// What is wrong with a text, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonError {
    /// Offset in the text, from 0.
    pub(crate) byte: usize,
    /// What was expected and found.
    pub(crate) problem: String,
}

impl From<JsonError> for Undecodable {
    fn from(error: JsonError) -> Self {
        Undecodable::Malformed(Malformed {
            byte: error.byte,
            field: "JSON".to_owned(),
            problem: error.problem,
        })
    }
}

type Result<T> = std::result::Result<T, JsonError>;

/// What a value begins as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Object,
    Array,
    Text,
    Number,
    Bool,
    Null,
}

/// A place in a text.
#[derive(Debug, Clone)]
pub(crate) struct JsonText<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> JsonText<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        JsonText { text, at: 0 }
    }

    /// The next byte, after white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Where the next token begins.
    pub(crate) fn position(&mut self) -> usize {
        self.peek();
        self.at
    }

    /// The text from a place up to here.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        &self.text[start..self.at]
    }

    /// Whether only white space is left.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// An error here.
    #[cold]
    pub(crate) fn wrong(&self, expected: &str) -> JsonError {
        let found = match self.text.get(self.at) {
            None => "the end".to_owned(),
            Some(byte) => format!("`{}`", char::from(*byte).escape_debug()),
        };
        JsonError {
            byte: self.at,
            problem: format!("expected {expected}, found {found}"),
        }
    }

    /// What the next value is.
    pub(crate) fn token(&mut self) -> Result<Token> {
        match self.peek() {
            Some(b'{') => Ok(Token::Object),
            Some(b'[') => Ok(Token::Array),
            Some(b'"') => Ok(Token::Text),
            Some(b'-' | b'0'..=b'9') => Ok(Token::Number),
            Some(b't' | b'f') => Ok(Token::Bool),
            Some(b'n') => Ok(Token::Null),
            _ => Err(self.wrong("a value")),
        }
    }

    /// Goes through an object; `take` gets each key and must read its value.
    pub(crate) fn object<E: From<JsonError>>(
        &mut self,
        mut take: impl FnMut(&mut Self, Cow<'a, str>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.expect(b'{', "an object")?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let key = self.text()?;
            self.expect(b':', "`:`")?;
            take(self, key)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.wrong("`,` or `}`").into()),
            }
        }
    }

    /// Goes through an array; `take` must read one value.
    pub(crate) fn array<E: From<JsonError>>(
        &mut self,
        mut take: impl FnMut(&mut Self) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.expect(b'[', "an array")?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            take(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.wrong("`,` or `]`").into()),
            }
        }
    }

    fn expect(&mut self, byte: u8, name: &str) -> Result<()> {
        if self.peek() != Some(byte) {
            return Err(self.wrong(name));
        }
        self.at += 1;
        Ok(())
    }

    /// A string.
    pub(crate) fn text(&mut self) -> Result<Cow<'a, str>> {
        self.expect(b'"', "a string")?;
        let start = self.at;
        loop {
            let Some(end) = memchr2(b'"', b'\\', &self.text[self.at..]) else {
                self.at = self.text.len();
                return Err(self.wrong("the end of a string"));
            };
            self.at += end;
            if self.text[self.at] == b'"' {
                break;
            }
            // The escape and what it escapes; what the escape means is looked at below.
            self.at = (self.at + 2).min(self.text.len());
        }
        let raw = &self.text[start..self.at];
        self.at += 1;
        let plain = !raw.iter().any(|byte| *byte == b'\\' || *byte < b' ');
        let text = match plain {
            true => std::str::from_utf8(raw).ok().map(Cow::Borrowed),
            false => serde_json::from_slice(&self.text[start - 1..self.at])
                .ok()
                .map(Cow::Owned),
        };
        text.ok_or_else(|| JsonError {
            byte: start,
            problem:
                "a string that is not valid UTF-8, or has a wrong escape or a control character"
                    .to_owned(),
        })
    }

    /// A number.
    pub(crate) fn number(&mut self) -> Result<f64> {
        let start = self.position();
        self.pass_number()?;
        // Digits, signs, a dot and an exponent only.
        let parsed = std::str::from_utf8(self.since(start))
            .ok()
            .and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| JsonError {
            byte: start,
            problem: "a number that can't be read".to_owned(),
        })
    }

    /// A number as its text.
    pub(crate) fn number_text(&mut self) -> Result<&'a str> {
        let start = self.position();
        self.pass_number()?;
        std::str::from_utf8(self.since(start)).map_err(|_| self.wrong("a number"))
    }

    /// Passes a number, as RFC 8259 writes it.
    fn pass_number(&mut self) -> Result<()> {
        if self.text.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.text.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.pass_digits()?,
            _ => return Err(self.wrong("a digit")),
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.pass_digits()?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.pass_digits()?;
        }
        Ok(())
    }

    fn pass_digits(&mut self) -> Result<()> {
        let digits = self.text[self.at..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            return Err(self.wrong("a digit"));
        }
        self.at += digits;
        Ok(())
    }

    /// True or false.
    pub(crate) fn boolean(&mut self) -> Result<bool> {
        let value = self.peek() == Some(b't');
        self.word(if value { "true" } else { "false" })?;
        Ok(value)
    }

    fn word(&mut self, word: &'static str) -> Result<()> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err(self.wrong(word));
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes a value of any type.
    pub(crate) fn skip(&mut self) -> Result<()> {
        self.skip_within(DEPTH_MAX)
    }

    fn skip_within(&mut self, depth: usize) -> Result<()> {
        let Some(inside) = depth.checked_sub(1) else {
            return Err(self.wrong(&format!("at most {DEPTH_MAX} levels")));
        };
        match self.token()? {
            Token::Object => self.object(|json, _| json.skip_within(inside)),
            Token::Array => self.array(|json| json.skip_within(inside)),
            Token::Text => self.text().map(drop),
            Token::Number => self.pass_number(),
            Token::Bool => self.boolean().map(drop),
            Token::Null => self.word("null"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::{Map, Value};

    use super::*;

    /// The whole value, as serde_json would have it.
    fn read(json: &mut JsonText<'_>) -> Result<Value> {
        Ok(match json.token()? {
            Token::Object => {
                let mut map = Map::new();
                json.object(|json, key| {
                    map.insert(key.into_owned(), read(json)?);
                    Ok::<_, JsonError>(())
                })?;
                Value::Object(map)
            }
            Token::Array => {
                let mut items = Vec::new();
                json.array(|json| {
                    items.push(read(json)?);
                    Ok::<_, JsonError>(())
                })?;
                Value::Array(items)
            }
            Token::Text => json.text()?.into_owned().into(),
            Token::Number => json.number()?.into(),
            Token::Bool => json.boolean()?.into(),
            Token::Null => {
                json.skip()?;
                Value::Null
            }
        })
    }

    #[rstest]
    #[case("")]
    #[case("{")]
    #[case("{\"a\"}")]
    #[case("{\"a\":1,}")]
    #[case("[1 2]")]
    #[case("[1,]")]
    #[case("\"\\x\"")]
    #[case("\"a\nb\"")]
    #[case("\"a")]
    #[case("\"\\")]
    #[case("\"\\u12\"")]
    #[case("01")]
    #[case("1.")]
    #[case("-")]
    #[case("1e")]
    #[case("+1")]
    #[case("NaN")]
    #[case("tru")]
    #[case("nul")]
    fn what_is_no_json_is_an_error_for_both_readers(#[case] text: &str) {
        let mut json = JsonText::new(text.as_bytes());
        let whole = json.skip().is_ok() && json.is_at_end();
        assert!(!whole, "{text}");
        assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
    }

    #[test]
    fn nesting_is_limited_and_numbers_are_exact() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let error = JsonText::new(deep.as_bytes()).skip().unwrap_err();
        assert!(error.problem.contains("at most 32 levels"), "{error:?}");
        let number = JsonText::new(b" 8.99057865802236e-309").number().unwrap();
        assert_eq!(number.to_bits(), 8.99057865802236e-309f64.to_bits());
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-1_000_000i32..1_000_000).prop_map(|number| Value::from(f64::from(number) / 8.0)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 30, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        /// What serde_json writes is read as it was, whole or passed over, and a cut text never passes for whole.
        #[test]
        fn agrees_with_serde_json(value in values(), pretty: bool, cut in 0.0..1.0f64) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let mut json = JsonText::new(text.as_bytes());
            prop_assert_eq!(read(&mut json).unwrap(), value.clone());
            prop_assert!(json.is_at_end());
            let mut json = JsonText::new(text.as_bytes());
            prop_assert!(json.skip().is_ok() && json.is_at_end());
            let part = &text.as_bytes()[..(text.len() as f64 * cut) as usize];
            let mut json = JsonText::new(part);
            let whole = json.skip().is_ok() && json.is_at_end();
            prop_assert_eq!(whole, serde_json::from_slice::<Value>(part).is_ok());
        }
    }
}
