//! NAT with a software flowtable: packets of an open connection bypass the forwarding path, but
//! not the interfaces' hooks. The kernel hands a connection back to the forwarding path at its
//! first FIN.

use std::io::Write as _;
use std::process::{Command, Stdio};

use filter_user::lab::{
    namespace::Namespace,
    topology::{LAN, WAN},
};

use super::{
    instance::{
        cure::assert_cured,
        tool,
        traffic::{self, Servers},
        wiring::Network,
    },
    xdp,
};

/// Masquerades both families, and hands TCP between these interfaces to a flowtable.
fn offload(gateway: &Namespace, devices: [&str; 2]) {
    let rules = format!(
        "table inet gateway {{
            flowtable fast {{ hook ingress priority filter; devices = {{ {} }}; }}
            chain forward {{
                type filter hook forward priority filter;
                meta l4proto tcp flow add @fast
                meta l4proto tcp counter
            }}
            chain postrouting {{
                type nat hook postrouting priority srcnat;
                oifname {WAN} masquerade
            }}
        }}",
        devices.join(", ")
    );
    let mut nft = Command::new("nft");
    nft.args(["--file", "-"]).stdin(Stdio::piped());
    let mut nft = gateway.spawn(nft).unwrap();
    nft.stdin
        .take()
        .unwrap()
        .write_all(rules.as_bytes())
        .unwrap();
    assert!(nft.wait().unwrap().success(), "{rules}");
}

/// How many TCP packets have taken the forwarding path.
fn forwarded(gateway: &Namespace) -> u64 {
    let listed = tool(
        gateway,
        "nft",
        &["--json", "list", "chain", "inet", "gateway", "forward"],
    );
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let rules = listed["nftables"].as_array().unwrap().iter();
    let expressions = rules.flat_map(|rule| rule["rule"]["expr"].as_array().into_iter().flatten());
    let mut counters =
        expressions.filter_map(|expression| expression["counter"]["packets"].as_u64());
    counters.next().unwrap()
}

#[test]
#[ignore = "needs nft_flow_offload: cargo xtask vm"]
fn behind_nat_with_a_flowtable_the_uplink_is_served_by_xdp() {
    let mut network = Network::new();
    let mut client = network.client();
    offload(&network.topology.gateway, [LAN, WAN]);
    let gateway = &network.topology.gateway;
    let cured = assert_cured(gateway, &mut client, &[WAN], &[]);
    assert_eq!(cured.hooks(), xdp());
}

#[test]
#[ignore = "needs nft_flow_offload: cargo xtask vm"]
fn large_transfers_are_unharmed_behind_nat_with_a_flowtable() {
    let mut network = Network::new();
    let host = network.topology.add_host().unwrap();
    offload(&network.topology.gateway, [&host.gateway_interface, WAN]);
    let servers = Servers::start(&network.topology.server);
    traffic::assert_unharmed(
        (&network.topology.gateway, &[WAN], &[]),
        (&servers, &host.namespace),
    );
    // Handshakes and closes; the transfers are some hundred thousand packets.
    let forwarded = forwarded(&network.topology.gateway);
    assert!((1..1000).contains(&forwarded), "{forwarded}");
}
