//! How a flow comes, lives and goes.

use filter_common::{
    Change, ClientHalf, Direction, Flags, Flow, Moment, Phase, Reason, Segment, SeqNum, Ticks,
    decide,
};

use crate::connection::{
    Connection, ENFORCE, FC, FIN_ACK, FS, GUARD, MONITOR, START, before, client_fin, last_ack,
    reset, segment, server_fin,
};

#[test]
fn only_a_clients_fin_makes_a_flow() {
    for bits in 0..0x1000 {
        let flags = Flags::from_header(bits);
        let fin = segment(flags, before(FC, 1), FS);
        let mut connection = Connection::new(ENFORCE);
        assert_eq!(connection.server(fin), Reason::NoFlow, "{flags:?}");
        let opens = flags.any(Flags::FIN)
            && flags.any(Flags::ACK)
            && !flags.any(Flags::SYN.with(Flags::RST));
        let expected = if opens {
            Reason::FlowCreated
        } else {
            Reason::NoFlow
        };
        assert_eq!(connection.client(fin), expected, "{flags:?}");
        assert_eq!(connection.flow.is_some(), opens);
    }
}

#[test]
fn a_flow_that_was_not_stored_is_counted_as_that() {
    struct Full;
    impl filter_common::Effects for Full {
        fn create(&mut self, _: Flow) -> bool {
            false
        }
        fn client(&mut self, _: ClientHalf, _: Ticks) {
            panic!("there is no flow");
        }
        fn server(&mut self, _: filter_common::ServerHalf, _: Ticks) {
            panic!("there is no flow");
        }
        fn client_at(&mut self, _: Moment, _: Ticks) {
            panic!("there is no flow");
        }
        fn server_at(&mut self, _: Moment, _: Ticks) {
            panic!("there is no flow");
        }
        fn forget(&mut self) {
            panic!("there is no flow");
        }
    }
    let machine = filter_common::Machine {
        now: START,
        link: 0,
        policy: &ENFORCE,
        effects: &mut Full,
    };
    let reason = machine.segment(None, Direction::FromClient, &client_fin());
    assert_eq!(reason, Reason::FlowNotStored);
}

#[test]
fn phases_follow_the_close() {
    let phase = |connection: &Connection| connection.state().phase();
    let mut connection = Connection::half_closed(ENFORCE);
    assert_eq!(phase(&connection), Phase::HalfClosed);
    connection.server(server_fin());
    assert_eq!(phase(&connection), Phase::LastAck);
    connection.client(last_ack());
    assert_eq!(phase(&connection), Phase::Closed);
    connection.server(server_fin());
    assert_eq!(
        phase(&connection),
        Phase::Closed,
        "asked again, but still closed"
    );
    connection.server(segment(FIN_ACK, FS, FC));
    assert_eq!(
        phase(&connection),
        Phase::LastAck,
        "another Fs has to be confirmed anew"
    );
}

#[test]
fn the_clients_fin_again_changes_nothing_but_the_time() {
    let fin = Segment {
        ack: FS,
        ..client_fin()
    };
    for (mut connection, expected) in [
        (Connection::half_closed(ENFORCE), Reason::HalfClosed),
        (Connection::last_ack(ENFORCE, 1), Reason::FirstAck),
        (Connection::closed(ENFORCE), Reason::SpuriousAckDropped),
    ] {
        assert_eq!(connection.client(fin), Reason::ClientFinRepeated);
        assert_eq!(connection.client(last_ack()), expected);
    }
}

#[test]
fn a_fin_that_ends_elsewhere_makes_the_flow_anew() {
    let mut connection = Connection::closed(ENFORCE);
    connection.client(last_ack());
    assert_eq!(
        connection.client(segment(FIN_ACK, FC, FS)),
        Reason::FlowCreated
    );
    let fresh = Flow {
        client: ClientHalf {
            fin_end: FC.plus(1),
            finished: 1,
            at: Moment::of(START),
            ..ClientHalf::default()
        },
        ..Flow::default()
    };
    assert_eq!(
        connection.flow,
        Some(fresh),
        "nothing of the old one is left"
    );
    assert_eq!(connection.client(last_ack()), Reason::HalfClosed);
}

#[test]
fn a_syn_in_either_direction_disarms() {
    for flags in [
        Flags::SYN,
        Flags::SYN.with(Flags::ACK),
        Flags::SYN.with(Flags::RST),
    ] {
        for from_client in [true, false] {
            for policy in [ENFORCE, MONITOR, GUARD] {
                let mut connection = Connection::closed(policy);
                // Of a later connection, even if its first octet is the one after this one's end.
                let reason = if from_client {
                    connection.client(segment(flags, before(FC, 1), FS))
                } else {
                    connection.server(segment(flags, before(FS, 1), FC))
                };
                assert_eq!(reason, Reason::Syn);
                assert_eq!(connection.flow, None);
                assert_eq!(connection.client(last_ack()), Reason::NoFlow);
            }
        }
    }
}

