//! The run-length and bit-packed hybrid of the Parquet format, by which levels and dictionary keys are stored.

/// Values that share a bit-packed group.
const GROUP: usize = 8;

/// Values of one bit width, encoded as they come: long repetitions as a count and a value, everything else packed.
pub(super) struct Hybrid {
    width: u32,
    bytes: Vec<u8>,
    /// Values of the bit-packed stretch that is not written yet.
    packed: Vec<u32>,
}

impl Hybrid {
    /// For values of up to `max`.
    pub(super) fn up_to(max: u32) -> Self {
        Hybrid {
            // A width of 0 is legal, but one bit costs nothing and no reader stumbles over it.
            width: (u32::BITS - max.leading_zeros()).max(1),
            bytes: Vec::new(),
            packed: Vec::new(),
        }
    }

    /// Bits per value.
    pub(super) fn width(&self) -> u32 {
        self.width
    }

    /// Adds a value `count` times.
    pub(super) fn repeat(&mut self, value: u32, count: usize) {
        let missing = self.packed.len().next_multiple_of(GROUP) - self.packed.len();
        let filling = missing.min(count);
        self.packed.extend(std::iter::repeat_n(value, filling));
        let count = count - filling;
        if count < GROUP {
            self.packed.extend(std::iter::repeat_n(value, count));
            return;
        }
        self.flush_packed();
        self.header((count as u64) << 1);
        let value_bytes = self.width.div_ceil(8) as usize;
        self.bytes
            .extend_from_slice(&value.to_le_bytes()[..value_bytes]);
    }

    /// Adds values in order.
    pub(super) fn extend(&mut self, values: &[u32]) {
        self.packed.extend_from_slice(values);
    }

    /// The encoded bytes. The last group is filled up with zeros, which readers skip.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let full = self.packed.len().next_multiple_of(GROUP);
        self.packed.resize(full, 0);
        self.flush_packed();
        self.bytes
    }

    fn flush_packed(&mut self) {
        if self.packed.is_empty() {
            return;
        }
        let groups = self.packed.len() / GROUP;
        self.header(((groups as u64) << 1) | 1);
        self.bytes.reserve(groups * self.width as usize);
        // At most 31 bits wait, so that 32 more always fit.
        let (mut waiting, mut bits) = (0u64, 0);
        for value in self.packed.drain(..) {
            waiting |= u64::from(value) << bits;
            bits += self.width;
            if bits >= 32 {
                self.bytes
                    .extend_from_slice(&(waiting as u32).to_le_bytes());
                waiting >>= 32;
                bits -= 32;
            }
        }
        self.bytes
            .extend_from_slice(&waiting.to_le_bytes()[..bits.div_ceil(8) as usize]);
    }

    /// A header in 7-bit groups, lowest first.
    fn header(&mut self, mut header: u64) {
        while header >= 0x80 {
            self.bytes.push(header as u8 | 0x80);
            header >>= 7;
        }
        self.bytes.push(header as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_as_the_format_page_shows() {
        // The example of the Parquet format: 0..7 in three bits each.
        let mut hybrid = Hybrid::up_to(7);
        hybrid.extend(&[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(
            hybrid.finish(),
            [0b11, 0b1000_1000, 0b1100_0110, 0b1111_1010]
        );
    }

    #[test]
    fn long_repetitions_are_counted() {
        let mut hybrid = Hybrid::up_to(300);
        hybrid.repeat(257, 1000);
        assert_eq!(hybrid.width(), 9);
        // 1000 << 1 = 2000 as a varint, then the value in two bytes.
        assert_eq!(hybrid.finish(), [0xD0, 0x0F, 0x01, 0x01]);
    }

    #[test]
    fn a_repetition_first_fills_the_open_group() {
        let mut hybrid = Hybrid::up_to(1);
        hybrid.extend(&[0, 0, 0]);
        hybrid.repeat(1, 5 + 8);
        // One packed group, then eight ones counted.
        assert_eq!(hybrid.finish(), [0b11, 0b1111_1000, 16, 1]);
    }

    #[test]
    fn a_short_end_is_filled_with_zeros() {
        let mut hybrid = Hybrid::up_to(1);
        hybrid.repeat(1, 3);
        assert_eq!(hybrid.finish(), [0b11, 0b0000_0111]);
    }
}
