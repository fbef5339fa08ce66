//! The Debian package, in a Debian of its own that systemd has booted: installed, started, upgraded,
//! removed and purged, and what its documents tell to do. The Debian is a container on this machine's
//! kernel, whose network is the lab's gateway. Needs root, mmdebstrap, systemd-nspawn, lintian, prometheus
//! and promtool, and for the first time Debian's archive.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod debian;
#[path = "../instance/mod.rs"]
mod instance;
mod journal;
mod lifecycle;
mod machine;
mod made;
mod operator;
mod removal;
