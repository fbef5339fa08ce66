//! `cargo xtask flood`: strangers that send all they can into both hooks, optimised.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    build,
    machine::{Here, Machine},
    process::visibly,
    test::runner_variable,
    workspace,
};

/// Options of `cargo xtask flood`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// How many frames each flood has [default: 10000000]
    #[arg(long, value_name = "N")]
    packets: Option<u64>,
    /// Room in lastack's table, but for the floods that are named by theirs [default: 65536]
    #[arg(long, value_name = "N")]
    max_flows: Option<u32>,
    /// Only these floods; a wrong name has all of them listed
    #[arg(long, value_name = "FLOOD", num_args = 1..)]
    only: Vec<String>,
    /// How the figures are shown: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    output: Option<String>,
    /// Puts the tables into this Markdown file, between its marks
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let is_root = Here.is_root();
    if !is_root && Here.program("sudo").is_none() {
        bail!("namespaces need root, and there is no sudo: run this as root");
    }
    let lastack = build::lastack(&build::Arguments::default())?;
    let mut flood = workspace::cargo(["run", "--quiet", "--release", "--package=bench"]);
    flood.env("LASTACK_BINARY", lastack);
    if !is_root {
        eprintln!("it is built as you and run as root, through sudo");
        flood.env(runner_variable(), "sudo -E");
    }
    flood.args(["--", "flood"]);
    if let Some(packets) = arguments.packets {
        flood.args(["--packets", &packets.to_string()]);
    }
    if let Some(max_flows) = arguments.max_flows {
        flood.args(["--max-flows", &max_flows.to_string()]);
    }
    if !arguments.only.is_empty() {
        flood.arg("--only").args(&arguments.only);
    }
    if let Some(output) = &arguments.output {
        flood.args(["--output", output]);
    }
    if let Some(markdown) = &arguments.markdown {
        flood.arg("--markdown").arg(markdown);
    }
    visibly(&mut flood)
}
