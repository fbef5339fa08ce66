//! The older format: one header, and records of packets.

use pcap_parser::{
    LegacyPcapBlock, PcapError, PcapHeader,
    nom::{self, IResult, Needed},
    parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified, parse_pcap_header,
};

use super::{
    LinkType, MOST_CAPTURED, Time,
    buffer::Buffer,
    damage::Fault,
    read::{Parsed, Record},
};

type ParseRecord = fn(&[u8]) -> IResult<&[u8], LegacyPcapBlock<'_>, PcapError<&[u8]>>;

/// A capture in this format.
pub(super) struct Pcap {
    link: LinkType,
    parse: ParseRecord,
    /// Octets of a record's header.
    header: usize,
    /// Nanoseconds in a unit of the fraction of a second.
    unit: u64,
}

impl Pcap {
    /// Octets of the header.
    pub(super) const HEADER: usize = 24;

    /// By the header, if it is one.
    pub(super) fn new(octets: &[u8]) -> Option<Self> {
        let (_, header) = parse_pcap_header(octets).ok()?;
        let (parse, record): (ParseRecord, usize) = if header.is_modified_format() {
            (parse_pcap_frame_modified, 24)
        } else if header.is_bigendian() {
            (parse_pcap_frame_be, 16)
        } else {
            (parse_pcap_frame, 16)
        };
        Some(Self {
            link: link(&header),
            parse,
            header: record,
            unit: if header.is_nanosecond_precision() {
                1
            } else {
                1_000
            },
        })
    }

    /// Whether a header of this format begins so.
    pub(super) fn begins(octets: &[u8]) -> bool {
        // With a header of which the rest is 0.
        let mut header = [0; Self::HEADER];
        match (octets.get(..4), header.get_mut(..4)) {
            (Some(magic), Some(place)) => {
                place.copy_from_slice(magic);
                parse_pcap_header(&header).is_ok()
            }
            _ => false,
        }
    }

    /// The next packet's record.
    #[inline]
    pub(super) fn next(&self, buffer: &mut Buffer) -> Parsed<Record> {
        loop {
            match (self.parse)(buffer.available()) {
                Ok((_, record)) => {
                    let captured = record.caplen as usize;
                    too_long(captured)?;
                    let fraction = u64::from(record.ts_usec) * self.unit;
                    return Ok(Some(Record {
                        length: self.header + captured,
                        at: self.header,
                        captured,
                        wire_len: record.origlen as usize,
                        time: Time(u64::from(record.ts_sec) * 1_000_000_000 + fraction),
                        link: self.link,
                        interface: 0,
                    }));
                }
                Err(nom::Err::Incomplete(missing)) => {
                    let present = buffer.available().len();
                    let octets = present.saturating_add(match missing {
                        Needed::Size(octets) => octets.get(),
                        Needed::Unknown => 1,
                    });
                    too_long(octets.saturating_sub(self.header))?;
                    if !buffer.ensure(octets).map_err(Fault::Read)? {
                        return match buffer.available().len() {
                            0 => Ok(None),
                            present => Err(Fault::CutShort {
                                what: "packet record",
                                present,
                                octets,
                            }),
                        };
                    }
                }
                // All octets are a record.
                Err(nom::Err::Error(_) | nom::Err::Failure(_)) => return Err(Fault::Record),
            }
        }
    }
}

#[inline]
fn too_long(captured: usize) -> Result<(), Fault> {
    if captured <= MOST_CAPTURED {
        return Ok(());
    }
    Err(Fault::TooLong {
        what: "packet",
        octets: captured as u64,
        most: MOST_CAPTURED,
    })
}

/// The upper half says whether frames end with a check sequence, which nothing here reads.
fn link(header: &PcapHeader) -> LinkType {
    let [low, high, ..] = header.network.0.to_le_bytes();
    LinkType(u16::from_le_bytes([low, high]))
}
