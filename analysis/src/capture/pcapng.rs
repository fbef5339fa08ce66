//! The newer format: sections of blocks, in which interfaces are described and packets name theirs.
//!
//! As Wireshark does, a packet whose interface was not described ends the reading: its link type
//! could only be guessed. Blocks of other types are passed over.

use pcap_parser::{
    Block, CB_MAGIC, DCB_MAGIC, EPB_MAGIC, IDB_MAGIC, InterfaceDescriptionBlock, OptionCode,
    PcapError, SHB_MAGIC, SJE_MAGIC, SPB_MAGIC, SectionHeaderBlock, nom::IResult, parse_block_be,
    parse_block_le,
};

use super::{
    LinkType, MOST_CAPTURED, Time,
    buffer::Buffer,
    clock::Clock,
    damage::Fault,
    read::{Parsed, Record},
};

/// What Wireshark takes, too.
const MOST_BLOCK: usize = 1 << 24;
/// Interfaces of a section: no more than the older packet block can name.
const MOST_INTERFACES: usize = 1 << 16;
/// Type, length, and the length again.
const LEAST_BLOCK: usize = 12;
/// Where a block's length is, and a section's byte order.
const LENGTH: usize = 4;
const BYTE_ORDER: usize = 8;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// The packet block that the enhanced one has replaced.
const OBSOLETE_PACKET: u32 = 2;

type ParseBlock = fn(&[u8]) -> IResult<&[u8], Block<'_>, PcapError<&[u8]>>;

/// A capture in this format.
pub(super) struct PcapNg {
    big_endian: bool,
    /// Of this section.
    interfaces: Vec<Interface>,
    /// How many there were in sections before.
    interfaces_before: u32,
    /// Of the packet before, for blocks without time.
    time: Time,
    other_frames: u64,
}

/// What is in a block.
enum Content {
    Packet(Record),
    /// An entry of a journal, or what somebody makes of a block of his own: no packet, but
    /// Wireshark counts it as a frame.
    OtherFrame,
    Other,
}

/// What a section says of an interface.
struct Interface {
    link: LinkType,
    snaplen: usize,
    clock: Clock,
}

impl PcapNg {
    /// Whether a section begins so.
    pub(super) fn begins(octets: &[u8]) -> bool {
        octets.first_chunk().copied().map(u32::from_be_bytes) == Some(SHB_MAGIC)
    }

    /// Before the first section.
    pub(super) const fn new() -> Self {
        Self {
            big_endian: false,
            interfaces: Vec::new(),
            interfaces_before: 0,
            time: Time(0),
            other_frames: 0,
        }
    }

    /// How many frames there were that are no packets.
    pub(super) const fn other_frames(&self) -> u64 {
        self.other_frames
    }

    /// The next packet's block.
    #[inline]
    pub(super) fn next(&mut self, buffer: &mut Buffer) -> Parsed<Record> {
        while let Some(length) = self.block(buffer)? {
            let block = buffer.available().get(..length).unwrap_or_default();
            match self.read(block)? {
                Content::Packet(record) => return Ok(Some(record)),
                Content::OtherFrame => self.other_frames += 1,
                Content::Other => {}
            }
            buffer.take(length);
        }
        Ok(None)
    }

    /// Sees that a whole block is there, and gives its length.
    #[inline]
    fn block(&mut self, buffer: &mut Buffer) -> Parsed<usize> {
        if !buffer.ensure(LEAST_BLOCK).map_err(Fault::Read)? {
            let present = buffer.available().len();
            return if present == 0 {
                Ok(None)
            } else {
                Err(cut_short(present, LEAST_BLOCK))
            };
        }
        let header = buffer.available();
        if Self::begins(header) {
            self.big_endian = match u32::from_le_bytes(octets(header, BYTE_ORDER)) {
                BYTE_ORDER_MAGIC => false,
                other if other.swap_bytes() == BYTE_ORDER_MAGIC => true,
                _ => return Err(Fault::ByteOrder),
            };
        }
        let first = self.number(header, LENGTH);
        if first as usize > MOST_BLOCK {
            return Err(Fault::TooLong {
                what: "block",
                octets: first.into(),
                most: MOST_BLOCK,
            });
        }
        // Some programs have left the padding out of the length.
        let length = first.next_multiple_of(4) as usize;
        if length < LEAST_BLOCK {
            return Err(Fault::BlockLength { octets: first });
        }
        if !buffer.ensure(length).map_err(Fault::Read)? {
            return Err(cut_short(buffer.available().len(), length));
        }
        let last = self.number(buffer.available(), length - 4);
        if last.checked_next_multiple_of(4) != Some(first.next_multiple_of(4)) {
            return Err(Fault::Lengths { first, last });
        }
        Ok(Some(length))
    }

