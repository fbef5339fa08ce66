//! Blocks of pcapng that no tool at hand writes, as tshark reads them.

use std::fs;

use crate::tools::{rows, rows_of_tshark};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const JOURNAL: u32 = 9;
const ENHANCED_PACKET: u32 = 6;
const CUSTOM: u32 = 0xbad;

/// Blocks in one byte order.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    pub(crate) big_endian: bool,
}

impl Order {
    fn n16(self, number: u16) -> [u8; 2] {
        if self.big_endian {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        }
    }

    fn n32(self, number: u32) -> [u8; 4] {
        if self.big_endian {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        }
    }

    fn n64(self, number: i64) -> [u8; 8] {
        if self.big_endian {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        }
    }

    fn block(self, kind: u32, content: &[u8]) -> Vec<u8> {
        let padded = content.len().next_multiple_of(4);
        let length = self.n32(u32::try_from(padded + 12).unwrap());
        let mut block = [&self.n32(kind)[..], &length, content].concat();
        block.resize(8 + padded, 0);
        block.extend(length);
        block
    }

    pub(crate) fn section(self) -> Vec<u8> {
        let version = [self.n16(1), self.n16(0)].concat();
        let content = [&self.n32(0x1a2b_3c4d)[..], &version, &self.n64(-1)];
        self.block(SECTION, &content.concat())
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let length = self.n16(u16::try_from(value.len()).unwrap());
        let mut option = [&self.n16(code)[..], &length, value].concat();
        option.resize(option.len().next_multiple_of(4), 0);
        option
    }

    /// An interface that counts time in this resolution from this second on.
    pub(crate) fn interface(self, snaplen: u32, resolution: u8, offset: i64) -> Vec<u8> {
        let options = [
            self.option(9, &[resolution]),
            self.option(14, &self.n64(offset)),
            self.option(0, &[]),
        ];
        let fields = [&self.n16(1)[..], &self.n16(0), &self.n32(snaplen)].concat();
        self.block(INTERFACE, &[fields, options.concat()].concat())
    }

    fn stamp_and_lengths(self, stamp: u64, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap();
        let [high, low] = [stamp >> 32, stamp & 0xffff_ffff].map(|half| half.try_into().unwrap());
        let numbers = [high, low, length, length + 7].map(|number| self.n32(number));
        [&numbers.concat()[..], data].concat()
    }

    pub(crate) fn packet(self, interface: u32, stamp: u64, data: &[u8]) -> Vec<u8> {
        let rest = self.stamp_and_lengths(stamp, data);
        self.block(ENHANCED_PACKET, &[&self.n32(interface)[..], &rest].concat())
    }

    fn obsolete_packet(self, interface: u16, drops: u16, stamp: u64, data: &[u8]) -> Vec<u8> {
        let begin = [self.n16(interface), self.n16(drops)].concat();
        let rest = self.stamp_and_lengths(stamp, data);
        self.block(OBSOLETE_PACKET, &[begin, rest].concat())
    }
}

const ORDERS: [Order; 2] = [Order { big_endian: false }, Order { big_endian: true }];
const SECOND: u64 = 1_600_000_000;

/// As tshark reads them, both byte orders in one file.
fn agreed(name: &str, sections: impl Fn(Order) -> Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(name);
    fs::write(&file, ORDERS.map(sections).concat()).unwrap();
    let rows = rows(&file);
    assert_eq!(rows, rows_of_tshark(&file), "{name}");
    assert!(!rows.is_empty());
}

#[test]
fn all_resolutions_and_offsets_of_time_are_what_tshark_makes_of_them() {
    agreed("resolutions", |order| {
        let mut section = order.section();
        // Powers of 10, and of 2: what is finer than a nanosecond is left to the test of clocks.
        let powers = (0..=9).map(|power| (power, 10_u64.pow(power.into())));
        let binary = (0..=30).map(|power| (0x80 | power, 1_u64 << power));
        for (index, (resolution, unit)) in powers.chain(binary).enumerate() {
            // Other ones in the other section, which must forget those of the first.
            let offset = [0, 86_400, -86_400][(index + usize::from(order.big_endian)) % 3];
            section.extend(order.interface(0, resolution, offset));
            let stamp = SECOND * unit + unit / 3;
            section.extend(order.packet(index.try_into().unwrap(), stamp, &[7; 60]));
        }
        section
    });
}

#[test]
fn the_obsolete_packet_block_is_read_as_tshark_reads_it() {
    agreed("obsolete", |order| {
        [
            order.section(),
            order.interface(0, 6, 0),
            order.interface(0, 9, 0),
            order.obsolete_packet(0, 5, SECOND * 1_000_000 + 1, &[1; 61]),
            order.obsolete_packet(1, 0xffff, SECOND * 1_000_000_000 + 2, &[1; 64]),
        ]
        .concat()
    });
}

#[test]
fn a_simple_packet_is_cut_as_its_interface_says_and_takes_the_time_of_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("simple");
    let simple = |order: Order, length: u32, data: &[u8]| {
        order.block(SIMPLE_PACKET, &[&order.n32(length)[..], data].concat())
    };
    let sections = ORDERS.map(|order| {
        [
            order.section(),
            order.interface(50, 6, 0),
            order.packet(0, SECOND * 1_000_000, &[1; 20]),
            simple(order, 500, &[2; 52]),
            simple(order, 13, &[3; 13]),
        ]
        .concat()
    });
    fs::write(&file, sections.concat()).unwrap();
    let mut expected = rows_of_tshark(&file);
    for index in [1, 2, 4, 5] {
        assert_eq!(expected[index].time, "", "it has none");
        expected[index].time = expected[index - 1].time.clone();
    }
    assert_eq!(rows(&file), expected);
    let captured = expected.iter().map(|row| row.captured);
    assert_eq!(captured.collect::<Vec<_>>(), [20, 50, 13, 20, 50, 13]);
}

#[test]
fn frames_are_counted_as_wireshark_counts_them() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("journal");
    let entry = b"__REALTIME_TIMESTAMP=1600000000000000\nMESSAGE=x\n";
    let sections = ORDERS.map(|order| {
        let own = [&order.n32(32_473)[..], b"what is ours"].concat();
        [
            order.section(),
            order.interface(0, 6, 0),
            order.packet(0, SECOND, &[1; 20]),
            order.block(JOURNAL, entry),
            order.block(0x777, b"of no known type"),
            order.packet(0, SECOND, &[1; 20]),
            order.block(CUSTOM, &own),
            order.block(0x4000_0000 | CUSTOM, &own),
            order.packet(0, SECOND, &[1; 20]),
        ]
        .concat()
    });
    fs::write(&file, sections.concat()).unwrap();
    let mut expected = rows_of_tshark(&file);
    expected.retain(|row| row.captured == 20);
    assert_eq!(rows(&file), expected);
    let numbers = expected.iter().map(|row| row.number);
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 3, 6, 7, 9, 12]);
}
