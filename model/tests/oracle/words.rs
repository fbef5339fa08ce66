//! What docs/architecture.md says of a segment, from all that passed before it. No state but
//! the history.

use filter_common::{
    Closer, Direction, Flags, Mode, Policy, Reason, Segment, SeqNum, Ticks, Verdict,
    segment::Options,
};

/// A segment that passed by, or did not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) at: Ticks,
    pub(crate) direction: Direction,
    pub(crate) segment: Segment,
    pub(crate) verdict: Verdict,
    pub(crate) reason: Reason,
}

impl Event {
    fn is_clients(&self) -> bool {
        self.direction == Direction::FromClient
    }

    fn has(&self, flags: Flags) -> bool {
        self.segment.flags.any(flags)
    }

    /// "A FIN makes a flow only with ACK and without SYN and RST."
    fn finishes(&self) -> bool {
        self.has(Flags::FIN)
            && self.has(Flags::ACK)
            && !self.has(Flags::SYN)
            && !self.has(Flags::RST)
    }

    /// "A flow is created by the client's FIN", or by either side's.
    fn makes(&self, policy: &Policy) -> bool {
        self.finishes() && (self.is_clients() || policy.closer == Closer::Either)
    }

    /// "A SYN in either direction that did not open this connection, the client's RST."
    fn disarms(&self, end: SeqNum) -> bool {
        self.has(Flags::SYN) && !self.opened(end) || self.is_clients() && self.has(Flags::RST)
    }

    /// "The client's bare SYN, or the server's SYN with ACK, where the octet that follows the
    /// client's SYN precedes Fc; while Fc is unknown, where it is not beyond what the server's FIN
    /// acknowledged."
    fn opened(&self, end: SeqNum) -> bool {
        let with_ack = if self.is_clients() { 0x02 } else { 0x12 };
        let first_octet = if self.is_clients() {
            self.segment.seq.0.wrapping_add(1)
        } else {
            self.segment.ack.0
        };
        let ahead = end.0.wrapping_sub(first_octet);
        self.segment.flags.bits() & 0x17 == with_ack && (1..=1 << 31).contains(&ahead)
    }
}

/// What is known of a flow: everything since the FIN that made it.
#[derive(Clone, Copy)]
struct Known<'a> {
    events: &'a [Event],
    policy: &'a Policy,
}