#[test]
fn a_late_copy_of_the_syns_that_opened_the_connection_disarms_nothing() {
    const SYN_ACK: Flags = Flags::SYN.with(Flags::ACK);

    // A connection in which the client sent nothing but its FIN has the fewest octets.
    for octets in [1, 13, 1 << 30] {
        for policy in [ENFORCE, MONITOR, GUARD] {
            let opened = before(FC, octets);
            let mut connection = Connection::closed(policy);
            let syn = segment(Flags::SYN, before(opened, 1), SeqNum(0));
            assert_eq!(connection.client(syn), Reason::NotPure);
            assert!(is_unasked(connection.client(last_ack())));

            // It asks for an ACK, as any old segment does.
            let mut connection = Connection::closed(policy);
            let syn = segment(SYN_ACK, before(FS, octets + 1), opened);
            assert_eq!(connection.server(syn), Reason::ServerElicits);
            assert_eq!(connection.client(last_ack()), Reason::ElicitedAck);
            assert!(is_unasked(connection.client(last_ack())));
        }
    }
}

#[test]
fn a_syn_with_other_flags_disarms_whatever_its_numbers() {
    for more in [Flags::RST, Flags::FIN] {
        let mut connection = Connection::closed(ENFORCE);
        let flags = Flags::SYN.with(more);
        let early = segment(flags, before(FC, 9), SeqNum(0));
        assert_eq!(connection.client(early), Reason::Syn);
        let mut connection = Connection::closed(ENFORCE);
        let early = segment(flags.with(Flags::ACK), before(FS, 9), before(FC, 8));
        assert_eq!(connection.server(early), Reason::Syn);
    }
}

#[test]
fn a_clients_reset_disarms_whatever_its_numbers() {
    for flags in [Flags::RST, Flags::RST.with(Flags::ACK)] {
        let mut connection = Connection::closed(ENFORCE);
        assert_eq!(
            connection.client(segment(flags, SeqNum(1), SeqNum(2))),
            Reason::ClientReset
        );
        assert_eq!(connection.flow, None);
        assert_eq!(connection.client(last_ack()), Reason::NoFlow);
    }
}

/// Half-closed, and the server has acknowledged that.
fn confirmed() -> Connection {
    let mut connection = Connection::half_closed(ENFORCE);
    connection.server(segment(Flags::ACK, before(FS, 500), FC));
    connection
}

#[test]
fn a_flow_that_the_server_has_not_confirmed_expires_sooner() {
    for (after, expired) in [(60_000, false), (60_001, true)] {
        let mut connection = Connection::half_closed(ENFORCE);
        connection.wait(after);
        let expected = if expired {
            Reason::FlowExpired
        } else {
            Reason::ServerFin
        };
        assert_eq!(connection.clone().server(server_fin()), expected);
        // The client's FIN makes it again, or keeps it for as long again.
        connection.client(client_fin());
        connection.wait(60_000);
        assert_eq!(connection.server(server_fin()), Reason::ServerFin);
    }
}

#[test]
fn a_reset_confirms_nothing() {
    let mut connection = Connection::half_closed(ENFORCE);
    assert_eq!(connection.server(reset()), Reason::ResetOther);
    connection.wait(60_001);
    assert_eq!(connection.server(server_fin()), Reason::FlowExpired);
}

#[test]
fn an_idle_half_closed_flow_expires_after_its_lifetime() {
    for (after, expired) in [(3_600_000, false), (3_600_001, true)] {
        let mut half_closed = confirmed();
        half_closed.wait(after);
        let expected = if expired {
            Reason::FlowExpired
        } else {
            Reason::HalfClosed
        };
        assert_eq!(half_closed.clone().client(last_ack()), expected);
        let expected = if expired {
            Reason::FlowExpired
        } else {
            Reason::ServerFin
        };
        assert_eq!(half_closed.server(server_fin()), expected);
        assert_eq!(half_closed.flow.is_none(), expired);

        let mut last = Connection::last_ack(ENFORCE, 1);
        last.wait(after);
        let expected = if expired {
            Reason::FlowExpired
        } else {
            Reason::FirstAck
        };
        assert_eq!(last.client(last_ack()), expected);
    }
}

#[test]
fn an_idle_closed_flow_expires_after_its_lifetime() {
    for (after, expired) in [(240_000, false), (240_001, true)] {
        let mut connection = Connection::closed(GUARD);
        connection.wait(after);
        let expected = if expired {
            Reason::FlowExpired
        } else {
            Reason::WindowOver
        };
        assert_eq!(connection.clone().client(last_ack()), expected);
        let expected = if expired {
            Reason::FlowExpired
        } else {
            Reason::ResetAfterCloseSuppressed
        };
        assert_eq!(connection.server(reset()), expected);
        assert_eq!(connection.flow.is_none(), expired);
    }
}

#[test]
fn an_expired_flow_is_made_anew_by_the_same_fin() {
    let mut connection = Connection::closed(ENFORCE);
    connection.wait(240_001);
    assert_eq!(connection.client(client_fin()), Reason::FlowCreated);
    assert_eq!(connection.state().phase(), Phase::HalfClosed);
}

