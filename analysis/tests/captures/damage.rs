//! Damaged captures: what was whole is read, then there is one clear line.

use std::{
    fs,
    io::{self, Cursor, Read},
};

use analysis::capture::{Capture, CaptureError, Damage, link};
use flate2::{Compression, write::GzEncoder};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{
    blocks::Order,
    packets::{frames, pcap},
    tools::{Row, rows_until, run, text},
};

const LITTLE: Order = Order { big_endian: false };
const BIG: Order = Order { big_endian: true };

/// Rows, and why there are no more.
fn read(octets: &[u8]) -> Result<(Vec<Row>, Option<Damage>), CaptureError> {
    Capture::open(Cursor::new(octets.to_vec())).map(rows_until)
}

/// What is said of a capture, and how many packets were read before.
fn said(octets: &[u8]) -> (usize, String) {
    let (rows, line) = match read(octets) {
        Ok((rows, damage)) => (rows.len(), damage.expect("it is damaged").to_string()),
        Err(error) => (0, error.to_string()),
    };
    assert!(!line.contains('\n'), "{line}");
    (rows, line)
}

fn pcapng() -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    for order in [LITTLE, BIG] {
        blocks.push(order.section());
        blocks.push(order.interface(0, 6, 0));
        blocks.extend(frames().iter().map(|frame| order.packet(0, 7, frame)));
    }
    blocks
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    io::Write::write_all(&mut encoder, octets).unwrap();
    encoder.finish().unwrap()
}

fn zstd(octets: &[u8]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    fs::write(&plain, octets).unwrap();
    run("zstd", &["--quiet", "--check", text(&plain)]);
    fs::read(directory.path().join("plain.zst")).unwrap()
}

/// Cuts a capture of these pieces at every offset behind the first `header` pieces.
fn cut_everywhere(pieces: &[Vec<u8>], is_packet: impl Fn(usize) -> bool) {
    let octets = pieces.concat();
    let (mut begin, mut packets) = (0, 0);
    let (whole, _) = read(&octets).unwrap();
    for (index, piece) in pieces.iter().enumerate() {
        for cut in begin..begin + piece.len() {
            let end = match read(&octets[..cut]) {
                Ok((rows, damage)) => {
                    assert_eq!(rows, whole[..packets], "cut at {cut}");
                    damage
                }
                Err(CaptureError::Damage(damage)) => Some(damage),
                Err(CaptureError::Empty(_)) => {
                    assert_eq!(cut, 0);
                    continue;
                }
                Err(CaptureError::NotACapture { .. }) => {
                    assert!(cut < 4, "cut at {cut}");
                    continue;
                }
                Err(error) => panic!("cut at {cut}: {error}"),
            };
            match end {
                None => assert_eq!(cut, begin, "only between pieces it is whole"),
                Some(damage) => {
                    assert_ne!(cut, begin);
                    assert_eq!(damage.offset, begin as u64, "cut at {cut}");
                    let line = damage.to_string();
                    assert!(line.starts_with("cut short: "), "{line}");
                }
            }
        }
        begin += piece.len();
        packets += usize::from(is_packet(index));
    }
    assert_eq!(packets, whole.len());
}

