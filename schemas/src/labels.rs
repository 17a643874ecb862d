//! Label sets in canonical form: sorted, unique, one allocation. Knows nothing of metrics or time.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

/// Ends every key and every value in the canonical form. 0xFF never occurs in UTF-8, so the form is unambiguous.
const SEPARATOR: u8 = 0xFF;

/// The longest label key or value, bytes. 16 KiB: longer ones are mistakes (stack traces, queries) and would be copied into every file.
pub const LABEL_BYTES_MAX: usize = 16 * 1024;
/// The most labels in one set. 256: OpenTelemetry resources with Kubernetes attributes stay below 100.
pub const LABELS_MAX: usize = 256;

/// A sorted set of labels with unique, non-empty keys and non-empty values.
///
/// Canonical form: for each label in byte order of its key, `key 0xFF value 0xFF`. Equal sets have equal bytes, whatever the
/// order a sender used. A label with an empty value is the same as no label (the Prometheus data model) and is left out.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[u8]>);

/// Why labels were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// A key occurs twice.
    #[error("label `{0}` occurs twice; a label key must be unique within a series")]
    Duplicate(String),
    /// A key is empty.
    #[error("a label has an empty name (its value is `{0}`); a label needs a name")]
    EmptyKey(String),
    /// A key or a value is too long.
    #[error("label `{key}` has {bytes} bytes; at most {LABEL_BYTES_MAX} are taken")]
    TooLong {
        /// The label's key, shortened.
        key: String,
        /// Bytes of the longer of key and value.
        bytes: usize,
    },
    /// There are too many labels.
    #[error("{0} labels in one series; at most {LABELS_MAX} are taken")]
    TooMany(usize),
}

/// A key or a value at the start of canonical bytes, and what follows it; `None` if there is none, or one that no label may have.
fn first_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = bytes.iter().position(|byte| *byte == SEPARATOR)?;
    let part = &bytes[..length];
    let fits = (1..=LABEL_BYTES_MAX).contains(&length) && std::str::from_utf8(part).is_ok();
    fits.then_some((part, &bytes[length + 1..]))
}

/// The first characters of a text, for a message.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

impl Labels {
    /// The empty set.
    pub fn empty() -> Self {
        Labels(Arc::from([]))
    }

    /// Sorts and checks labels given in any order.
    ///
    /// # Errors
    /// `LabelsError` (bad input: reject the series) if a key is empty or repeats, or a limit is passed.
    pub fn try_new<K: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, LabelsError> {
        let mut pairs: Vec<(K, V)> = pairs
            .into_iter()
            .filter(|(_, v)| !v.as_ref().is_empty())
            .collect();
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        Self::from_sorted(pairs.iter().map(|(k, v)| (k.as_ref(), v.as_ref())))
    }

    /// Checks labels that are already sorted by key; an unsorted neighbour is reported as a duplicate only if it is one.
    fn from_sorted<'a>(
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, LabelsError> {
        let mut bytes = Vec::with_capacity(256);
        let mut previous: Option<&str> = None;
        let mut count = 0;
        for (key, value) in pairs {
            if key.is_empty() {
                return Err(LabelsError::EmptyKey(shortened(value)));
            }
            if previous == Some(key) {
                return Err(LabelsError::Duplicate(shortened(key)));
            }
            let longest = key.len().max(value.len());
            if longest > LABEL_BYTES_MAX {
                return Err(LabelsError::TooLong {
                    key: shortened(key),
                    bytes: longest,
                });
            }
            previous = Some(key);
            count += 1;
            bytes.extend_from_slice(key.as_bytes());
            bytes.push(SEPARATOR);
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(SEPARATOR);
        }
        if count > LABELS_MAX {
            return Err(LabelsError::TooMany(count));
        }
        Ok(Labels(Arc::from(bytes)))
    }

