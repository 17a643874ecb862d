//! Compression of small pieces: one compressor and one decompressor per thread, since to make one costs more than to compress a kilobyte.

use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

/// The fastest level: on columnar batches it takes about 2.5 ms per MB and halves what a faster codec would leave.
const LEVEL: i32 = 1;
/// The first of the levels that leave single bytes as they are.
const LEVEL_QUICK: i32 = -1;

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The bytes as one zstd frame.
///
/// # Errors
/// If zstd has no memory.
pub fn pack(plain: &[u8]) -> io::Result<Vec<u8>> {
    compress(plain, LEVEL)
}

/// The same without the tables of how frequent each byte is: of a few hundred bytes that keeps nine tenths of what compression saves, for less than half of the time.
///
/// # Errors
/// As [`pack`].
pub(crate) fn pack_quickly(plain: &[u8]) -> io::Result<Vec<u8>> {
    compress(plain, LEVEL_QUICK)
}

fn compress(plain: &[u8], level: i32) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        let compressor = match compressor {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(level)?),
        };
        compressor.set_parameter(CParameter::CompressionLevel(level))?;
        compressor.compress(plain)
    })
}

/// What [`pack`] was given, if it was at most `plain_bytes_max`.
///
/// # Errors
/// For what is no whole frame, or would be longer.
pub fn unpack(packed: &[u8], plain_bytes_max: usize) -> io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|decompressor| match decompressor {
        Some(decompressor) => decompressor.decompress(packed, plain_bytes_max),
        none => none
            .insert(Decompressor::new()?)
            .decompress(packed, plain_bytes_max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked_again_and_again_also_after_damage() {
        for bytes in [0, 1, 700, 100_000] {
            let plain: Vec<u8> = (0..bytes).map(|i: u32| (i / 7) as u8).collect();
            let quickly = pack_quickly(&plain).unwrap();
            assert_eq!(unpack(&quickly, plain.len()).unwrap(), plain);
            let packed = pack(&plain).unwrap();
            assert_eq!(unpack(&packed, plain.len()).unwrap(), plain);
            if bytes > 0 {
                assert!(unpack(&packed, plain.len() - 1).is_err());
                assert!(unpack(&packed[..packed.len() - 1], plain.len()).is_err());
            }
        }
        assert!(unpack(b"no frame", 100).is_err());
    }
}
