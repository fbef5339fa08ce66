//! Frames of every shape that is understood: the spurious ACK in it is dropped.

use etherparse::IpNumber;
use filter_common::{
    Direction, Phase, Reason,
    Verdict::{Drop, Pass},
};
use filter_user::settings::Role;

use crate::{
    frames::{Extension, Ip, TIMESTAMPS, V4, V6, v6},
    kernel::Program,
    row::{CLIENT_FIN, LAST_ACK, Row, Shape},
};

fn v4_with_options(octets: usize) -> Ip {
    match V4 {
        Ip::V4 {
            client,
            server,
            fragment,
            ..
        } => Ip::V4 {
            client,
            server,
            options: octets,
            fragment,
        },
        v6 @ Ip::V6 { .. } => v6,
    }
}

fn shapes() -> Vec<(&'static str, Shape)> {
    let hop_by_hop = Extension::Raw(IpNumber::IPV6_HEADER_HOP_BY_HOP, 0);
    let destination = |units| Extension::Raw(IpNumber::IPV6_DESTINATION_OPTIONS, units);
    let shape = |ip| Shape {
        ip,
        ..Shape::default()
    };
    vec![
        ("IPv4 with 4 octets of options", shape(v4_with_options(4))),
        ("IPv4 with 40 octets of options", shape(v4_with_options(40))),
        ("IPv6 with a hop-by-hop header", shape(v6(&[hop_by_hop]))),
        (
            "IPv6 with a routing header, nothing left",
            shape(v6(&[Extension::Routing(0)])),
        ),
        (
            "IPv6 with a long destination header",
            shape(v6(&[destination(63)])),
        ),
        (
            "IPv6 with an authentication header",
            shape(v6(&[Extension::Authentication])),
        ),
        (
            "IPv6 with an atomic fragment",
            shape(v6(&[Extension::Fragment(0, false)])),
        ),
        (
            "IPv6 with six extension headers",
            shape(v6(&[destination(0); 6])),
        ),
        (
            "IPv4 with Ethernet's padding",
            Shape {
                padding: 6,
                ..shape(V4)
            },
        ),
        (
            "IPv6 with padding",
            Shape {
                padding: 100,
                ..shape(V6)
            },
        ),
        (
            "all at once",
            Shape {
                tcp_options: TIMESTAMPS.to_vec(),
                padding: 4,
                ..shape(v6(&[hop_by_hop, Extension::Routing(0), destination(3)]))
            },
        ),
    ]
}

#[test]
fn a_spurious_ack_is_dropped_in_every_shape() {
    for (name, shape) in shapes() {
        Row::new(format!("{name}, egress"))
            .shape(shape.clone())
            .closed()
            .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
            .leaves(&[Phase::Closed]);
        for arriving in Program::ARRIVING {
            Row::new(format!("{name}, {}", arriving.name()))
                .settings(|settings| settings.role = Role::Lan)
                .arriving(arriving)
                .shape(shape.clone())
                .closed()
                .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
                .leaves(&[Phase::Closed]);
        }
    }
}

#[test]
fn option_lists_of_every_length_are_read() {
    for octets in (4..=40).step_by(4) {
        let mut tcp_options = vec![1; octets];
        if octets >= 12 {
            tcp_options[octets - 10..].copy_from_slice(&TIMESTAMPS[2..]);
        }
        for arriving in [Program::XdpMultiBuffer, Program::Ingress] {
            Row::new(format!("{octets} octets of options, {}", arriving.name()))
                .settings(|settings| settings.role = Role::Lan)
                .arriving(arriving)
                .shape(Shape {
                    tcp_options: tcp_options.clone(),
                    ..Shape::default()
                })
                .closed()
                .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
                .leaves(&[Phase::Closed]);
        }
    }
}

/// It reads no list but that of timestamps, and lets pass what it does not read.
#[test]
fn xdp_of_one_buffer_passes_option_lists_of_other_lengths() {
    use crate::kernel::Kernel;
    let settings = filter_user::settings::Settings {
        role: Role::Lan,
        max_flows: 1024,
        ..filter_user::settings::Settings::default()
    };
    let mut kernel = Kernel::load(&settings);
    let shape = Shape {
        tcp_options: vec![1; 8],
        ..Shape::default()
    };
    let client = |segment| shape.frame(Direction::FromClient, segment);
    let server = shape.frame(Direction::FromServer, crate::row::SERVER_FIN);
    assert_eq!(kernel.run(Program::Xdp, &client(CLIENT_FIN)), Pass);
    assert_eq!(kernel.run(Program::Egress, &server), Pass);
    assert_eq!(kernel.run(Program::Xdp, &client(LAST_ACK)), Pass);
    assert_eq!(kernel.run(Program::Xdp, &client(LAST_ACK)), Pass);
    assert_eq!(kernel.count(Reason::OtherOptions), 1);
}

#[test]
fn two_flows_are_kept_apart() {
    let other = Shape {
        ip: V6,
        ..Shape::default()
    };
    let frame = |segment| other.frame(Direction::FromClient, segment);
    Row::new("IPv4 closes, IPv6 is half-closed")
        .closed()
        .frame(
            Direction::FromClient,
            frame(CLIENT_FIN),
            Pass,
            Reason::FlowCreated,
        )
        .frame(
            Direction::FromClient,
            frame(LAST_ACK),
            Pass,
            Reason::HalfClosed,
        )
        .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
        .leaves(&[Phase::HalfClosed, Phase::Closed]);
}
