//! Frames of a connection as a test writes them down: relative numbers, times in milliseconds.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use analysis::{
    Analysis, Analyzer, Filter, Judged, Options, Scribe, capture::Time, ladder::Ladder,
};
use etherparse::{PacketBuilder, TcpHeader, TcpOptionElement};
use filter_common::{Closer, wire::Link};

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}
pub(crate) use Side::{Client, Server};

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Shot {
    pub(crate) from: Side,
    pub(crate) at: f64,
    pub(crate) flags: u8,
    /// Beyond the sender's initial sequence number.
    pub(crate) seq: u32,
    /// Beyond the receiver's.
    pub(crate) ack: u32,
    pub(crate) payload: usize,
    pub(crate) id: Option<u16>,
    pub(crate) hops: u8,
    pub(crate) options: Vec<TcpOptionElement>,
}

/// A capture in the making.
#[derive(Clone, Debug)]
pub(crate) struct Tape {
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
    /// Initial sequence numbers.
    pub(crate) initial: [u32; 2],
    /// As IPv4 stacks count them, of each side; none: 0 in every frame.
    pub(crate) ids: Option<[u16; 2]>,
    frames: Vec<(Time, Vec<u8>)>,
}

pub(crate) fn shot(from: Side, at: f64, flags: u8, seq: u32, ack: u32, payload: usize) -> Shot {
    Shot {
        from,
        at,
        flags,
        seq,
        ack,
        payload,
        id: None,
        hops: 64,
        options: Vec::new(),
    }
}

/// Of milliseconds, which may be negative.
fn nanoseconds(milliseconds: f64) -> u64 {
    let span = Duration::from_secs_f64(milliseconds.abs() / 1000.0);
    let span = u64::try_from(span.as_nanos()).unwrap();
    if milliseconds < 0.0 {
        span.wrapping_neg()
    } else {
        span
    }
}

pub(crate) fn options() -> Options {
    Options {
        window: Duration::from_millis(500),
        budget: 3,
        closer: Closer::Client,
        half_closed_lifetime: Duration::from_hours(1),
        one_sided_lifetime: Duration::from_mins(1),
        closed_lifetime: Duration::from_mins(4),
        filter: Filter::default(),
        most_findings: 1000,
    }
}

impl Tape {
    pub(crate) fn v4() -> Self {
        Self::between("10.0.0.2:1025", "192.0.2.1:80")
    }

    pub(crate) fn v6() -> Self {
        Self::between("[2001:db8::2]:1025", "[2001:db8:1::1]:80")
    }

    pub(crate) fn between(client: &str, server: &str) -> Self {
        Self {
            client: client.parse().unwrap(),
            server: server.parse().unwrap(),
            initial: [u32::MAX - 3, 7_000],
            ids: Some([100, 9000]),
            frames: Vec::new(),
        }
    }

    pub(crate) fn shoot(&mut self, shot: &Shot) -> &mut Self {
        let (source, destination, own, other) = match shot.from {
            Client => (self.client, self.server, 0, 1),
            Server => (self.server, self.client, 1, 0),
        };
        let mut tcp = TcpHeader::new(
            source.port(),
            destination.port(),
            self.initial[own].wrapping_add(shot.seq),
            8760,
        );
        tcp.acknowledgment_number = self.initial[other].wrapping_add(shot.ack);
        tcp.fin = shot.flags & FIN != 0;
        tcp.syn = shot.flags & SYN != 0;
        tcp.rst = shot.flags & RST != 0;
        tcp.psh = shot.flags & PSH != 0;
        tcp.ack = shot.flags & ACK != 0;
        if !tcp.ack {
            tcp.acknowledgment_number = 0;
        }
        tcp.set_options(&shot.options).unwrap();
        let id = shot.id.unwrap_or_else(|| {
            self.ids.as_mut().map_or(0, |ids| {
                ids[own] += 1;
                ids[own]
            })
        });
        let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let packet = match (source, destination) {
            (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
                let mut ip = etherparse::Ipv4Header::new(
                    0,
                    shot.hops,
                    etherparse::IpNumber::TCP,
                    source.ip().octets(),
                    destination.ip().octets(),
                )
                .unwrap();
                ip.identification = id;
                ethernet.ip(etherparse::IpHeaders::Ipv4(
                    ip,
                    etherparse::Ipv4Extensions::default(),
                ))
            }
            (SocketAddr::V6(source), SocketAddr::V6(destination)) => {
                ethernet.ipv6(source.ip().octets(), destination.ip().octets(), shot.hops)
            }
            _ => unreachable!("both are of one family"),
        };
        let packet = packet.tcp_header(tcp);
        let mut bytes = Vec::new();
        packet.write(&mut bytes, &vec![b'x'; shot.payload]).unwrap();
        self.at(shot.at, bytes)
    }

    pub(crate) fn at(&mut self, milliseconds: f64, bytes: Vec<u8>) -> &mut Self {
        let start = Time(1_700_000_000_000_000_000);
        let time = Time(start.0.wrapping_add(nanoseconds(milliseconds)));
        self.frames.push((time, bytes));
        self
    }

