//! A trace of segments of one connection, under any policy, through the state machine.
//!
//! The octets, as [`Trace`] reads them: four of policy, then six for each segment. Any octets are
//! a trace, and near octets are near traces.

#[path = "../../model/tests/oracle/words.rs"]
pub(crate) mod words;

use fastrand::Rng;
use filter_common::{
    Closer, Direction, Flags, Flow, Mode, Phase, Policy, Reason, Segment, SeqNum, Ticks, Verdict,
    decide, segment::Options,
};

use self::words::{Event, judge};

/// Near the wrap.
const FC: SeqNum = SeqNum(0);
const FS: SeqNum = SeqNum(2);
const START: Ticks = Ticks(1_000_000);
/// More would make the oracle, which looks back at each step, slow.
const MOST_STEPS: usize = 32;

const POLICY_OCTETS: usize = 4;
const STEP_OCTETS: usize = 6;

/// A policy and what comes by under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The settings.
    pub policy: Policy,
    /// What comes by.
    pub steps: Vec<Step>,
}

/// A segment, some ticks after the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Ticks since the last.
    pub pause: u64,
    /// Which way it travels.
    pub direction: Direction,
    /// What it says.
    pub segment: Segment,
}

impl Trace {
    /// Any octets are a trace.
    #[must_use]
    pub fn read(octets: &[u8]) -> Self {
        let policy = octets.first_chunk().copied().unwrap_or_default();
        let steps = octets.get(POLICY_OCTETS..).unwrap_or_default();
        Self {
            policy: read_policy(policy),
            steps: steps
                .as_chunks()
                .0
                .iter()
                .take(MOST_STEPS)
                .copied()
                .map(Step::read)
                .collect(),
        }
    }
}

/// Modes; budget; window; lifetimes.
pub(crate) fn read_policy([modes, budget, window, lifetimes]: [u8; POLICY_OCTETS]) -> Policy {
    Policy {
        mode: if modes & 1 == 0 {
            Mode::Enforce
        } else {
            Mode::Monitor
        },
        closer: if modes & 4 == 0 {
            Closer::Client
        } else {
            Closer::Either
        },
        rst_guard: modes & 2 != 0,
        window: Ticks(window.into()),
        budget,
        half_closed_lifetime: Ticks(u64::from(lifetimes >> 4) << 8),
        one_sided_lifetime: Ticks(u64::from(lifetimes >> 4) << 5),
        closed_lifetime: Ticks(u64::from(lifetimes & 0x0f) << 6),
    }
}

impl Step {
    /// Direction and high flags; low flags; SEG.SEQ and SEG.ACK as distances from the close's,
    /// 127 for one that is half the numbers away; payload, and options in its lowest bit; pause.
    fn read([high, low, seq, ack, payload, pause]: [u8; STEP_OCTETS]) -> Self {
        let (direction, seq_end, ack_end) = if high & 0x80 == 0 {
            (Direction::FromClient, FC, FS)
        } else {
            (Direction::FromServer, FS, FC)
        };
        Self {
            // Short ones exactly, and long ones up to the longest lifetime.
            pause: match pause {
                0..0xe0 => u64::from(pause) >> 1,
                _ => u64::from(pause & 0x1f) << 7,
            },
            direction,
            segment: Segment {
                seq: near(seq_end, seq),
                ack: near(ack_end, ack),
                flags: Flags::from_header(u16::from_be_bytes([high & 0x0f, low])),
                payload: u32::from(payload >> 1),
                options: if payload & 1 == 0 {
                    Options::Plain
                } else {
                    Options::Other
                },
            },
        }
    }
}

fn near(end: SeqNum, distance: u8) -> SeqNum {
    match distance.cast_signed() {
        i8::MAX => end.plus(1 << 31),
        near => end.plus(i32::from(near).cast_unsigned()),
    }
}

/// The octets of a trace, most of its segments plausible.
pub fn random(random: &mut Rng) -> Vec<u8> {
    let mut octets = vec![
        random.u8(..8),
        random.u8(..6),
        random.u8(..12),
        *random.choice(&[0x11, 0x21, 0x42, 0xff]).unwrap_or(&0x11),
    ];
    for _ in 0..random.usize(1..=MOST_STEPS) {
        let [mut high, mut low, mut seq, mut ack, mut payload] = match random.u8(..20) {
            0..3 => [0x00, 0x11, 0xff, 0xff, 0],
            3..7 => [0x80, 0x11, 0xff, 0x00, 0],
            7..14 => [0x00, 0x10, 0x00, 0x00, 0],
            14 => [0x00, 0x10, 0xff, 0x00, 0],
            15..17 => [0x80, 0x04, 0x00, 0x00, 0],
            _ => [0x80, 0x10, 0x00, 0x00, 0],
        };
        match random.u8(..24) {
            0 => high ^= random.u8(..),
            1 => low = random.u8(..),
            2 => low ^= 1 << random.u8(..8),
            3 => seq = random.u8(..),
            4 => ack = random.u8(..),
            5 => payload = random.u8(..8),
            _ => {}
        }
        let pause = match random.u8(..16) {
            0..8 => 0,
            8..15 => random.u8(..24),
            _ => random.u8(..),
        };
        octets.extend([high, low, seq, ack, payload, pause]);
    }
    octets
}

