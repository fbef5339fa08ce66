//! TCP sequence numbers: 32-bit serial numbers that wrap (RFC 9293, section 3.4).

/// A sequence or acknowledgment number.
///
/// Has no `Ord`: serial numbers are ordered only within half of their space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// The number `count` octets of sequence space further on.
    #[inline(always)]
    #[must_use]
    pub const fn plus(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// Whether `self` is before `other`: less than 2^31 octets separate them.
    #[inline(always)]
    #[must_use]
    pub const fn precedes(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() < 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn order_holds_across_the_wrap() {
        let before = SeqNum(u32::MAX);
        assert_eq!(before.plus(1), SeqNum(0));
        assert!(before.precedes(SeqNum(0)));
        assert!(!SeqNum(0).precedes(before));
    }

    proptest! {
        #[test]
        fn a_number_precedes_all_of_the_next_half(start: u32, distance in 1..(1_u32 << 31)) {
            let (start, later) = (SeqNum(start), SeqNum(start).plus(distance));
            prop_assert!(start.precedes(later));
            prop_assert!(!later.precedes(start));
            prop_assert!(!start.precedes(start));
        }
    }
}
