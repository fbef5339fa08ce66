//! The expiry array: what an ordinary packet asks instead of the flow table.
//!
//! A slot, chosen by a keyed hash of the oriented 4-tuple, holds the time until which a
//! flow that hashes there may live, and a tag, which is another part of the hash. A packet whose
//! slot has expired, or has another flow's tag, has no closing flow. A slot that two flows
//! share lives as long as the one that lives longer and has no tag of its own; there is nothing
//! to clean up. A false positive costs a look-up in the flow table.

use crate::policy::Ticks;

/// Log2 of the ticks in a unit of time. Coarse units let an active flow write its slot once
/// per unit.
const UNIT_BITS: u32 = 6;
const TAG_BITS: u32 = 10;
const TAG: u32 = (1 << TAG_BITS) - 1;
/// The tag of a slot that nobody has written. Its time is 0, which is ahead of the clock for half
/// of the time.
const NOBODY: u32 = 0;
/// The tag of a slot that flows with different ones share.
const SHARED: u32 = TAG;

/// One slot: the unit of time from which on no flow that hashes here is alive, in the upper 22
/// bits, and the tag.
///
/// Serial arithmetic: units wrap after 2^22, 2^28 ticks, and a slot that nobody wrote for half
/// of that looks alive: to packets with its tag, or to all if it is shared. One that nobody ever
/// wrote does not.
pub type Slot = u32;

/// The longest lifetime that a slot can tell from one that is over: a day and a half at 1000
/// ticks a second.
pub const LONGEST: Ticks = Ticks((1 << (31 - TAG_BITS + UNIT_BITS)) - (2 << UNIT_BITS));

/// Slots of one element of the array, whose elements have no less than 8 octets: a cache
/// line.
pub const SLOTS_PER_LINE: u32 = 16;
/// One element of the array.
pub type Line = [Slot; SLOTS_PER_LINE as usize];

/// Where the slot of a hash is: the element, and the slot in it. `mask` is the number of slots less
/// one.
#[inline(always)]
#[must_use]
pub const fn place(hash: u32, mask: u32) -> (u32, usize) {
    let slot = hash & mask;
    (slot / SLOTS_PER_LINE, (slot % SLOTS_PER_LINE) as usize)
}

/// The slot's value for a flow with this hash that lives for `lifetime` from `now` on.
#[inline(always)]
#[must_use]
pub const fn deadline(hash: u32, now: Ticks, lifetime: Ticks) -> Slot {
    units(now.0.wrapping_add(lifetime.0)).wrapping_add(1 << TAG_BITS) | tag(hash)
}

/// What a flow whose own value is `deadline` writes into its slot, if anything.
///
/// It never shortens the life of another flow's slot. Its own, which holds what it wrote
/// last, follows it in both directions, lest half-closed lifetimes fill the array with flows
/// that have long been closed. Another flow with the same slot and tag may then be forgotten early:
/// one that is silent for longer than the time that is written. It passes unseen.
#[inline(always)]
#[must_use]
pub fn renewed(there: Slot, before: Option<Slot>, deadline: Slot, now: Ticks) -> Option<Slot> {
    let is_free = there & TAG == NOBODY || !is_later(there, units(now.0));
    if is_free || Some(there) == before {
        return (deadline != there).then_some(deadline);
    }
    let both = if (there ^ deadline) & TAG == 0 {
        deadline & TAG
    } else {
        SHARED
    };
    let until = if is_later(deadline, there) {
        deadline
    } else {
        there
    };
    let shared = until & !TAG | both;
    (shared != there).then_some(shared)
}

/// Whether a flow with this hash may be alive.
#[inline(always)]
#[must_use]
pub const fn is_live(slot: Slot, hash: u32, now: Ticks) -> bool {
    is_later(slot, units(now.0)) && (slot & TAG == SHARED || slot & TAG == tag(hash))
}

/// Whether `slot` ends later than `other`, whatever their tags.
#[inline(always)]
const fn is_later(slot: Slot, other: Slot) -> bool {
    (slot & !TAG).wrapping_sub(other & !TAG).cast_signed() > 0
}

