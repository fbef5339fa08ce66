//! The state machine of a closing flow.
//!
//! State, a segment, the time and the policy go in; a [`Decision`] comes out. The caller
//! finds the state, carries the decision out, and counts it. Only closing flows have state:
//! the client's FIN makes it.
//!
//! Two halves, each written by one direction only, so that the hooks of both directions
//! never overwrite one another and need no lock.

use crate::{
    policy::{Mode, Policy, Ticks},
    segment::{Direction, Flags, Options, Segment},
    seq::SeqNum,
    verdict::Reason,
};

/// What the client's segments have told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ClientHalf {
    /// Fc: the sequence number that follows the client's FIN.
    pub fin_end: SeqNum,
    /// The Fs that was acknowledged when `answered` was last set.
    pub acked: SeqNum,
    /// [`ServerHalf::elicited`] when the last ACK of Fs was forwarded; 0: none was.
    pub answered: u32,
    /// Segments dropped so far (in monitor mode: that would have been).
    pub drops: u8,
    /// How many more ACKs the last answer made redundant.
    pub owed: u8,
    /// 1 if a segment that nothing asked for was forwarded since the last answer.
    pub provoked: u8,
    /// Always 0.
    pub reserved: u8,
    /// When the last segment was forwarded; once there was an answer, when the last
    /// segment that acknowledged exactly Fs was.
    pub at: Ticks,
}

/// What the server's segments have told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ServerHalf {
    /// Fs: the sequence number that follows the server's FIN; meaningless while `elicited`
    /// is 0.
    pub fin_end: SeqNum,
    /// How many segments, from the FIN that acknowledged exactly Fc on, make a correct
    /// endpoint answer; 0: that FIN was not seen.
    pub elicited: u32,
    /// When the last segment was seen; 0: none was.
    pub at: Ticks,
}

/// The state of one closing flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Flow {
    /// Written in the direction from the client.
    pub client: ClientHalf,
    /// Written in the direction from the server.
    pub server: ServerHalf,
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (see the test of its size).
unsafe impl aya::Pod for Flow {}

/// How far a flow is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The client sent its FIN; the server may send for long.
    HalfClosed,
    /// The server's FIN acknowledged the client's: it is in LAST-ACK.
    LastAck,
    /// The client's ACK of exactly Fs was forwarded.
    Closed,
}

/// What to do with the state of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Keep,
    /// Store a new flow, over one that may be there.
    Create(ClientHalf),
    /// Store the client's half.
    Client(ClientHalf),
    /// Store the server's half.
    Server(ServerHalf),
    /// Remove the flow.
    Forget,
}

/// What was decided of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Why, and with it the verdict.
    pub reason: Reason,
    /// What becomes of the flow's state.
    pub change: Change,
}

impl Decision {
    #[inline(always)]
    const fn new(reason: Reason, change: Change) -> Self {
        Self { reason, change }
    }
}

impl Flow {
    /// How far it is closed.
    #[inline(always)]
    #[must_use]
    pub fn phase(&self) -> Phase {
        if self.server.elicited == 0 {
            Phase::HalfClosed
        } else if self.client.answered != 0 && self.client.acked == self.server.fin_end {
            Phase::Closed
        } else {
            Phase::LastAck
        }
    }

    /// How long it lives after the last segment that touched it.
    #[inline(always)]
    #[must_use]
    pub fn lifetime(&self, policy: &Policy) -> Ticks {
        match self.phase() {
            Phase::HalfClosed | Phase::LastAck => policy.half_closed_lifetime,
            Phase::Closed => policy.closed_lifetime,
        }
    }

    /// Whether it was idle for longer than it lives.
    #[inline(always)]
    #[must_use]
    pub fn is_expired(&self, now: Ticks, policy: &Policy) -> bool {
        let last = if self.client.at > self.server.at { self.client.at } else { self.server.at };
        now.since(last) > self.lifetime(policy)
    }
}

