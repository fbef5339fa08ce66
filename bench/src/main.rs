//! Measurements that take long and prove something by figures: `cargo xtask bench` and
//! `cargo xtask loss` call it.

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
enum Measurement {}

fn main() -> ExitCode {
    match Command::parse().measurement {}
}
