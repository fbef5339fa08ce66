//! `lastack run` where packets are larger than the wire carries: jumbo frames, what GRO merged
//! and what GSO has yet to split. Needs root, ip, ethtool, tcpdump, curl, nginx and iperf3.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::time::Duration;

use aya::programs::TcAttachType;
use filter_user::lab::{
    half_closing::{self, Plan},
    namespace::Namespace,
    topology::{Host, LAN, WAN},
};
use nix::{net::if_::if_nametoindex, sys::signal::Signal};
use rtnetlink::{LinkUnspec, packet_route::link::LinkAttribute};

use instance::{
    Instance,
    capture::Capture,
    cure::assert_cured,
    expected::{tc, xdp},
    neighbour::{Neighbour, Place},
    tool,
    traffic::{self, Servers},
    wiring::{Network, features, ip},
};

/// An Ethernet frame with a packet of 1500 octets.
const FRAME: u64 = 1514;
const BY_TC: [&str; 2] = ["--ingress", "tc"];
const LAN_ROLE: [&str; 2] = ["--role", "lan"];

/// Connections of programs that half-close and read to the end.
const CLOSES: Plan = Plan {
    connections: 8,
    response: 1 << 20,
    reading: Duration::from_millis(200),
    timeout: Duration::from_secs(20),
};

/// An ordinary host behind the gateway, and the lab's server.
struct Path {
    network: Network,
    host: Host,
}

impl Path {
    fn new() -> Self {
        let mut network = Network::new();
        let host = network.topology.add_host().unwrap();
        Self { network, host }
    }

    fn gateway(&self) -> &Namespace {
        &self.network.topology.gateway
    }

    fn server(&self) -> &Namespace {
        &self.network.topology.server
    }

    /// The gateway's interface to the host.
    fn lan(&self) -> &'static str {
        self.host.gateway_interface.clone().leak()
    }

    /// Both ends of both links.
    fn ends(&self) -> [(&Namespace, &'static str); 4] {
        [
            (self.server(), "server0"),
            (self.gateway(), WAN),
            (self.gateway(), self.lan()),
            (&self.host.namespace, "eth0"),
        ]
    }

    /// Lets TCP packets of up to 185 000 octets be made and merged, over both families.
    fn allow_big_tcp(&self) {
        const MOST: u32 = 185_000;
        for (namespace, interface) in self.ends() {
            let allow = async move |handle: rtnetlink::Handle| {
                let link = LinkUnspec::new_with_index(if_nametoindex(interface)?)
                    .append_extra_attribute(LinkAttribute::GsoMaxSize(MOST))
                    .append_extra_attribute(LinkAttribute::GroMaxSize(MOST))
                    .append_extra_attribute(LinkAttribute::GsoIpv4MaxSize(MOST))
                    .append_extra_attribute(LinkAttribute::GroIpv4MaxSize(MOST))
                    .build();
                Ok(handle.link().set(link).execute().await?)
            };
            namespace.netlink(allow).unwrap();
        }
        // When it forwards, the kernel takes the octets of the length option for part of every
        // segment.
        for interface in [WAN, self.lan()] {
            ip(self.gateway(), &[&format!("link set {interface} mtu 1508")]);
        }
    }

    /// The host's programs half-close through an instance that serves `interface`: every close is
    /// seen to its end, no packet is skipped and none dropped.
    fn assert_closes_are_followed(&self, interface: &str, options: &[&str]) -> Vec<String> {
        let instance = Instance::start(self.gateway(), &[interface], options);
        let hooks = instance.hooks();
        let outcomes = half_closing::run(&self.host, CLOSES).unwrap();
        let (status, lines) = instance.stop(Signal::SIGINT);
        assert!(status.success(), "{status}");
        let complete = outcomes.iter().all(half_closing::Outcome::is_complete);
        assert!(complete, "{outcomes:?}");
        let last = lines.iter().rfind(|line| line["type"] == "counters");
        let packets = &last.unwrap()["packets"];
        assert_eq!(packets["first_ack"], CLOSES.connections, "{packets}");
        for reason in [
            "spurious_ack_dropped",
            "redundant_ack_dropped",
            "truncated",
            "bad_header",
            "extension_header",
        ] {
            assert_eq!(packets[reason], 0, "{packets}");
        }
        hooks
    }

    /// Large transfers come as they were sent through an instance that serves `interface`.
    fn assert_unharmed(&self, interface: &str, options: &[&str]) {
        let servers = Servers::start(self.server());
        let served = (self.gateway(), &[interface][..], options);
        traffic::assert_unharmed(served, (&servers, &self.host.namespace));
    }
}

