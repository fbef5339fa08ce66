//! `lastack run` on a bridge without addresses between the gateway's router and the server, where
//! every frame has VLAN tags: in the frame, or stripped into the socket buffer. Needs root, ip,
//! ethtool, tcpdump, curl, nginx and iperf3.
//!
//! The routers at both ends push and pop the tags by TC programs, so that this needs no VLAN
//! interfaces in the kernel.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use filter_user::lab::{namespace::Namespace, topology::WAN};

use instance::{
    capture::Capture,
    cure::assert_cured,
    expected::{tc, xdp},
    neighbour::Neighbour,
    traffic::{self, Servers},
    wiring::{Network, connect, features, hand_over, ip},
};

const C_VLAN: u16 = 0x8100;
const S_VLAN: u16 = 0x88a8;

/// The lab's network with a bridge in the link between the gateway and the server. Port `lan0`
/// leads to the gateway, `wan0` to the server.
struct Trunk {
    network: Network,
    bridge: Namespace,
    /// What pushes and pops.
    _tags: [Neighbour; 4],
}

/// How the sender of a frame gives its outermost tag to the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outermost {
    InTheFrame,
    /// As if the receiver's hardware had stripped it.
    Stripped,
}

impl Trunk {
    /// With these tags on every frame, the innermost first.
    fn new(tags: &[(u16, u16)], outermost: Outermost) -> Self {
        let network = Network::new();
        let bridge = Namespace::new("bridge").unwrap();
        let (gateway, server) = (&network.topology.gateway, &network.topology.server);
        ip(server, &["link set server0 name lan0"]);
        hand_over(server, "lan0", &bridge);
        connect((&bridge, WAN), (server, "server0"));
        ip(
            server,
            &[
                "address add 203.0.113.2/24 dev server0",
                "-6 address add 2001:db8::2/64 dev server0 nodad",
                "route add default via 203.0.113.1 rto_min 2s",
                "-6 route add default via 2001:db8::1 rto_min 2s",
            ],
        );
        ip(
            &bridge,
            &[
                "link add br0 type bridge",
                "link set lan0 master br0 up",
                "link set wan0 master br0",
                "link set br0 up",
            ],
        );
        let ends = [
            (gateway, WAN),
            (server, "server0"),
            (&bridge, "lan0"),
            (&bridge, WAN),
        ];
        for (namespace, interface) in ends {
            // Room for the tags beside packets of 1500 octets, which is what clients send.
            ip(namespace, &[&format!("link set {interface} mtu 1508")]);
            if outermost == Outermost::InTheFrame {
                let off = "txvlan off tx-vlan-stag-hw-insert off";
                features(namespace, interface, off);
            }
        }
        let tags = [
            Neighbour::pushing(gateway, WAN, tags),
            Neighbour::popping(gateway, WAN, tags.len()),
            Neighbour::pushing(server, "server0", tags),
            Neighbour::popping(server, "server0", tags.len()),
        ];
        Self {
            network,
            bridge,
            _tags: tags,
        }
    }

    /// The client with the fault is cured at the bridge's port to the server, where frames are as
    /// `frames` describes them to tcpdump.
    fn assert_cured(&mut self, frames: &str, hooks: [&str; 2], options: &[&str]) {
        let mut client = self.network.client();
        let capture = Capture::start(&self.bridge, WAN, frames);
        let cured = assert_cured(&self.bridge, &mut client, &[WAN], options);
        assert_eq!(cured.hooks(), hooks);
        let tagged = capture.stop().len();
        // Twice: handshake, request, response and close.
        assert!(
            tagged > 2 * 4 * usize::from(instance::cure::CONNECTIONS),
            "{tagged} {frames}"
        );
    }
}

const BY_TC: [&str; 2] = ["--ingress", "tc"];

/// To tcpdump.
const ONE: &str = "vlan 100 and tcp";
const TWO: &str = "vlan 200 and vlan 100 and tcp";
const QINQ: [(u16, u16); 2] = [(C_VLAN, 100), (S_VLAN, 200)];

#[test]
fn one_tag_in_the_frame_is_passed_over_by_xdp() {
    Trunk::new(&[(C_VLAN, 100)], Outermost::InTheFrame).assert_cured(ONE, xdp(), &[]);
}

#[test]
fn one_tag_that_is_stripped_is_no_matter_to_xdp() {
    Trunk::new(&[(C_VLAN, 100)], Outermost::Stripped).assert_cured(ONE, xdp(), &[]);
}

#[test]
fn one_tag_that_is_stripped_is_no_matter_to_tc() {
    Trunk::new(&[(C_VLAN, 100)], Outermost::Stripped).assert_cured(ONE, tc(), &BY_TC);
}

#[test]
fn both_tags_of_qinq_in_the_frame_are_passed_over_by_xdp() {
    Trunk::new(&QINQ, Outermost::InTheFrame).assert_cured(TWO, xdp(), &[]);
}

#[test]
fn the_inner_tag_of_qinq_is_passed_over_by_xdp_where_the_outer_is_stripped() {
    Trunk::new(&QINQ, Outermost::Stripped).assert_cured(TWO, xdp(), &[]);
}

#[test]
fn the_inner_tag_of_qinq_is_passed_over_by_tc_where_the_outer_is_stripped() {
    Trunk::new(&QINQ, Outermost::Stripped).assert_cured(TWO, tc(), &BY_TC);
}

#[test]
fn two_customer_tags_are_passed_over_as_those_of_qinq() {
    let tags = [(C_VLAN, 100), (C_VLAN, 200)];
    Trunk::new(&tags, Outermost::InTheFrame).assert_cured(TWO, xdp(), &[]);
}

#[test]
fn ordinary_traffic_with_two_tags_is_unharmed() {
    let mut trunk = Trunk::new(&QINQ, Outermost::InTheFrame);
    let host = trunk.network.topology.add_host().unwrap();
    let servers = Servers::start(&trunk.network.topology.server);
    let served = (&trunk.bridge, &[WAN][..], &[][..]);
    traffic::assert_unharmed(served, (&servers, &host.namespace));
}
