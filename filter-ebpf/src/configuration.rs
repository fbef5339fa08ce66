//! The settings, as read-only data that the loader fixes before the programs are loaded.

#![expect(
    unsafe_code,
    reason = "the loader writes this static, so it is read as volatile, and found by its symbol"
)]

use aya_ebpf::Global;
use filter_common::{Closer, Direction, Flags, Mode, Policy, Ticks, policy::Configuration};

use crate::filter::Hook;

#[unsafe(no_mangle)]
pub(crate) static CONFIGURATION: Global<Configuration> = Global::new(Configuration::INERT);

/// Reads one field. Each on its own, so that the verifier knows its value and removes the
/// branches that it rules out; a copy of the whole would go over the stack.
macro_rules! field {
    ($name:ident) => {{
        let whole = (&raw const $crate::configuration::CONFIGURATION)
            .cast::<filter_common::policy::Configuration>();
        // SAFETY: a Global is its value, and always initialized. Volatile, because the
        // compiler must not take the value of the build for the loader's.
        unsafe { (&raw const (*whole).$name).read_volatile() }
    }};
}

#[inline(always)]
pub(crate) fn secret() -> u64 {
    field!(secret)
}

#[inline(always)]
pub(crate) fn slot_mask() -> u32 {
    field!(slot_mask)
}

/// Whether only flows of some clients are made.
#[inline(always)]
pub(crate) fn scopes_clients() -> bool {
    field!(scoped_clients) != 0
}

/// Whether only flows to some ports are made.
#[inline(always)]
pub(crate) fn scopes_ports() -> bool {
    field!(scoped_ports) != 0
}

/// The way that segments travel which a hook sees.
#[inline(always)]
pub(crate) fn direction(hook: Hook) -> Direction {
    match (hook, field!(lan) != 0) {
        (Hook::Egress, false) | (Hook::Ingress, true) => Direction::FromClient,
        (Hook::Ingress, false) | (Hook::Egress, true) => Direction::FromServer,
    }
}

#[inline(always)]
pub(crate) fn half_closed_lifetime() -> Ticks {
    field!(half_closed_lifetime)
}

#[inline(always)]
pub(crate) fn one_sided_lifetime() -> Ticks {
    field!(one_sided_lifetime)
}

/// [`Policy::opens`], without the fields that it does not look at: an ordinary packet asks.
#[inline(always)]
pub(crate) fn opens(direction: Direction, flags: Flags) -> bool {
    let serves = match direction {
        Direction::FromClient => true,
        Direction::FromServer => closer() == Closer::Either,
    };
    serves && flags.finishes()
}

#[inline(always)]
pub(crate) fn closer() -> Closer {
    if field!(either) == 0 {
        Closer::Client
    } else {
        Closer::Either
    }
}

#[inline(always)]
pub(crate) fn policy() -> Policy {
    Policy {
        mode: if field!(enforce) == 0 {
            Mode::Monitor
        } else {
            Mode::Enforce
        },
        closer: closer(),
        rst_guard: field!(rst_guard) != 0,
        window: field!(window),
        budget: field!(budget),
        half_closed_lifetime: half_closed_lifetime(),
        one_sided_lifetime: one_sided_lifetime(),
        closed_lifetime: field!(closed_lifetime),
    }
}
