//! The newer format: sections of blocks, in which interfaces are described and packets name theirs.
//!
//! As Wireshark does, a packet whose interface was not described ends the reading: its link type
//! could only be guessed. Blocks of other types are passed over.

use pcap_parser::{
    Block, EPB_MAGIC, IDB_MAGIC, InterfaceDescriptionBlock, OptionCode, PcapError, SHB_MAGIC,
    SPB_MAGIC, SectionHeaderBlock, nom::IResult, parse_block_be, parse_block_le,
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
}

/// What a section says of an interface.
#[derive(Clone, Copy)]
struct Interface {
    link: LinkType,
    snaplen: usize,
    clock: Clock,
}

/// A packet, and where it is in its block.
struct Found {
    interface: u32,
    /// In the interface's unit.
    stamp: Option<u64>,
    wire_len: usize,
    /// Offset of the packet in the block.
    at: usize,
    captured: usize,
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
        }
    }

    /// The next packet's block.
    #[inline]
    pub(super) fn next(&mut self, buffer: &mut Buffer) -> Parsed<Record> {
        while let Some(length) = self.block(buffer)? {
            let block = buffer.available().get(..length).unwrap_or_default();
            let Some(found) = self.read(block)? else {
                buffer.take(length);
                continue;
            };
            let interface = self.interface(found.interface)?;
            if found.captured > MOST_CAPTURED {
                return Err(Fault::TooLong {
                    what: "packet",
                    octets: found.captured as u64,
                    most: MOST_CAPTURED,
                });
            }
            if let Some(stamp) = found.stamp {
                self.time = interface.clock.time(stamp);
            }
            return Ok(Some(Record {
                length,
                at: found.at,
                captured: found.captured,
                wire_len: found.wire_len,
                time: self.time,
                link: interface.link,
                interface: self.interfaces_before.saturating_add(found.interface),
            }));
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
        let length = first as usize;
        if length > MOST_BLOCK {
            return Err(Fault::TooLong {
                what: "block",
                octets: first.into(),
                most: MOST_BLOCK,
            });
        }
        if length < LEAST_BLOCK || !length.is_multiple_of(4) {
            return Err(Fault::BlockLength { octets: first });
        }
        if !buffer.ensure(length).map_err(Fault::Read)? {
            return Err(cut_short(buffer.available().len(), length));
        }
        let last = self.number(buffer.available(), length - 4);
        if first != last {
            return Err(Fault::Lengths { first, last });
        }
        Ok(Some(length))
    }

    /// Reads a block, which may be a packet.
    #[inline]
    fn read(&mut self, block: &[u8]) -> Parsed<Found> {
        let kind = self.number(block, 0);
        if !matches!(
            kind,
            SHB_MAGIC | IDB_MAGIC | EPB_MAGIC | SPB_MAGIC | OBSOLETE_PACKET
        ) {
            return Ok(None);
        }
        let parse: ParseBlock = if self.big_endian {
            parse_block_be
        } else {
            parse_block_le
        };
        let fields = Fault::Fields { kind };
        // All of it is there, so that what is incomplete is in it.
        let Ok((_, parsed)) = parse(block) else {
            return Err(fields);
        };
        let found = match parsed {
            Block::EnhancedPacket(packet) => Found {
                interface: packet.if_id,
                stamp: Some(stamp(packet.ts_high, packet.ts_low)),
                wire_len: packet.origlen as usize,
                at: 28,
                captured: packet.caplen as usize,
            },
            Block::SimplePacket(packet) => {
                let wire_len = packet.origlen as usize;
                Found {
                    interface: 0,
                    stamp: None,
                    wire_len,
                    at: 12,
                    captured: wire_len.min(self.interface(0)?.snaplen),
                }
            }
            Block::Unknown(packet) => self.obsolete(packet.data).ok_or(Fault::Fields { kind })?,
            Block::SectionHeader(section) => return self.section(&section).map(|()| None),
            Block::InterfaceDescription(interface) => {
                self.interfaces.push(self.described(&interface));
                return Ok(None);
            }
            Block::NameResolution(_)
            | Block::InterfaceStatistics(_)
            | Block::SystemdJournalExport(_)
            | Block::DecryptionSecrets(_)
            | Block::ProcessInformation(_)
            | Block::Custom(_) => return Ok(None),
        };
        if found.captured > block.len().saturating_sub(found.at + 4) {
            return Err(fields);
        }
        Ok(Some(found))
    }

    /// The obsolete packet block, which the parser leaves to us. It counts drops behind the
    /// interface.
    fn obsolete(&self, content: &[u8]) -> Option<Found> {
        let interface = content.first_chunk().copied()?;
        let header = content.get(..20)?;
        Some(Found {
            interface: u32::from(if self.big_endian {
                u16::from_be_bytes(interface)
            } else {
                u16::from_le_bytes(interface)
            }),
            stamp: Some(stamp(self.number(header, 4), self.number(header, 8))),
            captured: self.number(header, 12) as usize,
            wire_len: self.number(header, 16) as usize,
            at: 28,
        })
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
    fn interface(&self, number: u32) -> Result<Interface, Fault> {
        self.interfaces
            .get(number as usize)
            .copied()
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

#[inline]
const fn stamp(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

fn cut_short(present: usize, octets: usize) -> Fault {
    Fault::CutShort {
        what: "block",
        present,
        octets,
    }
}
