//! Tags, IP headers, extension headers, fragments.

use etherparse::{EtherType, IpNumber};
use filter_common::{
    Direction, Flags, Reason, Segment, SeqNum,
    segment::Options,
    wire::{self, Link},
};

use crate::{
    frames::{Extension, Frame, Ip, TIMESTAMPS, V4, V6, v6},
    parse,
};

const VLAN: EtherType = EtherType::VLAN_TAGGED_FRAME;
const QINQ: EtherType = EtherType::PROVIDER_BRIDGING;
const HOP_BY_HOP: Extension = Extension::Raw(IpNumber::IPV6_HEADER_HOP_BY_HOP, 0);
const DESTINATION: Extension = Extension::Raw(IpNumber::IPV6_DESTINATION_OPTIONS, 2);

pub(crate) const SEGMENT: Segment = Segment {
    seq: SeqNum(0x0102_0304),
    ack: SeqNum(0xa1a2_a3a4),
    flags: Flags::ACK,
    payload: 3,
    options: Options::Plain,
};

pub(crate) fn frame(ip: Ip) -> Frame {
    Frame::new(Direction::FromClient, ip, SEGMENT)
}

fn reason(ip: Ip) -> Option<Reason> {
    parse(&frame(ip).octets(), Direction::FromClient).err()
}

/// The segment that was put in comes out.
fn assert_understood(frame: &Frame) {
    let (key, segment) = parse(&frame.octets(), frame.direction)
        .unwrap_or_else(|reason| panic!("{reason:?}: {frame:?}"));
    assert_eq!(segment, frame.segment, "{frame:?}");
    let (client, server) = match &frame.ip {
        Ip::V4 { client, server, .. } => (client.to_string(), server.to_string()),
        Ip::V6 { client, server, .. } => (client.to_string(), server.to_string()),
    };
    assert_eq!(key.client_address().to_string(), client);
    assert_eq!(key.server_address().to_string(), server);
    assert_eq!(
        (key.client_port(), key.server_port()),
        (frame.client_port, frame.server_port)
    );
}

#[test]
fn up_to_two_tags_of_either_kind_are_looked_through() {
    for tags in [
        vec![],
        vec![VLAN],
        vec![QINQ],
        vec![QINQ, VLAN],
        vec![VLAN, VLAN],
    ] {
        for ip in [V4, V6] {
            assert_understood(&Frame {
                tags: tags.clone(),
                ..frame(ip)
            });
        }
    }
    let three = Frame {
        tags: vec![QINQ, VLAN, VLAN],
        ..frame(V4)
    };
    assert_eq!(
        parse(&three.octets(), Direction::FromClient),
        Err(Reason::EtherType)
    );
}

#[test]
fn sessions_of_pppoe_are_looked_into_behind_tags_too() {
    for tags in [vec![], vec![VLAN], vec![QINQ, VLAN]] {
        for ip in [V4, V6, v6(&[HOP_BY_HOP, DESTINATION])] {
            assert_understood(&Frame {
                tags: tags.clone(),
                pppoe: true,
                padding: 7,
                ..frame(ip)
            });
        }
    }
}

#[test]
fn what_a_session_carries_besides_ip_passes_for_its_reason() {
    let whole = Frame {
        pppoe: true,
        ..frame(V4)
    };
    for (at, octets, expected) in [
        (14, [0x21, 0], Reason::BadHeader),
        (14, [0x11, 0xa7], Reason::BadHeader),
        (20, [0xc0, 0x21], Reason::NotTcp),
        (20, [0x80, 0x57], Reason::NotTcp),
        (20, [0x00, 0xfd], Reason::EtherType),
        (20, [0x00, 0x2d], Reason::EtherType),
    ] {
        let mut frame = whole.octets();
        frame[at..at + 2].copy_from_slice(&octets);
        let parsed = parse(&frame, Direction::FromClient);
        assert_eq!(parsed, Err(expected), "{octets:02x?} at {at}");
    }
    let cut = &whole.octets()[..21];
    assert_eq!(parse(cut, Direction::FromClient), Err(Reason::Truncated));
}

