//! Packets become a pcapng capture, each with a comment that Wireshark shows.

use std::io::{self, Write};

use pcap_parser::{BOM_MAGIC, EPB_MAGIC, IDB_MAGIC, OptionCode, SHB_MAGIC};

use super::{LinkType, Packet};

/// Writes one section, in little-endian byte order. An interface is described before its first
/// packet.
pub struct Writer<W> {
    to: W,
    /// Link types and interfaces that were described, in order.
    interfaces: Vec<(LinkType, u32)>,
    block: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a capture, in which `application` is named as what wrote it.
    ///
    /// # Errors
    ///
    /// Those of `to`.
    pub fn new(to: W, application: &str) -> io::Result<Self> {
        /// It is not known how long the section will be.
        const UNKNOWN_LENGTH: i64 = -1;
        let mut writer = Self {
            to,
            interfaces: Vec::new(),
            block: Vec::new(),
        };
        writer.begin(SHB_MAGIC);
        writer.number(BOM_MAGIC);
        writer.octets(&[1, 0, 0, 0]);
        writer.octets(&UNKNOWN_LENGTH.to_le_bytes());
        writer.option(OptionCode::ShbUserAppl, application.as_bytes());
        writer.end_options();
        writer.end()?;
        Ok(writer)
    }

    /// Adds a packet.
    ///
    /// # Errors
    ///
    /// Those of what is written to.
    pub fn packet(&mut self, packet: &Packet<'_>, comment: Option<&str>) -> io::Result<()> {
        let interface = self.interface(packet)?;
        let [low, high] = halves(packet.time.0);
        self.begin(EPB_MAGIC);
        for number in [interface, high, low] {
            self.number(number);
        }
        for length in [packet.data.len(), packet.wire_len] {
            self.number(u32::try_from(length).unwrap_or(u32::MAX));
        }
        self.octets(packet.data);
        self.pad();
        if let Some(comment) = comment {
            self.option(OptionCode::Comment, comment.as_bytes());
            self.end_options();
        }
        self.end()
    }

    /// Writes what is buffered, and gives back what was written to.
    ///
    /// # Errors
    ///
    /// Those of what is written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.flush()?;
        Ok(self.to)
    }

    /// The number of a packet's interface, which is described if it is new.
    fn interface(&mut self, packet: &Packet<'_>) -> io::Result<u32> {
        const NANOSECONDS: u8 = 9;
        const UNLIMITED: u32 = 0;
        let wanted = (packet.link, packet.interface);
        let known = self.interfaces.iter().position(|known| *known == wanted);
        let number = known.unwrap_or(self.interfaces.len());
        if known.is_none() {
            self.interfaces.push(wanted);
            self.begin(IDB_MAGIC);
            self.number(packet.link.0.into());
            self.number(UNLIMITED);
            self.option(OptionCode::IfTsresol, &[NANOSECONDS]);
            self.end_options();
            self.end()?;
        }
        Ok(u32::try_from(number).unwrap_or(u32::MAX))
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.number(kind);
        // Its length, once that is known.
        self.number(0);
    }

    fn end(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.block.len() + 4).map_err(io::Error::other)?;
        self.block[4..8].copy_from_slice(&length.to_le_bytes());
        self.number(length);
        self.to.write_all(&self.block)
    }

    /// A value that is too long for an option is cut.
    fn option(&mut self, code: OptionCode, value: &[u8]) {
        let value = &value[..value.len().min(u16::MAX.into())];
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.octets(&code.0.to_le_bytes());
        self.octets(&length.to_le_bytes());
        self.octets(value);
        self.pad();
    }

    fn end_options(&mut self) {
        self.number(0);
    }

    fn number(&mut self, number: u32) {
        self.octets(&number.to_le_bytes());
    }

    fn octets(&mut self, octets: &[u8]) {
        self.block.extend_from_slice(octets);
    }

    /// To the next multiple of four octets.
    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "that is what is wanted")]
const fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}