    /// The handshake and a request of 100 octets: the client is at 101, the server at 1.
    pub(crate) fn open(&mut self) -> &mut Self {
        self.shoot(&shot(Client, 0.0, SYN, 0, 0, 0))
            .shoot(&shot(Server, 1.0, SYN | ACK, 0, 1, 0))
            .shoot(&shot(Client, 2.0, ACK, 1, 1, 0))
            .shoot(&shot(Client, 3.0, PSH | ACK, 1, 1, 100))
            .shoot(&shot(Server, 4.0, ACK, 1, 101, 0))
    }

    /// The client's FIN, a response of 500 octets, the server's FIN: Fc is 102, Fs 502.
    pub(crate) fn fins(&mut self) -> &mut Self {
        self.shoot(&shot(Client, 5.0, FIN | ACK, 101, 1, 0))
            .shoot(&shot(Server, 6.0, ACK, 1, 102, 0))
            .shoot(&shot(Server, 7.0, PSH | ACK, 1, 102, 500))
            .shoot(&shot(Client, 8.0, ACK, 102, 501, 0))
            .shoot(&shot(Server, 9.0, FIN | ACK, 501, 102, 0))
    }

    /// The client's ACK of the server's FIN.
    pub(crate) fn ack(&mut self, at: f64) -> &mut Self {
        self.shoot(&shot(Client, at, ACK, 102, 502, 0))
    }

    /// What such an ACK draws.
    pub(crate) fn reset(&mut self, at: f64) -> &mut Self {
        self.shoot(&Shot {
            id: Some(0),
            ..shot(Server, at, RST, 502, 0, 0)
        })
    }

    /// The KB's connection as far as the close: eleven frames.
    pub(crate) fn closed() -> Self {
        let mut tape = Self::v4();
        tape.open().fins().ack(10.0);
        tape
    }

    /// A connection that the server closes first; when all is over the client acknowledges its FIN
    /// once more, and a reset follows: eleven frames.
    pub(crate) fn closed_by_server(at: f64) -> Self {
        let mut tape = Self::v4();
        tape.open()
            .shoot(&shot(Server, 5.0, FIN | ACK, 1, 101, 0))
            .shoot(&shot(Client, 6.0, ACK, 101, 2, 0))
            .shoot(&shot(Client, 7.0, FIN | ACK, 101, 2, 0))
            .shoot(&shot(Server, 8.0, ACK, 2, 102, 0))
            .shoot(&shot(Client, at, ACK, 102, 2, 0))
            .shoot(&shot(Server, at + 0.1, RST, 2, 0, 0));
        tape
    }

    /// Another tape's frames behind these.
    pub(crate) fn then(&mut self, other: &Self) -> &mut Self {
        self.frames.extend_from_slice(&other.frames);
        self
    }

    pub(crate) fn frames(&self) -> &[(Time, Vec<u8>)] {
        &self.frames
    }

    pub(crate) fn clear(&mut self) {
        self.frames.clear();
    }

    /// Leaves out the first frames.
    pub(crate) fn skip(&mut self, frames: usize) -> &mut Self {
        self.frames.drain(..frames);
        self
    }

    /// Who has sent a frame.
    pub(crate) fn sender(&self, frame: &[u8]) -> Side {
        let is_client = match self.client.ip() {
            IpAddr::V4(client) => frame[26..].starts_with(&client.octets()),
            IpAddr::V6(client) => frame[22..].starts_with(&client.octets()),
        };
        if is_client { Client } else { Server }
    }

    /// A frame some hops on.
    pub(crate) fn further(&self, frame: &[u8], hops: u8) -> Vec<u8> {
        let mut frame = frame.to_vec();
        frame[if self.client.is_ipv4() { 22 } else { 21 }] -= hops;
        frame
    }

    pub(crate) fn push(&mut self, time: Time, frame: Vec<u8>) {
        self.frames.push((time, frame));
    }

    /// Puts every frame of one side behind itself once more.
    pub(crate) fn copied(&self, from: Side, later: f64, hops: u8) -> Self {
        let mut copied = self.clone();
        copied.clear();
        let later = nanoseconds(later);
        for (time, frame) in &self.frames {
            copied.push(*time, frame.clone());
            if self.sender(frame) == from {
                copied.push(Time(time.0 + later), self.further(frame, hops));
            }
        }
        copied
    }

    /// As if it had been captured so: by time.
    pub(crate) fn sorted(mut self) -> Self {
        self.frames.sort_by_key(|(time, _)| *time);
        self
    }

    pub(crate) fn analyze(&self) -> Analysis {
        self.analyze_with(&options())
    }

    pub(crate) fn analyze_with(&self, options: &Options) -> Analysis {
        let mut analyzer = Analyzer::new(options);
        self.judge(&mut analyzer);
        analyzer.finish()
    }

    /// What every frame was judged.
    pub(crate) fn judge(&self, analyzer: &mut Analyzer) -> Vec<Judged> {
        let numbered = (1..).zip(&self.frames);
        numbered
            .map(|(number, (time, frame))| {
                analyzer.frame(number, *time, Link::Ethernet, frame.as_slice())
            })
            .collect()
    }

    pub(crate) fn ladder(&self) -> Ladder {
        let mut scribe = Scribe::new(self.client, self.server);
        let judged = self.judge(&mut Analyzer::new(&options()));
        for ((number, (time, _)), judged) in (1..).zip(&self.frames).zip(&judged) {
            scribe.frame(number, *time, judged);
        }
        scribe.ladder("test")
    }
}
