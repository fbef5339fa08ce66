//! What etherparse says of a frame.

use std::net::IpAddr;

use etherparse::{
    EtherType, IpAuthHeaderSlice, IpNumber, Ipv6FragmentHeaderSlice, Ipv6RawExtHeaderSlice,
    LaxLinkExtSlice, LaxSlicedPacket, LinkSlice, NetSlice, SlicedPacket, TcpOptionElement,
    TcpSlice, TransportSlice,
    err::{Layer, LenError, packet::SliceError},
};
use filter_common::segment::Options;

/// Its answer.
#[derive(Clone, Debug)]
pub(super) enum Answer<'a> {
    /// TCP, from an address to another.
    Tcp(IpAddr, IpAddr, TcpSlice<'a>),
    /// Neither IP nor ARP, as far as it looks.
    OtherType,
    Arp,
    /// Another protocol above IP, whole or not.
    Protocol(IpNumber),
    /// A fragment of a packet with this protocol.
    Fragment(IpNumber),
    /// Something ends too early.
    Short(LenError),
    /// A header contradicts itself.
    Bad(SliceError),
}

impl<'a> Answer<'a> {
    pub(super) fn to(octets: &'a [u8]) -> Self {
        let packet = match SlicedPacket::from_ethernet(octets) {
            Ok(packet) => packet,
            Err(SliceError::Len(error)) => return Self::short(error),
            Err(error) => return Self::Bad(error),
        };
        let (payload, from, to): (_, IpAddr, IpAddr) = match &packet.net {
            None => return Self::OtherType,
            Some(NetSlice::Arp(_)) => return Self::Arp,
            Some(NetSlice::Ipv4(ip)) => {
                let header = ip.header();
                (
                    ip.payload(),
                    header.source_addr().into(),
                    header.destination_addr().into(),
                )
            }
            Some(NetSlice::Ipv6(ip)) => {
                let header = ip.header();
                (
                    ip.payload(),
                    IpAddr::from(header.source_addr()).to_canonical(),
                    IpAddr::from(header.destination_addr()).to_canonical(),
                )
            }
        };
        match packet.transport {
            Some(TransportSlice::Tcp(tcp)) => Self::Tcp(from, to, tcp),
            _ if payload.fragmented => Self::Fragment(payload.ip_number),
            _ => Self::Protocol(payload.ip_number),
        }
    }

    /// It looks into other protocols, too.
    fn short(error: LenError) -> Self {
        match error.layer {
            Layer::UdpHeader | Layer::UdpPayload => Self::Protocol(IpNumber::UDP),
            Layer::Icmpv4 | Layer::Icmpv4Timestamp | Layer::Icmpv4TimestampReply => {
                Self::Protocol(IpNumber::ICMP)
            }
            Layer::Icmpv6 => Self::Protocol(IpNumber::IPV6_ICMP),
            Layer::Igmp => Self::Protocol(IpNumber::IGMP),
            Layer::Arp => Self::Arp,
            Layer::LinuxSllHeader
            | Layer::Ethernet2Header
            | Layer::EtherPayload
            | Layer::VlanHeader
            | Layer::MacsecHeader
            | Layer::MacsecPacket
            | Layer::IpHeader
            | Layer::Ipv4Header
            | Layer::Ipv4Packet
            | Layer::IpAuthHeader
            | Layer::Ipv6Header
            | Layer::Ipv6Packet
            | Layer::Ipv6ExtHeader
            | Layer::Ipv6HopByHopHeader
            | Layer::Ipv6DestOptionsHeader
            | Layer::Ipv6RouteHeader
            | Layer::Ipv6FragHeader
            | Layer::TcpHeader => Self::Short(error),
        }
    }
}

/// The types of the Ethernet header and of the tags behind it, as far as they can be read.
pub(super) fn ethertypes(octets: &[u8]) -> Vec<EtherType> {
    let Ok(packet) = LaxSlicedPacket::from_ethernet(octets) else {
        return Vec::new();
    };
    let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link else {
        return Vec::new();
    };
    let behind = packet.link_exts.iter().map_while(|ext| match ext {
        LaxLinkExtSlice::Vlan(tag) => Some(tag.ether_type()),
        LaxLinkExtSlice::Macsec(_) => None,
    });
    [ethernet.ether_type()].into_iter().chain(behind).collect()
}

