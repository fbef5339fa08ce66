//! The command line: which command, and what all of them share.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    commands::{check, demo, run},
    logging,
};

/// Makes the last ACK the last: stops the spurious ACK that old TCP stacks send after a
/// connection is closed, before the server answers it with a reset.
#[derive(Debug, Parser)]
#[command(name = "lastack", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Check(check::Arguments),
    Demo(demo::Arguments),
}

/// Runs the command that the process was started with.
///
/// Exit status: 0 done; 1 failed, with one line on standard error; 2 wrong usage.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start();
    let done = match cli.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::failure(&error);
            ExitCode::FAILURE
        }
    }
}
