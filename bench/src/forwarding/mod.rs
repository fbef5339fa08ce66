//! `cargo xtask bench forwarding`: what a gateway takes longer to forward an ordinary packet, with
//! lastack, and with what one would use instead.

mod empty;
mod gateway;
mod report;
mod stream;

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result};
use clap::Args;
use filter_user::{lab::topology::Topology, settings::Mode};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use self::{
    gateway::{Gateway, Hooks, Path, Setup},
    report::{Figure, Report},
};
use crate::{document::Shown, machine::Machine, rivals::Rules};

/// Measures what a gateway takes longer to forward a packet, with lastack and with nftables
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How often each is measured, each time beside a gateway without it
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,

    /// How many packets each time
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    packets: u32,

    /// Few and short pairs: shows that all of it works, and no figures to rely on
    #[arg(long, conflicts_with_all = ["pairs", "packets"])]
    quick: bool,

    #[command(flatten)]
    shown: Shown,
}

/// A gateway, and the one that it is compared with.
#[derive(Clone, Copy, Debug)]
struct Comparison {
    name: &'static str,
    /// What the other one has, for the table.
    beside: &'static str,
    setup: Setup,
    other: Setup,
}

const NOTHING: Setup = Setup {
    hooks: Hooks::Free,
    rules: &[],
};
const CONNTRACK: Setup = Setup {
    hooks: Hooks::Free,
    rules: &[Rules::Conntrack],
};

const EMPTY: Setup = Setup {
    hooks: Hooks::Empty,
    rules: &[],
};

/// The first tells what chance alone gives.
const COMPARISONS: [Comparison; 10] = [
    beside_nothing("nothing, once more", NOTHING),
    beside_nothing("empty programs", EMPTY),
    beside_nothing("lastack", lastack(Mode::Enforce, &[])),
    beside_nothing("lastack, monitor", lastack(Mode::Monitor, &[])),
    beside_nothing("nft, sets", rules(&[Rules::Sets])),
    beside_nothing("conntrack alone", CONNTRACK),
    beside_nothing("nft, ct mark", rules(&[Rules::CtMark])),
    Comparison {
        name: "lastack",
        beside: "empty programs",
        setup: lastack(Mode::Enforce, &[]),
        other: EMPTY,
    },
    beside_conntrack("lastack", lastack(Mode::Enforce, &[Rules::Conntrack])),
    beside_conntrack("nft, ct mark", rules(&[Rules::Conntrack, Rules::CtMark])),
];

const fn lastack(mode: Mode, rules: &'static [Rules]) -> Setup {
    Setup {
        hooks: Hooks::Lastack(mode),
        rules,
    }
}

const fn rules(rules: &'static [Rules]) -> Setup {
    Setup {
        hooks: Hooks::Free,
        rules,
    }
}

const fn beside_nothing(name: &'static str, setup: Setup) -> Comparison {
    Comparison {
        name,
        beside: "nothing",
        setup,
        other: NOTHING,
    }
}

const fn beside_conntrack(name: &'static str, setup: Setup) -> Comparison {
    Comparison {
        name,
        beside: "conntrack",
        setup,
        other: CONNTRACK,
    }
}

/// Runs it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (pairs, packets) = if arguments.quick {
        (3, 10_000)
    } else {
        (arguments.pairs, arguments.packets)
    };
    let machine = Machine::here()?;
    let mut topology = Topology::new()?;
    let host = topology.add_host()?;
    gateway::prepare(&topology, &host)?;
    let lan = host.gateway_interface.clone();
    // Live frames enter in the namespace of the thread that sends them.
    let figures = topology
        .gateway
        .run(move || measure(&lan, pairs, packets))?;
    let report = Report {
        machine,
        pairs,
        packets,
        figures,
    };
    arguments.shown.show(&report)
}

/// All pairs. In each round every comparison has its turn, and of a pair now the one gateway
/// is first and now the other.
fn measure(lan: &str, pairs: u32, packets: u32) -> Result<Vec<Figure>> {
    pin()?;
    let mut gateway = Gateway::new(lan)?;
    let mut rows: Vec<_> = Path::ALL
        .into_iter()
        .flat_map(|path| COMPARISONS.map(|comparison| (path, comparison, Vec::new())))
        .collect();
    for pair in 0..pairs {
        say(&format!("pair {} of {pairs}", pair + 1));
        for (path, comparison, samples) in &mut rows {
            let at = || format!("{}, {}", path.name(), comparison.name);
            let mut one = |setup| gateway.measure(setup, *path, packets).with_context(at);
            let sample = if pair % 2 == 0 {
                let without = one(comparison.other)?;
                (without, one(comparison.setup)?)
            } else {
                let with = one(comparison.setup)?;
                (one(comparison.other)?, with)
            };
            samples.push(sample);
        }
    }
    say("");
    rows.into_iter()
        .map(|(path, comparison, samples)| {
            Figure::new(path.name(), comparison.beside, comparison.name, &samples)
                .context("nothing was measured")
        })
        .collect()
}

/// Keeps this thread on the last core that it may use: interrupts are often at the first.
fn pin() -> Result<()> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let core = (0..CpuSet::count())
        .rfind(|&core| allowed.is_set(core).unwrap_or(false))
        .context("this thread may use no core")?;
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set).context("cannot pin a thread to a core")
}

/// What it is at, on a terminal only.
fn say(what: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
        drop(io::stderr().flush());
    }
}
