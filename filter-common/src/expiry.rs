//! The expiry array: what an ordinary packet asks instead of the flow table.
//!
//! A slot, chosen by a keyed hash of the oriented 4-tuple, holds the time until which a
//! flow that hashes there may live. A packet whose slot has expired has no closing flow. A
//! slot that two flows share lives as long as the one that lives longer, and there is nothing
//! to clean up; a false positive costs a look-up in the flow table.

use crate::policy::Ticks;

/// Log2 of the ticks in a unit of a slot. Coarse units keep a slot at 32 bits and let an
/// active flow write its slot once per unit.
const UNIT_BITS: u32 = 6;

/// One slot: the unit of time from which on no flow that hashes here is alive.
///
/// Serial arithmetic: units wrap after 2^32, and a slot that nobody wrote for half of that
/// looks alive, which costs time and nothing else.
pub type Slot = u32;

/// The slot's value for a flow that lives for `lifetime` from `now` on.
#[inline(always)]
#[must_use]
pub const fn deadline(now: Ticks, lifetime: Ticks) -> Slot {
    units(now.0.wrapping_add(lifetime.0)).wrapping_add(1)
}

/// What a flow that is to live until `deadline` writes into its slot, if anything.
///
/// It never shortens the life of another flow's slot. Its own, which holds what it wrote
/// last, follows it in both directions, lest half-closed lifetimes fill the array with flows
/// that have long been closed. Another flow with the same slot may then be forgotten early: one
/// that is silent for longer than the time that is written. It passes unseen.
#[inline(always)]
#[must_use]
pub fn renewed(there: Slot, before: Option<Slot>, deadline: Slot) -> Option<Slot> {
    (is_later(deadline, there) || Some(there) == before).then_some(deadline)
}

/// Whether a flow that hashes to `slot` may be alive.
#[inline(always)]
#[must_use]
pub const fn is_live(slot: Slot, now: Ticks) -> bool {
    is_later(slot, units(now.0))
}

/// Whether `slot` ends later than `other`.
#[inline(always)]
#[must_use]
pub const fn is_later(slot: Slot, other: Slot) -> bool {
    slot.wrapping_sub(other).cast_signed() > 0
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "serial arithmetic wraps")]
const fn units(ticks: u64) -> u32 {
    (ticks >> UNIT_BITS) as u32
}

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A keyed hash of an oriented 4-tuple, built up as its parts are read.
///
/// The key keeps a stranger from choosing which slots share; multiply and fold, because a
/// packet program has neither 128-bit products nor time for more.
#[derive(Clone, Copy, Debug)]
pub struct TupleHash(u64);

impl TupleHash {
    /// Starts with the secret of one loaded instance.
    #[inline(always)]
    #[must_use]
    pub const fn new(secret: u64) -> Self {
        Self(secret)
    }

    /// Takes in two words.
    #[inline(always)]
    #[must_use]
    pub const fn words(self, first: u32, second: u32) -> Self {
        let mixed = (self.0 ^ ((first as u64) << 32 | second as u64)).wrapping_mul(MULTIPLIER);
        Self(mixed ^ mixed >> 32)
    }

    /// The hash.
    #[inline(always)]
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the upper half is folded in"
    )]
    pub const fn finish(self) -> u32 {
        self.0 as u32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_slot_outlives_every_flow_that_wrote_it(
            now in 0..u64::MAX / 2,
            lifetime in 0_u64..1 << 36,
            after in 0_u64..1 << 37,
        ) {
            let slot = deadline(Ticks(now), Ticks(lifetime));
            let later = Ticks(now + after);
            if after <= lifetime {
                prop_assert!(is_live(slot, later));
            }
            if after > lifetime + (2 << UNIT_BITS) {
                prop_assert!(!is_live(slot, later));
            }
        }
    }

    #[test]
    fn hashes_of_neighbouring_tuples_fill_the_slots_evenly() {
        const SLOTS: u32 = 1 << 12;
        let mut load = vec![0_u32; SLOTS as usize];
        for port in 0..SLOTS {
            let hash = TupleHash::new(7)
                .words(0x0a00_0001, 0x0a00_0002)
                .words(port, 80)
                .finish();
            load[(hash % SLOTS) as usize] += 1;
        }
        // As many balls as bins, thrown at random: a fullest bin above 12 has odds below 1e-5.
        assert!(load.iter().max() <= Some(&12), "{:?}", load.iter().max());
    }

    #[test]
    fn another_secret_gives_another_slot() {
        let hash = |secret| TupleHash::new(secret).words(1, 2).words(3, 4).finish();
        assert_ne!(hash(1), hash(2));
    }
}
