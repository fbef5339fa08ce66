//! The fault's own trace, in each role, by each program, with each mode and link layer.

use etherparse::EtherType;
use filter_common::{
    Flags, Mode, Phase, Reason, Segment, SeqNum,
    Verdict::{Drop, Pass},
};
use filter_user::settings::Role;

use crate::{
    frames::{Ip, TIMESTAMPS, V4, V6},
    kernel::{Program, is_short},
    row::{CLIENT_FIN, FC, FS, LAST_ACK, RESET, Row, SERVER_FIN, Shape, segment},
};

const TAGS: [&[EtherType]; 3] = [
    &[],
    &[EtherType::VLAN_TAGGED_FRAME],
    &[EtherType::PROVIDER_BRIDGING, EtherType::VLAN_TAGGED_FRAME],
];

/// Half-close, response, close.
fn close(row: Row) -> Row {
    let data = Segment {
        payload: 9,
        ..segment(Flags::ACK, SeqNum(FS.0 - 10), FC)
    };
    row.server(data, Pass, Reason::NoFlow)
        .client(CLIENT_FIN, Pass, Reason::FlowCreated)
        .server(data, Pass, Reason::ServerData)
        .client(
            segment(Flags::ACK, FC, SeqNum(FS.0 - 1)),
            Pass,
            Reason::HalfClosed,
        )
        .server(SERVER_FIN, Pass, Reason::ServerFin)
        .client(LAST_ACK, Pass, Reason::FirstAck)
}

/// Every fifth of them still has each role, program, version of IP and number of tags.
fn rows() -> impl Iterator<Item = (String, Role, Program, Ip, &'static [EtherType])> {
    const A_FEW: usize = 5;
    let step = if is_short() { A_FEW } else { 1 };
    if step > 1 {
        println!("shortened: one of {step} rows");
    }
    let rows = [Role::Wan, Role::Lan].into_iter().flat_map(|role| {
        Program::ARRIVING.into_iter().flat_map(move |arriving| {
            [V4, V6].into_iter().flat_map(move |ip| {
                TAGS.into_iter().map(move |tags| {
                    let version = if matches!(ip, Ip::V4 { .. }) { 4 } else { 6 };
                    let tagged = tags.len();
                    let name = format!("{role}, {}, IPv{version}, {tagged} tags", arriving.name());
                    (name, role, arriving, ip.clone(), tags)
                })
            })
        })
    });
    rows.step_by(step)
}

fn row(
    what: &str,
    (name, role, arriving, ip, tags): (String, Role, Program, Ip, &[EtherType]),
) -> Row {
    Row::new(format!("{what}: {name}"))
        .settings(|settings| settings.role = role)
        .arriving(arriving)
        .shape(Shape {
            tags: tags.to_vec(),
            ip,
            ..Shape::default()
        })
}

#[test]
fn enforce_drops_the_spurious_ack_and_passes_the_rest() {
    for case in rows() {
        close(row("enforce", case))
            .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
            .server(SERVER_FIN, Pass, Reason::ServerElicits)
            .client(LAST_ACK, Pass, Reason::ElicitedAck)
            .server(RESET, Pass, Reason::ResetAfterClose)
            .leaves(&[Phase::Closed]);
    }
}

#[test]
fn monitor_passes_everything_and_sees_the_reset_that_the_ack_drew() {
    for case in rows() {
        close(row("monitor", case))
            .settings(|settings| (settings.mode, settings.rst_guard) = (Mode::Monitor, true))
            .client(LAST_ACK, Pass, Reason::SpuriousAckObserved)
            .server(RESET, Pass, Reason::ResetAfterSpuriousAck)
            .leaves(&[Phase::Closed]);
    }
}

#[test]
fn the_guard_drops_the_reset() {
    for case in rows() {
        let urgent = Segment {
            flags: Flags::ACK.with(Flags::URG),
            ..LAST_ACK
        };
        close(row("guard", case))
            .settings(|settings| settings.rst_guard = true)
            .server(RESET, Drop, Reason::ResetAfterCloseSuppressed)
            .client(urgent, Pass, Reason::NotPure)
            .server(RESET, Drop, Reason::ResetAfterSpuriousAckSuppressed)
            .leaves(&[Phase::Closed]);
    }
}

#[test]
fn timestamps_leave_an_ack_pure_for_each_program() {
    for (name, role, arriving, ip, _) in rows().filter(|(.., tags)| tags.is_empty()) {
        let tcp_options = TIMESTAMPS.to_vec();
        Row::new(format!("timestamps: {name}"))
            .settings(|settings| settings.role = role)
            .arriving(arriving)
            .shape(Shape {
                ip,
                tcp_options,
                ..Shape::default()
            })
            .closed()
            .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
            .leaves(&[Phase::Closed]);
    }
}

/// What the server sends by the client's hook, and the other way round, is another flow's.
#[test]
fn the_other_role_sees_nothing_to_drop() {
    for role in [Role::Wan, Role::Lan] {
        let mirrored = |segment: Segment| Segment {
            seq: segment.ack,
            ack: segment.seq,
            ..segment
        };
        Row::new(format!("{role}, a close that the server began"))
            .settings(|settings| settings.role = role)
            .server(mirrored(SERVER_FIN), Pass, Reason::NoFlow)
            .client(mirrored(CLIENT_FIN), Pass, Reason::FlowCreated)
            .server(mirrored(LAST_ACK), Pass, Reason::ServerData)
            .server(mirrored(LAST_ACK), Pass, Reason::ServerData)
            .leaves(&[Phase::HalfClosed]);
    }
}
