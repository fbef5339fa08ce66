//! What differs from kernel to kernel: `cargo xtask vm` runs this on each of its matrix. Needs root,
//! setarch, setpriv, prlimit and timeout.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use aya::util::KernelVersion;
use filter_common::wire::Link;
use filter_user::{
    datapath::Datapath,
    lab::topology::{Topology, WAN},
    settings::{Closer, LogDecisions, Role, Settings},
};

use instance::{
    Instance,
    cure::{CONNECTIONS, assert_cured_by, resets},
    expected::{tc, xdp},
    output,
    wiring::Network,
};

const BINARY: &str = env!("CARGO_BIN_EXE_lastack");

#[test]
fn this_kernel_takes_all_programs_quiet_and_telling() {
    for (role, log_decisions) in [
        (Role::Wan, LogDecisions::Off),
        (Role::Lan, LogDecisions::All),
    ] {
        let settings = Settings {
            role,
            log_decisions,
            events: log_decisions != LogDecisions::Off,
            rst_guard: true,
            closer: Closer::Either,
            clients: vec!["10.0.0.0/8".parse().unwrap()],
            ports: vec![80],
            max_flows: 1024,
            ..Settings::default()
        };
        let mut datapath = Datapath::load(&settings).unwrap();
        for link in [Link::Ethernet, Link::Ip] {
            let jitted = datapath.verify(link).unwrap();
            assert!(jitted, "{role}, {log_decisions:?}, {link:?}");
        }
    }
}

/// Prints which hooks were taken: `cargo xtask vm` has them in its table.
#[test]
fn the_client_is_cured_on_every_hook_that_this_kernel_has() {
    let mut network = Network::new();
    let mut client = network.client();
    assert_eq!(resets(&mut client), u64::from(CONNECTIONS), "the fault");
    let [_, egress] = tc();
    for (options, hooks) in [
        (&[][..], xdp()),
        (
            &["--ingress", "xdp", "--xdp-mode", "generic"],
            ["xdp-generic", egress],
        ),
        (&["--ingress", "tc"], tc()),
        (
            &["--ingress", "tc", "--tc-mode", "clsact"],
            ["clsact-ingress", "clsact-egress"],
        ),
    ] {
        let instance = Instance::start(&network.topology.gateway, &[WAN], options);
        let cured = assert_cured_by(instance, &mut client);
        assert_eq!(cured.hooks(), hooks);
        println!("hooks: {}", hooks.join(", "));
    }
}

/// Ends what goes on although it should fail.
fn limited() -> Command {
    let mut command = Command::new("timeout");
    command.arg("120");
    command
}

/// The one line that a command says on standard error when it fails.
#[track_caller]
fn line_of(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    errors
}

/// The kernel itself says to a process with this personality that it is a Linux 2.6.
#[test]
fn a_kernel_older_than_the_floor_is_one_line_that_names_it() {
    let topology = Topology::new().unwrap();
    let told = fs::read_to_string("/proc/version").unwrap();
    if told.contains("Debian") || Path::new("/proc/version_signature").exists() {
        // There the version is taken from where that is not hidden.
        println!(
            "left out: that run, demo and check refuse an older kernel in one line, for no \
             personality hides the version of a distribution's kernel; that the version is \
             refused is a test of datapath/kernel.rs"
        );
        return;
    }
    let older = |arguments: &[&str]| {
        let mut command = limited();
        command
            .args(["setarch", "--uname-2.6", BINARY])
            .args(arguments);
        output(&topology.gateway, command)
    };
    for command in [&["run", "--iface", WAN][..], &["demo"]] {
        let output = older(command);
        let line = line_of(&output);
        assert!(output.stdout.is_empty(), "{output:?}");
        assert!(line.contains("Linux 2.6."), "{line}");
        let says =
            " is older than 5.10, the oldest that lastack supports; boot 5.10 or a newer one";
        assert!(line.contains(says), "{line}");
    }
    let checked = older(&["check", "--iface", WAN]);
    line_of(&checked);
    let text = String::from_utf8(checked.stdout).unwrap();
    let kernel = text.lines().find(|line| line.contains(" kernel "));
    let kernel = kernel.unwrap_or_else(|| panic!("no kernel in\n{text}"));
    assert!(kernel.starts_with("error"), "{kernel}");
    assert!(text.contains("boot 5.10 or a newer one"), "{text}");
}

/// The default of systems with such kernels, and without the right to raise it.
#[test]
fn a_low_limit_on_locked_memory_is_one_line_before_5_11_and_nothing_since() {
    let topology = Topology::new().unwrap();
    let poor = |arguments: &[&str]| {
        let mut command = limited();
        command
            .args(["prlimit", "--memlock=65536:65536", "setpriv"])
            .args(["--bounding-set=-sys_resource", "--inh-caps=-sys_resource"])
            .args(["--", BINARY])
            .args(arguments);
        output(&topology.gateway, command)
    };
    if KernelVersion::current().unwrap() >= KernelVersion::new(5, 11, 0) {
        let output = poor(&["check", "--iface", WAN]);
        assert!(output.status.success(), "{output:?}");
        return;
    }
    for command in [&["run", "--iface", WAN][..], &["demo"]] {
        let line = line_of(&poor(command));
        for says in [
            "the limit on locked memory, and the 64 KiB of this process are too few; ",
            "grant CAP_SYS_RESOURCE, or raise it: `ulimit -l unlimited`",
        ] {
            assert!(line.contains(says), "{line}");
        }
    }
    let checked = poor(&["check", "--output", "json", "--iface", WAN]);
    line_of(&checked);
    let report: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let programs = checks.iter().find(|check| check["name"] == "programs");
    let programs = programs.unwrap();
    assert_eq!(programs["status"], "error", "{programs}");
    let message = programs["message"].as_str().unwrap();
    assert!(message.contains("64 KiB of this process"), "{programs}");
}
