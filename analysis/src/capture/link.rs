//! Link-layer headers of captures become those that `filter_common` knows: Ethernet or none.
//!
//! No octet is copied. Where a packet does not begin with either, an EtherType directly before its
//! payload is as good as an Ethernet header, whose addresses nothing here reads; else the view
//! begins with the IP header.

use std::fmt;

use filter_common::{
    Reason,
    wire::{self, Frame, Header as _, OptionOctets},
};

use super::{LinkType, Packet, wifi};

/// A packet as far as it was captured, from the header on that its [`Link`](wire::Link) says.
#[derive(Clone, Copy, Debug)]
pub struct Captured<'a> {
    data: &'a [u8],
    wire_len: usize,
}

impl<'a> Captured<'a> {
    fn of(packet: &Packet<'a>) -> Self {
        Self {
            data: packet.data,
            // Some programs forget it.
            wire_len: packet.wire_len.max(packet.data.len()),
        }
    }

    /// What was captured of it.
    #[must_use]
    pub const fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Without its first `octets`.
    pub(super) fn from(self, octets: usize) -> Result<Self, Unsupported> {
        let data = self.data.get(octets..);
        Ok(Self {
            data: data.ok_or(Unsupported::Not(Reason::Truncated))?,
            wire_len: self.wire_len - octets,
        })
    }

    /// The octet at `at`.
    fn byte(&self, at: usize) -> Result<u8, Unsupported> {
        let octet = self.data.get(at).copied();
        octet.ok_or(Unsupported::Not(Reason::Truncated))
    }

    /// The big-endian number at `at`.
    pub(super) fn be16(&self, at: usize) -> Result<u16, Unsupported> {
        let octets = self.header::<2>(at);
        Ok(octets.ok_or(Unsupported::Not(Reason::Truncated))?.be16(0))
    }
}

impl Frame for Captured<'_> {
    type Header<'b>
        = &'b [u8]
    where
        Self: 'b;

    #[inline]
    fn len(&self) -> usize {
        self.wire_len
    }

    #[inline]
    fn header<const N: usize>(&self, offset: usize) -> Option<&[u8]> {
        self.data.header::<N>(offset)
    }

    #[inline]
    fn peek(&self, offset: usize) -> Option<u32> {
        self.data.peek(offset)
    }

    #[inline]
    fn options(&self, offset: usize, length: usize, options: &mut OptionOctets) -> bool {
        self.data.options(offset, length, options)
    }
}

/// Why there is no view of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// Packets of this link type are not understood.
    LinkType(LinkType),
    /// A frame of a wireless network that is encrypted.
    Encrypted,
    /// A part of a frame of a wireless network.
    WirelessFragment,
    /// Several packets in one frame of a wireless network.
    Aggregated,
    /// A frame of a wireless network that its receiver found damaged.
    BadChecksum,
    /// What `filter_common` would say of it.
    Not(Reason),
}

impl Unsupported {
    /// Its name in a report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LinkType(_) => "link_type",
            Self::Encrypted => "encrypted",
            Self::WirelessFragment => "wireless_fragment",
            Self::Aggregated => "aggregated",
            Self::BadChecksum => "bad_checksum",
            Self::Not(reason) => reason.as_str(),
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkType(link) => write!(f, "link type {link}"),
            Self::Encrypted => f.write_str("encrypted wireless frame"),
            Self::WirelessFragment => f.write_str("fragment of a wireless frame"),
            Self::Aggregated => f.write_str("wireless frame with several packets (A-MSDU)"),
            Self::BadChecksum => f.write_str("wireless frame with a wrong check sequence"),
            Self::Not(reason) => f.write_str(reason.as_str()),
        }
    }
}

impl LinkType {
    /// Its name in the registry, for those that are met most often.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            NULL => "NULL",
            ETHERNET => "ETHERNET",
            6 => "IEEE802_5",
            PPP => "PPP",
            10 => "FDDI",
            PPP_HDLC => "PPP_HDLC",
            PPPOE => "PPP_ETHER",
            RAW | RAW_12 | RAW_14 => "RAW",
            CISCO_HDLC => "C_HDLC",
            IEEE802_11 => "IEEE802_11",
            107 => "FRELAY",
            LOOP => "LOOP",
            109 => "ENC",
            LINUX_SLL => "LINUX_SLL",
            117 => "PFLOG",
            119 => "IEEE802_11_PRISM",
            RADIOTAP => "IEEE802_11_RADIOTAP",
            163 => "IEEE802_11_AVS",
            187 => "BLUETOOTH_HCI_H4",
            189 => "USB_LINUX",
            192 => "PPI",
            195 => "IEEE802_15_4_WITHFCS",
            201 => "BLUETOOTH_HCI_H4_WITH_PHDR",
            220 => "USB_LINUX_MMAPPED",
            227 => "CAN_SOCKETCAN",
            IPV4 => "IPV4",
            IPV6 => "IPV6",
            231 => "DBUS",
            239 => "NFLOG",
            247 => "INFINIBAND",
            249 => "USBPCAP",
            252 => "WIRESHARK_UPPER_PDU",
            253 => "NETLINK",
            254 => "BLUETOOTH_LINUX_MONITOR",
            271 => "VSOCK",
            LINUX_SLL2 => "LINUX_SLL2",
            _ => return None,
        })
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

