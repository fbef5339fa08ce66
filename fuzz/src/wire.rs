//! One frame, two parsers.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "an answer that no class names is a fault"
)]

mod class;
mod theirs;

use std::net::IpAddr;

use etherparse::{
    EtherType, IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice, LenSource, TcpSlice,
    err::{Layer, ipv6_exts, packet::SliceError},
};
use filter_common::{
    Direction, FlowKey, Reason, Segment,
    segment::Options,
    wire::{self, Located, Version},
};

pub use self::class::Class;
use self::theirs::{Answer, Chain, ethertypes, is_unknown};

const SECRET: u64 = 0x0123_4567_89ab_cdef;
const DIRECTIONS: [Direction; 2] = [Direction::FromClient, Direction::FromServer];
const MOST_IP_OCTETS: usize = 0xffff;

/// A frame, taken for one of either direction.
///
/// # Errors
///
/// Says where the parsers differ though no [`Class`] allows it, or what else is broken.
pub fn check(octets: &[u8]) -> Result<Class, String> {
    let [there, back] = DIRECTIONS.map(|direction| match session(octets) {
        None => compare(octets, direction),
        Some(session) => in_session(octets, &session, direction),
    });
    let (there, back) = (there?, back?);
    if there == back {
        Ok(there)
    } else {
        Err(format!("{there:?} one way, {back:?} the other"))
    }
}

/// What the filter's parser says of a frame.
fn parse(octets: &[u8], direction: Direction) -> Result<(Located, FlowKey, Segment), Reason> {
    let located = wire::locate(octets, wire::Link::Ethernet, direction, SECRET)?;
    Ok((
        located,
        wire::key(octets, &located, direction)?,
        wire::segment(octets, &located)?,
    ))
}

/// What is behind a PPPoE EtherType, as RFC 2516 has it.
enum Session {
    /// A frame without the session, which is so many octets in.
    Carries(Vec<u8>),
    /// Nothing that is IP.
    Nothing(Reason),
}

fn session(octets: &[u8]) -> Option<Session> {
    let types = ethertypes(octets);
    let tags = tags(&types);
    let header = 14 + 4 * tags;
    let nothing = match types.get(tags).filter(|_| tags <= 2)?.0 {
        0x8863 => Reason::NotTcp,
        0x8864 => match *octets.get(header..header + 8).unwrap_or_default() {
            [0x11, 0, .., 0, protocol @ (0x21 | 0x57)] => {
                let ethertype = if protocol == 0x21 { 0x0800 } else { 0x86dd_u16 };
                let mut carried = octets.to_vec();
                carried.drain(header..header + 8);
                carried[header - 2..header].copy_from_slice(&ethertype.to_be_bytes());
                return Some(Session::Carries(carried));
            }
            [0x11, 0, .., 0x80..=0xff, _] => Reason::NotTcp,
            [0x11, 0, ..] => Reason::EtherType,
            [] => Reason::Truncated,
            _ => Reason::BadHeader,
        },
        _ => return None,
    };
    Some(Session::Nothing(nothing))
}

fn in_session(octets: &[u8], session: &Session, direction: Direction) -> Result<Class, String> {
    let facts = |parsed: Result<Found, Reason>, moved: usize| {
        parsed.map(|(located, key, segment)| {
            let offsets = [located.network, located.transport].map(|offset| offset + moved);
            (offsets, located.hash, key, segment)
        })
    };
    let ours = facts(parse(octets, direction), 0);
    match session {
        Session::Nothing(reason) if ours == Err(*reason) => Ok(Class::NoSession),
        Session::Carries(frame) if ours == facts(parse(frame, direction), 8) => {
            compare(frame, direction).map(|_| Class::Session)
        }
        Session::Nothing(_) | Session::Carries(_) => Err(format!("in a session: {ours:?}")),
    }
}

