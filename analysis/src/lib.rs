//! Captures: what is in them, which clients show the fault, and what the filter would have done. It
//! is what `lastack analyze` is made of.
//!
//! Needs no kernel and no rights. Reads ([`capture`]), judges with the state machine that runs in
//! the kernel ([`Analyzer`]), and draws ([`ladder`]).

mod analyzer;
pub mod capture;
mod closing;
mod connections;
mod copies;
mod filter;
mod findings;
mod judge;
pub mod ladder;
pub mod report;
mod scribe;
mod segments;
mod selection;

pub use analyzer::{Analysis, Analyzer, Options};
pub use filter::Filter;
pub use findings::Span;
pub use scribe::Scribe;
pub use segments::{Endpoints, Judged, Judgement};
pub use selection::Selection;
