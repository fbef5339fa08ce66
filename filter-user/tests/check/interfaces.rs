//! Interfaces of several kinds.

use std::process::Command;

use filter_user::lab::topology::{Topology, WAN};
use nix::sys::signal::Signal;

use crate::{
    check, hook,
    instance::{Instance, output, tool},
};

#[test]
fn the_hooks_that_it_names_are_those_that_run_takes() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    tool(
        gateway,
        "ip",
        &["tuntap", "add", "dev", "tun9", "mode", "tun"],
    );
    for (interface, options) in [
        (WAN, &[][..]),
        (WAN, &["--ingress", "tc"]),
        (WAN, &["--ingress", "tc", "--tc-mode", "clsact"]),
        (WAN, &["--xdp-mode", "generic"]),
        (WAN, &["--tc-mode", "clsact"]),
        ("tun9", &[]),
        ("tun9", &["--tc-mode", "clsact"]),
        ("lo", &[]),
    ] {
        let arguments = [&["--iface", interface], options].concat();
        let checked = check(gateway, &arguments);
        let named = ["ingress", "egress"].map(|side| hook(&checked, interface, side));
        let options = [&["--metrics-addr", "off"], options].concat();
        let instance = Instance::start(gateway, &[interface], &options);
        assert_eq!(instance.hooks(), named, "{interface} {options:?}");
        assert!(instance.stop(Signal::SIGINT).0.success());
    }
}

#[test]
fn an_interface_that_is_not_there_is_an_error_and_the_others_are_looked_at() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let checked = check(gateway, &["--iface", "nope0", "--iface", WAN]);
    checked.assert_troubles(&["interface"]);
    checked.assert(Some("nope0"), "interface", "error", "nope0", "ip link");
    assert_eq!(checked.of(Some(WAN), "ingress")["status"], "ok");

    let twice = check(gateway, &["--iface", WAN, "--iface", WAN]);
    assert_eq!(twice.status, 1);
    let errors: Vec<_> = twice
        .checks
        .iter()
        .filter(|check| check["status"] == "error")
        .map(|check| check["message"].as_str().unwrap())
        .collect();
    assert_eq!(errors, ["wan0 is named twice"]);
}

#[test]
fn an_interface_that_is_down_is_a_warning_and_no_error() {
    let topology = Topology::new().unwrap();
    tool(&topology.gateway, "ip", &["link", "set", WAN, "down"]);
    let checked = check(&topology.gateway, &["--iface", WAN]);
    checked.assert_troubles(&["interface"]);
    checked.assert(
        Some(WAN),
        "interface",
        "warning",
        "down",
        "ip link set wan0 up",
    );
}

#[test]
fn an_interface_without_an_ethernet_header_takes_no_xdp() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    tool(
        gateway,
        "ip",
        &["tuntap", "add", "dev", "tun9", "mode", "tun"],
    );
    tool(gateway, "ip", &["link", "set", "tun9", "up"]);
    let checked = check(gateway, &["--iface", "tun9"]);
    // Nobody holds its other end.
    checked.assert_troubles(&["interface"]);
    let interface = checked.of(Some("tun9"), "interface")["message"]
        .as_str()
        .unwrap();
    assert!(interface.contains("bare IP, driver tun"), "{interface}");
    let xdp = check(gateway, &["--iface", "tun9", "--ingress", "xdp"]);
    xdp.assert_troubles(&["interface", "ingress"]);
    xdp.assert(Some("tun9"), "ingress", "error", "Ethernet", "--ingress tc");
}

#[test]
fn the_port_of_a_bridge_carries_what_is_routed_to_the_bridge() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    for command in [
        "link add br0 type bridge",
        "link set wan0 master br0",
        "link set br0 up",
        "route add default dev br0",
    ] {
        tool(gateway, "ip", &command.split(' ').collect::<Vec<_>>());
    }
    let checked = check(gateway, &["--iface", WAN]);
    checked.assert_troubles(&[]);
    let port = checked.of(Some(WAN), "port")["message"].as_str().unwrap();
    assert!(port.starts_with("of bridge br0"), "{port}");
    let routes = &checked.of(None, "routes")["message"];
    assert_eq!(routes, "all default routes lead by served interfaces");
}

/// A kernel without flowtables refuses to make one, and has none to show; no virtual interface
/// takes one into hardware.
#[test]
fn a_flowtable_in_software_is_named_and_is_no_trouble() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    tool(gateway, "nft", &["add", "table", "inet", "gate"]);
    let mut nft = Command::new("nft");
    nft.args(["add", "flowtable", "inet", "gate", "fast"]);
    nft.arg("{ hook ingress priority 0; devices = { wan0 }; }");
    let made = output(gateway, nft).status.success();
    let checked = check(gateway, &["--iface", WAN]);
    checked.assert_troubles(&[]);
    let message = &checked.of(Some(WAN), "flowtable")["message"];
    if made {
        assert_eq!(
            message,
            "gate fast, in software: both hooks see its packets"
        );
    } else {
        assert_eq!(message, "none has it");
    }
}
