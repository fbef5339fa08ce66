//! The transition table: each phase has a snapshot, with a line for each event. A line says
//! the reason, then what changes in the flow's state.

use std::fmt::Write as _;

use filter_common::{
    Change, Direction, Flags, Flow, Reason, Segment, SeqNum, Verdict, decide, segment::Options,
};

use crate::connection::{
    Connection, ENFORCE, FC, FIN_ACK, FS, GUARD, MONITOR, before, client_fin, last_ack, segment,
    server_fin,
};

const UNRELATED: SeqNum = SeqNum(0x4000_0000);

fn client_events() -> Vec<(&'static str, Segment)> {
    let ack = |flags: Flags| Segment {
        flags: Flags::ACK.with(flags),
        ..last_ack()
    };
    let seq = |seq: SeqNum| Segment { seq, ..last_ack() };
    vec![
        ("SYN", segment(Flags::SYN, UNRELATED, SeqNum(0))),
        (
            "SYN FIN ACK",
            segment(FIN_ACK.with(Flags::SYN), before(FC, 1), FS),
        ),
        ("RST", segment(Flags::RST, FC, SeqNum(0))),
        ("RST ACK", segment(Flags::RST.with(Flags::ACK), FC, FS)),
        ("FIN to Fc", client_fin()),
        ("FIN to Fc, ack Fs", segment(FIN_ACK, before(FC, 1), FS)),
        (
            "FIN to Fc, 10 octets",
            Segment {
                seq: before(FC, 11),
                payload: 10,
                ..client_fin()
            },
        ),
        ("FIN to elsewhere", segment(FIN_ACK, UNRELATED, FS)),
        ("FIN without ACK", segment(Flags::FIN, before(FC, 1), FS)),
        ("ACK of Fs, seq Fc", last_ack()),
        ("ACK of Fs, seq Fc-1", seq(before(FC, 1))),
        ("ACK of Fs, seq Fc-2", seq(before(FC, 2))),
        ("ACK of Fs, seq Fc+1", seq(FC.plus(1))),
        ("ACK of Fs, seq elsewhere", seq(UNRELATED)),
        ("ACK of Fs-1", segment(Flags::ACK, FC, before(FS, 1))),
        ("ACK of Fs+1", segment(Flags::ACK, FC, FS.plus(1))),
        (
            "ACK of Fs, other options",
            Segment {
                options: Options::Other,
                ..last_ack()
            },
        ),
        ("ACK of Fs, PSH", ack(Flags::PSH)),
        ("ACK of Fs, URG", ack(Flags::URG)),
        ("ACK of Fs, ECE", ack(Flags::ECE)),
        ("ACK of Fs, CWR", ack(Flags::CWR)),
        ("ACK of Fs, AE", ack(Flags::AE)),
        ("ACK of Fs, reserved bit", ack(Flags::from_header(0x200))),
        (
            "ACK of Fs, 1 octet",
            Segment {
                payload: 1,
                ..last_ack()
            },
        ),
        ("no flags", segment(Flags::from_header(0), FC, FS)),
        ("PSH without ACK", segment(Flags::PSH, FC, FS)),
    ]
}

fn server_events() -> Vec<(&'static str, Segment)> {
    let from_fs = |flags: Flags| segment(flags, FS, FC);
    vec![
        ("SYN", segment(Flags::SYN, UNRELATED, SeqNum(0))),
        (
            "SYN ACK",
            segment(Flags::SYN.with(Flags::ACK), UNRELATED, FC),
        ),
        (
            "SYN RST",
            segment(Flags::SYN.with(Flags::RST), FS, SeqNum(0)),
        ),
        ("RST, seq Fs", segment(Flags::RST, FS, SeqNum(0))),
        (
            "RST, seq Fs-1",
            segment(Flags::RST, before(FS, 1), SeqNum(0)),
        ),
        ("RST, seq Fs+1", segment(Flags::RST, FS.plus(1), SeqNum(0))),
        ("RST ACK, seq Fs", from_fs(Flags::RST.with(Flags::ACK))),
        ("RST PSH, seq Fs", from_fs(Flags::RST.with(Flags::PSH))),
        (
            "data to Fs-1",
            Segment {
                payload: 10,
                ..segment(Flags::ACK, before(FS, 11), FC)
            },
        ),
        ("FIN to Fs, ack Fc", server_fin()),
        (
            "FIN to Fs, ack Fc, 10 octets",
            Segment {
                seq: before(FS, 11),
                payload: 10,
                ..server_fin()
            },
        ),
        (
            "FIN to Fs, ack Fc-1",
            Segment {
                ack: before(FC, 1),
                ..server_fin()
            },
        ),
        (
            "FIN to Fs, ack Fc+1",
            Segment {
                ack: FC.plus(1),
                ..server_fin()
            },
        ),
        (
            "FIN to Fs without ACK",
            Segment {
                flags: Flags::FIN,
                ..server_fin()
            },
        ),
        ("FIN to elsewhere, ack Fc", segment(FIN_ACK, UNRELATED, FC)),
        ("ACK, seq Fs-1", segment(Flags::ACK, before(FS, 1), FC)),
        ("ACK, seq Fs", from_fs(Flags::ACK)),
        ("ACK, seq Fs+1", segment(Flags::ACK, FS.plus(1), FC)),
        ("no flags, seq Fs", from_fs(Flags::from_header(0))),
    ]
}