#[test]
fn a_capture_cut_anywhere_gives_the_whole_packets_before_and_where_the_cut_one_begins() {
    let mut pieces = vec![pcap(1, &[])];
    let mut all = pcap(1, &frames());
    let mut rest = all.split_off(pieces[0].len());
    for frame in frames() {
        let next = rest.split_off(16 + frame.len());
        pieces.push(rest);
        rest = next;
    }
    cut_everywhere(&pieces, |index| index > 0);
    let blocks = pcapng();
    let in_section = blocks.len() / 2;
    cut_everywhere(&blocks, |index| index % in_section > 1);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_damage_is_one_line_with_its_offset() {
    let frames = frames();
    let good = pcap(1, &frames[..2]);
    let begin = good.len();
    let ng = [
        LITTLE.section(),
        LITTLE.interface(0, 6, 0),
        LITTLE.packet(0, 1, &frames[0]),
    ]
    .concat();
    let at = ng.len();
    let after = |more: &[u8]| [&good[..], more].concat();
    let after_ng = |more: &[u8]| [&ng[..], more].concat();
    let mut other_end = LITTLE.packet(0, 1, &frames[0]);
    let last = other_end.len() - 4;
    other_end[last] ^= 0x40;
    let mut overlong = LITTLE.packet(0, 1, &frames[0]);
    overlong[21] = 2;
    let mut no_order = LITTLE.section();
    no_order[8] ^= 1;
    let mut version = LITTLE.section();
    version[12] = 2;
    let cases: [(&str, Vec<u8>, usize, String); 14] = [
        ("empty", vec![], 0, "it is empty".into()),
        (
            "text",
            b"hello".to_vec(),
            0,
            "it is neither pcap nor pcapng, as it begins with [68, 65, 6c, 6c]; it \
             looks like text: tcpdump -w writes captures"
                .into(),
        ),
        (
            "header",
            good[..20].to_vec(),
            0,
            "cut short: it ends 20 octets into a file header of 24, at octet 0".into(),
        ),
        (
            "killed",
            after(&good[24..60]),
            2,
            format!(
                "cut short: it ends 36 octets into a packet record of {}, at octet {begin}",
                16 + frames[0].len()
            ),
        ),
        (
            "garbage",
            after(&[0xee; 64]),
            2,
            format!(
                "damaged: a packet that claims to have 4008636142 octets, more than 262144, \
                 at octet {begin}"
            ),
        ),
        (
            "zeros",
            after_ng(&[0; 64]),
            1,
            format!("damaged: a block that claims to have 0 octets, at octet {at}"),
        ),
        (
            "absurd",
            after_ng(&[6, 0, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0]),
            1,
            format!(
                "damaged: a block that claims to have 2130706432 octets, more than 16777216, \
                 at octet {at}"
            ),
        ),
        (
            "other end",
            after_ng(&other_end),
            1,
            format!(
                "damaged: a block of {0} octets that claims to have {1} at its end, at octet {at}",
                other_end.len(),
                other_end.len() ^ 0x40
            ),
        ),
        (
            "overlong",
            after_ng(&overlong),
            1,
            format!(
                "damaged: a block of type 0x6 whose fields contradict its length, at octet {at}"
            ),
        ),
        (
            "stranger",
            after_ng(&LITTLE.packet(4, 1, &frames[0])),
            1,
            format!(
                "damaged: a packet of interface 4 in a section that has described 1, at octet {at}"
            ),
        ),
        (
            "no order",
            after_ng(&no_order),
            1,
            format!("damaged: a section without byte order, at octet {at}"),
        ),
        (
            "version",
            after_ng(&version),
            1,
            format!("a section of version 2.0, which is not known, at octet {at}"),
        ),
        (
            "a huge packet",
            pcap(1, &[frames[0].clone(), vec![0; 262_145]]),
            1,
            format!(
                "damaged: a packet that claims to have 262145 octets, more than 262144, \
                 at octet {}",
                24 + 16 + frames[0].len()
            ),
        ),
        (
            "nothing in gzip",
            gzip(&[]),
            0,
            "it is empty once it is decompressed".into(),
        ),
    ];
    for (name, octets, packets, line) in cases {
        assert_eq!(said(&octets), (packets, line), "{name}");
    }
}

#[test]
fn a_packet_as_long_as_any_is_read() {
    let octets = pcap(1, &[vec![1; 262_144], vec![2; 262_144], vec![3; 60]]);
    let (rows, damage) = read(&octets).unwrap();
    assert!(damage.is_none());
    let captured = rows.iter().map(|row| row.captured);
    assert_eq!(captured.collect::<Vec<_>>(), [262_144, 262_144, 60]);
}

/// Else a few thousand octets of zstd would fill the memory.
#[test]
fn a_section_does_not_describe_more_interfaces_than_there_is_room_for() {
    let interface = LITTLE.interface(0, 6, 0);
    let mut octets = LITTLE.section();
    let at = octets.len() + (interface.len() << 16);
    octets.extend(interface.repeat(1 << 16));
    octets.extend(LITTLE.packet(0xffff, 7, &frames()[0]));
    assert!(matches!(read(&octets), Ok((rows, None)) if rows.len() == 1));
    octets.truncate(at);
    octets.extend(interface);
    let said = said(&octets).1;
    assert_eq!(
        said,
        format!("a section that describes more than 65536 interfaces, at octet {at}")
    );
}

#[test]
fn a_broken_stream_of_gzip_or_zstd_ends_with_one_line() {
    let octets = pcap(1, &vec![frames(); 200].concat());
    let whole = read(&octets).unwrap().0;
    for (name, compressed) in [("gzip", gzip(&octets)), ("zstd", zstd(&octets))] {
        let (rows, line) = said(&compressed[..compressed.len() / 2]);
        assert!(rows > 0 && rows < whole.len(), "{name}: {rows}");
        assert!(
            line.contains("it cannot be read on: ")
                && line.contains(&format!(" of what {name} decompresses it to")),
            "{line}"
        );
        // All packets are there before the checksum tells that they are not to be trusted.
        let mut wrong_checksum = compressed.clone();
        let in_checksum = compressed.len() - if name == "gzip" { 6 } else { 2 };
        wrong_checksum[in_checksum] ^= 1;
        let (rows, line) = said(&wrong_checksum);
        assert_eq!(rows, whole.len(), "{name}");
        assert!(line.contains("checksum"), "{line}");
        let (rows, line) = said(&[&compressed[..], b"what is this"].concat());
        assert_eq!(rows, whole.len(), "{name}");
        assert!(line.contains("it cannot be read on: "), "{line}");
    }
}

#[test]
fn a_file_that_fails_is_read_until_it_does() {
    /// Gives what it has, then fails.
    struct Failing(Cursor<Vec<u8>>);
    impl Read for Failing {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.0.read(into)? {
                0 => Err(io::Error::other("the disk is on fire")),
                read => Ok(read),
            }
        }
    }
    let octets = pcap(1, &frames());
    let end = octets.len();
    let capture = Capture::open(Failing(Cursor::new(octets))).unwrap();
    let (rows, damage) = rows_until(capture);
    assert_eq!(rows.len(), frames().len());
    let line = format!("it cannot be read on: the disk is on fire, at octet {end}");
    assert_eq!(damage.unwrap().to_string(), line);
    let Err(error) = Capture::open(Failing(Cursor::new(vec![]))) else {
        panic!("there is nothing to read")
    };
    assert_eq!(error.to_string(), "it cannot be read: the disk is on fire");
}

