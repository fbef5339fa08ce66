//! `cargo xtask soak`: all loads at once for long, with and without the filter, optimised.

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

/// Options of `cargo xtask soak`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// How long, such as 20m [default: 1h]
    #[arg(long, value_name = "TIME")]
    duration: Option<String>,
    /// How the figures are shown: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    output: Option<String>,
    /// Without optimisation, for a quicker build
    #[arg(long)]
    dev: bool,
}

/// What makes the loads, and what counts.
const TOOLS: [Tool; 4] = [
    ("iperf3", "iperf3"),
    ("nginx", "nginx-light"),
    ("nft", "nftables"),
    ("ethtool", "ethtool"),
];

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let is_root = Here.is_root();
    if !is_root && Here.program("sudo").is_none() {
        bail!("namespaces need root, and there is no sudo: run this as root");
    }
    let lastack = build::lastack(&build::Arguments::dev(arguments.dev))?;
    apt::tools(&Here, &TOOLS, "they make the loads")?;
    let mut soak = workspace::cargo(["run", "--quiet", "--package=bench"]);
    if !arguments.dev {
        soak.arg("--release");
    }
    soak.env("LASTACK_BINARY", lastack);
    if !is_root {
        eprintln!("it is built as you and run as root, through sudo");
        soak.env(runner_variable(), "sudo -E");
    }
    soak.args(["--", "soak"]);
    if let Some(duration) = &arguments.duration {
        soak.args(["--duration", duration]);
    }
    if let Some(output) = &arguments.output {
        soak.args(["--output", output]);
    }
    visibly(&mut soak)
}
