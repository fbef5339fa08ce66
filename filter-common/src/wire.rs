//! Bytes become facts, wherever the bytes come from.
//!
//! Two steps, because an ordinary packet needs only the first: [`locate`] finds the TCP
//! header and hashes the 4-tuple; [`segment`] reads what the state machine wants to know.
//! What cannot be understood is answered with the [`Reason`] that it is counted under.

mod extension;
mod options;

use crate::{
    expiry::TupleHash,
    segment::{Direction, Flags, FlowKey, Options, Segment},
    seq::SeqNum,
    verdict::Reason,
};

/// Where the bytes of one frame come from: a slice, an XDP frame, a socket buffer.
pub trait Frame {
    /// A view of a header.
    type Header<'a>: Header
    where
        Self: 'a;

    /// Octets on the wire from the start of the frame, readable or not.
    fn len(&self) -> usize;

    /// Whether the frame has no octet at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `N` octets at `offset`, or nothing where they are not readable.
    fn header<const N: usize>(&self, offset: usize) -> Option<Self::Header<'_>>;

    /// Gives `offset` back. A kernel program makes its verifier forget what it knew of it, so
    /// that the many ways to an offset become one.
    fn forgotten(&self, offset: usize) -> usize {
        offset
    }

    /// The four octets at `offset` as they are on the wire, where they are cheap to have.
    fn peek(&self, offset: usize) -> Option<u32> {
        let _ = offset;
        None
    }

    /// Copies the first `length` octets of TCP options at `offset` to `options`; false where
    /// they are not readable. `length` is a multiple of 4, from 4 to 40.
    fn options(&self, offset: usize, length: usize, options: &mut OptionOctets) -> bool;
}

/// The most octets of options that a TCP header has room for.
pub const MOST_OPTION_OCTETS: usize = 40;

/// Room for them; a power of two, which a kernel program's verifier understands.
pub type OptionOctets = [u8; 64];

/// Octets that are known to be there. Reading past them gives 0.
pub trait Header {
    /// The octet at `at`.
    fn byte(&self, at: usize) -> u8;
    /// The 16-bit number at `at`.
    fn be16(&self, at: usize) -> u16;
    /// The four octets at `at` as they are on the wire: a number in network byte order.
    fn word(&self, at: usize) -> u32;
}

impl Frame for [u8] {
    type Header<'a> = &'a [u8];

    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn header<const N: usize>(&self, offset: usize) -> Option<&[u8]> {
        self.get(offset..)?.get(..N)
    }

    fn peek(&self, offset: usize) -> Option<u32> {
        self.header::<4>(offset).map(|header| header.word(0))
    }

    fn options(&self, offset: usize, length: usize, options: &mut OptionOctets) -> bool {
        let source = self.get(offset..).and_then(|rest| rest.get(..length));
        match (source, options.get_mut(..length)) {
            (Some(source), Some(options)) => {
                options.copy_from_slice(source);
                true
            }
            _ => false,
        }
    }
}

impl Header for &[u8] {
    fn byte(&self, at: usize) -> u8 {
        self.get(at).copied().unwrap_or_default()
    }

    fn be16(&self, at: usize) -> u16 {
        u16::from_be_bytes(octets(self, at))
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes(octets(self, at))
    }
}

fn octets<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

const ETHERNET: usize = 14;
const VLAN_TAG: usize = 4;
/// The header of RFC 2516, section 4, and PPP's protocol field.
const PPPOE: usize = 8;
const IPV4: usize = 20;
const IPV6: usize = 40;
const TCP: usize = 20;

/// IANA's number of TCP.
const PROTOCOL_TCP: u8 = 6;
/// 802.1Q and 802.1ad tags: a customer's within a provider's.
const MOST_VLAN_TAGS: usize = 2;
const MOST_NETWORK_OFFSET: usize = ETHERNET + MOST_VLAN_TAGS * VLAN_TAG + PPPOE;
/// The largest length that fits into an IP header.
const MOST_IP_OCTETS: usize = 0xffff;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_PPPOE_DISCOVERY: u16 = 0x8863;
const ETHERTYPE_PPPOE_SESSION: u16 = 0x8864;
const ETHERTYPE_QINQ: u16 = 0x88a8;

/// What packets of an interface begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// An Ethernet header.
    Ethernet,
    /// The IP header.
    Ip,
}

/// The version of the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 791.
    V4,
    /// RFC 8200.
    V6,
}

/// A TCP header that was found.
#[derive(Clone, Copy, Debug)]
pub struct Located {
    /// The IP header's version.
    pub version: Version,
    /// Offset of the IP header.
    pub network: usize,
    /// Offset of the TCP header.
    pub transport: usize,
    /// Control bits.
    pub flags: Flags,
    /// Hash of the oriented 4-tuple.
    pub hash: u32,
}