#[test]
fn without_an_ethernet_header_the_version_tells() {
    for ip in [V4, V6, v6(&[HOP_BY_HOP])] {
        let frame = frame(ip);
        let parse = |octets: &[u8], link| {
            let located = wire::locate(octets, link, Direction::FromClient, 7)?;
            let segment = wire::segment(octets, &located)?;
            Ok((wire::key(octets, &located, Direction::FromClient)?, segment))
        };
        let bare = parse(&frame.datagram(), Link::Ip);
        assert_eq!(bare, parse(&frame.octets(), Link::Ethernet));
        assert_eq!(bare.map(|(_, segment)| segment), Ok(SEGMENT));
        let mut other = frame.datagram();
        other[0] = 0x55;
        assert_eq!(parse(&other, Link::Ip), Err(Reason::EtherType));
        assert_eq!(parse(&[], Link::Ip), Err(Reason::Truncated));
    }
}

#[test]
fn tags_and_directions_are_not_part_of_the_key() {
    let there = frame(V6);
    let back = Frame {
        direction: Direction::FromServer,
        tags: vec![VLAN],
        ..frame(V6)
    };
    let key = |frame: &Frame| parse(&frame.octets(), frame.direction).map(|(key, _)| key);
    assert_eq!(key(&there), key(&back));
    assert!(key(&there).is_ok());
}

#[test]
fn other_ethertypes_are_counted_and_arp_is_not() {
    for (ethertype, expected) in [
        (0x0806, Reason::NotTcp),
        (0x0026, Reason::EtherType),
        (0x88cc, Reason::EtherType),
        (0x8847, Reason::EtherType),
        (0x8863, Reason::NotTcp),
    ] {
        let mut octets = frame(V4).octets();
        octets[12..14].copy_from_slice(&u16::to_be_bytes(ethertype));
        assert_eq!(
            parse(&octets, Direction::FromClient),
            Err(expected),
            "{ethertype:#06x}"
        );
    }
}

#[test]
fn other_protocols_are_no_tcp() {
    for protocol in [0, 1, 2, 17, 47, 50, 58, 132, 255] {
        let mut octets = frame(V4).octets();
        octets[14 + 9] = protocol;
        assert_eq!(
            parse(&octets, Direction::FromClient),
            Err(Reason::NotTcp),
            "{protocol}"
        );
    }
    for protocol in [1, 2, 4, 17, 41, 47, 50, 58, 59, 132, 255] {
        let mut octets = frame(V6).octets();
        octets[14 + 6] = protocol;
        assert_eq!(
            parse(&octets, Direction::FromClient),
            Err(Reason::NotTcp),
            "{protocol}"
        );
    }
}

#[test]
fn ipv4_options_of_any_length_are_skipped() {
    for octets in (0..=40).step_by(4) {
        let Ip::V4 {
            client,
            server,
            fragment,
            ..
        } = V4
        else {
            unreachable!()
        };
        assert_understood(&frame(Ip::V4 {
            client,
            server,
            options: octets,
            fragment,
        }));
    }
}

#[test]
fn an_ip_header_that_is_none_is_a_bad_one() {
    for version_and_length in [0x05, 0x40, 0x44, 0x55, 0x65] {
        let mut octets = frame(V4).octets();
        octets[14] = version_and_length;
        let expected = Err(Reason::BadHeader);
        assert_eq!(
            parse(&octets, Direction::FromClient),
            expected,
            "{version_and_length:#x}"
        );
    }
    for version in [0x00, 0x45, 0x70] {
        let mut octets = frame(V6).octets();
        octets[14] = version;
        assert_eq!(
            parse(&octets, Direction::FromClient),
            Err(Reason::BadHeader),
            "{version:#x}"
        );
    }
}

/// With a header of 16 octets all else would agree: TCP would start in the destination.
#[test]
fn an_ipv4_header_shorter_than_its_fields_is_a_bad_one() {
    let mut octets = frame(V4).octets();
    octets.drain(14 + 16..14 + 20);
    octets[14] = 0x44;
    octets[14 + 3] -= 4;
    assert_eq!(
        parse(&octets, Direction::FromClient),
        Err(Reason::BadHeader)
    );
}

