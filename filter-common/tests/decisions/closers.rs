//! Closes that the server begins, or both at once.

use filter_common::{Closer, Direction, Flags, Phase, Policy, Reason, Verdict};

use crate::connection::{
    Connection, ENFORCE, FC, FIN_ACK, FS, GUARD, before, client_fin, last_ack, reset, segment,
    server_fin,
};

const EITHER: Policy = Policy {
    closer: Closer::Either,
    ..ENFORCE
};

/// The server's FIN, while it has not got the client's.
const fn crossing_fin() -> filter_common::Segment {
    segment(FIN_ACK, before(FS, 1), before(FC, 1))
}

/// The client's FIN, behind the server's.
const fn answering_fin() -> filter_common::Segment {
    segment(FIN_ACK, before(FC, 1), FS)
}

/// The server has sent its FIN.
fn server_first(policy: Policy) -> Connection {
    let mut connection = Connection::new(policy);
    assert_eq!(connection.server(crossing_fin()), Reason::FlowCreated);
    connection
}

#[test]
fn the_servers_fin_makes_a_flow_only_if_asked_for() {
    let mut connection = Connection::new(ENFORCE);
    assert_eq!(connection.server(crossing_fin()), Reason::NoFlow);
    let mut connection = Connection::new(EITHER);
    for flags in [
        Flags::FIN,
        FIN_ACK.with(Flags::SYN),
        FIN_ACK.with(Flags::RST),
    ] {
        let fin = segment(flags, before(FS, 1), FC);
        assert_eq!(connection.server(fin), Reason::NoFlow, "{flags:?}");
    }
    assert_eq!(connection.server(crossing_fin()), Reason::FlowCreated);
    assert_eq!(connection.state().phase(), Phase::HalfClosed);
}

#[test]
fn the_clients_fin_that_acknowledges_the_servers_closes() {
    let mut connection = server_first(EITHER);
    // In CLOSE-WAIT, where the client may send for long.
    let ack = segment(Flags::ACK, before(FC, 1), FS);
    for _ in 0..3 {
        assert_eq!(connection.client(ack), Reason::HalfClosed);
    }
    assert_eq!(connection.client(answering_fin()), Reason::FirstAck);
    assert_eq!(
        connection.client(answering_fin()),
        Reason::ClientFinRepeated
    );
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
}

#[test]
fn a_server_that_repeats_its_fin_gets_its_answer() {
    let mut connection = server_first(EITHER);
    assert_eq!(connection.client(answering_fin()), Reason::FirstAck);
    assert_eq!(connection.server(crossing_fin()), Reason::ServerElicits);
    assert_eq!(connection.client(last_ack()), Reason::ElicitedAck);
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
}

/// A server that has got the client's FIN takes nothing from another copy.
#[test]
fn a_repeated_fin_answers_nothing() {
    let mut connection = server_first(EITHER);
    assert_eq!(connection.client(client_fin()), Reason::ClientFin);
    assert_eq!(
        connection.client(answering_fin()),
        Reason::ClientFinRepeated
    );
    assert_eq!(connection.client(last_ack()), Reason::FirstAck);
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
}

#[test]
fn of_fins_that_cross_either_may_pass_first() {
    for client_is_first in [true, false] {
        let mut connection = Connection::new(EITHER);
        if client_is_first {
            assert_eq!(connection.client(client_fin()), Reason::FlowCreated);
            assert_eq!(connection.server(crossing_fin()), Reason::ServerFin);
        } else {
            assert_eq!(connection.server(crossing_fin()), Reason::FlowCreated);
            assert_eq!(connection.client(client_fin()), Reason::ClientFin);
        }
        assert_eq!(connection.client(last_ack()), Reason::FirstAck);
        assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
    }
}

/// It tells a client that its FIN, or what it sent before, has not arrived and never will.
#[test]
fn r2_passes_the_reset_of_a_server_that_did_not_close_second() {
    let guard = Policy {
        closer: Closer::Either,
        ..GUARD
    };
    let mut connection = server_first(guard);
    connection.client(answering_fin());
    assert_eq!(connection.state().phase(), Phase::Closed);
    assert_eq!(connection.server(reset()), Reason::ResetOther);

    let mut connection = Connection::half_closed(guard);
    connection.server(server_fin());
    connection.client(last_ack());
    let dropped = connection.server(reset());
    assert_eq!(dropped.verdict(), Verdict::Drop, "it did close second");
}

