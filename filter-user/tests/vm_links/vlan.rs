//! VLAN interfaces, and the trunk below them, with one tag and with two.

use filter_user::lab::topology::WAN;

use super::{
    BY_TC, assert_cured_on, assert_unharmed_on,
    instance::wiring::{
        BACK_BY_SECOND, BY_SECOND, Network, address_second, features, ip, route_to_clients,
        route_to_server,
    },
    tc, xdp,
};

/// The protocol and the number of each tag, the outermost first.
const ONE: [(&str, u16); 1] = [("802.1q", 100)];
const QINQ: [(&str, u16); 2] = [("802.1ad", 200), ("802.1q", 100)];

/// The lab's network where all between the gateway and the server has these tags; and the
/// gateway's interface that has none of them left.
fn tagged(tags: &[(&str, u16)]) -> (Network, String) {
    let network = Network::new();
    let topology = &network.topology;
    let ends = [(&topology.gateway, WAN), (&topology.server, "server0")];
    let tops = ends.map(|(namespace, trunk)| {
        // Room for the tags beside packets of 1500 octets.
        ip(namespace, &[&format!("link set {trunk} mtu 1508")]);
        let mut below = trunk.to_owned();
        for (protocol, number) in tags {
            let above = format!("{below}.{number}");
            let add = format!(
                "link add link {below} name {above} mtu 1500 type vlan proto {protocol} id {number}"
            );
            ip(namespace, &[&add, &format!("link set {above} up")]);
            below = above;
        }
        below
    });
    address_second(topology, (&tops[0], &tops[1]));
    route_to_server(topology, BY_SECOND);
    route_to_clients(topology, BACK_BY_SECOND);
    let [gateway_top, _] = tops;
    (network, gateway_top)
}

/// Both ends put the outermost tag into the frame, instead of leaving that to the hardware.
fn insert_tags(network: &Network) {
    let topology = &network.topology;
    for (namespace, trunk) in [(&topology.gateway, WAN), (&topology.server, "server0")] {
        features(namespace, trunk, "txvlan off tx-vlan-stag-hw-insert off");
    }
}

#[test]
#[ignore = "needs 8021q: cargo xtask vm"]
fn a_vlan_interface_is_served_by_tc() {
    let (mut network, vlan) = tagged(&ONE);
    assert_cured_on(&mut network, &vlan, tc(), &[]);
}

#[test]
#[ignore = "needs 8021q: cargo xtask vm"]
fn a_trunk_is_served_by_xdp_with_the_tag_in_the_frame() {
    let (mut network, _) = tagged(&ONE);
    insert_tags(&network);
    assert_cured_on(&mut network, WAN, xdp(), &[]);
}

#[test]
#[ignore = "needs 8021q: cargo xtask vm"]
fn a_trunk_is_served_by_tc_with_the_tag_stripped() {
    let (mut network, _) = tagged(&ONE);
    assert_cured_on(&mut network, WAN, tc(), &BY_TC);
}

#[test]
#[ignore = "needs 8021q: cargo xtask vm"]
fn a_qinq_interface_is_served_by_tc() {
    let (mut network, vlan) = tagged(&QINQ);
    assert_cured_on(&mut network, &vlan, tc(), &[]);
}

#[test]
#[ignore = "needs 8021q: cargo xtask vm"]
fn a_qinq_trunk_is_served_by_xdp_with_both_tags_in_the_frame() {
    let (mut network, _) = tagged(&QINQ);
    insert_tags(&network);
    assert_cured_on(&mut network, WAN, xdp(), &[]);
}

#[test]
#[ignore = "needs 8021q: cargo xtask vm"]
fn a_qinq_trunk_is_served_by_tc_with_the_outer_tag_stripped() {
    let (mut network, _) = tagged(&QINQ);
    assert_cured_on(&mut network, WAN, tc(), &BY_TC);
}

#[test]
#[ignore = "needs 8021q: cargo xtask vm"]
fn large_transfers_are_unharmed_on_a_vlan_trunk() {
    let (mut network, _) = tagged(&ONE);
    assert_unharmed_on(&mut network, WAN);
}