/// Finds the TCP header of a packet.
///
/// # Errors
///
/// A [`Reason`] where there is none: [`Reason::NotTcp`], or why the frame was not
/// understood.
#[inline(always)]
pub fn locate<F: Frame + ?Sized>(
    frame: &F,
    link: Link,
    direction: Direction,
    secret: u64,
) -> Result<Located, Reason> {
    match link {
        Link::Ethernet => locate_ethernet(frame, direction, secret),
        Link::Ip => {
            // The shorter of the two headers.
            let ip = frame.header::<IPV4>(0).ok_or(Reason::Truncated)?;
            match ip.byte(0) >> 4 {
                4 => locate_ipv4(frame, 0, direction, secret),
                6 => locate_ipv6(frame, 0, direction, secret),
                _ => Err(Reason::EtherType),
            }
        }
    }
}

#[inline(always)]
fn locate_ethernet<F: Frame + ?Sized>(
    frame: &F,
    direction: Direction,
    secret: u64,
) -> Result<Located, Reason> {
    let ethernet = frame.header::<ETHERNET>(0).ok_or(Reason::Truncated)?;
    let mut ethertype = ethernet.be16(12);
    let mut network = ETHERNET;
    // Before the tags, since most frames have none.
    if ethertype == ETHERTYPE_IPV4 {
        return locate_ipv4(frame, network, direction, secret);
    }
    for _ in 0..MOST_VLAN_TAGS {
        if ethertype != ETHERTYPE_VLAN && ethertype != ETHERTYPE_QINQ {
            break;
        }
        let tag = frame.header::<VLAN_TAG>(network).ok_or(Reason::Truncated)?;
        ethertype = tag.be16(2);
        network = network.wrapping_add(VLAN_TAG);
    }
    if ethertype == ETHERTYPE_PPPOE_SESSION {
        ethertype = pppoe(frame, network)?;
        // So that all ways through tags and sessions become one.
        network = frame.forgotten(network.wrapping_add(PPPOE));
        if network > MOST_NETWORK_OFFSET {
            return Err(Reason::BadHeader);
        }
    }
    match ethertype {
        ETHERTYPE_IPV4 => locate_ipv4(frame, network, direction, secret),
        ETHERTYPE_IPV6 => locate_ipv6(frame, network, direction, secret),
        ETHERTYPE_ARP | ETHERTYPE_PPPOE_DISCOVERY => Err(Reason::NotTcp),
        _ => Err(Reason::EtherType),
    }
}

/// The EtherType of what a PPPoE session carries.
#[inline(always)]
fn pppoe<F: Frame + ?Sized>(frame: &F, offset: usize) -> Result<u16, Reason> {
    /// Version 1, type 1, code 0 (RFC 2516, section 6).
    const SESSION_DATA: u16 = 0x1100;
    // <https://www.iana.org/assignments/ppp-numbers>
    const PPP_IPV4: u16 = 0x0021;
    const PPP_IPV6: u16 = 0x0057;
    /// From here on they control a link or a network protocol.
    const PPP_CONTROL: u16 = 0x8000;
    let header = frame.header::<PPPOE>(offset).ok_or(Reason::Truncated)?;
    if header.be16(0) != SESSION_DATA {
        return Err(Reason::BadHeader);
    }
    match header.be16(6) {
        PPP_IPV4 => Ok(ETHERTYPE_IPV4),
        PPP_IPV6 => Ok(ETHERTYPE_IPV6),
        PPP_CONTROL.. => Err(Reason::NotTcp),
        _ => Err(Reason::EtherType),
    }
}

#[inline(always)]
fn locate_ipv4<F: Frame + ?Sized>(
    frame: &F,
    network: usize,
    direction: Direction,
    secret: u64,
) -> Result<Located, Reason> {
    let ip = frame.header::<IPV4>(network).ok_or(Reason::Truncated)?;
    if ip.byte(9) != PROTOCOL_TCP {
        return Err(Reason::NotTcp);
    }
    // More Fragments, or an offset.
    if ip.be16(6) & 0x3fff != 0 {
        return Err(Reason::Fragment);
    }
    let version_and_length = ip.byte(0);
    let header = usize::from(version_and_length & 0x0f).wrapping_mul(4);
    if version_and_length >> 4 != 4 || header < IPV4 {
        return Err(Reason::BadHeader);
    }
    let (source, destination) = (ip.word(12), ip.word(16));
    let (client, server) = oriented(direction, source, destination);
    let hash = TupleHash::new(secret).words(client, server);
    let transport = network.wrapping_add(header);
    locate_tcp(frame, Version::V4, network, transport, direction, hash)
}

#[inline(always)]
fn locate_ipv6<F: Frame + ?Sized>(
    frame: &F,
    network: usize,
    direction: Direction,
    secret: u64,
) -> Result<Located, Reason> {
    let ip = frame.header::<IPV6>(network).ok_or(Reason::Truncated)?;
    if ip.byte(0) >> 4 != 6 {
        return Err(Reason::BadHeader);
    }
    let next = ip.byte(6);
    let mut transport = network.wrapping_add(IPV6);
    if next != PROTOCOL_TCP {
        transport = extension::skip(frame, next, transport)?;
    }
    let (client, server) = oriented(direction, 8, 24);
    let hash = TupleHash::new(secret)
        .words(ip.word(client), ip.word(client.wrapping_add(4)))
        .words(
            ip.word(client.wrapping_add(8)),
            ip.word(client.wrapping_add(12)),
        )
        .words(ip.word(server), ip.word(server.wrapping_add(4)))
        .words(
            ip.word(server.wrapping_add(8)),
            ip.word(server.wrapping_add(12)),
        );
    locate_tcp(frame, Version::V6, network, transport, direction, hash)
}

