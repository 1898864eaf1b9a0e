//! A small generator of numbers for schedules: the same everywhere, so that a seed that fails replays.

/// SplitMix64, begun with a seed.
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `bound`, which is not 0.
    #[allow(clippy::arithmetic_side_effects, reason = "dice with no sides are a fault of the test")]
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// The same for small numbers.
    pub fn small(&mut self, bound: u8) -> u8 {
        u8::try_from(self.below(bound.into())).unwrap_or(u8::MAX)
    }

    /// The same for places in a list.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(usize::MAX)
    }

    /// Mostly small, seldom up to `most`.
    pub fn size(&mut self, most: u64) -> u64 {
        let below = most >> self.below(8);
        self.below(below.max(1))
    }

    /// Others, whose numbers do not depend on how many are taken here.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self(self.below(u64::MAX))
    }
}
