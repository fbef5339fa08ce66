//! A client of which each segment is written by hand.

use std::{
    fs::File,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use etherparse::{
    IpFragOffset, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header,
    PacketBuilder, PacketBuilderStep,
};
use filter_common::{Flags, SeqNum};
use filter_user::lab::frame::Headers;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::gateway::Tagged;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one listens to learn that nothing comes.
const SILENCE: Duration = Duration::from_millis(300);
/// What the client asks for. The server does not care.
const REQUEST: &[u8] = b"GET /news HTTP/1.0\r\n\r\n";

const MAXIMUM_SEGMENT_SIZE: &[u8] = &[2, 4, 0x05, 0xb4];
/// The numbers of the client's first connection wrap round the end.
const FIRST_SEQ: u32 = u32::MAX - 10;
/// How much further its next begins.
const NEXT_CONNECTION: u32 = 64_000;

/// What a card's packets begin with.
#[derive(Clone, Copy)]
pub(super) enum Link {
    /// The client's address and the gateway's.
    Ethernet {
        client: [u8; 6],
        gateway: [u8; 6],
    },
    Ip,
}

/// A client, and how far its connection has come.
pub(super) struct Client {
    card: File,
    link: Link,
    pub(super) address: SocketAddr,
    server: SocketAddr,
    /// Whether segments carry Timestamps.
    pub(super) has_timestamps: bool,
    /// Where everything that it sends and gets is copied to.
    pub(super) mirror: Option<Tagged>,
    first_seq: u32,
    /// SND.NXT.
    next: SeqNum,
    /// RCV.NXT.
    expected: SeqNum,
    /// Of the next IPv4 packet: it counts, as that of old stacks does.
    identification: u16,
    started: Instant,
}

impl Client {
    pub(super) fn new(card: File, link: Link, address: SocketAddr, server: SocketAddr) -> Self {
        Self {
            card,
            link,
            address,
            server,
            has_timestamps: false,
            mirror: None,
            first_seq: FIRST_SEQ,
            next: SeqNum(0),
            expected: SeqNum(0),
            identification: 1000,
            started: Instant::now(),
        }
    }

    /// SYN, and the server's answer to it. The caller has to acknowledge that.
    pub(super) fn connect(&mut self) -> Result<()> {
        self.next = SeqNum(self.first_seq);
        self.expected = SeqNum(0);
        self.first_seq = self.first_seq.wrapping_add(NEXT_CONNECTION);
        self.emit(Flags::SYN, self.next, None, MAXIMUM_SEGMENT_SIZE, b"")?;
        self.next = self.next.plus(1);
        let answer = self.receive(Flags::SYN.with(Flags::ACK))?;
        self.expected = answer.seq.plus(1);
        Ok(())
    }

    /// The request.
    pub(super) fn request(&mut self) -> Result<()> {
        let flags = Flags::ACK.with(Flags::PSH);
        self.emit(flags, self.next, Some(self.expected), &[], REQUEST)?;
        self.next = self.next.plus(u32::try_from(REQUEST.len())?);
        Ok(())
    }

    /// FIN.
    pub(super) fn finish(&mut self) -> Result<()> {
        let flags = Flags::ACK.with(Flags::FIN);
        self.emit(flags, self.next, Some(self.expected), &[], b"")?;
        self.next = self.next.plus(1);
        Ok(())
    }

    /// An ACK of all that has come.
    pub(super) fn acknowledge(&mut self) -> Result<()> {
        self.acknowledge_with(0, 0, &[])
    }

    /// An ACK whose SEG.SEQ and SEG.ACK are so much less, with these options.
    pub(super) fn acknowledge_with(&mut self, seq: u32, ack: u32, options: &[u8]) -> Result<()> {
        let seq = SeqNum(self.next.0.wrapping_sub(seq));
        let ack = SeqNum(self.expected.0.wrapping_sub(ack));
        self.emit(Flags::ACK, seq, Some(ack), options, b"")
    }

    /// The server's next segment, which has to be one with these flags, and nothing that comes
    /// out of order unless it has come before.
    pub(super) fn receive(&mut self, flags: Flags) -> Result<Headers> {
        let Some(headers) = self.listen(PATIENCE)? else {
            bail!("the server has not sent the segment with {flags:?}");
        };
        ensure!(
            headers.flags == flags,
            "the server sent {headers:?} in place of one with {flags:?}"
        );
        if !flags.any(Flags::RST.with(Flags::SYN)) {
            let is_new = headers.seq == self.expected;
            ensure!(
                is_new || headers.end() == self.expected,
                "{headers:?} is out of order"
            );
            self.expected = headers.end();
        }
        Ok(headers)
    }

    /// Fails if something comes.
    pub(super) fn hear_nothing(&mut self) -> Result<()> {
        match self.listen(SILENCE)? {
            Some(headers) => bail!("the server sent {headers:?} in place of nothing"),
            None => Ok(()),
        }
    }

    fn listen(&mut self, patience: Duration) -> Result<Option<Headers>> {
        let deadline = Instant::now() + patience;
        let mut buffer = [0; 2048];
        loop {
            match self.card.read(&mut buffer) {
                Ok(length) => {
                    if let Some(headers) = self.headers(&buffer[..length]) {
                        self.copy(&buffer[..length])?;
                        return Ok(Some(headers));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    let mut ready = [PollFd::new(self.card.as_fd(), PollFlags::POLLIN)];
                    poll(&mut ready, PollTimeout::try_from(left.as_millis() + 1)?)?;
                }
                Err(error) => return Err(error).context("cannot read a frame"),
            }
        }
    }

    fn headers(&self, packet: &[u8]) -> Option<Headers> {
        let headers = match self.link {
            Link::Ethernet { .. } => Headers::parse(packet),
            Link::Ip => {
                let ether_type = match packet.first()? >> 4 {
                    4 => [0x08, 0x00],
                    _ => [0x86, 0xdd],
                };
                Headers::parse(&[&[0; 12], &ether_type[..], packet].concat())
            }
        };
        headers.filter(|headers| headers.destination == self.address)
    }

    fn emit(
        &mut self,
        flags: Flags,
        seq: SeqNum,
        ack: Option<SeqNum>,
        options: &[u8],
        payload: &[u8],
    ) -> Result<()> {
        let ip = self.ip_headers();
        let builder: PacketBuilderStep<IpHeaders> = match self.link {
            Link::Ethernet { client, gateway } => PacketBuilder::ethernet2(client, gateway).ip(ip),
            Link::Ip => PacketBuilder::ip(ip),
        };
        let (source, destination) = (self.address.port(), self.server.port());
        let mut tcp = builder.tcp(source, destination, seq.0, 8760);
        if let Some(ack) = ack {
            tcp = tcp.ack(ack.0);
        }
        if flags.any(Flags::SYN) {
            tcp = tcp.syn();
        }
        if flags.any(Flags::FIN) {
            tcp = tcp.fin();
        }
        if flags.any(Flags::PSH) {
            tcp = tcp.psh();
        }
        let timestamps = if self.has_timestamps {
            // A server that hears nothing of its own clock does without.
            let now = u32::try_from(self.started.elapsed().as_millis())?.to_be_bytes();
            [&[1, 1, 8, 10], &now[..], &[0; 4]].concat()
        } else {
            Vec::new()
        };
        tcp = tcp.options_raw(&[options, &timestamps].concat())?;
        let mut packet = Vec::with_capacity(tcp.size(payload.len()));
        tcp.write(&mut packet, payload)?;
        self.card
            .write_all(&packet)
            .context("cannot send a frame")?;
        self.copy(&packet)
    }

    fn ip_headers(&mut self) -> IpHeaders {
        self.identification = self.identification.wrapping_add(1);
        match (self.address.ip(), self.server.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => IpHeaders::Ipv4(
                Ipv4Header {
                    identification: self.identification,
                    dont_fragment: true,
                    fragment_offset: IpFragOffset::ZERO,
                    time_to_live: 128,
                    protocol: IpNumber::TCP,
                    source: source.octets(),
                    destination: destination.octets(),
                    ..Ipv4Header::default()
                },
                Ipv4Extensions::default(),
            ),
            (source, destination) => {
                let octets = |address| match address {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                    IpAddr::V6(v6) => v6.octets(),
                };
                IpHeaders::Ipv6(
                    Ipv6Header {
                        hop_limit: 128,
                        next_header: IpNumber::TCP,
                        source: octets(source),
                        destination: octets(destination),
                        ..Ipv6Header::default()
                    },
                    Ipv6Extensions::default(),
                )
            }
        }
    }

    fn copy(&mut self, frame: &[u8]) -> Result<()> {
        match &mut self.mirror {
            Some(mirror) => mirror.copy(frame),
            None => Ok(()),
        }
    }
}
