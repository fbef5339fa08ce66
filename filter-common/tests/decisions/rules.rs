//! Each condition of R1 violated alone, and its boundaries.

use filter_common::{Flags, Reason, Segment, SeqNum, Ticks, Verdict, segment::Options};

use crate::connection::{
    Connection, ENFORCE, FC, FIN_ACK, FS, MONITOR, START, before, last_ack, segment, server_fin,
};

/// What the filter is for; each test below changes one thing.
#[test]
fn r1_drops_the_ack_that_nothing_asked_for() {
    let mut connection = Connection::closed(ENFORCE);
    connection.wait(200);
    let reason = connection.client(last_ack());
    assert_eq!(reason, Reason::SpuriousAckDropped);
    assert_eq!(reason.verdict(), Verdict::Drop);
}

#[test]
fn r1_6_the_answer_itself_on_its_way_through_another_link_passes() {
    let mut connection = Connection::closed(ENFORCE);
    let closed = connection.state();
    let again = connection.client_by_another_link(last_ack());
    assert_eq!(again, Reason::OtherLink);
    assert_eq!(again.verdict(), Verdict::Pass);
    assert_eq!(connection.state(), closed, "it tells nothing new");
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);

    // An answer by the other link moves the rule there.
    connection.server(server_fin());
    assert_eq!(
        connection.client_by_another_link(last_ack()),
        Reason::ElicitedAck
    );
    assert_eq!(connection.client(last_ack()), Reason::OtherLink);
    assert_eq!(
        connection.client_by_another_link(last_ack()),
        Reason::SpuriousAckDropped
    );
}

#[test]
fn r1_1_the_flow_must_be_closed() {
    let mut half_closed = Connection::half_closed(ENFORCE);
    assert_eq!(half_closed.client(last_ack()), Reason::HalfClosed);
    assert_eq!(half_closed.client(last_ack()), Reason::HalfClosed);

    let mut last = Connection::last_ack(ENFORCE, 1);
    assert_eq!(last.client(last_ack()), Reason::FirstAck);
}

#[test]
fn r1_1_a_fin_that_does_not_acknowledge_the_clients_arms_nothing() {
    for ack in [before(FC, 1), FC.plus(1), SeqNum(0), SeqNum(u32::MAX)] {
        let mut connection = Connection::half_closed(ENFORCE);
        assert_eq!(
            connection.server(Segment {
                ack,
                ..server_fin()
            }),
            Reason::ServerData
        );
        for _ in 0..3 {
            assert_eq!(connection.client(last_ack()), Reason::HalfClosed);
        }
    }
}

#[test]
fn r1_1_a_forged_fin_arms_nothing_since_the_client_does_not_confirm_it() {
    let mut connection = Connection::half_closed(ENFORCE);
    assert_eq!(
        connection.server(segment(FIN_ACK, SeqNum(77), FC)),
        Reason::ServerFin
    );
    for _ in 0..3 {
        assert_ne!(connection.client(last_ack()).verdict(), Verdict::Drop);
    }
}

/// It moves Fs, so that the client's acknowledgments are no longer of it: all of them pass.
#[test]
fn r1_1_a_forged_fin_disarms_until_the_server_repeats_its_own() {
    let mut connection = Connection::closed(ENFORCE);
    assert_eq!(
        connection.server(segment(FIN_ACK, SeqNum(77), FC)),
        Reason::ServerElicits
    );
    assert_eq!(connection.client(last_ack()), Reason::OtherSequence);
    assert_eq!(connection.server(server_fin()), Reason::ServerElicits);
    assert_eq!(connection.client(last_ack()), Reason::ElicitedAck);
    assert_eq!(connection.client(last_ack()), Reason::RedundantAckDropped);
}

