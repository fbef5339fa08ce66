//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::demo;

/// Makes the last ACK the last.
#[derive(Debug, Parser)]
#[command(name = "lastack", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the fault and the cure on real packets
    Demo(demo::Arguments),
}

/// Runs the command that the process was started with.
///
/// Exit status: 0 done; 1 failed, with one line on standard error; 2 wrong usage.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lastack: {error:#}");
            ExitCode::FAILURE
        }
    }
}
