//! Frames that are not understood pass, whatever their flow, and are counted by reason.

use etherparse::{EtherType, IpNumber};
use filter_common::{Direction, Phase, Reason, Segment, Verdict::Pass};
use filter_user::settings::Role;

use crate::{
    frames::{Extension, Ip, TIMESTAMPS, V4, V6, v6},
    kernel::Program,
    row::{CLIENT_FIN, LAST_ACK, Row, Shape},
};

/// Each program that can see the client's segments.
fn rows(name: &str) -> impl Iterator<Item = Row> {
    Program::ETHERNET.into_iter().map(move |program| {
        let name = format!("{name}, {}", program.name());
        let role = if program == Program::Egress {
            Role::Wan
        } else {
            Role::Lan
        };
        let arriving = if program == Program::Egress {
            Program::Ingress
        } else {
            program
        };
        Row::new(name)
            .settings(|settings| settings.role = role)
            .arriving(arriving)
    })
}

fn ip(ip: Ip) -> Shape {
    Shape {
        ip,
        ..Shape::default()
    }
}

fn fragment(offset: u16, more: bool) -> Ip {
    match V4 {
        Ip::V4 {
            client,
            server,
            options,
            ..
        } => Ip::V4 {
            client,
            server,
            options,
            fragment: (offset, more),
        },
        v6 @ Ip::V6 { .. } => v6,
    }
}

/// A segment of the client, wrapped so that it is not understood.
#[expect(clippy::too_many_lines, reason = "a table")]
fn frames(segment: Segment) -> Vec<(&'static str, Vec<u8>, Reason)> {
    let wrapped = |shape: &Shape| shape.frame(Direction::FromClient, segment);
    let changed = |shape: &Shape, at: usize, octets: &[u8]| {
        let mut frame = wrapped(shape);
        frame[at..at + octets.len()].copy_from_slice(octets);
        frame
    };
    let vlan = EtherType::VLAN_TAGGED_FRAME;
    let destination = Extension::Raw(IpNumber::IPV6_DESTINATION_OPTIONS, 0);
    let long = Extension::Raw(IpNumber::IPV6_DESTINATION_OPTIONS, 64);
    let fragment_header = |offset, more| ip(v6(&[Extension::Fragment(offset, more)]));
    let (v4, v6_plain) = (ip(V4), ip(V6));
    let three_tags = Shape {
        tags: vec![vlan; 3],
        ..Shape::default()
    };
    vec![
        ("LLDP", changed(&v4, 12, &[0x88, 0xcc]), Reason::EtherType),
        (
            "a length for an EtherType",
            changed(&v4, 12, &[0, 38]),
            Reason::EtherType,
        ),
        ("three tags", wrapped(&three_tags), Reason::EtherType),
        ("ARP", changed(&v4, 12, &[0x08, 0x06]), Reason::NotTcp),
        ("UDP", changed(&v4, 14 + 9, &[17]), Reason::NotTcp),
        (
            "UDP over IPv6",
            changed(&v6_plain, 14 + 6, &[17]),
            Reason::NotTcp,
        ),
        (
            "a first fragment",
            wrapped(&ip(fragment(0, true))),
            Reason::Fragment,
        ),
        (
            "a middle fragment",
            wrapped(&ip(fragment(1, true))),
            Reason::Fragment,
        ),
        (
            "a last fragment",
            wrapped(&ip(fragment(1, false))),
            Reason::Fragment,
        ),
        (
            "a first fragment of IPv6",
            wrapped(&fragment_header(0, true)),
            Reason::Fragment,
        ),
        (
            "a last fragment of IPv6",
            wrapped(&fragment_header(1, false)),
            Reason::Fragment,
        ),
        (
            "an IPv4 header of 16 octets",
            changed(&v4, 14, &[0x44]),
            Reason::BadHeader,
        ),
        (
            "version 6 behind IPv4's EtherType",
            changed(&v4, 14, &[0x65]),
            Reason::BadHeader,
        ),
        (
            "version 4 behind IPv6's EtherType",
            changed(&v6_plain, 14, &[0x45]),
            Reason::BadHeader,
        ),
        (
            "an IPv4 length of 0",
            changed(&v4, 14 + 2, &[0, 0]),
            Reason::BadHeader,
        ),
        (
            "an IPv6 length of 0",
            changed(&v6_plain, 14 + 4, &[0, 0]),
            Reason::BadHeader,
        ),
        (
            "an IPv4 length within TCP",
            changed(&v4, 14 + 2, &[0, 39]),
            Reason::BadHeader,
        ),
        (
            "an IPv6 length within TCP",
            changed(&v6_plain, 14 + 4, &[0, 19]),
            Reason::BadHeader,
        ),
        (
            "an IPv4 length beyond the frame",
            changed(&v4, 14 + 2, &[0, 41]),
            Reason::Truncated,
        ),
        (
            "an IPv6 length beyond the frame",
            changed(&v6_plain, 14 + 4, &[0, 21]),
            Reason::Truncated,
        ),
        (
            "a data offset of 4",
            changed(&v4, 34 + 12, &[0x40]),
            Reason::BadHeader,
        ),
        (
            "a data offset beyond the datagram",
            changed(&v4, 34 + 12, &[0x60]),
            Reason::BadHeader,
        ),
        (
            "mobility",
            changed(&v6_plain, 14 + 6, &[135]),
            Reason::ExtensionHeader,
        ),
        (
            "segments left",
            wrapped(&ip(v6(&[Extension::Routing(1)]))),
            Reason::ExtensionHeader,
        ),
        (
            "seven extension headers",
            wrapped(&ip(v6(&[destination; 7]))),
            Reason::ExtensionHeader,
        ),
        (
            "520 octets of them",
            wrapped(&ip(v6(&[long]))),
            Reason::ExtensionHeader,
        ),
    ]
}

