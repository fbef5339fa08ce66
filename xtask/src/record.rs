//! `cargo xtask record`: the captures that tests read, recorded in the lab.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    apt::{self, Tool},
    machine::{Here, Machine},
    process::visibly,
    setup,
    test::runner_variable,
    workspace,
};

/// Options of `cargo xtask record`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Where they are written [default: filter-user/tests/captures]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Tells what there is, and records nothing
    #[arg(long)]
    list: bool,
    /// Which, by the names of their files up to the first dot [default: all]
    names: Vec<String>,
}

/// What records, and what makes other files of what was recorded.
const TOOLS: [Tool; 6] = [
    ("tcpdump", "tcpdump"),
    ("ip", "iproute2"),
    ("ss", "iproute2"),
    ("nft", "nftables"),
    ("mergecap", "wireshark-common"),
    ("zstd", "zstd"),
];

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let is_root = Here.is_root();
    if !is_root && Here.program("sudo").is_none() {
        bail!("namespaces need root, and there is no sudo: run this as root");
    }
    setup::ensure()?;
    apt::tools(&Here, &TOOLS, "captures are made with them")?;
    let mut record = workspace::cargo(["run", "--quiet", "--package=bench"]);
    if !is_root {
        eprintln!("it is built as you and run as root, through sudo");
        record.env(runner_variable(), "sudo -E");
    }
    record.args(["--", "record"]);
    if let Some(into) = &arguments.into {
        record.arg("--into").arg(std::path::absolute(into)?);
    }
    if arguments.list {
        record.arg("--list");
    }
    visibly(record.args(&arguments.names))
}
