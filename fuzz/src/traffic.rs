//! A trace of frames through parser, expiry array and state machine, as a packet program puts
//! them together.
//!
//! The octets: four of policy, as in [`close`](crate::close), then for each frame one of
//! direction and pause, one of length, and the frame.

use std::collections::{HashMap, HashSet};

use fastrand::Rng;
use filter_common::{
    ClientHalf, Direction, Effects, Flow, FlowKey, Machine, Moment, Policy, Reason, ServerHalf,
    Ticks, Verdict,
    expiry::{self, Slot},
    segment::Options,
    wire::{self, Located},
};

use crate::{
    close::{
        Trace, read_policy,
        words::{Event, judge},
    },
    frames::{Extension, Frame, Ip, TIMESTAMPS, V4, V6, v6},
    mutation,
};

const SECRET: u64 = 0x0123_4567_89ab_cdef;
const START: Ticks = Ticks(1_000_000);
/// Few, so that flows share them.
const SLOTS: usize = 4;
const MOST_FRAMES: usize = 32;

/// A frame, some ticks after the one before.
struct Step<'a> {
    pause: u64,
    direction: Direction,
    frame: &'a [u8],
}

/// A policy and what comes by under it.
fn read(octets: &[u8]) -> (Policy, Vec<Step<'_>>) {
    let policy = octets.first_chunk().copied().unwrap_or_default();
    let mut rest = octets.get(policy.len()..).unwrap_or_default();
    let mut frames = Vec::new();
    while let [head, length, behind @ ..] = rest
        && frames.len() < MOST_FRAMES
    {
        let direction = if head & 0x80 == 0 {
            Direction::FromClient
        } else {
            Direction::FromServer
        };
        let pause = match head & 0x7f {
            short @ 0..0x60 => u64::from(short),
            long => u64::from(long & 0x1f) << 7,
        };
        let (frame, next) = behind.split_at(behind.len().min(usize::from(*length)));
        frames.push(Step {
            pause,
            direction,
            frame,
        });
        rest = next;
    }
    (read_policy(policy), frames)
}

/// The octets of closes of some connections, a few of their frames damaged.
pub fn random(random: &mut Rng) -> Vec<u8> {
    let connections: [(Ip, u16); 4] = [
        (V4, 49_152),
        (V4, 49_153),
        (V6, 49_152),
        (v6(&[Extension::Authentication]), 49_154),
    ];
    let trace = crate::close::random(random);
    let mut octets = trace[..4].to_vec();
    let several = random.bool();
    for step in Trace::read(&trace).steps {
        let connection = if several { random.usize(..4) } else { 0 };
        let (ip, client_port) = connections[connection].clone();
        let tcp_options = match step.segment.options {
            Options::Other => vec![5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1],
            Options::Plain if random.bool() => TIMESTAMPS.to_vec(),
            Options::Plain => Vec::new(),
        };
        let mut frame = Frame {
            client_port,
            tcp_options,
            ..Frame::new(step.direction, ip, step.segment)
        }
        .octets();
        if random.u8(..24) == 0 {
            mutation::damage(random, &mut frame);
        }
        let head = match step.direction {
            Direction::FromClient => 0,
            Direction::FromServer => 0x80,
        };
        frame.truncate(0xff);
        octets.push(head | u8::try_from(step.pause.min(0x5f)).unwrap_or(0x5f));
        octets.push(u8::try_from(frame.len()).unwrap_or(0xff));
        octets.extend(frame);
    }
    octets
}

/// What the maps hold.
#[derive(Default)]
struct Maps {
    slots: [Slot; SLOTS],
    /// Whose flows have written a slot.
    writers: [HashSet<FlowKey>; SLOTS],
    flows: HashMap<FlowKey, Flow>,
    /// What the state machine was shown of each flow.
    shown: HashMap<FlowKey, Vec<Event>>,
    hashes: HashMap<FlowKey, u32>,
}

/// What must hold of a trace; gives what was said of its frames.
///
/// # Errors
///
/// Says what does not.
pub fn check(octets: &[u8]) -> Result<Vec<Reason>, String> {
    let (policy, frames) = read(octets);
    let mut maps = Maps {
        slots: [expiry::deadline(0, Ticks(START.0 - 1000), Ticks(0)); SLOTS],
        ..Maps::default()
    };
    let mut now = START;
    let mut reasons = Vec::new();
    for step in frames {
        let Step {
            pause,
            direction,
            frame,
        } = step;
        now = Ticks(now.0 + pause);
        let reason = match wire::locate(frame, wire::Link::Ethernet, direction, SECRET) {
            Err(reason) => reason,
            Ok(located) => maps
                .examine(frame, &located, direction, now, &policy)
                .map_err(|broken| {
                    format!("{broken}: {located:?} at {now:?} {direction:?} under {policy:?} after {reasons:?}")
                })?,
        };
        if reason.verdict() == Verdict::Drop {
            // It is what another parser takes it for, too.
            crate::wire::check(frame)?;
        }
        reasons.push(reason);
    }
    Ok(reasons)
}

