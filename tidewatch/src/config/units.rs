//! Durations and sizes as people write them: `90s`, `2m`, `1h30m`, `16MiB`. Knows nothing of files or layers.

use std::time::Duration;

const DURATION_UNITS: [(&str, u64); 6] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
];

const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads `10s`, `1h30m`: whole numbers, each with a unit (ms, s, m, h, d, w). `None` if it is anything else.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total_ms = 0u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..]
            .bytes()
            .take_while(u8::is_ascii_alphabetic)
            .count();
        let (_, factor) = DURATION_UNITS
            .iter()
            .find(|(name, _)| *name == &rest[digits..digits + unit])?;
        total_ms = total_ms.checked_add(number.checked_mul(*factor)?)?;
        rest = rest[digits + unit..].trim_start();
    }
    // What the rest of the system counts in (microseconds in an i64) holds 292,000 years; a setting needs at most a century.
    (total_ms <= 100 * 366 * 86_400_000).then(|| Duration::from_millis(total_ms))
}

/// Reads `16MiB`, `1GB`, `512B`: one whole number with a unit. `None` if it is anything else.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim_start();
    let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_units_and_may_be_compound() {
        for (text, ms) in [
            ("10s", 10_000),
            ("250ms", 250),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1w", 604_800_000),
            ("0s", 0),
            (" 1h 5s ", 3_605_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(ms)),
                "{text}"
            );
        }
        for text in [
            "",
            "10",
            "s",
            "1.5s",
            "10 apples",
            "-1s",
            "99999999999999999999s",
            "18446744073709551615w",
            "1s2",
            "é",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_need_units_and_know_both_families() {
        for (text, bytes) in [
            ("16MiB", 16 << 20),
            ("1 kB", 1_000),
            ("512B", 512),
            ("2TB", 2_000_000_000_000),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "16", "16mib", "MiB", "1.5GiB", "-1B", "99999999999TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
