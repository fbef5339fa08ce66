//! Routes that lead past the served interfaces.

use filter_user::lab::topology::{Topology, WAN};

use crate::{add_second_uplink, check, instance::tool};

#[test]
fn uplinks_that_share_packets_are_to_be_served_all() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    add_second_uplink(gateway);
    let shared = "route add default nexthop via 203.0.113.2 dev wan0 \
                  nexthop via 198.51.100.2 dev wan1";
    tool(
        gateway,
        "ip",
        &shared.split_whitespace().collect::<Vec<_>>(),
    );
    let one = check(gateway, &["--iface", WAN]);
    one.assert_troubles(&["routes"]);
    let both = "--iface wan0 --iface wan1";
    one.assert(None, "routes", "warning", "shared with wan1", both);
    check(gateway, &["--iface", WAN, "--iface", "wan1"]).assert_troubles(&[]);

    // Those that it takes by itself.
    let by_itself = check(gateway, &[]);
    by_itself.assert_troubles(&[]);
    for interface in [WAN, "wan1"] {
        by_itself.of(Some(interface), "interface");
    }

    tool(gateway, "ip", &["route", "del", "default"]);
    tool(gateway, "ip", &["route", "add", "default", "dev", WAN]);
    let rule = ["rule", "add", "from", "10.0.1.0/24", "table", "100"];
    let route = ["route", "add", "default", "dev", "wan1", "table", "100"];
    tool(gateway, "ip", &route);
    // A table that no rule names is no way.
    check(gateway, &["--iface", WAN]).assert_troubles(&[]);
    tool(gateway, "ip", &rule);
    let ruled = check(gateway, &["--iface", WAN]);
    ruled.assert_troubles(&["routes"]);
    ruled.assert(
        None,
        "routes",
        "warning",
        "rules send some packets by wan1",
        both,
    );
    tool(gateway, "ip", &["rule", "del", "table", "100"]);

    let spare = [
        "-6", "route", "add", "default", "dev", "wan1", "metric", "9",
    ];
    tool(gateway, "ip", &spare);
    let other_family = check(gateway, &["--iface", WAN]);
    other_family.assert_troubles(&["routes"]);
    other_family.assert(None, "routes", "warning", "wan1, too", both);
}

#[test]
fn a_default_route_tells_which_way_the_servers_are() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let nowhere = check(gateway, &[]);
    nowhere.assert_troubles(&["interface"]);
    nowhere.assert(None, "interface", "warning", "none was named", "--iface");
    tool(gateway, "ip", &["route", "add", "default", "dev", WAN]);
    let lan = check(gateway, &["--iface", WAN, "--role", "lan"]);
    lan.assert_troubles(&["routes"]);
    lan.assert(None, "routes", "warning", WAN, "--role wan");
}
