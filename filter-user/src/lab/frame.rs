//! The TCP segment in an Ethernet frame, by a parser that is not the filter's.

use std::net::SocketAddr;

use filter_common::{Flags, SeqNum};
use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpAddress, IpEndpoint,
        IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
    },
};

/// What a segment's headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Who sent it.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// SEG.SEQ.
    pub seq: SeqNum,
    /// SEG.ACK; meaningless without [`Flags::ACK`].
    pub ack: SeqNum,
    /// Control bits.
    pub flags: Flags,
    /// Length of the payload in bytes.
    pub payload: u32,
}

impl Headers {
    /// Of an Ethernet frame; `None` if it holds no TCP segment.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (source, destination, segment) = parse(frame)?;
        Some(Self {
            source: SocketAddr::new(source.addr.into(), source.port),
            destination: SocketAddr::new(destination.addr.into(), destination.port),
            seq: SeqNum(segment.seq_number().0.cast_unsigned()),
            ack: SeqNum(segment.ack_number().0.cast_unsigned()),
            payload: u32::try_from(segment.payload().len()).ok()?,
            flags: Flags::from_header(u16::from_be_bytes(
                *segment.into_inner().get(12..)?.first_chunk()?,
            )),
        })
    }

    /// The sequence number that follows it.
    #[must_use]
    pub fn end(&self) -> SeqNum {
        let controls =
            u32::from(self.flags.any(Flags::SYN)) + u32::from(self.flags.any(Flags::FIN));
        self.seq.plus(self.payload + controls)
    }

    /// Whether it says nothing but what it acknowledges.
    #[must_use]
    pub fn is_pure_ack(&self) -> bool {
        self.flags == Flags::ACK && self.payload == 0
    }
}

/// The endpoints that a TCP segment comes from and goes to, and the segment.
pub(super) fn parse(frame: &[u8]) -> Option<(IpEndpoint, IpEndpoint, TcpPacket<&[u8]>)> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let (source, destination, segment): (IpAddress, IpAddress, _) = match frame.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
            if packet.next_header() != IpProtocol::Tcp {
                return None;
            }
            (
                packet.src_addr().into(),
                packet.dst_addr().into(),
                packet.payload(),
            )
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
            if packet.next_header() != IpProtocol::Tcp {
                return None;
            }
            (
                packet.src_addr().into(),
                packet.dst_addr().into(),
                packet.payload(),
            )
        }
        EthernetProtocol::Arp | EthernetProtocol::Unknown(_) => return None,
    };
    let segment = TcpPacket::new_checked(segment).ok()?;
    Some((
        IpEndpoint::new(source, segment.src_port()),
        IpEndpoint::new(destination, segment.dst_port()),
        segment,
    ))
}

/// An Ethernet frame with a segment.
pub(super) fn build(
    ethernet: (EthernetAddress, EthernetAddress),
    (source, destination): (IpEndpoint, IpEndpoint),
    control: TcpControl,
    (seq, ack): (TcpSeqNumber, Option<TcpSeqNumber>),
    payload: &[u8],
) -> Vec<u8> {
    let segment = TcpRepr {
        src_port: source.port,
        dst_port: destination.port,
        control,
        seq_number: seq,
        ack_number: ack,
        window_len: 1_000,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload,
    };
    let length = segment.buffer_len();
    let packet = IpRepr::new(source.addr, destination.addr, IpProtocol::Tcp, length, 64);
    let ethernet = EthernetRepr {
        src_addr: ethernet.0,
        dst_addr: ethernet.1,
        ethertype: match source.addr {
            IpAddress::Ipv4(_) => EthernetProtocol::Ipv4,
            IpAddress::Ipv6(_) => EthernetProtocol::Ipv6,
        },
    };
    let mut bytes = vec![0; ethernet.buffer_len() + packet.header_len() + length];
    ethernet.emit(&mut EthernetFrame::new_unchecked(&mut bytes));
    let (header, rest) = bytes[ethernet.buffer_len()..].split_at_mut(packet.header_len());
    packet.emit(&mut *header, &ChecksumCapabilities::default());
    segment.emit(
        &mut TcpPacket::new_unchecked(rest),
        &source.addr,
        &destination.addr,
        &ChecksumCapabilities::default(),
    );
    bytes
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A frame with a segment.
    pub(in super::super) fn frame(
        way: (IpEndpoint, IpEndpoint),
        control: TcpControl,
        (seq, ack): (i32, i32),
        payload: &[u8],
    ) -> Vec<u8> {
        let ethernet = [1, 2].map(|end| EthernetAddress([2, 0, 0, 0, 0, end]));
        build(
            ethernet.into(),
            way,
            control,
            (TcpSeqNumber(seq), Some(TcpSeqNumber(ack))),
            payload,
        )
    }

    #[test]
    fn the_headers_of_a_segment_are_read_over_both_families() {
        let families = [
            (IpAddress::v4(10, 0, 0, 2), IpAddress::v4(203, 0, 113, 2)),
            (
                IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0, 2),
                IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
            ),
        ];
        for (source, destination) in families {
            let way = (
                IpEndpoint::new(source, 20_000),
                IpEndpoint::new(destination, 80),
            );
            let headers = Headers::parse(&frame(way, TcpControl::Fin, (-1, 7), b"four")).unwrap();
            assert_eq!(headers.source, SocketAddr::new(source.into(), 20_000));
            assert_eq!(headers.destination, SocketAddr::new(destination.into(), 80));
            assert_eq!((headers.seq, headers.ack), (SeqNum(u32::MAX), SeqNum(7)));
            assert_eq!(headers.flags, Flags::FIN.with(Flags::ACK));
            assert_eq!((headers.payload, headers.end()), (4, SeqNum(4)));
            assert!(!headers.is_pure_ack());
        }
        assert_eq!(Headers::parse(b"no frame"), None);
    }
}
