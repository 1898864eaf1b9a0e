//! A number in six bytes, for what each of thousands of connections holds.

/// Up to 2^48 - 1: enough for ticks of 4 ms in 35,000 years, for milliseconds in 8,900, and for a million connections a
/// second in nine. What is greater is that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct U48([u16; 3]);

impl U48 {
    const MOST: u64 = (1 << 48) - 1;
}

impl From<u64> for U48 {
    fn from(number: u64) -> Self {
        let number = number.min(Self::MOST);
        Self([0, 16, 32].map(|bits| u16::try_from(number >> bits & 0xffff).unwrap_or(u16::MAX)))
    }
}

impl From<U48> for u64 {
    fn from(U48([low, middle, high]): U48) -> Self {
        Self::from(low) | Self::from(middle) << 16 | Self::from(high) << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_the_same_and_what_does_not_is_the_most() {
        for number in [0, 1, 0xffff, 0x1_0000, 0x1234_5678_9abc, U48::MOST] {
            assert_eq!(u64::from(U48::from(number)), number);
        }
        assert_eq!(u64::from(U48::from(u64::MAX)), U48::MOST);
    }
}
