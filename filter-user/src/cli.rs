//! The command line: which command, and what all of them share.

mod evaluate;

use std::{env, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

use self::evaluate::{Refusal, evaluate};
use crate::{
    commands::{analyze, check, completions, demo, detach, flows, hosts, man, run, status, watch},
    logging,
};

/// Makes the last ACK the last: stops the spurious ACK that old TCP stacks send after a
/// connection is closed, before the server answers it with a reset.
///
/// It runs on the gateway between clients with such stacks and their servers. Whether the fault is
/// there, `lastack analyze FILE` tells from a capture, on any machine. On the gateway begin with
/// `lastack check --iface IF`; then `lastack run --iface IF --mode monitor` counts, and changes
/// nothing.
#[derive(Debug, Parser)]
#[command(
    name = "lastack",
    version,
    about = "Stops the spurious last ACK of old TCP stacks from resetting their connections",
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Arguments>),
    Analyze(Box<analyze::Arguments>),
    Check(check::Arguments),
    Demo(demo::Arguments),
    Status(status::Arguments),
    Flows(flows::Arguments),
    Hosts(hosts::Arguments),
    Watch(watch::Arguments),
    Detach(detach::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// Runs the command that the process was started with.
///
/// Exit status: 0 done; 1 failed, with one line on standard error; 2 wrong usage.
#[must_use]
pub fn main() -> ExitCode {
    let done = match evaluate(env::args_os()) {
        Ok(cli) => {
            logging::start();
            execute(&cli.command)
        }
        Err(Refusal::Usage(error)) => error.exit(),
        Err(Refusal::Failure(error)) => Err(error),
    };
    match done {
        Ok(status) => status,
        Err(error) => {
            logging::failure(&error);
            ExitCode::FAILURE
        }
    }
}

fn execute(command: &Command) -> anyhow::Result<ExitCode> {
    let done = match command {
        Command::Analyze(arguments) => return analyze::run(arguments),
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Status(arguments) => status::run(arguments),
        Command::Flows(arguments) => flows::run(arguments),
        Command::Hosts(arguments) => hosts::run(arguments),
        Command::Watch(arguments) => watch::run(arguments),
        Command::Detach(arguments) => detach::run(arguments),
        Command::Completions(arguments) => completions::run(arguments, Cli::command()),
        Command::Man(arguments) => man::run(arguments, Cli::command()),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// The command line, as clap knows it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// What `lastack run` would be asked to do if it were started now: the command line and the
/// environment of this process again, and the file as it is now.
///
/// # Errors
///
/// One line, if the file is missing or wrong, or if this process is another command.
pub fn reread() -> anyhow::Result<run::Arguments> {
    evaluate::run_arguments(env::args_os())
}
