//! `lastack run` on links for which the kernel needs modules that many a machine lacks. So these
//! tests are ignored there, and `cargo xtask vm` runs them, with Debian's kernel. They need root,
//! ip, ethtool, nft, wg, pppd, pppoe-server, nginx, curl and iperf3.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod bond;
#[path = "../instance/mod.rs"]
mod instance;
mod nat;
mod pppoe;
mod vlan;
mod wireguard;

use instance::{
    cure::assert_cured,
    expected::{tc, xdp},
    traffic::{self, Servers},
    wiring::Network,
};

/// Has packets that arrive looked at by TC where XDP could do it, too.
const BY_TC: [&str; 2] = ["--ingress", "tc"];

/// The client with the fault is cured on an interface of the gateway, at these hooks.
#[track_caller]
fn assert_cured_on(network: &mut Network, interface: &str, hooks: [&str; 2], options: &[&str]) {
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    let cured = assert_cured(gateway, &mut client, &[interface], options);
    assert_eq!(cured.hooks(), hooks);
}

/// An ordinary host gets what it asks the server for, all of it, through a served interface.
#[track_caller]
fn assert_unharmed_on(network: &mut Network, interface: &str) {
    let host = network.topology.add_host().unwrap();
    let servers = Servers::start(&network.topology.server);
    traffic::assert_unharmed(
        (&network.topology.gateway, &[interface], &[]),
        (&servers, &host.namespace),
    );
}
