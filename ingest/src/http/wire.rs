//! Walks protobuf fields in place. Allocates nothing, whatever the bytes say.

use super::refusal::Malformed;

/// A part of a body that remembers where it stood.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wire<'a> {
    /// The whole body.
    body: &'a [u8],
    /// Next byte to read.
    pub(super) at: usize,
    /// End of this message.
    end: usize,
    /// What is being read, for messages.
    message: &'static str,
}

/// The value of one field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8], usize),
    Fixed32,
}

impl<'a> Wire<'a> {
    pub(super) fn new(body: &'a [u8], message: &'static str) -> Self {
        Wire {
            body,
            at: 0,
            end: body.len(),
            message,
        }
    }

    /// The message in the bytes that begin at `at`.
    pub(super) fn inner(&self, bytes: &'a [u8], at: usize, message: &'static str) -> Self {
        Wire {
            body: self.body,
            at,
            end: at + bytes.len(),
            message,
        }
    }

    /// What is left to read.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.body[self.at..self.end]
    }

    #[cold]
    pub(super) fn malformed(
        &self,
        byte: usize,
        field: u64,
        problem: impl Into<String>,
    ) -> Malformed {
        let field = if field == 0 {
            self.message.to_owned()
        } else {
            format!("{} field {field}", self.message)
        };
        Malformed {
            byte,
            field,
            problem: problem.into(),
        }
    }

    /// The next field's number and value, or `None` at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, Malformed> {
        if self.at >= self.end {
            return Ok(None);
        }
        let start = self.at;
        let tag = self.varint(0)?;
        let field = tag >> 3;
        if field == 0 || tag > u64::from(u32::MAX) {
            return Err(self.malformed(start, 0, format!("tag {tag} names no field")));
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint(field)?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array(field)?)),
            2 => {
                let at_length = self.at;
                let length = self.varint(field)?;
                let left = (self.end - self.at) as u64;
                if length > left {
                    return Err(self.malformed(
                        at_length,
                        field,
                        format!("{length} bytes are announced, {left} are left"),
                    ));
                }
                let at = self.at;
                self.at += length as usize;
                Value::Bytes(&self.body[at..self.at], at)
            }
            5 => {
                self.array::<4>(field)?;
                Value::Fixed32
            }
            kind => {
                return Err(self.malformed(
                    start,
                    field,
                    format!("wire type {kind}; expected 0, 1, 2 or 5"),
                ));
            }
        };
        Ok(Some((field, value)))
    }

    /// The next number of a packed field.
    #[inline]
    pub(super) fn packed_varint(&mut self, field: u64) -> Result<Option<u64>, Malformed> {
        (self.at < self.end).then(|| self.varint(field)).transpose()
    }

    /// The next number of eight bytes of a packed field.
    #[inline]
    pub(super) fn packed_fixed64(&mut self, field: u64) -> Result<Option<u64>, Malformed> {
        let next = (self.at < self.end).then(|| self.array(field));
        Ok(next.transpose()?.map(u64::from_le_bytes))
    }

    #[inline]
    fn varint(&mut self, field: u64) -> Result<u64, Malformed> {
        // Tags, lengths and references to symbols have one to three bytes.
        match self.body[self.at..self.end] {
            [a, ..] if a < 0x80 => {
                self.at += 1;
                Ok(u64::from(a))
            }
            [a, b, ..] if b < 0x80 => {
                self.at += 2;
                Ok(u64::from(a & 0x7f) | u64::from(b) << 7)
            }
            [a, b, c, ..] if c < 0x80 => {
                self.at += 3;
                Ok(u64::from(a & 0x7f) | u64::from(b & 0x7f) << 7 | u64::from(c) << 14)
            }
            _ => self.long_varint(field),
        }
    }

    fn long_varint(&mut self, field: u64) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for (index, byte) in self.body[self.at..self.end].iter().take(10).enumerate() {
            let part = u64::from(byte & 0x7f);
            if index == 9 && *byte > 1 {
                return Err(self.malformed(self.at, field, "a number of more than 64 bits"));
            }
            value |= part << (7 * index);
            if *byte < 0x80 {
                self.at += index + 1;
                return Ok(value);
            }
        }
        Err(self.malformed(self.end, field, "the bytes end within a number"))
    }

    #[inline]
    fn array<const N: usize>(&mut self, field: u64) -> Result<[u8; N], Malformed> {
        match self.body[self.at..self.end].first_chunk::<N>() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(self.malformed(
                self.end,
                field,
                format!("the bytes end within a number of {N} bytes"),
            )),
        }
    }
}
