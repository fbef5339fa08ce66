//! A flood: frames of ever other connections, as fast as the kernel takes them.
//!
//! They leave by packet sockets, so that they pass the TC egress hook of an interface, or arrive
//! at the other end of its link. [`trial`] is an experiment with them.

pub mod claims;
mod process;
mod template;
pub mod trial;

use std::{
    io::IoSlice,
    os::fd::{AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, bind, sendmmsg, socket,
    },
};
use smoltcp::wire::TcpControl;

use self::template::{Family, Sender, Step, Template, Tuple};
use super::namespace::Namespace;

/// Frames that are handed over at once; the queue of a veth interface holds 256.
const BATCH: u32 = 64;

/// The client's FIN.
const CLIENT_FIN: Step = step(Sender::Client, TcpControl::Fin, 0, Some(0));
/// The server's, which acknowledges it.
const SERVER_FIN: Step = step(Sender::Server, TcpControl::Fin, 0, Some(1));
/// The ACK of that; and what repeats it.
const LAST_ACK: Step = step(Sender::Client, TcpControl::None, 1, Some(1));
const SERVER_ACK: Step = step(Sender::Server, TcpControl::None, 1, Some(1));
const SYN: Step = step(Sender::Client, TcpControl::Syn, 0, None);
const SYN_ACK: Step = step(Sender::Server, TcpControl::Syn, 0, Some(1));
const SERVER_RST: Step = step(Sender::Server, TcpControl::Rst, 1, None);

const STEPS: [Step; 7] = [
    CLIENT_FIN, SERVER_FIN, LAST_ACK, SERVER_ACK, SYN, SYN_ACK, SERVER_RST,
];

/// What a flood is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Clients' FINs.
    ClientFins,
    /// Servers' FINs of connections whose client has not closed.
    ServerFins,
    /// SYNs, and SYN-ACKs.
    Syns,
    /// ACKs of both sides.
    Acks,
    /// Both FINs and the last ACK of each connection.
    Closes,
    /// The same, and the last ACK once more.
    SpuriousAcks,
    /// All of these and servers' RSTs, one after the other.
    Mixture,
}

/// Where frames go in.
#[derive(Clone, Copy)]
pub struct Port<'a> {
    /// The namespace that sends them.
    pub namespace: &'a Namespace,
    /// By this interface.
    pub interface: &'a str,
    /// To this Ethernet address.
    pub to: [u8; 6],
}

impl Port<'_> {
    /// An Ethernet address that nobody has: who gets a frame for it throws it away, once it has
    /// passed the hooks.
    pub const NOBODY: [u8; 6] = [0x02, 0, 0, 0, 0, 0x99];
}

/// A source of frames.
pub struct Flood {
    client: OwnedFd,
    server: OwnedFd,
    templates: Vec<[Template; 2]>,
    next: u32,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames.
    pub frames: u64,
    /// Among them ACKs that repeat the last one of a close.
    pub repeated_acks: u64,
    /// How long it took.
    pub took: Duration,
}

impl Flood {
    /// Clients' frames go in at one port and servers' at another. Connections are numbered from
    /// `first` on.
    ///
    /// # Errors
    ///
    /// Where there is no such interface, or no right to packet sockets.
    pub fn new(client: Port<'_>, server: Port<'_>, first: u32) -> Result<Self> {
        let templates = STEPS.map(|step| {
            let to = match step.sender {
                Sender::Client => client.to,
                Sender::Server => server.to,
            };
            [Family::V4, Family::V6].map(|family| Template::new(step, family, to))
        });
        Ok(Self {
            client: open(client)?,
            server: open(server)?,
            templates: templates.into(),
            next: first,
        })
    }

