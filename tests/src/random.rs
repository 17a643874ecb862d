//! Seeded random numbers for tests: a failure names its seed, and the seed repeats it.

/// 2⁶⁴ divided by the golden ratio: the step of SplitMix64.
const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): spreads every input bit over the output.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// SplitMix64.
#[derive(Debug)]
pub struct Random {
    state: u64,
    /// The seed it was made of.
    pub seed: u64,
}

impl Random {
    /// The seed of the variable `TIDEWATCH_TEST_SEED`, else `default`.
    pub fn from_environment(default: u64) -> Self {
        let seed = std::env::var("TIDEWATCH_TEST_SEED")
            .ok()
            .map_or(default, |text| {
                text.parse().expect("TIDEWATCH_TEST_SEED is a number")
            });
        Random { state: seed, seed }
    }

    /// A number below `bound`, which is not 0. (The bias of the remainder is of no matter here.)
    pub fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        mix(self.state) % bound
    }
}
