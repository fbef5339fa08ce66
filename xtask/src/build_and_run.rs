//! `cargo xtask build-and-run`: from a checkout to the demo, or to any lastack command.

use std::{env, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    build,
    machine::{Here, Machine},
};

/// Options of `cargo xtask build-and-run`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The lastack command to run [default: demo]
    #[arg(last = true, value_name = "LASTACK ARGUMENTS")]
    pub(crate) lastack: Vec<String>,
}

/// The verb. On success it does not return: lastack takes this process's place, so that signals
/// and the exit status are its own.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let is_root = Here.is_root();
    if !is_root && Here.program("sudo").is_none() {
        bail!("lastack needs root, and there is no sudo: run this as root");
    }
    let demo = ["demo".to_owned()];
    let lastack = if arguments.lastack.is_empty() {
        &demo[..]
    } else {
        &arguments.lastack
    };
    let binary = build::lastack(&build::Arguments::dev(is_demo(lastack)))?;
    let shown = format!("lastack {}", lastack.join(" "));
    let mut command = if is_root {
        eprintln!("running {shown}");
        Command::new(&binary)
    } else {
        eprintln!("running {shown} as root, through sudo");
        let mut sudo = Command::new("sudo");
        let kept: Vec<_> = env::vars()
            .map(|(name, _)| name)
            .filter(|name| is_kept(name))
            .collect();
        if !kept.is_empty() {
            sudo.arg(format!("--preserve-env={}", kept.join(",")));
        }
        sudo.arg("--").arg(&binary);
        sudo
    };
    let failed = command.args(lastack).exec();
    Err(failed).with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))
}

/// The demo waits for timers more than for the processor, and whoever sees it for the first time waits for the compiler:
/// half as long without optimisation. The packet programs are optimised in either case.
fn is_demo(lastack: &[String]) -> bool {
    lastack.first().is_some_and(|command| command == "demo")
}

/// What lastack reads from its environment.
fn is_kept(variable: &str) -> bool {
    variable.starts_with("LASTACK_") || ["NO_COLOR", "RUST_LOG"].contains(&variable)
}
