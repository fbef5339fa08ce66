//! The close of one connection: its frames, each once, and what they are judged.

use std::mem;

use filter_common::{Closer, Direction, Policy, Reason, Segment};

use crate::{
    capture::Time,
    connections::{End, seconds},
    copies::{Seen, Share, Side, Sighting},
    judge::Judge,
    report::Kind,
};

/// A connection from its first FIN on.
#[derive(Clone, Debug)]
pub(crate) struct Closing {
    judge: Judge,
    /// The same as if either side's FIN made a flow, to tell what only that would cure; for as long as
    /// frames are remembered.
    either: Option<Box<Judge>>,
    sides: [Side; 2],
    /// The second of its last frame.
    pub(crate) last: u64,
    /// Each end that has had a finding.
    has_findings: [bool; 2],
    /// Where its frames are noted, if it has findings that are kept.
    pub(crate) span: Option<usize>,
}

/// One frame of the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    /// From 1.
    pub(crate) frame: u64,
    pub(crate) time: Time,
}

/// An ACK that nothing asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsolicited {
    pub(crate) kind: Kind,
    /// Why R1 drops it or lets it pass.
    pub(crate) reason: Reason,
    /// Its place among the findings, once it has one.
    pub(crate) finding: Option<usize>,
    pub(crate) frame: u64,
    pub(crate) time: Time,
    /// When the last ACK before it was captured that the filter lets pass.
    pub(crate) last_ack: Time,
}

/// What a segment is to a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) client: End,
    pub(crate) direction: Direction,
    pub(crate) reason: Reason,
    pub(crate) event: Event,
}

/// What there is to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    None,
    /// The flow is Closed.
    Closed,
    /// The server's FIN did not acknowledge the client's.
    Crossed,
    /// The flow was made anew, over one that was Closed, or behind one with findings that is forgotten:
    /// its port was used again.
    Reused,
    Unsolicited(Unsolicited),
    /// The server asked for it.
    Elicited,
    /// A reset that followed an ACK that nothing asked for; whether R2 drops it.
    ResetOf(Unsolicited, bool),
    /// A reset that followed an ACK of this end that nothing asked for, in a close that only
    /// [`Closer::Either`] serves.
    ResetOfUnserved(Unsolicited, End),
    /// A reset that followed an elicited ACK.
    ResetOfElicited,
    /// Any other of the server's.
    ResetOther,
}

impl Closing {
    /// Begins with a FIN of `first`.
    pub(crate) fn new(first: End, policy: &Policy) -> Self {
        let is_narrow = policy.closer == Closer::Client;
        Self {
            judge: Judge::new(first),
            either: is_narrow.then(|| Box::new(Judge::new(first))),
            sides: Default::default(),
            last: 0,
            has_findings: [false; 2],
            span: None,
        }
    }

    /// Whether it is seen to its end.
    pub(crate) fn is_closed(&self) -> bool {
        self.judge.is_closed()
    }

    /// Whether nothing is known of it any more.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.judge.is_forgotten()
    }

    /// What was found so far is of an earlier connection.
    pub(crate) fn begin_anew(&mut self) {
        self.has_findings = [false; 2];
        self.span = None;
    }

    /// Whether the frame was captured before.
    pub(crate) fn see(&mut self, end: End, frame: Sighting, all: &mut Share) -> Seen {
        self.last = seconds(frame.time);
        self.sides[end.index()].see(frame, all)
    }

    /// Makes room, when no frame can have a copy any more.
    pub(crate) fn settle(&mut self) {
        self.sides.iter_mut().for_each(Side::settle);
        self.either = None;
    }

    /// Judges a segment.
    pub(crate) fn judge(&mut self, end: End, segment: &Segment, at: At, policy: &Policy) -> Judged {
        let mut judged = self.judge.judge(end, segment, at, policy);
        if let Some(either) = &mut self.either {
            let wider = Policy {
                closer: Closer::Either,
                ..*policy
            };
            let other = either.judge(end, segment, at, &wider);
            if let Event::ResetOf(unsolicited, _) = other.event
                && matches!(judged.event, Event::None | Event::ResetOther)
            {
                judged.event = Event::ResetOfUnserved(unsolicited, other.client);
            }
        }
        judged
    }

    /// Takes note of a finding; tells whether it is the first of this client.
    pub(crate) fn is_first_finding(&mut self, client: End) -> bool {
        !mem::replace(&mut self.has_findings[client.index()], true)
    }

    /// Gives the last ACK that nothing asked for its place among the findings.
    pub(crate) fn found(&mut self, client: End, finding: usize) {
        self.judge.found(client, finding);
    }
}
