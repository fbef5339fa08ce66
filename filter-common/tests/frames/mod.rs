//! Frames to feed to the parser, here and in the kernel's tests.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{
    EtherType, Ethernet2Header, IpAuthHeader, IpFragOffset, IpNumber, Ipv4Header,
    Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, SingleVlanHeader, TcpHeader, VlanId,
};
use filter_common::{Direction, Segment};

/// A whole frame, before it is octets.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) direction: Direction,
    /// The outermost first.
    pub(crate) tags: Vec<EtherType>,
    /// Whether it is within a PPPoE session.
    pub(crate) pppoe: bool,
    pub(crate) ip: Ip,
    pub(crate) client_port: u16,
    pub(crate) server_port: u16,
    pub(crate) segment: Segment,
    /// As they are in the header: a multiple of 4.
    pub(crate) tcp_options: Vec<u8>,
    /// Octets behind the datagram.
    pub(crate) padding: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Ip {
    V4 {
        client: Ipv4Addr,
        server: Ipv4Addr,
        /// A multiple of 4, at most 40.
        options: usize,
        /// Offset in units of 8 octets, and whether more fragments follow.
        fragment: (u16, bool),
    },
    V6 {
        client: Ipv6Addr,
        server: Ipv6Addr,
        extensions: Vec<Extension>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    /// Any of the usual form, with so many units of 8 octets behind the first.
    Raw(IpNumber, u8),
    /// With so many segments left.
    Routing(u8),
    Authentication,
    /// Offset in units of 8 octets, and whether more fragments follow.
    Fragment(u16, bool),
}

/// Two NOPs and Timestamps, as everybody sends them.
pub(crate) const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];

pub(crate) const V4: Ip = Ip::V4 {
    client: Ipv4Addr::new(192, 0, 2, 1),
    server: Ipv4Addr::new(198, 51, 100, 2),
    options: 0,
    fragment: (0, false),
};
pub(crate) const V6: Ip = Ip::V6 {
    client: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1),
    server: Ipv6Addr::new(0x2001, 0xdb8, 2, 3, 4, 5, 6, 2),
    extensions: Vec::new(),
};

/// The same, with extension headers.
pub(crate) fn v6(extensions: &[Extension]) -> Ip {
    match V6 {
        Ip::V6 { client, server, .. } => Ip::V6 {
            client,
            server,
            extensions: extensions.to_vec(),
        },
        v4 @ Ip::V4 { .. } => v4,
    }
}

impl Frame {
    pub(crate) const fn new(direction: Direction, ip: Ip, segment: Segment) -> Self {
        Self {
            direction,
            tags: Vec::new(),
            pppoe: false,
            ip,
            client_port: 49_152,
            server_port: 80,
            segment,
            tcp_options: Vec::new(),
            padding: 0,
        }
    }

    /// From the Ethernet header on.
    pub(crate) fn octets(&self) -> Vec<u8> {
        let mut datagram = self.datagram();
        let mut ethertype = match self.ip {
            Ip::V4 { .. } => EtherType::IPV4,
            Ip::V6 { .. } => EtherType::IPV6,
        };
        if self.pppoe {
            datagram.splice(0..0, session(ethertype, datagram.len()));
            ethertype = EtherType(0x8864);
        }
        let mut frame = self.link(ethertype);
        frame.extend(datagram);
        frame.resize(frame.len() + self.padding, 0xee);
        frame
    }

    /// From the IP header on, without padding.
    pub(crate) fn datagram(&self) -> Vec<u8> {
        let tcp = self.tcp();
        let mut datagram = self.network(tcp.len());
        datagram.extend(tcp);
        datagram
    }

    fn oriented<T>(&self, client: T, server: T) -> (T, T) {
        match self.direction {
            Direction::FromClient => (client, server),
            Direction::FromServer => (server, client),
        }
    }

    fn tcp(&self) -> Vec<u8> {
        let (source, destination) = self.oriented(self.client_port, self.server_port);
        let Segment {
            seq,
            ack,
            flags,
            payload,
            ..
        } = self.segment;
        let mut header = TcpHeader::new(source, destination, seq.0, 1024);
        header.acknowledgment_number = ack.0;
        header
            .set_options_raw(&self.tcp_options)
            .expect("at most 40 octets of options");
        let mut octets = header.to_bytes().to_vec();
        // By hand, because etherparse has no reserved bits.
        let [offset, low] = flags.bits().to_be_bytes();
        octets[12] |= offset;
        octets[13] = low;
        octets.resize(octets.len() + payload as usize, 0x55);
        octets
    }

