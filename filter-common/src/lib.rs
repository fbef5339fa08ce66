//! Facts and decisions: bytes become a [`Segment`], a segment and the state of its
//! flow become a [`Reason`] and a change of that state.
//!
//! Nothing here knows a kernel, a clock or a map. The packet programs, the loader, the
//! tests and every later tool call the same code, so that what is verified is what runs.
//! The rules (R1, R2, disarm, lifetimes) are described in `docs/architecture.md`.
//!
//! [`wire`] makes a [`Segment`] of a frame, [`decide`] a decision of a segment. The close of
//! Microsoft's article Q152474, judged segment by segment:
//!
//! ```
//! use filter_common::{
//!     Closer, Direction::{FromClient, FromServer}, Flags, Mode, Policy, Reason, SeqNum, Segment,
//!     Ticks, Verdict, decide, segment::Options,
//! };
//!
//! // Time is in whatever unit the caller counts: milliseconds, here.
//! let policy = Policy {
//!     mode: Mode::Enforce,
//!     closer: Closer::Client,
//!     rst_guard: false,
//!     window: Ticks(500),
//!     budget: 3,
//!     half_closed_lifetime: Ticks(3_600_000),
//!     one_sided_lifetime: Ticks(60_000),
//!     closed_lifetime: Ticks(240_000),
//! };
//! let fin = Flags::FIN.with(Flags::ACK);
//! let close = [
//!     (0, FromClient, fin, 23, 1, Reason::FlowCreated),
//!     (40, FromServer, fin, 601, 24, Reason::ServerFin),
//!     (41, FromClient, Flags::ACK, 24, 602, Reason::FirstAck),
//!     // A timer makes the client acknowledge the server's FIN again.
//!     (241, FromClient, Flags::ACK, 24, 602, Reason::SpuriousAckDropped),
//! ];
//! let mut flow = None;
//! for (at, direction, flags, seq, ack, expected) in close {
//!     let segment = Segment {
//!         seq: SeqNum(seq),
//!         ack: SeqNum(ack),
//!         flags,
//!         payload: 0,
//!         options: Options::Plain,
//!     };
//!     let decision = decide(flow, direction, &segment, Ticks(at), &policy);
//!     decision.change.apply(&mut flow);
//!     assert_eq!(decision.reason, expected);
//! }
//! assert_eq!(Reason::SpuriousAckDropped.verdict(), Verdict::Drop);
//! ```

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
