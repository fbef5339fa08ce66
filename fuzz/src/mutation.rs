//! Frames that nobody would send: well-formed ones that were then damaged, and noise.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{EtherType, IpNumber};
use fastrand::Rng;
use filter_common::{Direction, Flags, Segment, SeqNum, segment::Options};

use crate::frames::{Extension, Frame, Ip, TIMESTAMPS};

/// Where the headers of most frames are.
const HEADERS: usize = 120;

/// How a frame came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Origin {
    /// As a stack would build it, but for its tags and extension headers, which may be many.
    WellFormed,
    /// Bits flipped, octets set, lengths and protocols changed in its headers.
    Damaged,
    /// Cut short, or with octets behind it.
    Resized,
    /// The head of one and the tail of another.
    Spliced,
    /// With something that one parser looks into and the other does not.
    Wrapped,
    /// Longer than an IP header can say, and so with a length of 0; or short and with that.
    LengthZero,
    /// Noise behind an Ethernet and half an IP header.
    HalfNoise,
    /// Nothing but noise.
    Noise,
}

impl Origin {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 8] = [
        Self::WellFormed,
        Self::Damaged,
        Self::Resized,
        Self::Spliced,
        Self::Wrapped,
        Self::LengthZero,
        Self::HalfNoise,
        Self::Noise,
    ];
}

/// Any frame, and how it came about.
pub fn frame(random: &mut Rng) -> (Origin, Vec<u8>) {
    let origin = match random.u8(..100) {
        0..15 => Origin::WellFormed,
        15..55 => Origin::Damaged,
        55..70 => Origin::Resized,
        70..75 => Origin::Spliced,
        75..80 => Origin::Wrapped,
        80..83 => Origin::LengthZero,
        83..98 => Origin::HalfNoise,
        _ => Origin::Noise,
    };
    let mut octets = well_formed(random).octets();
    match origin {
        Origin::WellFormed => {}
        Origin::Damaged => damage(random, &mut octets),
        Origin::Resized => {
            if random.bool() {
                damage(random, &mut octets);
            }
            if random.u8(..4) != 0 {
                octets.truncate(random.usize(..=octets.len()));
            } else {
                octets.resize(octets.len() + random.usize(1..40), random.u8(..));
            }
        }
        Origin::Spliced => {
            let other = well_formed(random).octets();
            octets.truncate(random.usize(..octets.len().min(HEADERS)));
            let from = random.usize(..other.len().min(HEADERS));
            octets.extend(&other[from..]);
        }
        Origin::Wrapped => wrap(random, &mut octets),
        Origin::LengthZero => length_zero(random, &mut octets),
        Origin::HalfNoise => half_noise(random, &mut octets),
        Origin::Noise => octets = noise(random, 200),
    }
    (origin, octets)
}

