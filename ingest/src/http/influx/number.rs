//! Reads the numbers of line protocol: `1.5`, `-2e3`, `1i`, `1u`. Fast for what agents send, exact for all.

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Up to 2^53 every integer is a double.
const EXACT_MAX: u64 = 1 << 53;

/// Whether a byte ends an unquoted field value.
#[inline]
pub(super) fn ends_value(byte: u8) -> bool {
    matches!(byte, b',' | b' ' | b'\n' | b'\r')
}

/// The number at the start of `bytes` and its length, up to a byte that ends a value or the end.
#[inline]
pub(super) fn read(bytes: &[u8]) -> Result<(f64, usize), String> {
    match read_short(bytes) {
        Some(read) => Ok(read),
        None => read_any(bytes),
    }
}

/// Digits with at most one point and at most 18 digits in all, whose value is exact by one division (Clinger 1990), and small integers.
#[inline]
fn read_short(bytes: &[u8]) -> Option<(f64, usize)> {
    let negative = bytes.first() == Some(&b'-');
    let digits_start = usize::from(negative);
    let (mut at, mut mantissa, mut point) = (digits_start, 0u64, None);
    let end = loop {
        match bytes.get(at) {
            Some(digit @ b'0'..=b'9') => {
                mantissa = mantissa
                    .wrapping_mul(10)
                    .wrapping_add(u64::from(digit - b'0'))
            }
            Some(b'.') if point.is_none() => point = Some(at),
            Some(b'i')
                if point.is_none() && bytes.get(at + 1).is_none_or(|next| ends_value(*next)) =>
            {
                break at + 1;
            }
            Some(byte) if !ends_value(*byte) => return None,
            _ => break at,
        }
        at += 1;
    };
    let digits = at - digits_start - usize::from(point.is_some());
    if digits == 0 || digits > 18 || mantissa > EXACT_MAX {
        return None;
    }
    let decimals = point.map_or(0, |point| at - point - 1);
    let magnitude = mantissa as f64 / POWERS[decimals];
    // `-0i` is the integer 0.
    let is_integer = end > at;
    Some((
        if negative && !(is_integer && mantissa == 0) {
            -magnitude
        } else {
            magnitude
        },
        end,
    ))
}

#[cold]
fn read_any(bytes: &[u8]) -> Result<(f64, usize), String> {
    let end = bytes
        .iter()
        .position(|byte| ends_value(*byte))
        .unwrap_or(bytes.len());
    let quoted = || String::from_utf8_lossy(&bytes[..end.min(40)]).into_owned();
    let token = std::str::from_utf8(&bytes[..end])
        .map_err(|_| format!("the field value `{}` is not valid UTF-8", quoted()))?;
    if token.is_empty() {
        return Err("a field has no value".to_owned());
    }
    if let Some(digits) = token.strip_suffix('i') {
        return digits
            .parse::<i64>()
            .map(|value| (value as f64, end))
            .map_err(|_| format!("`{}` is not a 64-bit integer", quoted()));
    }
    if let Some(digits) = token.strip_suffix('u') {
        let unsigned = if digits.starts_with('+') {
            None
        } else {
            digits.parse::<u64>().ok()
        };
        return unsigned
            .map(|value| (value as f64, end))
            .ok_or_else(|| format!("`{}` is not an unsigned 64-bit integer", quoted()));
    }
    // Rust would take `inf`, `nan` and their like, which line protocol has no word for.
    let plain = token
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    match token.parse::<f64>() {
        Ok(value) if plain && value.is_finite() => Ok((value, end)),
        Ok(_) if plain => Err(format!("`{}` is beyond a 64-bit float", quoted())),
        _ => Err(format!(
            "`{}` is no float, integer (1i), unsigned (1u), boolean or quoted string",
            quoted()
        )),
    }
}

/// The boolean at the start of `bytes` and its length.
pub(super) fn read_boolean(bytes: &[u8]) -> Option<(f64, usize)> {
    let end = bytes
        .iter()
        .take(6)
        .position(|byte| ends_value(*byte))
        .unwrap_or(bytes.len().min(6));
    match &bytes[..end] {
        b"t" | b"T" | b"true" | b"True" | b"TRUE" => Some((1.0, end)),
        b"f" | b"F" | b"false" | b"False" | b"FALSE" => Some((0.0, end)),
        _ => None,
    }
}
