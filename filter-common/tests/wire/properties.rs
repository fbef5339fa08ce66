//! Any frame, and any octets.

use std::net::IpAddr;

use etherparse::{
    EtherType, IpNumber, NetSlice, SlicedPacket, TcpOptionElement, TcpOptionReadError,
    TcpOptionsIterator, TransportSlice,
};
use filter_common::{Direction, Flags, Segment, SeqNum, segment::Options, wire};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    frames::{Extension, Frame, Ip, TIMESTAMPS},
    parse,
};

fn direction() -> impl Strategy<Value = Direction> {
    select(vec![Direction::FromClient, Direction::FromServer])
}

/// In the order of RFC 8200, section 4.1.
fn extensions() -> impl Strategy<Value = Vec<Extension>> {
    let raw = |number| (0..9_u8).prop_map(move |units| Extension::Raw(number, units));
    (
        proptest::option::of(raw(IpNumber::IPV6_HEADER_HOP_BY_HOP)),
        proptest::option::of(Just(Extension::Routing(0))),
        proptest::option::of(Just(Extension::Fragment(0, false))),
        proptest::option::of(Just(Extension::Authentication)),
        proptest::option::of(raw(IpNumber::IPV6_DESTINATION_OPTIONS)),
    )
        .prop_map(|(a, b, c, d, e)| [a, b, c, d, e].into_iter().flatten().collect())
}

fn ip() -> impl Strategy<Value = Ip> {
    let v4 = (any::<[u32; 2]>(), 0..=10_usize).prop_map(|([client, server], words)| Ip::V4 {
        client: client.into(),
        server: server.into(),
        options: words * 4,
        fragment: (0, false),
    });
    let v6 = (any::<[u128; 2]>(), extensions()).prop_map(|([client, server], extensions)| Ip::V6 {
        client: client.into(),
        server: server.into(),
        extensions,
    });
    prop_oneof![v4, v6]
}

fn tcp_options() -> impl Strategy<Value = Vec<u8>> {
    let item = prop_oneof![
        4 => Just(vec![1]),
        4 => Just(TIMESTAMPS[2..].to_vec()),
        1 => Just(vec![0]),
        1 => Just(vec![2, 4, 5, 180]),
        1 => vec(any::<u8>(), 1..4),
    ];
    vec(item, 0..5).prop_map(|items| {
        let mut octets = items.concat();
        octets.resize(octets.len().min(40).next_multiple_of(4), 0);
        octets
    })
}

fn segment() -> impl Strategy<Value = Segment> {
    let flags = prop_oneof![Just(0x010), 0..0x1000_u16].prop_map(Flags::from_header);
    let payload = prop_oneof![2 => Just(0), 1 => 0..1500_u32];
    (any::<[u32; 2]>(), flags, payload).prop_map(|([seq, ack], flags, payload)| Segment {
        seq: SeqNum(seq),
        ack: SeqNum(ack),
        flags,
        payload,
        options: Options::Plain,
    })
}

fn frame() -> impl Strategy<Value = Frame> {
    let tags = vec(
        select(vec![
            EtherType::VLAN_TAGGED_FRAME,
            EtherType::PROVIDER_BRIDGING,
        ]),
        0..=2,
    );
    (
        direction(),
        tags,
        ip(),
        any::<[u16; 2]>(),
        segment(),
        tcp_options(),
        0..20_usize,
    )
        .prop_map(
            |(direction, tags, ip, [client_port, server_port], segment, tcp_options, padding)| {
                Frame {
                    direction,
                    tags,
                    pppoe: false,
                    ip,
                    client_port,
                    server_port,
                    segment,
                    tcp_options,
                    padding,
                }
            },
        )
}

fn addresses(net: &NetSlice<'_>) -> (IpAddr, IpAddr) {
    match net {
        NetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            (
                IpAddr::from(header.source_addr()).to_canonical(),
                IpAddr::from(header.destination_addr()).to_canonical(),
            )
        }
        NetSlice::Arp(_) => panic!("no frame of these holds ARP"),
    }
}

fn class(options: TcpOptionsIterator<'_>) -> Options {
    let plain = |option: Result<TcpOptionElement, TcpOptionReadError>| {
        matches!(
            option,
            Ok(TcpOptionElement::Noop | TcpOptionElement::Timestamp(..))
        )
    };
    if options.into_iter().all(plain) {
        Options::Plain
    } else {
        Options::Other
    }
}

