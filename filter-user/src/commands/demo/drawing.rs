//! One connection of a phase as a ladder: the frames that were on the client's wire, and what the
//! packet programs reported of them.

use std::time::Duration;

use analysis::ladder::{Emphasis, Ladder, Step};
use filter_common::{Direction, EventRecord, Fault, Flags, Reason, Verdict};

use super::report::PhaseMode;
use crate::lab::{client::Outcome, recording::Recording};

/// Draws the connection that was recorded; none if nothing was. `events` are those of the phase, of
/// all connections.
pub(super) fn ladder(
    mode: PhaseMode,
    recording: &Recording,
    outcomes: &[Outcome],
    events: &[EventRecord],
) -> Option<Ladder> {
    let outcome = outcomes
        .iter()
        .find(|outcome| outcome.client == recording.client);
    let mut ladder = scribe(recording, title(mode, outcome))?;
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
    let found = recording.frames.iter().rposition(|frame| {
        let headers = &frame.headers;
        headers.source == recording.client
            && headers.is_pure_ack()
            && (headers.seq, headers.ack) == (event.seq, event.ack)
            && frame.at <= at
    });
    let found = found.map(number);
    if let Some(step) = steps
        .iter_mut()
        .find(|step| found.is_some() && step.frame == found)
    {
        let verdict = if is_dropped {
            "the filter drops it"
        } else {
            "the filter observes it, and lets it pass"
        };
        step.note = Some(format!("{kind}: {verdict}"));
        step.emphasis = Emphasis::Fault;
        step.arrives = !is_dropped;
        step.is_close = true;
    }
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

/// Interim.
fn scribe(recording: &Recording, title: String) -> Option<Ladder> {
    let first = recording.frames.first()?;
    let client = recording.client;
    let server = first.headers.destination;
    let mut isn = [None; 2];
    let mut steps = Vec::new();
    let mut last_ack = None;
    for (index, frame) in recording.frames.iter().enumerate() {
        let h = &frame.headers;
        let from_client = h.source == client;
        let me = usize::from(!from_client);
        let seq = h.seq.0.wrapping_sub(*isn[me].get_or_insert(h.seq.0));
        let ack = h
            .flags
            .any(Flags::ACK)
            .then(|| h.ack.0.wrapping_sub(*isn[1 - me].get_or_insert(h.ack.0)));
        let again = from_client && h.is_pure_ack() && last_ack == Some(h.ack);
        let rst = h.flags.any(Flags::RST);
        steps.push(Step {
            frame: Some(number(index)),
            at: frame.at - first.at,
            direction: if from_client {
                Direction::FromClient
            } else {
                Direction::FromServer
            },
            flags: h.flags,
            seq,
            ack,
            payload: h.payload,
            note: again.then(|| "spurious".to_owned()),
            emphasis: match () {
                () if again => Emphasis::Fault,
                () if rst => Emphasis::Reset,
                () => Emphasis::None,
            },
            arrives: true,
            is_close: again || rst || h.flags.any(Flags::FIN),
        });
        if from_client && h.is_pure_ack() {
            last_ack = Some(h.ack);
        }
    }
    Some(Ladder {
        title,
        client,
        server,
        steps,
    })
}
