//! Lengths that disagree, and frames that end too early.

use etherparse::{EtherType, IpNumber};
use filter_common::{Direction, Flags, Reason, Segment};

use crate::{
    frames::{Extension, Frame, Ip, TIMESTAMPS, V4, V6, v6},
    headers::{SEGMENT, frame},
    parse,
};

fn samples() -> Vec<Frame> {
    let Ip::V4 {
        client,
        server,
        fragment,
        ..
    } = V4
    else {
        unreachable!()
    };
    let mut samples = vec![
        frame(V4),
        frame(V6),
        frame(Ip::V4 {
            client,
            server,
            options: 40,
            fragment,
        }),
        frame(v6(&[
            Extension::Raw(IpNumber::IPV6_HEADER_HOP_BY_HOP, 1),
            Extension::Fragment(0, false),
            Extension::Authentication,
        ])),
    ];
    for sample in samples.clone() {
        samples.push(Frame {
            tags: vec![EtherType::VLAN_TAGGED_FRAME; 2],
            ..sample
        });
    }
    for sample in &mut samples {
        sample.tcp_options = TIMESTAMPS.to_vec();
        sample.segment.payload = 0;
    }
    samples
}

#[test]
fn a_frame_cut_anywhere_is_truncated() {
    for sample in samples() {
        let octets = sample.octets();
        assert!(parse(&octets, sample.direction).is_ok());
        for length in 0..octets.len() {
            let cut = parse(&octets[..length], sample.direction);
            assert_eq!(cut, Err(Reason::Truncated), "{length} of {sample:?}");
        }
    }
}

#[test]
fn payload_is_what_the_ip_header_says_and_not_ethernets_padding() {
    for ip in [V4, V6] {
        let segment = Segment {
            payload: 0,
            ..SEGMENT
        };
        let padded = Frame {
            segment,
            padding: 6,
            ..frame(ip.clone())
        };
        let (_, parsed) = parse(&padded.octets(), padded.direction).unwrap();
        assert_eq!(parsed.payload, 0);
        assert!(parsed.is_bare_ack());
        let carries = Frame {
            padding: 6,
            ..frame(ip)
        };
        let (_, parsed) = parse(&carries.octets(), carries.direction).unwrap();
        assert_eq!(parsed.payload, 3);
    }
}

/// Of the length field: its offset in the frame, and what of the datagram it counts not.
fn length_field(ip: &Ip) -> (usize, usize) {
    match ip {
        Ip::V4 { .. } => (14 + 2, 0),
        Ip::V6 { .. } => (14 + 4, 40),
    }
}

fn with_length(frame: &Frame, datagram: usize) -> Vec<u8> {
    let (at, less) = length_field(&frame.ip);
    let field = u16::try_from(datagram - less).expect("fits");
    let mut octets = frame.octets();
    octets[at..at + 2].copy_from_slice(&field.to_be_bytes());
    octets
}

#[test]
fn a_datagram_longer_than_its_frame_is_truncated() {
    for ip in [V4, V6] {
        let frame = frame(ip);
        let whole = frame.octets().len() - 14;
        assert!(parse(&with_length(&frame, whole), frame.direction).is_ok());
        for longer in [whole + 1, 65_000] {
            let octets = with_length(&frame, longer);
            assert_eq!(parse(&octets, frame.direction), Err(Reason::Truncated));
        }
    }
}

#[test]
fn a_datagram_shorter_than_its_headers_is_a_bad_one() {
    for ip in [V4, V6] {
        let frame = Frame {
            tcp_options: TIMESTAMPS.to_vec(),
            ..frame(ip)
        };
        let headers = frame.octets().len() - 14 - 3;
        let (_, segment) = parse(&with_length(&frame, headers), frame.direction).unwrap();
        assert_eq!(segment.payload, 0);
        for shorter in [headers - 1, headers - 12, headers - 30] {
            let octets = with_length(&frame, shorter);
            assert_eq!(
                parse(&octets, frame.direction),
                Err(Reason::BadHeader),
                "{shorter}"
            );
        }
    }
}

#[test]
fn a_data_offset_below_5_or_beyond_the_datagram_is_a_bad_one() {
    for (ip, transport) in [(V4, 34), (V6, 54)] {
        let frame = frame(ip);
        let mut octets = frame.octets();
        for offset in (0..5).chain(6..16) {
            octets[transport + 12] = offset << 4;
            assert_eq!(
                parse(&octets, frame.direction),
                Err(Reason::BadHeader),
                "{offset}"
            );
        }
        octets[transport + 12] = 5 << 4;
        assert!(parse(&octets, frame.direction).is_ok());
    }
}

#[test]
fn big_tcp_takes_its_length_from_the_frame() {
    for ip in [V4, V6] {
        let (_, less) = length_field(&ip);
        let zero = with_length(&frame(ip.clone()), less);
        let headers = zero.len() - 3;
        for (length, expected) in [
            (headers + 3, Err(Reason::BadHeader)),
            (14 + 65_535, Err(Reason::BadHeader)),
            (14 + 65_536, Ok(14 + 65_536 - headers)),
            (200_000, Ok(200_000 - headers)),
        ] {
            let mut octets = zero.clone();
            octets.resize(length, 0);
            let payload =
                parse(&octets, Direction::FromClient).map(|(_, segment)| segment.payload as usize);
            assert_eq!(payload, expected, "{length}");
        }
    }
}

/// The kernel's form of it for IPv6: a jumbo payload option in a hop-by-hop header.
#[test]
fn big_tcp_behind_a_hop_by_hop_header_is_understood() {
    let jumbo = frame(v6(&[Extension::Raw(IpNumber::IPV6_HEADER_HOP_BY_HOP, 0)]));
    let mut octets = with_length(&jumbo, 40);
    octets.resize(100_000, 0);
    let (_, segment) = parse(&octets, jumbo.direction).unwrap();
    assert_eq!(segment.payload, 100_000 - 14 - 40 - 8 - 20);
    assert_eq!(segment.flags, Flags::ACK);
}
