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

/// What the loader fixes in the packet programs before it loads them: read-only data, so
/// that the kernel's verifier removes what is switched off.
///
/// Ticks are jiffies; a flag is 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Configuration {
    /// Key of the 4-tuple hash, drawn anew for each instance.
    pub secret: u64,
    /// [`Policy::window`].
    pub window: Ticks,
    /// [`Policy::half_closed_lifetime`].
    pub half_closed_lifetime: Ticks,
    /// [`Policy::closed_lifetime`].
    pub closed_lifetime: Ticks,
    /// Number of slots of the expiry array less one; they are a power of two.
    pub slot_mask: u32,
    /// [`Policy::budget`].
    pub budget: u8,
    /// Whether the interface leads to the clients.
    pub lan: u8,
    /// Whether decisions are carried out.
    pub enforce: u8,
    /// [`Policy::rst_guard`].
    pub rst_guard: u8,
    /// Whether each decision is logged.
    pub log_decisions: u8,
    /// Always 0.
    pub reserved: [u8; 7],
}

impl Configuration {
    /// What an object holds that nobody configured: it drops nothing.
    pub const INERT: Self = Self {
        secret: 0,
        window: Ticks(0),
        half_closed_lifetime: Ticks(0),
        closed_lifetime: Ticks(0),
        slot_mask: 0,
        budget: 0,
        lan: 0,
        enforce: 0,
        rst_guard: 0,
        log_decisions: 0,
        reserved: [0; 7],
    };

    /// What bounds R1 and R2. The packet programs read the fields that they need instead.
    #[must_use]
    pub const fn policy(&self) -> Policy {
        Policy {
            mode: if self.enforce == 0 {
                Mode::Monitor
            } else {
                Mode::Enforce
            },
            rst_guard: self.rst_guard != 0,
            window: self.window,
            budget: self.budget,
            half_closed_lifetime: self.half_closed_lifetime,
            closed_lifetime: self.closed_lifetime,
        }
    }
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding.
unsafe impl aya::Pod for Configuration {}

/// Most interfaces that one instance counts apart.
pub const MOST_INTERFACES: u32 = 256;
/// How far from `ifindex % MOST_INTERFACES` on an interface's entry may be.
pub const INTERFACE_PROBES: u32 = 4;
