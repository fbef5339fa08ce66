//! Somebody who sends segments in the names of both ends of a connection.

use std::{
    io::IoSlice,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd as _, OwnedFd},
};

use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader};
use filter_common::Flags;
use filter_user::lab::{
    namespace::Namespace,
    topology::{Host, Topology, WAN},
};
use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, bind,
        sendmmsg, socket,
    },
};

use super::instance::tool;

/// The time to live of forged segments, by which their receivers know them, and everybody else:
/// what an endpoint's TCP makes of a forgery is that TCP's affair.
pub(crate) const TTL: u8 = 77;
/// Of what Linux sends.
pub(crate) const ORDINARY_TTL: u8 = 64;

/// In whose name a segment is sent, and where it enters the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The client, from its own side.
    Client,
    /// The client, from the servers' side.
    ClientOutside,
    /// The server, from its own side.
    Server,
}

/// What a segment is but for its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) from: From,
    pub(crate) flags: Flags,
    pub(crate) payload: u16,
}

const fn kind(from: From, flags: Flags, payload: u16) -> Kind {
    Kind {
        from,
        flags,
        payload,
    }
}

const FIN_ACK: Flags = Flags::FIN.with(Flags::ACK);
const RST_ACK: Flags = Flags::RST.with(Flags::ACK);
const SYN_ACK: Flags = Flags::SYN.with(Flags::ACK);

pub(crate) const CLIENT_ACK: Kind = kind(From::Client, Flags::ACK, 0);
pub(crate) const CLIENT_DATA: Kind = kind(From::Client, Flags::ACK, 32);
pub(crate) const CLIENT_SYN: Kind = kind(From::Client, Flags::SYN, 0);
pub(crate) const CLIENT_RST: Kind = kind(From::Client, Flags::RST, 0);
pub(crate) const CLIENT_BARE_FIN: Kind = kind(From::Client, Flags::FIN, 0);
pub(crate) const CLIENT_LAST_DATA: Kind = kind(From::Client, FIN_ACK, 32);
pub(crate) const CLIENT_FIN: Kind = kind(From::Client, FIN_ACK, 0);
pub(crate) const SERVER_FIN: Kind = kind(From::Server, FIN_ACK, 0);
pub(crate) const SERVER_LAST_DATA: Kind = kind(From::Server, FIN_ACK, 32);
pub(crate) const SERVER_ACK: Kind = kind(From::Server, Flags::ACK, 0);
pub(crate) const SERVER_DATA: Kind = kind(From::Server, Flags::ACK, 32);
pub(crate) const SERVER_RST: Kind = kind(From::Server, Flags::RST, 0);
pub(crate) const SERVER_RST_ACK: Kind = kind(From::Server, RST_ACK, 0);
pub(crate) const SERVER_SYN: Kind = kind(From::Server, Flags::SYN, 0);
pub(crate) const SERVER_SYN_ACK: Kind = kind(From::Server, SYN_ACK, 0);

/// All of them, in an order that makes the most of numbers which belong together: a close, what
/// repeats its last ACK, what resets it, what forgets it, and a FIN that begins it anew.
pub(crate) const VOLLEY: [Kind; 20] = [
    SERVER_FIN,
    SERVER_ACK,
    SERVER_DATA,
    SERVER_RST_ACK,
    CLIENT_ACK,
    CLIENT_ACK,
    CLIENT_DATA,
    SERVER_RST,
    SERVER_LAST_DATA,
    SERVER_SYN_ACK,
    SERVER_SYN,
    kind(From::ClientOutside, Flags::ACK, 0),
    kind(From::ClientOutside, Flags::RST, 0),
    kind(From::ClientOutside, Flags::SYN, 0),
    kind(From::ClientOutside, FIN_ACK, 0),
    CLIENT_SYN,
    CLIENT_RST,
    CLIENT_BARE_FIN,
    CLIENT_LAST_DATA,
    CLIENT_FIN,
];

/// The sequence numbers that follow the two FINs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) client: u32,
    pub(crate) server: u32,
}

/// What the forger knows; the rest he guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knows {
    /// Addresses and ports.
    Nothing,
    /// The client's number, too; what he takes for the server's is the same for a volley.
    Clients(u32),
    /// The server's, likewise.
    Servers(u32),
}

