//! The explorations: each lets a few adversities strike together.

mod either;
mod strangers;

use filter_common::Mode;

use crate::{
    client::Unasked,
    property::Property,
    setup::{Claims, Filter, Interfaces, Limits, Setup, Stack},
};

const NEVER: Limits = Setup::PLAIN.limits;
const FIFO: [bool; 4] = [false; 4];
const CLIENT_SIDE: [bool; 4] = [true, false, false, true];

const CURE: Claims = Claims {
    cure: true,
    ..Setup::PLAIN.claims
};
const UNSEEN: Claims = Claims {
    sees_both: false,
    ..Setup::PLAIN.claims
};
/// Where a machine, a table or an attacker ends what TCP would have ended.
const ENDS: Claims = Claims {
    liveness: false,
    ..UNSEEN
};

const R1_AND_R2: Filter = Filter::On {
    mode: Mode::Enforce,
    rst_guard: true,
    budget: 3,
};
/// Where superfluous ACKs are more than the default budget.
const R1_WITH_MORE: Filter = Filter::On {
    mode: Mode::Enforce,
    rst_guard: false,
    budget: 8,
};
const MONITOR: Filter = Filter::On {
    mode: Mode::Monitor,
    rst_guard: true,
    budget: 3,
};

const AGAIN_OR_KEEPALIVE: &[Unasked] = &[Unasked::Again, Unasked::Keepalive];
const ODD: &[Unasked] = &[
    Unasked::Garbage,
    Unasked::Options,
    Unasked::Push,
    Unasked::Congestion,
];

/// All of them; `deep` lets more strike in one run.
#[must_use]
pub fn all(deep: bool) -> Vec<Setup> {
    let more = u8::from(deep);
    let base = Setup::PLAIN;
    let mut setups = cures(&base, more);
    setups.extend(losses(&base, more));
    setups.extend(strikes(&base, more));
    setups.extend(either::all(&base, more));
    setups.extend(strangers::all(&base, more));
    setups
}

/// What is not claimed, since it does not hold: each is shown to be broken.
#[must_use]
pub fn limits() -> [(Setup, Property); 4] {
    let base = Setup::PLAIN;
    let repeats = Setup {
        name: "R1 alone, the server repeats its FIN early",
        claims: CURE,
        limits: Limits {
            early: 1,
            unasked: 1,
            ..NEVER
        },
        ..base
    };
    let overtaken = Setup {
        name: "R1 alone, the server's FIN overtakes its ACK",
        limits: NEVER,
        ..repeats
    };
    let races = Setup {
        name: "two CPUs at packets of one direction",
        reorders: FIFO,
        hooks: 2,
        room: 2,
        limits: Limits {
            copies: 1,
            early: 1,
            unasked: 1,
            ..NEVER
        },
        ..base
    };
    [
        (repeats, Property::Cure),
        (overtaken, Property::Cure),
        (races, Property::SafetyNeeded),
        (either::limit(&base), Property::SafetyClose),
    ]
}

fn cures(base: &Setup, more: u8) -> Vec<Setup> {
    // No more than the budget: beyond it the client is reset as without the filter.
    let limits = Limits {
        unasked: 3,
        ..NEVER
    };
    vec![
        Setup {
            name: "kb",
            about: "the fault, packets in order, R1",
            unasks: AGAIN_OR_KEEPALIVE,
            reorders: FIFO,
            delays: true,
            claims: CURE,
            limits,
            ..*base
        },
        Setup {
            name: "client-side",
            filter: R1_WITH_MORE,
            about: "the fault, copies and reordering before the gateway, R1",
            reorders: CLIENT_SIDE,
            copies_on: CLIENT_SIDE,
            claims: CURE,
            limits: Limits {
                copies: 2 + more,
                ..limits
            },
            ..*base
        },
        Setup {
            name: "copies-first",
            filter: R1_WITH_MORE,
            about: "the fault, server and network repeat before the first ACK, R1",
            room: 4,
            reorders: FIFO,
            copies_on: [false, false, true, true],
            server_is_near: true,
            data: false,
            claims: CURE,
            limits: Limits {
                unasked: 2,
                copies: 1,
                early: 1 + more,
                ..NEVER
            },
            ..*base
        },
        Setup {
            name: "uip",
            about: "uIP's TIME-WAIT, packets in order, copies of the client's, R1",
            stack: Stack::Uip,
            reorders: FIFO,
            copies_on: [true, false, false, false],
            claims: CURE,
            limits: Limits {
                copies: 1 + more,
                unasked: 1,
                ..NEVER
            },
            ..*base
        },
    ]
}