    /// Sends so many frames, or a batch more, by turns over IPv4 and IPv6; each connection is
    /// another one.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses for another reason than that a frame was dropped.
    pub fn send(&mut self, kind: Kind, frames: u64) -> Result<Sent> {
        let start = Instant::now();
        let mut sent = Sent::default();
        let mut batch = Batch::new();
        while sent.frames < frames {
            let round = self.next / BATCH;
            let steps = kind.steps(round / 2);
            let repeats = steps == Kind::SpuriousAcks.steps(0);
            for step in steps {
                let mut templates = self.templates.iter();
                let template = templates.find(|[template, _]| template.step() == *step);
                let [v4, v6] = template.context("each step has its templates")?;
                let template = if round.is_multiple_of(2) { v4 } else { v6 };
                let socket = match step.sender {
                    Sender::Client => &self.client,
                    Sender::Server => &self.server,
                };
                batch.send(template, self.next, socket)?;
                sent.frames += u64::from(BATCH);
            }
            sent.repeated_acks += u64::from(repeats) * u64::from(BATCH);
            self.next = self.next.wrapping_add(BATCH);
        }
        sent.took = start.elapsed();
        Ok(sent)
    }
}

impl Kind {
    /// Of each connection of a batch, one after the other; the mixture's of its n-th batch.
    const fn steps(self, number: u32) -> &'static [Step] {
        match self {
            Self::ClientFins => &[CLIENT_FIN],
            Self::ServerFins => &[SERVER_FIN],
            Self::Syns => &[SYN, SYN_ACK],
            Self::Acks => &[LAST_ACK, SERVER_ACK],
            Self::Closes => &[CLIENT_FIN, SERVER_FIN, LAST_ACK],
            Self::SpuriousAcks => &[CLIENT_FIN, SERVER_FIN, LAST_ACK, LAST_ACK],
            Self::Mixture => match number % 7 {
                0 => Self::ClientFins.steps(0),
                1 => Self::ServerFins.steps(0),
                2 => Self::Syns.steps(0),
                3 => Self::Acks.steps(0),
                4 => Self::Closes.steps(0),
                5 => Self::SpuriousAcks.steps(0),
                _ => &[CLIENT_FIN, SERVER_FIN, LAST_ACK, SERVER_RST],
            },
        }
    }
}

const fn step(sender: Sender, control: TcpControl, seq: u32, ack: Option<u32>) -> Step {
    Step {
        sender,
        control,
        seq,
        ack,
    }
}

fn open(port: Port<'_>) -> Result<OwnedFd> {
    let interface = port.interface.to_owned();
    port.namespace.run(move || {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)
            .context("could not open a packet socket")?;
        let address = getifaddrs()?
            .filter(|address| address.interface_name == interface)
            .find_map(|address| address.address?.as_link_addr().copied())
            .with_context(|| format!("there is no interface {interface}"))?;
        bind(socket.as_raw_fd(), &address)
            .with_context(|| format!("could not bind to {interface}"))?;
        Ok(socket)
    })
}

/// Frames of one step, and what sendmmsg(2) needs.
struct Batch {
    octets: Vec<u8>,
    headers: MultiHeaders<LinkAddr>,
}

impl Batch {
    /// The sockets are bound.
    const NO_ADDRESS: [Option<LinkAddr>; BATCH as usize] = [None; BATCH as usize];

    fn new() -> Self {
        Self {
            octets: Vec::new(),
            headers: MultiHeaders::preallocate(BATCH as usize, None),
        }
    }

    fn send(&mut self, template: &Template, first: u32, socket: &OwnedFd) -> Result<()> {
        let length = template.length();
        self.octets.resize(length * BATCH as usize, 0);
        for (frame, number) in self.octets.chunks_exact_mut(length).zip(first..) {
            template.write(Tuple::new(number), frame);
        }
        let frames: Vec<_> = self.octets.chunks_exact(length).collect();
        let slices: Vec<_> = frames.iter().map(|frame| [IoSlice::new(frame)]).collect();
        let mut rest = &slices[..];
        while !rest.is_empty() {
            let headers = &mut self.headers;
            let no_flags = MsgFlags::empty();
            let socket = socket.as_raw_fd();
            let done = match sendmmsg(socket, headers, rest, Self::NO_ADDRESS, [], no_flags) {
                Ok(sent) => sent.count(),
                // The hook has dropped the first one, or a queue has.
                Err(Errno::ENOBUFS) => 1,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error).context("could not send a frame"),
            };
            rest = &rest[done..];
        }
        Ok(())
    }
}