#[test]
fn fragments_are_left_alone_first_middle_and_last() {
    for fragment in [(0, true), (1, true), (1, false), (0x1fff, false)] {
        let Ip::V4 {
            client,
            server,
            options,
            ..
        } = V4
        else {
            unreachable!()
        };
        let ip = Ip::V4 {
            client,
            server,
            options,
            fragment,
        };
        assert_eq!(reason(ip), Some(Reason::Fragment), "{fragment:?}");
        let (offset, more) = fragment;
        let ip = v6(&[Extension::Fragment(offset, more)]);
        assert_eq!(reason(ip), Some(Reason::Fragment), "{fragment:?}");
    }
}

#[test]
fn do_not_fragment_and_the_reserved_bit_make_no_fragment() {
    for bits in [0x40, 0x80, 0xc0] {
        let mut octets = frame(V4).octets();
        octets[14 + 6] = bits;
        assert!(parse(&octets, Direction::FromClient).is_ok(), "{bits:#x}");
    }
}

#[test]
fn an_atomic_fragment_is_whole() {
    assert_understood(&frame(v6(&[Extension::Fragment(0, false)])));
    assert_understood(&frame(v6(&[
        HOP_BY_HOP,
        Extension::Fragment(0, false),
        DESTINATION,
    ])));
    let mut reserved_bits = frame(v6(&[Extension::Fragment(0, false)])).octets();
    reserved_bits[14 + 40 + 1] = 0xff;
    reserved_bits[14 + 40 + 3] = 0x06;
    assert!(parse(&reserved_bits, Direction::FromClient).is_ok());
}

#[test]
fn extension_headers_are_walked() {
    for extension in [
        HOP_BY_HOP,
        DESTINATION,
        Extension::Routing(0),
        Extension::Authentication,
    ] {
        let mut frame = frame(v6(&[extension]));
        frame.tcp_options = TIMESTAMPS.to_vec();
        assert_understood(&frame);
    }
    let all = [
        HOP_BY_HOP,
        DESTINATION,
        Extension::Routing(0),
        Extension::Fragment(0, false),
        Extension::Authentication,
        DESTINATION,
    ];
    assert_understood(&frame(v6(&all)));
}

#[test]
fn a_routing_header_with_segments_left_has_another_destination() {
    for left in [1, 2, 255] {
        let ip = v6(&[Extension::Routing(left)]);
        assert_eq!(reason(ip), Some(Reason::ExtensionHeader), "{left}");
    }
}

#[test]
fn six_extension_headers_are_walked_and_not_seven() {
    assert_understood(&frame(v6(&[DESTINATION; 6])));
    assert_eq!(reason(v6(&[DESTINATION; 7])), Some(Reason::ExtensionHeader));
}

#[test]
fn extension_headers_of_512_octets_are_walked_and_no_more() {
    let destination = |units| Extension::Raw(IpNumber::IPV6_DESTINATION_OPTIONS, units);
    assert_understood(&frame(v6(&[destination(63)])));
    assert_eq!(
        reason(v6(&[destination(64)])),
        Some(Reason::ExtensionHeader)
    );
    assert_understood(&frame(v6(&[destination(31), destination(31)])));
    assert_eq!(
        reason(v6(&[destination(31), destination(32)])),
        Some(Reason::ExtensionHeader)
    );
}

#[test]
fn extension_headers_that_we_do_not_walk_are_counted() {
    for number in [135, 139, 140, 253, 254] {
        let unknown = Extension::Raw(IpNumber(number), 0);
        assert_eq!(
            reason(v6(&[unknown])),
            Some(Reason::ExtensionHeader),
            "{number}"
        );
        assert_eq!(
            reason(v6(&[HOP_BY_HOP, unknown])),
            Some(Reason::ExtensionHeader),
            "{number}"
        );
    }
}

#[test]
fn other_protocols_behind_extension_headers_are_no_tcp() {
    let mut octets = frame(v6(&[HOP_BY_HOP])).octets();
    octets[14 + 40] = 17;
    assert_eq!(parse(&octets, Direction::FromClient), Err(Reason::NotTcp));
}
