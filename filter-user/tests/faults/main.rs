//! What goes wrong around lastack. After each fault: nothing is left on the hooks, or all of what is
//! pinned; no traffic is lost; one line says what, where and what to do; and the next start works.
//! Needs root, strace, bpftool, tc, ip and prlimit.
//!
//! System calls that fail or kill are a sample here. With `LASTACK_FAULTS=all`, which is
//! `cargo xtask faults`, every one of them goes wrong in every way; with `each`, in one.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod beside;
mod errors;
#[path = "../instance/mod.rs"]
mod instance;
mod kills;
mod limits;
mod matrix;
mod pins;
mod stage;
mod strace;
mod streams;
mod traffic;
mod unreplaced;
