//! Links for which the kernel needs modules that many a machine lacks. These tests are ignored
//! there, and `cargo xtask vm` runs them, with Debian's kernel.

use filter_user::lab::{
    namespace::Namespace,
    topology::{Topology, WAN},
};

use crate::{check, instance::tool};

/// Runs these lines of arguments by ip.
fn ip(namespace: &Namespace, lines: &[&str]) {
    for line in lines {
        tool(namespace, "ip", &line.split(' ').collect::<Vec<_>>());
    }
}

#[test]
#[ignore = "needs nft_flow_offload and 8021q: cargo xtask vm"]
fn a_flowtable_is_found_on_the_interface_and_on_a_vlan_of_it() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    ip(
        gateway,
        &[
            "link add link wan0 name wan0.7 type vlan id 7",
            "link set wan0.7 up",
            "route add default dev wan0.7",
        ],
    );
    let flowtable = "{ hook ingress priority 0; devices = { wan0 }; }";
    tool(gateway, "nft", &["add", "table", "inet", "gate"]);
    let add = ["add", "flowtable", "inet", "gate", "fast", flowtable];
    tool(gateway, "nft", &add);
    // What is routed to a VLAN goes through the interface below it.
    for interface in [WAN, "wan0.7"] {
        let checked = check(gateway, &["--iface", interface]);
        checked.assert_troubles(&[]);
        let message = &checked.of(Some(interface), "flowtable")["message"];
        assert_eq!(
            message,
            "gate fast, in software: both hooks see its packets"
        );
        let routes = &checked.of(None, "routes")["message"];
        assert_eq!(routes, "all default routes lead by served interfaces");
    }
}

#[test]
#[ignore = "needs bonding: cargo xtask vm"]
fn a_port_of_a_bond_is_a_warning_and_the_bond_is_not() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    // Forwarding turns LRO off; a bond has it on otherwise, though it merges nothing.
    for forwarding in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        gateway.sysctl(forwarding, "0").unwrap();
    }
    ip(
        gateway,
        &[
            "link add bond0 type bond mode balance-rr",
            "link set wan0 down",
            "link set wan0 master bond0",
            "link set bond0 up",
        ],
    );
    let port = check(gateway, &["--iface", WAN]);
    port.assert_troubles(&["port"]);
    port.assert(
        Some(WAN),
        "port",
        "warning",
        "bond0 shares packets",
        "--iface bond0",
    );
    check(gateway, &["--iface", "bond0"]).assert_troubles(&[]);
}

#[test]
#[ignore = "needs macsec: cargo xtask vm"]
fn below_macsec_it_says_which_interface_to_serve() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    ip(
        gateway,
        &[
            "link add link wan0 macsec0 type macsec",
            "link set macsec0 up",
        ],
    );
    let below = check(gateway, &["--iface", WAN]);
    below.assert_troubles(&["macsec"]);
    below.assert(Some(WAN), "macsec", "warning", "macsec0", "--iface macsec0");
    check(gateway, &["--iface", "macsec0"]).assert_troubles(&[]);
}

#[test]
#[ignore = "needs cls_flower, cls_u32 and cls_matchall: cargo xtask vm"]
fn filters_of_every_kind_are_named_where_they_come_before_ours() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    for line in [
        "qdisc add dev wan0 clsact",
        "filter add dev wan0 egress prio 1 flower action drop",
        "filter add dev wan0 egress prio 2 u32 match u32 0 0 action ok",
        "filter add dev wan0 egress prio 3 matchall action ok",
    ] {
        tool(gateway, "tc", &line.split(' ').collect::<Vec<_>>());
    }
    let checked = check(gateway, &["--iface", WAN, "--tc-mode", "clsact"]);
    checked.assert_troubles(&["egress"]);
    let kinds = "behind a flower filter, a u32 filter, a matchall filter:";
    checked.assert(Some(WAN), "egress", "warning", kinds, "TC_ACT_UNSPEC");
}