    fn network(&self, transport: usize) -> Vec<u8> {
        let fits = "the datagram fits into its length field";
        match &self.ip {
            Ip::V4 {
                client,
                server,
                options,
                fragment: (offset, more),
            } => {
                let (source, destination) = self.oriented(client.octets(), server.octets());
                let mut header = Ipv4Header {
                    protocol: IpNumber::TCP,
                    time_to_live: 64,
                    source,
                    destination,
                    more_fragments: *more,
                    fragment_offset: IpFragOffset::try_new(*offset).expect("13 bits"),
                    options: vec![1; *options]
                        .as_slice()
                        .try_into()
                        .expect("a multiple of 4"),
                    ..Ipv4Header::default()
                };
                header.set_payload_len(transport).expect(fits);
                header.header_checksum = header.calc_header_checksum();
                header.to_bytes().to_vec()
            }
            Ip::V6 {
                client,
                server,
                extensions,
            } => {
                let (source, destination) = self.oriented(client.octets(), server.octets());
                let mut next = IpNumber::TCP;
                let mut octets = Vec::new();
                for extension in extensions.iter().rev() {
                    octets.splice(0..0, extension.octets(next));
                    next = extension.number();
                }
                let header = Ipv6Header {
                    payload_length: (octets.len() + transport).try_into().expect(fits),
                    next_header: next,
                    hop_limit: 64,
                    source,
                    destination,
                    ..Ipv6Header::default()
                };
                octets.splice(0..0, header.to_bytes());
                octets
            }
        }
    }

    fn link(&self, ethertype: EtherType) -> Vec<u8> {
        let mut types = self.tags.iter().copied().chain([ethertype]);
        let ethernet = Ethernet2Header {
            source: [2, 0, 0, 0, 0, 1],
            destination: [2, 0, 0, 0, 0, 2],
            ether_type: types.next().unwrap_or(ethertype),
        };
        let mut octets = ethernet.to_bytes().to_vec();
        for ether_type in types {
            let vlan_id = VlanId::try_new(7).expect("12 bits");
            let tag = SingleVlanHeader {
                vlan_id,
                ether_type,
                ..SingleVlanHeader::default()
            };
            octets.extend(tag.to_bytes());
        }
        octets
    }
}

/// The header of a PPPoE session's frame and the PPP protocol: RFC 2516, section 4.
fn session(ethertype: EtherType, datagram: usize) -> Vec<u8> {
    let protocol: u16 = if ethertype == EtherType::IPV4 {
        0x0021
    } else {
        0x0057
    };
    let length = u16::try_from(datagram + 2).expect("it fits into its length field");
    let fields = [0x1100, 0x0bad, length, protocol];
    fields.into_iter().flat_map(u16::to_be_bytes).collect()
}

impl Extension {
    fn number(self) -> IpNumber {
        match self {
            Self::Raw(number, _) => number,
            Self::Routing(_) => IpNumber::IPV6_ROUTE_HEADER,
            Self::Authentication => IpNumber::AUTHENTICATION_HEADER,
            Self::Fragment(..) => IpNumber::IPV6_FRAGMENTATION_HEADER,
        }
    }

    fn octets(self, next: IpNumber) -> Vec<u8> {
        let raw = |payload: &[u8]| {
            Ipv6RawExtHeader::new_raw(next, payload)
                .expect("6, and a multiple of 8")
                .to_bytes()
        };
        match self {
            Self::Raw(_, units) => raw(&vec![1; 6 + 8 * usize::from(units)]).to_vec(),
            // Type 4 is segment routing.
            Self::Routing(left) => raw(&[4, left, 0, 0, 0, 0]).to_vec(),
            Self::Authentication => {
                let header = IpAuthHeader::new(next, 1, 2, &[0xaa; 12]);
                header.expect("a multiple of 4").to_bytes().to_vec()
            }
            Self::Fragment(offset, more) => {
                let offset = IpFragOffset::try_new(offset).expect("13 bits");
                Ipv6FragmentHeader::new(next, offset, more, 9)
                    .to_bytes()
                    .to_vec()
            }
        }
    }
}
