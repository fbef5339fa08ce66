//! Random segments of a close, near the wrap, most of them plausible.

use filter_common::{
    Closer, Direction, Flags, Mode, Policy, Segment, SeqNum, Ticks, segment::Options,
};
use proptest::prelude::*;

const FC: SeqNum = SeqNum(0);
const FS: SeqNum = SeqNum(2);

/// Segments of a close, most of them plausible, near the wrap.
pub(crate) fn segments() -> impl Strategy<Value = (Direction, Segment)> {
    let seq = |end: SeqNum| {
        prop_oneof![
            12 => Just(end),
            5 => Just(end.plus(u32::MAX)),
            2 => (0_u32..4).prop_map(move |less| SeqNum(end.0.wrapping_sub(less))),
            1 => Just(end.plus(7)),
            1 => Just(end.plus(1 << 31)),
        ]
    };
    let client = (
        prop_oneof![
            20 => Just(0x10_u16), 6 => Just(0x11), 1 => Just(0x18), 1 => Just(0x50),
            1 => Just(0x190 & 0xfff), 1 => Just(0x01), 1 => Just(0x19), 1 => Just(0x02),
            1 => 0_u16..0x1000,
        ],
        seq(FC),
        seq(FS),
        prop_oneof![12 => Just(0_u32), 1 => Just(1)],
        prop_oneof![12 => Just(Options::Plain), 1 => Just(Options::Other)],
    );
    let server = (
        prop_oneof![
            8 => Just(0x11_u16), 8 => Just(0x10), 3 => Just(0x04), 1 => Just(0x14),
            2 => Just(0x18), 1 => Just(0x01), 1 => Just(0x12), 1 => 0_u16..0x1000,
        ],
        seq(FS),
        seq(FC),
        prop_oneof![6 => Just(0_u32), 1 => Just(1), 1 => Just(1460)],
        Just(Options::Plain),
    );
    let make = |direction, (flags, seq, ack, payload, options)| {
        // A FIN ends where its sender's numbers end, mostly.
        let fin = flags & 0x01 != 0;
        let seq = if fin && payload == 0 {
            SeqNum::plus(seq, u32::MAX)
        } else {
            seq
        };
        let segment = Segment {
            seq,
            ack,
            flags: Flags::from_header(flags),
            payload,
            options,
        };
        (direction, segment)
    };
    prop_oneof![
        3 => client.prop_map(move |facts| make(Direction::FromClient, facts)),
        2 => server.prop_map(move |facts| make(Direction::FromServer, facts)),
    ]
}

pub(crate) fn pauses() -> impl Strategy<Value = u64> {
    prop_oneof![20 => Just(0_u64), 10 => 1_u64..4, 3 => 4_u64..12, 1 => 12_u64..60]
}

pub(crate) fn policies() -> impl Strategy<Value = Policy> {
    (any::<bool>(), any::<bool>(), any::<bool>(), 0_u8..6).prop_map(
        |(monitor, either, rst_guard, budget)| Policy {
            closer: if either {
                Closer::Either
            } else {
                Closer::Client
            },
            mode: if monitor {
                Mode::Monitor
            } else {
                Mode::Enforce
            },
            rst_guard,
            window: Ticks(5),
            budget,
            half_closed_lifetime: Ticks(40),
            one_sided_lifetime: Ticks(10),
            closed_lifetime: Ticks(20),
        },
    )
}
