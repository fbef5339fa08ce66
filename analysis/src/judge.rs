//! What the state machine says of each segment of a close, and which reset followed which ACK.

use std::{collections::VecDeque, mem, time::Duration};

use filter_common::{
    Closer, Direction, Flags, Flow, Phase, Policy, Reason, Segment, SeqNum, Ticks, decide,
};

use crate::{
    capture::Time,
    closing::{At, Event, Judged, Unsolicited},
    connections::End,
    report::Kind,
};

/// ACKs of one connection that may still be followed by a reset; older ones are not any more.
const MOST_WAITING: usize = 64;

/// How long a server may take to reset; one that comes later is rather that of a later ACK, if there is
/// one.
const LONGEST_ANSWER: Duration = Duration::from_secs(1);

/// The state machine, at work on one connection.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    /// The flow in which each end is the client. Where only the client's FIN makes a flow, the
    /// end that sent its FIN first is the client, and there is one.
    flows: [Option<Flow>; 2],
    /// Of each flow.
    courses: [Course; 2],
    /// Who sent its FIN first.
    first: End,
    /// There has been a flow.
    has_begun: bool,
}

/// What has come so far.
#[derive(Clone, Debug, Default)]
struct Course {
    /// When the last ACK of the server's FIN was captured that the filter lets pass.
    last_ack: Time,
    /// ACKs that nothing asked for, which no reset has followed yet.
    waiting: VecDeque<Waiting>,
    /// An ACK was elicited, and no reset has come since.
    is_elicited: bool,
    /// Both FINs were seen, and the second did not acknowledge the first.
    has_crossed: bool,
    has_closed: bool,
}

/// An ACK that nothing asked for, and the number that a reset of it has.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    ack: SeqNum,
    unsolicited: Unsolicited,
}

/// The instant on the state machine's clock, which counts milliseconds here.
const fn ticks(time: Time) -> Ticks {
    Ticks(time.0 / 1_000_000)
}

impl Judge {
    /// Begins with a FIN of `first`.
    pub(crate) fn new(first: End) -> Self {
        Self {
            flows: [None; 2],
            courses: Default::default(),
            first,
            has_begun: false,
        }
    }

    /// Whether it is seen to its end. Where both FINs crossed, there is no other.
    pub(crate) fn is_closed(&self) -> bool {
        let mut flows = self.flows.iter().flatten();
        flows.any(|flow| flow.phase() == Phase::Closed)
            || self.courses.iter().any(|course| course.has_crossed)
    }

