//! The machine without one of its conditions: not a copy of it, but the machine itself,
//! lied to about what it sees, or overheard wrongly.

use filter_common::{
    Change, ClientHalf, Closer, Direction, Flags, Flow, Moment, Phase, Policy, Reason, Segment,
    Ticks, segment::Options,
};

use crate::gateway::NOW;

/// Changes what the machine gets.
pub type Before = fn(&mut Option<Flow>, Direction, &mut Segment, &mut Policy);
/// Changes what it stores.
pub type After = fn(Option<Flow>, Direction, Reason, Change) -> Change;

/// One of them.
#[derive(Clone, Copy)]
pub struct Mutant {
    /// What is missing.
    pub name: &'static str,
    /// Where its harm shows.
    pub setup: &'static str,
    /// What the machine gets.
    pub before: Before,
    /// What is stored.
    pub after: After,
    /// Whether it takes all interfaces for one.
    pub sees_one_interface: bool,
}

/// The machine as it is.
pub const NONE: Mutant = Mutant {
    name: "none",
    setup: "",
    before: |_, _, _, _| {},
    after: |_, _, _, change| change,
    sees_one_interface: false,
};

/// Whether the server has said nothing since the last answer, in the machine's eyes.
fn is_silent(flow: &Flow) -> bool {
    flow.phase() == Phase::Closed && flow.client.answered == flow.server.elicited
}

fn believes_closed(flow: &mut Flow) {
    flow.server.elicited = flow.server.elicited.max(1);
    flow.client.acked = flow.server.fin_end;
    flow.client.answered = flow.server.elicited;
    (flow.client.finished, flow.server.crossed) = (1, 0);
}

const fn lies(name: &'static str, setup: &'static str, before: Before) -> Mutant {
    Mutant {
        name,
        setup,
        before,
        ..NONE
    }
}

const fn keeps(name: &'static str, setup: &'static str, after: After) -> Mutant {
    Mutant {
        name,
        setup,
        after,
        ..NONE
    }
}

/// A change of what the machine gets where a flow is known and the segment goes that way.
macro_rules! where_known {
    ($way:ident, |$flow:ident, $segment:ident| $body:expr) => {
        |flow, direction, segment, _| {
            if let (Some($flow), Direction::$way) = (flow.as_mut(), direction) {
                let $segment = segment;
                $body;
            }
        }
    };
}

