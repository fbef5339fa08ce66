//! R1 and R2 once more, naively: a look back over everything that was seen, no state.
//!
//! It knows no expiry; its traces are shorter than any lifetime.

use filter_common::{Direction, Flags, Mode, Moment, Policy, Reason, Segment, SeqNum, Ticks};

use crate::connection::{FIN_ACK, before};

/// A segment that came by, and what became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) direction: Direction,
    pub(crate) segment: Segment,
    pub(crate) now: Ticks,
    pub(crate) reason: Reason,
}

impl Seen {
    fn is_from_client(&self) -> bool {
        self.direction == Direction::FromClient
    }

    fn opens(&self) -> bool {
        let Self { segment, .. } = self;
        self.is_from_client()
            && segment
                .flags
                .only(FIN_ACK, FIN_ACK.with(Flags::SYN).with(Flags::RST))
    }

    /// Whether it is a late copy of a SYN that opened the connection that ends at `fc`.
    fn opened(&self, fc: SeqNum) -> bool {
        let controls = FIN_ACK.with(Flags::SYN).with(Flags::RST);
        let Segment {
            flags, seq, ack, ..
        } = self.segment;
        if self.is_from_client() {
            flags.only(Flags::SYN, controls) && seq.plus(1).precedes(fc)
        } else {
            flags.only(Flags::SYN.with(Flags::ACK), controls) && ack.precedes(fc)
        }
    }

    /// Dropped, or in monitor mode counted as if.
    fn spends_budget(&self) -> bool {
        matches!(
            self.reason,
            Reason::SpuriousAckDropped
                | Reason::RedundantAckDropped
                | Reason::SpuriousAckObserved
                | Reason::RedundantAckObserved
        )
    }
}

/// What was seen of one close, from the client's FIN on.
struct Close<'a> {
    fc: SeqNum,
    seen: &'a [Seen],
}

impl<'a> Close<'a> {
    fn find(history: &'a [Seen]) -> Option<Self> {
        let mut start = None;
        for (index, seen) in history.iter().enumerate() {
            let Seen { segment, .. } = seen;
            let opened = start.is_some_and(|(_, fc)| seen.opened(fc));
            let disarms = segment.flags.any(Flags::SYN) && !opened
                || seen.is_from_client() && segment.flags.any(Flags::RST);
            if disarms {
                start = None;
            } else if seen.opens() && start.is_none_or(|(_, fc)| fc != segment.next()) {
                start = Some((index + 1, segment.next()));
            }
        }
        start.map(|(start, fc)| Self {
            fc,
            seen: &history[start..],
        })
    }

    /// Fs as the server's FIN told before the segment at `index`.
    fn fs(&self, index: usize) -> Option<SeqNum> {
        let closing = |seen: &&Seen| {
            let Seen { segment, .. } = seen;
            !seen.is_from_client()
                && segment.flags.only(FIN_ACK, FIN_ACK.with(Flags::RST))
                && segment.ack == self.fc
        };
        self.seen[..index]
            .iter()
            .rfind(closing)
            .map(|seen| seen.segment.next())
    }

    /// Whether a FIN with this Fs told that the server had not got the client's: since another Fs
    /// was told, or right before the first was. While another one is the server's, it is a stranger's.
    fn crossed(&self, fs: SeqNum) -> bool {
        let mut crossed = false;
        for (index, seen) in self.seen.iter().enumerate() {
            let Segment { flags, ack, .. } = seen.segment;
            if seen.is_from_client() || !flags.any(Flags::FIN) || flags.any(Flags::RST) {
                continue;
            }
            let counts = flags.any(Flags::ACK) && ack == self.fc;
            let is_strangers = !counts && self.fs(index).is_some_and(|told| told != fs);
            if seen.segment.next() == fs {
                crossed |= !counts && !is_strangers;
            } else if counts || self.fs(index).is_none() {
                crossed = false;
            }
        }
        crossed
    }

    fn elicits(&self, index: usize) -> bool {
        let seen = &self.seen[index];
        let Some(fs) = self.fs(index + 1) else {
            return false;
        };
        let Segment {
            flags,
            payload,
            seq,
            ..
        } = seen.segment;
        !seen.is_from_client()
            && !flags.any(Flags::RST)
            && (flags.any(Flags::FIN) || payload != 0 || seq != fs)
    }

    /// Whether a segment of the client acknowledged all that the server had to say, and was
    /// forwarded. What monitor mode would have dropped does not count, as if it had been.
    fn acknowledges(&self, index: usize) -> bool {
        let seen = &self.seen[index];
        seen.is_from_client()
            && !seen.opens()
            && seen.segment.flags.any(Flags::ACK)
            && Some(seen.segment.ack) == self.fs(index)
            && !seen.spends_budget()
    }

    fn answers(&self, index: usize) -> bool {
        self.acknowledges(index) && self.seen[index].segment.seq == self.fc
    }

    fn last(&self, is: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        (0..self.seen.len()).rev().find(|&index| is(self, index))
    }
}

/// Whether R1 holds for a client's segment, in enforce and in monitor mode alike.
pub(crate) fn is_unasked(history: &[Seen], segment: &Segment, now: Ticks, policy: &Policy) -> bool {
    let Some(close) = Close::find(history) else {
        return false;
    };
    let Some(fs) = close.fs(close.seen.len()) else {
        return false;
    };
    let pure = segment.flags == Flags::ACK
        && segment.payload == 0
        && segment.options == filter_common::segment::Options::Plain;
    let numbers =
        segment.ack == fs && (segment.seq == close.fc || segment.seq == before(close.fc, 1));
    let asked = close.last(Close::elicits);
    let answered = close
        .last(Close::answers)
        .is_some_and(|answer| Some(answer) > asked);
    let in_time = close
        .last(Close::acknowledges)
        .is_some_and(|index| now.since(Moment::of(close.seen[index].now)) <= policy.window);
    let drops = close
        .seen
        .iter()
        .filter(|seen| seen.spends_budget())
        .count();
    pure && numbers && answered && in_time && drops < usize::from(policy.budget)
}

/// Whether R2 holds for a server's segment.
pub(crate) fn is_guarded(history: &[Seen], segment: &Segment, policy: &Policy) -> bool {
    let Some(close) = Close::find(history) else {
        return false;
    };
    let confirmed = close
        .last(Close::answers)
        .map(|index| close.seen[index].segment.ack);
    policy.rst_guard
        && policy.mode == Mode::Enforce
        && segment.flags == Flags::RST
        && confirmed == close.fs(close.seen.len())
        && confirmed.is_some_and(|fs| !close.crossed(fs))
        && confirmed == Some(segment.seq)
}
