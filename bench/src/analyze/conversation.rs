//! What two ends say to each other, step by step.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use fastrand::Rng;
use filter_common::Flags;

/// A conversation, from its next packet on.
pub(super) struct Conversation {
    client: SocketAddr,
    server: SocketAddr,
    is_tcp: bool,
    /// What the client, and the server, will say next.
    sequence: [u32; 2],
    /// The last first.
    steps: Vec<Step>,
}

/// One packet.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// Microseconds since the one before.
    after: u32,
    from_client: bool,
    flags: Flags,
    payload: u16,
    /// Whether the sender says again what it said last.
    is_repetition: bool,
    /// Whether it was sent before the other's FIN came.
    lags: bool,
    pub(super) mark: Mark,
}

/// What a packet is counted as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    None,
    Spurious,
    Reset,
    Elicited,
}

/// What is in a packet.
pub(super) struct Segment {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// None of UDP.
    pub(super) tcp: Option<(Flags, u32, u32)>,
    pub(super) payload: u16,
}

const SYN: Flags = Flags::SYN;
const SYN_ACK: Flags = SYN.with(ACK);
const ACK: Flags = Flags::ACK;
const DATA: Flags = ACK.with(Flags::PSH);
const FIN: Flags = ACK.with(Flags::FIN);
const RST: Flags = Flags::RST;

/// Octets of a full segment.
const FULL: u16 = 1448;
/// Microseconds between the place of capture and the servers, there and back.
const RTT: u32 = 20_000;
/// The same on the other side.
const LAN: u32 = 400;
/// A delayed-ACK timer.
const DELAYED: u32 = 200_000;

impl Conversation {
    /// Of a kind that chance decides; `number` makes its ends its own.
    pub(super) fn new(rng: &mut Rng, number: u32) -> Self {
        // Ephemeral ports; once all were used the next addresses take their turn, so that no two
        // ends come again.
        const PORTS: u32 = 28_000;
        const HOSTS: u32 = 200;
        /// Clients of so many old stacks, in each net.
        const WITH_FAULT: u8 = 8;
        let port = 32_768 + u16::try_from(number % PORTS).unwrap_or(0);
        let net = u8::try_from(number / PORTS % 256).unwrap_or(0);
        let host = u8::try_from(number % HOSTS).unwrap_or(0);
        let remote = rng.u8(1..100);
        let (client, server): (IpAddr, IpAddr) = if rng.u8(..3) > 0 {
            (
                Ipv4Addr::new(10, 0, net, host + 1).into(),
                Ipv4Addr::new(192, 0, 2, remote).into(),
            )
        } else {
            let address = |site, net, host| {
                Ipv6Addr::new(
                    0x2001,
                    0xdb8,
                    site,
                    u16::from(net),
                    0,
                    0,
                    0,
                    u16::from(host),
                )
            };
            (
                address(1, net, host + 1).into(),
                address(2, 0, remote).into(),
            )
        };
        let kind = rng.u8(..100);
        let is_tcp = kind < 90;
        let mut script = Script(Vec::new());
        let service = match kind {
            // Short, and half-closed by the client, as the fault needs it.
            0..72 => {
                let end = if host < WITH_FAULT {
                    End::Fault
                } else if kind < 2 {
                    End::FinRepeated
                } else {
                    End::Orderly
                };
                script.short(rng, end);
                80
            }
            72..82 => {
                script.server_closes(rng);
                443
            }
            82..88 => {
                script.crossing(rng);
                8080
            }
            88..90 => {
                script.download(rng);
                443
            }
            _ => {
                script.datagrams(rng);
                53
            }
        };
        script.0.reverse();
        Self {
            client: (client, port).into(),
            server: (server, service).into(),
            is_tcp,
            sequence: [rng.u32(..), rng.u32(..)],
            steps: script.0,
        }
    }

    /// What is sent now.
    pub(super) fn step(&mut self) -> Option<Step> {
        self.steps.pop()
    }

    /// Nanoseconds to the next packet; none where this was the last.
    pub(super) fn pause(&self) -> Option<u64> {
        self.steps.last().map(|step| u64::from(step.after) * 1000)
    }

