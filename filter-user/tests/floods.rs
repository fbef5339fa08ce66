//! Strangers that send all they can into both hooks, while connections go on. Needs root.
//!
//! `cargo xtask flood` is the same at large, with the figures.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::{path::Path, time::Duration};

use filter_common::Reason;
use filter_user::{
    lab::flood::{
        Kind, claims,
        trial::{Entry, Results, Trial},
    },
    settings::Role,
};

/// Frames of a flood that does not stay in the table, however often it is turned over.
const FRAMES: u64 = 100_000;
const CAPACITY: u64 = 4096;
const SMALL: [&str; 2] = ["--max-flows", "4096"];

fn trial<'a>(kind: Kind, options: &'a [&'a str]) -> Trial<'a> {
    Trial {
        lastack: Path::new(env!("CARGO_BIN_EXE_lastack")),
        options,
        role: Role::Wan,
        kind: Some(kind),
        entry: Entry::Hook,
        sources: 1,
        packets: FRAMES,
        settling: Duration::ZERO,
    }
}

/// Nothing is refused, nothing grows, no ordinary traffic is harmed, nothing but spurious ACKs is
/// dropped, and every connection is cured once it is over.
#[track_caller]
fn survived(trial: Trial<'_>) -> Results {
    let results = trial.run().unwrap();
    let broken = claims::broken(&results);
    assert!(broken.is_empty(), "{broken:#?}\n{results:?}");
    assert_eq!(results.capacity, CAPACITY);
    let seen: u64 = results.seen.iter().sum();
    assert!(
        seen > results.sent.frames / 2,
        "the hooks saw {seen} packets of {}",
        results.sent.frames
    );
    results
}

#[test]
fn clients_fins_turn_the_table_over_and_neither_grow_it_nor_harm_anyone() {
    let results = survived(trial(Kind::ClientFins, &SMALL));
    assert!(results.counters.of(Reason::FlowCreated) > FRAMES / 2);
    // Or this was no flood.
    assert!(results.flows > CAPACITY / 2, "{results:?}");
}

#[test]
fn whole_closes_with_repeated_acks_from_both_sides_at_once_are_survived() {
    let flood = Trial {
        sources: 2,
        ..trial(Kind::Mixture, &SMALL)
    };
    let results = survived(flood);
    assert!(results.counters.of(Reason::FirstAck) > CAPACITY);
    assert!(results.counters.dropped_acks() > results.spurious_acks());
}

#[test]
fn what_makes_no_flow_leaves_every_connection_cured() {
    for (kind, options) in [
        (Kind::ServerFins, &SMALL[..]),
        (
            Kind::Closes,
            &["--max-flows", "4096", "--client", "10.0.0.0/24,fd00::/64"],
        ),
    ] {
        let results = survived(trial(kind, options));
        let demo = results.demo;
        assert_eq!(demo[1].cured, demo[1].connections, "{results:?}");
        let connections = demo.iter().map(|demo| demo.connections).sum::<u64>();
        let made = results.counters.of(Reason::FlowCreated);
        assert!(made < 2 * (connections + results.transfers), "{results:?}");
    }
}

#[test]
fn forwarded_and_in_the_lan_role_it_is_the_same() {
    survived(Trial {
        entry: Entry::Lan,
        ..trial(Kind::ClientFins, &SMALL)
    });
    let results = survived(Trial {
        role: Role::Lan,
        ..trial(Kind::Closes, &SMALL)
    });
    assert!(results.counters.of(Reason::FirstAck) > CAPACITY);
}