fn compare(octets: &[u8], direction: Direction) -> Result<Class, String> {
    let theirs = Answer::to(octets);
    let ours = parse(octets, direction);
    let class = match &ours {
        Ok(found) => segment(octets, direction, found, &theirs)?,
        Err(Reason::EtherType) => ether_type(octets, &theirs),
        Err(Reason::NotTcp) => not_tcp(octets, &theirs),
        Err(Reason::Fragment) => fragment(octets, &theirs),
        Err(Reason::Truncated) => truncated(&theirs),
        Err(Reason::BadHeader) => bad_header(octets, &theirs),
        Err(Reason::ExtensionHeader) => extension_header(octets, &theirs),
        Err(_) => None,
    };
    let tagged = tags(&ethertypes(octets)) > 2;
    let class = class.filter(|&class| !tagged || class == Class::ThirdTag);
    class.ok_or_else(|| format!("{ours:?}, but etherparse: {theirs:?}"))
}

/// Octets from the IP header on, behind at most two tags; whether they are IPv6.
fn ip(octets: &[u8]) -> Option<(Version, usize)> {
    let types = ethertypes(octets);
    let tags = tags(&types);
    let version = match *types.get(tags)? {
        EtherType::IPV4 => Version::V4,
        EtherType::IPV6 => Version::V6,
        _ => return None,
    };
    Some((version, 14 + 4 * tags))
}

/// How many of the types, from the first on, are those of tags.
fn tags(types: &[EtherType]) -> usize {
    let is_tag = |kind: &&EtherType| {
        matches!(
            **kind,
            EtherType::VLAN_TAGGED_FRAME | EtherType::PROVIDER_BRIDGING
        )
    };
    types.iter().take_while(is_tag).count()
}

/// The extension headers of an IPv6 packet; none where it has another version.
fn chain(octets: &[u8]) -> Option<Chain> {
    let (Version::V6, network) = ip(octets)? else {
        return None;
    };
    let header = Ipv6HeaderSlice::from_slice(octets.get(network..)?).ok()?;
    let rest = octets.get(network + header.slice().len()..)?;
    Some(Chain::walk(header.next_header(), rest))
}

/// The protocol of an IPv4 packet whose header may be broken otherwise.
fn protocol_v4(octets: &[u8]) -> Option<IpNumber> {
    let (Version::V4, network) = ip(octets)? else {
        return None;
    };
    octets.get(network + 9).copied().map(IpNumber)
}

/// Whether the IP header's length field is 0, and octets from there on.
fn zero_length(octets: &[u8]) -> Option<(bool, usize)> {
    let (version, network) = ip(octets)?;
    let field = match version {
        Version::V4 => network + 2,
        Version::V6 => network + 4,
    };
    Some((
        octets.get(field..)?.get(..2)? == [0, 0],
        octets.len() - network,
    ))
}

type Found = (Located, FlowKey, Segment);

/// We found a segment.
fn segment(
    octets: &[u8],
    direction: Direction,
    found: &Found,
    theirs: &Answer<'_>,
) -> Result<Option<Class>, String> {
    let (located, _, segment) = found;
    let (version, network) = ip(octets).ok_or("not IP to etherparse")?;
    let ip_header = if version == Version::V4 { 20 } else { 40 };
    if (located.version, located.network) != (version, network)
        || located.transport < network + ip_header
        || located.transport + 20 + segment.payload as usize > octets.len()
    {
        return Err(format!("{located:?} does not fit into the frame"));
    }
    let class = match theirs {
        Answer::Tcp(from, to, tcp) => {
            facts(found, direction, (*from, *to), tcp)?;
            let transport = tcp.slice().as_ptr().addr() - octets.as_ptr().addr();
            if located.transport != transport {
                return Err(format!("{located:?}, but etherparse: TCP at {transport}"));
            }
            Class::Segment
        }
        Answer::Bad(SliceError::Ipv6Exts(ipv6_exts::HeaderError::HopByHopNotAtStart)) => {
            Class::LateHopByHop
        }
        Answer::Bad(SliceError::Ipv6Exts(ipv6_exts::HeaderError::IpAuth(_))) => {
            Class::ShortAuthentication
        }
        Answer::Short(error)
            if error.layer == Layer::Ipv4Packet
                && error.len == 0
                && error.len_source == LenSource::Ipv4HeaderTotalLen
                && octets.len() - network > MOST_IP_OCTETS =>
        {
            Class::BigTcpV4
        }
        _ => return Ok(None),
    };
    parts(octets, direction, found)?;
    Ok(Some(class))
}

