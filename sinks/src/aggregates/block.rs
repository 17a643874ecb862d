//! A block: the rows of one window of one partition, in columns, sorted by series, compressed and checksummed.
//!
//! Bytes: `TWB1`, CRC-32 of the rest (4, little-endian), row count (4), zstd of the columns. Each column is its rows' little-endian numbers;
//! numbers of 8 bytes are stored byte plane by byte plane, which compresses better.

use schemas::{NextOffset, RollupRow};

const MAGIC: &[u8; 4] = b"TWB1";
/// Columns of 8 bytes: end, count, flags, and eight measures.
const NUMBERS: usize = 11;
/// Bytes of a row before compression: series, numbers, revision.
const ROW_BYTES: usize = 16 + NUMBERS * 8 + 4;
/// 4 million rows, 453 MB decoded: more series than one partition may have; a larger count is damage.
const ROWS_MAX: usize = 4 << 20;

/// A row of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row {
    /// The series' id.
    pub(super) series: u128,
    /// The offset after the last record it was computed from.
    pub(super) end: u64,
    /// Samples.
    pub(super) count: u64,
    /// sum, min, max, first, last, sum of squares, rate (NaN: none), completeness.
    pub(super) measures: [f64; 8],
    /// Bit 0: the row has a rate.
    flags: u64,
    /// Late changes.
    pub(super) revision: u32,
}

impl Row {
    /// The row of a series as computed at `end`.
    pub(super) fn of(series: u128, end: NextOffset, row: &RollupRow) -> Self {
        let r = &row.rollup;
        let rate = row.rate;
        Row {
            series,
            end: end.0,
            count: r.count,
            measures: [
                r.sum,
                r.min,
                r.max,
                r.first,
                r.last,
                r.sum_squares,
                rate.unwrap_or(f64::NAN),
                row.completeness,
            ],
            flags: u64::from(rate.is_some()),
            revision: row.revision,
        }
    }

    /// The increase per second, if there is one.
    pub(super) fn rate(&self) -> Option<f64> {
        (self.flags & 1 == 1).then_some(self.measures[6])
    }

    fn number(&self, column: usize) -> u64 {
        match column {
            0 => self.end,
            1 => self.count,
            2 => self.flags,
            _ => self.measures[column - 3].to_bits(),
        }
    }

    fn set_number(&mut self, column: usize, number: u64) {
        match column {
            0 => self.end = number,
            1 => self.count = number,
            2 => self.flags = number,
            _ => self.measures[column - 3] = f64::from_bits(number),
        }
    }
}

/// Rows sorted by series, one per series.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Block {
    /// The rows.
    pub(super) rows: Vec<Row>,
}

impl Block {
    /// The block of some rows; of one series' rows the last one stays.
    pub(super) fn of(rows: Vec<Row>) -> Self {
        // Rows are large: their places are sorted, and each row is moved once.
        let mut places: Vec<(u128, std::cmp::Reverse<usize>)> = rows
            .iter()
            .enumerate()
            .map(|(place, row)| (row.series, std::cmp::Reverse(place)))
            .collect();
        places.sort_unstable();
        places.dedup_by_key(|(series, _)| *series);
        Block {
            rows: places.iter().map(|(_, place)| rows[place.0]).collect(),
        }
    }

    /// Takes in another block: per series the row of the later offset stays, of equal ones the other's.
    pub(super) fn absorb(&mut self, other: Block) {
        let mut merged = Vec::with_capacity(self.rows.len().max(other.rows.len()));
        let (mut ours, mut theirs) = (
            self.rows.drain(..).peekable(),
            other.rows.into_iter().peekable(),
        );
        loop {
            let next = match (ours.peek(), theirs.peek()) {
                (Some(a), Some(b)) if a.series == b.series => {
                    let newer = if b.end >= a.end { *b } else { *a };
                    ours.next();
                    theirs.next();
                    Some(newer)
                }
                (Some(a), Some(b)) if a.series < b.series => ours.next(),
                (_, Some(_)) => theirs.next(),
                (_, None) => ours.next(),
            };
            match next {
                Some(row) => merged.push(row),
                None => break,
            }
        }
        drop(ours);
        self.rows = merged;
    }

