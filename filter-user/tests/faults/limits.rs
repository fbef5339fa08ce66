//! Too few descriptors, and many interfaces.

use std::{process::Command, time::Instant};

use filter_user::lab::topology::Topology;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    instance::{Instance, file::OwnFile, lastack, output, tool},
    stage::{Stage, XDP, wrapped},
};

#[test]
fn with_too_few_descriptors_it_says_so_or_works() {
    let stage = Stage::new(XDP);
    let mut worked = false;
    for descriptors in 5..50 {
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--nofile={descriptors}"));
        let mut timed = Command::new("timeout");
        timed.args(["--preserve-status", "--signal=TERM", "5"]);
        let command = wrapped(timed, &wrapped(limited, &stage.running()));
        let output = output(stage.gateway(), command);
        let said = String::from_utf8(output.stderr).unwrap();
        if output.status.success() {
            worked = true;
            break;
        }
        assert_eq!(output.status.code(), Some(1), "{descriptors}: {said}");
        assert_eq!(said.lines().count(), 1, "{descriptors}: {said}");
        assert!(said.contains("more open files"), "{descriptors}: {said}");
        assert!(stage.is_empty(), "{descriptors}: {said}");
    }
    assert!(worked, "50 are enough");
}

/// A gateway with so many interfaces, and their names.
fn with_interfaces(number: usize) -> (Topology, Vec<String>) {
    let topology = Topology::new().unwrap();
    let name = |index| format!("many{index}");
    let pairs = (0..number / 2).map(|pair| {
        let (one, other) = (name(2 * pair), name(2 * pair + 1));
        format!("link add {one} type veth peer name {other}")
    });
    let batch = OwnFile::new(pairs.collect::<Vec<_>>().join("\n"));
    tool(&topology.gateway, "ip", &["-batch", batch.as_str()]);
    (topology, (0..number).map(name).collect())
}

#[test]
fn sixty_four_interfaces_are_served_reloaded_and_left() {
    let (topology, names) = with_interfaces(64);
    let gateway = &topology.gateway;
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let file = OwnFile::new("");
    let options = ["--config", file.as_str(), "--metrics-addr", "off"];
    let options = [&options[..], &["--instance", "many", "--interval", "1h"]].concat();
    let start = Instant::now();
    let instance = Instance::start(gateway, &names, &options);
    eprintln!(
        "64 interfaces: {:.2} s to start",
        start.elapsed().as_secs_f32()
    );
    assert_eq!(instance.hooks().len(), 128);
    file.write("budget = 5\n");
    instance.signal(Signal::SIGHUP);
    assert_eq!(instance.event()["type"], "reloaded");
    let command = lastack(&["status", "--instance", "many", "--output", "json"]);
    let status: Value = serde_json::from_slice(&output(gateway, command).stdout).unwrap();
    let served = status["interfaces"].as_array().unwrap();
    assert_eq!(served.len(), 64);
    for interface in served {
        assert_eq!(
            interface["hooks"].as_array().unwrap().len(),
            2,
            "{interface}"
        );
    }
    let detached = output(gateway, lastack(&["detach", "--instance", "many"]));
    assert!(detached.status.success(), "{detached:?}");
    assert!(instance.end().0.success());
    assert!(!tool(gateway, "bpftool", &["net"]).contains("many"));
}

#[test]
fn one_interface_too_many_is_named_and_nothing_is_attached() {
    let (topology, names) = with_interfaces(256);
    let mut command = lastack(&["run", "--metrics-addr", "off", "--ingress", "tc"]);
    for name in &names {
        command.args(["--iface", name]);
    }
    let output = output(&topology.gateway, command);
    let said = String::from_utf8(output.stderr).unwrap();
    let said = said.lines().filter(|line| line.starts_with("lastack: "));
    let said: Vec<_> = said.collect();
    assert_eq!(output.status.code(), Some(1), "{said:?}");
    let [line] = said[..] else {
        panic!("{said:?}");
    };
    assert!(
        line.contains("many") && line.contains("leave one out"),
        "{line}"
    );
    assert!(!tool(&topology.gateway, "bpftool", &["net"]).contains("many"));
}