#[test]
fn r1_1_flags_other_than_ack_are_not_pure() {
    let others = (0..12)
        .map(|bit| Flags::from_header(1 << bit))
        .filter(|flag| !flag.any(FIN_ACK.with(Flags::SYN).with(Flags::RST)));
    let mut tried = 0;
    for flag in others {
        let mut connection = Connection::closed(ENFORCE);
        let segment = Segment {
            flags: Flags::ACK.with(flag),
            ..last_ack()
        };
        assert_eq!(connection.client(segment), Reason::NotPure, "{flag:?}");
        tried += 1;
    }
    assert_eq!(tried, 8, "PSH URG ECE CWR AE and three reserved bits");
}

#[test]
fn r1_1_payload_is_not_pure() {
    for payload in [1, 2, 1460, u32::MAX] {
        let mut connection = Connection::closed(ENFORCE);
        assert_eq!(
            connection.client(Segment {
                payload,
                ..last_ack()
            }),
            Reason::NotPure
        );
    }
}

#[test]
fn r1_1_options_that_may_matter_pass() {
    let mut connection = Connection::closed(ENFORCE);
    let segment = Segment {
        options: Options::Other,
        ..last_ack()
    };
    assert_eq!(connection.client(segment), Reason::OtherOptions);
}

#[test]
fn r1_2_the_sequence_number_is_fc_or_one_less() {
    for (seq, expected) in [
        (FC, Reason::SpuriousAckDropped),
        (before(FC, 1), Reason::SpuriousAckDropped),
        (before(FC, 2), Reason::OtherSequence),
        (FC.plus(1), Reason::OtherSequence),
        (FC.plus(1 << 31), Reason::OtherSequence),
    ] {
        let mut connection = Connection::closed(ENFORCE);
        assert_eq!(
            connection.client(Segment { seq, ..last_ack() }),
            expected,
            "{seq:?}"
        );
    }
}

#[test]
fn r1_2_the_acknowledgment_number_is_fs() {
    for (ack, expected) in [
        (FS, Reason::SpuriousAckDropped),
        (before(FS, 1), Reason::StaleAck),
        (before(FS, (1 << 31) - 1), Reason::StaleAck),
        (FS.plus(1), Reason::OtherSequence),
    ] {
        let mut connection = Connection::closed(ENFORCE);
        assert_eq!(
            connection.client(Segment { ack, ..last_ack() }),
            expected,
            "{ack:?}"
        );
    }
}

#[test]
fn r1_3_an_ack_that_the_server_asked_for_passes() {
    let asks = [
        server_fin(),
        Segment {
            flags: Flags::ACK,
            payload: 1,
            ..server_fin()
        },
        Segment {
            seq: before(FS, 11),
            payload: 10,
            flags: Flags::ACK,
            ack: FC,
            ..server_fin()
        },
        segment(Flags::ACK, before(FS, 1), FC),
        segment(Flags::ACK, FS.plus(1), FC),
        Segment {
            payload: 1,
            ..segment(Flags::ACK, FS, FC)
        },
    ];
    for ask in asks {
        let mut connection = Connection::closed(ENFORCE);
        assert_eq!(connection.server(ask), Reason::ServerElicits, "{ask:?}");
        assert_eq!(
            connection.client(last_ack()),
            Reason::ElicitedAck,
            "{ask:?}"
        );
        assert_eq!(
            connection.client(last_ack()),
            Reason::SpuriousAckDropped,
            "{ask:?}"
        );
    }
}

#[test]
fn r1_3_a_bare_ack_and_a_reset_of_the_server_ask_for_nothing() {
    for (quiet, expected) in [
        (segment(Flags::ACK, FS, FC), Reason::ServerQuiet),
        (
            segment(Flags::RST, before(FS, 1), SeqNum(0)),
            Reason::ResetOther,
        ),
        (segment(Flags::RST, FS, SeqNum(0)), Reason::ResetAfterClose),
    ] {
        let mut connection = Connection::closed(ENFORCE);
        assert_eq!(connection.server(quiet), expected);
        assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
    }
}