fn noise(random: &mut Rng, most: usize) -> Vec<u8> {
    let length = random.usize(..=most);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

/// Where the IP header begins, behind whatever tags there are.
fn network(octets: &[u8]) -> usize {
    let tags = octets[12..]
        .chunks(4)
        .take_while(|tag| matches!(tag, [0x81 | 0x91, 0, ..] | [0x88, 0xa8, ..]));
    let header = 14 + 4 * tags.count();
    let is_session = octets.get(header - 2..header) == Some(&[0x88, 0x64]);
    header + 8 * usize::from(is_session)
}

/// Changes an octet, or some, of a frame of at least 54.
pub(crate) fn damage(random: &mut Rng, octets: &mut [u8]) {
    for _ in 0..random.u8(1..4) {
        let network = network(octets).min(octets.len().saturating_sub(48));
        let headers = octets.len().min(HEADERS);
        let at = random.usize(..headers);
        match random.u8(..8) {
            0 | 1 => octets[at] ^= 1 << random.u8(..8),
            2 | 3 => octets[at] = random.u8(..),
            // Version and header length; total length; fragment; protocol. Of IPv6 the length
            // and the next header.
            4 => {
                let field = *random.choice(&[0, 2, 3, 4, 5, 6, 7, 9]).unwrap_or(&0);
                octets[network + field] = interesting(random);
            }
            // The first extension header, or the TCP header behind IPv6.
            5 => octets[network + 40 + random.usize(..4)] = interesting(random),
            // IPv4's ports, and the data offset and flags of TCP behind it.
            6 if octets.len() > network + 34 => octets[network + 32] = random.u8(..),
            _ => {
                let other = random.usize(..headers);
                octets.swap(at, other);
            }
        }
    }
}

/// Protocols, extension headers, small lengths, or anything.
fn interesting(random: &mut Rng) -> u8 {
    const NUMBERS: [u8; 20] = [
        0, 1, 2, 6, 17, 43, 44, 50, 51, 58, 59, 60, 135, 139, 140, 253, 0x45, 0x46, 0x60, 0xff,
    ];
    if random.bool() {
        *random.choice(&NUMBERS).unwrap_or(&0)
    } else {
        random.u8(..)
    }
}

fn wrap(random: &mut Rng, octets: &mut Vec<u8>) {
    let network = network(octets);
    if octets[network] >> 4 == 4 && random.bool() {
        let header = usize::from(octets[network] & 0x0f) * 4;
        let authentication = [
            octets[network + 9],
            4,
            0,
            0,
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            2,
            7,
            7,
            7,
            7,
            7,
            7,
            7,
            7,
            7,
            7,
            7,
            7,
        ];
        octets[network + 9] = 51;
        let length = u16::from_be_bytes([octets[network + 2], octets[network + 3]]) + 24;
        octets[network + 2..network + 4].copy_from_slice(&length.to_be_bytes());
        octets.splice(network + header..network + header, authentication);
    } else {
        // MACsec: neither encrypted nor changed.
        octets.splice(12..12, [0x88, 0xe5, 0, 0, 0, 0, 0, 1]);
    }
}

fn length_zero(random: &mut Rng, octets: &mut Vec<u8>) {
    let network = network(octets);
    let field = if octets[network] >> 4 == 4 { 2 } else { 4 };
    octets[network + field..network + field + 2].fill(0);
    if random.u8(..20) == 0 {
        octets.resize(network + random.usize(65_530..65_560), 0x55);
    }
}

/// What makes a parser go on, and noise for the rest.
fn half_noise(random: &mut Rng, octets: &mut Vec<u8>) {
    let network = network(octets);
    octets.truncate(network + 1);
    octets.extend(noise(random, 160));
    let is_v6 = octets[network] >> 4 == 6;
    if let Some([high, low]) = octets.get_mut(network + 2..network + 4)
        && !is_v6
    {
        (*high, *low) = (0, random.u8(..));
    }
    if let Some([high, low]) = octets.get_mut(network + 4..network + 6)
        && is_v6
    {
        (*high, *low) = (0, random.u8(..));
    }
    let protocol = network + if is_v6 { 6 } else { 9 };
    if let Some(protocol) = octets.get_mut(protocol) {
        *protocol = if random.bool() {
            6
        } else {
            interesting(random)
        };
    }
    if let Some([high, low]) = octets.get_mut(network + 6..network + 8)
        && !is_v6
        && random.u8(..4) != 0
    {
        (*high, *low) = (0, 0);
    }
}

fn well_formed(random: &mut Rng) -> Frame {
    let tags = *random.choice(&[0, 0, 0, 0, 1, 1, 2, 3]).unwrap_or(&0_usize);
    let direction = if random.bool() {
        Direction::FromClient
    } else {
        Direction::FromServer
    };
    let flags = match random.u8(..4) {
        0 => random.u16(..0x1000),
        1 => 0x011,
        _ => 0x010,
    };
    let segment = Segment {
        seq: SeqNum(random.u32(..)),
        ack: SeqNum(random.u32(..)),
        flags: Flags::from_header(flags),
        payload: if random.bool() { 0 } else { random.u32(..60) },
        options: Options::Plain,
    };
    Frame {
        tags: std::iter::repeat_with(|| tag(random)).take(tags).collect(),
        pppoe: random.u8(..8) == 0,
        client_port: random.u16(..),
        server_port: random.u16(..),
        tcp_options: tcp_options(random),
        padding: if random.bool() { 0 } else { random.usize(..20) },
        ..Frame::new(direction, ip(random), segment)
    }
}

fn tag(random: &mut Rng) -> EtherType {
    match random.u8(..12) {
        0 => EtherType::VLAN_DOUBLE_TAGGED_FRAME,
        1..6 => EtherType::PROVIDER_BRIDGING,
        _ => EtherType::VLAN_TAGGED_FRAME,
    }
}

fn tcp_options(random: &mut Rng) -> Vec<u8> {
    let mut octets = Vec::new();
    for _ in 0..*random.choice(&[0, 0, 1, 2, 4]).unwrap_or(&0) {
        match random.u8(..6) {
            0 | 1 => octets.push(1),
            2 => octets.extend(&TIMESTAMPS[2..]),
            3 => octets.push(0),
            4 => octets.extend([2, 4, 5, 180]),
            _ => octets.extend(noise(random, 4)),
        }
    }
    octets.resize(octets.len().min(40).next_multiple_of(4), 0);
    octets
}

fn ip(random: &mut Rng) -> Ip {
    if random.bool() {
        let fragment = match random.u8(..8) {
            0 => (random.u16(..0x2000), random.bool()),
            _ => (0, false),
        };
        return Ip::V4 {
            client: Ipv4Addr::from_bits(random.u32(..)),
            server: Ipv4Addr::from_bits(random.u32(..)),
            options: 4 * random.usize(..=10) * usize::from(random.bool()),
            fragment,
        };
    }
    let many = *random
        .choice(&[0, 0, 0, 1, 1, 2, 3, 5, 6, 7, 7, 9])
        .unwrap_or(&0_usize);
    Ip::V6 {
        client: Ipv6Addr::from_bits(random.u128(..)),
        server: Ipv6Addr::from_bits(random.u128(..)),
        extensions: std::iter::repeat_with(|| extension(random))
            .take(many)
            .collect(),
    }
}

fn extension(random: &mut Rng) -> Extension {
    let units = match random.u8(..16) {
        0 => random.u8(..),
        _ => random.u8(..4),
    };
    match random.u8(..10) {
        0 => Extension::Raw(IpNumber::IPV6_HEADER_HOP_BY_HOP, units),
        1 => Extension::Routing(u8::from(random.u8(..4) == 0)),
        2 => Extension::Fragment(0, false),
        3 => Extension::Fragment(random.u16(..0x2000), random.bool()),
        4 => Extension::Raw(IpNumber::MOBILITY_HEADER, units),
        5 | 6 => Extension::Authentication,
        _ => Extension::Raw(IpNumber::IPV6_DESTINATION_OPTIONS, units),
    }
}
