//! A stream becomes packets, whatever its format.

use std::io::Read;

use super::{
    LinkType, Packet, Time,
    buffer::Buffer,
    compression::{Compression, decompressed},
    damage::{CaptureError, Damage, Fault},
    pcap::Pcap,
    pcapng::PcapNg,
};

/// Where the next packet is in what was read, or the end of the capture, or what is wrong with it.
/// The packet itself is borrowed last.
pub(super) type Parsed<T> = Result<Option<T>, Fault>;

/// A packet's record or block, all of which was read.
pub(super) struct Record {
    /// Its octets.
    pub(super) length: usize,
    /// Where the packet begins in it.
    pub(super) at: usize,
    /// Octets of the packet that are there, within its length.
    pub(super) captured: usize,
    pub(super) wire_len: usize,
    pub(super) time: Time,
    pub(super) link: LinkType,
    pub(super) interface: u32,
}

/// A capture that is read from its beginning to its end, once. Memory is bounded by the longest
/// block that is taken, and by what a section says of its interfaces.
pub struct Capture {
    buffer: Buffer,
    format: Format,
    compression: Compression,
    packets: u64,
    ended: bool,
}

enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
}

impl Capture {
    /// Reads as much as tells what it is.
    ///
    /// # Errors
    ///
    /// [`CaptureError`] where it is no capture, or where not even its header can be read.
    pub fn open(input: impl Read + Send + 'static) -> Result<Self, CaptureError> {
        let (compression, input) = decompressed(input).map_err(CaptureError::Unreadable)?;
        let mut buffer = Buffer::new(input);
        let whole = buffer.ensure(Pcap::HEADER).map_err(|error| {
            if compression == Compression::None {
                CaptureError::Unreadable(error)
            } else {
                damage(Fault::Read(error), &buffer, compression).into()
            }
        })?;
        let begin = buffer.available();
        let format = if begin.is_empty() {
            return Err(CaptureError::Empty(compression));
        } else if PcapNg::begins(begin) {
            Format::PcapNg(PcapNg::new())
        } else if !Pcap::begins(begin) {
            return Err(CaptureError::NotACapture {
                begin: begin.iter().copied().take(4).collect(),
            });
        } else if let Some(pcap) = Pcap::new(begin).filter(|_| whole) {
            buffer.take(Pcap::HEADER);
            Format::Pcap(pcap)
        } else {
            let fault = Fault::CutShort {
                what: "file header",
                present: begin.len(),
                octets: Pcap::HEADER,
            };
            return Err(damage(fault, &buffer, compression).into());
        };
        Ok(Self {
            buffer,
            format,
            compression,
            packets: 0,
            ended: false,
        })
    }

    /// The next packet; none at the end, and behind what is damaged.
    ///
    /// # Errors
    ///
    /// [`Damage`] where the capture does not go on as it should. All packets before are valid.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator cannot lend, and a copy of each packet would be dear"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Packet<'_>>, Damage> {
        if self.ended {
            return Ok(None);
        }
        let found = match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.buffer),
            Format::PcapNg(pcapng) => pcapng.next(&mut self.buffer),
        };
        let record = match found {
            Ok(Some(record)) => record,
            Ok(None) => {
                self.ended = true;
                return Ok(None);
            }
            Err(fault) => {
                self.ended = true;
                return Err(damage(fault, &self.buffer, self.compression));
            }
        };
        self.packets += 1;
        let other_frames = match &self.format {
            Format::Pcap(_) => 0,
            Format::PcapNg(pcapng) => pcapng.other_frames(),
        };
        let octets = self.buffer.take(record.length);
        Ok(Some(Packet {
            number: self.packets + other_frames,
            time: record.time,
            link: record.link,
            interface: record.interface,
            data: octets
                .get(record.at..record.at + record.captured)
                .unwrap_or_default(),
            wire_len: record.wire_len,
        }))
    }

    /// What it was compressed with.
    #[must_use]
    pub const fn compression(&self) -> Compression {
        self.compression
    }
}

#[cold]
fn damage(fault: Fault, buffer: &Buffer, compression: Compression) -> Damage {
    Damage {
        fault,
        offset: buffer.offset(),
        compression,
    }
}