impl Known<'_> {
    /// Where *Fc* is from, among the first `count` events: the first FIN of the client, or a later
    /// one "with another Fc that acknowledges Fs", where the server did not close second.
    fn client_fin(&self, count: usize) -> Option<usize> {
        let mut fin = None;
        for (index, event) in self.events[..count].iter().enumerate() {
            if event.is_clients() && event.finishes() && self.sets_fc(fin, event, index) {
                fin = Some(index);
            }
        }
        fin
    }

    /// Whether the client's FIN tells Fc, where `before` was the last that did.
    fn sets_fc(&self, before: Option<usize>, event: &Event, count: usize) -> bool {
        before.is_none_or(|before| {
            self.events[before].segment.next() != event.segment.next()
                && self.acknowledges_first_closer(event, count)
        })
    }

    /// Whether the client's FIN acknowledges Fs of a server that closed before it had got one.
    fn acknowledges_first_closer(&self, event: &Event, count: usize) -> bool {
        self.policy.closer == Closer::Either
            && self.fs(count) == Some(event.segment.ack)
            && self.crossed(count)
    }

    /// *Fc*.
    fn fc(&self, count: usize) -> Option<SeqNum> {
        let fin = self.client_fin(count)?;
        Some(self.events[fin].segment.next())
    }

    /// What late copies of the handshake precede.
    fn end(&self, count: usize) -> SeqNum {
        self.fc(count)
            .unwrap_or_else(|| self.events[0].segment.ack.plus(1))
    }

    /// Whether it is a FIN of the server that counts.
    fn is_server_fin(&self, index: usize) -> bool {
        let event = &self.events[index];
        let counts = match self.policy.closer {
            Closer::Client => Some(event.segment.ack) == self.fc(index),
            Closer::Either => true,
        };
        !event.is_clients() && event.finishes() && counts
    }

    /// The server's latest FIN that counts, among the first `count` events.
    fn server_fin(&self, count: usize) -> Option<usize> {
        (0..count).rev().find(|&index| self.is_server_fin(index))
    }

    /// *Fs*.
    fn fs(&self, count: usize) -> Option<SeqNum> {
        let fin = self.server_fin(count)?;
        Some(self.events[fin].segment.next())
    }

    /// Whether a FIN with the server's Fs did not acknowledge exactly Fc: one since another Fs was
    /// told, or right before Fs was.
    fn crossed(&self, count: usize) -> bool {
        let Some(fs) = self.fs(count) else {
            return false;
        };
        let fins = (0..count).rev().filter(|&index| {
            let event = &self.events[index];
            let is_fin = !event.is_clients() && event.has(Flags::FIN) && !event.has(Flags::RST);
            // Behind one that counts, those that do not and end elsewhere are a stranger's.
            let may_be_ours = self
                .fs(index)
                .is_none_or(|known| known == event.segment.next());
            is_fin && (self.is_server_fin(index) || may_be_ours)
        });
        fins.map(|index| (index, &self.events[index]))
            .take_while(|(_, event)| event.segment.next() == fs)
            .any(|(index, event)| {
                let acknowledges = Some(event.segment.ack) == self.fc(index);
                !(event.has(Flags::ACK) && acknowledges)
            })
    }

    /// *elicited*: the server's segments, from its FIN on, that make an endpoint answer;
    /// their places.
    fn elicited(&self, count: usize) -> Vec<usize> {
        (0..count)
            .filter(|&index| {
                let event = &self.events[index];
                if event.is_clients() || event.has(Flags::RST) {
                    return false;
                }
                let Some(fs) = self.fs(index + 1) else {
                    return false;
                };
                event.segment.payload > 0 || event.has(Flags::FIN) || event.segment.seq != fs
            })
            .collect()
    }

    /// An ACK that the server would take and that was let through while one was due.
    fn is_answer(&self, index: usize) -> bool {
        let event = &self.events[index];
        if event.is_clients() && event.finishes() {
            return self.client_fin(index + 1) == Some(index)
                && self.acknowledges_first_closer(event, index);
        }
        self.takes(event, index)
            && event.verdict == Verdict::Pass
            && Some(event.segment.seq) == self.fc(index)
            && self.is_due(index)
    }

    /// Whether it acknowledges exactly Fs and is no FIN.
    fn takes(&self, event: &Event, count: usize) -> bool {
        event.is_clients()
            && event.has(Flags::ACK)
            && !event.has(Flags::FIN)
            && self.fc(count).is_some()
            && self.fs(count) == Some(event.segment.ack)
    }

    /// Since the client's FIN.
    fn last_answer(&self, count: usize) -> Option<usize> {
        let fin = self.client_fin(count)?;
        (fin..count).rev().find(|&index| self.is_answer(index))
    }

    /// The server has said something since the last answer, or there was none.
    fn is_due(&self, count: usize) -> bool {
        let Some(answer) = self.last_answer(count) else {
            return true;
        };
        self.fs(answer) != self.fs(count)
            || self
                .elicited(count)
                .last()
                .is_some_and(|last| *last > answer)
    }

    /// "Closed when the server's FIN has acknowledged exactly Fc, and the client's
    /// acknowledgment of exactly Fs was forwarded."
    fn is_closed(&self, count: usize) -> bool {
        self.fs(count).is_some()
            && self
                .last_answer(count)
                .is_some_and(|answer| self.fs(answer) == self.fs(count))
    }

    /// The last that was forwarded with SEG.ACK = Fs: an answer, or one that nothing asked
    /// for.
    fn last_acknowledgment(&self, count: usize) -> Option<Ticks> {
        (0..count)
            .rev()
            .find(|&index| {
                let event = &self.events[index];
                self.is_answer(index)
                    || self.takes(event, index)
                        && !self.is_due(index)
                        && (event.verdict == Verdict::Pass && !is_observed(event.reason))
            })
            .map(|index| self.events[index].at)
    }

    /// "Idleness": since the server's last segment but a RST, and since the client's last
    /// acknowledgment of Fs or, before the first, its last segment with ACK. Without one of the two only
    /// one side was seen.
    fn is_expired(&self, count: usize, now: Ticks) -> bool {
        let server = self.events[..count].iter().rev();
        let server = server
            .clone()
            .find(|event| !event.is_clients() && !event.has(Flags::RST))
            .map(|event| event.at);
        let client = self.last_acknowledgment(count).or_else(|| {
            let mut client = self.events[..count].iter().rev();
            client
                .find(|event| event.is_clients() && event.has(Flags::ACK))
                .map(|event| event.at)
        });
        let lifetime = if self.is_closed(count) {
            self.policy.closed_lifetime
        } else if server.is_some() && client.is_some() {
            self.policy.half_closed_lifetime
        } else {
            self.policy.one_sided_lifetime
        };
        Ticks(now.0 - server.max(client).unwrap_or_default().0) > lifetime
    }

    /// How many answers may still come to what the client's answers so far have covered.
    fn owed(&self, count: usize) -> usize {
        let mut owed = 0_usize;
        let mut before = None;
        for index in self.client_fin(count).unwrap_or(0)..count {
            let event = &self.events[index];
            if self.is_answer(index) {
                let elicited = self.elicited(index);
                let asked = elicited
                    .iter()
                    .filter(|&&place| before.is_none_or(|before| place > before));
                // Of a FIN there are no copies that answer.
                if !event.finishes() {
                    owed += asked.count().saturating_sub(1);
                }
                before = Some(index);
            } else if self.takes(event, index)
                && !self.is_due(index)
                && event.reason != Reason::NotPure
            {
                owed = owed.saturating_sub(1);
            }
        }
        owed
    }

    fn drops(&self, count: usize) -> usize {
        let dropped = |event: &&Event| {
            event.is_clients() && (event.verdict == Verdict::Drop || is_observed(event.reason))
        };
        self.events[..count].iter().filter(dropped).count()
    }

    /// Whether a FIN belongs to the close that is known, and makes no new flow.
    fn goes_on(&self, fin: &Event) -> bool {
        let count = self.events.len();
        !fin.is_clients()
            || self.fc(count).is_none_or(|fc| fc == fin.segment.next())
            || self.acknowledges_first_closer(fin, count)
    }

    /// A segment that nothing asked for went through since the last answer.
    fn is_provoked(&self, count: usize) -> bool {
        let from = self.last_answer(count).map_or(0, |answer| answer + 1);
        (from..count).any(|index| {
            let event = &self.events[index];
            event.verdict == Verdict::Pass && self.takes(event, index) && !self.is_due(index)
        })
    }
}

