//! Whatever the traffic: a capture in which frames are there more than once gives the same findings
//! as one in which each is there once.

use analysis::{capture::Time, report::Report};
use proptest::prelude::*;

use crate::tape::{ACK, Client, FIN, PSH, RST, Server, Shot, Side, Tape, shot};

/// What can be sent around a close, and how long after the one before, in milliseconds.
fn shots() -> impl Strategy<Value = Vec<(Shot, u16)>> {
    let client = prop_oneof![
        3 => Just((FIN | ACK, 101, 1, 0)),
        2 => Just((ACK, 102, 501, 0)),
        9 => Just((ACK, 102, 502, 0)),
        1 => Just((ACK, 101, 502, 0)),
        1 => Just((PSH | ACK, 1, 1, 100)),
    ];
    let server = prop_oneof![
        1 => Just((ACK, 1, 102, 0)),
        2 => Just((PSH | ACK, 1, 102, 500)),
        4 => Just((FIN | ACK, 501, 102, 0)),
        1 => Just((FIN | ACK, 501, 101, 0)),
        3 => Just((RST, 502, 0, 0)),
    ];
    let one = prop_oneof![
        client.prop_map(|what| (Client, what)),
        server.prop_map(|what| (Server, what)),
    ];
    let pause = prop_oneof![Just(1_u16), Just(20), Just(200), Just(700)];
    let one = (one, pause).prop_map(|((from, (flags, seq, ack, payload)), pause)| {
        (shot(from, 0.0, flags, seq, ack, payload), pause)
    });
    prop::collection::vec(one, 0..24)
}

/// Of which frames there are copies, how much later (in microseconds), and how many hops on.
#[derive(Clone, Copy, Debug)]
struct Copies {
    of: Option<Side>,
    times: usize,
    later: u32,
    hops: u8,
}

fn copies() -> impl Strategy<Value = Copies> {
    let of = prop_oneof![Just(None), Just(Some(Client)), Just(Some(Server))];
    // In the order of the frames, as pauses are longer.
    (of, 1..3_usize, 1..300_u32, 0..2_u8).prop_map(|(of, times, later, hops)| Copies {
        of,
        times,
        later,
        hops,
    })
}

/// Frames, and for each the number of the one that it is a copy of.
fn copied(tape: &Tape, copies: Copies) -> (Tape, Vec<u64>) {
    let mut frames = tape.clone();
    frames.clear();
    let mut originals = Vec::new();
    for (number, (time, frame)) in (1..).zip(tape.frames()) {
        frames.push(*time, frame.clone());
        originals.push(number);
        if copies.of.is_some_and(|of| tape.sender(frame) != of) {
            continue;
        }
        let mut later = 0;
        for copy in 1..=copies.times {
            later += u64::from(copies.later) * 1000;
            let hops = copies.hops * u8::try_from(copy).unwrap();
            frames.push(Time(time.0 + later), tape.further(frame, hops));
            originals.push(number);
        }
    }
    (frames, originals)
}

/// What is to be the same: what there is to say of each frame, and the counts.
fn outcome(report: &Report, originals: &[u64]) -> impl PartialEq + std::fmt::Debug + use<> {
    let original = |frame: u64| originals[usize::try_from(frame).unwrap() - 1];
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            let reset = finding.reset_frame.map(original);
            (original(finding.frame), finding.kind, finding.reason, reset)
        })
        .collect();
    let counts = [
        report.connections,
        report.closed,
        report.crossing_closes,
        report.reacks_elicited,
        report.resets_after_spurious_ack,
        report.resets_after_elicited_ack,
        report.resets_other,
    ];
    (findings, counts)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn copies_of_frames_with_ids_change_nothing(shots in shots(), copies in copies()) {
        let mut tape = Tape::v4();
        tape.open();
        let mut at = 10.0;
        for (shot, pause) in shots {
            at += f64::from(pause);
            tape.shoot(&Shot { at, ..shot });
        }
        let once: Vec<u64> = (1..).take(tape.frames().len()).collect();
        let (copied, originals) = copied(&tape, copies);
        let expected = outcome(&tape.analyze().report, &once);
        prop_assert_eq!(outcome(&copied.analyze().report, &originals), expected);
    }
}