/// No segment has more payload than its frame has octets.
fn is_consistent(octets: &[u8], direction: Direction) -> bool {
    parse(octets, direction).map_or(true, |(_, segment)| {
        segment.payload as usize <= octets.len()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_frame_is_understood_as_another_parser_does(frame in frame()) {
        let octets = frame.octets();
        let theirs = SlicedPacket::from_ethernet(&octets).expect("a whole frame");
        let (source, destination) = addresses(&theirs.net.expect("it has an IP header"));
        let Some(TransportSlice::Tcp(tcp)) = theirs.transport else {
            panic!("it holds TCP");
        };
        let (key, segment) = parse(&octets, frame.direction).expect("a whole frame");
        let ours = [
            (key.client_address(), key.client_port()),
            (key.server_address(), key.server_port()),
        ];
        let mut theirs = [(source, tcp.source_port()), (destination, tcp.destination_port())];
        if frame.direction == Direction::FromServer {
            theirs.reverse();
        }
        prop_assert_eq!(ours, theirs);
        prop_assert_eq!(segment.seq.0, tcp.sequence_number());
        prop_assert_eq!(segment.ack.0, tcp.acknowledgment_number());
        prop_assert_eq!(segment.payload as usize, tcp.payload().len());
        prop_assert_eq!(segment.flags, frame.segment.flags);
        let flags = [tcp.fin(), tcp.syn(), tcp.rst(), tcp.psh(), tcp.ack(), tcp.urg(), tcp.ece(), tcp.cwr(), tcp.ns()];
        for (bit, set) in flags.into_iter().enumerate() {
            prop_assert_eq!(segment.flags.any(Flags::from_header(1 << bit)), set, "bit {}", bit);
        }
        let expected =
            if segment.is_bare_ack() { class(tcp.options_iterator()) } else { Options::Plain };
        prop_assert_eq!(segment.options, expected);
    }

    #[test]
    fn a_segment_and_its_answer_share_slot_and_key(frame in frame(), secret: u64) {
        let other = match frame.direction {
            Direction::FromClient => Direction::FromServer,
            Direction::FromServer => Direction::FromClient,
        };
        let answer = Frame { direction: other, tags: Vec::new(), ..frame.clone() };
        let (there, back) = (frame.octets(), answer.octets());
        let located = wire::locate(&there[..], wire::Link::Ethernet, frame.direction, secret).expect("whole");
        let answered = wire::locate(&back[..], wire::Link::Ethernet, other, secret).expect("whole");
        prop_assert_eq!(located.hash, answered.hash);
        prop_assert_eq!(
            wire::key(&there[..], &located, frame.direction),
            wire::key(&back[..], &answered, other)
        );
    }

    #[test]
    fn a_frame_cut_short_is_never_misread(frame in frame(), cut in any::<prop::sample::Index>()) {
        let octets = Frame { padding: 0, ..frame.clone() }.octets();
        let cut = &octets[..cut.index(octets.len())];
        prop_assert_eq!(parse(cut, frame.direction), Err(filter_common::Reason::Truncated));
    }

    #[test]
    fn no_octets_make_it_panic(
        octets in vec(any::<u8>(), 0..200),
        ethertype in select(vec![0x0800_u16, 0x86dd, 0x8100, 0x88a8]),
        direction in direction(),
    ) {
        prop_assert!(is_consistent(&octets, direction));
        let mut octets = octets;
        if octets.len() >= 20 {
            // Or hardly any would get past the link layer.
            octets[12..14].copy_from_slice(&ethertype.to_be_bytes());
            octets[16..18].copy_from_slice(&ethertype.to_be_bytes());
            prop_assert!(is_consistent(&octets, direction));
            octets[14] = if ethertype == 0x0800 { 0x45 } else { 0x60 };
            prop_assert!(is_consistent(&octets, direction));
        }
    }

    #[test]
    fn no_change_of_an_octet_makes_it_panic(
        frame in frame(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut octets = frame.octets();
        for (at, value) in changes {
            let at = at.index(octets.len().min(120));
            octets[at] = value;
        }
        prop_assert!(is_consistent(&octets, frame.direction));
    }
}