    /// A step with the numbers that it has now.
    pub(super) fn segment(&mut self, step: &Step) -> Segment {
        let has = |flag| step.flags.any(flag);
        let me = usize::from(!step.from_client);
        let length =
            u32::from(step.payload) + u32::from(has(Flags::SYN)) + u32::from(has(Flags::FIN));
        let mut seq = self.sequence[me];
        if step.is_repetition {
            seq = seq.wrapping_sub(length);
        } else {
            self.sequence[me] = seq.wrapping_add(length);
        }
        let said = self.sequence[1 - me].wrapping_sub(u32::from(step.lags));
        let acknowledged = if has(Flags::ACK) { said } else { 0 };
        let (from, to) = if step.from_client {
            (self.client, self.server)
        } else {
            (self.server, self.client)
        };
        Segment {
            from,
            to,
            tcp: self.is_tcp.then_some((step.flags, seq, acknowledged)),
            payload: step.payload,
        }
    }
}

/// How a short connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Orderly,
    /// With an ACK too many.
    Fault,
    /// The server repeats its FIN, as its ACK is late.
    FinRepeated,
}

struct Script(Vec<Step>);

impl Script {
    fn client(&mut self, after: u32, flags: Flags, payload: u16) -> &mut Step {
        self.step(after, true, flags, payload)
    }

    fn server(&mut self, after: u32, flags: Flags, payload: u16) -> &mut Step {
        self.step(after, false, flags, payload)
    }

    fn step(&mut self, after: u32, from_client: bool, flags: Flags, payload: u16) -> &mut Step {
        self.0.push(Step {
            after,
            from_client,
            flags,
            payload,
            is_repetition: false,
            lags: false,
            mark: Mark::None,
        });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    fn open(&mut self) {
        self.client(0, SYN, 0);
        self.server(RTT, SYN_ACK, 0);
        self.client(LAN, ACK, 0);
    }

    fn request(&mut self, rng: &mut Rng) {
        self.client(LAN, DATA, rng.u16(80..600));
        self.server(RTT, ACK, 0);
    }

    /// Full segments, of which every other one is acknowledged.
    fn response(&mut self, segments: u32, gap: u32) {
        for segment in 0..segments {
            self.server(gap, ACK, FULL);
            if segment % 2 == 1 {
                self.client(LAN, ACK, 0);
            }
        }
    }

    fn short(&mut self, rng: &mut Rng, end: End) {
        self.open();
        self.request(rng);
        self.client(LAN, FIN, 0);
        self.server(RTT, ACK, 0);
        self.response(rng.u32(1..9), 300);
        self.server(300, FIN, rng.u16(1..FULL));
        match end {
            End::Orderly => {
                self.client(LAN, ACK, 0);
            }
            End::Fault => {
                self.client(LAN, ACK, 0);
                self.client(DELAYED, ACK, 0).mark = Mark::Spurious;
                self.server(RTT, RST, 0).mark = Mark::Reset;
            }
            End::FinRepeated => {
                self.client(LAN, ACK, 0);
                let last = self.0.len() - 2;
                let mut fin = self.0[last];
                fin.is_repetition = true;
                fin.after = RTT / 2;
                self.0.push(fin);
                self.client(LAN, ACK, 0).mark = Mark::Elicited;
            }
        }
    }

    fn server_closes(&mut self, rng: &mut Rng) {
        self.open();
        self.request(rng);
        self.response(rng.u32(1..9), 300);
        self.server(300, FIN, rng.u16(1..FULL));
        self.client(LAN, FIN, 0);
        self.server(RTT, ACK, 0);
    }

    fn crossing(&mut self, rng: &mut Rng) {
        self.open();
        self.request(rng);
        self.response(rng.u32(1..9), 300);
        self.client(LAN, FIN, 0);
        self.server(RTT / 2, FIN, 0).lags = true;
        self.client(LAN, ACK, 0);
        self.server(RTT / 2, ACK, 0);
    }

    fn download(&mut self, rng: &mut Rng) {
        self.open();
        self.request(rng);
        self.response(rng.u32(500..2000), 4000);
        self.server(300, FIN, rng.u16(1..FULL));
        self.client(LAN, FIN, 0);
        self.server(RTT, ACK, 0);
    }

    fn datagrams(&mut self, rng: &mut Rng) {
        for _ in 0..rng.u8(1..4) {
            self.client(RTT, ACK, rng.u16(30..60));
            self.server(RTT, ACK, rng.u16(60..400));
        }
    }
}
