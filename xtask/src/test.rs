//! `cargo xtask test`: every test; those that need root are integration tests of filter-user and xtask.

use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    apt::{self, Tool},
    fleet,
    machine::{Call, Here, Machine},
    process::visibly,
    setup,
    workspace::{self, HOST},
};

/// Options of `cargo xtask test`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Leaves out the tests that need root: those that load programs or make namespaces
    #[arg(long)]
    unprivileged: bool,
}

/// What the tests run, most of it for real traffic.
const TOOLS: [Tool; 26] = [
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
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
    ("systemd-analyze", "systemd"),
    ("tshark", "tshark"),
    ("capinfos", "wireshark-common"),
    ("editcap", "wireshark-common"),
    ("mergecap", "wireshark-common"),
    ("text2pcap", "wireshark-common"),
    ("zstd", "zstd"),
    ("strace", "strace"),
    ("mmdebstrap", "mmdebstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("lintian", "lintian"),
    ("podman", "podman"),
    ("runc", "runc"),
    ("catatonit", "catatonit"),
];

/// The packages of these with which Debian starts a server, and what systemd calls it.
const SERVICES: [(&str, &str); 2] = [("nginx-light", "nginx"), ("prometheus", "prometheus")];

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.unprivileged {
        setup::ensure()?;
        eprintln!(
            "leaving out the tests that need root: those in filter-user/tests and xtask/tests"
        );
        visibly(&mut workspace::cargo([
            "test",
            "--package=filter-common",
            "--package=fuzz",
            "--package=model",
        ]))?;
        return visibly(&mut workspace::cargo([
            "test",
            "--package=filter-analysis",
            "--package=filter-user",
            "--package=xtask",
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
    fleet::ensure(&Here)?;
    let mut tests = workspace::cargo(["test"]);
    tests.args(HOST);
    if !is_root {
        eprintln!("the tests are built as you and run as root, through sudo");
        tests.env(runner_variable(), "sudo -E");
    }
    visibly(&mut tests)
}

/// Installs what the tests run.
pub(crate) fn ensure_tools() -> Result<()> {
    let installed = apt::tools(&Here, &TOOLS, "the tests run them")?;
    stop_services(&Here, &installed);
    Ok(())
}

/// Stops what came with packages that were not there: the tests only want the programs.
fn stop_services(machine: &dyn Machine, installed: &[&str]) {
    if !machine.exists(Path::new("/run/systemd/system")) {
        return;
    }
    let came = |(package, _): &&(&str, _)| installed.contains(package);
    for (_, service) in SERVICES.iter().filter(came) {
        let disable = ["systemctl", "disable", "--now", service];
        let call = if machine.is_root() {
            Call::new(disable[0], &disable[1..])
        } else {
            Call::new("sudo", &disable)
        };
        machine.say(&match machine.change(&call) {
            Ok(()) => format!("stopped the service {service} that came with its package"),
            Err(error) => {
                format!("the service {service} that came with its package goes on: {error:#}")
            }
        });
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
    use crate::setup::fake::Fake;

    #[test]
    fn services_are_stopped_if_their_packages_were_installed_just_now() {
        let machine = Fake::root().file("/run/systemd/system");
        stop_services(&machine, &["curl", "prometheus"]);
        assert_eq!(machine.changes(), ["systemctl disable --now prometheus"]);
        let machine = Fake::user().file("/run/systemd/system").failing("nginx");
        stop_services(&machine, &["nginx-light"]);
        assert_eq!(machine.changes(), ["sudo systemctl disable --now nginx"]);
        assert_eq!(
            machine.said(),
            ["the service nginx that came with its package goes on: \
              `sudo systemctl disable --now nginx` failed"]
        );
        let without_systemd = Fake::root();
        stop_services(&without_systemd, &["prometheus"]);
        assert!(without_systemd.changes().is_empty());
    }

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
