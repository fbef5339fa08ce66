//! The machine, and how what was found is shown.

use std::process::Command;

use filter_user::lab::topology::{Topology, WAN};

use crate::{
    check, checked,
    instance::{lastack, output},
};

#[test]
fn a_good_machine_is_ok_throughout() {
    let topology = Topology::new().unwrap();
    let checked = check(&topology.gateway, &["--iface", WAN]);
    checked.assert_troubles(&[]);
    for name in [
        "kernel",
        "preemption",
        "capabilities",
        "programs",
        "jit",
        "btf",
        "bpffs",
        "routes",
        "redirects",
    ] {
        checked.of(None, name);
    }
    for name in [
        "interface",
        "ingress",
        "egress",
        "lro",
        "hardware",
        "flowtable",
    ] {
        checked.of(Some(WAN), name);
    }
    let interface = &checked.of(Some(WAN), "interface")["message"];
    assert_eq!(interface, "Ethernet, driver veth, MTU 1500");
}

#[test]
fn text_says_the_same_as_json() {
    let topology = Topology::new().unwrap();
    let options = ["--iface", WAN, "--iface", "nope0"];
    let json = check(&topology.gateway, &options);
    let mut command = lastack(&["check"]);
    command.args(options);
    let output = output(&topology.gateway, command);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let expected: Vec<_> = json
        .checks
        .iter()
        .map(|check| {
            let word = |name: &str| check[name].as_str().unwrap_or("machine");
            let remedy = check["remedy"].as_str();
            let remedy = remedy.map_or_else(String::new, |remedy| format!("; {remedy}"));
            let (status, message) = (word("status"), word("message"));
            let (iface, name) = (word("iface"), word("name"));
            words(&format!("{status} {iface} {name} {message}{remedy}"))
        })
        .collect();
    let found: Vec<_> = text.lines().map(words).collect();
    assert_eq!(found, expected);
    // In columns, and not coloured where no terminal is.
    let start = |name: &str| text.lines().find_map(|line| line.find(name));
    assert_eq!(start(" egress "), start(" kernel "));
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn without_capabilities_these_are_the_error_and_what_does_not_show_is_a_warning() {
    let topology = Topology::new().unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]);
    command.arg(env!("CARGO_BIN_EXE_lastack"));
    command.args(["check", "--output", "json", "--iface", WAN]);
    let checked = checked(&topology.gateway, command);
    checked.assert_troubles(&["capabilities", "programs", "jit", "egress", "flowtable"]);
    checked.assert(
        None,
        "capabilities",
        "error",
        "CAP_BPF, CAP_NET_ADMIN",
        "run as root",
    );
    checked.assert(None, "programs", "warning", "not tried", "check as root");
    checked.assert(
        Some(WAN),
        "flowtable",
        "warning",
        "without root",
        "check as root",
    );
    assert_eq!(checked.of(Some(WAN), "ingress")["status"], "ok");
}

/// A file system over `/sys/kernel` plays such a kernel.
#[test]
fn a_real_time_kernel_is_an_error() {
    let topology = Topology::new().unwrap();
    let binary = env!("CARGO_BIN_EXE_lastack");
    let script = format!(
        "mount -t tmpfs none /sys/kernel && echo 1 > /sys/kernel/realtime && \
         exec {binary} check --output json --iface {WAN}"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    let checked = checked(&topology.gateway, command);
    // Loading them is refused for the same reason.
    checked.assert_troubles(&["preemption", "programs", "jit"]);
    checked.assert(
        None,
        "preemption",
        "error",
        "PREEMPT_RT",
        "boot another kernel",
    );
}

#[test]
fn contradicting_options_are_wrong_usage() {
    let topology = Topology::new().unwrap();
    let options = ["check", "--ingress", "tc", "--xdp-mode", "native"];
    let refused = output(&topology.gateway, lastack(&options));
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stdout.is_empty());
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(stderr.contains("lastack check"), "{stderr}");
}