fn phases() -> Vec<(&'static str, Connection)> {
    let closed = Connection::closed;
    let then = |mut connection: Connection, steps: fn(&mut Connection)| {
        steps(&mut connection);
        connection
    };
    let drop_three = |connection: &mut Connection| {
        for _ in 0..3 {
            assert_eq!(connection.client(last_ack()), Reason::SpuriousAckDropped);
        }
    };
    vec![
        ("no_flow", Connection::new(ENFORCE)),
        ("half_closed", Connection::half_closed(ENFORCE)),
        (
            "half_closed_crossing",
            then(Connection::half_closed(ENFORCE), |connection| {
                let crossing = Segment {
                    ack: before(FC, 1),
                    ..server_fin()
                };
                assert_eq!(connection.server(crossing), Reason::ServerData);
            }),
        ),
        (
            "half_closed_expired",
            then(Connection::half_closed(ENFORCE), |connection| {
                connection.wait(3_600_000);
            }),
        ),
        ("last_ack", Connection::last_ack(ENFORCE, 1)),
        ("last_ack_fin_twice", Connection::last_ack(ENFORCE, 2)),
        ("closed", closed(ENFORCE)),
        (
            "closed_fin_twice",
            then(Connection::last_ack(ENFORCE, 2), |connection| {
                assert_eq!(connection.client(last_ack()), Reason::FirstAck);
            }),
        ),
        (
            "closed_elicited",
            then(closed(ENFORCE), |connection| {
                assert_eq!(connection.server(server_fin()), Reason::ServerElicits);
            }),
        ),
        (
            "closed_window_over",
            then(closed(ENFORCE), |connection| connection.wait(500)),
        ),
        ("closed_budget_spent", then(closed(ENFORCE), drop_three)),
        (
            "closed_provoked",
            then(closed(ENFORCE), |connection| {
                let urgent = Segment {
                    flags: Flags::ACK.with(Flags::URG),
                    ..last_ack()
                };
                assert_eq!(connection.client(urgent), Reason::NotPure);
            }),
        ),
        (
            "closed_expired",
            then(closed(ENFORCE), |connection| connection.wait(240_000)),
        ),
        ("closed_guard", closed(GUARD)),
        (
            "closed_monitor",
            then(closed(MONITOR), |connection| {
                connection.policy.rst_guard = true;
            }),
        ),
    ]
}

#[test]
fn every_phase_and_event_gives_the_reviewed_reason_and_change() {
    for (phase, mut connection) in phases() {
        // So that a time which becomes now differs from the one that was there.
        connection.wait(1);
        let mut table = String::new();
        for (direction, name, events) in [
            (Direction::FromClient, "client", client_events()),
            (Direction::FromServer, "server", server_events()),
        ] {
            for (event, segment) in events {
                let Connection { flow, now, policy } = connection.clone();
                let decision = decide(flow, direction, &segment, now, &policy);
                let drops = if decision.reason.verdict() == Verdict::Drop {
                    "DROP"
                } else {
                    ""
                };
                let (reason, change) = (decision.reason.as_str(), describe(flow, decision.change));
                let line = format!("{name} {event:<30} {drops:<4} {reason:<28} {change}");
                writeln!(table, "{}", line.trim_end()).expect("a String takes all");
            }
        }
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(phase, table);
        });
    }
}

/// The fields that change, old and new; `at` means that a time becomes now.
fn describe(flow: Option<Flow>, change: Change) -> String {
    let mut after = flow;
    change.apply(&mut after);
    let half = match change {
        Change::Keep => return String::new(),
        Change::Forget => return "forget".to_owned(),
        Change::Create(flow) => return format!("create, Fc {}", flow.client.fin_end.0),
        Change::Client(_) | Change::ClientAt(_) => "client:",
        Change::Server(_) | Change::ServerAt(_) => "server:",
    };
    let (old, new) = flow
        .zip(after)
        .expect("only a flow that is there has halves to store");
    let mut text = half.to_owned();
    for ((name, old), (_, new)) in fields(&old).into_iter().zip(fields(&new)) {
        if old != new {
            write!(text, " {name} {old}>{new}").expect("a String takes all");
        }
    }
    for (old, new) in [
        (old.client.at, new.client.at),
        (old.server.at, new.server.at),
    ] {
        if old != new {
            text.push_str(" at");
        }
    }
    text
}

fn fields(flow: &Flow) -> [(&'static str, u32); 9] {
    let Flow { client, server } = flow;
    [
        ("Fc", client.fin_end.0),
        ("acked", client.acked.0),
        ("answered", client.answered.into()),
        ("drops", client.drops.into()),
        ("owed", client.owed.into()),
        ("provoked", client.provoked.into()),
        ("Fs", server.fin_end.0),
        ("elicited", server.elicited.into()),
        ("crossed", server.crossed.into()),
    ]
}