/// Any of these, once within each lifetime, for much longer than one.
#[test]
fn segments_of_either_side_keep_a_half_closed_flow_alive() {
    let data = Segment {
        payload: 100,
        ..segment(Flags::ACK, before(FS, 500), FC)
    };
    for (segment, from_client) in [
        (data, false),
        (segment(Flags::ACK, FC, before(FS, 400)), true),
        (client_fin(), true),
    ] {
        let mut connection = confirmed();
        for _ in 0..5 {
            connection.wait(3_600_000);
            let reason = if from_client {
                connection.client(segment)
            } else {
                connection.server(segment)
            };
            assert_ne!(reason, Reason::FlowExpired);
        }
        assert_eq!(connection.server(server_fin()), Reason::ServerFin);
    }
}

#[test]
fn segments_of_either_side_keep_a_closed_flow_alive() {
    let mut connection = Connection::closed(ENFORCE);
    for _ in 0..5 {
        connection.wait(240_000);
        assert_eq!(connection.server(server_fin()), Reason::ServerElicits);
        connection.wait(240_000);
        assert_eq!(connection.client(last_ack()), Reason::ElicitedAck);
        connection.wait(240_000);
        assert_eq!(
            connection.server(segment(Flags::ACK, FS, FC)),
            Reason::ServerQuiet
        );
        connection.wait(240_000);
        assert_eq!(connection.client(last_ack()), Reason::WindowOver);
    }
}

/// Each effect names the lifetime that the slot of the expiry array has to cover.
#[test]
fn effects_keep_the_flow_for_as_long_as_it_may_live() {
    #[derive(Default)]
    struct Lifetimes(Vec<Ticks>);
    impl filter_common::Effects for Lifetimes {
        fn create(&mut self, _: Flow) -> bool {
            true
        }
        fn client(&mut self, _: ClientHalf, lifetime: Ticks) {
            self.0.push(lifetime);
        }
        fn server(&mut self, _: filter_common::ServerHalf, lifetime: Ticks) {
            self.0.push(lifetime);
        }
        fn client_at(&mut self, _: Moment, lifetime: Ticks) {
            self.0.push(lifetime);
        }
        fn server_at(&mut self, _: Moment, lifetime: Ticks) {
            self.0.push(lifetime);
        }
        fn forget(&mut self) {}
    }
    let mut trace = vec![
        (Direction::FromClient, client_fin()),
        (Direction::FromClient, client_fin()),
        (
            Direction::FromServer,
            segment(Flags::ACK, before(FS, 1), FC),
        ),
        (Direction::FromServer, server_fin()),
        (Direction::FromClient, last_ack()),
    ];
    trace.extend([(Direction::FromClient, last_ack()); 5]);
    // A FIN that ends elsewhere: the flow is not Closed any more.
    trace.push((Direction::FromServer, segment(FIN_ACK, FS, FC)));
    // With the closed lifetime as the longer one, too.
    let long = filter_common::Policy {
        closed_lifetime: Ticks(7_200_000),
        ..ENFORCE
    };
    for policy in [ENFORCE, long] {
        let mut flow = None;
        for (direction, segment) in &trace {
            let mut effects = Lifetimes::default();
            let machine = filter_common::Machine {
                now: START,
                link: 0,
                policy: &policy,
                effects: &mut effects,
            };
            std::hint::black_box(machine.segment(flow.as_ref(), *direction, segment));
            let decision = decide(flow, *direction, segment, START, &policy);
            decision.change.apply(&mut flow);
            let needed = flow.expect("nothing disarms").lifetime(&policy);
            assert!(
                effects.0.iter().all(|&lifetime| lifetime >= needed),
                "{segment:?}: {:?} < {needed:?}",
                effects.0,
            );
        }
    }
}

#[test]
fn each_direction_writes_its_own_half_only() {
    for connection in [
        Connection::half_closed(ENFORCE),
        Connection::last_ack(ENFORCE, 2),
        Connection::closed(ENFORCE),
    ] {
        for segment in [client_fin(), last_ack(), server_fin(), reset()] {
            let Connection { flow, now, policy } = &connection;
            let change = |direction| decide(*flow, direction, &segment, *now, policy).change;
            assert!(!matches!(
                change(Direction::FromClient),
                Change::Server(_) | Change::ServerAt(_)
            ));
            assert!(!matches!(
                change(Direction::FromServer),
                Change::Client(_) | Change::ClientAt(_) | Change::Create(_)
            ));
        }
    }
}

#[test]
fn a_clock_that_runs_backwards_expires_nothing() {
    let mut connection = Connection::closed(ENFORCE);
    connection.now = Ticks(0);
    assert_eq!(connection.server(server_fin()), Reason::ServerElicits);
    assert_eq!(connection.client(last_ack()), Reason::ElicitedAck);
}

fn is_unasked(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::SpuriousAckDropped | Reason::SpuriousAckObserved
    )
}
