//! Attackers, and later connections on the same ports.

use crate::{
    packet::{ACK, FC, FIN, FS, GUESSES, Packet, RST, SYN},
    setup::{Limits, Setup},
};

use super::{CURE, ENDS, NEVER, R1_AND_R2};

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

pub(super) fn all(base: &Setup, more: u8) -> Vec<Setup> {
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
            limits: Limits { losses: 0, ..blind },
            ..*base
        },
        Setup {
            name: "on-path",
            about: "an attacker who knows all numbers, for both sides, R1+R2",
            filter: R1_AND_R2,
            on_path: true,
            forgeries: (ON_PATH, ON_PATH_CLIENT),
            claims: ENDS,
            limits: Limits {
                forgeries: 2 + more,
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
