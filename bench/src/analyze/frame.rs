//! Frames of the conversations' packets.

use std::net::IpAddr;

use etherparse::{IpHeaders, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder, TcpHeader};
use filter_common::Flags;

use super::conversation::Segment;

/// Builds them into one buffer.
#[derive(Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    /// Nothing in it matters.
    payload: Vec<u8>,
    identification: u16,
}

/// Hops that are left where they are captured.
const TTL: u8 = 63;

impl Frames {
    /// With everything, and correct checksums.
    pub(super) fn frame(&mut self, segment: &Segment) -> &[u8] {
        self.buffer.clear();
        self.identification = self.identification.wrapping_add(1);
        let length = usize::from(segment.payload);
        if self.payload.len() < length {
            self.payload.resize(length, 0);
        }
        let payload = self.payload.get(..length).unwrap_or_default();
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ip(addresses(segment, self.identification));
        let (from, to) = (segment.from.port(), segment.to.port());
        let written = match segment.tcp {
            Some((flags, seq, ack)) => {
                let mut header = TcpHeader::new(from, to, seq, 65_000);
                header.acknowledgment_number = ack;
                set(&mut header, flags);
                builder.tcp_header(header).write(&mut self.buffer, payload)
            }
            None => builder.udp(from, to).write(&mut self.buffer, payload),
        };
        // A vector takes whatever is written, and lengths are far below what headers can say.
        debug_assert!(written.is_ok(), "{written:?}");
        &self.buffer
    }
}

fn addresses(segment: &Segment, identification: u16) -> IpHeaders {
    match (segment.from.ip(), segment.to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => IpHeaders::Ipv4(
            Ipv4Header {
                identification,
                dont_fragment: true,
                time_to_live: TTL,
                protocol: IpNumber::TCP,
                source: from.octets(),
                destination: to.octets(),
                ..Ipv4Header::default()
            },
            etherparse::Ipv4Extensions::default(),
        ),
        (from, to) => IpHeaders::Ipv6(
            Ipv6Header {
                hop_limit: TTL,
                source: ipv6(from),
                destination: ipv6(to),
                ..Ipv6Header::default()
            },
            etherparse::Ipv6Extensions::default(),
        ),
    }
}

fn ipv6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn set(header: &mut TcpHeader, flags: Flags) {
    header.syn = flags.any(Flags::SYN);
    header.ack = flags.any(Flags::ACK);
    header.fin = flags.any(Flags::FIN);
    header.rst = flags.any(Flags::RST);
    header.psh = flags.any(Flags::PSH);
}
