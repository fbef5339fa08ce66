//! One connection of a phase as a ladder: the frames that were on the client's wire, and what the
//! packet programs reported of them.

use std::time::Duration;

use analysis::{
    Analyzer, Filter, Options, Scribe,
    capture::Time,
    ladder::{Emphasis, Ladder, Step},
};
use filter_common::{Direction, EventRecord, Fault, Flags, Reason, Verdict, wire::Link};

use super::report::PhaseMode;
use crate::{
    lab::{client::Outcome, recording::Recording},
    settings::Settings,
};

/// Draws the connection that was recorded; none if nothing was. `events` are those of the phase, of
/// all connections.
pub(super) fn ladder(
    mode: PhaseMode,
    settings: &Settings,
    recording: &Recording,
    outcomes: &[Outcome],
    events: &[EventRecord],
) -> Option<Ladder> {
    let outcome = outcomes
        .iter()
        .find(|outcome| outcome.client == recording.client);
    let mut ladder = scribe(settings, recording, title(mode, outcome))?;
    let client = (recording.client.ip(), recording.client.port());
    for event in events {
        let key = &event.key;
        if (key.client_address(), key.client_port()) == client
            && let Some(reason) = event.reason()
        {
            tell(event, reason, recording, &mut ladder.steps);
        }
    }
    Some(ladder)
}

/// Judged as `lastack analyze` would, by the settings of the phase.
fn scribe(settings: &Settings, recording: &Recording, title: String) -> Option<Ladder> {
    let server = recording.frames.first()?.headers.destination;
    let mut analyzer = Analyzer::new(&Options {
        window: settings.window,
        budget: settings.budget,
        closer: settings.closer,
        half_closed_lifetime: settings.half_closed_timeout,
        one_sided_lifetime: settings.one_sided_timeout,
        closed_lifetime: settings.closed_timeout,
        filter: Filter::default(),
        most_findings: 0,
    });
    let mut scribe = Scribe::new(recording.client, server);
    for (index, frame) in recording.frames.iter().enumerate() {
        let number = number(index);
        let time = Time(u64::try_from(frame.at.as_nanos()).unwrap_or(u64::MAX));
        let judged = analyzer.frame(number, time, Link::Ethernet, frame.octets.as_slice());
        scribe.frame(number, time, &judged);
    }
    Some(scribe.ladder(title))
}

fn title(mode: PhaseMode, outcome: Option<&Outcome>) -> String {
    let filter = match mode {
        PhaseMode::Off => "Filter off",
        PhaseMode::Monitor => "Filter monitoring",
        PhaseMode::Enforce => "Filter enforcing",
    };
    let Some(outcome) = outcome else {
        return filter.to_owned();
    };
    let (read, expected) = (outcome.bytes_read, outcome.bytes_expected);
    let end = if outcome.read_error {
        ", then a read failed"
    } else {
        ""
    };
    format!("{filter}: the client read {read} of {expected} bytes{end}")
}

/// Takes what a program reported to the step that it is about.
fn tell(event: &EventRecord, reason: Reason, recording: &Recording, steps: &mut Vec<Step>) {
    let at = Duration::from_nanos(event.time);
    let is_dropped = reason.verdict() == Verdict::Drop;
    let kind = match reason.fault() {
        Some(Fault::SpuriousAck) => "spurious",
        Some(Fault::RedundantAck) => "redundant",
        Some(Fault::Reset) | None if is_dropped => {
            insert(kept_reset(event, at, recording), steps);
            return;
        }
        Some(Fault::Reset) | None => return,
    };
    // The first ACK and those that repeat it have the same numbers: it is the last that was sent
    // by then.
    let mut same = recording
        .frames
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, frame)| {
            let headers = &frame.headers;
            headers.source == recording.client
                && headers.is_pure_ack()
                && (headers.seq, headers.ack) == (event.seq, event.ack)
                && frame.at <= at
        });
    let Some((index, frame)) = same.next() else {
        return;
    };
    let is_it = |step: &&mut Step| step.frame == Some(number(index));
    let Some(step) = steps.iter_mut().find(is_it) else {
        return;
    };
    let later = same.next().map(|(_, before)| {
        let later = frame.at.saturating_sub(before.at);
        format!(", {} ms later", later.as_millis())
    });
    let verdict = if is_dropped {
        "the filter drops it"
    } else {
        "the filter lets it pass"
    };
    step.note = Some(format!("{kind}{}; {verdict}", later.unwrap_or_default()));
    step.emphasis = Emphasis::Fault;
    step.arrives = !is_dropped;
}

