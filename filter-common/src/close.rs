//! The state machine of a closing flow.
//!
//! State, a segment, the time and the policy go in; a [`Reason`] comes out, and what becomes
//! of the state. The caller finds the state, stores it, and counts. Only closing flows have
//! state: the client's FIN makes it.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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

/// What becomes of a flow's state: at most one call for a segment.
///
/// Called where it is decided and not given back, since a value that holds one of several
/// things costs a packet program branches and its verifier's goodwill. [`decide`] gives it
/// back, for everybody else.
pub trait Effects {
    /// Stores a new flow, over one that may be there; false where that failed.
    fn create(&mut self, client: ClientHalf) -> bool;
    /// Stores the client's half. The flow is to live for `lifetime` more.
    fn client(&mut self, client: ClientHalf, lifetime: Ticks);
    /// Stores the server's half, likewise.
    fn server(&mut self, server: ServerHalf, lifetime: Ticks);
    /// Removes the flow.
    fn forget(&mut self);
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

impl Change {
    /// Applies it to the state of a flow.
    pub fn apply(self, flow: &mut Option<Flow>) {
        match (self, flow.as_mut()) {
            (Self::Create(client), _) => {
                *flow = Some(Flow {
                    client,
                    ..Flow::default()
                });
            }
            (Self::Client(client), Some(flow)) => flow.client = client,
            (Self::Server(server), Some(flow)) => flow.server = server,
            (Self::Forget, _) => *flow = None,
            (Self::Keep, _) | (Self::Client(_) | Self::Server(_), None) => {}
        }
    }
}

impl Effects for Change {
    fn create(&mut self, client: ClientHalf) -> bool {
        *self = Self::Create(client);
        true
    }

    fn client(&mut self, client: ClientHalf, _lifetime: Ticks) {
        *self = Self::Client(client);
    }

    fn server(&mut self, server: ServerHalf, _lifetime: Ticks) {
        *self = Self::Server(server);
    }

    fn forget(&mut self) {
        *self = Self::Forget;
    }
}

/// What was decided of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Why, and with it the verdict.
    pub reason: Reason,
    /// What becomes of the flow's state.
    pub change: Change,
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
        let last = if self.client.at > self.server.at {
            self.client.at
        } else {
            self.server.at
        };
        now.since(last) > self.lifetime(policy)
    }
}

/// Decides one segment of a flow, without carrying anything out.
#[must_use]
pub fn decide(
    flow: Option<Flow>,
    direction: Direction,
    segment: &Segment,
    now: Ticks,
    policy: &Policy,
) -> Decision {
    let mut change = Change::Keep;
    let reason = Machine {
        now,
        policy,
        effects: &mut change,
    }
    .segment(flow, direction, segment);
    Decision { reason, change }
}

/// The state machine, for one segment.
#[derive(Debug)]
pub struct Machine<'a, E> {
    /// The time, on the clock of the flow's state.
    pub now: Ticks,
    /// The settings.
    pub policy: &'a Policy,
    /// Where the flow's state is.
    pub effects: &'a mut E,
}