    /// Labels from their canonical bytes; `None` if these are not canonical.
    pub fn from_canonical(bytes: &[u8]) -> Option<Self> {
        let mut previous: &[u8] = &[];
        let mut count = 0;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (key, after) = first_part(rest)?;
            let (_, after) = first_part(after)?;
            // Keys rise strictly, so none is empty and none repeats.
            if key <= previous || count == LABELS_MAX {
                return None;
            }
            (previous, rest) = (key, after);
            count += 1;
        }
        Some(Labels(Arc::from(bytes)))
    }

    /// Key and value of each label, in byte order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self
            .0
            .split(|b| *b == SEPARATOR)
            .map(|part| std::str::from_utf8(part).unwrap_or_default());
        std::iter::from_fn(move || {
            let key = parts.next().filter(|k| !k.is_empty())?;
            Some((key, parts.next()?))
        })
    }

    /// The key of each label, and the canonical bytes of the whole label, in byte order of the keys.
    pub fn parts(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let key = rest.iter().position(|byte| *byte == SEPARATOR)?;
            let value = rest[key + 1..].iter().position(|byte| *byte == SEPARATOR)?;
            let (label, after) = rest.split_at(key + value + 2);
            rest = after;
            Some((&label[..key], label))
        })
    }

    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// How many labels the set has.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether the set has no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The canonical bytes (see the type).
    pub fn canonical(&self) -> &[u8] {
        &self.0
    }

    /// XXH3-128 (seed 0) of the canonical bytes.
    pub fn hash128(&self) -> u128 {
        xxh3_128(&self.0)
    }
}

/// By their canonical bytes, which is how they are compared and hashed.
impl Borrow<[u8]> for Labels {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (key, value)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{key}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Labels{self}")
    }
}

impl serde::Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        // Snapshots are in a format that asks for the length first.
        let mut map = serializer.serialize_map(Some(self.iter().count()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> serde::Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
        Labels::try_new(pairs).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_input_does_not_matter_and_empty_values_are_no_labels() {
        let a = Labels::try_new([("b", "2"), ("a", "1"), ("c", "")]).unwrap();
        let b = Labels::try_new([("a", "1"), ("b", "2")]).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.canonical(), b"a\xff1\xffb\xff2\xff");
        assert_eq!(a.to_string(), r#"{a="1",b="2"}"#);
        assert_eq!(a.get("b"), Some("2"));
        assert_eq!(a.len(), 2);
    }

    #[test]
    fn canonical_bytes_are_those_that_labels_have() {
        let long = "x".repeat(LABEL_BYTES_MAX);
        let sets: [&[(&str, &str)]; 5] = [
            &[],
            &[("a", "1")],
            &[("a", "1"), ("aa", "ä"), ("b", "1")],
            &[("k", &long)],
            &[(&long, "v")],
        ];
        for set in sets {
            let labels = Labels::try_new(set.iter().copied()).unwrap();
            let again = Labels::from_canonical(labels.canonical());
            assert_eq!(again.as_ref(), Some(&labels), "{set:?}");
        }
        let too_long = [long.as_bytes(), b"x\xffv\xff"].concat();
        let too_many: Vec<u8> = (0..=LABELS_MAX)
            .flat_map(|i| format!("k{i:03}\0v\0").into_bytes())
            .map(|byte| if byte == 0 { SEPARATOR } else { byte })
            .collect();
        assert!(Labels::from_canonical(&too_many[7..]).is_some());
        let damaged: [&[u8]; 10] = [
            b"a",
            b"a\xff",
            b"a\xff1",
            b"a\xff\xff",
            b"\xff1\xff",
            b"b\xff1\xffa\xff1\xff",
            b"a\xff1\xffa\xff2\xff",
            b"a\xff\xc3\xff",
            &too_long,
            &too_many,
        ];
        for bytes in damaged {
            assert_eq!(Labels::from_canonical(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn separators_cannot_be_confused() {
        let a = Labels::try_new([("a", "b=c")]).unwrap();
        let b = Labels::try_new([("a=b", "c")]).unwrap();
        assert_ne!(a.hash128(), b.hash128());
    }

    #[test]
    fn refuses_what_is_not_a_label_set() {
        assert_eq!(
            Labels::try_new([("a", "1"), ("a", "2")]),
            Err(LabelsError::Duplicate("a".into()))
        );
        assert_eq!(
            Labels::try_new([("", "1")]),
            Err(LabelsError::EmptyKey("1".into()))
        );
        assert!(matches!(
            Labels::try_new([("a", "x".repeat(20_000))]),
            Err(LabelsError::TooLong { bytes: 20_000, .. })
        ));
        assert_eq!(
            Labels::try_new((0..300).map(|i| (format!("k{i}"), "v"))),
            Err(LabelsError::TooMany(300))
        );
    }
}
