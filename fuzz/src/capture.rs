//! One capture file, whatever is in it: the reader, the analyzer and the writer.

use std::{
    io::{Cursor, Read},
    time::Duration,
};

use analysis::{
    Analyzer, Filter, Options,
    capture::{Capture, Compression, LinkType, Packet, Time, link, write::Writer},
};
use fastrand::Rng;
use filter_common::Closer;

use crate::mutation;

/// What an input was read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// Not as a capture.
    None,
    /// As one, to its end.
    Whole,
    /// As one that is damaged.
    Damaged,
}

impl Outcome {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 3] = [Self::None, Self::Whole, Self::Damaged];
}

/// A packet without its capture.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    number: u64,
    time: Time,
    link: LinkType,
    interface: u32,
    data: Vec<u8>,
    wire_len: usize,
}

/// The packets of a capture, and what ended it; or why it is none.
type Contents = Result<(Vec<Kept>, Option<String>), String>;

/// Reads a capture, however it arrives; analyses what is in it, writes it, and reads that.
///
/// # Errors
///
/// Says what differs though it must not.
pub fn check(octets: &[u8]) -> Result<Outcome, String> {
    let whole = contents(Cursor::new(octets.to_vec()));
    let compression = Capture::open(Cursor::new(octets.to_vec())).map(|it| it.compression());
    // Of a broken stream a decompressor may give more or less before it says so.
    if !matches!(compression, Ok(Compression::Gzip | Compression::Zstd)) {
        let dribbled = contents(Dribble(Cursor::new(octets.to_vec())));
        if whole != dribbled {
            return Err(format!("at once {whole:?}, by octets {dribbled:?}"));
        }
    }
    let Ok((packets, damage)) = whole else {
        return Ok(Outcome::None);
    };
    analyse(&packets);
    written(&packets)?;
    Ok(if damage.is_some() {
        Outcome::Damaged
    } else {
        Outcome::Whole
    })
}

/// Gives a few octets at a time.
struct Dribble(Cursor<Vec<u8>>);

impl Read for Dribble {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let few = into.len().min(7);
        self.0.read(&mut into[..few])
    }
}

fn contents(input: impl Read + Send + 'static) -> Contents {
    let mut capture = Capture::open(input).map_err(|error| one_line(error.to_string()))?;
    let mut packets = Vec::new();
    loop {
        match capture.next() {
            Ok(Some(packet)) => packets.push(Kept::from(&packet)),
            Ok(None) => return Ok((packets, None)),
            Err(damage) => return Ok((packets, Some(one_line(damage.to_string())))),
        }
    }
}

fn one_line(error: String) -> String {
    assert!(!error.contains('\n'), "more than one line: {error}");
    error
}

impl From<&Packet<'_>> for Kept {
    fn from(packet: &Packet<'_>) -> Self {
        Self {
            number: packet.number,
            time: packet.time,
            link: packet.link,
            interface: packet.interface,
            data: packet.data.to_vec(),
            wire_len: packet.wire_len,
        }
    }
}

impl Kept {
    fn packet(&self) -> Packet<'_> {
        Packet {
            number: self.number,
            time: self.time,
            link: self.link,
            interface: self.interface,
            data: &self.data,
            wire_len: self.wire_len,
        }
    }
}

/// Nothing panics, and no view is longer than its packet.
fn analyse(packets: &[Kept]) {
    let mut analyzer = Analyzer::new(&Options {
        window: Duration::from_mins(1),
        budget: 16,
        closer: Closer::Client,
        half_closed_lifetime: Duration::from_mins(10),
        one_sided_lifetime: Duration::from_secs(10),
        closed_lifetime: Duration::from_mins(1),
        filter: Filter::default(),
        most_findings: 10,
    });
    for kept in packets {
        let packet = kept.packet();
        if let Ok((view, _)) = link::view(&packet) {
            assert!(view.data().len() <= packet.data.len(), "a part of it");
        }
        analyzer.packet(&packet);
    }
    drop(analyzer.finish());
}

/// What is written is what is read again, but for the numbers of frames and interfaces.
fn written(packets: &[Kept]) -> Result<(), String> {
    let mut writer = Writer::new(Vec::new(), "fuzz").map_err(|error| error.to_string())?;
    for kept in packets {
        let written = writer.packet(&kept.packet(), Some("a comment"));
        written.map_err(|error| error.to_string())?;
    }
    let octets = writer.finish().map_err(|error| error.to_string())?;
    let (read, damage) = contents(Cursor::new(octets))?;
    if let Some(damage) = damage {
        return Err(format!("what was written is damaged: {damage}"));
    }
    let essence = |kept: &Kept| (kept.time, kept.link, kept.data.clone(), kept.wire_len);
    if read.iter().map(essence).eq(packets.iter().map(essence)) {
        Ok(())
    } else {
        Err(format!("written {packets:?}, read {read:?}"))
    }
}