/// A connection as a filter sees it.
struct Filter {
    policy: Policy,
    flow: Option<Flow>,
}

impl Filter {
    fn see(&mut self, now: Ticks, step: &Step) -> Reason {
        let decision = decide(self.flow, step.direction, &step.segment, now, &self.policy);
        decision.change.apply(&mut self.flow);
        decision.reason
    }
}

/// What must hold of a trace; gives the reasons of its segments.
///
/// # Errors
///
/// Says what does not.
pub fn check(octets: &[u8]) -> Result<Vec<Reason>, String> {
    let Trace { policy, steps } = Trace::read(octets);
    let [mut filter, mut monitor] = [policy.mode, Mode::Monitor].map(|mode| Filter {
        policy: Policy { mode, ..policy },
        flow: None,
    });
    let mut history: Vec<Event> = Vec::new();
    let mut now = START;
    let mut bounds = Bounds::default();
    let mut reasons = Vec::new();
    for step in &steps {
        now = Ticks(now.0 + step.pause);
        let before = filter.flow;
        let expected = judge(&history, step.direction, step.segment, now, &policy);
        let reason = filter.see(now, step);
        let broken = |what: &str| {
            let told: Vec<_> = history.iter().map(|event| event.reason).collect();
            Err(format!(
                "{what}: {reason:?} at {now:?} of {step:?}, in {before:?} under {policy:?} after {told:?}"
            ))
        };
        if reason != expected {
            return broken(&format!("the words say {expected:?}"));
        }
        if reason.verdict() == Verdict::Drop && !may_drop(before, step, &policy) {
            return broken("dropped what may not be");
        }
        if let Err(exceeded) = bounds.see(now, step, reason, &policy) {
            return broken(exceeded);
        }
        if monitor.see(now, step).verdict() == Verdict::Drop {
            return broken("dropped in monitor mode");
        }
        if filter.flow.map(unprovoked) != monitor.flow.map(unprovoked) {
            return broken("monitor mode keeps another state");
        }
        history.push(Event {
            at: now,
            direction: step.direction,
            segment: step.segment,
            verdict: reason.verdict(),
            reason,
        });
        reasons.push(reason);
    }
    Ok(reasons)
}

/// Whether a segment is one of the two kinds that are ever dropped, of a flow that is Closed.
fn may_drop(flow: Option<Flow>, step: &Step, policy: &Policy) -> bool {
    let Step {
        direction, segment, ..
    } = step;
    let Some(flow) = flow else {
        return false;
    };
    let (fc, fs) = (flow.client.fin_end, flow.server.fin_end);
    policy.mode == Mode::Enforce
        && flow.phase() == Phase::Closed
        && match direction {
            Direction::FromClient => {
                segment.flags == Flags::ACK
                    && segment.payload == 0
                    && segment.options == Options::Plain
                    && segment.ack == fs
                    && (segment.seq == fc || segment.seq.plus(1) == fc)
            }
            Direction::FromServer => {
                policy.rst_guard && segment.flags == Flags::RST && segment.seq == fs
            }
        }
}

/// What monitor mode keeps differently: whether a spurious ACK did reach the server.
fn unprovoked(mut flow: Flow) -> Flow {
    flow.client.provoked = 0;
    flow
}

/// Budget and window, counted without the machine's state.
#[derive(Debug, Default)]
struct Bounds {
    drops: u32,
    forwarded: Option<Ticks>,
}

impl Bounds {
    fn see(
        &mut self,
        now: Ticks,
        step: &Step,
        reason: Reason,
        policy: &Policy,
    ) -> Result<(), &'static str> {
        if reason == Reason::FlowCreated {
            *self = Self::default();
        }
        if step.direction == Direction::FromServer || !step.segment.flags.any(Flags::ACK) {
            return Ok(());
        }
        if reason.verdict() == Verdict::Pass {
            self.forwarded = Some(now);
            return Ok(());
        }
        self.drops += 1;
        if self.drops > u32::from(policy.budget) {
            return Err("dropped more than the budget");
        }
        match self.forwarded {
            Some(forwarded) if Ticks(now.0 - forwarded.0) <= policy.window => Ok(()),
            _ => Err("dropped after the window"),
        }
    }
}