impl<E: Effects> Machine<'_, E> {
    /// Decides a segment; `flow` is the state of its flow, if it has any.
    #[inline(always)]
    #[must_use]
    pub fn segment(self, flow: Option<Flow>, direction: Direction, segment: &Segment) -> Reason {
        match direction {
            Direction::FromClient => self.client_segment(flow, segment),
            Direction::FromServer => self.server_segment(flow, segment),
        }
    }

    #[inline(always)]
    fn client_segment(self, flow: Option<Flow>, segment: &Segment) -> Reason {
        if segment.flags.opens() {
            return self.client_fin(flow, segment);
        }
        let Some(flow) = flow else {
            return Reason::NoFlow;
        };
        // Disarm: port reuse, or a client that gave up.
        if segment.flags.any(Flags::SYN) {
            return self.forget(Reason::Syn);
        }
        if segment.flags.any(Flags::RST) {
            return self.forget(Reason::ClientReset);
        }
        if flow.is_expired(self.now, self.policy) {
            return self.forget(Reason::FlowExpired);
        }
        if !segment.flags.any(Flags::ACK) {
            return Reason::NotPure;
        }
        self.client_ack(&flow, segment)
    }

    /// The client's FIN makes the flow. With another Fc it makes it anew: a port that was
    /// reused without a SYN that we saw.
    #[inline(always)]
    fn client_fin(self, flow: Option<Flow>, segment: &Segment) -> Reason {
        let fin_end = segment.next();
        if let Some(flow) = flow
            && flow.client.fin_end == fin_end
            && !flow.is_expired(self.now, self.policy)
        {
            // A server in LAST-ACK has this octet already and takes nothing from the
            // segment, so it answers nothing (RFC 9293, section 3.10.7.4, first check).
            return self.alive(&flow, Reason::ClientFinRepeated);
        }
        if self.effects.create(ClientHalf {
            fin_end,
            at: self.now,
            ..ClientHalf::default()
        }) {
            Reason::FlowCreated
        } else {
            Reason::FlowNotStored
        }
    }

    /// R1, condition by condition.
    #[inline(always)]
    fn client_ack(self, flow: &Flow, segment: &Segment) -> Reason {
        let Flow { client, server } = flow;
        if server.elicited == 0 {
            return self.alive(flow, Reason::HalfClosed);
        }
        if segment.ack != server.fin_end {
            // A stale ACK answers nothing. The RST that it draws has its SEG.ACK for
            // SEG.SEQ, outside of the client's window.
            let stale = segment.ack.precedes(server.fin_end);
            return self.alive(
                flow,
                if stale {
                    Reason::StaleAck
                } else {
                    Reason::OtherSequence
                },
            );
        }
        // R1.3: one forwarded ACK answers all that the server had said until then.
        let closed = flow.phase() == Phase::Closed;
        if !closed || client.answered != server.elicited {
            return self.answer(flow, segment, closed);
        }
        // R1.1: a pure ACK.
        if !segment.is_bare_ack() {
            return self.unsolicited(client, Reason::NotPure);
        }
        if segment.options != Options::Plain {
            return self.unsolicited(client, Reason::OtherOptions);
        }
        // R1.2: SEG.SEQ is Fc or, as in a keepalive, Fc-1.
        if segment.seq != client.fin_end && segment.seq.plus(1) != client.fin_end {
            return self.unsolicited(client, Reason::OtherSequence);
        }
        // R1.4
        if self.now.since(client.at) > self.policy.window {
            return self.unsolicited(client, Reason::WindowOver);
        }
        // R1.5
        if client.drops >= self.policy.budget {
            return self.unsolicited(client, Reason::BudgetSpent);
        }
        self.drop(client)
    }

    /// A segment that acknowledges Fs while the server waits for that.
    #[inline(always)]
    fn answer(self, flow: &Flow, segment: &Segment, closed: bool) -> Reason {
        let Flow { client, server } = flow;
        if segment.seq != client.fin_end {
            // The server takes no acknowledgment from a segment outside of its window, and
            // a SEG.SEQ of Fc-1 is (RFC 9293, section 3.10.7.4, first check).
            return self.alive(flow, Reason::OtherSequence);
        }
        let asked = server.elicited.wrapping_sub(client.answered);
        let answer = ClientHalf {
            acked: server.fin_end,
            answered: server.elicited,
            owed: saturate(asked.saturating_sub(1)),
            provoked: 0,
            at: self.now,
            ..*client
        };
        self.effects.client(answer, self.policy.closed_lifetime);
        if closed {
            Reason::ElicitedAck
        } else {
            Reason::FirstAck
        }
    }

    #[inline(always)]
    fn drop(self, client: &ClientHalf) -> Reason {
        let monitor = self.policy.mode == Mode::Monitor;
        let counted = ClientHalf {
            drops: client.drops.saturating_add(1),
            owed: client.owed.saturating_sub(1),
            provoked: if monitor { 1 } else { client.provoked },
            ..*client
        };
        self.effects.client(counted, self.policy.closed_lifetime);
        match (client.owed != 0, monitor) {
            (false, false) => Reason::SpuriousAckDropped,
            (false, true) => Reason::SpuriousAckObserved,
            (true, false) => Reason::RedundantAckDropped,
            (true, true) => Reason::RedundantAckObserved,
        }
    }

    /// Forwards an acknowledgment of Fs that nothing asked for; the server will reset.
    #[inline(always)]
    fn unsolicited(self, client: &ClientHalf, reason: Reason) -> Reason {
        let forwarded = ClientHalf {
            provoked: 1,
            at: self.now,
            ..*client
        };
        self.effects.client(forwarded, self.policy.closed_lifetime);
        reason
    }

    /// Keeps a flow alive that has no answer yet; later only answers do.
    #[inline(always)]
    fn alive(self, flow: &Flow, reason: Reason) -> Reason {
        if flow.client.answered == 0 {
            let client = ClientHalf {
                at: self.now,
                ..flow.client
            };
            self.effects
                .client(client, self.policy.half_closed_lifetime);
        }
        reason
    }

    #[inline(always)]
    fn forget(self, reason: Reason) -> Reason {
        self.effects.forget();
        reason
    }

    #[inline(always)]
    fn server_segment(self, flow: Option<Flow>, segment: &Segment) -> Reason {
        let Some(flow) = flow else {
            return Reason::NoFlow;
        };
        if segment.flags.any(Flags::SYN) {
            return self.forget(Reason::Syn);
        }
        if flow.is_expired(self.now, self.policy) {
            return self.forget(Reason::FlowExpired);
        }
        if segment.flags.any(Flags::RST) {
            return self.server_reset(&flow, segment);
        }
        let Flow { client, server } = &flow;
        let lifetime = flow.lifetime(self.policy);
        let fin = segment.flags.any(Flags::FIN);
        let closes = fin && segment.flags.any(Flags::ACK) && segment.ack == client.fin_end;
        if server.elicited == 0 && !closes {
            // A FIN that acknowledges less is a crossing close: that server ends in
            // TIME-WAIT and stays silent.
            self.effects.server(
                ServerHalf {
                    at: self.now,
                    ..*server
                },
                lifetime,
            );
            return Reason::ServerData;
        }
        let fin_end = if closes {
            segment.next()
        } else {
            server.fin_end
        };
        if fin || segment.payload != 0 || segment.seq != fin_end {
            // 0 means that there was no FIN.
            let elicited = match server.elicited.wrapping_add(1) {
                0 => 1,
                count => count,
            };
            self.effects.server(
                ServerHalf {
                    fin_end,
                    elicited,
                    at: self.now,
                },
                lifetime,
            );
            return if server.elicited == 0 {
                Reason::ServerFin
            } else {
                Reason::ServerElicits
            };
        }
        self.effects.server(
            ServerHalf {
                at: self.now,
                ..*server
            },
            lifetime,
        );
        Reason::ServerQuiet
    }

    /// R2, and what a RST tells otherwise. It never disarms: one that a stale ACK drew, or
    /// a forged one, would make the filter forget just before the spurious ACK.
    #[inline(always)]
    fn server_reset(self, flow: &Flow, segment: &Segment) -> Reason {
        let drawn = flow.phase() == Phase::Closed
            && segment.flags == Flags::RST
            && segment.seq == flow.server.fin_end;
        let suppress = self.policy.rst_guard && self.policy.mode == Mode::Enforce;
        match (drawn, flow.client.provoked != 0, suppress) {
            (false, _, _) => Reason::ResetOther,
            (true, true, false) => Reason::ResetAfterSpuriousAck,
            (true, false, false) => Reason::ResetAfterClose,
            (true, true, true) => Reason::ResetAfterSpuriousAckSuppressed,
            (true, false, true) => Reason::ResetAfterCloseSuppressed,
        }
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "compared first")]
const fn saturate(count: u32) -> u8 {
    if count > 0xff { 0xff } else { count as u8 }
}
