//! A row of a table: settings, frames, and what has to come of them.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use etherparse::EtherType;
use filter_common::{
    ClientHalf, Closer, Direction, Flags, Flow, FlowKey, Mode, Moment, Phase, Reason, Segment,
    SeqNum, ServerHalf, Ticks, Verdict, policy::Configuration, segment::Options,
};
use filter_user::{
    counters::Counters,
    settings::{Role, Settings},
};

use crate::{
    frames::{Frame, Ip, V4},
    host::Host,
    kernel::{Kernel, Program},
};

/// Follows the client's FIN.
pub(crate) const FC: SeqNum = SeqNum(1);
/// Follows the server's FIN.
pub(crate) const FS: SeqNum = SeqNum(u32::MAX);

pub(crate) const FIN_ACK: Flags = Flags::FIN.with(Flags::ACK);
pub(crate) const CLIENT_FIN: Segment = segment(FIN_ACK, SeqNum(0), SeqNum(FS.0 - 1));
pub(crate) const SERVER_FIN: Segment = segment(FIN_ACK, SeqNum(FS.0 - 1), FC);
pub(crate) const LAST_ACK: Segment = segment(Flags::ACK, FC, FS);
pub(crate) const RESET: Segment = segment(Flags::RST, FS, SeqNum(0));
pub(crate) const SYN: Segment = segment(Flags::SYN, SeqNum(99), SeqNum(0));

pub(crate) const fn segment(flags: Flags, seq: SeqNum, ack: SeqNum) -> Segment {
    Segment {
        seq,
        ack,
        flags,
        payload: 0,
        options: Options::Plain,
    }
}

/// How the segments of a row are wrapped.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) tags: Vec<EtherType>,
    pub(crate) ip: Ip,
    pub(crate) tcp_options: Vec<u8>,
    pub(crate) padding: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            tags: Vec::new(),
            ip: V4,
            tcp_options: Vec::new(),
            padding: 0,
        }
    }
}

impl Shape {
    pub(crate) fn frame(&self, direction: Direction, segment: Segment) -> Vec<u8> {
        let Self {
            tags,
            ip,
            tcp_options,
            padding,
        } = self.clone();
        Frame {
            tags,
            tcp_options,
            padding,
            ..Frame::new(direction, ip, segment)
        }
        .octets()
    }
}

pub(crate) struct Row {
    name: String,
    settings: Settings,
    /// The program that sees arriving frames.
    arriving: Program,
    shape: Shape,
    steps: Vec<Step>,
}

struct Step {
    name: &'static str,
    after: Duration,
    shared_slots: bool,
    direction: Direction,
    frame: Vec<u8>,
    verdict: Verdict,
    reason: Reason,
}

