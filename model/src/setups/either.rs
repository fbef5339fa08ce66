//! Where either side's FIN makes a flow: the server may close first, and may keep no TIME-WAIT.

use filter_common::Closer;

use super::{AGAIN_OR_KEEPALIVE, CURE, NEVER, R1_AND_R2, R1_WITH_MORE, UNSEEN};
use crate::setup::{Claims, Limits, Setup};

/// What is not claimed: where only the client's FIN makes a flow, a FIN of the server that passed
/// before that was not seen to cross it.
pub(super) fn limit(base: &Setup) -> Setup {
    Setup {
        name: "R1+R2, both close at once, server without TIME-WAIT",
        filter: R1_AND_R2,
        closes_first: true,
        forgets: true,
        limits: Limits {
            copies: 1,
            early: 1,
            ..NEVER
        },
        ..*base
    }
}

pub(super) fn all(base: &Setup, more: u8) -> Vec<Setup> {
    let base = Setup {
        closer: Closer::Either,
        closes_first: true,
        forgets: true,
        ..*base
    };
    let limits = Limits {
        losses: 1 + more,
        copies: 1,
        early: 1,
        unasked: 1,
        ..NEVER
    };
    vec![
        Setup {
            name: "either-kb",
            filter: R1_WITH_MORE,
            about: "either side closes first, server without TIME-WAIT, the fault, in order but to the client, R1",
            unasks: AGAIN_OR_KEEPALIVE,
            reorders: [false, false, false, true],
            delays: true,
            claims: CURE,
            limits: Limits {
                unasked: 3,
                ..NEVER
            },
            ..base
        },
        Setup {
            name: "either-loss",
            about: "the same, anything lost, copied, repeated early, reordered, R1",
            data: more > 0,
            limits,
            ..base
        },
        Setup {
            name: "either-guard",
            about: "the same, R1+R2: a client that waits for its FIN to be acknowledged gets its RST",
            filter: R1_AND_R2,
            data: more > 0,
            limits,
            ..base
        },
        Setup {
            name: "either-second",
            about: "the server closes second, as guard, R1+R2",
            filter: R1_AND_R2,
            closes_first: false,
            claims: CURE,
            limits: Limits {
                copies: more,
                ..limits
            },
            ..base
        },
        Setup {
            name: "either-handshake",
            about: "late copies of SYN and SYN-ACK, either side closes first, R1+R2",
            filter: R1_AND_R2,
            handshake: true,
            data: more > 0,
            limits: Limits {
                copies: more,
                unasked: more,
                ..limits
            },
            ..base
        },
        Setup {
            name: "either-table",
            about: "the flow is evicted, or not taken, at any time, R1",
            data: more > 0,
            claims: UNSEEN,
            limits: Limits {
                evictions: 2,
                refusals: 1,
                copies: more,
                ..limits
            },
            ..base
        },
        Setup {
            name: "either-crossing",
            about: "a server with TIME-WAIT, a correct client, R1+R2, compared with no filter",
            filter: R1_AND_R2,
            forgets: false,
            claims: Claims {
                same_outcomes: true,
                ..CURE
            },
            limits: Limits {
                unasked: 0,
                early: more,
                ..limits
            },
            ..base
        },
        Setup {
            name: "either-stale",
            about: "a CPU for each direction, both decide on old and torn copies, R1",
            hooks: 1,
            room: 2,
            data: false,
            copies_on: [true, false, true, false],
            limits: Limits {
                losses: more,
                copies: more,
                ..limits
            },
            ..base
        },
        Setup {
            name: "either-unseen",
            about: "any of the server's packets unseen, the fault, losses, R1",
            timeouts: 5,
            claims: UNSEEN,
            limits: Limits {
                losses: 1,
                unasked: 1,
                unseen_server: 30,
                ..NEVER
            },
            ..base
        },
    ]
}
