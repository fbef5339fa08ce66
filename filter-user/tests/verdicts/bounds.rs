//! What time bounds: the window and the lifetimes. A row's pause is many ticks longer than
//! the time that has to be over; a clock of the host would be no help, since the kernel
//! reads its own.

use std::time::Duration;

use filter_common::{
    Phase, Reason, SeqNum,
    Verdict::{Drop, Pass},
};

use crate::row::{CLIENT_FIN, FC, FIN_ACK, LAST_ACK, RESET, Row, SERVER_FIN, segment};

const SHORT: Duration = Duration::from_millis(20);
const LONG_ENOUGH: Duration = Duration::from_millis(120);
/// Where frames before the pause must not come too late.
const SECOND: Duration = Duration::from_secs(1);
const MORE_THAN_A_SECOND: Duration = Duration::from_millis(1200);
/// Two units of 64 ticks, of at most 10 ms each, later than a second.
const SLOT_IS_OVER: Duration = Duration::from_millis(2500);

#[test]
fn r1_4_an_ack_after_the_window_passes() {
    Row::new("R1.4: later than the window")
        .settings(|settings| settings.window = SHORT)
        .closed()
        .client(LAST_ACK, Pass, Reason::WindowOver)
        .after(LONG_ENOUGH)
        .server(RESET, Pass, Reason::ResetAfterSpuriousAck)
        .leaves(&[Phase::Closed]);
}

#[test]
fn r1_4_an_ack_within_the_window_is_dropped() {
    Row::new("R1.4: within the window")
        .closed()
        .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
        .after(LONG_ENOUGH)
        .leaves(&[Phase::Closed]);
}

#[test]
fn a_closed_flow_expires() {
    Row::new("expired for the client")
        .settings(|settings| settings.closed_timeout = SHORT)
        .closed()
        .client(LAST_ACK, Pass, Reason::FlowExpired)
        .after(LONG_ENOUGH)
        .in_shared_slots()
        .client(LAST_ACK, Pass, Reason::NoFlow)
        .leaves(&[]);
    Row::new("expired for the server")
        .settings(|settings| (settings.closed_timeout, settings.rst_guard) = (SHORT, true))
        .closed()
        .server(RESET, Pass, Reason::FlowExpired)
        .after(LONG_ENOUGH)
        .in_shared_slots()
        .leaves(&[]);
}

#[test]
fn a_flow_that_is_not_closed_any_more_expires_with_the_other_lifetime() {
    let another = segment(FIN_ACK, SeqNum(7), FC);
    Row::new("in LAST-ACK again")
        .settings(|settings| settings.half_closed_timeout = SECOND)
        .closed()
        .server(another, Pass, Reason::ServerElicits)
        .server(SERVER_FIN, Pass, Reason::FlowExpired)
        .after(MORE_THAN_A_SECOND)
        .in_shared_slots()
        .leaves(&[]);
}

#[test]
fn an_expired_half_closed_flow_is_made_anew_by_its_own_fin() {
    Row::new("half-closed, expired")
        .settings(|settings| settings.one_sided_timeout = SECOND)
        .client(CLIENT_FIN, Pass, Reason::FlowCreated)
        .client(CLIENT_FIN, Pass, Reason::FlowCreated)
        .after(MORE_THAN_A_SECOND)
        .client(CLIENT_FIN, Pass, Reason::ClientFinRepeated)
        .leaves(&[Phase::HalfClosed]);
}

/// Where nothing keeps the slot alive, the flow is not even looked up.
#[test]
fn the_slot_of_an_expired_flow_expires_soon_after_it() {
    Row::new("half-closed, expired with its slot")
        .settings(|settings| settings.one_sided_timeout = SECOND)
        .client(CLIENT_FIN, Pass, Reason::FlowCreated)
        .client(LAST_ACK, Pass, Reason::NoFlow)
        .after(SLOT_IS_OVER)
        .leaves(&[Phase::HalfClosed]);
}

/// Or an hour of closes would fill the array, and each ordinary packet would ask the table.
#[test]
fn the_slot_of_a_closed_flow_lives_as_the_flow_and_no_longer() {
    Row::new("closed, expired with its slot")
        .settings(|settings| settings.closed_timeout = SECOND)
        .closed()
        .client(LAST_ACK, Pass, Reason::NoFlow)
        .after(SLOT_IS_OVER)
        .leaves(&[Phase::Closed]);
}

/// The slot was written for a short time by the flow's FIN, and for longer from then on.
#[test]
fn the_slot_lives_as_long_as_the_closed_flow() {
    Row::new("a short half-closed lifetime")
        .settings(|settings| settings.half_closed_timeout = SECOND)
        .settings(|settings| settings.one_sided_timeout = SECOND)
        .closed()
        .client(LAST_ACK, Drop, Reason::SpuriousAckDropped)
        .after(SLOT_IS_OVER)
        .leaves(&[Phase::Closed]);
}

/// Once the other side has answered.
#[test]
fn the_slot_of_a_half_closed_flow_outlives_the_one_sided_lifetime() {
    Row::new("a short one-sided lifetime")
        .settings(|settings| settings.one_sided_timeout = SECOND)
        .client(CLIENT_FIN, Pass, Reason::FlowCreated)
        .server(LAST_ACK, Pass, Reason::ServerData)
        .server(SERVER_FIN, Pass, Reason::ServerFin)
        .after(SLOT_IS_OVER)
        .leaves(&[Phase::LastAck]);
}

/// Each side alone, at intervals within the lifetime, for much longer than that.
#[test]
fn what_either_side_sends_keeps_the_slot_alive() {
    let half_closed = |name: &str| {
        Row::new(name)
            .settings(|settings| settings.half_closed_timeout = SECOND)
            .settings(|settings| settings.one_sided_timeout = SECOND)
            .client(CLIENT_FIN, Pass, Reason::FlowCreated)
    };
    let (mut server, mut client) = (half_closed("by the server"), half_closed("by the client"));
    for _ in 0..5 {
        server = server
            .server(LAST_ACK, Pass, Reason::ServerData)
            .after(SECOND / 2);
        client = client
            .client(LAST_ACK, Pass, Reason::HalfClosed)
            .after(SECOND / 2);
    }
    server.leaves(&[Phase::HalfClosed]);
    client.leaves(&[Phase::HalfClosed]);
}