fn losses(base: &Setup, more: u8) -> Vec<Setup> {
    let limits = Limits {
        losses: 2 + more,
        copies: 1 + more,
        early: 1 + more,
        unasked: 1,
        ..NEVER
    };
    vec![
        Setup {
            name: "guard",
            about: "the fault, anything lost, copied, repeated early, reordered, R1+R2",
            filter: R1_AND_R2,
            claims: CURE,
            limits,
            ..*base
        },
        Setup {
            name: "guard-merge",
            about: "the same; repeated FIN and data merge, delayed ACKs, R1+R2",
            filter: R1_AND_R2,
            merges: true,
            delays: true,
            claims: CURE,
            limits: Limits {
                copies: more,
                ..limits
            },
            ..*base
        },
        Setup {
            name: "guard-keepalive",
            about: "keepalives before and behind the first ACK, R1+R2",
            filter: R1_AND_R2,
            unasks: AGAIN_OR_KEEPALIVE,
            data: false,
            claims: CURE,
            limits: Limits {
                unasked: 2,
                ..limits
            },
            ..*base
        },
        Setup {
            name: "guard-uip",
            about: "uIP's TIME-WAIT, lost, copied, reordered, R1+R2",
            filter: R1_AND_R2,
            stack: Stack::Uip,
            claims: CURE,
            limits: Limits {
                early: more,
                ..limits
            },
            ..*base
        },
        Setup {
            name: "handshake",
            about: "late copies of SYN and SYN-ACK, lost, repeated early, R1+R2",
            filter: R1_AND_R2,
            handshake: true,
            data: more > 0,
            claims: CURE,
            limits: Limits {
                losses: 1,
                copies: 0,
                early: 1,
                ..limits
            },
            ..*base
        },
        Setup {
            name: "loss",
            about: "the fault, as guard, R1",
            limits,
            ..*base
        },
        Setup {
            name: "correct",
            about: "a correct client, as guard, R1, compared with no filter",
            claims: Claims {
                same_outcomes: true,
                ..base.claims
            },
            limits: Limits {
                unasked: 0,
                ..limits
            },
            ..*base
        },
        Setup {
            name: "clean",
            about: "a correct client, no adversity, R1+R2: nothing is dropped",
            filter: R1_AND_R2,
            delays: true,
            merges: true,
            reorders: FIFO,
            claims: Claims {
                no_drop: true,
                ..base.claims
            },
            ..*base
        },
        Setup {
            name: "crossing",
            about: "either side closes first, or both at once, R1+R2, compared with no filter",
            filter: R1_AND_R2,
            closes_first: true,
            claims: Claims {
                same_outcomes: true,
                ..CURE
            },
            limits: Limits {
                unasked: 0,
                early: more,
                ..limits
            },
            ..*base
        },
    ]
}

fn strikes(base: &Setup, more: u8) -> Vec<Setup> {
    let limits = Limits {
        losses: 1,
        unasked: 1 + more,
        ..NEVER
    };
    vec![
        Setup {
            name: "unseen",
            about: "any of the server's packets unseen, the fault, losses, R1",
            timeouts: 5,
            claims: UNSEEN,
            limits: Limits {
                unseen_server: 30,
                ..limits
            },
            ..*base
        },
        Setup {
            name: "unseen-both",
            about: "packets of both unseen, no give-up after budget + losses, R1+R2",
            filter: R1_AND_R2,
            timeouts: 5,
            claims: UNSEEN,
            limits: Limits {
                unseen_server: 3 + more,
                unseen_client: 2,
                ..limits
            },
            ..*base
        },
        Setup {
            name: "clock",
            about: "window and lifetimes end at any time, R1+R2",
            filter: R1_AND_R2,
            limits: Limits {
                ticks: 4,
                losses: more,
                unasked: 1,
                early: 1,
                ..NEVER
            },
            ..*base
        },
        Setup {
            name: "odd",
            about: "ACKs with payload, options, PSH, ECE",
            unasks: ODD,
            limits: Limits {
                unasked: 2 + more,
                ..limits
            },
            ..*base
        },
        Setup {
            name: "monitor",
            about: "as guard, in monitor mode: nothing is dropped",
            filter: MONITOR,
            limits: Limits {
                early: more,
                copies: 1,
                ..limits
            },
            ..*base
        },
        Setup {
            name: "stale",
            about: "a CPU for each direction, both decide on old and torn copies, R1+R2",
            filter: R1_AND_R2,
            hooks: 1,
            room: 2,
            data: more > 0,
            copies_on: [true, false, true, false],
            claims: CURE,
            limits: Limits {
                losses: 1,
                copies: 1,
                early: 1,
                ..limits
            },
            ..*base
        },
        Setup {
            name: "races",
            about: "two CPUs for one direction as well: updates get lost, R1",
            reorders: FIFO,
            hooks: 2,
            room: 2,
            copies_on: [true, false, true, false],
            timeouts: 6,
            data: more > 0,
            claims: UNSEEN,
            limits: Limits {
                unasked: 1,
                copies: 1,
                early: 1,
                ..NEVER
            },
            ..*base
        },
        Setup {
            name: "bridge",
            about: "each packet goes through two served interfaces, the fault, R1+R2",
            filter: R1_AND_R2,
            interfaces: Interfaces::Both,
            claims: CURE,
            limits: Limits {
                losses: 2,
                early: 1,
                ..limits
            },
            ..*base
        },
        Setup {
            name: "uplinks",
            about: "the client's packets leave by either of two interfaces, the fault, R1+R2",
            filter: R1_AND_R2,
            interfaces: Interfaces::Either,
            claims: CURE,
            limits: Limits {
                early: 1,
                copies: more,
                ..limits
            },
            ..*base
        },
        Setup {
            name: "table",
            about: "the flow is evicted, or not taken, at any time, R1+R2",
            filter: R1_AND_R2,
            limits: Limits {
                evictions: 2,
                refusals: 1,
                early: 1,
                ..limits
            },
            ..*base
        },
        Setup {
            name: "abort",
            about: "server's application or machine gives up at any time, R1+R2",
            filter: R1_AND_R2,
            claims: ENDS,
            limits: Limits {
                server_aborts: 1,
                copies: 1,
                early: more,
                ..limits
            },
            ..*base
        },
    ]
}
