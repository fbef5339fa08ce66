//! Traffic at random: closes, noise around their numbers, strangers' guesses, damaged frames
//! and mere octets.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{EtherType, IpNumber};
use fastrand::Rng;
use filter_common::{Direction, Flags, Segment, SeqNum, segment::Options, wire::Link};

use crate::{
    frames::{Extension, Frame, Ip, TIMESTAMPS},
    row::{FIN_ACK, segment},
};

/// The kernel gives no socket buffer less than an Ethernet header and an octet.
const SHORTEST: usize = 15;
const LONGEST: usize = 1514;
/// Connections at one time.
const BUSY: usize = 6;
/// All that there ever are: few, so that their ports are used again.
const KNOWN: usize = 48;
/// Packets, on the average, until a busy connection gives way to another.
const LIFE: usize = 250;

/// An endless trace.
pub(crate) struct Traffic {
    link: Link,
    rng: Rng,
    known: Vec<Connection>,
    busy: Vec<usize>,
    last: (Direction, Vec<u8>),
}

#[derive(Clone)]
struct Connection {
    ip: Ip,
    client_port: u16,
    server_port: u16,
    /// Fc.
    client_end: SeqNum,
    /// Fs.
    server_end: SeqNum,
}

impl Traffic {
    /// Of packets that begin with what `link` has.
    pub(crate) fn new(link: Link, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let known = (0..KNOWN)
            .map(|number| Connection::new(&mut rng, number))
            .collect();
        Self {
            link,
            rng,
            known,
            busy: (0..BUSY).collect(),
            last: (Direction::FromClient, vec![0; SHORTEST]),
        }
    }

    /// The next frame, and which way it travels.
    pub(crate) fn frame(&mut self) -> (Direction, Vec<u8>) {
        if self.rng.usize(..LIFE) == 0 {
            self.replace_one();
        }
        if self.rng.u8(..32) != 0 {
            self.last = self.segment();
        }
        let (direction, mut frame) = self.last.clone();
        match self.rng.u8(..64) {
            0 => frame = self.octets(),
            1..8 => self.damage(&mut frame),
            _ => {}
        }
        frame.truncate(LONGEST);
        if frame.len() < SHORTEST {
            frame.resize(SHORTEST, 0);
        }
        (direction, frame)
    }

    /// Another connection becomes busy, its port used again or its close going on.
    fn replace_one(&mut self) {
        let number = self.rng.usize(..KNOWN);
        if self.rng.bool() {
            let connection = &mut self.known[number];
            connection.client_end = end(&mut self.rng);
            connection.server_end = end(&mut self.rng);
        }
        let place = self.rng.usize(..BUSY);
        self.busy[place] = number;
    }

    fn segment(&mut self) -> (Direction, Vec<u8>) {
        let place = self.rng.usize(..BUSY);
        let connection = self.known[self.busy[place]].clone();
        let rng = &mut self.rng;
        let (direction, segment) = connection.segment(rng);
        let mut frame = Frame {
            client_port: connection.client_port,
            server_port: connection.server_port,
            ..Frame::new(direction, connection.ip, segment)
        };
        if segment.options == Options::Other {
            let words = rng.usize(1..=10);
            frame.tcp_options = octets(rng, 4 * words);
        } else if rng.u8(..4) == 0 {
            frame.tcp_options = TIMESTAMPS.to_vec();
        }
        if rng.u8(..4) == 0 {
            wrap(rng, &mut frame);
        }
        let octets = match self.link {
            Link::Ethernet => frame.octets(),
            Link::Ip => frame.datagram(),
        };
        (direction, octets)
    }

    fn octets(&mut self) -> Vec<u8> {
        let length = self.rng.usize(SHORTEST..200);
        let mut frame = octets(&mut self.rng, length);
        let ethertype = *choose(&mut self.rng, &[0x0800_u16, 0x86dd, 0x8100, 0x88a8, 0x1234]);
        match self.link {
            Link::Ethernet => frame[12..14].copy_from_slice(&ethertype.to_be_bytes()),
            Link::Ip => frame[0] = *choose(&mut self.rng, &[0x45, 0x46, 0x60, 0x13]),
        }
        frame
    }

    fn damage(&mut self, frame: &mut Vec<u8>) {
        let rng = &mut self.rng;
        // Most of a frame is payload; its headers are what matters, but not who sends it.
        let reach = frame.len().min(100);
        let first = match self.link {
            Link::Ethernet => 12,
            Link::Ip => 0,
        };
        match rng.u8(..6) {
            0 | 1 => {
                for _ in 0..rng.u8(1..4) {
                    let at = rng.usize(first..reach);
                    frame[at] ^= 1 << rng.u8(..8);
                }
            }
            2 => {
                let at = rng.usize(first..reach);
                frame[at] = rng.u8(..);
            }
            3 => {
                let at = rng.usize(first..reach - 1);
                let around = u16::try_from(frame.len()).unwrap_or(u16::MAX);
                let number = *choose(rng, &[0, 1, around - 14, around - 15, around, u16::MAX]);
                frame[at..at + 2].copy_from_slice(&number.to_be_bytes());
            }
            4 => frame.truncate(rng.usize(SHORTEST..=reach)),
            _ => {
                let at = rng.usize(first + 2..reach);
                let length = rng.usize(..40);
                let inserted = octets(rng, length);
                frame.splice(at..at, inserted);
            }
        }
    }
}

