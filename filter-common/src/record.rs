//! What the packet programs keep or report for people to read.

use crate::{policy::Ticks, segment::FlowKey, seq::SeqNum, verdict::Reason};

/// What was counted for one client that shows the fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HostRecord {
    /// ACKs that nothing had asked for, dropped or only observed.
    pub spurious_acks: u64,
    /// ACKs whose cause an earlier one had answered already, likewise.
    pub redundant_acks: u64,
    /// Resets of servers after its spurious ACKs, passed or suppressed.
    pub resets: u64,
    /// When any of it was last counted.
    pub last: Ticks,
}

/// Clients that are known at once; the oldest give way.
pub const MOST_HOSTS: u32 = 4096;

/// One drop or one reset, as a packet program reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct EventRecord {
    /// Nanoseconds on `CLOCK_MONOTONIC`.
    pub time: u64,
    /// Of which flow.
    pub key: FlowKey,
    /// SEG.SEQ.
    pub seq: SeqNum,
    /// SEG.ACK.
    pub ack: SeqNum,
    /// The index of the interface.
    pub interface: u32,
    /// A [`Reason`], by its discriminant.
    pub reason: u8,
    /// Always 0.
    pub reserved: [u8; 7],
}

const _: () = assert!(size_of::<EventRecord>() == 64 && size_of::<HostRecord>() == 32);

/// Events that one CPU reports in a second; more are counted as lost.
pub const MOST_EVENTS: u64 = 1000;

/// What one CPU has reported of late, and what not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EventQuota {
    /// The second of `CLOCK_MONOTONIC` that it is about.
    pub second: u64,
    /// How many events were reported in it, or tried to be.
    pub taken: u64,
    /// How many never were since the start: over [`MOST_EVENTS`], or without room in the buffer.
    pub lost: u64,
}

impl EventRecord {
    /// Why; none where a later version has made the record.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        Reason::from_discriminant(self.reason)
    }
}