const NULL: u16 = 0;
const ETHERNET: u16 = 1;
const PPP: u16 = 9;
/// Raw IP in captures of systems that write their own number of it.
const RAW_12: u16 = 12;
const RAW_14: u16 = 14;
const PPP_HDLC: u16 = 50;
const PPPOE: u16 = 51;
const RAW: u16 = 101;
const CISCO_HDLC: u16 = 104;
const IEEE802_11: u16 = 105;
const LOOP: u16 = 108;
const LINUX_SLL: u16 = 113;
const RADIOTAP: u16 = 127;
const IPV4: u16 = 228;
const IPV6: u16 = 229;
const LINUX_SLL2: u16 = 276;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_PPPOE_DISCOVERY: u16 = 0x8863;
const ETHERTYPE_PPPOE_SESSION: u16 = 0x8864;
const ETHERTYPE_QINQ: u16 = 0x88a8;

type View<'a> = Result<(Captured<'a>, wire::Link), Unsupported>;

/// A packet for [`wire::locate`], and what it begins with.
///
/// # Errors
///
/// [`Unsupported`], which tells why it cannot hold a TCP segment that is understood.
#[inline]
pub fn view<'a>(packet: &Packet<'a>) -> View<'a> {
    let captured = Captured::of(packet);
    match packet.link.0 {
        ETHERNET => Ok((captured, wire::Link::Ethernet)),
        RAW | RAW_12 | RAW_14 | IPV4 | IPV6 => Ok((captured, wire::Link::Ip)),
        _ => other(captured, packet.link),
    }
}

/// The rarer ones.
fn other(packet: Captured<'_>, link: LinkType) -> View<'_> {
    match link.0 {
        NULL | LOOP => loopback(packet),
        // Its last two octets are an EtherType.
        LINUX_SLL => ethernet_with_payload_at(packet, 16),
        LINUX_SLL2 => linux_sll2(packet),
        PPP | PPP_HDLC => ppp(packet),
        PPPOE => pppoe(packet),
        CISCO_HDLC => by_ethertype(packet.be16(2)?, packet.from(4)?),
        IEEE802_11 => wifi::view(packet),
        RADIOTAP => wifi::radiotap(packet),
        _ => Err(Unsupported::LinkType(link)),
    }
}

/// The octets before a payload, whose last two are its EtherType, as an Ethernet header.
pub(super) fn ethernet_with_payload_at(packet: Captured<'_>, payload: usize) -> View<'_> {
    const ETHERNET_HEADER: usize = 14;
    debug_assert!(payload >= ETHERNET_HEADER, "room for one");
    Ok((
        packet.from(payload - ETHERNET_HEADER)?,
        wire::Link::Ethernet,
    ))
}

/// BSD's null and loopback headers: an address family. In the one it is in the capturing
/// machine's byte order, in the other in the network's.
fn loopback(packet: Captured<'_>) -> View<'_> {
    let (high, low) = (packet.be16(0)?, packet.be16(2)?);
    let family = if high == 0 { low } else { high.swap_bytes() };
    match family {
        // Linux and Windows; NetBSD and OpenBSD, FreeBSD, macOS.
        2 | 10 | 23 | 24 | 28 | 30 => Ok((packet.from(4)?, wire::Link::Ip)),
        _ => Err(Unsupported::Not(Reason::EtherType)),
    }
}

/// Linux' second cooked header, which begins with the EtherType.
fn linux_sll2(packet: Captured<'_>) -> View<'_> {
    const HEADER: usize = 20;
    const VLAN_TAG: usize = 4;
    match packet.be16(0)? {
        ETHERTYPE_VLAN | ETHERTYPE_QINQ => ethernet_with_payload_at(packet, HEADER + VLAN_TAG),
        ethertype => by_ethertype(ethertype, packet.from(HEADER)?),
    }
}

/// A payload whose EtherType is not before it.
fn by_ethertype(ethertype: u16, payload: Captured<'_>) -> View<'_> {
    match ethertype {
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => Ok((payload, wire::Link::Ip)),
        ETHERTYPE_PPPOE_SESSION => pppoe(payload),
        ETHERTYPE_ARP | ETHERTYPE_PPPOE_DISCOVERY => Err(Unsupported::Not(Reason::NotTcp)),
        _ => Err(Unsupported::Not(Reason::EtherType)),
    }
}

/// RFC 2516, section 4.
fn pppoe(packet: Captured<'_>) -> View<'_> {
    /// Version and type 1, code 0; discovery has other codes.
    const SESSION_DATA: u16 = 0x1100;
    match packet.be16(0)? {
        SESSION_DATA => ppp(packet.from(6)?),
        _ => Err(Unsupported::Not(Reason::NotTcp)),
    }
}

/// RFC 1661, section 2, with or without the framing of RFC 1662.
fn ppp(packet: Captured<'_>) -> View<'_> {
    const ADDRESS_AND_CONTROL: u16 = 0xff03;
    /// Cisco's HDLC, unicast and multicast, which the registry allows here.
    const CISCO: [u16; 2] = [0x0f00, 0x8f00];
    const PPP_IPV4: u16 = 0x0021;
    const PPP_IPV6: u16 = 0x0057;
    /// From here on they control a link or a network protocol.
    const PPP_CONTROL: u16 = 0x8000;
    let begin = packet.be16(0)?;
    if CISCO.contains(&begin) {
        return by_ethertype(packet.be16(2)?, packet.from(4)?);
    }
    let packet = packet.from(if begin == ADDRESS_AND_CONTROL { 2 } else { 0 })?;
    // Only its last octet is odd; where the first is, that is all.
    let first = packet.byte(0)?;
    let (protocol, header) = if first & 1 == 1 {
        (u16::from(first), 1)
    } else {
        (packet.be16(0)?, 2)
    };
    match protocol {
        PPP_IPV4 | PPP_IPV6 => Ok((packet.from(header)?, wire::Link::Ip)),
        PPP_CONTROL.. => Err(Unsupported::Not(Reason::NotTcp)),
        _ => Err(Unsupported::Not(Reason::EtherType)),
    }
}
