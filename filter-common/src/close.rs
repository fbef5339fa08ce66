//! The state machine of a closing flow.
//!
//! State, a segment, the time and the policy go in; a [`Reason`] comes out, and what becomes
//! of the state. The caller finds the state, stores it, and counts.

use crate::{
    flow::{Change, ClientHalf, Effects, Flow, Phase, ServerHalf},
    policy::{Mode, Moment, Policy, Ticks},
    segment::{Direction, Flags, Options, Segment},
    verdict::Reason,
};

/// What was decided of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Why, and with it the verdict.
    pub reason: Reason,
    /// What becomes of the flow's state.
    pub change: Change,
}

/// Decides one segment of a flow, without carrying anything out; all by one link.
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
        link: 0,
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
    /// The link (interface) that the segment is seen on, as the caller numbers them.
    pub link: u8,
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
    fn at(&self) -> Moment {
        Moment::of(self.now)
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
        if segment.flags.any(Flags::SYN) && !opened(Direction::FromClient, &flow, segment) {
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
            at: self.at(),
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
        // R1.6: that answer itself, where a packet goes through two links that are served.
        if client.link != self.link {
            return Reason::OtherLink;
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
    #[expect(clippy::cast_sign_loss, reason = "clamped")]
    fn answer(self, flow: &Flow, segment: &Segment, closed: bool) -> Reason {
        let Flow { client, server } = flow;
        if segment.seq != client.fin_end {
            // The server takes no acknowledgment from a segment outside of its window, and
            // a SEG.SEQ of Fc-1 is (RFC 9293, section 3.10.7.4, first check).
            return self.alive(flow, Reason::OtherSequence);
        }
        // Behind `answered` where two CPUs of one direction overwrote one another.
        let asked = server.elicited.wrapping_sub(client.answered).cast_signed();
        let answer = ClientHalf {
            acked: server.fin_end,
            answered: server.elicited,
            owed: asked.saturating_sub(1).clamp(0, 0xff) as u8,
            provoked: 0,
            link: self.link,
            at: self.at(),
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
            at: self.at(),
            ..*client
        };
        self.effects.client(forwarded, self.policy.closed_lifetime);
        reason
    }

    /// Keeps a flow alive that has no answer yet; later only answers do.
    #[inline(always)]
    fn alive(self, flow: &Flow, reason: Reason) -> Reason {
        if flow.client.answered == 0 {
            let at = self.at();
            self.effects.client_at(at, self.policy.half_closed_lifetime);
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
        if segment.flags.any(Flags::SYN) && !opened(Direction::FromServer, &flow, segment) {
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
            let at = self.at();
            self.effects.server_at(at, lifetime);
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
            let told = ServerHalf {
                fin_end,
                elicited,
                at: self.at(),
            };
            // With another Fs it is not Closed any more, and lives longer.
            let lifetime = Flow {
                server: told,
                ..flow
            }
            .lifetime(self.policy);
            self.effects.server(told, lifetime);
            return if server.elicited == 0 {
                Reason::ServerFin
            } else {
                Reason::ServerElicits
            };
        }
        let at = self.at();
        self.effects.server_at(at, lifetime);
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

/// Whether a SYN is a late copy of the one that opened this connection. Where a part of the
/// handshake was lost, such copies come after the client's FIN; they tell nothing of a reuse.
///
/// The client's SYN, and what the server's acknowledges, precede the FIN. A later connection
/// has other numbers. Its SYN is ahead of this one's end (RFC 6528), unless this one sent faster than
/// its clock runs; then the flow is kept for nothing, and what it could drop has to have the exact
/// numbers of the earlier close.
#[inline(always)]
fn opened(direction: Direction, flow: &Flow, segment: &Segment) -> bool {
    const CONTROLS: Flags = Flags::SYN
        .with(Flags::ACK)
        .with(Flags::FIN)
        .with(Flags::RST);

    let (flags, first_octet) = match direction {
        Direction::FromClient => (Flags::SYN, segment.seq.plus(1)),
        Direction::FromServer => (Flags::SYN.with(Flags::ACK), segment.ack),
    };
    segment.flags.only(flags, CONTROLS) && first_octet.precedes(flow.client.fin_end)
}