/// Decides one segment of a flow.
///
/// `flow` is the flow's state, if it has any.
#[inline(always)]
#[must_use]
pub fn decide(
    flow: Option<&Flow>,
    direction: Direction,
    segment: &Segment,
    now: Ticks,
    policy: &Policy,
) -> Decision {
    match direction {
        Direction::FromClient => from_client(flow, segment, now, policy),
        Direction::FromServer => from_server(flow, segment, now, policy),
    }
}

#[inline(always)]
fn from_client(flow: Option<&Flow>, segment: &Segment, now: Ticks, policy: &Policy) -> Decision {
    if segment.flags.opens() {
        return client_fin(flow, segment, now, policy);
    }
    let Some(flow) = flow else {
        return Decision::new(Reason::NoFlow, Change::Keep);
    };
    // Disarm: port reuse, or a client that gave up.
    if segment.flags.any(Flags::SYN) {
        return Decision::new(Reason::Syn, Change::Forget);
    }
    if segment.flags.any(Flags::RST) {
        return Decision::new(Reason::ClientReset, Change::Forget);
    }
    if flow.is_expired(now, policy) {
        return Decision::new(Reason::FlowExpired, Change::Forget);
    }
    if !segment.flags.any(Flags::ACK) {
        return Decision::new(Reason::NotPure, Change::Keep);
    }
    client_ack(flow, segment, now, policy)
}

/// The client's FIN makes the flow. With another Fc it makes it anew: a port that was
/// reused without a SYN that we saw.
#[inline(always)]
fn client_fin(flow: Option<&Flow>, segment: &Segment, now: Ticks, policy: &Policy) -> Decision {
    let fin_end = segment.next();
    if let Some(flow) = flow
        && flow.client.fin_end == fin_end
        && !flow.is_expired(now, policy)
    {
        // A server in LAST-ACK has this octet already and takes nothing from the segment,
        // so it answers nothing (RFC 9293, section 3.10.7.4, first check).
        return Decision::new(Reason::ClientFinRepeated, alive(&flow.client, now));
    }
    let client = ClientHalf { fin_end, at: now, ..ClientHalf::default() };
    Decision::new(Reason::FlowCreated, Change::Create(client))
}

/// Keeps a flow alive that has no answer yet; later only answers do.
#[inline(always)]
fn alive(client: &ClientHalf, now: Ticks) -> Change {
    if client.answered == 0 {
        Change::Client(ClientHalf { at: now, ..*client })
    } else {
        Change::Keep
    }
}

/// R1, condition by condition.
#[inline(always)]
fn client_ack(flow: &Flow, segment: &Segment, now: Ticks, policy: &Policy) -> Decision {
    let Flow { client, server } = flow;
    if server.elicited == 0 {
        return Decision::new(Reason::HalfClosed, alive(client, now));
    }
    if segment.ack != server.fin_end {
        // A stale ACK answers nothing. The RST that it draws has its SEG.ACK for SEG.SEQ,
        // outside of the client's window.
        let reason = if segment.ack.precedes(server.fin_end) {
            Reason::StaleAck
        } else {
            Reason::OtherSequence
        };
        return Decision::new(reason, alive(client, now));
    }
    // R1.3: one forwarded ACK answers all that the server had said until then.
    let closed = flow.phase() == Phase::Closed;
    if !closed || client.answered != server.elicited {
        if segment.seq != client.fin_end {
            // The server takes no acknowledgment from a segment outside of its window, and
            // a SEG.SEQ of Fc-1 is (RFC 9293, section 3.10.7.4, first check).
            return Decision::new(Reason::OtherSequence, alive(client, now));
        }
        let asked = server.elicited.wrapping_sub(client.answered);
        let answer = ClientHalf {
            acked: server.fin_end,
            answered: server.elicited,
            owed: saturate(asked.saturating_sub(1)),
            provoked: 0,
            at: now,
            ..*client
        };
        let reason = if closed { Reason::ElicitedAck } else { Reason::FirstAck };
        return Decision::new(reason, Change::Client(answer));
    }
    let forwarded = ClientHalf { provoked: 1, at: now, ..*client };
    // R1.1: a pure ACK.
    if !segment.is_bare_ack() {
        return Decision::new(Reason::NotPure, Change::Client(forwarded));
    }
    if segment.options != Options::Plain {
        return Decision::new(Reason::OtherOptions, Change::Client(forwarded));
    }
    // R1.2: SEG.SEQ is Fc or, as in a keepalive, Fc-1.
    if segment.seq != client.fin_end && segment.seq.plus(1) != client.fin_end {
        let forwarded = ClientHalf { at: client.at, ..forwarded };
        return Decision::new(Reason::OtherSequence, Change::Client(forwarded));
    }
    // R1.4
    if now.since(client.at) > policy.window {
        return Decision::new(Reason::WindowOver, Change::Client(forwarded));
    }
    // R1.5
    if client.drops >= policy.budget {
        return Decision::new(Reason::BudgetSpent, Change::Client(forwarded));
    }
    let drops = client.drops.saturating_add(1);
    let owed = client.owed.saturating_sub(1);
    let redundant = client.owed != 0;
    match policy.mode {
        Mode::Enforce => Decision::new(
            if redundant { Reason::RedundantAckDropped } else { Reason::SpuriousAckDropped },
            Change::Client(ClientHalf { drops, owed, ..*client }),
        ),
        Mode::Monitor => Decision::new(
            if redundant { Reason::RedundantAckObserved } else { Reason::SpuriousAckObserved },
            Change::Client(ClientHalf { drops, owed, provoked: 1, ..*client }),
        ),
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "compared first")]
const fn saturate(count: u32) -> u8 {
    if count > 0xff { 0xff } else { count as u8 }
}

