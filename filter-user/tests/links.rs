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
    time::Duration,
};

use filter_user::lab::{
    client::{Client, Plan},
    namespace::Namespace,
    server::Server,
    topology::Topology,
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use instance::{Instance, tool};

const CONNECTIONS: u16 = 16;

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

/// Sends all between client and server through `interface` of both.
fn route_through(topology: &Topology, interface: &str) {
    for (namespace, destinations) in [
        (&topology.gateway, ["203.0.113.2/32", "2001:db8::2/128"]),
        (&topology.server, ["10.0.0.0/24", "fd00::/64"]),
    ] {
        for destination in destinations {
            let route = ["route", "replace", destination, "dev", interface];
            tool(namespace, "ip", &route);
        }
    }
}

/// The client with the fault works through `interface`, served as `options` say: each of its
/// spurious ACKs is dropped, nothing else, and no connection is reset.
fn assert_cured_through(interface: &str, hooks: [&str; 2], options: &[&str]) {
    let mut topology = Topology::new().unwrap();
    let _tunnel = Tunnel::between(&topology.gateway, &topology.server);
    route_through(&topology, interface);
    let _server = Server::start(&topology.server).unwrap();
    let mut client = Client::new(topology.add_client().unwrap()).unwrap();
    let plan = Plan {
        connections: CONNECTIONS,
        spurious_ack_after: Some(Duration::from_millis(200)),
        response: 16_384,
        reading: Duration::from_millis(400),
        timeout: Duration::from_secs(30),
    };

    let unprotected = client.run(&plan, &mut |_| {}).unwrap();
    let resets = |outcomes: &[filter_user::lab::client::Outcome]| {
        let resets = outcomes.iter().filter(|outcome| outcome.seen.resets > 0);
        resets.count()
    };
    assert_eq!(resets(&unprotected), usize::from(CONNECTIONS), "the fault");

    let instance = Instance::start(&topology.gateway, &[interface], options);
    let attached = instance.hooks();
    assert_eq!(attached, hooks);
    let outcomes = client.run(&plan, &mut |_| {}).unwrap();
    let (status, lines) = instance.stop(Signal::SIGINT);
    assert!(status.success(), "{status}");
    assert_eq!(resets(&outcomes), 0);
    for outcome in &outcomes {
        assert!(outcome.intact && !outcome.read_error, "{outcome:?}");
        assert_eq!(outcome.bytes_read, outcome.bytes_expected);
    }
    let sent: u64 = outcomes
        .iter()
        .map(|outcome| outcome.seen.spurious_acks)
        .sum();
    assert_eq!(sent, u64::from(CONNECTIONS));
    let counters = lines.iter().rfind(|line| line["type"] == "counters");
    assert_eq!(counters.unwrap()["spurious_acks_dropped"], sent);
}

#[test]
fn on_a_tun_interface_tcx_cures() {
    assert_cured_through("tun0", ["tcx-ingress", "tcx-egress"], &[]);
}

#[test]
fn on_a_tun_interface_clsact_cures() {
    assert_cured_through(
        "tun0",
        ["clsact-ingress", "clsact-egress"],
        &["--tc-mode", "clsact"],
    );
}
