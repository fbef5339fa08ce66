//! Packets become findings: every connection is followed, and its close is judged by the filter's
//! own state machine.
//!
//! The client is whoever sent its FIN first. Frames that were captured more than once are judged
//! once.

use std::{collections::BTreeMap, time::Duration};

use filter_common::{
    Closer, Direction, Flags, Mode, Policy, Reason, Ticks,
    wire::{self, Frame, Link},
};

use crate::{
    capture::{
        Packet, Time,
        link::{self, Unsupported},
    },
    closing::{At, Closing, Event},
    connections::{Connections, Found, Lifetimes},
    copies::{Seen, Share, Sighting},
    filter::Filter,
    findings::{Findings, Span},
    report::{Kind, Report},
    segments::{Endpoints, Judged, Judgement},
};

/// What is asked of a capture.
#[derive(Clone, Debug)]
pub struct Options {
    /// R1.4.
    pub window: Duration,
    /// R1.5.
    pub budget: u8,
    /// Whose FIN makes a flow.
    pub closer: Closer,
    /// How long half-closed flows are remembered.
    pub half_closed_lifetime: Duration,
    /// How long closed flows are remembered.
    pub closed_lifetime: Duration,
    /// Which connections are looked at.
    pub filter: Filter,
    /// How many findings are kept; others are counted.
    pub most_findings: usize,
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Analysis {
    /// To show; `file` and `damage` are the caller's to fill in.
    pub report: Report,
    /// Where the connections of the findings are in the capture.
    pub spans: Vec<Span>,
}

/// Follows one capture.
pub struct Analyzer {
    policy: Policy,
    filter: Filter,
    connections: Connections,
    findings: Findings,
    /// How common copies are in the whole capture.
    copied: Share,
    skipped: [u64; Reason::COUNT],
    skipped_links: BTreeMap<&'static str, u64>,
    last: Time,
    report: Report,
}

impl Options {
    fn policy(&self) -> Policy {
        let ticks = |span: Duration| Ticks(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        Policy {
            // Nothing is changed any more.
            mode: Mode::Monitor,
            closer: self.closer,
            rst_guard: true,
            window: ticks(self.window),
            budget: self.budget,
            half_closed_lifetime: ticks(self.half_closed_lifetime),
            closed_lifetime: ticks(self.closed_lifetime),
        }
    }
}

impl Analyzer {
    /// Starts with nothing.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self {
            policy: options.policy(),
            filter: options.filter.clone(),
            connections: Connections::new(Lifetimes {
                open: options.half_closed_lifetime,
                closed: options.closed_lifetime,
            }),
            findings: Findings::new(options.most_findings),
            copied: Share::default(),
            skipped: [0; _],
            skipped_links: BTreeMap::new(),
            last: Time::default(),
            report: Report::default(),
        }
    }

    /// Judges a packet of a capture.
    pub fn packet(&mut self, packet: &Packet<'_>) -> Judged {
        match link::view(packet) {
            Ok((view, link)) => self.frame(packet.number, packet.time, link, &view),
            Err(Unsupported::Not(reason)) => {
                self.count(packet.time);
                self.skip(reason)
            }
            Err(unsupported) => self.skip_link(packet.time, unsupported.as_str()),
        }
    }

    /// Judges the bytes of a packet; `number` is that of its frame, from 1.
    pub fn frame<F: Frame + ?Sized>(
        &mut self,
        number: u64,
        time: Time,
        link: Link,
        frame: &F,
    ) -> Judged {
        let at = At {
            frame: number,
            time,
        };
        self.count(time);
        // In which direction it goes is not known yet: the sender stands for the client.
        let understood = wire::locate(frame, link, Direction::FromClient, 0).and_then(|located| {
            let key = wire::key(frame, &located, Direction::FromClient)?;
            let segment = wire::segment(frame, &located)?;
            Ok((located, key, segment))
        });
        let (located, key, segment) = match understood {
            Ok(understood) => understood,
            Err(reason) => return self.skip(reason),
        };
        if !self.filter.takes(&key) {
            return Judged::LeftOut;
        }
        self.report.segments += 1;
        let judgement = Judgement {
            key,
            segment,
            direction: None,
            reason: Reason::NoFlow,
            unsolicited: None,
            drawn_by: None,
        };
        let sighting = || Sighting::new(frame, &located, &segment, time);
        let found = self.connections.find(&key, time);
        let judged = self.segment(&found, judgement, at, sighting);
        self.connections.keep(found.slot, time);
        judged
    }

    /// Counts a packet as one that is not understood.
    fn skip(&mut self, why: Reason) -> Judged {
        self.skipped[why as usize] += 1;
        Judged::Skipped(why.as_str())
    }