#[test]
fn r1_3_a_stale_ack_answers_nothing() {
    let mut connection = Connection::last_ack(ENFORCE, 1);
    let stale = Segment {
        ack: before(FS, 1),
        ..last_ack()
    };
    assert_eq!(connection.client(stale), Reason::StaleAck);
    assert_eq!(connection.client(last_ack()), Reason::FirstAck);

    let mut connection = Connection::closed(ENFORCE);
    assert_eq!(connection.server(server_fin()), Reason::ServerElicits);
    assert_eq!(connection.client(stale), Reason::StaleAck);
    assert_eq!(connection.client(last_ack()), Reason::ElicitedAck);
}

/// A server does not look at the acknowledgment of a segment outside of its window.
#[test]
fn r1_3_an_ack_outside_of_the_servers_window_answers_nothing() {
    for seq in [before(FC, 1), FC.plus(1)] {
        let mut connection = Connection::last_ack(ENFORCE, 1);
        let outside = Segment { seq, ..last_ack() };
        assert_eq!(connection.client(outside), Reason::OtherSequence);
        assert_eq!(connection.client(last_ack()), Reason::FirstAck);
        assert_eq!(connection.server(server_fin()), Reason::ServerElicits);
        assert_eq!(connection.client(outside), Reason::OtherSequence);
        assert_eq!(connection.client(last_ack()), Reason::ElicitedAck);
    }
}

#[test]
fn r1_3_copies_of_the_fin_before_the_first_ack_make_as_many_less_one_redundant() {
    for copies in 1..=6_u8 {
        let mut connection = Connection::last_ack(
            filter_common::Policy {
                budget: u8::MAX,
                ..ENFORCE
            },
            usize::from(copies),
        );
        assert_eq!(connection.client(last_ack()), Reason::FirstAck);
        for _ in 1..copies {
            assert_eq!(connection.client(last_ack()), Reason::RedundantAckDropped);
        }
        for _ in 0..3 {
            assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
        }
    }
}

#[test]
fn r1_4_a_redundant_ack_that_comes_too_late_is_redundant_once() {
    let mut connection = Connection::last_ack(ENFORCE, 2);
    assert_eq!(connection.client(last_ack()), Reason::FirstAck);
    connection.wait(501);
    assert_eq!(connection.client(last_ack()), Reason::WindowOver);
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
}

/// Each segment of the server is answered, if late: four in all, of which one is the first ACK and
/// one passes as the answer to the last repetition.
#[test]
fn r1_3_what_an_earlier_ack_made_redundant_stays_so_when_the_server_asks_again() {
    let mut connection = Connection::last_ack(ENFORCE, 3);
    assert_eq!(connection.client(last_ack()), Reason::FirstAck);
    assert_eq!(connection.server(server_fin()), Reason::ServerElicits);
    assert_eq!(connection.client(last_ack()), Reason::ElicitedAck);
    assert_eq!(connection.client(last_ack()), Reason::RedundantAckDropped);
    assert_eq!(connection.client(last_ack()), Reason::RedundantAckDropped);
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
}

#[test]
fn r1_3_elicited_counts_round_its_end_without_looking_unarmed() {
    let mut connection = Connection::closed(ENFORCE);
    let mut flow = connection.state();
    (flow.server.elicited, flow.client.answered) = (u16::MAX, u16::MAX);
    connection.flow = Some(flow);
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
    assert_eq!(connection.server(server_fin()), Reason::ServerElicits);
    assert_eq!(
        connection.state().server.elicited,
        1,
        "0 would mean that there was no FIN"
    );
    assert_eq!(connection.client(last_ack()), Reason::ElicitedAck);
    assert_eq!(connection.client(last_ack()).verdict(), Verdict::Drop);
}

#[test]
fn r1_4_the_window_includes_its_last_instant_and_no_more() {
    for (after, expected) in [
        (0, Reason::SpuriousAckDropped),
        (499, Reason::SpuriousAckDropped),
        (500, Reason::SpuriousAckDropped),
        (501, Reason::WindowOver),
        (240_000, Reason::WindowOver),
    ] {
        let mut connection = Connection::closed(ENFORCE);
        connection.wait(after);
        assert_eq!(connection.client(last_ack()), expected, "after {after}");
    }
}

