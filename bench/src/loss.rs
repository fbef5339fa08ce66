//! `bench loss`: real stacks through a gateway, between links that lose, copy and reorder.

mod claims;
mod report;
mod row;

use std::{io, time::Instant};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use filter_user::lab::trial::{Clients, Filter, Trial};

use self::{report::Report, row::Row};

/// Real stacks through a gateway between links that lose and reorder, with and without the
/// filter
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many connections in each cell of the table, half of them over IPv6
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u16).range(10..=5000))]
    connections: u16,

    /// Shares of the segments that get lost in each direction
    #[arg(long, value_name = "PERCENT", num_args = 1.., default_values_t = [0_u8, 1, 5, 10, 20], value_parser = clap::value_parser!(u8).range(0..=40))]
    loss: Vec<u8>,

    /// Decides what happens to each segment
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// How the figures are shown
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

/// How the figures are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Tables
    Text,
    /// One JSON object
    Json,
}

/// Runs it. Fails also if a claim does not hold.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for clients in [Clients::Correct, Clients::Faulty] {
        for &loss in &arguments.loss {
            for filter in [Filter::Off, Filter::R1, Filter::R1AndR2] {
                let trial = Trial {
                    clients,
                    filter,
                    loss: f64::from(loss) / 100.0,
                    connections: arguments.connections,
                    seed: arguments.seed,
                };
                let name = format!("{clients:?} clients, {loss} % loss, filter {filter:?}");
                let started = Instant::now();
                let results = trial.run().with_context(|| name.clone())?;
                eprintln!("{name}: {} s", started.elapsed().as_secs());
                rows.push(Row::new(&trial, loss, &results));
            }
        }
    }
    let report = Report::new(arguments.connections, arguments.seed, rows);
    let output = io::stdout().lock();
    match arguments.output {
        Output::Text => report.write_text(output),
        Output::Json => report.write_json(output),
    }
    .context("could not write the figures")?;
    ensure!(report.holds(), "what is claimed does not hold; see above");
    Ok(())
}
