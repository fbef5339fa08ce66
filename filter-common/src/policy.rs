//! Settings that the decision depends on, fixed while a program is loaded.

/// An instant or a span in ticks of the caller's clock.
///
/// The kernel programs count jiffies; other callers choose what they need. Within one flow
/// table all ticks are of one clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Ticks(pub u64);

impl Ticks {
    /// The time from `earlier` to `self`; zero where the clock ran backwards.
    #[inline(always)]
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

/// Whether a decision is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// What is decided is done.
    Enforce,
    /// Nothing is changed on the wire; what would have been dropped is counted.
    Monitor,
}

/// What bounds R1 and R2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether drops happen or are only counted.
    pub mode: Mode,
    /// R2: whether a server's RST after the close is dropped (RFC 1337, fix F1).
    pub rst_guard: bool,
    /// R1.4: how long after a forwarded ACK the next may be dropped. RFC 1122, section
    /// 4.2.3.2, bounds a delayed ACK by 500 ms.
    pub window: Ticks,
    /// R1.5: how many segments of one flow may be dropped.
    pub budget: u8,
    /// Idle lifetime of a flow that is not Closed yet.
    pub half_closed_lifetime: Ticks,
    /// Idle lifetime of a Closed flow.
    pub closed_lifetime: Ticks,
}