/// What etherparse refuses as a whole it reads header by header; what it takes, too, and then
/// no bound of ours is exceeded.
fn parts(octets: &[u8], direction: Direction, found: &Found) -> Result<(), String> {
    let (located, ..) = found;
    let datagram = &octets[located.network..];
    let refused = |what| move |error| format!("{what}: {error:?}");
    let (from, to, transport, end): (IpAddr, IpAddr, _, _) = match located.version {
        Version::V4 => {
            let header = Ipv4HeaderSlice::from_slice(datagram).map_err(refused("IPv4"))?;
            (
                header.source_addr().into(),
                header.destination_addr().into(),
                header.slice().len(),
                usize::from(header.total_len()),
            )
        }
        Version::V6 => {
            let header = Ipv6HeaderSlice::from_slice(datagram)
                .map_err(|error| format!("IPv6: {error:?}"))?;
            let chain = chain(octets).ok_or("no chain")?;
            let plain = chain.is_whole
                && chain.next == IpNumber::TCP
                && chain.extensions.len() <= 6
                && chain.octets() <= 512
                && chain
                    .extensions
                    .iter()
                    .all(|extension| extension.segments_left == 0 && !extension.fragments);
            if !plain {
                return Err(format!("{located:?}, but etherparse: {chain:?}"));
            }
            (
                IpAddr::from(header.source_addr()).to_canonical(),
                IpAddr::from(header.destination_addr()).to_canonical(),
                40 + chain.octets(),
                40 * usize::from(header.payload_length() != 0)
                    + usize::from(header.payload_length()),
            )
        }
    };
    let end = if end == 0 { datagram.len() } else { end };
    if located.transport != located.network + transport {
        return Err(format!("{located:?}, but etherparse: TCP at {transport}"));
    }
    let tcp = datagram
        .get(transport..end)
        .ok_or("the datagram ends before its TCP header")?;
    let tcp = TcpSlice::from_slice(tcp).map_err(|error| format!("TCP: {error:?}"))?;
    facts(found, direction, (from, to), &tcp)
}

/// The facts, one by one.
fn facts(
    (located, key, segment): &Found,
    direction: Direction,
    (from, to): (IpAddr, IpAddr),
    tcp: &TcpSlice<'_>,
) -> Result<(), String> {
    let mut ends = [(from, tcp.source_port()), (to, tcp.destination_port())];
    if direction == Direction::FromServer {
        ends.reverse();
    }
    let bits = [
        tcp.fin(),
        tcp.syn(),
        tcp.rst(),
        tcp.psh(),
        tcp.ack(),
        tcp.urg(),
        tcp.ece(),
        tcp.cwr(),
        tcp.ns(),
    ];
    let control = bits
        .iter()
        .rev()
        .fold(0, |flags, &bit| flags << 1 | u16::from(bit));
    // etherparse has no name for the reserved ones.
    let reserved = u16::from(tcp.header_slice()[12] & 0x0e) << 8;
    let bare_ack = control | reserved == 0x010 && tcp.payload().is_empty();
    let options = if bare_ack {
        theirs::options(tcp)
    } else {
        Options::Plain
    };
    let ours = (
        [
            (key.client_address(), key.client_port()),
            (key.server_address(), key.server_port()),
        ],
        (segment.seq.0, segment.ack.0),
        (segment.flags.bits(), located.flags.bits()),
        segment.payload as usize,
        segment.options,
    );
    let theirs = (
        ends,
        (tcp.sequence_number(), tcp.acknowledgment_number()),
        (control | reserved, control | reserved),
        tcp.payload().len(),
        options,
    );
    if ours == theirs {
        Ok(())
    } else {
        Err(format!("{ours:x?}, but etherparse: {theirs:x?}"))
    }
}

fn ether_type(octets: &[u8], theirs: &Answer<'_>) -> Option<Class> {
    let types = ethertypes(octets);
    let tags = tags(&types);
    if tags > 2 {
        return Some(Class::ThirdTag);
    }
    match *types.get(tags)? {
        EtherType::VLAN_DOUBLE_TAGGED_FRAME => Some(Class::VendorTag),
        EtherType::MACSEC => Some(Class::Macsec),
        _ => matches!(theirs, Answer::OtherType).then_some(Class::OtherType),
    }
}

