//! Settings that the decision depends on, fixed while a program is loaded.

use crate::segment::{Direction, Flags};

/// An instant or a span in ticks of the caller's clock.
///
/// The kernel programs count jiffies; other callers choose what they need. Within one flow
/// table all ticks are of one clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Ticks(pub u64);

impl Ticks {
    /// The time from `earlier` to `self`; zero where the clock ran backwards, or where
    /// `earlier` is more than 2^31 ticks ago.
    #[inline(always)]
    #[must_use]
    pub const fn since(self, earlier: Moment) -> Self {
        let span = Moment::of(self).0.wrapping_sub(earlier.0).cast_signed();
        if span < 0 {
            Self(0)
        } else {
            Self(span.cast_unsigned() as u64)
        }
    }
}

/// A recent instant, as a flow keeps it: the lower half of [`Ticks`], in serial arithmetic.
///
/// A flow that nothing touched for 2^31 ticks (three weeks at 1000 a second) looks young again.
/// It then drops what has both of its exact sequence numbers, as it would have done before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Moment(u32);

impl Moment {
    /// No instant.
    pub const NEVER: Self = Self(0);

    /// The instant of the full clock.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "serial arithmetic wraps")]
    pub const fn of(ticks: Ticks) -> Self {
        match ticks.0 as u32 {
            0 => Self(1),
            lower => Self(lower),
        }
    }

    /// The later of two, [`NEVER`](Self::NEVER) before any other.
    #[inline(always)]
    #[must_use]
    pub const fn later(self, other: Self) -> Self {
        let is_later = other.0.wrapping_sub(self.0).cast_signed() > 0;
        if self.0 == 0 || is_later && other.0 != 0 {
            other
        } else {
            self
        }
    }

    /// The full clock's instant, seen from `now`.
    #[inline(always)]
    #[must_use]
    pub const fn seen_from(self, now: Ticks) -> Ticks {
        let ahead = self.0.wrapping_sub(Self::of(now).0).cast_signed();
        Ticks(now.0.wrapping_add_signed(ahead as i64))
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

/// Whose FIN makes a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closer {
    /// The client's; the server's counts once it acknowledges exactly that one, so that the
    /// server is in LAST-ACK.
    Client,
    /// Either's, and neither need have come second: for servers that keep no TIME-WAIT.
    Either,
}

/// What bounds R1 and R2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether drops happen or are only counted.
    pub mode: Mode,
    /// Which closes are served.
    pub closer: Closer,
    /// R2: whether a server's RST after the close is dropped (RFC 1337, fix F1).
    pub rst_guard: bool,
    /// R1.4: how long after a forwarded ACK the next may be dropped. RFC 1122, section
    /// 4.2.3.2, bounds a delayed ACK by 500 ms.
    pub window: Ticks,
    /// R1.5: how many segments of one flow may be dropped.
    pub budget: u8,
    /// Idle lifetime of a flow that is not Closed yet.
    pub half_closed_lifetime: Ticks,
    /// The same of a flow of which only the side was seen whose FIN made it.
    ///
    /// An endpoint acknowledges a FIN at once, or else the FIN is sent again, and makes the flow again. So a
    /// short one loses nothing, and whoever sends FINs of connections that do not exist occupies no
    /// more than this.
    pub one_sided_lifetime: Ticks,
    /// Idle lifetime of a Closed flow.
    pub closed_lifetime: Ticks,
}

impl Policy {
    /// Whether a segment that belongs to no flow makes one.
    #[inline(always)]
    #[must_use]
    pub const fn opens(&self, direction: Direction, flags: Flags) -> bool {
        let serves = matches!(
            (direction, self.closer),
            (Direction::FromClient, _) | (Direction::FromServer, Closer::Either)
        );
        serves && flags.finishes()
    }
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
    /// [`Policy::one_sided_lifetime`].
    pub one_sided_lifetime: Ticks,
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
    /// Whose decisions are logged: nobody's (0), everybody's (1), or those about `log_client` (2).
    pub log_decisions: u8,
    /// Whether only flows of some clients are made.
    pub scoped_clients: u8,
    /// Whether only flows to some of the servers' ports are made.
    pub scoped_ports: u8,
    /// Whether either side's FIN makes a flow, and not only the client's.
    pub either: u8,
    /// Whether each drop and each reset is reported.
    pub events: u8,
    /// Always 0.
    pub reserved: [u8; 3],
    /// As in a flow's key.
    pub log_client: [u32; 4],
}

impl Configuration {
    /// What an object holds that nobody configured: it drops nothing.
    pub const INERT: Self = Self {
        secret: 0,
        window: Ticks(0),
        half_closed_lifetime: Ticks(0),
        one_sided_lifetime: Ticks(0),
        closed_lifetime: Ticks(0),
        slot_mask: 0,
        budget: 0,
        lan: 0,
        enforce: 0,
        rst_guard: 0,
        log_decisions: 0,
        scoped_clients: 0,
        scoped_ports: 0,
        either: 0,
        events: 0,
        reserved: [0; 3],
        log_client: [0; 4],
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
            closer: if self.either == 0 {
                Closer::Client
            } else {
                Closer::Either
            },
            rst_guard: self.rst_guard != 0,
            window: self.window,
            budget: self.budget,
            half_closed_lifetime: self.half_closed_lifetime,
            one_sided_lifetime: self.one_sided_lifetime,
            closed_lifetime: self.closed_lifetime,
        }
    }
}

/// Entries for the interfaces of one instance.
pub const MOST_INTERFACES: u32 = 256;
/// The entry of interfaces that are not served; it is never another's, so that eight bits tell all
/// entries apart.
pub const UNSERVED: u32 = 0;
/// How far from `ifindex % MOST_INTERFACES` on an interface's entry may be.
pub const INTERFACE_PROBES: u32 = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_moment_is_as_old_as_the_instant_that_it_was_made_of(
            then in any::<u32>().prop_map(u64::from),
            age in 0..1_u64 << 31,
        ) {
            let (then, now) = (then + (1 << 32), then + (1 << 32) + age);
            let moment = Moment::of(Ticks(then));
            // One instant in 2^32 counts as the next.
            let slack = u64::from(then.trailing_zeros() >= 32);
            let since = Ticks(now).since(moment).0;
            prop_assert!(since <= age && since + slack >= age);
            let seen = moment.seen_from(Ticks(now)).0;
            prop_assert!(seen >= then && seen <= then + slack);
        }

        #[test]
        fn the_later_moment_is_later(then in 0..u64::MAX / 2, age in 1..1_u64 << 31) {
            let (first, second) = (Moment::of(Ticks(then)), Moment::of(Ticks(then + age)));
            prop_assert_eq!(first.later(second), second);
            prop_assert_eq!(second.later(first), second);
            prop_assert_eq!(first.later(Moment::NEVER), first);
            prop_assert_eq!(Moment::NEVER.later(first), first);
        }
    }

    #[test]
    fn a_clock_that_ran_backwards_has_come_no_further() {
        assert_eq!(Ticks(5).since(Moment::of(Ticks(7))), Ticks(0));
    }
}