    /// The bytes to store.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut columns = Vec::with_capacity(self.rows.len() * ROW_BYTES);
        self.rows
            .iter()
            .for_each(|row| columns.extend_from_slice(&row.series.to_le_bytes()));
        for column in 0..NUMBERS {
            for plane in 0..8 {
                columns.extend(
                    self.rows
                        .iter()
                        .map(|row| row.number(column).to_le_bytes()[plane]),
                );
            }
        }
        self.rows
            .iter()
            .for_each(|row| columns.extend_from_slice(&row.revision.to_le_bytes()));
        // Into a vector zstd fails only for want of memory; an empty body is then found as damage when it is read.
        let body = bus::pack(&columns).unwrap_or_default();
        let mut bytes = Vec::with_capacity(body.len() + 12);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&(self.rows.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&body);
        let checksum = crc32fast::hash(&bytes[8..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads stored bytes; a message if they are damaged.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let word = |at: usize| {
            bytes
                .get(at..at + 4)
                .and_then(|word| word.try_into().ok())
                .map(u32::from_le_bytes)
        };
        let (Some(checksum), Some(count)) = (word(4), word(8)) else {
            return Err(format!("{} bytes are no block", bytes.len()));
        };
        if &bytes[..4] != MAGIC {
            return Err("it does not begin as a block does".into());
        }
        let found = crc32fast::hash(&bytes[8..]);
        if found != checksum {
            return Err(format!(
                "checksum: expected {checksum:08x}, found {found:08x}"
            ));
        }
        let count = count as usize;
        if count > ROWS_MAX {
            return Err(format!("{count} rows; at most {ROWS_MAX} are read"));
        }
        let columns =
            bus::unpack(&bytes[12..], count * ROW_BYTES).map_err(|error| error.to_string())?;
        if columns.len() != count * ROW_BYTES {
            return Err(format!("{} bytes for {count} rows", columns.len()));
        }
        let (ids, rest) = columns.split_at(count * 16);
        let (numbers, revisions) = rest.split_at(count * NUMBERS * 8);
        let rows = (0..count).map(|i| {
            let series = ids[i * 16..]
                .first_chunk()
                .map_or(0, |id| u128::from_le_bytes(*id));
            let revision = revisions[i * 4..]
                .first_chunk()
                .map_or(0, |revision| u32::from_le_bytes(*revision));
            let mut row = Row {
                series,
                end: 0,
                count: 0,
                measures: [0.0; 8],
                flags: 0,
                revision,
            };
            for column in 0..NUMBERS {
                let number = std::array::from_fn(|plane| numbers[(column * 8 + plane) * count + i]);
                row.set_number(column, u64::from_le_bytes(number));
            }
            row
        });
        Ok(Block {
            rows: rows.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(series: u128, end: u64, sum: f64) -> Row {
        Row {
            series,
            end,
            count: 3,
            measures: [sum, -0.0, f64::NAN, 1.0, 2.0, 3.0, f64::NAN, 1.0],
            flags: 0,
            revision: 7,
        }
    }

    #[test]
    fn a_block_comes_back_bit_for_bit_and_damage_is_found() {
        let block = Block::of(vec![
            row(9, 1, 0.1),
            row(u128::MAX, 2, -5.0),
            row(3, 3, 1e300),
            row(9, 1, 0.2),
        ]);
        assert_eq!(
            block
                .rows
                .iter()
                .map(|row| (row.series, row.measures[0]))
                .collect::<Vec<_>>(),
            [(3, 1e300), (9, 0.2), (u128::MAX, -5.0)]
        );
        let bytes = block.encode();
        let back = Block::decode(&bytes).unwrap();
        assert_eq!(back.encode(), bytes);
        assert_eq!(
            back.rows[0].measures.map(f64::to_bits),
            block.rows[0].measures.map(f64::to_bits)
        );
        assert_eq!(
            Block::decode(&Block::default().encode()).unwrap(),
            Block::default()
        );
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(Block::decode(&damaged).is_err(), "byte {at}");
            assert!(Block::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_later_offset_wins_whatever_the_order() {
        let (old, new) = (
            Block::of(vec![row(1, 5, 1.0), row(2, 5, 2.0)]),
            Block::of(vec![row(2, 9, 20.0), row(3, 9, 30.0)]),
        );
        let sums = |block: &Block| {
            block
                .rows
                .iter()
                .map(|row| (row.series, row.measures[0]))
                .collect::<Vec<_>>()
        };
        for (mut first, second) in [(old.clone(), new.clone()), (new, old)] {
            first.absorb(second);
            assert_eq!(sums(&first), [(1, 1.0), (2, 20.0), (3, 30.0)]);
        }
    }
}
