//! Frames that were captured more than once.

use analysis::report::{Cure, Kind};

use crate::{
    short,
    tape::{ACK, Client, FIN, SYN, Server, Shot, Tape, shot},
};

fn kb(mut tape: Tape) -> Tape {
    tape.open().fins().ack(10.0).ack(210.0).reset(210.5);
    tape
}

/// Both sides, one hop on.
fn twice(tape: &Tape, later: f64, hops: u8) -> Tape {
    tape.copied(Client, later, hops).copied(Server, later, hops)
}

#[test]
fn of_frames_that_are_there_twice_each_is_judged_once() {
    for tape in [Tape::v4(), Tape::v6()] {
        let tape = kb(tape);
        for (later, hops) in [(0.01, 0), (0.03, 1), (30.0, 1)] {
            let report = twice(&tape, later, hops).analyze().report;
            assert_eq!(
                report.findings.len(),
                1,
                "{later} ms, {hops} hops: {report:?}"
            );
            assert!(report.findings[0].reset_frame.is_some());
            assert_eq!((report.spurious_acks, report.redundant_acks), (1, 0));
            assert_eq!(report.reacks_elicited, 0);
            assert_eq!(report.packets, 26);
            // Of the close, which is what is looked at. Without IDs, what comes before anything
            // that has sequence space is not known for a copy yet.
            let copies = if tape.client.is_ipv4() { 8 } else { 7 };
            assert_eq!(report.copies, copies);
            assert_eq!(report.connections, 1);
        }
    }
}

#[test]
fn a_correct_client_that_is_captured_three_times_is_correct() {
    for tape in [Tape::v4(), Tape::v6()] {
        let mut tape = tape;
        tape.open().fins().ack(10.0);
        let report = twice(&twice(&tape, 0.01, 0), 0.1, 1).analyze().report;
        assert_eq!(short(&report), []);
        let copies = if tape.client.is_ipv4() { 18 } else { 15 };
        assert_eq!((report.closed, report.copies), (1, copies));
    }
}

#[test]
fn copies_of_one_direction_only_are_copies() {
    for tape in [Tape::v4(), Tape::v6()] {
        let tape = kb(tape);
        for from in [Client, Server] {
            let report = tape.copied(from, 0.02, 0).analyze().report;
            assert_eq!(report.findings.len(), 1, "{from:?}");
            assert_eq!((report.spurious_acks, report.reacks_elicited), (1, 0));
        }
    }
}

/// Between two places of capture, 40 segments are on the way.
#[test]
fn copies_that_come_many_frames_later_are_copies() {
    let mut tape = Tape::v4();
    tape.open().shoot(&shot(Client, 5.0, FIN | ACK, 101, 1, 0));
    let mut end = 1;
    for at in 0..100 {
        let at = f64::from(10 + at);
        tape.shoot(&shot(Server, at, ACK, end, 102, 500));
        end += 500;
        tape.shoot(&shot(Client, at + 0.5, ACK, 102, end, 0));
    }
    tape.shoot(&shot(Server, 110.0, FIN | ACK, end, 102, 0))
        .shoot(&shot(Client, 110.5, ACK, 102, end + 1, 0));
    let report = tape.copied(Client, 40.0, 1).sorted().analyze().report;
    assert_eq!(short(&report), []);
    tape.shoot(&shot(Client, 310.5, ACK, 102, end + 1, 0));
    let report = tape.copied(Server, 40.0, 1).sorted().analyze().report;
    assert_eq!((report.spurious_acks, report.reacks_elicited), (1, 0));
}

#[test]
fn a_second_ack_right_behind_the_first_is_no_copy() {
    // By its ID; without IDs as no other frame has a copy.
    for ids in [Some([100, 9000]), None] {
        let mut tape = Tape::v4();
        tape.ids = ids;
        tape.open().fins().ack(10.0).ack(10.02).reset(10.5);
        assert_eq!(
            short(&tape.analyze().report),
            [(Kind::Spurious, 12, "spurious_ack", Some(13), Cure::R1)]
        );
    }
}

#[test]
fn numbers_that_are_rewritten_on_the_way_leave_the_connection_out() {
    let inside = kb(Tape::v4());
    let mut outside = Tape::v4();
    outside.initial[0] = 1_234_567;
    let mut tape = Tape::v4();
    // As captured on both sides of a firewall that gives the client other numbers.
    for (id, from) in [
        (7, shot(Client, 0.0, SYN, 0, 0, 0)),
        (8, shot(Server, 1.0, SYN | ACK, 0, 1, 0)),
        (9, shot(Client, 2.0, ACK, 1, 1, 0)),
        (1, shot(Client, 5.0, FIN | ACK, 101, 1, 0)),
        (2, shot(Server, 9.0, FIN | ACK, 1, 102, 0)),
        (3, shot(Client, 10.0, ACK, 102, 2, 0)),
        (4, shot(Client, 210.0, ACK, 102, 2, 0)),
    ] {
        let id = Some(id);
        let mut first = inside.clone();
        first.skip(13).shoot(&Shot { id, ..from.clone() });
        let mut second = outside.clone();
        second.shoot(&Shot {
            id,
            hops: 63,
            at: from.at + 0.05,
            ..from
        });
        tape.then(&first).then(&second);
    }
    let report = tape.analyze().report;
    assert_eq!(short(&report), []);
    assert_eq!((report.renumbered_connections, report.connections), (1, 1));
    assert_eq!(report.one_sided_connections, 0);
}
