//! `bench flood`: strangers send all they can into both hooks, while connections go on.

mod cases;
mod report;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, builder::PossibleValuesParser};
use filter_user::lab::flood::trial::Trial;

use self::{
    cases::{CASES, Case},
    report::{Report, Row},
};
use crate::{document::Shown, machine::Machine};

/// Strangers that send all they can into both hooks, while connections go on
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many frames each flood has
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(10_000..=400_000_000))]
    packets: u64,

    /// Room in lastack's table, but for the floods that are named by theirs
    #[arg(long, value_name = "N", default_value_t = 65_536)]
    max_flows: u32,

    /// Only these floods
    #[arg(long, value_name = "FLOOD", num_args = 1.., value_parser = PossibleValuesParser::new(CASES.map(|case| case.name)))]
    only: Vec<String>,

    #[command(flatten)]
    shown: Shown,

    /// The lastack binary that is flooded
    #[arg(long, value_name = "FILE", env = "LASTACK_BINARY")]
    lastack: PathBuf,
}

/// Runs it. Fails also if a claim does not hold.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut rows = Vec::new();
    let is_asked = |case: &&Case| {
        arguments.only.is_empty() || arguments.only.iter().any(|name| name == case.name)
    };
    for case in CASES.iter().filter(is_asked) {
        eprintln!("{} ...", case.name);
        rows.push(flood(case, arguments).with_context(|| format!("flood {}", case.name))?);
    }
    let broken = rows.iter().flat_map(Row::broken).collect::<Vec<_>>();
    let report = Report {
        machine: Machine::here()?,
        packets: arguments.packets,
        rows,
    };
    arguments.shown.show(&report)?;
    for claim in &broken {
        eprintln!("BROKEN {claim}");
    }
    ensure!(
        broken.is_empty(),
        "what is claimed does not hold; see above"
    );
    Ok(())
}

/// Longer than flows of the floods that are named for it live.
const SETTLING: Duration = Duration::from_secs(3);

fn flood(case: &Case, arguments: &Arguments) -> Result<Row> {
    let room = case.max_flows.unwrap_or(arguments.max_flows).to_string();
    let options = [case.options, &["--max-flows", &room]].concat();
    let trial = Trial {
        lastack: &arguments.lastack,
        options: &options,
        role: case.role,
        kind: case.kind,
        entry: case.entry,
        sources: case.sources,
        packets: arguments.packets,
        settling: SETTLING,
    };
    Ok(Row::new(case.name, &trial.run()?))
}
