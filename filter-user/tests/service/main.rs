//! `lastack run` as a service: what it tells systemd and the journal, the capabilities that it
//! needs and keeps, and its unit. Needs root, ip, tc, bpftool, curl, setpriv, unshare and systemd-analyze;
//! no systemd has to run.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod directory;
#[path = "../instance/mod.rs"]
mod instance;
mod journal;
mod manager;
mod notify;
mod privilege;
mod sandbox;
mod unit;

use filter_user::lab::namespace::Namespace;
use instance::wiring::ip;

/// An interface that comes and goes.
const UPLINK: &str = "up0";

fn add_uplink(gateway: &Namespace) {
    let pair = format!("link add {UPLINK} type veth peer name up0p");
    ip(gateway, &[&pair, &format!("link set {UPLINK} up")]);
}

fn remove_uplink(gateway: &Namespace) {
    ip(gateway, &[&format!("link del {UPLINK}")]);
}