#[test]
fn what_is_not_understood_passes_though_the_flow_is_closed() {
    for row in rows("the spurious ACK of two closed flows") {
        // Both, since some of the frames are of the one and some of the other.
        let closed = row.closed().shape(ip(V6)).closed();
        frames(LAST_ACK)
            .into_iter()
            .fold(closed, |row, (name, frame, reason)| {
                row.frame(Direction::FromClient, frame, Pass, reason)
                    .called(name)
            })
            .leaves(&[Phase::Closed, Phase::Closed]);
    }
}

#[test]
fn what_is_not_understood_makes_no_flow() {
    for row in rows("the client's FIN") {
        frames(CLIENT_FIN)
            .into_iter()
            .fold(row, |row, (name, frame, reason)| {
                row.frame(Direction::FromClient, frame, Pass, reason)
                    .called(name)
            })
            .leaves(&[]);
    }
}

fn cut_shapes() -> Vec<Shape> {
    let tags = vec![EtherType::PROVIDER_BRIDGING, EtherType::VLAN_TAGGED_FRAME];
    let tcp_options = TIMESTAMPS.to_vec();
    let long = match V4 {
        Ip::V4 {
            client,
            server,
            fragment,
            ..
        } => Ip::V4 {
            client,
            server,
            options: 40,
            fragment,
        },
        v6 @ Ip::V6 { .. } => v6,
    };
    let extended = v6(&[
        Extension::Raw(IpNumber::IPV6_HEADER_HOP_BY_HOP, 1),
        Extension::Fragment(0, false),
        Extension::Authentication,
    ]);
    [V4, V6, long, extended]
        .into_iter()
        .map(|ip| Shape {
            ip,
            tags: tags.clone(),
            tcp_options: tcp_options.clone(),
            padding: 0,
        })
        .collect()
}

/// The kernel gives no program less than an Ethernet header.
fn cuts(frame: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (15..frame.len()).map(|length| frame[..length].to_vec())
}

#[test]
fn a_fin_cut_anywhere_makes_no_flow() {
    for shape in cut_shapes() {
        let frame = shape.frame(Direction::FromClient, CLIENT_FIN);
        for row in rows("a FIN cut short") {
            cuts(&frame)
                .fold(row, |row, cut| {
                    row.frame(Direction::FromClient, cut, Pass, Reason::Truncated)
                })
                .leaves(&[]);
        }
    }
}

#[test]
fn a_spurious_ack_cut_anywhere_passes() {
    for shape in cut_shapes() {
        let frame = shape.frame(Direction::FromClient, LAST_ACK);
        for row in rows("an ACK cut short") {
            cuts(&frame)
                .fold(row.shape(shape.clone()).closed(), |row, cut| {
                    row.frame(Direction::FromClient, cut, Pass, Reason::Truncated)
                })
                .leaves(&[Phase::Closed]);
        }
    }
}

#[test]
fn an_ethernet_header_alone_is_truncated() {
    let frame = ip(V4).frame(Direction::FromClient, LAST_ACK)[..14].to_vec();
    for program in [Program::Xdp, Program::XdpMultiBuffer] {
        Row::new("an Ethernet header")
            .settings(|settings| settings.role = Role::Lan)
            .arriving(program)
            .frame(
                Direction::FromClient,
                frame.clone(),
                Pass,
                Reason::Truncated,
            )
            .leaves(&[]);
    }
}
