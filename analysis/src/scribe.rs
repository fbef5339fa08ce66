//! One connection of a capture becomes a ladder.

use std::{net::SocketAddr, time::Duration};

use filter_common::{Direction, Flags, Reason, Segment};

use crate::{
    capture::Time,
    ladder::{Emphasis, Ladder, Step},
    report::Kind,
    segments::{Endpoints, Judged, Judgement},
};

/// Writes down the segments of one connection.
#[derive(Clone, Debug)]
pub struct Scribe {
    endpoints: Endpoints,
    steps: Vec<Step>,
    start: Option<Time>,
    /// First sequence numbers, of the client and of the server.
    initial: [Option<u32>; 2],
    /// The frame of the client's last ACK of the server's FIN that the filter lets pass.
    last_ack: Option<(u64, Time)>,
    is_closing: bool,
    /// Numbers that follow the FINs, of the client and of the server.
    ends: [Option<u32>; 2],
    /// The second FIN acknowledged the first, which was the client's.
    is_last_ack: bool,
}

impl Scribe {
    /// Of the connection between these two.
    #[must_use]
    pub fn new(client: SocketAddr, server: SocketAddr) -> Self {
        Self {
            endpoints: Endpoints { client, server },
            steps: Vec::new(),
            start: None,
            initial: [None; 2],
            last_ack: None,
            is_closing: false,
            ends: [None; 2],
            is_last_ack: false,
        }
    }

    /// Takes note of a frame, if it is of this connection.
    pub fn frame(&mut self, number: u64, time: Time, judged: &Judged) {
        let Judged::Segment(judgement) = judged else {
            return;
        };
        let Endpoints { client, server } = self.endpoints;
        let direction = match (judgement.source(), judgement.destination()) {
            ends if ends == (client, server) => Direction::FromClient,
            ends if ends == (server, client) => Direction::FromServer,
            _ => return,
        };
        let segment = &judgement.segment;
        let [sender, receiver] = match direction {
            Direction::FromClient => [0, 1],
            Direction::FromServer => [1, 0],
        };
        if segment.flags.any(Flags::SYN) {
            self.initial[sender] = Some(segment.seq.0);
        }
        let has_ack = segment.flags.any(Flags::ACK);
        let since = |initial: &mut Option<u32>, number: u32| {
            number.wrapping_sub(*initial.get_or_insert(number))
        };
        // What a RST without ACK acknowledges means nothing.
        let seq = since(&mut self.initial[sender], segment.seq.0);
        let ack = has_ack.then(|| since(&mut self.initial[receiver], segment.ack.0));
        if let Some(ack) = judgement.drawn_by {
            self.mark_unserved(ack);
        }
        let note = self.note(judgement, direction, time);
        let step = Step {
            frame: Some(number),
            at: time.since(*self.start.get_or_insert(time)),
            direction,
            flags: segment.flags,
            seq,
            ack,
            payload: segment.payload,
            note,
            emphasis: match () {
                () if judgement.unsolicited.is_some() => Emphasis::Fault,
                () if segment.flags.any(Flags::RST) => Emphasis::Reset,
                () => Emphasis::None,
            },
            arrives: true,
            is_close: self.is_close(judgement, segment),
        };
        self.steps.push(step);
        if has_acknowledged(judgement) && judgement.reason.fault().is_none() {
            self.last_ack = Some((number, time));
        }
    }

    /// An ACK turned out to have drawn a reset; if that was not told of it at once, only another
    /// `--closer` would have.
    fn mark_unserved(&mut self, frame: u64) {
        let is_it = |step: &&mut Step| step.frame == Some(frame);
        if let Some(step) = self.steps.iter_mut().rev().find(is_it)
            && step.emphasis == Emphasis::None
        {
            step.emphasis = Emphasis::Fault;
            step.is_close = true;
            step.note = Some("spurious; lastack needs --closer either".to_owned());
        }
    }

    /// Everything that was written down.
    #[must_use]
    pub fn ladder(self, title: impl Into<String>) -> Ladder {
        Ladder {
            title: title.into(),
            client: self.endpoints.client,
            server: self.endpoints.server,
            steps: self.steps,
        }
    }