fn not_tcp(octets: &[u8], theirs: &Answer<'_>) -> Option<Class> {
    if matches!(theirs, Answer::Arp) {
        return Some(Class::OtherProtocol);
    }
    if let Some(protocol) = protocol_v4(octets) {
        return match theirs {
            Answer::Protocol(found) if *found != IpNumber::TCP => Some(Class::OtherProtocol),
            Answer::Fragment(found) if *found != IpNumber::TCP => Some(Class::Fragment),
            Answer::Tcp(..) | Answer::Fragment(_)
                if protocol == IpNumber::AUTHENTICATION_HEADER =>
            {
                Some(Class::AuthenticationV4)
            }
            Answer::Short(_) | Answer::Bad(_) if protocol != IpNumber::TCP => {
                Some(Class::AnotherFault)
            }
            _ => None,
        };
    }
    let chain = chain(octets)?;
    let fragment = chain
        .extensions
        .iter()
        .find(|extension| extension.fragments);
    let next = fragment.map_or(chain.next, |extension| extension.next);
    if next == IpNumber::TCP || fragment.is_none() && is_unknown(next) {
        return None;
    }
    match theirs {
        Answer::Fragment(found) if *found == next => Some(Class::Fragment),
        Answer::Fragment(_) => Some(Class::BehindFragment),
        Answer::Protocol(found) if *found == next => Some(Class::OtherProtocol),
        Answer::Short(_) | Answer::Bad(_) => Some(Class::AnotherFault),
        _ => None,
    }
}

fn fragment(octets: &[u8], theirs: &Answer<'_>) -> Option<Class> {
    let is_one = match ip(octets)? {
        (Version::V4, network) => {
            let field = octets.get(network + 6..)?.first_chunk()?;
            protocol_v4(octets) == Some(IpNumber::TCP) && u16::from_be_bytes(*field) & 0x3fff != 0
        }
        (Version::V6, _) => chain(octets)?
            .extensions
            .iter()
            .find(|extension| extension.fragments)
            .is_some_and(|extension| extension.next == IpNumber::TCP),
    };
    match theirs {
        Answer::Fragment(IpNumber::TCP) => Some(Class::Fragment),
        Answer::Short(_) | Answer::Bad(_) if is_one => Some(Class::AnotherFault),
        _ => None,
    }
}

fn truncated(theirs: &Answer<'_>) -> Option<Class> {
    match theirs {
        Answer::Short(_) => Some(Class::Truncated),
        Answer::Bad(SliceError::Ipv6Exts(_)) => Some(Class::AnotherFault),
        _ => None,
    }
}

fn bad_header(octets: &[u8], theirs: &Answer<'_>) -> Option<Class> {
    match theirs {
        Answer::Bad(SliceError::Ipv4(_) | SliceError::Ipv6(_) | SliceError::Tcp(_)) => {
            Some(Class::BadHeader)
        }
        // Of lengths in headers, or of the frame's.
        Answer::Short(error) if error.len_source != LenSource::Slice => Some(Class::BadHeader),
        Answer::Short(_) | Answer::Bad(SliceError::Ipv6Exts(_)) => Some(Class::AnotherFault),
        Answer::Tcp(..) if ip(octets)?.0 == Version::V6 => {
            let (is_zero, length) = zero_length(octets)?;
            (is_zero && length <= MOST_IP_OCTETS).then_some(Class::ZeroLength)
        }
        _ => None,
    }
}

fn extension_header(octets: &[u8], theirs: &Answer<'_>) -> Option<Class> {
    let chain = chain(octets)?;
    let mut walked = 0;
    for (index, extension) in chain.extensions.iter().enumerate() {
        walked += extension.octets;
        if index == 6 {
            return Some(Class::ManyExtensions);
        }
        if extension.fragments {
            return None;
        }
        if extension.segments_left != 0 {
            return Some(Class::SegmentsLeft);
        }
        if walked > 512 {
            return Some(Class::LongExtensions);
        }
    }
    match theirs {
        Answer::Protocol(found) if *found == chain.next && is_unknown(*found) => {
            Some(Class::UnknownExtension)
        }
        // Or the chain ends with the frame before it can be told why we stopped.
        Answer::Short(_) | Answer::Bad(_) if !chain.is_whole || is_unknown(chain.next) => {
            Some(Class::AnotherFault)
        }
        _ => None,
    }
}
