//! What matters of an interface's counters.

use std::ops::AddAssign;

use filter_common::Reason;

use crate::report::{InterfaceStatus, Status};

/// Counted since the instance loaded its programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Closes that were seen to their end.
    pub(super) closes: u64,
    /// Spurious ACKs that were dropped.
    pub(super) dropped: u64,
    /// Spurious ACKs that were passed, in monitor mode.
    pub(super) observed: u64,
    /// ACKs after a close that the server had asked for.
    pub(super) answers: u64,
    /// Resets that servers sent after a spurious ACK had passed, and that were passed.
    pub(super) resets_after_spurious: u64,
    /// Other resets of servers that were passed.
    pub(super) resets_other: u64,
    /// Resets that were suppressed.
    pub(super) suppressed: u64,
}

impl Figures {
    /// Those of one interface.
    pub(super) fn of(interface: &InterfaceStatus) -> Self {
        let count = |reason: Reason| {
            let packets = interface.packets.get(reason.as_str());
            packets.copied().unwrap_or_default()
        };
        Self {
            closes: count(Reason::FirstAck),
            dropped: interface.spurious_acks_dropped,
            observed: interface.spurious_acks_observed,
            answers: count(Reason::ElicitedAck),
            resets_after_spurious: count(Reason::ResetAfterSpuriousAck),
            resets_other: count(Reason::ResetAfterClose) + count(Reason::ResetOther),
            suppressed: count(Reason::ResetAfterSpuriousAckSuppressed)
                + count(Reason::ResetAfterCloseSuppressed),
        }
    }

    /// Those of all interfaces.
    pub(super) fn sum(status: &Status) -> Self {
        let mut sum = Self::default();
        for interface in &status.interfaces {
            sum += Self::of(interface);
        }
        sum
    }

    /// Resets that were passed.
    pub(super) const fn resets(&self) -> u64 {
        self.resets_after_spurious + self.resets_other
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.closes += other.closes;
        self.dropped += other.dropped;
        self.observed += other.observed;
        self.answers += other.answers;
        self.resets_after_spurious += other.resets_after_spurious;
        self.resets_other += other.resets_other;
        self.suppressed += other.suppressed;
    }
}
