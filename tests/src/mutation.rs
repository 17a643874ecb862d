//! Changes bytes as accidents and enemies do: seeded, so that a failure can be repeated.

use super::random::Random;

/// Numbers that lengths, tags and counters are set to: edges of varints and of integers.
const NUMBERS: [&[u8]; 8] = [
    &[0],
    &[0x7f],
    &[0x80, 0x01],
    &[0xff, 0xff, 0x03],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff; 11],
    &[0x80; 8],
];
/// Words that mean something to one of the formats.
const WORDS: [&str; 30] = [
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    "=",
    ":",
    " ",
    "\n",
    "#",
    "|",
    "@",
    ";",
    "NaN",
    "+Inf",
    "-1",
    "1e400",
    "9223372036854775808",
    "0x1p3",
    "null",
    "# EOF",
    "\u{fffd}",
    "\u{0}",
    "\\u0000",
    "__name__",
    "RRULE:FREQ=SECONDLY;COUNT=999999999",
    "TZID=Nowhere/At_all",
    "0001-01-01",
];

/// Makes one input of the seeds: one of them, changed in one to eight places.
///
/// # Panics
/// If there are no seeds.
pub fn mutate(random: &mut Random, seeds: &[Vec<u8>], bytes_max: usize) -> Vec<u8> {
    let any = |random: &mut Random| random.below(seeds.len() as u64) as usize;
    let mut bytes = seeds[any(random)].clone();
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let end = at + random.below((bytes.len() - at) as u64 + 1) as usize;
        match random.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.below(256) as u8,
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            // A piece once more, as a field, a line or an element that repeats.
            4 => {
                let piece = bytes[at..end].to_vec();
                for _ in 0..=random.below(4) {
                    insert(&mut bytes, at, &piece);
                }
            }
            // A piece of another seed.
            5 => {
                let other = &seeds[any(random)];
                let from = random.below(other.len() as u64 + 1) as usize;
                let to = from + random.below((other.len() - from) as u64 + 1) as usize;
                insert(&mut bytes, at, &other[from..to]);
            }
            6 => {
                let number = NUMBERS[random.below(NUMBERS.len() as u64) as usize];
                let covered = (at + number.len()).min(bytes.len());
                bytes.splice(at..covered, number.iter().copied());
            }
            7 => {
                let word = WORDS[random.below(WORDS.len() as u64) as usize];
                insert(&mut bytes, at, word.as_bytes());
            }
            _ => bytes[at..end].reverse(),
        }
        bytes.truncate(bytes_max);
    }
    bytes
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}
