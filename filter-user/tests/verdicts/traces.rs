//! Long traces through the kernel and through the host: the same verdict, reason, counters,
//! flow and slot at every packet, and the same table now and then.
//!
//! The settings' times are a few jiffies, so that windows and lifetimes end in between.
//! Never a drop without a closed flow.

use std::{collections::HashSet, thread, time::Duration};

use fastrand::Rng;
use filter_common::{
    Direction, Flow, Mode, Phase, Reason, SETTLED, Tallies, Ticks, Verdict,
    wire::{Frame, Link, OptionOctets},
};
use filter_user::settings::{Closer, Role, Settings};
use nix::{
    sys::time::TimeSpec,
    time::{ClockId, clock_getres, clock_gettime},
};

use crate::{
    frames::TIMESTAMPS,
    host::{Host, Outcome},
    kernel::{ETHERNET, Kernel, Program, is_short, least_octets},
    row::{CLIENT_FIN, Shape},
    traffic::Traffic,
};

/// Of one trace; there are twelve.
const PACKETS: usize = 131_072;
/// Of a short one, which need not give every reason.
const A_FEW: usize = 4_096;
/// Between two looks at the clock: a small part of a jiffy.
const CLOCK: usize = 16;
/// Between two looks at the whole table, and two pauses.
const WHOLE_TABLE: usize = 4_096;
/// The pauses by turns: as long as a window, and as long as either lifetime.
const PAUSES: [u32; 3] = [3, 7, 13];
/// Frames up to this length are copied whole, where their headers are not in one buffer.
const COPIED_WHOLE: usize = 256;

const COARSE: ClockId = ClockId::CLOCK_MONOTONIC_COARSE;
const JIFFY: Duration = Duration::from_millis(4);

fn enforce() -> Settings {
    Settings {
        window: 2 * JIFFY,
        half_closed_timeout: 12 * JIFFY,
        one_sided_timeout: 4 * JIFFY,
        closed_timeout: 6 * JIFFY,
        ..Settings::default()
    }
}

fn guard() -> Settings {
    Settings {
        rst_guard: true,
        ..enforce()
    }
}

fn monitor() -> Settings {
    Settings {
        mode: Mode::Monitor,
        ..guard()
    }
}

fn either(settings: &Settings) -> Settings {
    Settings {
        closer: Closer::Either,
        ..settings.clone()
    }
}

fn lan(settings: &Settings) -> Settings {
    Settings {
        role: Role::Lan,
        ..settings.clone()
    }
}

#[test]
fn kernel_and_host_agree_on_long_traces_towards_servers_with_tc() {
    agree(&guard(), Program::Ingress, 1);
}

#[test]
fn kernel_and_host_agree_on_long_traces_towards_servers_with_xdp() {
    agree(&enforce(), Program::Xdp, 2);
}

#[test]
fn kernel_and_host_agree_on_long_traces_towards_servers_with_multi_buffer_xdp() {
    agree(&guard(), Program::XdpMultiBuffer, 3);
}

#[test]
fn kernel_and_host_agree_on_long_traces_towards_servers_in_monitor_mode() {
    agree(&monitor(), Program::Xdp, 4);
}

#[test]
fn kernel_and_host_agree_on_long_traces_towards_clients_with_tc() {
    agree(&lan(&enforce()), Program::Ingress, 5);
}

#[test]
fn kernel_and_host_agree_on_long_traces_towards_clients_with_xdp() {
    agree(&lan(&guard()), Program::Xdp, 6);
}

#[test]
fn kernel_and_host_agree_on_long_traces_towards_clients_with_multi_buffer_xdp() {
    agree(&lan(&enforce()), Program::XdpMultiBuffer, 7);
}

#[test]
fn kernel_and_host_agree_on_long_traces_towards_clients_in_monitor_mode() {
    agree(&lan(&monitor()), Program::XdpMultiBuffer, 8);
}

#[test]
fn kernel_and_host_agree_on_long_traces_without_ethernet_headers_towards_servers() {
    agree(&guard(), Program::IngressIp, 9);
}

#[test]
fn kernel_and_host_agree_on_long_traces_without_ethernet_headers_towards_clients() {
    agree(&lan(&enforce()), Program::IngressIp, 10);
}

#[test]
fn kernel_and_host_agree_on_long_traces_where_servers_close_too_towards_servers() {
    agree(&either(&guard()), Program::Xdp, 11);
}

#[test]
fn kernel_and_host_agree_on_long_traces_where_servers_close_too_towards_clients() {
    agree(&lan(&either(&enforce())), Program::Ingress, 12);
}

