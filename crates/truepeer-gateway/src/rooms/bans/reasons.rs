//! Reasons that many bans share are kept once: a feed of hundreds of thousands of them has a handful.
//!
//! Asked by the table for each new ban. Knows no ban.

use std::collections::HashSet;

use super::order::BanReason;

/// So many different reasons are known again. When there are more, all are forgotten: bans keep theirs.
const MOST: usize = 256;

/// The reasons of late.
#[derive(Debug, Clone, Default)]
pub(super) struct Reasons(HashSet<BanReason>);

impl Reasons {
    /// The same reason, in the memory of one that came before where there is one.
    pub(super) fn once(&mut self, reason: &BanReason) -> BanReason {
        if let Some(known) = self.0.get(reason) {
            return known.clone();
        }
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(reason.clone());
        reason.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_comes_again_takes_no_memory_and_many_different_ones_are_no_harm() {
        let mut reasons = Reasons::default();
        let place = |reason: &BanReason| reason.as_str().as_ptr();
        let first = reasons.once(&BanReason::new("crowdsec ssh-bf"));
        let again = BanReason::new("crowdsec ssh-bf");
        assert_ne!(place(&again), place(&first));
        assert_eq!(place(&reasons.once(&again)), place(&first));
        for number in 0..10_000 {
            let reason = BanReason::new(&number.to_string());
            assert_eq!(reasons.once(&reason), reason);
            assert!(reasons.0.len() <= MOST);
        }
        assert_eq!(reasons.once(&again), first);
    }
}