/// A dropped one must not, or a client that sends often would be dropped for ever.
#[test]
fn r1_4_the_window_starts_at_the_last_forwarded_ack() {
    let mut connection = Connection::closed(ENFORCE);
    connection.wait(300);
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
    connection.wait(300);
    assert_eq!(connection.client(last_ack()), Reason::WindowOver);
    connection.wait(500);
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);

    let mut connection = Connection::closed(ENFORCE);
    connection.wait(400);
    assert_eq!(connection.server(server_fin()), Reason::ServerElicits);
    assert_eq!(connection.client(last_ack()), Reason::ElicitedAck);
    connection.wait(500);
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
}

#[test]
fn r1_4_what_the_server_sends_does_not_move_the_window() {
    let mut connection = Connection::closed(ENFORCE);
    connection.wait(501);
    assert_eq!(
        connection.server(segment(Flags::ACK, FS, FC)),
        Reason::ServerQuiet
    );
    assert_eq!(connection.client(last_ack()), Reason::WindowOver);
}

#[test]
fn r1_4_a_clock_that_runs_backwards_leaves_the_window_open_and_panics_nowhere() {
    let mut connection = Connection::closed(ENFORCE);
    connection.now = Ticks(START.0 - 1000);
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
    connection.now = Ticks(0);
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
}

#[test]
fn r1_5_no_more_than_budget_is_dropped_from_one_flow() {
    for budget in [1, 2, 3, u8::MAX] {
        let mut connection = Connection::closed(filter_common::Policy { budget, ..ENFORCE });
        for _ in 0..budget {
            assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
        }
        for _ in 0..3 {
            assert_eq!(connection.client(last_ack()), Reason::BudgetSpent);
        }
    }
}

#[test]
fn r1_5_the_budget_is_not_filled_up_by_an_ack_that_was_asked_for() {
    let mut connection = Connection::closed(ENFORCE);
    for _ in 0..3 {
        assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
    }
    assert_eq!(connection.server(server_fin()), Reason::ServerElicits);
    assert_eq!(connection.client(last_ack()), Reason::ElicitedAck);
    assert_eq!(connection.client(last_ack()), Reason::BudgetSpent);
}

#[test]
fn r1_holds_across_the_wrap_of_sequence_numbers() {
    for (fc, fs) in [
        (0, 0),
        (1, 1),
        (u32::MAX, u32::MAX),
        (5, u32::MAX - 3),
        (1 << 31, 0),
    ] {
        let (fc, fs) = (SeqNum(fc), SeqNum(fs));
        let mut connection = Connection::new(ENFORCE);
        let fin = Segment {
            payload: 9,
            ..segment(FIN_ACK, before(fc, 10), before(fs, 20))
        };
        assert_eq!(connection.client(fin), Reason::FlowCreated);
        let fin = Segment {
            payload: 19,
            ..segment(FIN_ACK, before(fs, 20), fc)
        };
        assert_eq!(connection.server(fin), Reason::ServerFin);
        let ack = segment(Flags::ACK, fc, fs);
        assert_eq!(
            connection.client(Segment {
                ack: before(fs, 1),
                ..ack
            }),
            Reason::StaleAck
        );
        assert_eq!(connection.client(ack), Reason::FirstAck);
        assert_eq!(connection.client(ack), Reason::SpuriousAckDropped);
        let keepalive = Segment {
            seq: before(fc, 1),
            ..ack
        };
        assert_eq!(connection.client(keepalive), Reason::SpuriousAckDropped);
        assert_eq!(
            connection.client(Segment {
                ack: fs.plus(1),
                ..ack
            }),
            Reason::OtherSequence
        );
    }
}

#[test]
fn monitor_passes_and_counts_what_enforce_drops() {
    let mut connection = Connection::last_ack(MONITOR, 2);
    assert_eq!(connection.client(last_ack()), Reason::FirstAck);
    assert_eq!(connection.client(last_ack()), Reason::RedundantAckObserved);
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckObserved);
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckObserved);
    assert_eq!(connection.client(last_ack()), Reason::BudgetSpent);
}