impl Maps {
    fn examine(
        &mut self,
        frame: &[u8],
        located: &Located,
        direction: Direction,
        now: Ticks,
        policy: &Policy,
    ) -> Result<Reason, String> {
        let key = match wire::key(frame, located, direction) {
            Ok(key) => key,
            Err(reason) => return Err(format!("located, but no key: {reason:?}")),
        };
        let opens = policy.opens(direction, located.flags);
        if *self.hashes.entry(key).or_insert(located.hash) != located.hash {
            return Err("two hashes of one flow".to_owned());
        }
        let slot = located.hash as usize % SLOTS;
        let flow = self.flows.get(&key).copied();
        if !opens && !expiry::is_live(self.slots[slot], located.hash, now) {
            let alive = flow.is_some_and(|flow| !flow.is_expired(now, policy));
            // Of two flows with one slot one may be forgotten early.
            return if alive && self.writers[slot].len() < 2 {
                Err(format!("the slot is dead, but {flow:?} is not"))
            } else {
                Ok(Reason::NoFlow)
            };
        }
        let segment = match wire::segment(frame, located) {
            Ok(segment) => segment,
            Err(reason) => return Ok(reason),
        };
        let mut table = Table {
            maps: self,
            key,
            slot,
            hash: located.hash,
            before: flow.map(|flow| {
                let touched = flow.touched().seen_from(now);
                expiry::deadline(located.hash, touched, flow.lifetime(policy))
            }),
            now,
            policy,
            short_lived: false,
        };
        let machine = Machine {
            now,
            link: 0,
            policy,
            effects: &mut table,
        };
        let reason = machine.segment(flow.as_ref(), direction, &segment);
        if table.short_lived {
            return Err(format!("{reason:?}: the flow outlives its slot"));
        }
        let shown = self.shown.entry(key).or_default();
        let expected = judge(shown, direction, segment, now, policy);
        shown.push(Event {
            at: now,
            direction,
            segment,
            verdict: reason.verdict(),
            reason,
        });
        if reason == expected {
            Ok(reason)
        } else {
            Err(format!(
                "{reason:?}, but the words say {expected:?} of {segment:?}"
            ))
        }
    }
}

/// One flow's place in the maps, as in a packet program.
struct Table<'a> {
    maps: &'a mut Maps,
    key: FlowKey,
    slot: usize,
    hash: u32,
    before: Option<Slot>,
    now: Ticks,
    policy: &'a Policy,
    /// Whether a slot was left that ends before the flow that was stored.
    short_lived: bool,
}

impl Effects for Table<'_> {
    fn create(&mut self, flow: Flow) -> bool {
        self.store(flow, self.policy.one_sided_lifetime);
        true
    }

    fn client(&mut self, client: ClientHalf, lifetime: Ticks) {
        if let Some(flow) = self.maps.flows.get(&self.key) {
            self.store(Flow { client, ..*flow }, lifetime);
        }
    }

    fn server(&mut self, server: ServerHalf, lifetime: Ticks) {
        if let Some(flow) = self.maps.flows.get(&self.key) {
            self.store(Flow { server, ..*flow }, lifetime);
        }
    }

    fn client_at(&mut self, at: Moment, lifetime: Ticks) {
        if let Some(mut flow) = self.maps.flows.get(&self.key).copied() {
            flow.client.at = at;
            self.store(flow, lifetime);
        }
    }

    fn server_at(&mut self, at: Moment, lifetime: Ticks) {
        if let Some(mut flow) = self.maps.flows.get(&self.key).copied() {
            flow.server.at = at;
            self.store(flow, lifetime);
        }
    }

    fn forget(&mut self) {
        self.keep_for(Ticks(0));
        self.maps.flows.remove(&self.key);
    }
}

impl Table<'_> {
    fn store(&mut self, flow: Flow, lifetime: Ticks) {
        self.maps.flows.insert(self.key, flow);
        self.keep_for(lifetime);
        let last = Ticks(self.now.0 + flow.lifetime(self.policy).0);
        self.short_lived |= !expiry::is_live(self.maps.slots[self.slot], self.hash, last);
    }

    fn keep_for(&mut self, lifetime: Ticks) {
        let deadline = expiry::deadline(self.hash, self.now, lifetime);
        let slot = &mut self.maps.slots[self.slot];
        if let Some(renewed) = expiry::renewed(*slot, self.before, deadline, self.now) {
            *slot = renewed;
        }
        self.maps.writers[self.slot].insert(self.key);
    }
}