#[inline(always)]
fn from_server(flow: Option<&Flow>, segment: &Segment, now: Ticks, policy: &Policy) -> Decision {
    let Some(flow) = flow else {
        return Decision::new(Reason::NoFlow, Change::Keep);
    };
    if segment.flags.any(Flags::SYN) {
        return Decision::new(Reason::Syn, Change::Forget);
    }
    if flow.is_expired(now, policy) {
        return Decision::new(Reason::FlowExpired, Change::Forget);
    }
    if segment.flags.any(Flags::RST) {
        return server_reset(flow, segment, policy);
    }
    let Flow { client, server } = flow;
    let fin = segment.flags.any(Flags::FIN);
    let closes = fin && segment.flags.any(Flags::ACK) && segment.ack == client.fin_end;
    if server.elicited == 0 && !closes {
        // A FIN that acknowledges less is a crossing close: that server ends in TIME-WAIT
        // and stays silent.
        return Decision::new(Reason::ServerData, Change::Server(ServerHalf { at: now, ..*server }));
    }
    let fin_end = if closes { segment.next() } else { server.fin_end };
    if closes || fin || segment.payload != 0 || segment.seq != fin_end {
        let reason = if server.elicited == 0 { Reason::ServerFin } else { Reason::ServerElicits };
        // 0 means that there was no FIN.
        let elicited = match server.elicited.wrapping_add(1) {
            0 => 1,
            count => count,
        };
        return Decision::new(reason, Change::Server(ServerHalf { fin_end, elicited, at: now }));
    }
    Decision::new(Reason::ServerQuiet, Change::Server(ServerHalf { at: now, ..*server }))
}

/// R2, and what a RST tells otherwise. It never disarms: one that a stale ACK drew, or a
/// forged one, would make the filter forget just before the spurious ACK.
#[inline(always)]
fn server_reset(flow: &Flow, segment: &Segment, policy: &Policy) -> Decision {
    let drawn = flow.phase() == Phase::Closed
        && segment.flags == Flags::RST
        && segment.seq == flow.server.fin_end;
    let suppress = policy.rst_guard && policy.mode == Mode::Enforce;
    let reason = match (drawn, flow.client.provoked != 0, suppress) {
        (false, _, _) => Reason::ResetOther,
        (true, true, false) => Reason::ResetAfterSpuriousAck,
        (true, false, false) => Reason::ResetAfterClose,
        (true, true, true) => Reason::ResetAfterSpuriousAckSuppressed,
        (true, false, true) => Reason::ResetAfterCloseSuppressed,
    };
    Decision::new(reason, Change::Keep)
}