impl Knows {
    fn guess(self) -> Numbers {
        let (client, server) = (fastrand::u32(..), fastrand::u32(..));
        match self {
            Self::Nothing => Numbers { client, server },
            Self::Clients(client) => Numbers { client, server },
            Self::Servers(server) => Numbers { client, server },
        }
    }
}

/// Sends frames of one connection.
pub(crate) struct Forger {
    /// In the client's namespace, and in the server's.
    sockets: [OwnedFd; 2],
    gateway: [[u8; 6]; 2],
    client: SocketAddr,
    server: SocketAddr,
    headers: MultiHeaders<LinkAddr>,
}

const INSIDE: usize = 0;
const OUTSIDE: usize = 1;
/// The most that are sent at once.
const BATCH: usize = 64;

impl Forger {
    /// Who knows the ends of a connection between a host and the server.
    pub(crate) fn new(
        topology: &Topology,
        host: &Host,
        client: SocketAddr,
        server: SocketAddr,
    ) -> Self {
        Self {
            sockets: [
                open(&host.namespace, "eth0", None),
                open(&topology.server, "server0", None),
            ],
            gateway: [
                hardware_address(&topology.gateway, &host.gateway_interface),
                hardware_address(&topology.gateway, WAN),
            ],
            client,
            server,
            headers: MultiHeaders::preallocate(BATCH, None),
        }
    }

    /// Sends these kinds of segments over and over until there were so many; `sent` is told
    /// how many there were so far.
    pub(crate) fn guess(
        &mut self,
        kinds: &[Kind],
        knows: Knows,
        guesses: u64,
        mut sent: impl FnMut(u64),
    ) {
        let templates: Vec<_> = kinds
            .iter()
            .map(|kind| (kind.from, self.template(*kind, TTL)))
            .collect();
        let runs: Vec<_> = templates.chunk_by(|one, next| one.0 == next.0).collect();
        let mut count = 0;
        while count < guesses {
            let of_volley = knows.guess();
            for run in &runs {
                let frames: Vec<_> = run
                    .iter()
                    .map(|(_, template)| {
                        let independent = knows == Knows::Nothing;
                        template.frame(if independent {
                            knows.guess()
                        } else {
                            of_volley
                        })
                    })
                    .collect();
                self.send(run[0].0, &frames);
                count += frames.len() as u64;
            }
            sent(count);
        }
    }

    /// Sends one segment with these numbers.
    pub(crate) fn send_one(&mut self, kind: Kind, numbers: Numbers, ttl: u8) {
        let frame = self.template(kind, ttl).frame(numbers);
        self.send(kind.from, &[frame]);
    }

    fn send(&mut self, from: From, frames: &[Vec<u8>]) {
        const NO_ADDRESS: [Option<LinkAddr>; BATCH] = [None; BATCH];
        let socket = match from {
            From::Client => &self.sockets[INSIDE],
            From::ClientOutside | From::Server => &self.sockets[OUTSIDE],
        };
        let slices: Vec<_> = frames.iter().map(|frame| [IoSlice::new(frame)]).collect();
        let mut rest = &slices[..];
        while !rest.is_empty() {
            let now = &rest[..rest.len().min(BATCH)];
            let (socket, flags) = (socket.as_raw_fd(), MsgFlags::empty());
            let headers = &mut self.headers;
            let done = match sendmmsg(socket, headers, now, NO_ADDRESS, [], flags) {
                Ok(sent) => sent.count(),
                // A queue has dropped the first.
                Err(Errno::ENOBUFS) => 1,
                Err(Errno::EINTR) => 0,
                Err(error) => panic!("could not send a frame: {error}"),
            };
            rest = &rest[done..];
        }
    }