impl Row {
    /// Enforces, towards the servers, behind TC; and a stalled machine does not end its window.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        let settings = Settings {
            window: Duration::from_mins(10),
            one_sided_timeout: Duration::from_mins(10),
            closed_timeout: Duration::from_mins(20),
            max_flows: 1024,
            ..Settings::default()
        };
        Self {
            name: name.into(),
            settings,
            arriving: Program::Ingress,
            shape: Shape::default(),
            steps: Vec::new(),
        }
    }

    pub(crate) fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    pub(crate) fn arriving(mut self, program: Program) -> Self {
        self.arriving = program;
        self
    }

    pub(crate) fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// A segment of the client, in the row's shape.
    pub(crate) fn client(self, segment: Segment, verdict: Verdict, reason: Reason) -> Self {
        let frame = self.shape.frame(Direction::FromClient, segment);
        self.frame(Direction::FromClient, frame, verdict, reason)
    }

    /// A segment of the server, in the row's shape.
    pub(crate) fn server(self, segment: Segment, verdict: Verdict, reason: Reason) -> Self {
        let frame = self.shape.frame(Direction::FromServer, segment);
        self.frame(Direction::FromServer, frame, verdict, reason)
    }

    /// Any octets.
    pub(crate) fn frame(
        mut self,
        direction: Direction,
        frame: Vec<u8>,
        verdict: Verdict,
        reason: Reason,
    ) -> Self {
        self.steps.push(Step {
            name: "",
            after: Duration::ZERO,
            shared_slots: false,
            direction,
            frame,
            verdict,
            reason,
        });
        self
    }

    /// Names the step that was added last.
    pub(crate) fn called(mut self, name: &'static str) -> Self {
        self.steps.last_mut().expect("a step to name").name = name;
        self
    }

    /// Lets time pass before the step that was added last.
    pub(crate) fn after(mut self, after: Duration) -> Self {
        self.steps.last_mut().expect("a step to wait for").after = after;
        self
    }

    /// Before the step that was added last, other flows with the same slots have kept those
    /// alive.
    pub(crate) fn in_shared_slots(mut self) -> Self {
        self.steps
            .last_mut()
            .expect("a step to go before")
            .shared_slots = true;
        self
    }

    /// The close, up to the client's acknowledgment of the server's FIN.
    pub(crate) fn closed(self) -> Self {
        self.client(CLIENT_FIN, Verdict::Pass, Reason::FlowCreated)
            .server(SERVER_FIN, Verdict::Pass, Reason::ServerFin)
            .client(LAST_ACK, Verdict::Pass, Reason::FirstAck)
    }

    fn program(&self, direction: Direction) -> Program {
        match (self.settings.role, direction) {
            (Role::Wan, Direction::FromClient) | (Role::Lan, Direction::FromServer) => {
                Program::Egress
            }
            (Role::Wan, Direction::FromServer) | (Role::Lan, Direction::FromClient) => {
                self.arriving
            }
        }
    }

    /// Runs it; the flow table has to hold flows of these phases in the end.
    pub(crate) fn leaves(self, phases: &[Phase]) {
        let name = &self.name;
        if !self.arriving.is_there() {
            return;
        }
        let mut kernel = Kernel::load(&self.settings);
        let mut host = Host::new(in_milliseconds(&self.settings));
        let start = Instant::now();
        let mut expected = [0; Reason::COUNT + 1];
        // That takes time, which must not pass between two frames.
        for step in &self.steps {
            kernel.verify(self.program(step.direction));
        }
        for (number, step) in self.steps.iter().enumerate() {
            thread::sleep(step.after);
            if step.shared_slots {
                kernel.keep_slots();
                host.keep_slots();
            }
            let program = self.program(step.direction);
            let at = format!(
                "{name}: frame {number} {}, by {}",
                step.name,
                program.name()
            );
            let verdict = kernel.run(program, &step.frame);
            if step.reason.is_counted() {
                expected[step.reason as usize] += 1;
            }
            assert_counted(&kernel.counters(), &Counters::from(expected), &at);
            assert_eq!(verdict, step.verdict, "{at}: the verdict");
            // A machine is up for a while when it runs programs, so its slots look expired.
            let now = Ticks(milliseconds(start.elapsed()) + (1 << 24));
            let on_host = if step.reason == Reason::OutOfScope {
                // The host has no maps of clients and ports.
                step.reason
            } else {
                host.see(step.direction, &step.frame, now)
            };
            assert_eq!(on_host, step.reason, "{at}: the host's reason");
            assert_eq!(
                timeless(&kernel.flows()),
                timeless(host.flows()),
                "{at}: the flow table"
            );
        }
        let mut left: Vec<_> = kernel.flows().values().map(Flow::phase).collect();
        left.sort_by_key(|&phase| phase as u8);
        assert_eq!(left, phases, "{name}: phases of the flows that are left");
    }
}

/// The programs' configuration, but for a host whose ticks are milliseconds.
fn in_milliseconds(settings: &Settings) -> Configuration {
    let ticks = |duration| Ticks(milliseconds(duration).max(1));
    Configuration {
        secret: 7,
        window: ticks(settings.window),
        half_closed_lifetime: ticks(settings.half_closed_timeout),
        one_sided_lifetime: ticks(settings.one_sided_timeout),
        closed_lifetime: ticks(settings.closed_timeout),
        slot_mask: u32::MAX,
        budget: settings.budget,
        lan: u8::from(settings.role == Role::Lan),
        enforce: u8::from(settings.mode == Mode::Enforce),
        rst_guard: u8::from(settings.rst_guard),
        either: u8::from(settings.closer == Closer::Either),
        ..Configuration::INERT
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().expect("no such timeout")
}

/// What was counted, reason by reason.
pub(crate) fn assert_counted(counters: &Counters, expected: &Counters, at: &str) {
    let differences: Vec<_> = Reason::ALL
        .into_iter()
        .filter(|&reason| counters.of(reason) != expected.of(reason))
        .map(|reason| {
            format!(
                "{}: {} for {}",
                reason.as_str(),
                counters.of(reason),
                expected.of(reason)
            )
        })
        .collect();
    assert!(
        differences.is_empty(),
        "{at}: counted {}",
        differences.join(", ")
    );
}

/// The clocks of kernel and host differ.
fn timeless(flows: &HashMap<FlowKey, Flow>) -> HashMap<FlowKey, Flow> {
    let without_times = |flow: &Flow| Flow {
        client: ClientHalf {
            at: Moment::NEVER,
            ..flow.client
        },
        server: ServerHalf {
            at: Moment::NEVER,
            ..flow.server
        },
    };
    flows
        .iter()
        .map(|(key, flow)| (*key, without_times(flow)))
        .collect()
}