/// In monitor mode "the state goes the same way, as if what is passed had been dropped".
fn is_observed(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::SpuriousAckObserved | Reason::RedundantAckObserved
    )
}

/// The events of the flow that is known next, if one is.
fn known<'a>(history: &'a [Event], policy: &'a Policy) -> Known<'a> {
    let mut start = history.len();
    for (index, event) in history.iter().enumerate() {
        let known = Known {
            events: &history[start.min(index)..index],
            policy,
        };
        let count = known.events.len();
        let lives = count > 0 && !known.is_expired(count, event.at);
        if !lives || event.disarms(known.end(count)) {
            start = history.len();
        }
        if event.makes(policy) && !(lives && known.goes_on(event)) {
            start = index;
        }
    }
    Known {
        events: &history[start..],
        policy,
    }
}

/// What the words say of a segment.
pub(crate) fn judge(
    history: &[Event],
    direction: Direction,
    segment: Segment,
    now: Ticks,
    policy: &Policy,
) -> Reason {
    let event = Event {
        at: now,
        direction,
        segment,
        verdict: Verdict::Pass,
        reason: Reason::NoFlow,
    };
    let flow = known(history, policy);
    let count = flow.events.len();
    let exists = count > 0;
    let expired = exists && flow.is_expired(count, now);
    let fc = flow.fc(count);
    if event.makes(policy) && !(exists && !expired && flow.goes_on(&event)) {
        return Reason::FlowCreated;
    }
    if !exists {
        return Reason::NoFlow;
    }
    if event.finishes() && event.is_clients() {
        return if fc == Some(segment.next()) {
            Reason::ClientFinRepeated
        } else if flow.acknowledges_first_closer(&event, count) {
            Reason::FirstAck
        } else {
            Reason::ClientFin
        };
    }
    if event.has(Flags::SYN) && !event.opened(flow.end(count)) {
        return Reason::Syn;
    }
    if event.is_clients() && event.has(Flags::RST) {
        return Reason::ClientReset;
    }
    if expired {
        return Reason::FlowExpired;
    }
    match direction {
        Direction::FromClient => client(&flow, &event),
        Direction::FromServer => server(&flow, &event),
    }
}

