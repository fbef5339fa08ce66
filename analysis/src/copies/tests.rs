use super::*;

/// Microseconds, IP ID, TTL.
type At = (u64, u16, u8);

fn ack((micros, id, hops): At) -> Sighting {
    Sighting {
        time: Time(1_000_000_000 + micros * 1000),
        seq: SeqNum(1000),
        ack: SeqNum(2000),
        flags: Flags::ACK.bits(),
        window: 8760,
        id,
        hops,
        ..Sighting::default()
    }
}

fn fin(at: At) -> Sighting {
    Sighting {
        seq: SeqNum(999),
        flags: Flags::FIN.with(Flags::ACK).bits(),
        is_bearing: true,
        ..ack(at)
    }
}

fn seen(frames: &[Sighting]) -> Vec<Seen> {
    let (mut side, mut all) = (Side::default(), Share::default());
    let frames = frames.iter();
    frames.map(|frame| side.see(*frame, &mut all)).collect()
}

const NEW: Seen = Seen::New;
const COPY: Seen = Seen::Copy;

#[test]
fn the_same_id_where_ids_are_counted_is_a_copy() {
    let frames = [
        fin((0, 7, 128)),
        ack((1000, 8, 128)),
        ack((1050, 8, 128)),
        ack((1090, 8, 127)),
    ];
    assert_eq!(seen(&frames), [NEW, NEW, COPY, COPY]);
}

#[test]
fn another_id_is_another_ack_however_soon() {
    let frames = [fin((0, 7, 128)), ack((1000, 8, 128)), ack((1001, 9, 128))];
    assert_eq!(seen(&frames), [NEW, NEW, NEW]);
}

#[test]
fn an_id_that_never_changes_tells_nothing() {
    let frames = [fin((0, 7, 64)), ack((1000, 7, 64)), ack((1001, 7, 64))];
    assert_eq!(seen(&frames), [NEW, NEW, NEW]);
}

#[test]
fn without_ids_an_ack_is_a_copy_only_where_other_frames_have_copies() {
    let alone = [fin((0, 0, 64)), ack((1000, 0, 64)), ack((1002, 0, 64))];
    assert_eq!(seen(&alone), [NEW, NEW, NEW]);
    let mirrored = [
        fin((0, 0, 64)),
        fin((2, 0, 64)),
        ack((1000, 0, 64)),
        ack((1002, 0, 64)),
        ack((201_000, 0, 64)),
        ack((201_002, 0, 64)),
    ];
    assert_eq!(seen(&mirrored), [NEW, COPY, NEW, COPY, NEW, COPY]);
}

#[test]
fn without_ids_another_ttl_is_a_copy_only_where_a_copy_was_so_much_further_on_its_way() {
    let unknown = [fin((0, 0, 64)), ack((1000, 0, 64)), ack((1002, 0, 63))];
    assert_eq!(seen(&unknown), [NEW, NEW, NEW]);
    let forwarded = [
        fin((0, 0, 64)),
        fin((40_000, 0, 63)),
        ack((100_000, 0, 64)),
        ack((140_000, 0, 63)),
    ];
    assert_eq!(seen(&forwarded), [NEW, COPY, NEW, COPY]);
}

#[test]
fn a_direction_of_which_nothing_is_known_is_as_the_rest_of_the_capture() {
    let mut all = Share {
        frames: 10,
        copies: 9,
    };
    let mut side = Side::default();
    assert_eq!(side.see(ack((0, 0, 64)), &mut all), NEW);
    assert_eq!(side.see(ack((2, 0, 64)), &mut all), COPY);
}

#[test]
fn a_batch_that_comes_twice_is_a_batch_of_copies() {
    let burst: Vec<_> = (0..6)
        .map(|n| Sighting {
            seq: SeqNum(n * 100),
            payload: 100,
            is_bearing: true,
            ..ack((u64::from(n), 0, 64))
        })
        .collect();
    let again = burst.iter().map(|frame| Sighting {
        time: Time(frame.time.0 + 50_000),
        ..*frame
    });
    let both: Vec<_> = burst.iter().copied().chain(again).collect();
    assert_eq!(seen(&both), [[NEW; 6], [COPY; 6]].concat());
}

#[test]
fn a_fin_with_other_numbers_and_the_same_id_was_renumbered() {
    let other = Sighting {
        seq: SeqNum(77_000),
        ..fin((3, 8, 127))
    };
    let frames = [ack((0, 7, 128)), fin((1, 8, 128)), other];
    assert_eq!(seen(&frames), [NEW, NEW, Seen::Renumbered]);
    let reused = Sighting {
        seq: SeqNum(77_000),
        ..fin((3, 9, 128))
    };
    let frames = [ack((0, 7, 128)), fin((1, 8, 128)), reused];
    assert_eq!(seen(&frames), [NEW, NEW, NEW]);
}

#[test]
fn other_timestamps_are_another_ack() {
    let second = Sighting {
        options: 2,
        ..ack((1002, 0, 64))
    };
    let frames = [fin((0, 0, 64)), fin((2, 0, 64)), ack((1000, 0, 64)), second];
    assert_eq!(seen(&frames), [NEW, COPY, NEW, NEW]);
}

#[test]
fn a_copy_may_be_any_of_the_hops_of_earlier_copies_away_and_come_first() {
    let frames = [
        fin((0, 0, 64)),
        fin((20, 0, 63)),
        fin((40, 0, 62)),
        ack((1000, 0, 64)),
        ack((1020, 0, 63)),
        ack((1040, 0, 62)),
    ];
    assert_eq!(seen(&frames), [NEW, COPY, COPY, NEW, COPY, COPY]);
    let frames = [
        fin((0, 0, 64)),
        fin((20, 0, 63)),
        ack((1000, 0, 63)),
        ack((1020, 0, 64)),
    ];
    assert_eq!(seen(&frames), [NEW, COPY, NEW, COPY]);
}
