//! The explorations: each lets a few adversities strike together.

use filter_common::Mode;

use crate::{
    client::Unasked,
    packet::{ACK, FC, FIN, FS, GUESSES, Packet, RST, SYN},
    setup::{Claims, Filter, Limits, Setup, Stack},
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

const fn guess(flags: u8) -> [Packet; 2] {
    [
        Packet::new(flags, GUESSES[0], GUESSES[1]),
        Packet::new(flags, GUESSES[1], GUESSES[0]),
    ]
}

/// What needs no luck to be sent, but for what disarms (that undoes the cure, and no more).
const BLIND: &[Packet] = &[guess(FIN | ACK)[0], guess(ACK)[1], guess(RST)[0]];
const BLIND_CLIENT: &[Packet] = &[guess(ACK)[0], guess(ACK)[1]];
const BLIND_ALL: &[Packet] = &[
    guess(FIN | ACK)[0],
    guess(FIN | ACK)[1],
    guess(ACK)[0],
    guess(ACK)[1],
    guess(RST)[0],
    guess(RST)[1],
    guess(SYN)[0],
];
/// Of one who reads along: what arms the filter, and what it drops.
const ON_PATH: &[Packet] = &[
    Packet::new(FIN | ACK, FS - 1, FC),
    Packet::new(RST, FS, 0),
    Packet::new(ACK, FS - 1, FC),
];
const ON_PATH_CLIENT: &[Packet] = &[Packet::new(ACK, FC, FS), Packet::new(FIN | ACK, 0, FS)];

/// All of them. Each limit counts for one run; `deep` raises those of the first line.
#[must_use]
pub fn all(deep: bool) -> Vec<Setup> {
    let more = u8::from(deep);
    let base = Setup::PLAIN;
    let mut setups = cures(&base, more);
    setups.extend(losses(&base, more));
    setups.extend(strikes(&base, more));
    setups.extend(reuses(&base, more));
    setups
}

fn cures(base: &Setup, more: u8) -> Vec<Setup> {
    let limits = Limits {
        unasked: 3 + more,
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
        losses: 1 + more,
        copies: 1,
        early: 1,
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
            about: "the same without data copies: FIN and data merge, delayed ACKs, R1+R2",
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
            limits: Limits { early: more, ..limits },
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
            about: "a correct client, reordering only, R1+R2: nothing is dropped",
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
                unseen_server: 8,
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
                copies: more,
                early: 1,
                ..limits
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
            name: "races",
            about: "two CPUs decide on old and torn copies, packets in order, R1",
            reorders: FIFO,
            hooks: 2,
            room: 2,
            copies_on: [true, false, true, false],
            limits: Limits {
                unasked: 2,
                copies: 1 + more,
                early: 1,
                ..NEVER
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

fn reuses(base: &Setup, more: u8) -> Vec<Setup> {
    let blind = Limits {
        forgeries: 2,
        unasked: 1,
        losses: more,
        ..NEVER
    };
    let reuse = Limits {
        reuses: 1,
        later: 1,
        unseen_client: 1,
        unseen_server: 1,
        losses: more,
        ..NEVER
    };
    let later = Setup {
        filter: R1_AND_R2,
        claims: ENDS,
        data: false,
        limits: reuse,
        ..*base
    };
    vec![
        Setup {
            name: "blind",
            about: "FIN, ACK, RST with guessed numbers, the fault, R1+R2",
            filter: R1_AND_R2,
            data: false,
            forgeries: (BLIND, BLIND_CLIENT),
            claims: CURE,
            limits: blind,
            ..*base
        },
        Setup {
            name: "blind-all",
            about: "the same with SYN, and as the client: FIN, RST, SYN too, R1+R2",
            filter: R1_AND_R2,
            data: false,
            forgeries: (BLIND_ALL, BLIND_ALL),
            limits: Limits {
                losses: 0,
                ..blind
            },
            ..*base
        },
        Setup {
            name: "on-path",
            about: "an attacker who knows all numbers, R1+R2: bounded harm",
            filter: R1_AND_R2,
            on_path: true,
            forgeries: (ON_PATH, ON_PATH_CLIENT),
            claims: ENDS,
            limits: Limits {
                unasked: 2,
                ticks: 1,
                ..blind
            },
            ..*base
        },
        Setup {
            name: "reuse",
            about: "a later connection with numbers of its own, R1+R2",
            limits: Limits { early: 1, ..reuse },
            ..later
        },
        Setup {
            name: "reuse-same",
            about: "a later connection whose numbers go on, SYN or SYN-ACK unseen, R1+R2",
            same_numbers: (true, true),
            limits: Limits {
                // Where both are unseen there is nothing to tell it from the first.
                unseen_server: 0,
                ..reuse
            },
            ..later
        },
        Setup {
            name: "reuse-same-2",
            about: "the same, SYN-ACK unseen",
            same_numbers: (true, true),
            limits: Limits {
                unseen_client: 0,
                server_aborts: 1,
                ..reuse
            },
            ..later
        },
        Setup {
            name: "reuse-client",
            about: "only the client's go on; SYN and SYN-ACK unseen",
            same_numbers: (true, false),
            ..later
        },
        Setup {
            name: "reuse-server",
            about: "only the server's go on; SYN and SYN-ACK unseen",
            same_numbers: (false, true),
            ..later
        },
        Setup {
            name: "reuse-abort",
            about: "client's machine restarts, its numbers go on; SYN and SYN-ACK unseen",
            same_numbers: (true, true),
            limits: Limits {
                client_aborts: 1,
                ..reuse
            },
            ..later
        },
    ]
}
