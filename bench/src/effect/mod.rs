//! `cargo xtask bench effect`: which ACKs lastack stops, and which those stop that one would use
//! instead.

mod guard;
mod play;
mod report;
mod script;
mod stacks;

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result};
use clap::Args;

use self::{
    guard::Guard,
    report::{Report, Scripted, Stacked},
};
use crate::{document::Shown, machine::Machine};

/// Measures which ACKs are stopped, rightly and wrongly, by lastack and by nftables
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many connections of real stacks in each situation, half of them over IPv6
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u16).range(10..=5000))]
    connections: u16,

    /// How many connections of each scripted close, half of them over IPv6
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    scripted: u16,

    /// Decides which segments get lost
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Few connections: shows that all of it works
    #[arg(long, conflicts_with_all = ["connections", "scripted"])]
    quick: bool,

    #[command(flatten)]
    shown: Shown,
}

/// Runs it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (connections, scripted) = if arguments.quick {
        (20, 2)
    } else {
        (arguments.connections, arguments.scripted)
    };
    let report = Report {
        machine: Machine::here()?,
        connections,
        scripted,
        seed: arguments.seed,
        scripts: play(scripted)?,
        stacks: run_stacks(connections, arguments.seed)?,
    };
    say("");
    arguments.shown.show(&report)
}

fn play(connections: u16) -> Result<Vec<Scripted>> {
    script::scripts()
        .iter()
        .map(|script| {
            say(script.name);
            let played = Guard::TWO_UPLINKS.map(|guard| {
                play::play(script, guard, connections)
                    .with_context(|| format!("{}, {}", script.name, guard.name()))
            });
            Ok(Scripted {
                script: script.name,
                played: Guard::TWO_UPLINKS
                    .into_iter()
                    .zip(played)
                    .map(|(guard, played)| Ok((guard, played?)))
                    .collect::<Result<_>>()?,
            })
        })
        .collect()
}

fn run_stacks(connections: u16, seed: u64) -> Result<Vec<Stacked>> {
    let mut rows = Vec::new();
    for situation in stacks::situations(seed) {
        for guard in Guard::ONE_UPLINK {
            say(&format!(
                "real stacks, {}, {}",
                situation.name,
                guard.name()
            ));
            rows.push(Stacked {
                situation: situation.name,
                guard,
                outcome: situation.run(guard, connections, seed)?,
            });
        }
    }
    Ok(rows)
}

/// What it is at, on a terminal only.
fn say(what: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
        drop(io::stderr().flush());
    }
}