    /// The same of one whose link layer is not understood, under a name for why.
    fn skip_link(&mut self, time: Time, why: &'static str) -> Judged {
        self.count(time);
        *self.skipped_links.entry(why).or_default() += 1;
        Judged::Skipped(why)
    }

    fn count(&mut self, time: Time) {
        let Report {
            packets,
            first,
            last,
            time_backwards,
            ..
        } = &mut self.report;
        *packets += 1;
        first.get_or_insert(time);
        *last = Some(time);
        *time_backwards += u64::from(time < self.last);
        self.last = time;
    }

    fn segment(
        &mut self,
        found: &Found,
        judgement: Judgement,
        at: At,
        sighting: impl FnOnce() -> Sighting,
    ) -> Judged {
        let Judgement { key, segment, .. } = judgement;
        let Found { slot, end, is_new } = *found;
        let connection = self.connections.at(slot);
        let opens = segment.flags.any(Flags::SYN) && !segment.flags.any(Flags::ACK);
        let begins = is_new || opens && connection.is_another(end, &segment);
        if begins {
            self.report.connections += 1;
            self.report.one_sided_connections += 1;
            connection.begin(at.frame, segment.flags.any(Flags::SYN));
        }
        if connection.touch(end, &segment) {
            self.report.one_sided_connections -= 1;
        }
        if connection.is_renumbered {
            return Judged::LeftOut;
        }
        if connection.closing.is_none() {
            if !segment.flags.finishes() {
                return Judged::Segment(judgement);
            }
            connection.closing = Some(Box::new(Closing::new(end)));
        }
        let Some(closing) = &mut connection.closing else {
            return Judged::Segment(judgement);
        };
        match closing.see(end, sighting(), &mut self.copied) {
            Seen::New => {}
            Seen::Copy => {
                self.report.copies += 1;
                return Judged::Copy;
            }
            Seen::Renumbered => {
                self.report.renumbered_connections += 1;
                connection.is_renumbered = true;
                connection.closing = None;
                return Judged::LeftOut;
            }
        }
        let judged = closing.judge(end, &segment, at, &self.policy);
        let mut judgement = Judgement {
            reason: judged.reason,
            direction: (judged.reason != Reason::NoFlow).then_some(judged.direction),
            ..judgement
        };
        let report = &mut self.report;
        match judged.event {
            Event::None => {}
            Event::Closed => report.closed += 1,
            Event::Crossed => report.crossing_closes += 1,
            Event::Elicited => report.reacks_elicited += 1,
            Event::Reused => {
                report.connections += 1;
                connection.first_frame = at.frame;
                closing.span = None;
            }
            Event::Unsolicited(unsolicited) => {
                judgement.unsolicited = Some(unsolicited.kind);
                match unsolicited.kind {
                    Kind::Spurious => report.spurious_acks += 1,
                    Kind::Redundant => report.redundant_acks += 1,
                }
                let endpoints = Endpoints::of(&key, judged.direction);
                self.findings.unsolicited(
                    endpoints,
                    &unsolicited,
                    (closing, judged.client),
                    connection.first_frame,
                );
            }
            Event::ResetOf(unsolicited, guarded) => {
                judgement.drawn_by = Some(unsolicited.frame);
                report.resets_after_spurious_ack += 1;
                let client = Endpoints::of(&key, judged.direction).client.ip();
                self.findings
                    .followed(client, &unsolicited, at.frame, at.time, guarded);
            }
            Event::ResetOfElicited => report.resets_after_elicited_ack += 1,
            Event::ResetOther => report.resets_other += 1,
        }
        if let Some(closing) = &connection.closing {
            if let Some(span) = closing.span {
                self.findings.spans[span].last = at.frame;
            } else if closing.is_forgotten() {
                connection.closing = None;
            }
        }
        Judged::Segment(judgement)
    }

    /// How many connections are remembered.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.connections.len()
    }

    /// Everything that was found.
    #[must_use]
    pub fn finish(mut self) -> Analysis {
        let mut skipped = self.skipped_links;
        for (reason, count) in Reason::ALL.into_iter().zip(self.skipped) {
            if count > 0 && reason != Reason::NotTcp {
                skipped.insert(reason.as_str(), count);
            }
        }
        let report = Report {
            forgotten: self.connections.forgotten,
            skipped,
            hosts: self.findings.hosts(),
            hosts_left_out: self.findings.hosts_left_out,
            findings: self.findings.list,
            findings_left_out: self.findings.left_out,
            ..self.report
        };
        Analysis {
            report,
            spans: self.findings.spans,
        }
    }
}
