//! `lastack run` on links of several kinds, with the client with the fault and a real server.
//! Needs root, ip and curl.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::{
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use filter_user::lab::{
    namespace::Namespace,
    topology::{Topology, WAN},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use instance::{
    cure::assert_cured,
    expected::{tc, xdp},
    tool,
    wiring::{
        BACK_BY_SECOND, BY_SECOND, Network, address_second, ip, route_to_clients, route_to_server,
    },
};

/// Two point-to-point interfaces without an Ethernet header, and the wire between them.
struct Tunnel {
    cut: Arc<AtomicBool>,
    wire: Option<JoinHandle<()>>,
}

impl Tunnel {
    fn between(near: &Namespace, far: &Namespace) -> Self {
        let ends = [near, far].map(|namespace| {
            namespace.run(|| {
                let tun = DeviceBuilder::new().name("tun0").layer(Layer::L3);
                let tun = tun.build_sync().unwrap();
                tun.set_nonblocking(true).unwrap();
                tun
            })
        });
        for namespace in [near, far] {
            tool(namespace, "ip", &["link", "set", "tun0", "up"]);
        }
        let cut = Arc::new(AtomicBool::new(false));
        let is_cut = Arc::clone(&cut);
        let wire = thread::spawn(move || {
            while !is_cut.load(Ordering::Relaxed) {
                carry(&ends);
            }
        });
        Self {
            cut,
            wire: Some(wire),
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.cut.store(true, Ordering::Relaxed);
        self.wire.take().unwrap().join().unwrap();
    }
}

/// Carries what is there from each end to the other.
fn carry(ends: &[SyncDevice; 2]) {
    const A_WHILE: u16 = 50;
    let mut ready = ends
        .each_ref()
        .map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN));
    poll(&mut ready, PollTimeout::from(A_WHILE)).unwrap();
    let mut packet = vec![0; 65_536];
    for (from, to) in [(0, 1), (1, 0)] {
        while let Ok(length) = ends[from].recv(&mut packet) {
            // A full queue loses packets, as any does.
            ends[to].send(&packet[..length]).ok();
        }
    }
}

/// The client with the fault is cured on interfaces of the gateway, at these hooks of each.
#[track_caller]
fn assert_cured_at(network: &mut Network, interfaces: &[(&str, [&str; 2])], options: &[&str]) {
    let mut client = network.client();
    let names: Vec<_> = interfaces.iter().map(|(name, _)| *name).collect();
    let cured = assert_cured(&network.topology.gateway, &mut client, &names, options);
    let hooks: Vec<_> = interfaces.iter().flat_map(|(_, hooks)| hooks).collect();
    assert_eq!(cured.hooks().iter().collect::<Vec<_>>(), hooks);
}

fn cured_on_tun(hooks: [&str; 2], options: &[&str]) {
    let mut network = Network::new();
    let topology = &network.topology;
    let _tunnel = Tunnel::between(&topology.gateway, &topology.server);
    route_to_server(topology, ["dev tun0"; 2]);
    route_to_clients(topology, ["dev tun0"; 2]);
    assert_cured_at(&mut network, &[("tun0", hooks)], options);
}

#[test]
fn on_a_tun_interface_tcx_cures() {
    cured_on_tun(tc(), &[]);
}

#[test]
fn on_a_tun_interface_clsact_cures() {
    let clsact = ["clsact-ingress", "clsact-egress"];
    cured_on_tun(clsact, &["--tc-mode", "clsact"]);
}

/// Makes the gateway reach the server by an interface on top of its uplink.
fn on_top(network: &Network, lines: &[&str], interface: &str) {
    let addresses = [
        "address flush dev wan0".to_owned(),
        format!("link set {interface} up"),
        format!("address add 203.0.113.1/24 dev {interface}"),
        format!("-6 address add 2001:db8::1/64 dev {interface} nodad"),
    ];
    ip(&network.topology.gateway, lines);
    ip(
        &network.topology.gateway,
        &addresses.each_ref().map(String::as_str),
    );
}

const BRIDGE: [&str; 2] = ["link add br0 type bridge", "link set wan0 master br0"];

#[test]
fn a_bridge_is_served_by_tc() {
    let mut network = Network::new();
    on_top(&network, &BRIDGE, "br0");
    assert_cured_at(&mut network, &[("br0", tc())], &[]);
}

#[test]
fn a_bridge_port_is_served_by_xdp() {
    let mut network = Network::new();
    on_top(&network, &BRIDGE, "br0");
    assert_cured_at(&mut network, &[(WAN, xdp())], &[]);
}

const MACVLAN: [&str; 1] = ["link add mv0 link wan0 type macvlan mode bridge"];

#[test]
fn a_macvlan_is_served_by_tc() {
    let mut network = Network::new();
    on_top(&network, &MACVLAN, "mv0");
    assert_cured_at(&mut network, &[("mv0", tc())], &[]);
}

#[test]
fn the_interface_below_a_macvlan_is_served_by_xdp() {
    let mut network = Network::new();
    on_top(&network, &MACVLAN, "mv0");
    assert_cured_at(&mut network, &[(WAN, xdp())], &[]);
}

#[test]
fn a_vxlan_is_served_by_tc() {
    let mut network = Network::new();
    let Topology {
        gateway, server, ..
    } = &network.topology;
    for (namespace, local, remote) in [
        (gateway, "203.0.113.1", "203.0.113.3"),
        (server, "203.0.113.3", "203.0.113.1"),
    ] {
        ip(
            namespace,
            &[
                &format!("link add vx0 type vxlan id 7 local {local} remote {remote} dstport 4789"),
                "link set vx0 up",
            ],
        );
    }
    // The server's own address is behind the tunnel, so its end has another.
    ip(server, &["address add 203.0.113.3/24 dev server0"]);
    address_second(&network.topology, ("vx0", "vx0"));
    route_to_server(&network.topology, BY_SECOND);
    route_to_clients(&network.topology, BACK_BY_SECOND);
    assert_cured_at(&mut network, &[("vx0", tc())], &[]);
}