/// How many octets XDP was given at an interface for each packet, on average.
fn octets_a_packet_at_xdp(namespace: &Namespace, interface: &str) -> u64 {
    let statistics = tool(namespace, "ethtool", &["-S", interface]);
    let sum = |suffix: &str| {
        let values = statistics.lines().filter_map(|line| {
            let (name, value) = line.trim().split_once(": ")?;
            let is_wanted = name.starts_with("rx_queue_") && name.ends_with(suffix);
            is_wanted.then(|| value.parse::<u64>().unwrap())
        });
        values.sum::<u64>()
    };
    sum("_xdp_bytes") / sum("_xdp_packets")
}

#[test]
fn jumbo_frames_are_multi_buffer_frames_to_xdp() {
    const PAGE: u64 = 4096;

    let mut path = Path::new();
    for (namespace, interface) in path.ends() {
        ip(namespace, &[&format!("link set {interface} mtu 9000")]);
    }
    assert_eq!(path.assert_closes_are_followed(WAN, &[]), xdp());
    let octets = octets_a_packet_at_xdp(path.gateway(), WAN);
    assert!(octets > PAGE, "{octets}");
    path.assert_unharmed(WAN, &[]);
    let mut client = path.network.client();
    assert_cured(path.gateway(), &mut client, &[WAN], &[]);
}

/// A FIN behind more data than a frame holds, to tcpdump, over IPv4 and IPv6.
const LARGE_WITH_FIN: [&str; 2] = [
    "greater 3000 and ip proto 6 and ip[33] & 1 != 0",
    "greater 3000 and ip6[6] = 6 and ip6[53] & 1 != 0",
];

#[test]
fn fins_that_gro_merged_with_data_are_seen_by_tc() {
    let mut path = Path::new();
    features(path.server(), "server0", "tso off gso off");
    features(path.gateway(), WAN, "gro on");
    let merged = LARGE_WITH_FIN.map(|filter| Capture::start(path.gateway(), WAN, filter));
    assert_eq!(path.assert_closes_are_followed(WAN, &BY_TC), tc());
    for merged in merged {
        assert!(!merged.stop().is_empty(), "GRO merged no FIN");
    }
    path.assert_unharmed(WAN, &BY_TC);
    let mut client = path.network.client();
    assert_cured(path.gateway(), &mut client, &[WAN], &BY_TC);
}

#[test]
fn gso_packets_are_seen_whole_at_egress() {
    let mut path = Path::new();
    let lan = path.lan();
    // They arrive as they leave.
    let large = LARGE_WITH_FIN.map(|filter| Capture::start(path.gateway(), WAN, filter));
    let leaving = Neighbour::counting(path.gateway(), lan, TcAttachType::Egress, Place::TcxFirst);
    assert_eq!(path.assert_closes_are_followed(lan, &LAN_ROLE), xdp());
    for large in large {
        assert!(!large.stop().is_empty(), "no FIN in a GSO packet");
    }
    assert!(leaving.seen().longest > 2 * FRAME, "{:?}", leaving.seen());
    path.assert_unharmed(lan, &LAN_ROLE);
    let mut client = path.network.client();
    let leaving = Neighbour::counting(path.gateway(), LAN, TcAttachType::Egress, Place::TcxFirst);
    assert_cured(path.gateway(), &mut client, &[LAN], &LAN_ROLE);
    assert!(leaving.seen().longest > 2 * FRAME, "{:?}", leaving.seen());
}

/// The same with length fields that are 0. Over IPv6 an option says the length (RFC 2675).
const BIG_WITH_FIN: [&str; 2] = [
    "ip proto 6 and ip[2:2] = 0 and ip[33] & 1 != 0",
    "ip6[4:2] = 0 and ip6[6] = 0 and ip6[40] = 6 and ip6[61] & 1 != 0",
];

fn assert_big_tcp(interface: fn(&Path) -> &'static str, options: &[&str]) {
    let path = Path::new();
    path.allow_big_tcp();
    let big = BIG_WITH_FIN.map(|filter| Capture::start(path.gateway(), WAN, filter));
    path.assert_closes_are_followed(interface(&path), options);
    for big in big {
        assert!(
            !big.stop().is_empty(),
            "no FIN in a packet of more than 64 KiB"
        );
    }
    path.assert_unharmed(interface(&path), options);
}

#[test]
fn big_tcp_with_lengths_of_0_is_seen_by_tc_at_ingress() {
    assert_big_tcp(|_| WAN, &BY_TC);
}

#[test]
fn big_tcp_with_lengths_of_0_is_seen_by_tc_at_egress() {
    assert_big_tcp(Path::lan, &LAN_ROLE);
}

#[test]
fn big_tcp_is_unharmed_by_xdp() {
    let path = Path::new();
    path.allow_big_tcp();
    assert_eq!(path.assert_closes_are_followed(WAN, &[]), xdp());
    path.assert_unharmed(WAN, &[]);
}