fn client(flow: &Known<'_>, event: &Event) -> Reason {
    let (count, policy, segment) = (flow.events.len(), flow.policy, &event.segment);
    if !event.has(Flags::ACK) {
        return Reason::NotPure;
    }
    let (Some(fc), Some(fs)) = (flow.fc(count), flow.fs(count)) else {
        return Reason::HalfClosed;
    };
    if segment.ack != fs {
        let behind = fs.0.wrapping_sub(segment.ack.0);
        return if behind <= 1 << 31 {
            Reason::StaleAck
        } else {
            Reason::OtherSequence
        };
    }
    let closed = flow.is_closed(count);
    // R1.3.
    if !closed || flow.is_due(count) {
        return match (segment.seq == fc, closed) {
            (false, _) => Reason::OtherSequence,
            (true, true) => Reason::ElicitedAck,
            (true, false) => Reason::FirstAck,
        };
    }
    // R1.1, R1.2, R1.4, R1.5.
    if segment.flags != Flags::ACK || segment.payload > 0 {
        return Reason::NotPure;
    }
    if segment.options == Options::Other {
        return Reason::OtherOptions;
    }
    if segment.seq != fc && segment.seq.plus(1) != fc {
        return Reason::OtherSequence;
    }
    let last = flow.last_acknowledgment(count).unwrap_or_default();
    if Ticks(event.at.0 - last.0) > policy.window {
        return Reason::WindowOver;
    }
    if flow.drops(count) >= usize::from(policy.budget) {
        return Reason::BudgetSpent;
    }
    // "Redundant while the client may still answer copies of the FIN that its answers so far have
    // covered, and spurious otherwise."
    let redundant = flow.owed(count) > 0;
    match (redundant, policy.mode) {
        (true, Mode::Enforce) => Reason::RedundantAckDropped,
        (true, Mode::Monitor) => Reason::RedundantAckObserved,
        (false, Mode::Enforce) => Reason::SpuriousAckDropped,
        (false, Mode::Monitor) => Reason::SpuriousAckObserved,
    }
}

fn server(flow: &Known<'_>, event: &Event) -> Reason {
    let (count, policy, segment) = (flow.events.len(), flow.policy, &event.segment);
    let fs = flow.fs(count);
    if event.has(Flags::RST) {
        // R2.
        let exact = segment.flags == Flags::RST && Some(segment.seq) == fs && !flow.crossed(count);
        if !flow.is_closed(count) || !exact {
            return Reason::ResetOther;
        }
        let drops = policy.rst_guard && policy.mode == Mode::Enforce;
        return match (flow.is_provoked(count), drops) {
            (true, true) => Reason::ResetAfterSpuriousAckSuppressed,
            (false, true) => Reason::ResetAfterCloseSuppressed,
            (true, false) => Reason::ResetAfterSpuriousAck,
            (false, false) => Reason::ResetAfterClose,
        };
    }
    let counts = event.finishes()
        && (policy.closer == Closer::Either || Some(segment.ack) == flow.fc(count));
    match (counts, fs) {
        (false, None) => Reason::ServerData,
        (true, None) => Reason::ServerFin,
        (true, Some(_)) => Reason::ServerElicits,
        (false, Some(fs)) => {
            let asks = segment.payload > 0 || event.has(Flags::FIN) || segment.seq != fs;
            if asks {
                Reason::ServerElicits
            } else {
                Reason::ServerQuiet
            }
        }
    }
}
