//! Each condition of R1 and R2 violated alone, and what disarms.

use filter_common::{
    Flags, Mode, Phase, Reason, Segment, SeqNum,
    Verdict::{Drop, Pass},
};
use filter_user::settings::{Closer, Role};

use crate::{
    kernel::Program,
    row::{CLIENT_FIN, FC, FIN_ACK, FS, LAST_ACK, RESET, Row, SERVER_FIN, SYN, Shape, segment},
};

fn closed(name: &str) -> Row {
    Row::new(name).closed()
}

fn ack(flags: Flags) -> Segment {
    Segment {
        flags: Flags::ACK.with(flags),
        ..LAST_ACK
    }
}

#[test]
fn r1_1_without_the_servers_fin_the_flow_is_not_closed() {
    Row::new("R1.1: no FIN of the server")
        .client(CLIENT_FIN, Pass, Reason::FlowCreated)
        .client(LAST_ACK, Pass, Reason::HalfClosed)
        .client(LAST_ACK, Pass, Reason::HalfClosed)
        .leaves(&[Phase::HalfClosed]);
    Row::new("R1.1: a crossing close")
        .client(CLIENT_FIN, Pass, Reason::FlowCreated)
        .server(
            Segment {
                ack: SeqNum(FC.0 - 1),
                ..SERVER_FIN
            },
            Pass,
            Reason::ServerData,
        )
        .client(LAST_ACK, Pass, Reason::HalfClosed)
        .client(LAST_ACK, Pass, Reason::HalfClosed)
        .leaves(&[Phase::HalfClosed]);
    Row::new("R1.1: a forged FIN that the client does not confirm")
        .client(CLIENT_FIN, Pass, Reason::FlowCreated)
        .server(
            segment(FIN_ACK, SeqNum(0xc000_0000), FC),
            Pass,
            Reason::ServerFin,
        )
        .client(LAST_ACK, Pass, Reason::OtherSequence)
        .client(LAST_ACK, Pass, Reason::OtherSequence)
        .leaves(&[Phase::LastAck]);
    Row::new("R1.1: no flow at all")
        .client(LAST_ACK, Pass, Reason::NoFlow)
        .server(SERVER_FIN, Pass, Reason::NoFlow)
        .leaves(&[]);
}

#[test]
fn r1_1_any_other_flag_or_payload_is_not_pure() {
    for (name, segment) in [
        ("R1.1: PSH", ack(Flags::PSH)),
        ("R1.1: URG", ack(Flags::URG)),
        ("R1.1: ECE", ack(Flags::ECE)),
        ("R1.1: CWR", ack(Flags::CWR)),
        ("R1.1: AE", ack(Flags::AE)),
        ("R1.1: a reserved bit", ack(Flags::from_header(0x800))),
        (
            "R1.1: payload",
            Segment {
                payload: 1,
                ..LAST_ACK
            },
        ),
        (
            "R1.1: no ACK",
            Segment {
                flags: Flags::from_header(0),
                ..LAST_ACK
            },
        ),
    ] {
        closed(name)
            .client(segment, Pass, Reason::NotPure)
            .leaves(&[Phase::Closed]);
    }
}

