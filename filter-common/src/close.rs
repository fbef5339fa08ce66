//! The state machine of a closing flow.
//!
//! State, a segment, the time and the policy go in; a [`Reason`] comes out, and what becomes
//! of the state. The caller finds the state, stores it, and counts.

use crate::{
    flow::{Change, ClientHalf, Effects, Flow, Phase, ServerHalf},
    policy::{Closer, Mode, Moment, Policy, Ticks},
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
    .segment(flow.as_ref(), direction, segment);
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
    pub fn segment(self, flow: Option<&Flow>, direction: Direction, segment: &Segment) -> Reason {
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
    fn client_segment(self, flow: Option<&Flow>, segment: &Segment) -> Reason {
        if segment.flags.finishes() {
            return self.client_fin(flow, segment);
        }
        let Some(flow) = flow else {
            return Reason::NoFlow;
        };
        // Disarm: port reuse, or a client that gave up.
        if segment.flags.any(Flags::SYN) && !opened(Direction::FromClient, flow, segment) {
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
        self.client_ack(flow, segment)
    }

    /// The client's FIN makes the flow. With another Fc it makes it anew: a port that was
    /// reused without a SYN that we saw.
    #[inline(always)]
    fn client_fin(self, flow: Option<&Flow>, segment: &Segment) -> Reason {
        let fin_end = segment.next();
        let client = ClientHalf {
            fin_end,
            finished: 1,
            link: self.link,
            at: self.at(),
            ..ClientHalf::default()
        };
        if let Some(flow) = flow
            && !flow.is_expired(self.now, self.policy)
        {
            if flow.client.finished != 0 && flow.client.fin_end == fin_end {
                // A server that has this octet already takes nothing from the segment, so it
                // answers nothing (RFC 9293, section 3.10.7.4, first check).
                return self.alive(flow, Reason::ClientFinRepeated);
            }
            if self.policy.closer == Closer::Either {
                let ServerHalf {
                    fin_end: acked,
                    elicited,
                    crossed,
                    ..
                } = flow.server;
                if elicited != 0 && crossed != 0 && segment.ack == acked {
                    let drops = flow.client.drops;
                    return self.client_fin_answers(&flow.server, ClientHalf { drops, ..client });
                }
                if flow.client.finished == 0 {
                    self.effects
                        .client(client, self.policy.half_closed_lifetime);
                    return Reason::ClientFin;
                }
            }
        }
        self.create(Flow {
            client,
            ..Flow::default()
        })
    }

    /// The client's FIN behind the server's, which it acknowledges. It is the first that we see,
    /// so the server has not got it yet, and the segment is in its window. (If the first one went
    /// another way, the server asks again.)
    #[inline(always)]
    fn client_fin_answers(self, server: &ServerHalf, client: ClientHalf) -> Reason {
        let answer = ClientHalf {
            acked: server.fin_end,
            answered: server.elicited,
            ..client
        };
        self.effects.client(answer, self.policy.closed_lifetime);
        Reason::FirstAck
    }

    #[inline(always)]
    fn create(self, flow: Flow) -> Reason {
        if self.effects.create(flow) {
            Reason::FlowCreated
        } else {
            Reason::FlowNotStored
        }
    }

    /// R1, condition by condition.
    #[inline(always)]
    fn client_ack(self, flow: &Flow, segment: &Segment) -> Reason {
        let Flow { client, server } = flow;
        if flow.phase() == Phase::HalfClosed {
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
        // This may be the answer to what the last one has covered; then that of what asked for this one
        // comes later.
        let more = asked.saturating_sub(1).clamp(0, 0xff) as u8;
        let answer = ClientHalf {
            acked: server.fin_end,
            answered: server.elicited,
            owed: client.owed.saturating_add(more),
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
        // What is no pure ACK is not what was owed.
        let paid = u8::from(!matches!(reason, Reason::NotPure));
        let forwarded = ClientHalf {
            owed: client.owed.saturating_sub(paid),
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
            let lifetime = flow.lifetime_after(Direction::FromClient, self.policy);
            self.effects.client_at(self.at(), lifetime);
        }
        reason
    }

    #[inline(always)]
    fn forget(self, reason: Reason) -> Reason {
        self.effects.forget();
        reason
    }

    #[inline(always)]
    fn server_segment(self, flow: Option<&Flow>, segment: &Segment) -> Reason {
        let Some(flow) = flow else {
            return if self.policy.opens(Direction::FromServer, segment.flags) {
                self.server_opens(segment)
            } else {
                Reason::NoFlow
            };
        };
        if segment.flags.any(Flags::SYN) && !opened(Direction::FromServer, flow, segment) {
            return self.forget(Reason::Syn);
        }
        if flow.is_expired(self.now, self.policy) {
            return if self.policy.opens(Direction::FromServer, segment.flags) {
                self.server_opens(segment)
            } else {
                self.forget(Reason::FlowExpired)
            };
        }
        if segment.flags.any(Flags::RST) {
            return self.server_reset(flow, segment);
        }
        let Flow { client, server } = flow;
        let lifetime = flow.lifetime_after(Direction::FromServer, self.policy);
        let fin = segment.flags.any(Flags::FIN);
        let second = fin
            && segment.flags.any(Flags::ACK)
            && client.finished != 0
            && segment.ack == client.fin_end;
        // A FIN that acknowledges less is a crossing close: that server ends in TIME-WAIT and
        // stays silent, if it keeps one.
        let closes = second || self.policy.opens(Direction::FromServer, segment.flags);
        let told = ServerHalf {
            at: self.at(),
            ..server.told(segment, closes, second)
        };
        if server.elicited == 0 && !closes {
            if fin {
                self.effects.server(told, lifetime);
            } else {
                self.effects.server_at(told.at, lifetime);
            }
            return Reason::ServerData;
        }
        if fin || segment.payload != 0 || segment.seq != told.fin_end {
            return self.elicit(flow, told);
        }
        self.effects.server_at(told.at, lifetime);
        Reason::ServerQuiet
    }

    /// The server's FIN makes the flow.
    #[inline(always)]
    fn server_opens(self, segment: &Segment) -> Reason {
        let server = ServerHalf {
            fin_end: segment.next(),
            elicited: 1,
            crossed: 1,
            at: self.at(),
            ..ServerHalf::default()
        };
        let client = ClientHalf {
            fin_end: segment.ack,
            link: self.link,
            ..ClientHalf::default()
        };
        self.create(Flow { server, client })
    }

    /// A segment that makes a correct endpoint answer.
    #[inline(always)]
    fn elicit(self, flow: &Flow, told: ServerHalf) -> Reason {
        let told = ServerHalf {
            // 0 means that there was no FIN.
            elicited: match told.elicited.wrapping_add(1) {
                0 => 1,
                count => count,
            },
            ..told
        };
        // With another Fs it is not Closed any more, and lives longer.
        let now = Flow {
            server: told,
            ..*flow
        };
        self.effects.server(told, now.lifetime(self.policy));
        if flow.server.elicited == 0 {
            Reason::ServerFin
        } else {
            Reason::ServerElicits
        }
    }

    /// R2, and what a RST tells otherwise. It never disarms: one that a stale ACK drew, or
    /// a forged one, would make the filter forget just before the spurious ACK.
    ///
    /// Only where the server closed second: any other client may wait for its FIN to be
    /// acknowledged, or have data on the way, and the RST tells it that this is in vain.
    #[inline(always)]
    fn server_reset(self, flow: &Flow, segment: &Segment) -> Reason {
        let drawn = flow.phase() == Phase::Closed
            && flow.server.crossed == 0
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
    let ClientHalf {
        fin_end, finished, ..
    } = flow.client;
    // What the server has got may be nothing but the SYN.
    let end = if finished == 0 {
        fin_end.plus(1)
    } else {
        fin_end
    };
    segment.flags.only(flags, CONTROLS) && first_octet.precedes(end)
}