/// Reads all, and looks at every packet.
fn survive(octets: &[u8]) {
    let Ok(mut capture) = Capture::open(Cursor::new(octets.to_vec())) else {
        return;
    };
    let mut number = 0;
    while let Ok(Some(packet)) = capture.next() {
        assert!(packet.number > number);
        number = packet.number;
        assert!(packet.data.len() <= octets.len().max(1) * 2000);
        if let Ok((view, _)) = link::view(&packet) {
            assert!(view.data().len() <= packet.data.len());
        }
    }
    assert!(capture.next().unwrap().is_none(), "it stays at its end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_octets_behind_a_header_do_no_harm(
        header in 0..5_usize,
        octets in vec(any::<u8>(), 0..300),
    ) {
        let header = match header {
            0 => vec![],
            1 => pcap(1, &[]),
            2 => [LITTLE.section(), LITTLE.interface(0, 6, 0)].concat(),
            3 => [BIG.section(), BIG.interface(0, 0x8a, -3)].concat(),
            _ => vec![0x28, 0xb5, 0x2f, 0xfd],
        };
        survive(&[header, octets].concat());
    }

    #[test]
    fn a_capture_with_a_few_wrong_octets_does_no_harm(
        form in 0..4_usize,
        wrong in vec((any::<Index>(), any::<u8>()), 1..6),
    ) {
        let mut octets = match form {
            0 => pcap(113, &frames()[..6]),
            1 => pcapng()[..8].concat(),
            2 => pcapng()[42..50].concat(),
            _ => gzip(&pcap(127, &frames()[..6])),
        };
        for (index, octet) in wrong {
            let at = index.index(octets.len());
            octets[at] = octet;
        }
        survive(&octets);
    }

    #[test]
    fn arbitrary_packets_of_any_link_type_do_no_harm(
        link in prop::sample::select(vec![0, 9, 50, 51, 104, 105, 108, 113, 127, 276]),
        octets in vec(any::<u8>(), 0..120),
    ) {
        survive(&pcap(link, &[octets]));
    }
}

#[test]
fn a_damaged_zstd_stream_does_no_harm() {
    let compressed = zstd(&pcap(1, &frames()));
    for at in 0..compressed.len() {
        for wrong in [0x01, 0x80, 0xff] {
            let mut octets = compressed.clone();
            octets[at] ^= wrong;
            survive(&octets);
        }
    }
}
