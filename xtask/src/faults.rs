//! `cargo xtask faults`: the tests of faults with all faults, of which `cargo xtask test` plays some.

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    machine::{Here, Machine},
    process::visibly,
    setup,
    test::{ensure_tools, runner_variable},
    workspace,
};

/// Options of `cargo xtask faults`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Has each call fail with one error instead of three, which is quicker
    #[arg(long)]
    once: bool,
    /// Only tests with this in their names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let is_root = Here.is_root();
    if !is_root && Here.program("sudo").is_none() {
        bail!("namespaces need root, and there is no sudo: run this as root");
    }
    setup::ensure()?;
    ensure_tools()?;
    let mut faults = workspace::cargo(["test", "--package=filter-user", "--test=faults"]);
    if !is_root {
        eprintln!("it is built as you and run as root, through sudo");
        faults.env(runner_variable(), "sudo -E");
    }
    faults.env(
        "LASTACK_FAULTS",
        if arguments.once { "each" } else { "all" },
    );
    // What became of each series is said on standard error.
    faults.args(["--", "--nocapture"]).args(&arguments.names);
    visibly(&mut faults)
}