impl Connection {
    fn new(rng: &mut Rng, number: usize) -> Self {
        let host = |number: usize| u8::try_from(number % 4).expect("below 4");
        let (client, server) = (host(number), host(number / 4));
        let ip = if rng.bool() {
            Ip::V4 {
                client: Ipv4Addr::new(192, 0, 2, client),
                // The same hosts: a client is a server, too.
                server: Ipv4Addr::new(192, 0, 2, server),
                options: 0,
                fragment: (0, false),
            }
        } else {
            let address = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last));
            Ip::V6 {
                client: address(client),
                server: address(server),
                extensions: Vec::new(),
            }
        };
        Self {
            ip,
            client_port: *choose(rng, &[80, 49_152, 49_153]),
            server_port: *choose(rng, &[80, 49_152]),
            client_end: end(rng),
            server_end: end(rng),
        }
    }

    fn segment(&self, rng: &mut Rng) -> (Direction, Segment) {
        use Direction::{FromClient, FromServer};
        let (fc, fs) = (self.client_end, self.server_end);
        let fin = |end: SeqNum, ack| segment(FIN_ACK, SeqNum(end.0.wrapping_sub(1)), ack);
        match rng.u8(..40) {
            0..4 => (FromClient, fin(fc, fs)),
            4..9 => (FromServer, fin(fs, fc)),
            9..22 => (FromClient, segment(Flags::ACK, fc, fs)),
            22..25 => (FromServer, segment(Flags::RST, fs, SeqNum(0))),
            25..27 => (FromServer, segment(Flags::ACK, fs, fc)),
            27..34 => (FromClient, noise(rng, fc, fs)),
            _ => (FromServer, noise(rng, fs, fc)),
        }
    }
}

/// Near these numbers, or elsewhere.
fn noise(rng: &mut Rng, seq: SeqNum, ack: SeqNum) -> Segment {
    let flags = match rng.u8(..16) {
        0..9 => Flags::ACK,
        9..12 => FIN_ACK,
        12 => *choose(rng, &[Flags::SYN, Flags::RST, Flags::FIN]),
        13 => Flags::ACK.with(Flags::PSH),
        _ => Flags::from_header(rng.u16(..0x1000)),
    };
    let payload = match rng.u8(..8) {
        0..5 => 0,
        5 | 6 => rng.u32(1..3),
        _ => rng.u32(1..1000),
    };
    Segment {
        payload,
        options: if rng.u8(..6) == 0 {
            Options::Other
        } else {
            Options::Plain
        },
        ..segment(flags, near(rng, seq), near(rng, ack))
    }
}

fn near(rng: &mut Rng, number: SeqNum) -> SeqNum {
    match rng.u8(..12) {
        0..7 => number,
        7 | 8 => SeqNum(number.0.wrapping_sub(1)),
        9 => SeqNum(number.0.wrapping_sub(rng.u32(2..2000))),
        10 => number.plus(rng.u32(1..4)),
        _ => SeqNum(rng.u32(..)),
    }
}

/// A number that a side's sequence may end with: often one where it wraps.
fn end(rng: &mut Rng) -> SeqNum {
    match rng.u8(..3) {
        0 => SeqNum(0),
        1 => SeqNum(rng.u32(..4).wrapping_sub(2)),
        _ => SeqNum(rng.u32(..)),
    }
}

/// Tags, options, extension headers, fragments, padding.
fn wrap(rng: &mut Rng, frame: &mut Frame) {
    let tag = [EtherType::VLAN_TAGGED_FRAME, EtherType::PROVIDER_BRIDGING];
    frame.tags = (0..rng.usize(..4)).map(|_| *choose(rng, &tag)).collect();
    frame.pppoe = rng.u8(..4) == 0;
    frame.padding = rng.usize(..46);
    let a_fragment = rng.u8(..12) == 0;
    match &mut frame.ip {
        Ip::V4 {
            options, fragment, ..
        } => {
            *options = 4 * rng.usize(..=10);
            if a_fragment {
                *fragment = (rng.u16(..4), rng.bool());
            }
        }
        Ip::V6 { extensions, .. } => {
            *extensions = (0..rng.usize(..8)).map(|_| extension(rng)).collect();
        }
    }
}

fn extension(rng: &mut Rng) -> Extension {
    match rng.u8(..16) {
        0..4 => Extension::Raw(IpNumber::IPV6_DESTINATION_OPTIONS, rng.u8(..3)),
        4..7 => Extension::Raw(IpNumber::IPV6_HEADER_HOP_BY_HOP, rng.u8(..2)),
        7 => Extension::Raw(IpNumber::IPV6_DESTINATION_OPTIONS, rng.u8(..70)),
        8..11 => Extension::Routing(0),
        11 => Extension::Routing(rng.u8(..3)),
        12 | 13 => Extension::Authentication,
        14 => Extension::Fragment(0, false),
        _ => Extension::Fragment(rng.u16(..3), rng.bool()),
    }
}

fn octets(rng: &mut Rng, length: usize) -> Vec<u8> {
    let mut octets = vec![0; length];
    rng.fill(&mut octets);
    octets
}

fn choose<'a, T>(rng: &mut Rng, choices: &'a [T]) -> &'a T {
    &choices[rng.usize(..choices.len())]
}