    /// Whether nothing is known of it any more.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.flows.iter().all(Option::is_none)
    }

    /// Judges a segment.
    pub(crate) fn judge(&mut self, end: End, segment: &Segment, at: At, policy: &Policy) -> Judged {
        let likely = self.judge_as(self.first, end, segment, at, policy);
        // Where only the client's FIN makes a flow, there is one.
        let is_other_known = self.flows[self.first.other().index()].is_some();
        if !is_other_known && policy.closer == Closer::Client && likely.reason != Reason::NoFlow {
            return likely;
        }
        let other = self.judge_as(self.first.other(), end, segment, at, policy);
        let is_other = likely.event == Event::None && other.event != Event::None
            || other.event == Event::Reused
            || likely.reason == Reason::NoFlow;
        if is_other { other } else { likely }
    }

    fn judge_as(
        &mut self,
        client: End,
        end: End,
        segment: &Segment,
        at: At,
        policy: &Policy,
    ) -> Judged {
        let now = ticks(at.time);
        let direction = end.direction(client);
        let mut judged = Judged {
            client,
            direction,
            reason: Reason::NoFlow,
            event: Event::None,
        };
        let before = self.flows[client.index()];
        let other = self.flows[client.other().index()];
        let is_alive = |flow: &Flow| !flow.is_expired(now, policy);
        if before.is_none()
            && policy.closer == Closer::Client
            && other.as_ref().is_some_and(is_alive)
        {
            return judged;
        }
        // What is forgotten is kept where there are findings, for what may follow.
        let is_behind = self.has_begun && self.is_forgotten();
        let decision = decide(before, direction, segment, now, policy);
        decision.change.apply(&mut self.flows[client.index()]);
        judged.reason = decision.reason;
        let after = self.flows[client.index()];
        self.has_begun |= after.is_some();
        judged.event = match (direction, before) {
            (_, None) if is_behind && after.is_some() => {
                self.courses = Default::default();
                Event::Reused
            }
            (_, None) => Event::None,
            (Direction::FromClient, Some(flow)) => {
                self.of_client(client, &flow, after, segment, decision.reason, at)
            }
            (Direction::FromServer, Some(flow)) => {
                self.of_server(client, &flow, after, segment, decision.reason, at)
            }
        };
        judged
    }

    fn of_client(
        &mut self,
        client: End,
        before: &Flow,
        after: Option<Flow>,
        segment: &Segment,
        reason: Reason,
        At { frame, time }: At,
    ) -> Event {
        let was_closed = before.phase() == Phase::Closed;
        let is_closed = after.is_some_and(|flow| flow.phase() == Phase::Closed);
        let had_closed = self.courses.iter().any(|course| course.has_closed);
        let course = &mut self.courses[client.index()];
        if is_closed && !was_closed {
            course.last_ack = time;
            course.has_closed = true;
            return if had_closed {
                Event::None
            } else {
                Event::Closed
            };
        }
        if reason == Reason::ElicitedAck {
            course.last_ack = time;
            course.is_elicited = true;
            return Event::Elicited;
        }
        if reason == Reason::FlowCreated && was_closed {
            self.courses = Default::default();
            return Event::Reused;
        }
        if after.is_none() {
            *course = Course::default();
            return Event::None;
        }
        if !is_unsolicited(before, segment, reason) {
            // What is no pure ACK counts there, too, if it acknowledges Fs.
            if was_closed && after.is_some_and(|after| after.client.at != before.client.at) {
                course.last_ack = time;
            }
            return Event::None;
        }
        let unsolicited = Unsolicited {
            kind: if before.client.owed == 0 {
                Kind::Spurious
            } else {
                Kind::Redundant
            },
            reason,
            finding: None,
            frame,
            time,
            last_ack: course.last_ack,
        };
        if reason.fault().is_none() {
            course.last_ack = time;
        }
        if course.waiting.len() == MOST_WAITING {
            course.waiting.pop_front();
        }
        course.waiting.push_back(Waiting {
            ack: segment.ack,
            unsolicited,
        });
        Event::Unsolicited(unsolicited)
    }

    fn of_server(
        &mut self,
        client: End,
        before: &Flow,
        after: Option<Flow>,
        segment: &Segment,
        reason: Reason,
        At { time, .. }: At,
    ) -> Event {
        let course = &mut self.courses[client.index()];
        if after.is_none() {
            *course = Course::default();
            return Event::None;
        }
        if !segment.flags.any(Flags::RST) {
            let crosses = segment.flags.finishes()
                && before.client.finished != 0
                && segment.ack.precedes(before.client.fin_end);
            if crosses && !mem::replace(&mut course.has_crossed, true) {
                return Event::Crossed;
            }
            return Event::None;
        }
        let is_drawn = reason != Reason::ResetOther;
        // One that has no ACK carries the number that drew it (RFC 9293, section 3.10.7.1).
        let has_ack = segment.flags.any(Flags::ACK);
        let is_of = |waiting: &Waiting| has_ack || waiting.ack == segment.seq;
        let is_old = |waiting: &Waiting| time.since(waiting.unsolicited.time) > LONGEST_ANSWER;
        while course.waiting.len() > 1 && course.waiting.front().is_some_and(is_old) {
            course.waiting.pop_front();
        }
        if course.waiting.front().is_some_and(is_of)
            && let Some(waiting) = course.waiting.pop_front()
        {
            return Event::ResetOf(waiting.unsolicited, is_drawn);
        }
        if is_drawn && mem::replace(&mut course.is_elicited, false) {
            return Event::ResetOfElicited;
        }
        Event::ResetOther
    }

    /// Gives the last ACK that nothing asked for its place among the findings.
    pub(crate) fn found(&mut self, client: End, finding: usize) {
        if let Some(last) = self.courses[client.index()].waiting.back_mut() {
            last.unsolicited.finding = Some(finding);
        }
    }
}

/// Whether it is a pure ACK of the server's FIN, after Closed, that nothing asked for.
fn is_unsolicited(before: &Flow, segment: &Segment, reason: Reason) -> bool {
    let is_one = reason.fault().is_some()
        || matches!(
            reason,
            Reason::WindowOver | Reason::BudgetSpent | Reason::OtherOptions
        )
        // Which is also given before the ACK of the server's FIN, and of others than that.
        || reason == Reason::OtherSequence
            && before.phase() == Phase::Closed
            && segment.ack == before.server.fin_end
            && before.client.answered == before.server.elicited;
    is_one && segment.is_bare_ack()
}
