//! Strangers that send all they can into both hooks, while connections go on. Needs root.
//!
//! `cargo xtask flood` is the same at large, with the figures.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::path::Path;

use filter_user::{
    lab::flood::{
        Kind,
        trial::{Entry, Results, Trial},
    },
    settings::Role,
};

fn trial(kind: Kind) -> Trial<'static> {
    Trial {
        lastack: Path::new(env!("CARGO_BIN_EXE_lastack")),
        options: &["--max-flows", "4096"],
        role: Role::Wan,
        kind: Some(kind),
        entry: Entry::Hook,
        sources: 1,
        packets: 300_000,
    }
}

#[test]
fn explore() {
    for kind in [Kind::ClientFins, Kind::ServerFins, Kind::Syns, Kind::Acks, Kind::Closes, Kind::SpuriousAcks, Kind::Mixture] {
        let results: Results = trial(kind).run().unwrap();
        println!("{kind:?} {results:?} {:?}", results.counters.by_name().into_iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>());
    }
}
