//! Measurements that take long and prove something by figures, and captures that tests read:
//! `cargo xtask bench`, `flood`, `loss`, `record` and `soak` call it.

mod analyze;
mod document;
mod effect;
mod flood;
mod footprint;
mod forwarding;
mod loss;
mod machine;
mod programs;
mod record;
mod rivals;
mod soak;
mod statistics;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures lastack.
#[derive(Debug, Parser)]
#[command(name = "bench", disable_help_subcommand = true)]
struct Command {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    Analyze(analyze::Arguments),
    Effect(effect::Arguments),
    Flood(flood::Arguments),
    Footprint(footprint::Arguments),
    Forwarding(forwarding::Arguments),
    Loss(loss::Arguments),
    Programs(programs::Arguments),
    Record(record::Arguments),
    Soak(soak::Arguments),
}

fn main() -> ExitCode {
    let done = match Command::parse().measurement {
        Measurement::Analyze(arguments) => analyze::run(&arguments),
        Measurement::Effect(arguments) => effect::run(&arguments),
        Measurement::Flood(arguments) => flood::run(&arguments),
        Measurement::Footprint(arguments) => footprint::run(&arguments),
        Measurement::Forwarding(arguments) => forwarding::run(&arguments),
        Measurement::Loss(arguments) => loss::run(&arguments),
        Measurement::Programs(arguments) => programs::run(&arguments),
        Measurement::Record(arguments) => record::run(&arguments),
        Measurement::Soak(arguments) => soak::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
