//! `cargo xtask bench programs`: what a packet, a flow and a start cost.
//!
//! Every path of every program by `BPF_PROG_TEST_RUN`, in rounds, and in each round beside an
//! empty program of the same hook that is driven alike. What is reported is the difference.

mod cases;
mod cores;
mod fill;
#[path = "../../../filter-common/tests/frames/mod.rs"]
#[allow(dead_code, reason = "the parser's tests have more to build")]
mod frames;
mod kernel;
mod measure;
mod memory;
mod picture;
mod reference;
mod report;
mod start;

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use clap::Args;

use self::{
    cases::Setup,
    fill::fill,
    kernel::Kernel,
    measure::Measured,
    report::{Figure, Report},
};
use crate::{document::Shown, machine::Machine, statistics::Summary};

/// Measures what packets, flows and a start cost, beside the targets
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How often each path is measured
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=250))]
    rounds: u32,

    /// How many packets each time
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    repeat: u32,

    /// How often lastack is started
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,

    /// Few and short rounds: shows that all of it works, and no figures to rely on
    #[arg(long, conflicts_with_all = ["rounds", "repeat", "starts"])]
    quick: bool,

    /// Draws the differences and their targets into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    #[command(flatten)]
    shown: Shown,

    /// The lastack binary whose start is measured
    #[arg(long, value_name = "FILE", env = "LASTACK_BINARY")]
    lastack: PathBuf,
}

/// Runs it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (rounds, repeat, starts) = if arguments.quick {
        (3, 20_000, 3)
    } else {
        (arguments.rounds, arguments.repeat, arguments.starts)
    };
    let machine = Machine::here()?;
    let mut figures = Vec::new();
    for setup in cases::setups() {
        say(&format!("{}, {} closing flows", setup.name, setup.flows));
        figures.extend(measure(&setup, rounds, repeat)?);
    }
    say("two cores");
    let cores = cores::cores(rounds, repeat)?;
    say("memory");
    let memory = vec![
        memory::memory(cases::DEFAULT)?,
        memory::memory(cases::LARGEST)?,
    ];
    say("start");
    let start = start::start(&arguments.lastack, starts)?;
    say("");
    let report = Report {
        machine,
        rounds,
        repeat,
        starts,
        figures,
        cores,
        memory,
        start,
    };
    if let Some(file) = &arguments.svg {
        fs::write(file, picture::draw(&report))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    arguments.shown.show(&report)
}

/// All rounds of one loaded instance. In each round every case has its turn.
fn measure(setup: &Setup, rounds: u32, repeat: u32) -> Result<Vec<Figure>> {
    let mut kernel = Kernel::load(&setup.settings)?;
    fill(&mut kernel, setup.flows)?;
    let flows = kernel.count()?;
    let live_slots = kernel.live_slots()?;
    let mut cases: Vec<_> = setup
        .cases
        .iter()
        .map(|case| Ok((Measured::new(case, &mut kernel)?, Vec::new())))
        .collect::<Result<_>>()?;
    for _ in 0..rounds {
        for (case, samples) in &mut cases {
            samples.push(case.round(&mut kernel, repeat)?);
        }
    }
    cases
        .into_iter()
        .map(|(measured, samples)| {
            let none = "nothing was measured";
            let case = measured.case;
            let empty = Summary::of(samples.iter().map(|sample| sample.empty)).context(none)?;
            let above = samples.iter().map(|sample| sample.program - sample.empty);
            let ratio = samples.iter().map(|sample| sample.program / sample.empty);
            let above = Summary::of(above).context(none)?;
            Ok(Figure {
                settings: setup.name,
                max_flows: setup.settings.max_flows,
                is_fill: setup.is_fill,
                flows,
                live_slots,
                path: case.path,
                program: case.program.name(),
                empty,
                above,
                ratio: Summary::of(ratio).context(none)?.median,
                target: case.target,
                met: case.target.map(|target| above.median <= target),
            })
        })
        .collect()
}

/// What it is at, on a terminal only.
fn say(what: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
        drop(io::stderr().flush());
    }
}