/// The class of the options of a TCP header.
pub(super) fn options(tcp: &TcpSlice<'_>) -> Options {
    let plain = tcp.options_iterator().all(|option| {
        matches!(
            option,
            Ok(TcpOptionElement::Noop | TcpOptionElement::Timestamp(..))
        )
    });
    if plain {
        Options::Plain
    } else {
        Options::Other
    }
}

/// An extension header of IPv6.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extension {
    pub(super) octets: usize,
    /// For routing headers.
    pub(super) segments_left: u8,
    /// For fragment headers: whether there are other fragments.
    pub(super) fragments: bool,
    /// What it says is behind it.
    pub(super) next: IpNumber,
}

/// The extension headers from `next` on, until another protocol, or until one is not whole.
///
/// Each header is read by etherparse. Its own walk refuses some chains, and does not say how
/// they go on.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) extensions: Vec<Extension>,
    /// What is behind the last one, by that or, where it is not whole, by its first octet.
    pub(super) next: IpNumber,
    pub(super) is_whole: bool,
}

impl Chain {
    pub(super) fn walk(mut next: IpNumber, mut rest: &[u8]) -> Self {
        let mut extensions = Vec::new();
        while is_walked(next) {
            let Some(extension) = Self::extension(next, rest) else {
                return Self {
                    extensions,
                    next: rest.first().map_or(next, |&next| IpNumber(next)),
                    is_whole: false,
                };
            };
            rest = rest.get(extension.octets..).unwrap_or_default();
            next = extension.next;
            extensions.push(extension);
        }
        Self {
            extensions,
            next,
            is_whole: true,
        }
    }

    fn extension(number: IpNumber, octets: &[u8]) -> Option<Extension> {
        let plain = |octets, next| Extension {
            octets,
            segments_left: 0,
            fragments: false,
            next,
        };
        match number {
            IpNumber::IPV6_FRAGMENTATION_HEADER => {
                let header = Ipv6FragmentHeaderSlice::from_slice(octets).ok()?;
                Some(Extension {
                    fragments: header.is_fragmenting_payload(),
                    ..plain(header.slice().len(), header.next_header())
                })
            }
            IpNumber::AUTHENTICATION_HEADER => {
                // Refused by etherparse.
                if let [next, 0, _, _, _, _, _, _, ..] = octets {
                    return Some(plain(8, IpNumber(*next)));
                }
                let header = IpAuthHeaderSlice::from_slice(octets).ok()?;
                Some(plain(header.slice().len(), header.next_header()))
            }
            _ => {
                let header = Ipv6RawExtHeaderSlice::from_slice(octets).ok()?;
                let routes = number == IpNumber::IPV6_ROUTE_HEADER;
                Some(Extension {
                    segments_left: if routes { header.payload()[1] } else { 0 },
                    ..plain(header.slice().len(), header.next_header())
                })
            }
        }
    }

    /// Octets of all of them.
    pub(super) fn octets(&self) -> usize {
        self.extensions
            .iter()
            .map(|extension| extension.octets)
            .sum()
    }
}

const fn is_walked(number: IpNumber) -> bool {
    matches!(
        number,
        IpNumber::IPV6_HEADER_HOP_BY_HOP
            | IpNumber::IPV6_ROUTE_HEADER
            | IpNumber::IPV6_FRAGMENTATION_HEADER
            | IpNumber::AUTHENTICATION_HEADER
            | IpNumber::IPV6_DESTINATION_OPTIONS
    )
}

/// Extension headers that neither parser looks through.
pub(super) const fn is_unknown(number: IpNumber) -> bool {
    matches!(
        number,
        IpNumber::MOBILITY_HEADER
            | IpNumber::HIP
            | IpNumber::SHIM6
            | IpNumber::EXPERIMENTAL_AND_TESTING_0
            | IpNumber::EXPERIMENTAL_AND_TESTING_1
    )
}
