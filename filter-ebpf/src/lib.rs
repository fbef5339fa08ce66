//! lastack's packet programs: XDP on arriving packets, TC on arriving and on leaving ones.
//!
//! They are the binaries of this package, and built for the BPF target alone, with the feature
//! `programs`: `lastack-ebpf`, which tells nobody what it does, `lastack-ebpf-telling`, the same with
//! events and the log of decisions, and `lastack-clock`, which tells user space what time it is to
//! them. The build script of the package `filter-user`, which loads them, builds them.
//!
//! This library has nothing but what that script asks for. What the programs decide is decided by
//! the package `filter-common`.

#![no_std]

/// Where these sources are.
pub const SOURCES: &str = env!("CARGO_MANIFEST_DIR");
