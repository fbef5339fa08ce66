//! `cargo xtask model`: the exploration of every run of a small close, optimised.

use anyhow::Result;
use clap::Args;

use crate::{process::visibly, workspace};

/// Options of `cargo xtask model`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Explores further: about an hour, and several gigabytes of memory
    #[arg(long)]
    deep: bool,
    /// Explores only this one, and breaks nothing
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Shows the run by which each mutant is caught
    #[arg(long)]
    traces: bool,
}

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut model = workspace::cargo(["run", "--quiet", "--release", "--package=model", "--"]);
    model.args(arguments.deep.then_some("--deep"));
    model.args(arguments.traces.then_some("--traces"));
    if let Some(name) = &arguments.only {
        model.args(["--only", name]);
    }
    visibly(&mut model)
}
