//! Facts and decisions: bytes become a [`Segment`], a segment and the state of its
//! flow become a [`Reason`] and a change of that state.
//!
//! Nothing here knows a kernel, a clock or a map. The packet programs, the loader, the
//! tests and every later tool call the same code, so that what is verified is what runs.
//! The rules (R1, R2, disarm, lifetimes) are described in `docs/architecture.md`.

#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

pub mod close;
pub mod expiry;
pub mod flow;
pub mod layout;
#[cfg(feature = "user")]
mod plain_data;
pub mod policy;
pub mod record;
pub mod segment;
pub mod seq;
pub mod verdict;
pub mod wire;

/// Where these sources are. Who builds the packet programs builds them with the same.
#[doc(hidden)]
pub const SOURCES: &str = env!("CARGO_MANIFEST_DIR");

pub use close::{Decision, Machine, decide};
pub use flow::{Change, ClientHalf, Effects, Flow, Phase, ServerHalf};
pub use policy::{Closer, Mode, Moment, Policy, Ticks};
pub use record::{EventRecord, HostRecord};
pub use segment::{Direction, Flags, FlowKey, Segment};
pub use seq::SeqNum;
pub use verdict::{Fault, Reason, SETTLED, Tallies, Verdict};
