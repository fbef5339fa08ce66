//! The command line: which command, and what all of them share.

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use env_logger::Env;

use crate::commands::{check, demo, detach, flows, hosts, run, status, watch};

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
    Status(status::Arguments),
    Flows(flows::Arguments),
    Hosts(hosts::Arguments),
    Watch(watch::Arguments),
    Detach(detach::Arguments),
}

/// Runs the command that the process was started with.
///
/// Exit status: 0 done; 1 failed, with one line on standard error; 2 wrong usage.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log();
    let done = match cli.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Flows(arguments) => flows::run(&arguments),
        Command::Hosts(arguments) => hosts::run(&arguments),
        Command::Watch(arguments) => watch::run(&arguments),
        Command::Detach(arguments) => detach::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not eprintln, which panics where nobody reads it.
            writeln!(io::stderr(), "lastack: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

/// Logs go to standard error; `RUST_LOG` chooses. The programs' own log is at level debug and
/// only there if it was asked for.
fn start_log() {
    let default = "warn,filter_user=info,lastack_ebpf=debug";
    let mut builder = env_logger::Builder::from_env(Env::default().default_filter_or(default));
    builder.format_target(false);
    if env::var_os("JOURNAL_STREAM").is_some() {
        builder.format_timestamp(None);
    }
    builder.init();
}
