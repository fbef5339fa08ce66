//! What docs/architecture.md says of a segment, from all that passed before it. No state but
//! the history.

use filter_common::{
    Direction, Flags, Mode, Policy, Reason, Segment, SeqNum, Ticks, Verdict, segment::Options,
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

    /// "A client's FIN makes a flow only with ACK and without SYN and RST."
    fn makes(&self) -> bool {
        self.is_clients()
            && self.has(Flags::FIN)
            && self.has(Flags::ACK)
            && !self.has(Flags::SYN)
            && !self.has(Flags::RST)
    }

    /// "A SYN in either direction that did not open this connection, the client's RST."
    fn disarms(&self, fc: SeqNum) -> bool {
        self.has(Flags::SYN) && !self.opened(fc) || self.is_clients() && self.has(Flags::RST)
    }

    /// "The client's SYN alone, or the server's SYN with ACK: the octet that follows the
    /// client's SYN precedes Fc."
    fn opened(&self, fc: SeqNum) -> bool {
        let with_ack = if self.is_clients() { 0x02 } else { 0x12 };
        let first_octet = if self.is_clients() {
            self.segment.seq.0.wrapping_add(1)
        } else {
            self.segment.ack.0
        };
        let ahead = fc.0.wrapping_sub(first_octet);
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
    /// *Fc*.
    fn fc(&self) -> SeqNum {
        self.events[0].segment.next()
    }

    fn is_server_fin(&self, event: &Event) -> bool {
        !event.is_clients()
            && event.has(Flags::FIN)
            && event.has(Flags::ACK)
            && !event.has(Flags::RST)
            && event.segment.ack == self.fc()
    }

    /// The server's latest FIN that acknowledged exactly Fc, among the first `count` events.
    fn fs(&self, count: usize) -> Option<SeqNum> {
        let mut fins = self.events[..count].iter().rev();
        let fin = fins.find(|event| self.is_server_fin(event))?;
        Some(fin.segment.next())
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
        self.takes(event, index)
            && event.verdict == Verdict::Pass
            && event.segment.seq == self.fc()
            && self.is_due(index)
    }

    /// Whether it acknowledges exactly Fs and is no FIN.
    fn takes(&self, event: &Event, count: usize) -> bool {
        event.is_clients()
            && event.has(Flags::ACK)
            && !event.has(Flags::FIN)
            && self.fs(count) == Some(event.segment.ack)
    }

    fn last_answer(&self, count: usize) -> Option<usize> {
        (0..count).rev().find(|&index| self.is_answer(index))
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
    /// acknowledgment of Fs or, before the first, its last segment with ACK.
    fn is_expired(&self, count: usize, now: Ticks) -> bool {
        let server = self.events[..count].iter().rev();
        let server = server
            .clone()
            .find(|event| !event.is_clients() && !event.has(Flags::RST))
            .map_or(Ticks(0), |event| event.at);
        let client = self.last_acknowledgment(count).or_else(|| {
            let mut client = self.events[..count].iter().rev();
            client
                .find(|event| event.is_clients() && event.has(Flags::ACK))
                .map(|event| event.at)
        });
        let lifetime = if self.is_closed(count) {
            self.policy.closed_lifetime
        } else {
            self.policy.half_closed_lifetime
        };
        Ticks(now.0 - server.max(client.unwrap_or_default()).0) > lifetime
    }

    fn drops(&self, from: usize, count: usize) -> usize {
        let dropped = |event: &&Event| {
            event.is_clients() && (event.verdict == Verdict::Drop || is_observed(event.reason))
        };
        self.events[from..count].iter().filter(dropped).count()
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
        let lives = !known.events.is_empty() && !known.is_expired(known.events.len(), event.at);
        if !lives || event.disarms(known.fc()) {
            start = history.len();
        }
        if event.makes() && !(lives && known.fc() == event.segment.next()) {
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
    if event.makes() {
        let repeated = exists && !expired && flow.fc() == segment.next();
        return if repeated {
            Reason::ClientFinRepeated
        } else {
            Reason::FlowCreated
        };
    }
    if !exists {
        return Reason::NoFlow;
    }
    if event.has(Flags::SYN) && !event.opened(flow.fc()) {
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
    let Some(fs) = flow.fs(count) else {
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
        return match (segment.seq == flow.fc(), closed) {
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
    if segment.seq != flow.fc() && segment.seq.plus(1) != flow.fc() {
        return Reason::OtherSequence;
    }
    let last = flow.last_acknowledgment(count).unwrap_or_default();
    if Ticks(event.at.0 - last.0) > policy.window {
        return Reason::WindowOver;
    }
    if flow.drops(0, count) >= usize::from(policy.budget) {
        return Reason::BudgetSpent;
    }
    // "Redundant while the client still answers copies of the FIN that the last answer has
    // covered, and spurious otherwise."
    let answer = flow.last_answer(count).unwrap_or(0);
    let before = flow.last_answer(answer);
    let elicited = flow.elicited(answer);
    let asked = elicited
        .iter()
        .filter(|&&place| before.is_none_or(|before| place > before));
    let redundant = flow.drops(answer, count) + 1 < asked.count();
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
        let exact = segment.flags == Flags::RST && Some(segment.seq) == fs;
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
    match (flow.is_server_fin(event), fs) {
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
