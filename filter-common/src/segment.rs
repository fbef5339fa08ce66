//! The TCP facts of one packet.

use core::net::{IpAddr, Ipv6Addr};

use crate::seq::SeqNum;

/// Which way a segment travels.
///
/// *Client* is whoever sends in the protected direction: with `role = wan` the hosts behind
/// the gateway, whose segments leave by the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the server.
    FromClient,
    /// From the server to the client.
    FromServer,
}

/// The reserved and control bits of a TCP header (RFC 9293, section 3.1; AE of RFC 9768).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Flags(u16);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x001);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x002);
    /// Reset the connection.
    pub const RST: Self = Self(0x004);
    /// Push function.
    pub const PSH: Self = Self(0x008);
    /// The acknowledgment field is significant.
    pub const ACK: Self = Self(0x010);
    /// The urgent pointer is significant.
    pub const URG: Self = Self(0x020);
    /// ECN echo.
    pub const ECE: Self = Self(0x040);
    /// Congestion window reduced.
    pub const CWR: Self = Self(0x080);
    /// Accurate ECN.
    pub const AE: Self = Self(0x100);

    /// Takes them from the 16 bits that also hold the data offset.
    #[inline(always)]
    #[must_use]
    pub const fn from_header(offset_and_flags: u16) -> Self {
        Self(offset_and_flags & 0x0fff)
    }

    /// Both sets together.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of `other` is set.
    #[inline(always)]
    #[must_use]
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether exactly `flags` are set among those in `mask`.
    #[inline(always)]
    #[must_use]
    pub const fn only(self, flags: Self, mask: Self) -> bool {
        self.0 & mask.0 == flags.0
    }

    /// Whether an endpoint heeds it as the end of a stream: a FIN with an acknowledgment and
    /// without SYN or RST.
    #[inline(always)]
    #[must_use]
    pub const fn finishes(self) -> bool {
        const FIN_ACK: Flags = Flags::FIN.with(Flags::ACK);
        self.only(FIN_ACK, FIN_ACK.with(Flags::SYN).with(Flags::RST))
    }

    /// The bits as the header has them, reserved ones included.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }
}

impl core::fmt::Debug for Flags {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Flags({:#05x})", self.0)
    }
}

/// The TCP options that a segment carries, as far as R1 cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Options {
    /// None, or only End of Option List, No-Operation and Timestamps.
    Plain,
    /// Any other, or a list that cannot be read.
    Other,
}

/// The facts of one TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// SEG.SEQ.
    pub seq: SeqNum,
    /// SEG.ACK; meaningless without [`Flags::ACK`].
    pub ack: SeqNum,
    /// Control bits.
    pub flags: Flags,
    /// Octets of payload, from the IP header's length.
    pub payload: u32,
    /// Options; only looked at where everything else says pure ACK, else [`Options::Plain`].
    pub options: Options,
}

impl Segment {
    /// The sequence number that follows the segment, its FIN counted.
    #[inline(always)]
    #[must_use]
    pub const fn next(&self) -> SeqNum {
        self.seq
            .plus(self.payload)
            .plus(self.flags.any(Flags::FIN) as u32)
    }

    /// Whether it is a pure ACK but for its options: flags exactly ACK, no payload.
    #[inline(always)]
    #[must_use]
    pub const fn is_bare_ack(&self) -> bool {
        self.flags.0 == Flags::ACK.0 && self.payload == 0
    }
}

/// The flow of a segment: client first, whichever way the segment travels.
///
/// Has no VLAN and no interface: one flow may leave by one and come back by another, and
/// sequence numbers make a mix-up harmless. IPv4 addresses are mapped into IPv6
/// (RFC 4291, section 2.5.5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// The client's address: four words as they are on the wire.
    pub client: [u32; 4],
    /// The server's address, likewise.
    pub server: [u32; 4],
    /// The client's port and the server's, as a word as it would be on the wire.
    pub ports: u32,
}

impl FlowKey {
    /// The client's address.
    #[must_use]
    pub fn client_address(&self) -> IpAddr {
        address(&self.client)
    }

    /// The server's address.
    #[must_use]
    pub fn server_address(&self) -> IpAddr {
        address(&self.server)
    }

    /// The client's port.
    #[must_use]
    pub const fn client_port(&self) -> u16 {
        let [high, low, _, _] = self.ports.to_ne_bytes();
        u16::from_be_bytes([high, low])
    }

    /// The server's port.
    #[must_use]
    pub const fn server_port(&self) -> u16 {
        let [_, _, high, low] = self.ports.to_ne_bytes();
        u16::from_be_bytes([high, low])
    }
}

/// The address whose words a [`FlowKey`] has.
#[must_use]
pub fn address(words: &[u32; 4]) -> IpAddr {
    let [a, b, c, d] = words.map(|word| u128::from(u32::from_be(word)));
    Ipv6Addr::from_bits(a << 96 | b << 64 | c << 32 | d).to_canonical()
}

/// The words that a [`FlowKey`] has of an address.
#[must_use]
pub fn words(address: IpAddr) -> [u32; 4] {
    let bits = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    [96, 64, 32, 0].map(|shift| {
        #[expect(clippy::cast_possible_truncation, reason = "a word of it")]
        let word = (bits >> shift) as u32;
        word.to_be()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fin_counts_as_one_octet_of_sequence_space() {
        let mut segment = Segment {
            seq: SeqNum(u32::MAX),
            ack: SeqNum(0),
            flags: Flags::FIN.with(Flags::ACK),
            payload: 10,
            options: Options::Plain,
        };
        assert_eq!(segment.next(), SeqNum(10));
        segment.flags = Flags::ACK;
        assert_eq!(segment.next(), SeqNum(9));
    }

    #[test]
    fn only_a_fin_with_ack_and_without_syn_or_rst_finishes() {
        for bits in 0..0x200 {
            let flags = Flags::from_header(bits);
            let expected = bits & 0x001 != 0 && bits & 0x010 != 0 && bits & 0x006 == 0;
            assert_eq!(flags.finishes(), expected, "{flags:?}");
        }
    }

    #[test]
    fn a_key_gives_back_addresses_and_ports() {
        let key = FlowKey {
            client: [0, 0, 0xffff_u32.to_be(), 0x0a00_0001_u32.to_be()],
            server: [0x2001_0db8_u32.to_be(), 0, 0, 1_u32.to_be()],
            ports: 0xc000_0050_u32.to_be(),
        };
        assert_eq!(key.client_address().to_string(), "10.0.0.1");
        assert_eq!(key.server_address().to_string(), "2001:db8::1");
        assert_eq!((key.client_port(), key.server_port()), (49152, 80));
        assert_eq!(words(key.client_address()), key.client);
        assert_eq!(words(key.server_address()), key.server);
    }
}