    fn template(&self, kind: Kind, ttl: u8) -> Template {
        let (from, to) = match kind.from {
            From::Client | From::ClientOutside => (self.client, self.server),
            From::Server => (self.server, self.client),
        };
        let gateway = self.gateway[usize::from(kind.from != From::Client)];
        let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0x77], gateway);
        let ip = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), ttl),
            (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), ttl),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                panic!("a connection has one family")
            }
        };
        let mut tcp = ip.tcp(from.port(), to.port(), 0, 1000);
        for (flag, set) in [
            (Flags::FIN, PacketBuilderStep::fin as Setter),
            (Flags::SYN, PacketBuilderStep::syn),
            (Flags::RST, PacketBuilderStep::rst),
            (Flags::ACK, |tcp| tcp.ack(0)),
        ] {
            if kind.flags.any(flag) {
                tcp = set(tcp);
            }
        }
        let payload = vec![0x55; kind.payload.into()];
        let mut frame = Vec::with_capacity(tcp.size(payload.len()));
        tcp.write(&mut frame, &payload).unwrap();
        let tcp = frame.len() - payload.len() - TcpHeader::MIN_LEN;
        Template { kind, frame, tcp }
    }
}

type Setter = fn(PacketBuilderStep<TcpHeader>) -> PacketBuilderStep<TcpHeader>;

/// A frame whose sequence and acknowledgment numbers are 0.
struct Template {
    kind: Kind,
    frame: Vec<u8>,
    /// Where its TCP header is.
    tcp: usize,
}

impl Template {
    fn frame(&self, numbers: Numbers) -> Vec<u8> {
        let (own, other) = match self.kind.from {
            From::Client | From::ClientOutside => (numbers.client, numbers.server),
            From::Server => (numbers.server, numbers.client),
        };
        // A FIN is to end there; everything else begins there.
        let before = if self.kind.flags.any(Flags::FIN) {
            u32::from(self.kind.payload) + 1
        } else {
            0
        };
        let seq = own.wrapping_sub(before);
        let ack = if self.kind.flags.any(Flags::ACK) {
            other
        } else {
            0
        };
        let mut frame = self.frame.clone();
        let header = &mut frame[self.tcp..];
        header[4..8].copy_from_slice(&seq.to_be_bytes());
        header[8..12].copy_from_slice(&ack.to_be_bytes());
        let checksum = u16::from_be_bytes([header[16], header[17]]);
        let mut sum = u32::from(!checksum);
        for number in [seq, ack] {
            sum += (number >> 16) + (number & 0xffff);
        }
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        let checksum = !u16::try_from(sum).unwrap();
        header[16..18].copy_from_slice(&checksum.to_be_bytes());
        frame
    }
}

/// Has a host throw away what was forged, before its TCP sees it; how many the kernel counts.
pub(crate) fn throw_away(namespace: &Namespace) {
    let forwarded = TTL - 1;
    let rules = format!(
        "add table inet forged
         add counter inet forged thrown
         add chain inet forged first {{ type filter hook prerouting priority raw; }}
         add rule inet forged first ip ttl {forwarded} counter name thrown drop
         add rule inet forged first ip6 hoplimit {forwarded} counter name thrown drop"
    );
    tool(namespace, "nft", &[&rules]);
}

/// How many of them have come so far.
pub(crate) fn thrown_away(namespace: &Namespace) -> u64 {
    let json = ["--json", "list", "counter", "inet", "forged", "thrown"];
    let json: serde_json::Value = serde_json::from_str(&tool(namespace, "nft", &json)).unwrap();
    json["nftables"][1]["counter"]["packets"].as_u64().unwrap()
}

/// A packet socket; without a protocol it receives nothing.
pub(crate) fn open(
    namespace: &Namespace,
    interface: &str,
    protocol: Option<SockProtocol>,
) -> OwnedFd {
    let interface = interface.to_owned();
    namespace.run(move || {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, protocol).unwrap();
        bind(socket.as_raw_fd(), &link_address(&interface)).unwrap();
        socket
    })
}

fn hardware_address(namespace: &Namespace, interface: &str) -> [u8; 6] {
    let interface = interface.to_owned();
    namespace.run(move || link_address(&interface).addr().unwrap())
}

fn link_address(interface: &str) -> LinkAddr {
    let mut addresses = getifaddrs()
        .unwrap()
        .filter(|address| address.interface_name == interface)
        .filter_map(|address| address.address?.as_link_addr().copied());
    addresses.next().unwrap()
}
