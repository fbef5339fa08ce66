//! `lastack run` on a gateway with two uplinks: out by one, back by the other. Needs root, ip,
//! curl, nginx and iperf3.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::time::{Duration, Instant};

use filter_user::lab::topology::{WAN, WAN2};

use instance::{
    Instance,
    cure::{CONNECTIONS, assert_cured, resets},
    sample, tool,
    traffic::{self, Servers},
    wait_until,
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

/// Of connections whose FINs are seen at one interface, and nothing that comes back.
#[test]
fn closes_of_which_one_direction_is_seen_are_counted_and_told() {
    let mut network = asymmetric();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    // By WAN the clients' segments leave, by WAN2 the servers' arrive.
    let instances = [(WAN, "client", 9433), (WAN2, "either", 9434)].map(|served| {
        let (interface, closer, port) = served;
        let metrics = format!("127.0.0.1:{port}");
        let options = ["--closer", closer, "--metrics-addr", &metrics];
        (served, Instance::start(gateway, &[interface], &options))
    });
    resets(&mut client);
    let all = u64::from(CONNECTIONS);
    let metric = |interface: &str, port| {
        let metrics = format!("http://127.0.0.1:{port}/metrics");
        let metrics = tool(gateway, "curl", &["--silent", "--fail", &metrics]);
        let name = format!("lastack_one_sided_closes_total{{iface=\"{interface}\"}}");
        sample(&metrics, &name)
    };
    for ((interface, _, port), instance) in &instances {
        let event = instance.event();
        assert_eq!(event["type"], "one_sided", "{event}");
        assert_eq!(event["iface"], *interface);
        assert!(event["one_sided_closes"].as_u64() >= Some(8), "{event}");
        wait_until("all closes are one-sided", || {
            metric(interface, port) == all
        });
    }
}

#[test]
fn closes_of_which_both_directions_are_seen_are_not_one_sided() {
    let mut network = asymmetric();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    let instance = Instance::start(gateway, &[WAN, WAN2], &["--interval", "1s"]);
    assert_eq!(resets(&mut client), 0);
    // Until the last close is old enough.
    let is_over = Instant::now() + Duration::from_secs(12);
    while Instant::now() < is_over {
        let line = instance.line();
        assert_eq!(line["type"], "counters", "{line}");
    }
    let metrics = tool(
        gateway,
        "curl",
        &["--silent", "--fail", "http://127.0.0.1:9433/metrics"],
    );
    let all = u64::from(CONNECTIONS);
    assert_eq!(sample(&metrics, "lastack_flows_created_total"), all);
    for interface in [WAN, WAN2] {
        let name = format!("lastack_one_sided_closes_total{{iface=\"{interface}\"}}");
        assert_eq!(sample(&metrics, &name), 0);
    }
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
