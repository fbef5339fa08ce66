//! Packets become findings: every connection is followed, and its close is judged by the filter's
//! own state machine.
//!
//! The client is whoever sent its FIN first. Frames that were captured more than once are judged
//! once.

use std::{collections::BTreeMap, time::Duration};

use filter_common::{
    Closer, Direction, Flags, FlowKey, Mode, Policy, Reason, Segment, Ticks,
    wire::{self, Frame, Link},
};

use crate::{
    capture::{
        Packet, Time,
        link::{self, Unsupported},
    },
    closing::{self, At, Closing, Event},
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
    /// The same while only one side was seen.
    pub one_sided_lifetime: Duration,
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

/// For so long connections are remembered in any case that are not closed: those that are not even
/// closing are none that the filter forgets.
const IDLE: Duration = Duration::from_hours(1);

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

/// What a segment is to its connection.
enum Told {
    LeftOut,
    Copy,
    /// Of no close.
    Ordinary,
    Close(closing::Judged),
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
            one_sided_lifetime: ticks(self.one_sided_lifetime),
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
                open: options.half_closed_lifetime.max(IDLE),
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
                self.misunderstood(reason)
            }
            Err(unsupported) => self.skip(packet.time, unsupported.as_str()),
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
        let located = match wire::locate(frame, link, Direction::FromClient, 0) {
            Ok(located) => located,
            Err(reason) => return self.misunderstood(reason),
        };
        let key = match wire::key(frame, &located, Direction::FromClient) {
            Ok(key) => key,
            Err(reason) => return self.misunderstood(reason),
        };
        let segment = match wire::segment(frame, &located) {
            Ok(segment) => segment,
            Err(reason) => return self.misunderstood(reason),
        };
        if !self.filter.takes(&key) {
            return Judged::LeftOut;
        }
        self.report.segments += 1;
        let found = self.connections.find(&key, time);
        let sighting = || Sighting::new(frame, &located, &segment, time);
        let told = self.segment(&found, &segment, at, sighting);
        let judged = match told {
            Told::LeftOut => Judged::LeftOut,
            Told::Copy => Judged::Copy,
            Told::Ordinary => Judged::Segment(Judgement::ordinary(key, segment)),
            Told::Close(judged) => {
                self.note(&found, &key, at, &judged);
                Judged::Segment(judgement(key, segment, &judged))
            }
        };
        self.connections.keep(found.slot, time);
        judged
    }

    fn misunderstood(&mut self, reason: Reason) -> Judged {
        self.skipped[reason as usize] += 1;
        Judged::Skipped(reason.as_str())
    }

    /// Counts a packet whose link layer is not understood, under a name for why.
    fn skip(&mut self, time: Time, why: &'static str) -> Judged {
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
        segment: &Segment,
        at: At,
        sighting: impl FnOnce() -> Sighting,
    ) -> Told {
        let Found { slot, end, is_new } = *found;
        let connection = self.connections.at(slot);
        let opens = segment.flags.any(Flags::SYN) && !segment.flags.any(Flags::ACK);
        if is_new || opens && connection.is_another(end, segment) {
            self.report.connections += 1;
            self.report.one_sided_connections += 1;
            connection.begin(at.frame, segment.flags.any(Flags::SYN));
        }
        if segment.flags.any(Flags::RST) && connection.is_cut_short() {
            self.report.connections_reset += 1;
        }
        if connection.touch(end, segment) {
            self.report.one_sided_connections -= 1;
        }
        if connection.is_renumbered {
            return Told::LeftOut;
        }
        let closing = match &mut connection.closing {
            Some(closing) => closing,
            None if segment.flags.finishes() => connection
                .closing
                .insert(Box::new(Closing::new(end, &self.policy))),
            None => return Told::Ordinary,
        };
        match closing.see(end, sighting(), &mut self.copied) {
            Seen::New => Told::Close(closing.judge(end, segment, at, &self.policy)),
            Seen::Copy => {
                self.report.copies += 1;
                if let Some(span) = closing.span {
                    self.findings.spans[span].last = at.frame;
                }
                Told::Copy
            }
            Seen::Renumbered => {
                self.report.renumbered_connections += 1;
                connection.is_renumbered = true;
                connection.closing = None;
                Told::LeftOut
            }
        }
    }

    /// Counts what a segment is to the close that it belongs to.
    fn note(&mut self, found: &Found, key: &FlowKey, at: At, judged: &closing::Judged) {
        let connection = self.connections.at(found.slot);
        let Some(closing) = &mut connection.closing else {
            return;
        };
        let report = &mut self.report;
        match &judged.event {
            Event::None => {}
            Event::Closed => report.closed += 1,
            Event::Crossed => report.crossing_closes += 1,
            Event::Elicited => report.reacks_elicited += 1,
            Event::Reused => {
                report.connections += 1;
                connection.first_frame = at.frame;
                closing.begin_anew();
            }
            Event::Unsolicited(unsolicited) => {
                match unsolicited.kind {
                    Kind::Spurious => report.spurious_acks += 1,
                    Kind::Redundant => report.redundant_acks += 1,
                }
                let endpoints = Endpoints::of(key, judged.direction);
                let place = (closing.as_mut(), judged.client);
                self.findings
                    .unsolicited(endpoints, unsolicited, place, connection.first_frame);
            }
            Event::ResetOf(unsolicited, guarded) => {
                report.resets_after_spurious_ack += 1;
                let client = Endpoints::of(key, judged.direction).client.ip();
                self.findings
                    .followed(client, unsolicited, at.frame, at.time, *guarded);
            }
            Event::ResetOfUnserved(unsolicited, client) => {
                report.spurious_acks += u64::from(unsolicited.kind == Kind::Spurious);
                report.redundant_acks += u64::from(unsolicited.kind == Kind::Redundant);
                report.resets_after_spurious_ack += 1;
                let endpoints = Endpoints::of(key, found.end.direction(*client));
                let place = (closing.as_mut(), *client);
                self.findings
                    .unserved(endpoints, unsolicited, place, connection.first_frame, at);
            }
            Event::ResetOfElicited => report.resets_after_elicited_ack += 1,
            Event::ResetOther => report.resets_other += 1,
        }
        if let Some(span) = closing.span {
            self.findings.spans[span].last = at.frame;
        } else if closing.is_forgotten() {
            connection.closing = None;
        }
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
            findings: self.findings.list(),
            findings_left_out: self.findings.left_out,
            ..self.report
        };
        Analysis {
            report,
            spans: self.findings.spans,
        }
    }
}

/// What was judged of a segment of a close.
fn judgement(key: FlowKey, segment: Segment, judged: &closing::Judged) -> Judgement {
    let mut judgement = Judgement::ordinary(key, segment);
    if judged.reason != Reason::NoFlow {
        judgement.reason = judged.reason;
        judgement.direction = Some(judged.direction);
    }
    match &judged.event {
        Event::Unsolicited(unsolicited) => judgement.unsolicited = Some(unsolicited.kind),
        Event::ResetOf(unsolicited, _) | Event::ResetOfUnserved(unsolicited, _) => {
            judgement.drawn_by = Some(unsolicited.frame);
        }
        Event::None
        | Event::Closed
        | Event::Crossed
        | Event::Elicited
        | Event::Reused
        | Event::ResetOfElicited
        | Event::ResetOther => {}
    }
    judgement
}