/// The client may have got only the one that did not acknowledge its own.
#[test]
fn r2_passes_the_reset_where_any_copy_of_the_servers_fin_crossed_the_clients() {
    for closer in [Closer::Client, Closer::Either] {
        for crossing_is_first in [true, false] {
            let mut connection = Connection::half_closed(Policy { closer, ..GUARD });
            let mut fins = [crossing_fin(), server_fin()];
            if !crossing_is_first {
                fins.reverse();
            }
            for fin in fins {
                connection.server(fin);
            }
            connection.client(last_ack());
            assert_eq!(connection.state().phase(), Phase::Closed);
            assert_eq!(connection.server(reset()), Reason::ResetOther);
        }
    }
}

#[test]
fn r2_is_not_turned_off_by_a_strangers_fin() {
    let mut connection = Connection::closed(GUARD);
    for seq in [before(FS, 100), FS, FS.plus(1 << 30)] {
        connection.server(segment(FIN_ACK, seq, FC.plus(77)));
    }
    assert_eq!(connection.client(last_ack()), Reason::ElicitedAck);
    assert_eq!(connection.server(reset()).verdict(), Verdict::Drop);
}

/// Nothing tells it from a stranger's until its Fs is the server's.
#[test]
fn r2_goes_by_no_fin_that_came_while_the_server_had_another_fs() {
    let mut connection = Connection::half_closed(GUARD);
    connection.server(segment(FIN_ACK, FS, FC));
    connection.server(crossing_fin());
    connection.server(server_fin());
    connection.client(last_ack());
    assert_eq!(connection.state().phase(), Phase::Closed);
    assert_eq!(connection.server(reset()).verdict(), Verdict::Drop);
}

/// A port that was reused without a SYN that we saw.
#[test]
fn a_clients_fin_that_acknowledges_another_fin_makes_the_flow_anew() {
    let mut connection = server_first(EITHER);
    connection.client(answering_fin());
    let other = segment(FIN_ACK, FC.plus(1_000), FS.plus(1_000));
    assert_eq!(connection.client(other), Reason::FlowCreated);
    assert_eq!(connection.state().phase(), Phase::HalfClosed);
}

#[test]
fn a_flow_that_the_client_has_not_confirmed_expires_sooner() {
    for (after, expired) in [(60_000, false), (60_001, true)] {
        let mut connection = server_first(EITHER);
        connection.wait(after);
        let expected = if expired {
            Reason::FlowExpired
        } else {
            Reason::HalfClosed
        };
        assert_eq!(connection.client(last_ack()), expected);
        if !expired {
            connection.wait(EITHER.half_closed_lifetime.0);
            assert_eq!(connection.client(answering_fin()), Reason::FirstAck);
        }
    }
}

#[test]
fn an_expired_flow_is_made_anew_by_either_fin() {
    for direction in [Direction::FromClient, Direction::FromServer] {
        let mut connection = server_first(EITHER);
        connection.wait(EITHER.one_sided_lifetime.0 + 1);
        let fin = match direction {
            Direction::FromClient => answering_fin(),
            Direction::FromServer => crossing_fin(),
        };
        assert_eq!(connection.see(direction, &fin), Reason::FlowCreated);
    }
}

#[test]
fn a_flow_is_settled_once_by_the_side_that_did_not_make_it() {
    let settled = |connection: &mut Connection, direction, segment| {
        let flow = connection.state();
        let reason = connection.see(direction, &segment);
        flow.is_settled_by(direction, reason)
    };
    let ack = segment(Flags::ACK, before(FS, 1), FC);

    let mut connection = Connection::half_closed(ENFORCE);
    assert!(!settled(
        &mut connection,
        Direction::FromClient,
        client_fin()
    ));
    assert!(settled(&mut connection, Direction::FromServer, ack));
    assert!(!settled(&mut connection, Direction::FromServer, ack));

    let mut connection = server_first(EITHER);
    assert!(!settled(
        &mut connection,
        Direction::FromServer,
        crossing_fin()
    ));
    assert!(settled(
        &mut connection,
        Direction::FromClient,
        answering_fin()
    ));
    assert!(!settled(&mut connection, Direction::FromClient, last_ack()));

    // A client that gives up has nothing to wait for.
    let mut connection = Connection::half_closed(ENFORCE);
    let abort = segment(Flags::RST, FC, FS);
    assert!(settled(&mut connection, Direction::FromClient, abort));
}
