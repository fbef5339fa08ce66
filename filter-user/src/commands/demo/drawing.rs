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
