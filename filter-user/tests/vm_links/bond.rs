//! Bonds, and their ports.

use filter_user::lab::topology::{WAN, WAN2};

use super::{
    assert_cured_on,
    instance::{
        cure::assert_cured,
        wiring::{Network, connect, ip},
    },
    xdp,
};

const BOND: &str = "bond0";

/// The lab's network with two links between the gateway and the server: the gateway has them in
/// an active-backup bond, the server in a bridge. The first is active.
fn bonded() -> Network {
    let network = Network::new();
    let (gateway, server) = (&network.topology.gateway, &network.topology.server);
    connect((gateway, WAN2), (server, "server1"));
    ip(
        server,
        &[
            "link add br0 type bridge",
            "link set server1 master br0",
            "address flush dev server0",
            "link set server0 master br0",
            "link set br0 up",
            "address add 203.0.113.2/24 dev br0",
            "-6 address add 2001:db8::2/64 dev br0 nodad",
            "route add default via 203.0.113.1 rto_min 2s",
            "-6 route replace default via 2001:db8::1 rto_min 2s",
        ],
    );
    ip(
        gateway,
        &[
            &format!("link add {BOND} type bond mode active-backup miimon 100"),
            &format!("address flush dev {WAN}"),
            &format!("link set {WAN} down"),
            &format!("link set {WAN2} down"),
            &format!("link set {WAN} master {BOND}"),
            &format!("link set {WAN2} master {BOND}"),
            &format!("link set {BOND} type bond active_slave {WAN}"),
            &format!("link set {BOND} up"),
            &format!("address add 203.0.113.1/24 dev {BOND}"),
            &format!("-6 address add 2001:db8::1/64 dev {BOND} nodad"),
        ],
    );
    network
}

#[test]
#[ignore = "needs bonding: cargo xtask vm"]
fn a_bond_is_served_whichever_port_is_active() {
    let mut network = bonded();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    for active in [WAN, WAN2] {
        let activate = format!("link set {BOND} type bond active_slave {active}");
        ip(gateway, &[&activate]);
        let cured = assert_cured(gateway, &mut client, &[BOND], &[]);
        assert_eq!(cured.hooks(), xdp());
    }
}

#[test]
#[ignore = "needs bonding: cargo xtask vm"]
fn the_active_port_of_a_bond_is_served() {
    let mut network = bonded();
    assert_cured_on(&mut network, WAN, xdp(), &[]);
}