/// Runs one trace; `arriving` is the program that sees arriving frames.
fn agree(settings: &Settings, arriving: Program, seed: u64) {
    if !arriving.is_there() {
        return;
    }
    let packets = if is_short() { A_FEW } else { PACKETS };
    let mut trace = Trace::new(settings, arriving, seed);
    for number in 0..packets {
        trace.packet(number);
        if number % WHOLE_TABLE == WHOLE_TABLE - 1 {
            let (kernel, host) = (trace.kernel.flows(), trace.host.flows());
            assert!(kernel == *host, "seed {seed}, packet {number}: the tables");
            thread::sleep(PAUSES[number / WHOLE_TABLE % PAUSES.len()] * JIFFY);
        }
    }
    if packets < PACKETS {
        println!(
            "shortened: {packets} of {PACKETS} packets, {} reasons",
            trace.reached.len()
        );
        return;
    }
    let reached = &trace.reached;
    let missing: Vec<_> = expected(settings)
        .filter(|reason| !reached.contains(reason))
        .collect();
    assert!(missing.is_empty(), "never given: {missing:?}");
}

/// What a trace has to give at least once, or it shows too little.
fn expected(settings: &Settings) -> impl Iterator<Item = Reason> {
    let enforces = settings.mode == Mode::Enforce;
    let acks = [
        [Reason::SpuriousAckObserved, Reason::RedundantAckObserved],
        [Reason::SpuriousAckDropped, Reason::RedundantAckDropped],
    ];
    let resets = [
        [Reason::ResetAfterSpuriousAck, Reason::ResetAfterClose],
        [
            Reason::ResetAfterSpuriousAckSuppressed,
            Reason::ResetAfterCloseSuppressed,
        ],
    ];
    let mut impossible = HashSet::from([
        // An LRU table takes every flow, a test run has one interface, and everybody is in scope.
        Reason::FlowNotStored,
        Reason::OtherLink,
        Reason::OutOfScope,
    ]);
    if settings.closer == Closer::Client {
        impossible.insert(Reason::ClientFin);
    }
    impossible.extend(acks[usize::from(!enforces)]);
    impossible.extend(resets[usize::from(!(enforces && settings.rst_guard))]);
    let all = Reason::ALL.into_iter();
    all.filter(move |reason| !impossible.contains(reason))
}

struct Trace {
    seed: u64,
    role: Role,
    arriving: Program,
    leaving: Program,
    traffic: Traffic,
    splits: Rng,
    kernel: Kernel,
    host: Host,
    clock: Clock,
    now: Ticks,
    counts: Tallies,
    reached: HashSet<Reason>,
}

impl Trace {
    fn new(settings: &Settings, arriving: Program, seed: u64) -> Self {
        let mut kernel = Kernel::load(settings);
        kernel.verify(arriving);
        let leaving = match arriving.link() {
            Link::Ethernet => Program::Egress,
            Link::Ip => Program::EgressIp,
        };
        kernel.verify(leaving);
        let host = Host::new(kernel.configuration());
        let mut clock = Clock::new();
        Self {
            seed,
            role: settings.role,
            arriving,
            leaving,
            traffic: Traffic::new(arriving.link(), seed),
            splits: Rng::with_seed(seed),
            kernel,
            host,
            now: clock.now(),
            clock,
            counts: [0; Reason::COUNT + 1],
            reached: HashSet::new(),
        }
    }

    fn packet(&mut self, number: usize) {
        let (direction, mut frame) = self.traffic.frame();
        let arrives = (direction == Direction::FromClient) == (self.role == Role::Lan);
        let program = if arrives { self.arriving } else { self.leaving };
        if !program.is_xdp() {
            let least = least_octets(&frame);
            frame.resize(frame.len().max(least), 0);
        }
        if number.is_multiple_of(CLOCK) {
            self.now = self.clock.now();
        }
        let verdict = self.run(program, &frame);
        let mut latest = None;
        let outcome = loop {
            let outcome = self.decide(program, direction, &frame);
            let differences = self.differences(&outcome, verdict);
            if differences.is_empty() {
                break outcome;
            }
            // A jiffy may have ended since the clock was read.
            let latest = *latest.get_or_insert_with(|| self.clock.now());
            assert!(
                self.now < latest,
                "seed {}, packet {number}, {direction:?} by {}, at {latest:?}: {}\n{:02x?}",
                self.seed,
                program.name(),
                differences.join("; "),
                frame,
            );
            self.now.0 += 1;
        };
        if verdict == Verdict::Drop {
            let before = outcome
                .place
                .and_then(|place| self.host.flows().get(&place.key));
            let phase = before.map(Flow::phase);
            assert_eq!(phase, Some(Phase::Closed), "dropped: {frame:02x?}");
        }
        self.accept(&outcome);
    }