/// A capture of a few frames, some of it damaged.
pub fn random(random: &mut Rng) -> Vec<u8> {
    let mut octets = if random.bool() {
        pcap(random)
    } else {
        (0..random.usize(1..3))
            .flat_map(|_| section(random))
            .collect()
    };
    match random.u8(..4) {
        0 => octets.truncate(random.usize(..octets.len())),
        1 => {
            for _ in 0..random.usize(1..8) {
                let at = random.usize(..octets.len());
                octets[at] = random.u8(..);
            }
        }
        _ => {}
    }
    octets
}

/// One behind which frames of [`mutation`] are in their place, and any other.
fn link(random: &mut Rng) -> u16 {
    const LINKS: [u16; 12] = [0, 9, 50, 51, 101, 104, 105, 108, 113, 127, 276, 147];
    if random.bool() {
        1
    } else {
        random.choice(LINKS).unwrap_or(1)
    }
}

/// A frame, cut or not, and its length.
fn frame(random: &mut Rng) -> (Vec<u8>, u32) {
    let (_, mut frame) = mutation::frame(random);
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    frame.truncate(random.usize(60..120));
    (frame, length)
}

fn pcap(random: &mut Rng) -> Vec<u8> {
    let magic = random.choice([0xa1b2_c3d4, 0xa1b2_3c4d, 0xa1b2_cd34_u32]);
    let magic = magic.unwrap_or_default();
    let is_modified = magic == 0xa1b2_cd34;
    let order = if is_modified || random.bool() {
        u32::to_le_bytes
    } else {
        u32::to_be_bytes
    };
    // The version's two halves change places with the byte order.
    let version = if order(1) == 1_u32.to_le_bytes() {
        0x0004_0002
    } else {
        0x0002_0004
    };
    let link = u32::from(link(random));
    let mut octets = [magic, version, 0, 0, 262_144, link].map(order).concat();
    for second in 0..random.u32(..4) {
        let (frame, length) = frame(random);
        let captured = u32::try_from(frame.len()).unwrap_or_default();
        octets.extend(
            [second, random.u32(..), captured, length]
                .map(order)
                .concat(),
        );
        if is_modified {
            octets.extend([0; 8]);
        }
        octets.extend(frame);
    }
    octets
}

fn section(random: &mut Rng) -> Vec<u8> {
    let big_endian = random.bool();
    let order = if big_endian {
        u32::to_be_bytes
    } else {
        u32::to_le_bytes
    };
    // Of a pair, the one that comes first in this byte order is the upper half in the other.
    let pair = |first: u16, second: u16| {
        let (first, second) = (u32::from(first), u32::from(second));
        order(if big_endian {
            first << 16 | second
        } else {
            second << 16 | first
        })
    };
    let block = |kind: u32, content: &[u8]| {
        let padded = content.len().next_multiple_of(4);
        let length = order(u32::try_from(padded + 12).unwrap_or_default());
        let mut block = [&order(kind)[..], &length, content].concat();
        block.resize(8 + padded, 0);
        block.extend(length);
        block
    };
    let begin = [order(0x1a2b_3c4d), pair(1, 0), [0xff; 4], [0xff; 4]];
    let mut octets = block(0x0a0d_0d0a, &begin.concat());
    for _ in 0..random.u8(..3) {
        let resolution = [&pair(9, 1)[..], &[random.u8(..), 0, 0, 0]].concat();
        let offset = [pair(14, 8), order(random.u32(..)), order(random.u32(..))];
        let fields = [pair(link(random), 0), order(random.u32(..100))];
        let content = [fields.concat(), resolution, offset.concat()].concat();
        octets.extend(block(1, &content));
    }
    for _ in 0..random.u8(..4) {
        let (frame, length) = frame(random);
        let captured = u32::try_from(frame.len()).unwrap_or_default();
        let stamp = [random.u32(..), random.u32(..)];
        let interface = random.u32(..2);
        let enhanced = [interface, stamp[0], stamp[1], captured, length].map(order);
        octets.extend(match random.u8(..6) {
            0 => block(3, &[&order(length)[..], &frame].concat()),
            1 => block(2, &[&enhanced.concat()[..], &frame].concat()),
            2 => block(random.u32(..12), &frame),
            _ => block(6, &[&enhanced.concat()[..], &frame].concat()),
        });
    }
    octets
}
