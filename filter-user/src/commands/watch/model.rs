//! What is shown: the last snapshot, and what has become of those before it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    commands::figures::Figures,
    report::{Event, Snapshot, Timestamp},
};

/// As many intervals as rates are remembered: more than a screen has columns.
const REMEMBERED: usize = 600;
/// How much later than it should an answer may come.
const PATIENCE: Duration = Duration::from_secs(3);
/// As many events.
const EVENTS: usize = 500;

/// What is known of an instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// The last snapshot; none before the first.
    pub(super) snapshot: Option<Box<Snapshot>>,
    /// That there is no instance now.
    pub(super) gone: Option<Gone>,
    /// Rates of each interval, oldest first.
    pub(super) rates: VecDeque<Rates>,
    /// Last events, the latest first.
    pub(super) events: VecDeque<Event>,
    /// Events that were left out.
    pub(super) events_skipped: u64,
    counted: Option<(Instant, Figures)>,
}

/// An instance that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    /// When that was noticed.
    pub(super) since: Timestamp,
    /// What the last look for it said.
    pub(super) why: String,
}

/// How much was counted in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) closes: f64,
    pub(super) dropped: f64,
    pub(super) observed: f64,
    pub(super) resets: f64,
    pub(super) suppressed: f64,
}

impl Model {
    /// Takes in a snapshot that arrived at `now`.
    pub(super) fn take(&mut self, mut snapshot: Box<Snapshot>, now: Instant) {
        let figures = Figures::sum(&snapshot.status);
        let is_same = self.snapshot.as_ref().is_some_and(|before| {
            let (before, now) = (&before.status, &snapshot.status);
            (before.pid, before.since) == (now.pid, now.since)
        });
        if let Some((then, before)) = self.counted
            && is_same
        {
            let seconds = now.duration_since(then).as_secs_f64();
            if seconds > 0.0 {
                self.rates
                    .push_back(Rates::between(&before, &figures, seconds));
            }
            if self.rates.len() > REMEMBERED {
                self.rates.pop_front();
            }
        } else {
            self.forget_rates();
        }
        for event in snapshot.events.drain(..) {
            self.events.push_front(event);
        }
        self.events.truncate(EVENTS);
        self.events_skipped += snapshot.events_skipped;
        self.counted = Some((now, figures));
        self.snapshot = Some(snapshot);
        self.gone = None;
    }

    /// Takes in that a look for the instance found none.
    pub(super) fn lose(&mut self, why: String) {
        let since = self.gone.as_ref().map(|gone| gone.since);
        let since = since.unwrap_or_else(Timestamp::now);
        self.gone = Some(Gone { since, why });
    }

    /// How long an instance that should have answered again has not done so.
    pub(super) fn silence(&self, now: Instant, interval: Duration) -> Option<Duration> {
        let (last, _) = self.counted?;
        let silence = now.saturating_duration_since(last);
        (silence > interval + PATIENCE).then_some(silence)
    }

    /// Begins anew with the rates.
    pub(super) fn forget_rates(&mut self) {
        self.rates.clear();
    }
}

impl Rates {
    #[expect(
        clippy::cast_precision_loss,
        reason = "nobody reads the sixteenth digit of a rate"
    )]
    fn between(before: &Figures, now: &Figures, seconds: f64) -> Self {
        let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        Self {
            closes: rate(before.closes, now.closes),
            dropped: rate(before.dropped, now.dropped),
            observed: rate(before.observed, now.observed),
            resets: rate(before.resets(), now.resets()),
            suppressed: rate(before.suppressed, now.suppressed),
        }
    }
}
