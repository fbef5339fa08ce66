//! Captures: what is in them, which clients show the fault, and what the filter would have done.
//!
//! Needs no kernel and no rights. Reads ([`capture`]), judges with the state machine that runs in
//! the kernel ([`Analyzer`]), and draws ([`ladder`]).

pub mod capture;
pub mod ladder;
pub mod report;
