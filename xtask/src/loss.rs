//! `cargo xtask loss`: real stacks under loss, with and without the filter, optimised.

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    machine::{Here, Machine},
    process::visibly,
    setup,
    test::runner_variable,
    workspace,
};

/// Options of `cargo xtask loss`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// How many connections in each row of the tables [default: 400]
    #[arg(long, value_name = "N")]
    connections: Option<u16>,
    /// Shares of the segments that get lost in each direction [default: 0 1 5 10 20]
    #[arg(long, value_name = "PERCENT", num_args = 1..)]
    loss: Vec<u8>,
    /// Decides what happens to each segment [default: 1]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// How the figures are shown: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    output: Option<String>,
}

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let is_root = Here.is_root();
    if !is_root && Here.program("sudo").is_none() {
        bail!("namespaces need root, and there is no sudo: run this as root");
    }
    setup::ensure()?;
    let mut loss = workspace::cargo(["run", "--quiet", "--release", "--package=bench"]);
    if !is_root {
        eprintln!("it is built as you and run as root, through sudo");
        loss.env(runner_variable(), "sudo -E");
    }
    loss.args(["--", "loss"]);
    if let Some(connections) = arguments.connections {
        loss.args(["--connections", &connections.to_string()]);
    }
    if !arguments.loss.is_empty() {
        loss.arg("--loss");
        loss.args(arguments.loss.iter().map(u8::to_string));
    }
    if let Some(seed) = arguments.seed {
        loss.args(["--seed", &seed.to_string()]);
    }
    if let Some(output) = &arguments.output {
        loss.args(["--output", output]);
    }
    visibly(&mut loss)
}
