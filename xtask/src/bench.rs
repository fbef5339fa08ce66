//! `cargo xtask bench`: the measurements of the package `bench`, optimised, as root.

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    apt::{self, Tool},
    build,
    machine::{Here, Machine},
    process::visibly,
    test::runner_variable,
    workspace,
};

/// Options of `cargo xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to measure, and its options [default: programs]
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "MEASUREMENT"
    )]
    measurement: Vec<String>,
}

/// What some of them measure lastack against.
const TOOLS: [Tool; 1] = [("nft", "nftables")];
const READERS: [Tool; 2] = [("tshark", "tshark"), ("capinfos", "wireshark-common")];

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let first = arguments.measurement.first();
    let reads_captures = first.is_some_and(|first| first == "analyze");
    // Reading captures needs no root.
    let has_rights = Here.is_root() || reads_captures;
    if !has_rights && Here.program("sudo").is_none() {
        bail!("what is measured needs root, and there is no sudo: run this as root");
    }
    let lastack = build::lastack(&build::Arguments::default())?;
    let mut bench = workspace::cargo(["run", "--quiet", "--release", "--package=bench", "--"]);
    bench.env("LASTACK_BINARY", lastack);
    if !has_rights {
        eprintln!("it is built as you and run as root, through sudo");
        bench.env(runner_variable(), "sudo -E");
    }
    if first.is_some_and(|first| first == "forwarding" || first == "effect") {
        apt::tools(&Here, &TOOLS, "lastack is compared with its rules")?;
    }
    if reads_captures {
        apt::tools(&Here, &READERS, "lastack analyze is compared with them")?;
    }
    if first.is_none_or(|first| first.starts_with('-')) {
        bench.arg("programs");
    }
    visibly(bench.args(&arguments.measurement))
}
