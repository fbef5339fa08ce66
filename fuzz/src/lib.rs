//! What must hold of any octets, whoever made them up.
//!
//! One module a target: [`wire`] gives a frame to the parser and to an independent one;
//! [`close`] makes octets a trace of segments for the state machine; [`traffic`] makes them
//! a trace of frames for parser, expiry array and machine; [`capture`] takes them for a file to
//! read, analyse and write. Each has a `check` that tells what is broken. libFuzzer calls it
//! (`fuzz_targets/`, `cargo xtask fuzz`), and so do the tests, with the committed corpus and with
//! what [`mutation`] makes.

#[path = "../../filter-common/tests/frames/mod.rs"]
mod frames;

pub mod capture;
pub mod close;
pub mod mutation;
pub mod seeds;
pub mod traffic;
pub mod wire;

use std::fmt::Write as _;

/// Octets to paste elsewhere: of very long ones only the headers.
#[must_use]
pub fn hex(octets: &[u8]) -> String {
    let mut hex = String::new();
    for octet in octets.iter().take(4096) {
        // A string takes all.
        write!(hex, "{octet:02x}").ok();
    }
    hex
}

/// A target's name, and what it says of octets: nothing, or what is broken.
pub type Target = (&'static str, fn(&[u8]) -> Result<(), String>);

/// All of them.
pub const TARGETS: [Target; 4] = [
    ("wire", |octets| wire::check(octets).map(drop)),
    ("close", |octets| close::check(octets).map(drop)),
    ("traffic", |octets| traffic::check(octets).map(drop)),
    ("capture", |octets| capture::check(octets).map(drop)),
];
