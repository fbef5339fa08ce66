//! `lastack run` on a gateway with NAT: towards the servers, and towards the clients. Needs root,
//! ip, nft, tcpdump, curl, nginx and iperf3.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::collections::BTreeMap;

use filter_user::lab::{
    client::Client,
    namespace::Namespace,
    topology::{LAN, WAN},
};

use instance::{
    Instance,
    capture::Capture,
    cure::{CONNECTIONS, assert_cured, resets},
    expected::xdp,
    tool,
    traffic::{self, Servers},
    wiring::Network,
};

const LAN_ROLE: [&str; 2] = ["--role", "lan"];
/// The lab's client, as it is known before NAT.
const CLIENT: [&str; 2] = ["--client", "10.0.0.0/24,fd00::/64"];

/// The lab's network with a gateway that gives its own address to all that leaves by its uplink.
fn masquerading() -> Network {
    const RULES: &str = "
        add table inet nat
        add counter inet nat v4
        add counter inet nat v6
        add chain inet nat postrouting { type nat hook postrouting priority srcnat; }
        add rule inet nat postrouting oifname wan0 meta nfproto ipv4 counter name v4 masquerade
        add rule inet nat postrouting oifname wan0 meta nfproto ipv6 counter name v6 masquerade";

    let network = Network::new();
    tool(&network.topology.gateway, "nft", &[RULES]);
    network
}

/// How many connections got the gateway's address, over IPv4 and IPv6.
fn translated(gateway: &Namespace) -> [u64; 2] {
    ["v4", "v6"].map(|counter| {
        let json = tool(
            gateway,
            "nft",
            &["--json", "list", "counter", "inet", "nat", counter],
        );
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        json["nftables"][1]["counter"]["packets"].as_u64().unwrap()
    })
}

fn resets_while_served(
    gateway: &Namespace,
    client: &mut Client,
    interface: &str,
    options: &[&str],
) -> u64 {
    let _instance = Instance::start(gateway, &[interface], options);
    resets(client)
}

#[test]
fn behind_masquerade_the_wan_side_cures_both_families() {
    let mut network = masquerading();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    assert_cured(gateway, &mut client, &[WAN], &[]);
    // Once without the filter and once with it.
    assert_eq!(translated(gateway), [u64::from(CONNECTIONS); 2]);
}

#[test]
fn behind_masquerade_only_the_lan_side_knows_the_clients() {
    let mut network = masquerading();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    let all = u64::from(CONNECTIONS);
    assert_eq!(resets_while_served(gateway, &mut client, WAN, &CLIENT), all);
    let v4 = ["--role", "lan", "--client", "10.0.0.2"];
    assert_eq!(resets_while_served(gateway, &mut client, LAN, &v4), all / 2);
    let cured = assert_cured(gateway, &mut client, &[LAN], &[LAN_ROLE, CLIENT].concat());
    assert_eq!(cured.hooks(), xdp());
    assert_eq!(cured.packets(LAN, "first_ack"), all);
}

#[test]
fn masqueraded_traffic_is_unharmed_on_both_sides() {
    let mut network = masquerading();
    let host = network.topology.add_host().unwrap();
    let gateway = &network.topology.gateway;
    let servers = Servers::start(&network.topology.server);
    for (interface, options) in [(WAN, &[][..]), (&host.gateway_interface, &LAN_ROLE)] {
        let served = (gateway, &[interface][..], options);
        traffic::assert_unharmed(served, (&servers, &host.namespace));
    }
}

/// How often a line is there again.
fn repetitions(lines: &[String]) -> usize {
    let mut seen = BTreeMap::<_, usize>::new();
    for line in lines {
        *seen.entry(line).or_default() += 1;
    }
    seen.values().map(|times| times - 1).sum()
}

#[test]
fn in_the_lan_role_xdp_drops_before_the_stack_sees_it() {
    let mut network = Network::new();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    // A spurious ACK is the same as the one before it, to the last bit.
    let mut seen_by_the_stack = |mode: &str| {
        let capture = Capture::start(gateway, LAN, "inbound and tcp");
        let options = [&LAN_ROLE[..], &["--mode", mode]].concat();
        resets_while_served(gateway, &mut client, LAN, &options);
        repetitions(&capture.stop())
    };
    assert_eq!(seen_by_the_stack("monitor"), usize::from(CONNECTIONS));
    assert_eq!(seen_by_the_stack("enforce"), 0);
}