#[test]
fn r1_1_options_that_may_matter_pass() {
    let lists: [(&str, &[u8]); 8] = [
        ("R1.1: SACK", &[1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
        ("R1.1: MPTCP", &[30, 12, 0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        (
            "R1.1: MD5",
            &[1, 1, 19, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
        ("R1.1: TCP-AO", &[29, 12, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("R1.1: an experiment", &[254, 4, 0xf9, 0x89]),
        ("R1.1: timestamps cut off", &[1, 1, 8, 10]),
        (
            "R1.1: SACK permitted in the second word",
            &[1, 1, 1, 1, 4, 2, 1, 1, 1, 1, 1, 1],
        ),
        (
            "R1.1: SACK permitted in the third word",
            &[1, 1, 1, 1, 1, 1, 1, 1, 4, 2, 1, 1],
        ),
    ];
    for (name, options) in lists {
        for (role, program) in [
            (Role::Wan, Program::Egress),
            (Role::Lan, Program::Xdp),
            (Role::Lan, Program::XdpMultiBuffer),
        ] {
            let arriving = if role == Role::Wan {
                Program::Ingress
            } else {
                program
            };
            Row::new(format!("{name}, {}", program.name()))
                .settings(|settings| settings.role = role)
                .arriving(arriving)
                .shape(Shape {
                    tcp_options: options.to_vec(),
                    ..Shape::default()
                })
                .closed()
                .client(LAST_ACK, Pass, Reason::OtherOptions)
                .leaves(&[Phase::Closed]);
        }
    }
}

#[test]
fn r1_2_the_numbers_are_those_of_the_close() {
    let of = |seq: u32, ack: u32| segment(Flags::ACK, SeqNum(seq), SeqNum(ack));
    closed("R1.2: a keepalive's SEG.SEQ is dropped, too")
        .client(of(FC.0 - 1, FS.0), Drop, Reason::SpuriousAckDropped)
        .leaves(&[Phase::Closed]);
    for (name, segment, reason) in [
        (
            "R1.2: SEG.SEQ of Fc-2",
            of(u32::MAX, FS.0),
            Reason::OtherSequence,
        ),
        (
            "R1.2: SEG.SEQ of Fc+1",
            of(FC.0 + 1, FS.0),
            Reason::OtherSequence,
        ),
        (
            "R1.2: SEG.ACK of Fs-1",
            of(FC.0, FS.0 - 1),
            Reason::StaleAck,
        ),
        ("R1.2: SEG.ACK of Fs+1", of(FC.0, 0), Reason::OtherSequence),
    ] {
        closed(name)
            .client(segment, Pass, reason)
            .leaves(&[Phase::Closed]);
    }
}

#[test]
fn r1_3_what_the_server_asked_for_passes_once() {
    for (name, asks) in [
        ("R1.3: FIN again", SERVER_FIN),
        (
            "R1.3: data again",
            Segment {
                payload: 1,
                flags: Flags::ACK,
                ..SERVER_FIN
            },
        ),
        (
            "R1.3: a keepalive",
            segment(Flags::ACK, SeqNum(FS.0 - 1), FC),
        ),
    ] {
        closed(name)
            .server(asks, Pass, Reason::ServerElicits)
            .client(LAST_ACK, Pass, Reason::ElicitedAck)
            .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
            .leaves(&[Phase::Closed]);
    }
    closed("R1.3: a bare ACK asks for nothing")
        .server(segment(Flags::ACK, FS, FC), Pass, Reason::ServerQuiet)
        .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
        .leaves(&[Phase::Closed]);
}

#[test]
fn r1_3_a_second_copy_of_the_fin_makes_an_ack_redundant() {
    for (mode, verdict, redundant, spurious) in [
        (
            Mode::Enforce,
            Drop,
            Reason::RedundantAckDropped,
            Reason::SpuriousAckDropped,
        ),
        (
            Mode::Monitor,
            Pass,
            Reason::RedundantAckObserved,
            Reason::SpuriousAckObserved,
        ),
    ] {
        Row::new("R1.3: FIN twice before the first ACK")
            .settings(|settings| settings.mode = mode)
            .client(CLIENT_FIN, Pass, Reason::FlowCreated)
            .server(SERVER_FIN, Pass, Reason::ServerFin)
            .server(SERVER_FIN, Pass, Reason::ServerElicits)
            .client(LAST_ACK, Pass, Reason::FirstAck)
            .client(LAST_ACK, verdict, redundant)
            .client(LAST_ACK, verdict, spurious)
            .leaves(&[Phase::Closed]);
    }
}

#[test]
fn r1_5_no_more_than_budget_is_dropped() {
    for budget in [1, 2, 5] {
        let mut row = closed("R1.5").settings(|settings| settings.budget = budget);
        for _ in 0..budget {
            row = row.client(LAST_ACK, Drop, Reason::SpuriousAckDropped);
        }
        row.client(LAST_ACK, Pass, Reason::BudgetSpent)
            .client(LAST_ACK, Pass, Reason::BudgetSpent)
            .server(RESET, Pass, Reason::ResetAfterSpuriousAck)
            .leaves(&[Phase::Closed]);
    }
}

/// In every program that sees segments of servers.
#[test]
fn either_a_close_that_the_server_begins_is_served() {
    let crossing_fin = Segment {
        ack: SeqNum(FC.0 - 1),
        ..SERVER_FIN
    };
    let answering_fin = Segment {
        ack: FS,
        ..CLIENT_FIN
    };
    for arriving in Program::ARRIVING {
        for role in [Role::Wan, Role::Lan] {
            let row = |what: &str| {
                Row::new(format!("either: {what}, {role}"))
                    .settings(move |settings| {
                        settings.closer = Closer::Either;
                        settings.rst_guard = true;
                        settings.role = role;
                    })
                    .arriving(arriving)
            };
            row("the server first")
                .server(crossing_fin, Pass, Reason::FlowCreated)
                .client(ack(Flags::ACK), Pass, Reason::HalfClosed)
                .client(answering_fin, Pass, Reason::FirstAck)
                .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
                .server(RESET, Pass, Reason::ResetOther)
                .leaves(&[Phase::Closed]);
            row("both at once, the server's seen first")
                .server(crossing_fin, Pass, Reason::FlowCreated)
                .client(CLIENT_FIN, Pass, Reason::ClientFin)
                .client(LAST_ACK, Pass, Reason::FirstAck)
                .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
                .leaves(&[Phase::Closed]);
            row("both at once, the client's seen first")
                .client(CLIENT_FIN, Pass, Reason::FlowCreated)
                .server(crossing_fin, Pass, Reason::ServerFin)
                .client(LAST_ACK, Pass, Reason::FirstAck)
                .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
                .leaves(&[Phase::Closed]);
        }
    }
}

#[test]
fn r2_another_reset_passes() {
    let guarded = |name: &str| Row::new(name).settings(|settings| settings.rst_guard = true);
    for (name, segment) in [
        (
            "R2: with ACK",
            Segment {
                flags: Flags::RST.with(Flags::ACK),
                ..RESET
            },
        ),
        (
            "R2: with PSH",
            Segment {
                flags: Flags::RST.with(Flags::PSH),
                ..RESET
            },
        ),
        (
            "R2: SEG.SEQ of Fs-1",
            Segment {
                seq: SeqNum(FS.0 - 1),
                ..RESET
            },
        ),
        (
            "R2: SEG.SEQ of Fs+1",
            Segment {
                seq: SeqNum(0),
                ..RESET
            },
        ),
    ] {
        guarded(name)
            .closed()
            .server(segment, Pass, Reason::ResetOther)
            .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
            .leaves(&[Phase::Closed]);
    }
    guarded("R2: not closed")
        .client(CLIENT_FIN, Pass, Reason::FlowCreated)
        .server(SERVER_FIN, Pass, Reason::ServerFin)
        .server(RESET, Pass, Reason::ResetOther)
        .leaves(&[Phase::LastAck]);
    guarded("R2: a SYN was seen since")
        .closed()
        .client(SYN, Pass, Reason::Syn)
        .server(RESET, Pass, Reason::NoFlow)
        .leaves(&[]);
}

#[test]
fn a_syn_or_a_reset_of_the_client_disarms() {
    for (name, segment, reason) in [
        ("SYN", SYN, Reason::Syn),
        (
            "SYN ACK",
            Segment {
                flags: Flags::SYN.with(Flags::ACK),
                ack: FC,
                ..SYN
            },
            Reason::Syn,
        ),
    ] {
        closed(&format!("{name} of the client"))
            .client(segment, Pass, reason)
            .client(LAST_ACK, Pass, Reason::NoFlow)
            .leaves(&[]);
        closed(&format!("{name} of the server"))
            .server(segment, Pass, reason)
            .client(LAST_ACK, Pass, Reason::NoFlow)
            .leaves(&[]);
    }
    for flags in [Flags::RST, Flags::RST.with(Flags::ACK)] {
        closed("RST of the client")
            .client(Segment { flags, ..LAST_ACK }, Pass, Reason::ClientReset)
            .client(LAST_ACK, Pass, Reason::NoFlow)
            .leaves(&[]);
    }
}

#[test]
fn a_late_copy_of_what_opened_the_connection_disarms_nothing() {
    let first_octet = SeqNum(FC.0.wrapping_sub(13));
    let syn = segment(Flags::SYN, SeqNum(first_octet.0 - 1), SeqNum(0));
    closed("the client's SYN, late")
        .client(syn, Pass, Reason::NotPure)
        .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
        .leaves(&[Phase::Closed]);
    let syn_ack = segment(
        Flags::SYN.with(Flags::ACK),
        SeqNum(FS.0 - 1_000),
        first_octet,
    );
    closed("the server's SYN ACK, late")
        .server(syn_ack, Pass, Reason::ServerElicits)
        .client(LAST_ACK, Pass, Reason::ElicitedAck)
        .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
        .leaves(&[Phase::Closed]);
}

#[test]
fn a_reset_of_the_server_disarms_nothing() {
    closed("RST of the server")
        .server(RESET, Pass, Reason::ResetAfterClose)
        .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
        .leaves(&[Phase::Closed]);
}

#[test]
fn a_repeated_fin_keeps_the_flow_and_another_makes_it_anew() {
    closed("the client's FIN again")
        .client(CLIENT_FIN, Pass, Reason::ClientFinRepeated)
        .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
        .leaves(&[Phase::Closed]);
    closed("the client's FIN elsewhere")
        .client(segment(FIN_ACK, FC, FS), Pass, Reason::FlowCreated)
        .client(LAST_ACK, Pass, Reason::HalfClosed)
        .leaves(&[Phase::HalfClosed]);
}

#[test]
fn a_fin_without_ack_or_with_syn_or_reset_makes_no_flow() {
    for flags in [
        Flags::FIN,
        FIN_ACK.with(Flags::SYN),
        FIN_ACK.with(Flags::RST),
    ] {
        Row::new(format!("{flags:?}"))
            .client(
                Segment {
                    flags,
                    ..CLIENT_FIN
                },
                Pass,
                Reason::NoFlow,
            )
            .leaves(&[]);
    }
}

#[test]
fn options_matter_only_where_all_else_is_pure() {
    let sack = vec![1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    Row::new("SACK on every segment")
        .shape(Shape {
            tcp_options: sack,
            ..Shape::default()
        })
        .closed()
        .client(ack(Flags::PSH), Pass, Reason::NotPure)
        .server(SERVER_FIN, Pass, Reason::ServerElicits)
        .client(LAST_ACK, Pass, Reason::ElicitedAck)
        .leaves(&[Phase::Closed]);
}