/// Where slots have them.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "serial arithmetic wraps")]
const fn units(ticks: u64) -> u32 {
    ((ticks >> UNIT_BITS) << TAG_BITS) as u32
}

/// Of the end of the hash that does not choose the slot.
#[inline(always)]
const fn tag(hash: u32) -> u32 {
    match hash >> (u32::BITS - TAG_BITS) {
        NOBODY => NOBODY + 1,
        SHARED => SHARED - 1,
        tag => tag,
    }
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
            hash: u32,
            now in 0..u64::MAX / 2,
            lifetime in 0..=LONGEST.0,
            after in 0..2 * LONGEST.0,
        ) {
            let slot = deadline(hash, Ticks(now), Ticks(lifetime));
            let later = Ticks(now + after);
            if after <= lifetime {
                prop_assert!(is_live(slot, hash, later));
            }
            // Until the numbers have gone half around.
            let over = lifetime + (2 << UNIT_BITS);
            if (over..over + LONGEST.0).contains(&after) {
                prop_assert!(!is_live(slot, hash, later));
            }
        }

        #[test]
        fn of_flows_that_share_a_slot_each_finds_it_alive(
            hashes: [u32; 3],
            start in 0..u64::MAX / 2,
            writes in proptest::collection::vec((0..3_usize, 0..9_000_u64, 0..20_000_u64), 1..9),
        ) {
            let (mut slot, mut now) = (0, start);
            let mut until: [Option<u64>; 3] = [None; 3];
            for (flow, pause, lifetime) in writes {
                now += pause;
                let mine = deadline(hashes[flow], Ticks(now), Ticks(lifetime));
                // Without what it wrote before, nothing is lowered.
                if let Some(written) = renewed(slot, None, mine, Ticks(now)) {
                    slot = written;
                }
                until[flow] = until[flow].max(Some(now + lifetime));
                for (hash, until) in hashes.into_iter().zip(until) {
                    if until.is_some_and(|until| until >= now) {
                        prop_assert!(is_live(slot, hash, Ticks(now)));
                    }
                }
            }
        }
    }

    #[test]
    fn a_flow_lowers_what_it_wrote_and_nothing_else() {
        let (now, hash, other) = (Ticks(1 << 30), 7, 7 | 1 << 31);
        let long = deadline(hash, now, Ticks(1 << 20));
        let short = deadline(hash, now, Ticks(1 << 10));
        assert_eq!(renewed(long, Some(long), short, now), Some(short));
        assert_eq!(renewed(long, Some(short), short, now), None);
        assert_eq!(renewed(long, None, short, now), None);
        let strangers = renewed(long, None, deadline(other, now, Ticks(0)), now);
        assert_eq!(strangers, Some(long | TAG));
    }

    #[test]
    fn strangers_that_hash_to_a_slot_are_told_apart() {
        let now = Ticks(1 << 30);
        let slot = deadline(7, now, Ticks(1 << 20));
        let strangers = (0..1 << TAG_BITS).map(|tag: u32| tag << (32 - TAG_BITS) | 7);
        let taken = strangers.filter(|&hash| is_live(slot, hash, now)).count();
        // Its own, and the tag that it stands for.
        assert_eq!(taken, 2);
    }

    proptest! {
        #[test]
        fn a_slot_that_nobody_wrote_is_alive_to_nobody(hash: u32, now: u64, lifetime in 0..=LONGEST.0) {
            prop_assert!(!is_live(0, hash, Ticks(now)));
            let mine = deadline(hash, Ticks(now), Ticks(lifetime));
            prop_assert_eq!(renewed(0, None, mine, Ticks(now)), Some(mine));
        }
    }

    #[test]
    fn an_active_flow_writes_its_slot_once_per_unit() {
        let mine = |now| deadline(7, Ticks(now), Ticks(1000));
        let now = 1 << 30;
        let before = Some(mine(now));
        assert_eq!(
            renewed(mine(now), before, mine(now + 1), Ticks(now + 1)),
            None
        );
        let later = now + (1 << UNIT_BITS);
        assert_eq!(
            renewed(mine(now), before, mine(later), Ticks(later)),
            Some(mine(later))
        );
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
