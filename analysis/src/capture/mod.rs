//! Captures become packets: pcap and pcapng, compressed or not, from a file or a stream.
//!
//! [`source`] opens what a user names, [`Capture`] reads it, [`link`] finds what `filter_common`
//! understands of a packet, [`mod@write`] makes a capture of packets. What is damaged, and which number
//! a frame has, is as Wireshark has it.

mod buffer;
mod clock;
mod compression;
mod damage;
pub mod link;
mod pcap;
mod pcapng;
mod read;
pub mod source;
mod wifi;
pub mod write;

pub use compression::Compression;
pub use damage::{CaptureError, Damage, Fault};
pub use read::Capture;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

/// The most octets that any program captures of a packet. More in one are taken for damage, as
/// Wireshark does.
const MOST_CAPTURED: usize = 0x4_0000;

/// When a packet was captured: nanoseconds since 1970-01-01 00:00 UTC. In JSON as
/// RFC 3339.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The time from `earlier` to `self`; zero where the clock ran backwards.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl From<Time> for SystemTime {
    fn from(time: Time) -> Self {
        UNIX_EPOCH + Duration::from_nanos(time.0)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_nanos((*self).into()))
    }
}

/// The type of link-layer header that packets begin with, by the registry of
/// <https://www.tcpdump.org/linktypes.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkType(pub u16);

/// One packet of a capture.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// From 1, as Wireshark counts frames.
    pub number: u64,
    /// When it was captured.
    pub time: Time,
    /// What its octets begin with.
    pub link: LinkType,
    /// Which of the capture's interfaces it was captured on, from 0; over all sections.
    pub interface: u32,
    /// What was captured of it.
    pub data: &'a [u8],
    /// Octets that it had on the wire.
    pub wire_len: usize,
}
