//! A flag beats the environment, which beats the file, which beats the default.

use std::process::Command;

use filter_user::lab::topology::{LAN, Topology, WAN};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::instance::{Instance, file::OwnFile, hooks, lastack, output, tool};

/// The labels of `lastack_config_info` of an instance that is started so.
fn settings(content: &str, options: &[&str]) -> String {
    let topology = Topology::new().unwrap();
    let file = OwnFile::new(content);
    let options = [&["--config", file.as_str()], options].concat();
    // With LASTACK_WINDOW=10s in its environment.
    let instance = Instance::start(&topology.gateway, &[WAN], &options);
    let metrics = tool(
        &topology.gateway,
        "curl",
        &["--silent", "--fail", "http://127.0.0.1:9433/metrics"],
    );
    drop(instance);
    let info = metrics
        .lines()
        .find_map(|line| line.strip_prefix("lastack_config_info"));
    info.unwrap().to_owned()
}

#[track_caller]
fn assert_has(info: &str, label: &str, value: &str) {
    assert!(
        info.contains(&format!("{label}=\"{value}\"")),
        "{label}={value}: {info}"
    );
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
    let file = "
        mode = 'monitor'
        window = '2s'
        budget = 0x10
        rst-guard = true
    ";
    let info = settings(file, &["--budget", "7"]);
    assert_has(&info, "budget", "7");
    assert_has(&info, "window", "10s");
    assert_has(&info, "mode", "monitor");
    assert_has(&info, "rst_guard", "true");
    assert_has(&info, "closer", "client");
}

#[test]
fn a_flag_turns_off_what_the_file_turns_on() {
    let info = settings("rst-guard = true", &["--rst-guard=false"]);
    assert_has(&info, "rst_guard", "false");
    let info = settings("rst-guard = false", &["--rst-guard"]);
    assert_has(&info, "rst_guard", "true");
}

#[test]
fn a_flag_replaces_the_list_of_the_file() {
    let topology = Topology::new().unwrap();
    let file = OwnFile::new("iface = ['nope0', 'nope1']\nmetrics-addr = 'off'");
    let options = ["--config", file.as_str()];
    let instance = Instance::start(&topology.gateway, &[WAN], &options);
    assert!(instance.stop(Signal::SIGINT).0.success());
}

#[test]
fn the_interfaces_of_the_file_are_served() {
    let mut topology = Topology::new().unwrap();
    // lan0 is there while it is.
    let _client = topology.add_client().unwrap();
    let file = OwnFile::new("iface = ['wan0', 'lan0']\nmetrics-addr = 'off'");
    let instance = Instance::launch(&topology.gateway, &[], &["--config", file.as_str()]);
    for interface in [WAN, LAN] {
        let line = instance.line();
        assert_eq!(line["type"], "attached", "{line}");
        assert_eq!(line["iface"], interface, "{line}");
    }
    assert!(instance.stop(Signal::SIGINT).0.success());
}

#[test]
fn the_environment_names_the_file() {
    let topology = Topology::new().unwrap();
    let file = OwnFile::new("iface = 'nope0'\nmetrics-addr = 'off'");
    let mut command = lastack(&["run"]);
    command.env("LASTACK_CONFIG", file.as_str());
    let refused = output(&topology.gateway, command);
    assert_eq!(refused.status.code(), Some(1));
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(stderr.contains("nope0"), "{stderr}");
}

#[test]
fn check_looks_at_what_the_file_would_have_served() {
    let mut topology = Topology::new().unwrap();
    let _client = topology.add_client().unwrap();
    let before = hooks(&topology.gateway, WAN);
    let file = OwnFile::new("iface = 'lan0'\nrole = 'lan'\nwindow = '1s'\nmode = 'monitor'");
    let checked = |options: &[&str]| {
        let mut command: Command = lastack(&["check", "--output", "json", "--config"]);
        command.arg(file.as_str()).args(options);
        let stdout = output(&topology.gateway, command).stdout;
        let report: Value = serde_json::from_slice(&stdout).unwrap();
        let checks = report["checks"].as_array().unwrap().iter();
        let interfaces = checks.filter_map(|check| check["iface"].as_str().map(str::to_owned));
        let mut interfaces: Vec<_> = interfaces.collect();
        interfaces.dedup();
        interfaces
    };
    assert_eq!(checked(&[]), [LAN]);
    assert_eq!(checked(&["--iface", WAN]), [WAN]);
    assert_eq!(hooks(&topology.gateway, WAN), before);
}