#[inline(always)]
fn locate_tcp<F: Frame + ?Sized>(
    frame: &F,
    version: Version,
    network: usize,
    transport: usize,
    direction: Direction,
    hash: TupleHash,
) -> Result<Located, Reason> {
    let tcp = frame.header::<TCP>(transport).ok_or(Reason::Truncated)?;
    let flags = Flags::from_header(tcp.be16(12));
    let hash = hash
        .words(0, oriented_ports(direction, tcp.word(0)))
        .finish();
    Ok(Located {
        version,
        network,
        transport,
        flags,
        hash,
    })
}

/// Client first.
#[inline(always)]
fn oriented<T>(direction: Direction, source: T, destination: T) -> (T, T) {
    match direction {
        Direction::FromClient => (source, destination),
        Direction::FromServer => (destination, source),
    }
}

#[inline(always)]
const fn oriented_ports(direction: Direction, ports: u32) -> u32 {
    match direction {
        Direction::FromClient => ports,
        Direction::FromServer => ports.rotate_left(16),
    }
}

/// The key of the flow that a located segment belongs to.
///
/// # Errors
///
/// [`Reason::Truncated`] where the headers cannot be read again.
#[inline(always)]
pub fn key<F: Frame + ?Sized>(
    frame: &F,
    located: &Located,
    direction: Direction,
) -> Result<FlowKey, Reason> {
    let tcp = frame
        .header::<TCP>(located.transport)
        .ok_or(Reason::Truncated)?;
    let ports = oriented_ports(direction, tcp.word(0));
    let (source, destination) = match located.version {
        Version::V4 => {
            let ip = frame
                .header::<IPV4>(located.network)
                .ok_or(Reason::Truncated)?;
            (mapped(ip.word(12)), mapped(ip.word(16)))
        }
        Version::V6 => {
            let ip = frame
                .header::<IPV6>(located.network)
                .ok_or(Reason::Truncated)?;
            (
                [ip.word(8), ip.word(12), ip.word(16), ip.word(20)],
                [ip.word(24), ip.word(28), ip.word(32), ip.word(36)],
            )
        }
    };
    let (client, server) = oriented(direction, source, destination);
    Ok(FlowKey {
        client,
        server,
        ports,
    })
}

/// An IPv4-mapped IPv6 address.
#[inline(always)]
const fn mapped(address: u32) -> [u32; 4] {
    [0, 0, 0xffff_u32.to_be(), address]
}

/// Octets from the IP header on, as that says; `None` where its length field is 0.
#[inline(always)]
fn declared<F: Frame + ?Sized>(frame: &F, located: &Located) -> Result<Option<usize>, Reason> {
    let (field, before) = match located.version {
        Version::V4 => (frame.header::<IPV4>(located.network), 0),
        Version::V6 => (frame.header::<IPV6>(located.network), IPV6),
    };
    let at = match located.version {
        Version::V4 => 2,
        Version::V6 => 4,
    };
    let octets = field.ok_or(Reason::Truncated)?.be16(at);
    Ok((octets != 0).then(|| usize::from(octets).wrapping_add(before)))
}

/// The facts of a located segment.
///
/// # Errors
///
/// [`Reason::BadHeader`] where lengths contradict one another, [`Reason::Truncated`] where
/// the frame ends before they say.
#[inline(always)]
pub fn segment<F: Frame + ?Sized>(frame: &F, located: &Located) -> Result<Segment, Reason> {
    let tcp = frame
        .header::<TCP>(located.transport)
        .ok_or(Reason::Truncated)?;
    let header = usize::from(tcp.byte(12) >> 4).wrapping_mul(4);
    if header < TCP {
        return Err(Reason::BadHeader);
    }
    let on_wire = frame.len().wrapping_sub(located.network);
    let datagram = match declared(frame, located)? {
        Some(octets) => octets,
        // A super-packet that is longer than the field can say (BIG TCP).
        None if on_wire > MOST_IP_OCTETS => on_wire,
        None => return Err(Reason::BadHeader),
    };
    if datagram > on_wire {
        return Err(Reason::Truncated);
    }
    let headers = located
        .transport
        .wrapping_sub(located.network)
        .wrapping_add(header);
    if datagram < headers {
        return Err(Reason::BadHeader);
    }
    #[expect(clippy::cast_possible_truncation, reason = "no frame has 4 GiB")]
    let payload = datagram.wrapping_sub(headers) as u32;
    let mut segment = Segment {
        seq: SeqNum(u32::from_be(tcp.word(4))),
        ack: SeqNum(u32::from_be(tcp.word(8))),
        flags: located.flags,
        payload,
        options: Options::Plain,
    };
    if header > TCP && segment.is_bare_ack() {
        let first = located.transport.wrapping_add(TCP);
        segment.options = options::read(frame, first, header.wrapping_sub(TCP));
    }
    Ok(segment)
}
