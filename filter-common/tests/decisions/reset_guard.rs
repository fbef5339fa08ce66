//! R2, and what a server's RST tells without it.

use filter_common::{Flags, Policy, Reason, Segment, SeqNum, Verdict};

use crate::connection::{
    Connection, ENFORCE, FS, GUARD, MONITOR, before, last_ack, reset, segment, server_fin,
};

/// Something that nothing asked for and that R1 lets pass.
fn provoke(connection: &mut Connection) {
    let urgent = Segment {
        flags: Flags::ACK.with(Flags::URG),
        ..last_ack()
    };
    assert_eq!(connection.client(urgent), Reason::NotPure);
}

#[test]
fn r2_drops_the_reset_that_destroys_time_wait() {
    let mut connection = Connection::closed(GUARD);
    let reason = connection.server(reset());
    assert_eq!(reason, Reason::ResetAfterCloseSuppressed);
    assert_eq!(reason.verdict(), Verdict::Drop);
    provoke(&mut connection);
    let reason = connection.server(reset());
    assert_eq!(reason, Reason::ResetAfterSpuriousAckSuppressed);
    assert_eq!(reason.verdict(), Verdict::Drop);
}

#[test]
fn r2_is_off_unless_asked_for_and_in_monitor_mode() {
    let observing = Policy {
        rst_guard: true,
        ..MONITOR
    };
    for policy in [ENFORCE, MONITOR, observing] {
        let mut connection = Connection::closed(policy);
        assert_eq!(connection.server(reset()), Reason::ResetAfterClose);
        provoke(&mut connection);
        assert_eq!(connection.server(reset()), Reason::ResetAfterSpuriousAck);
    }
}

#[test]
fn r2_the_flow_must_be_closed() {
    let mut half_closed = Connection::half_closed(GUARD);
    assert_eq!(half_closed.server(reset()), Reason::ResetOther);
    let mut last = Connection::last_ack(GUARD, 1);
    assert_eq!(last.server(reset()), Reason::ResetOther);
    assert_eq!(Connection::new(GUARD).server(reset()), Reason::NoFlow);
}

#[test]
fn r2_another_sequence_number_passes() {
    for seq in [before(FS, 1), FS.plus(1), SeqNum(0)] {
        let mut connection = Connection::closed(GUARD);
        assert_eq!(
            connection.server(Segment { seq, ..reset() }),
            Reason::ResetOther
        );
    }
}

#[test]
fn r2_other_flags_pass() {
    for bit in (0..12).filter(|bit| 1 << bit != Flags::RST.bits() && 1 << bit != Flags::SYN.bits())
    {
        let mut connection = Connection::closed(GUARD);
        let flags = Flags::RST.with(Flags::from_header(1 << bit));
        assert_eq!(
            connection.server(Segment { flags, ..reset() }),
            Reason::ResetOther,
            "{flags:?}"
        );
    }
}

#[test]
fn r2_passes_every_reset_after_a_syn() {
    for from_client in [true, false] {
        let mut connection = Connection::closed(GUARD);
        let syn = segment(Flags::SYN, SeqNum(9_000), SeqNum(0));
        let reason = if from_client {
            connection.client(syn)
        } else {
            connection.server(syn)
        };
        assert_eq!(reason, Reason::Syn);
        assert_eq!(connection.server(reset()), Reason::NoFlow);
    }
}

#[test]
fn a_reset_is_put_down_to_an_ack_only_if_one_was_forwarded() {
    // Dropped: the server knows nothing of it.
    let mut connection = Connection::closed(ENFORCE);
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
    assert_eq!(connection.server(reset()), Reason::ResetAfterClose);
    // Observed: it went on.
    let mut connection = Connection::closed(MONITOR);
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckObserved);
    assert_eq!(connection.server(reset()), Reason::ResetAfterSpuriousAck);
    // Too late, over the budget, or outside of the window of sequence numbers: it went on.
    let mut connection = Connection::closed(ENFORCE);
    connection.wait(501);
    assert_eq!(connection.client(last_ack()), Reason::WindowOver);
    assert_eq!(connection.server(reset()), Reason::ResetAfterSpuriousAck);
    let mut connection = Connection::closed(Policy {
        budget: 0,
        ..ENFORCE
    });
    assert_eq!(connection.client(last_ack()), Reason::BudgetSpent);
    assert_eq!(connection.server(reset()), Reason::ResetAfterSpuriousAck);
    let mut connection = Connection::closed(ENFORCE);
    let elsewhere = Segment {
        seq: SeqNum(7),
        ..last_ack()
    };
    assert_eq!(connection.client(elsewhere), Reason::OtherSequence);
    assert_eq!(connection.server(reset()), Reason::ResetAfterSpuriousAck);
}

/// FIN, ACK, FIN retransmitted too early, the legitimate ACK of that, RST.
#[test]
fn a_reset_after_an_ack_that_was_asked_for_is_not_put_down_to_the_client() {
    let mut connection = Connection::closed(MONITOR);
    assert_eq!(connection.client(last_ack()), Reason::SpuriousAckObserved);
    assert_eq!(connection.server(server_fin()), Reason::ServerElicits);
    assert_eq!(connection.client(last_ack()), Reason::ElicitedAck);
    assert_eq!(connection.server(reset()), Reason::ResetAfterClose);
}

#[test]
fn a_reset_of_the_server_never_disarms() {
    for policy in [ENFORCE, GUARD, MONITOR] {
        for flags in [Flags::RST, Flags::RST.with(Flags::ACK)] {
            for seq in [FS, before(FS, 1)] {
                let mut connection = Connection::closed(policy);
                let before = connection.flow;
                connection.server(Segment {
                    seq,
                    flags,
                    ..reset()
                });
                assert_eq!(connection.flow, before);
            }
        }
    }
}