/// A reset that the gateway kept, so that it was never on the client's wire.
fn kept_reset(event: &EventRecord, at: Duration, recording: &Recording) -> Step {
    let mut frames = recording.frames.iter();
    let start = recording.frames.first().map_or(at, |frame| frame.at);
    let initial = frames.find(|frame| frame.headers.destination == recording.client);
    let initial = initial.map_or(0, |frame| frame.headers.seq.0);
    Step {
        frame: None,
        at: at.saturating_sub(start),
        direction: Direction::FromServer,
        flags: Flags::RST,
        seq: event.seq.0.wrapping_sub(initial),
        ack: None,
        payload: 0,
        note: Some("the filter drops it".to_owned()),
        emphasis: Emphasis::Reset,
        arrives: false,
        is_close: true,
    }
}

fn insert(step: Step, steps: &mut Vec<Step>) {
    let index = steps.partition_point(|other| other.at <= step.at);
    steps.insert(index, step);
}

/// Of the frame at an index of a recording, as captures count them.
fn number(index: usize) -> u64 {
    index as u64 + 1
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use filter_common::{FlowKey, SeqNum};

    use super::*;
    use crate::lab::{frame::Headers, recording::Recorded};

    const CLIENT: &str = "10.0.0.2:20000";
    const SERVER: &str = "203.0.113.2:80";

    fn recorded(at: u64, from: &str, flags: Flags, (seq, ack): (u32, u32)) -> Recorded {
        let to = if from == CLIENT { SERVER } else { CLIENT };
        let [source, destination] = [from, to].map(|end| end.parse::<SocketAddr>().unwrap());
        Recorded {
            at: Duration::from_millis(at),
            headers: Headers {
                source,
                destination,
                seq: SeqNum(seq),
                ack: SeqNum(ack),
                flags,
                payload: 0,
            },
            octets: Vec::new(),
        }
    }

    /// A server whose first number is 1000 closes, and its FIN is acknowledged three times.
    fn recording() -> Recording {
        let ack = |at| recorded(at, CLIENT, Flags::ACK, (500, 1002));
        let fin = recorded(5_000, SERVER, Flags::FIN.with(Flags::ACK), (1001, 500));
        let syn = recorded(4_900, SERVER, Flags::SYN.with(Flags::ACK), (1000, 490));
        Recording {
            client: CLIENT.parse().unwrap(),
            frames: vec![syn, fin, ack(5_001), ack(5_201), ack(5_401)],
        }
    }

    fn told(at: u64, reason: Reason) -> Vec<Step> {
        let recording = recording();
        let step = |(index, frame): (usize, &Recorded)| Step {
            frame: Some(number(index)),
            at: frame.at.saturating_sub(recording.frames[0].at),
            note: None,
            emphasis: Emphasis::None,
            arrives: true,
            ..kept_reset(&event(0, reason), frame.at, &recording)
        };
        let mut steps: Vec<_> = recording.frames.iter().enumerate().map(step).collect();
        tell(&event(at, reason), reason, &recording, &mut steps);
        steps
    }

    fn event(at: u64, reason: Reason) -> EventRecord {
        EventRecord {
            time: at * 1_000_000,
            key: FlowKey::default(),
            seq: SeqNum(if reason.fault() == Some(Fault::Reset) {
                1002
            } else {
                500
            }),
            ack: SeqNum(1002),
            interface: 0,
            reason: reason as u8,
            reserved: [0; 7],
        }
    }

    #[test]
    fn what_is_told_of_an_ack_is_of_the_last_that_was_sent_by_then() {
        for (reason, arrives, note) in [
            (
                Reason::SpuriousAckDropped,
                false,
                "spurious, 200 ms later; the filter drops it",
            ),
            (
                Reason::RedundantAckObserved,
                true,
                "redundant, 200 ms later; the filter lets it pass",
            ),
        ] {
            let steps = told(5_202, reason);
            let noted: Vec<_> = steps.iter().filter(|step| step.note.is_some()).collect();
            let [step] = noted[..] else {
                panic!("{steps:?}");
            };
            assert_eq!((step.frame, step.arrives), (Some(4), arrives));
            assert_eq!(step.note.as_deref(), Some(note));
            assert_eq!(step.emphasis, Emphasis::Fault);
        }
    }

    #[test]
    fn a_reset_that_was_kept_is_put_where_it_was() {
        let steps = told(5_300, Reason::ResetAfterSpuriousAckSuppressed);
        let frames: Vec<_> = steps.iter().map(|step| step.frame).collect();
        assert_eq!(frames, [Some(1), Some(2), Some(3), Some(4), None, Some(5)]);
        let reset = &steps[4];
        assert_eq!((reset.seq, reset.arrives), (2, false));
        assert_eq!(reset.at, Duration::from_millis(400));
    }

    #[test]
    fn a_reset_that_passed_is_on_the_wire_already() {
        for reason in [Reason::ResetAfterSpuriousAck, Reason::ResetOther] {
            let steps = told(5_300, reason);
            assert_eq!(steps.len(), 5);
            assert!(steps.iter().all(|step| step.note.is_none()));
        }
    }
}
