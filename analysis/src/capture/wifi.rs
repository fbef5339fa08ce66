//! IEEE 802.11 frames, with or without the header that radiotap puts before them.

use filter_common::{Reason, wire::Link};
use ieee80211::{
    common::{FrameControlField, FrameType},
    data_frame::header::DataFrameHeader,
    scroll::ctx::TryFromCtx as _,
};

use super::link::{Captured, Unsupported, ethernet_with_payload_at};

/// A data frame that is neither encrypted nor in parts. What is before its payload ends with an
/// EtherType, as an Ethernet header does.
pub(super) fn view(frame: Captured<'_>) -> Result<(Captured<'_>, Link), Unsupported> {
    aligned(frame, 1)
}

/// Such a frame, whose payload some interfaces put to a multiple of `alignment`.
fn aligned(frame: Captured<'_>, alignment: usize) -> Result<(Captured<'_>, Link), Unsupported> {
    /// LLC and SNAP of RFC 1042, and of bridge tunnels, up to the EtherType.
    const SNAP: [[u8; 6]; 2] = [
        [0xaa, 0xaa, 0x03, 0x00, 0x00, 0x00],
        [0xaa, 0xaa, 0x03, 0x00, 0x00, 0xf8],
    ];
    let control = FrameControlField::from_bits(frame.be16(0)?.swap_bytes());
    let FrameType::Data(subtype) = control.frame_type() else {
        return Err(Unsupported::Not(Reason::NotTcp));
    };
    if control.version() != 0 {
        return Err(Unsupported::Not(Reason::BadHeader));
    }
    if !subtype.has_payload() {
        return Err(Unsupported::Not(Reason::NotTcp));
    }
    if control.flags().protected() {
        return Err(Unsupported::Encrypted);
    }
    let (header, octets) = DataFrameHeader::try_from_ctx(frame.data(), ())
        .map_err(|_| Unsupported::Not(Reason::Truncated))?;
    if control.flags().more_fragments() || header.sequence_control.fragment_number() != 0 {
        return Err(Unsupported::WirelessFragment);
    }
    if header.is_amsdu() {
        return Err(Unsupported::Aggregated);
    }
    let octets = octets.next_multiple_of(alignment);
    let snap = frame.data().get(octets..).and_then(<[u8]>::first_chunk);
    let snap = snap.ok_or(Unsupported::Not(Reason::Truncated))?;
    if !SNAP.contains(snap) {
        return Err(Unsupported::Not(Reason::EtherType));
    }
    ethernet_with_payload_at(frame, octets + SNAP[0].len() + 2)
}

/// The frame behind a header of <https://www.radiotap.org>.
pub(super) fn radiotap(packet: Captured<'_>) -> Result<(Captured<'_>, Link), Unsupported> {
    const TIMESTAMP: u32 = 1;
    const FLAGS: u32 = 1 << 1;
    const MORE: u32 = 1 << 31;
    const PADDED: u8 = 0x20;
    const BAD_CHECK_SEQUENCE: u8 = 0x40;
    let truncated = Unsupported::Not(Reason::Truncated);
    let length = usize::from(packet.be16(2)?.swap_bytes());
    let header = packet.data().get(..length).ok_or(truncated)?;
    let word = |index: usize| {
        let octets = header.get(4 + 4 * index..)?.first_chunk()?;
        Some(u32::from_le_bytes(*octets))
    };
    let mut words = 1;
    let present = word(0).ok_or(truncated)?;
    while word(words - 1).ok_or(truncated)? & MORE != 0 {
        words += 1;
    }
    let mut alignment = 1;
    if present & FLAGS != 0 {
        let first = 4 + 4 * words;
        let at = if present & TIMESTAMP == 0 {
            first
        } else {
            first.next_multiple_of(8) + 8
        };
        let flags = header.get(at).ok_or(truncated)?;
        if flags & BAD_CHECK_SEQUENCE != 0 {
            return Err(Unsupported::BadChecksum);
        }
        if flags & PADDED != 0 {
            alignment = 4;
        }
    }
    aligned(packet.from(length)?, alignment)
}
