//! Why a capture could not be read, or not to its end. Each is one line.

use std::io;

use thiserror::Error;

use super::compression::Compression;

/// Why nothing of a capture can be read.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// There is not one octet.
    #[error("it is empty{}", if *.0 == Compression::None { "" } else { " once it is decompressed" })]
    Empty(Compression),
    /// It begins with something else.
    #[error(
        "it is neither pcap nor pcapng, as it begins with {begin:02x?}; {}",
        advice(begin)
    )]
    NotACapture {
        /// Its first octets, at most four.
        begin: Vec<u8>,
    },
    /// It cannot be read at all.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// Its first header is damaged.
    #[error(transparent)]
    Damage(#[from] Damage),
}

/// What to do with a file that begins so.
fn advice(begin: &[u8]) -> &'static str {
    const COMPRESSED: [&[u8]; 5] = [b"\xfd7zX", b"BZh", b"PK", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"];
    if COMPRESSED.iter().any(|magic| begin.starts_with(magic)) {
        "it looks compressed: decompress it first"
    } else if begin
        .iter()
        .all(|octet| matches!(octet, b' '..=b'~' | b'\t' | b'\n' | b'\r'))
    {
        "it looks like text: tcpdump -w writes captures"
    } else {
        "Wireshark's editcap converts other captures to pcapng"
    }
}

/// Where and why reading ended before a capture did. What was read before is valid.
#[derive(Debug, Error)]
#[error("{fault}, at octet {offset}{}", compression.of_what())]
pub struct Damage {
    /// What is wrong.
    #[source]
    pub fault: Fault,
    /// Where the packet or block begins that could not be read: from 0, in the capture as it is
    /// without compression.
    pub offset: u64,
    /// How the capture was compressed.
    pub compression: Compression,
}

/// What is wrong with a capture.
#[derive(Debug, Error)]
pub enum Fault {
    /// As a capture ends whose program was killed.
    #[error("cut short: it ends {present} octets into a {what} of {octets}")]
    CutShort {
        /// What it ends in.
        what: &'static str,
        /// Octets that are there.
        present: usize,
        /// Octets that should be.
        octets: usize,
    },
    /// No packet and no block is that long.
    #[error("damaged: a {what} that claims to have {octets} octets, more than {most}")]
    TooLong {
        /// What claims it.
        what: &'static str,
        /// What it claims.
        octets: u64,
        /// What is taken.
        most: usize,
    },
    /// A block whose length is no block's.
    #[error("damaged: a block that claims to have {octets} octets")]
    BlockLength {
        /// What it claims.
        octets: u32,
    },
    /// The length at a block's end is another than at its beginning.
    #[error("damaged: a block of {first} octets that claims to have {last} at its end")]
    Lengths {
        /// At the beginning.
        first: u32,
        /// At the end.
        last: u32,
    },
    /// What is in a block contradicts its length.
    #[error("damaged: a block of type {kind:#x} whose fields contradict its length")]
    Fields {
        /// The block's type.
        kind: u32,
    },
    /// A packet record that the parser does not take.
    #[error("damaged: a packet record that is none")]
    Record,
    /// A section in neither byte order.
    #[error("damaged: a section without byte order")]
    ByteOrder,
    /// A section of a later format.
    #[error("a section of version {major}.{minor}, which is not known")]
    Version {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// A packet of an interface that was not described.
    #[error(
        "damaged: a packet of interface {interface} in a section that has described {described}"
    )]
    Interface {
        /// The number that it names, from 0 in its section.
        interface: u32,
        /// Interfaces described before it.
        described: usize,
    },
    /// A section that describes more interfaces than there is memory for.
    #[error("a section that describes more than {most} interfaces")]
    Interfaces {
        /// How many are taken.
        most: usize,
    },
    /// The file, or what compressed it, gave up.
    #[error("it cannot be read on: {0}")]
    Read(#[source] io::Error),
}