/// All of them.
pub const ALL: &[Mutant] = &[
    lies(
        "R1.1 without Closed: the server's FIN is enough",
        "kb",
        where_known!(FromClient, |flow, _segment| {
            if flow.server.elicited != 0 {
                believes_closed(flow);
            }
        }),
    ),
    lies(
        "R1.1 without Closed: any FIN of the server arms",
        "blind",
        where_known!(FromServer, |flow, segment| {
            if segment.flags.any(Flags::FIN) {
                segment.ack = flow.client.fin_end;
            }
        }),
    ),
    lies(
        "R1.1 without pure: other flags",
        "odd",
        where_known!(FromClient, |flow, segment| {
            let ends = Flags::SYN.with(Flags::RST).with(Flags::FIN);
            if is_silent(flow) && !segment.flags.any(ends) {
                segment.flags = Flags::ACK;
            }
        }),
    ),
    lies(
        "R1.1 without pure: payload",
        "odd",
        where_known!(FromClient, |flow, segment| {
            if is_silent(flow) && segment.flags == Flags::ACK {
                segment.payload = 0;
            }
        }),
    ),
    lies("R1.1 without pure: options", "odd", |_, _, segment, _| {
        segment.options = Options::Plain;
    }),
    lies(
        "R1.2 without SEG.SEQ",
        "reuse-server",
        where_known!(FromClient, |flow, segment| {
            if is_silent(flow) && segment.is_bare_ack() {
                segment.seq = flow.client.fin_end;
            }
        }),
    ),
    lies(
        "R1.2 without SEG.SEQ = Fc-1 as well",
        "kb",
        where_known!(FromClient, |flow, segment| {
            if segment.is_bare_ack() && segment.seq.plus(1) == flow.client.fin_end {
                segment.seq = flow.client.fin_end.plus(1000);
            }
        }),
    ),
    lies(
        "R1.2 without SEG.ACK",
        "reuse-client",
        where_known!(FromClient, |flow, segment| {
            if is_silent(flow) && segment.is_bare_ack() {
                segment.ack = flow.server.fin_end;
            }
        }),
    ),
    lies(
        "R1.3: once answered, always answered",
        "loss",
        where_known!(FromClient, |flow, _segment| {
            if flow.client.answered != 0 {
                flow.client.answered = flow.server.elicited;
            }
        }),
    ),
    lies(
        "R1.3: the server's data asks for nothing",
        "loss",
        where_known!(FromServer, |flow, segment| {
            if flow.server.elicited != 0 && !segment.flags.any(Flags::FIN) {
                segment.payload = 0;
                segment.seq = flow.server.fin_end;
            }
        }),
    ),
    lies(
        "R1.3: a bare ACK of the server asks for one",
        "uip",
        where_known!(FromServer, |flow, segment| {
            if flow.server.elicited != 0 && segment.flags == Flags::ACK {
                segment.payload = 1;
            }
        }),
    ),
    lies("R1.4: no window", "clock", |_, _, _, policy| {
        policy.window = Ticks(u64::MAX);
    }),
    lies("R1.5: no budget", "unseen", |_, _, _, policy| {
        policy.budget = u8::MAX;
    }),
    Mutant {
        name: "R1.6: all interfaces are one",
        setup: "bridge",
        sees_one_interface: true,
        ..NONE
    },
    lies(
        "R2 without Closed",
        "abort",
        where_known!(FromServer, |flow, segment| {
            if segment.flags == Flags::RST {
                believes_closed(flow);
            }
        }),
    ),
    lies("R2 without flags", "abort", |_, _, segment, _| {
        if segment.flags.any(Flags::RST) {
            segment.flags = Flags::RST;
        }
    }),
    lies(
        "R2 without SEG.SEQ",
        "guard",
        where_known!(FromServer, |flow, segment| {
            if segment.flags.any(Flags::RST) {
                segment.seq = flow.server.fin_end;
            }
        }),
    ),
    lies("R2 unasked", "loss", |_, _, _, policy| {
        policy.rst_guard = true;
    }),
    keeps(
        "disarm: not by the client's SYN",
        "reuse-same-2",
        |_, direction, reason, change| {
            if reason == Reason::Syn && direction == Direction::FromClient {
                return Change::Keep;
            }
            change
        },
    ),
    keeps(
        "disarm: not by the server's SYN",
        "reuse-same",
        |_, direction, reason, change| {
            if reason == Reason::Syn && direction == Direction::FromServer {
                return Change::Keep;
            }
            change
        },
    ),
    lies(
        "disarm: by late copies of the handshake",
        "handshake",
        |flow, _, segment, _| {
            if let Some(flow) = flow
                && segment.flags.any(Flags::SYN)
            {
                (segment.seq, segment.ack) = (flow.client.fin_end, flow.client.fin_end);
            }
        },
    ),
    keeps(
        "disarm: not by the client's RST",
        "reuse-abort",
        |_, _, reason, change| {
            if reason == Reason::ClientReset {
                return Change::Keep;
            }
            change
        },
    ),
    lies("disarm: not by expiry", "clock", |_, _, _, policy| {
        policy.closed_lifetime = Ticks(u64::MAX);
        policy.half_closed_lifetime = Ticks(u64::MAX);
        policy.one_sided_lifetime = Ticks(u64::MAX);
    }),
    keeps(
        "disarm: by the server's RST",
        "guard",
        |_, _, reason, change| match reason {
            Reason::ResetOther
            | Reason::ResetAfterClose
            | Reason::ResetAfterSpuriousAck
            | Reason::ResetAfterCloseSuppressed
            | Reason::ResetAfterSpuriousAckSuppressed => Change::Forget,
            _ => change,
        },
    ),
    lies(
        "answers: a stale ACK does",
        "loss",
        where_known!(FromClient, |flow, segment| {
            let fin_end = flow.server.fin_end;
            if flow.server.elicited != 0 && segment.ack.precedes(fin_end) {
                segment.ack = fin_end;
            }
        }),
    ),
    lies(
        "answers: SEG.SEQ = Fc-1 does",
        "guard-keepalive",
        where_known!(FromClient, |flow, segment| {
            if !is_silent(flow) && segment.seq.plus(1) == flow.client.fin_end {
                segment.seq = flow.client.fin_end;
            }
        }),
    ),
    lies(
        "fail-open: an unknown flow counts as Closed",
        "table",
        |flow, direction, segment, _| {
            if flow.is_none() && direction == Direction::FromClient {
                let mut invented = Flow::default();
                invented.client.fin_end = segment.seq;
                invented.server.fin_end = segment.ack;
                invented.client.at = Moment::of(NOW);
                believes_closed(&mut invented);
                *flow = Some(invented);
            }
        },
    ),
    lies(
        "either: a FIN that crosses the client's does not count",
        "either-kb",
        |_, _, _, policy| policy.closer = Closer::Client,
    ),
    lies(
        "either: Closed without the client's FIN",
        "either-kb",
        where_known!(FromClient, |flow, _segment| flow.client.finished = 1),
    ),
    keeps(
        "either: the client's FIN answers nothing",
        "either-kb",
        |flow, _, reason, change| match change {
            Change::Client(client)
                if reason == Reason::FirstAck
                    && flow.is_some_and(|flow| flow.client.finished == 0) =>
            {
                Change::Client(ClientHalf {
                    answered: 0,
                    ..client
                })
            }
            _ => change,
        },
    ),
    lies(
        "either: a repeated FIN of the client answers",
        "either-loss",
        where_known!(FromClient, |flow, segment| {
            if segment.flags.finishes()
                && flow.client.finished != 0
                && segment.next() == flow.client.fin_end
            {
                (segment.flags, segment.seq) = (Flags::ACK, flow.client.fin_end);
            }
        }),
    ),
    lies(
        "either: R2 where the server closed first",
        "either-guard",
        where_known!(FromServer, |flow, _segment| flow.server.crossed = 0),
    ),
    lies("mode: monitor drops", "monitor", |_, _, _, policy| {
        policy.mode = filter_common::Mode::Enforce;
    }),
];
