//! `cargo xtask test`: every test; those that need root are integration tests of filter-user.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    apt::{self, Tool},
    machine::{Here, Machine},
    process::visibly,
    setup, workspace,
};

/// Options of `cargo xtask test`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Leaves out the tests that need root: those that load programs or make namespaces
    #[arg(long)]
    unprivileged: bool,
}

/// What the tests run, most of it for real traffic.
const TOOLS: [Tool; 11] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("nft", "nftables"),
    ("bpftool", "bpftool"),
    ("tcpdump", "tcpdump"),
    ("curl", "curl"),
    ("iperf3", "iperf3"),
    ("nginx", "nginx-light"),
    ("tmux", "tmux"),
    ("groff", "groff-base"),
    ("systemd-analyze", "systemd"),
];

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.unprivileged {
        setup::ensure()?;
        eprintln!("leaving out the tests that need root: those in filter-user/tests");
        visibly(&mut workspace::cargo([
            "test",
            "--package=filter-common",
            "--package=fuzz",
            "--package=model",
            "--package=xtask",
        ]))?;
        return visibly(&mut workspace::cargo([
            "test",
            "--package=filter-user",
            "--lib",
            "--bins",
        ]));
    }
    let is_root = Here.is_root();
    if !is_root && Here.program("sudo").is_none() {
        bail!(
            "the kernel tests need root, and there is no sudo: run this as root, or leave them out by --unprivileged"
        );
    }
    setup::ensure()?;
    ensure_tools()?;
    let mut tests = workspace::cargo(["test", "--workspace", "--exclude=filter-ebpf"]);
    if !is_root {
        eprintln!("the tests are built as you and run as root, through sudo");
        tests.env(runner_variable(), "sudo -E");
    }
    visibly(&mut tests)
}

/// Installs what the tests run.
pub(crate) fn ensure_tools() -> Result<()> {
    let installed = apt::tools(&Here, &TOOLS, "the tests run them")?;
    if installed.contains(&"nginx-light") {
        stop_nginx(Here.is_root());
    }
    Ok(())
}

/// Debian starts a server when its package is installed; the tests only want the program.
fn stop_nginx(is_root: bool) {
    if !Path::new("/run/systemd/system").exists() {
        return;
    }
    let disable = ["systemctl", "disable", "--now", "nginx"];
    let command = if is_root {
        &disable[..]
    } else {
        &["sudo", "systemctl", "disable", "--now", "nginx"]
    };
    let stopped = Command::new(command[0]).args(&command[1..]).output();
    if stopped.is_ok_and(|output| output.status.success()) {
        eprintln!("stopped the nginx service that came with the package");
    }
}

/// The variable by which cargo is told what runs this machine's test binaries.
pub(crate) fn runner_variable() -> String {
    let target = env!("HOST_TARGET").replace('-', "_").to_uppercase();
    format!("CARGO_TARGET_{target}_RUNNER")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_is_that_of_the_host() {
        let variable = runner_variable();
        assert!(
            variable.starts_with("CARGO_TARGET_") && variable.ends_with("_RUNNER"),
            "{variable}"
        );
        assert!(
            variable.contains(&std::env::consts::ARCH.to_uppercase()),
            "{variable}"
        );
    }
}