    fn run(&mut self, program: Program, frame: &[u8]) -> Verdict {
        let splits = program == Program::XdpMultiBuffer
            && frame.len() <= COPIED_WHOLE
            && self.splits.u8(..4) == 0;
        if splits {
            let linear = self.splits.usize(ETHERNET..frame.len());
            self.kernel.run_split(program, frame, linear)
        } else {
            self.kernel.run(program, frame)
        }
    }

    fn decide(&self, program: Program, direction: Direction, frame: &[u8]) -> Outcome {
        if program == Program::Xdp {
            self.host
                .decide(Link::Ethernet, direction, &SingleBuffer(frame), self.now)
        } else {
            self.host.decide(program.link(), direction, frame, self.now)
        }
    }

    /// In what the kernel did otherwise.
    fn differences(&mut self, outcome: &Outcome, verdict: Verdict) -> Vec<String> {
        let &Outcome {
            reason,
            settles,
            place,
        } = outcome;
        let mut differences = Vec::new();
        if reason.verdict() != verdict {
            differences.push(format!("{verdict:?} for {reason:?}"));
        }
        let counters = self.kernel.counters();
        for counted in Reason::ALL {
            let once_more = counted == reason && reason.is_counted();
            let expected = self.counts[counted as usize] + u64::from(once_more);
            if counters.of(counted) != expected {
                let count = counters.of(counted);
                differences.push(format!("{counted:?} counted {count} for {expected}"));
            }
        }
        let settled = self.counts[SETTLED] + u64::from(settles);
        if counters.settled() != settled {
            let count = counters.settled();
            differences.push(format!("settled {count} for {settled}"));
        }
        if let Some(place) = place {
            let (flow, slot) = (self.kernel.flow(&place.key), self.kernel.slot(place.index));
            if flow != place.flow {
                differences.push(format!("{flow:?} for {:?}", place.flow));
            }
            if slot != place.slot {
                differences.push(format!("slot {slot} for {}", place.slot));
            }
        }
        differences
    }

    fn accept(&mut self, outcome: &Outcome) {
        self.host.carry_out(outcome);
        self.reached.insert(outcome.reason);
        self.counts[SETTLED] += u64::from(outcome.settles);
        if outcome.reason.is_counted() {
            self.counts[outcome.reason as usize] += 1;
        }
    }
}

/// The kernel's jiffies, as a program writes them that has nothing to do with those under test.
struct Clock {
    kernel: Kernel,
    fin: Vec<u8>,
    last: Ticks,
}

impl Clock {
    fn new() -> Self {
        let mut kernel = Kernel::load(&Settings::default());
        kernel.verify(Program::Egress);
        let fin = Shape::default().frame(Direction::FromClient, CLIENT_FIN);
        // Near enough to tell which half of the numbers it is in.
        // <https://github.com/torvalds/linux/blob/v6.18/include/linux/jiffies.h> INITIAL_JIFFIES
        let hertz = 1_000_000_000 / clock(clock_getres(COARSE));
        let seconds = clock(clock_gettime(COARSE)) / 1_000_000_000;
        let initial = u64::from(u32::MAX) + 1 - 300 * hertz;
        Self {
            kernel,
            fin,
            last: Ticks(initial + seconds * hertz),
        }
    }

    fn now(&mut self) -> Ticks {
        self.kernel.run(Program::Egress, &self.fin);
        let flows = self.kernel.flows();
        let flow = flows.values().next().expect("the FIN has made a flow");
        self.last = flow.client.at.seen_from(self.last);
        self.last
    }
}

fn clock(time: nix::Result<TimeSpec>) -> u64 {
    let time = Duration::from(time.expect("every kernel has this clock"));
    time.as_nanos()
        .try_into()
        .expect("up for less than 584 years")
}

/// A frame as the XDP program for one buffer reads it, which has no helper to copy from it.
struct SingleBuffer<'a>(&'a [u8]);

impl Frame for SingleBuffer<'_> {
    type Header<'a>
        = &'a [u8]
    where
        Self: 'a;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn header<const N: usize>(&self, offset: usize) -> Option<&[u8]> {
        self.0.header::<N>(offset)
    }

    fn options(&self, offset: usize, length: usize, options: &mut OptionOctets) -> bool {
        length == TIMESTAMPS.len() && self.0.options(offset, length, options)
    }
}
