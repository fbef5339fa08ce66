//! One connection that is being closed, as the filter sees it.

use filter_common::{
    Change, Closer, Direction, Flags, Flow, Machine, Mode, Policy, Reason, Segment, SeqNum, Ticks,
    decide, segment::Options,
};

/// Follows the client's FIN.
pub(crate) const FC: SeqNum = SeqNum(1_001);
/// Follows the server's FIN.
pub(crate) const FS: SeqNum = SeqNum(5_001);
/// When a connection begins to close.
pub(crate) const START: Ticks = Ticks(1_000_000);

/// The defaults, in milliseconds.
pub(crate) const ENFORCE: Policy = Policy {
    mode: Mode::Enforce,
    closer: Closer::Client,
    rst_guard: false,
    window: Ticks(500),
    budget: 3,
    half_closed_lifetime: Ticks(3_600_000),
    one_sided_lifetime: Ticks(60_000),
    closed_lifetime: Ticks(240_000),
};
pub(crate) const MONITOR: Policy = Policy {
    mode: Mode::Monitor,
    ..ENFORCE
};
pub(crate) const GUARD: Policy = Policy {
    rst_guard: true,
    ..ENFORCE
};

pub(crate) const FIN_ACK: Flags = Flags::FIN.with(Flags::ACK);

pub(crate) const fn segment(flags: Flags, seq: SeqNum, ack: SeqNum) -> Segment {
    Segment {
        seq,
        ack,
        flags,
        payload: 0,
        options: Options::Plain,
    }
}

/// `number` less `count`.
pub(crate) const fn before(number: SeqNum, count: u32) -> SeqNum {
    SeqNum(number.0.wrapping_sub(count))
}

/// The client's FIN, while the server has sent all but its own.
pub(crate) const fn client_fin() -> Segment {
    segment(FIN_ACK, before(FC, 1), before(FS, 1))
}

/// The server's FIN that acknowledges the client's.
pub(crate) const fn server_fin() -> Segment {
    segment(FIN_ACK, before(FS, 1), FC)
}

/// The client's acknowledgment of the server's FIN.
pub(crate) const fn last_ack() -> Segment {
    segment(Flags::ACK, FC, FS)
}

/// What the server answers to an acknowledgment for which it has no socket any more.
pub(crate) const fn reset() -> Segment {
    segment(Flags::RST, FS, SeqNum(0))
}

/// A filter that sees one connection and carries out what is decided.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) flow: Option<Flow>,
    pub(crate) now: Ticks,
    pub(crate) policy: Policy,
}

impl Connection {
    pub(crate) const fn new(policy: Policy) -> Self {
        Self {
            flow: None,
            now: START,
            policy,
        }
    }

    /// The client has sent its FIN.
    pub(crate) fn half_closed(policy: Policy) -> Self {
        let mut connection = Self::new(policy);
        assert_eq!(connection.client(client_fin()), Reason::FlowCreated);
        connection
    }

    /// The server has sent `copies` of its FIN.
    pub(crate) fn last_ack(policy: Policy, copies: usize) -> Self {
        let mut connection = Self::half_closed(policy);
        for copy in 0..copies {
            let expected = if copy == 0 {
                Reason::ServerFin
            } else {
                Reason::ServerElicits
            };
            assert_eq!(connection.server(server_fin()), expected);
        }
        connection
    }

    /// The client has acknowledged the server's FIN.
    pub(crate) fn closed(policy: Policy) -> Self {
        let mut connection = Self::last_ack(policy, 1);
        assert_eq!(connection.client(last_ack()), Reason::FirstAck);
        connection
    }

    pub(crate) fn client(&mut self, segment: Segment) -> Reason {
        self.see(Direction::FromClient, &segment)
    }

    /// A segment of the client, seen on another link than all others.
    pub(crate) fn client_by_another_link(&mut self, segment: Segment) -> Reason {
        let mut change = Change::Keep;
        let machine = Machine {
            now: self.now,
            link: 1,
            policy: &self.policy,
            effects: &mut change,
        };
        let reason = machine.segment(self.flow.as_ref(), Direction::FromClient, &segment);
        change.apply(&mut self.flow);
        reason
    }

    pub(crate) fn server(&mut self, segment: Segment) -> Reason {
        self.see(Direction::FromServer, &segment)
    }

    pub(crate) fn see(&mut self, direction: Direction, segment: &Segment) -> Reason {
        let decision = decide(self.flow, direction, segment, self.now, &self.policy);
        decision.change.apply(&mut self.flow);
        decision.reason
    }

    /// Time passes.
    pub(crate) const fn wait(&mut self, ticks: u64) {
        self.now = Ticks(self.now.0 + ticks);
    }

    /// Its state, where it must have some.
    pub(crate) fn state(&self) -> Flow {
        self.flow.expect("the filter still knows the flow")
    }
}
