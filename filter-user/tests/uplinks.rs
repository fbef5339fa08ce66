//! `lastack run` on a gateway with two uplinks: out by one, back by the other. Needs root, ip,
//! curl, nginx and iperf3.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use filter_user::lab::topology::{WAN, WAN2};

use instance::{
    Instance,
    cure::{CONNECTIONS, assert_cured, resets},
    traffic::{self, Servers},
    wiring::{BACK_BY_SECOND, Network, address_second, connect, route_to_clients},
};

/// The lab's network with a second uplink, by which all that the server sends comes back.
fn asymmetric() -> Network {
    let network = Network::new();
    let (gateway, server) = (&network.topology.gateway, &network.topology.server);
    for namespace in [gateway, server] {
        namespace.sysctl("ipv4/conf/all/rp_filter", "0").unwrap();
        namespace
            .sysctl("ipv4/conf/default/rp_filter", "0")
            .unwrap();
    }
    connect((gateway, WAN2), (server, "server1"));
    address_second(&network.topology, (WAN2, "server1"));
    route_to_clients(&network.topology, BACK_BY_SECOND);
    network
}

#[test]
fn out_by_one_uplink_and_back_by_another_is_one_flow() {
    let mut network = asymmetric();
    let mut client = network.client();
    let cured = assert_cured(&network.topology.gateway, &mut client, &[WAN, WAN2], &[]);
    // Each counts what it saw: WAN the client's half, WAN2 the server's.
    let all = u64::from(CONNECTIONS);
    assert_eq!((cured.dropped(WAN), cured.dropped(WAN2)), (all, 0));
    for (reason, on_wan, on_wan2) in [
        ("flow_created", all, 0),
        ("first_ack", all, 0),
        ("server_fin", 0, all),
    ] {
        let counted = (cured.packets(WAN, reason), cured.packets(WAN2, reason));
        assert_eq!(counted, (on_wan, on_wan2), "{reason}");
    }
}

#[test]
fn ordinary_traffic_over_two_uplinks_is_unharmed() {
    let mut network = asymmetric();
    let host = network.topology.add_host().unwrap();
    let servers = Servers::start(&network.topology.server);
    let served = (&network.topology.gateway, &[WAN, WAN2][..], &[][..]);
    traffic::assert_unharmed(served, (&servers, &host.namespace));
}

#[test]
fn an_uplink_that_is_left_out_makes_it_pass_everything() {
    let mut network = asymmetric();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    for interface in [WAN, WAN2] {
        let _instance = Instance::start(gateway, &[interface], &[]);
        assert_eq!(resets(&mut client), u64::from(CONNECTIONS), "{interface}");
    }
}
