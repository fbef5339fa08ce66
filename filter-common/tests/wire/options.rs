//! TCP options: which of them leave an ACK pure.

use filter_common::{Flags, Segment, segment::Options};

use crate::{
    frames::{Frame, TIMESTAMPS, V4},
    headers::{SEGMENT, frame},
    parse,
};

fn class(options: &[u8]) -> Options {
    class_of(
        options,
        Segment {
            payload: 0,
            ..SEGMENT
        },
    )
}

fn class_of(options: &[u8], segment: Segment) -> Options {
    let frame = Frame {
        tcp_options: options.to_vec(),
        segment,
        ..frame(V4)
    };
    parse(&frame.octets(), frame.direction)
        .expect("a whole frame")
        .1
        .options
}

#[test]
fn no_options_end_padding_and_timestamps_leave_it_pure() {
    let plain: [&[u8]; 7] = [
        &[],
        &[0, 0, 0, 0],
        &[1, 1, 1, 1],
        &[1, 1, 1, 0],
        &TIMESTAMPS,
        &[8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0],
        &[1; 40],
    ];
    for options in plain {
        assert_eq!(class(options), Options::Plain, "{options:?}");
    }
}

#[test]
fn what_follows_the_end_of_the_list_is_none() {
    assert_eq!(class(&[0, 30, 3, 0]), Options::Plain);
    assert_eq!(class(&[1, 0, 5, 2]), Options::Plain);
}

#[test]
fn every_other_kind_may_matter() {
    for kind in (2..=255).filter(|&kind| kind != 8) {
        assert_eq!(class(&[kind, 4, 0, 0]), Options::Other, "{kind}");
        assert_eq!(class(&[1, 1, kind, 2]), Options::Other, "{kind}");
        let mut behind = TIMESTAMPS.to_vec();
        behind.extend([kind, 4, 0, 0]);
        assert_eq!(class(&behind), Options::Other, "{kind} behind timestamps");
        let mut at_the_end = [1; 40];
        at_the_end[39] = kind;
        assert_eq!(
            class(&at_the_end),
            Options::Other,
            "{kind} in the last octet"
        );
    }
}

#[test]
fn timestamps_of_another_length_may_be_anything() {
    for length in (0..=255).filter(|&length| length != 10) {
        let mut options = TIMESTAMPS;
        options[3] = length;
        assert_eq!(class(&options), Options::Other, "{length}");
    }
}

#[test]
fn timestamps_that_run_out_of_the_header_cannot_be_read() {
    assert_eq!(class(&[8, 10, 0, 0]), Options::Other);
    assert_eq!(class(&[1, 1, 1, 8]), Options::Other);
    assert_eq!(
        class(&[1, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0]),
        Options::Other
    );
    let mut last = [1; 40];
    (last[30], last[31]) = (8, 10);
    assert_eq!(class(&last), Options::Plain, "they just fit");
    (last[30], last[31], last[32]) = (1, 8, 10);
    assert_eq!(class(&last), Options::Other);
    (last[31], last[32], last[38], last[39]) = (1, 1, 8, 10);
    assert_eq!(class(&last), Options::Other);
}

/// They cost time, and do not matter where the segment is not pure anyhow.
#[test]
fn options_are_only_looked_at_where_all_else_is_pure() {
    let sack = [1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    assert_eq!(class(&sack), Options::Other);
    let payload = Segment {
        payload: 1,
        ..SEGMENT
    };
    assert_eq!(class_of(&sack, payload), Options::Plain);
    let fin = Segment {
        payload: 0,
        flags: Flags::ACK.with(Flags::FIN),
        ..SEGMENT
    };
    assert_eq!(class_of(&sack, fin), Options::Plain);
}