    fn is_close(&mut self, judgement: &Judgement, segment: &Segment) -> bool {
        let closes = segment.flags.any(Flags::FIN.with(Flags::RST));
        // A server acknowledges a FIN at once, mostly.
        let answers = self.is_closing && segment.payload == 0;
        let is_last = self
            .steps
            .last()
            .is_some_and(|step| step.flags.any(Flags::FIN));
        self.is_closing |= closes;
        closes || has_acknowledged(judgement) || answers && is_last
    }

    /// What a FIN does, if it is one.
    fn fin(&mut self, segment: &Segment, direction: Direction) -> Option<&'static str> {
        if !segment.flags.finishes() {
            return None;
        }
        let end = Some(segment.next().0);
        let [own, other] = match direction {
            Direction::FromClient => [0, 1],
            Direction::FromServer => [1, 0],
        };
        if self.ends[own] == end {
            return Some("its FIN again");
        }
        self.ends[own] = end;
        self.is_last_ack =
            direction == Direction::FromServer && self.ends[other] == Some(segment.ack.0);
        Some(match direction {
            Direction::FromClient => "the client closes its half",
            Direction::FromServer => "the server closes its half",
        })
    }

    fn note(&mut self, judgement: &Judgement, direction: Direction, time: Time) -> Option<String> {
        const NOTES: [(Reason, &str); 5] = [
            (Reason::ElicitedAck, "the server asked for it"),
            (Reason::StaleAck, "stale: less than the FIN"),
            (Reason::ServerElicits, "asks for an ACK"),
            (Reason::ResetAfterClose, "no such ACK drew it"),
            (Reason::ResetAfterSpuriousAck, "no such ACK drew it"),
        ];
        /// Why R1 lets an ACK pass that nothing asked for.
        const BOUNDS: [(Reason, &str); 4] = [
            (Reason::WindowOver, "later than the window"),
            (Reason::BudgetSpent, "beyond the budget"),
            (Reason::OtherOptions, "its options may matter"),
            (Reason::OtherSequence, "with another SEG.SEQ"),
        ];
        let of = |notes: &[(Reason, &'static str)]| {
            let mut notes = notes.iter();
            let found = notes.find(|(reason, _)| *reason == judgement.reason);
            found.map(|(_, note)| *note)
        };
        if let Some(kind) = judgement.unsolicited {
            let effect = of(&BOUNDS).unwrap_or("lastack would drop it");
            let what = match (kind, self.last_ack) {
                (Kind::Spurious, None) => "spurious".to_owned(),
                (Kind::Spurious, Some((_, at))) => {
                    format!("spurious, {} later", span(time.since(at)))
                }
                (Kind::Redundant, None) => "redundant".to_owned(),
                (Kind::Redundant, Some((frame, _))) => {
                    format!("redundant: frame {frame} answered")
                }
            };
            return Some(format!("{what}; {effect}"));
        }
        if let Some(frame) = judgement.drawn_by {
            return Some(format!("drawn by frame {frame}"));
        }
        if let Some(note) = self.fin(&judgement.segment, direction) {
            return Some(note.to_owned());
        }
        // Judged with the sides the other way round, where the server closed first.
        if judgement.direction != Some(direction) {
            return None;
        }
        if judgement.reason == Reason::FirstAck && self.is_last_ack {
            return Some("the server frees its socket".to_owned());
        }
        of(&NOTES).map(str::to_owned)
    }
}

/// To the millisecond where that matters.
fn span(span: Duration) -> String {
    if span < Duration::from_secs(10) {
        format!("{:.0} ms", span.as_secs_f64() * 1000.0)
    } else {
        format!("{:.0} s", span.as_secs_f64())
    }
}

/// Whether it acknowledges the server's FIN.
fn has_acknowledged(judgement: &Judgement) -> bool {
    judgement.unsolicited.is_some()
        || matches!(judgement.reason, Reason::FirstAck | Reason::ElicitedAck)
}