    /// Reads a block, which may be a packet.
    #[inline]
    fn read(&mut self, block: &[u8]) -> Result<Content, Fault> {
        let kind = self.number(block, 0);
        let record = match kind {
            EPB_MAGIC | OBSOLETE_PACKET => self.packet(block, kind)?,
            SPB_MAGIC => self.simple_packet(block)?,
            SHB_MAGIC | IDB_MAGIC => return self.describe(block, kind).map(|()| Content::Other),
            SJE_MAGIC | CB_MAGIC | DCB_MAGIC => return Ok(Content::OtherFrame),
            _ => return Ok(Content::Other),
        };
        if record.captured > MOST_CAPTURED {
            return Err(Fault::TooLong {
                what: "packet",
                octets: record.captured as u64,
                most: MOST_CAPTURED,
            });
        }
        if record.at + record.captured + LENGTH > block.len() {
            return Err(Fault::Fields { kind });
        }
        Ok(Content::Packet(record))
    }

    /// Packets are read here: to get each of them as a block with its options takes twice as long
    /// as all the rest.
    #[inline]
    fn packet(&mut self, block: &[u8], kind: u32) -> Result<Record, Fault> {
        const HEADER: usize = 28;
        // Its length is known, so that nothing is checked below.
        let header = block
            .first_chunk::<HEADER>()
            .ok_or(Fault::Fields { kind })?;
        let number = |at| self.number(header, at);
        let number_of_interface = match (kind, self.big_endian) {
            (EPB_MAGIC, _) => number(8),
            // In the other half the obsolete block counts drops.
            (_, true) => number(8) >> 16,
            (_, false) => number(8) & 0xffff,
        };
        let interface = self.interface(number_of_interface)?;
        let time = interface
            .clock
            .time(u64::from(number(12)) << 32 | u64::from(number(16)));
        let record = Record {
            length: block.len(),
            at: HEADER,
            captured: number(20) as usize,
            wire_len: number(24) as usize,
            time,
            link: interface.link,
            interface: self.interfaces_before.saturating_add(number_of_interface),
        };
        self.time = time;
        Ok(record)
    }

    fn simple_packet(&self, block: &[u8]) -> Result<Record, Fault> {
        let interface = self.interface(0)?;
        let wire_len = self.number(block, 8) as usize;
        Ok(Record {
            length: block.len(),
            at: 12,
            captured: wire_len.min(interface.snaplen),
            wire_len,
            time: self.time,
            link: interface.link,
            interface: self.interfaces_before,
        })
    }

    /// Begins a section, or adds an interface to it.
    fn describe(&mut self, block: &[u8], kind: u32) -> Result<(), Fault> {
        let parse: ParseBlock = if self.big_endian {
            parse_block_be
        } else {
            parse_block_le
        };
        // All of the block is there, so that what is incomplete is in it.
        match parse(block) {
            Ok((_, Block::SectionHeader(section))) => self.section(&section),
            Ok((_, Block::InterfaceDescription(_))) if self.interfaces.len() == MOST_INTERFACES => {
                Err(Fault::Interfaces {
                    most: MOST_INTERFACES,
                })
            }
            Ok((_, Block::InterfaceDescription(interface))) => {
                self.interfaces.push(self.described(&interface));
                Ok(())
            }
            _ => Err(Fault::Fields { kind }),
        }
    }

    fn section(&mut self, section: &SectionHeaderBlock<'_>) -> Result<(), Fault> {
        // Some programs have written 1.2; the two are the same.
        if section.major_version != 1 || !matches!(section.minor_version, 0 | 2) {
            return Err(Fault::Version {
                major: section.major_version,
                minor: section.minor_version,
            });
        }
        let described = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        self.interfaces_before = self.interfaces_before.saturating_add(described);
        self.interfaces.clear();
        Ok(())
    }

    fn described(&self, interface: &InterfaceDescriptionBlock<'_>) -> Interface {
        let option = |code| {
            let mut options = interface.options.iter();
            options.find(|option| option.code == code)?.as_bytes().ok()
        };
        let offset = option(OptionCode::IfTsoffset)
            .and_then(|octets| octets.first_chunk().copied())
            .map_or(0, |octets| {
                if self.big_endian {
                    i64::from_be_bytes(octets)
                } else {
                    i64::from_le_bytes(octets)
                }
            });
        let [low, high, ..] = interface.linktype.0.to_le_bytes();
        Interface {
            link: LinkType(u16::from_le_bytes([low, high])),
            snaplen: match interface.snaplen {
                0 => usize::MAX,
                octets => octets as usize,
            },
            clock: Clock::new(interface.if_tsresol, offset),
        }
    }

    #[inline]
    fn interface(&self, number: u32) -> Result<&Interface, Fault> {
        self.interfaces
            .get(number as usize)
            .ok_or(Fault::Interface {
                interface: number,
                described: self.interfaces.len(),
            })
    }

    /// The number at `at`, in the section's byte order.
    #[inline]
    fn number(&self, block: &[u8], at: usize) -> u32 {
        let octets = octets(block, at);
        if self.big_endian {
            u32::from_be_bytes(octets)
        } else {
            u32::from_le_bytes(octets)
        }
    }
}

#[inline]
fn octets(block: &[u8], at: usize) -> [u8; 4] {
    block
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or_default()
}

fn cut_short(present: usize, octets: usize) -> Fault {
    Fault::CutShort {
        what: "block",
        present,
        octets,
    }
}
