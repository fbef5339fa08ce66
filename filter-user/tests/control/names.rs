//! Instances are told apart by their names, of which each is there once.

use std::process::Command;

use filter_user::lab::topology::{LAN, Topology, WAN};
use nix::sys::signal::Signal;

use super::{
    WITHOUT_METRICS, assert_fails,
    instance::{Instance, bpffs::BpfFileSystem, hooks, lastack},
    json, say,
};

#[test]
fn of_several_instances_one_has_to_be_chosen() {
    let mut topology = Topology::new().unwrap();
    let _client = topology.add_client().unwrap();
    let gateway = &topology.gateway;
    let start = "start one: `lastack run --iface IF`";
    for command in ["status", "flows", "hosts", "detach"] {
        assert_fails(gateway, lastack(&[command]), &["no instance runs", start]);
        let named = lastack(&[command, "--instance", "inside"]);
        assert_fails(gateway, named, &["no instance called inside", start]);
    }
    let options = |name| [&WITHOUT_METRICS[..], &["--instance", name]].concat();
    let outside = Instance::start(gateway, &[WAN], &options("outside"));
    assert_eq!(json(gateway, &["status"])["instance"], "outside");
    let inside = [&options("inside")[..], &["--role", "lan"]].concat();
    let inside = Instance::start(gateway, &[LAN], &inside);

    for command in ["flows", "hosts", "detach"] {
        let several = ["inside, outside", "--instance NAME"];
        assert_fails(gateway, lastack(&[command]), &several);
    }
    let other = lastack(&["flows", "--instance", "default"]);
    assert_fails(gateway, other, &["called default", "inside, outside"]);
    let status = json(gateway, &["status", "--instance", "inside"]);
    assert_eq!(status["pid"], inside.id());
    assert_eq!(status["settings"]["role"], "lan");
    let mut outside_status = lastack(&["status", "--output", "json"]);
    outside_status.env("LASTACK_INSTANCE", "outside");
    let said = super::instance::output(gateway, outside_status).stdout;
    let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
    assert_eq!(said["pid"], outside.id());

    let both = say(gateway, &["status"]);
    assert!(both.starts_with("inside: runs for"), "{both}");
    assert!(both.contains("\n\noutside: runs for"), "{both}");
    let both = say(gateway, &["status", "--output", "json"]);
    assert_eq!(both.lines().count(), 2, "{both}");

    // In another network namespace there are none.
    assert_fails(
        &topology.server,
        lastack(&["status"]),
        &["no instance runs"],
    );
}

#[test]
fn a_name_is_there_once_and_free_again_however_its_process_ends() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let options = [&WITHOUT_METRICS[..], &["--instance", "twin"]].concat();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let first = Instance::start(gateway, &[WAN], &options);
        let before = hooks(gateway, WAN);
        // One that does not refuse ends, and with another status.
        let mut second = Command::new("timeout");
        second.args(["20", env!("CARGO_BIN_EXE_lastack"), "run", "--iface", WAN]);
        second.args(&options);
        let process = format!("process {}", first.id());
        let words = ["called twin runs here already", &process, "--instance NAME"];
        assert_fails(gateway, second, &words);
        assert_eq!(hooks(gateway, WAN), before);
        // A name belongs to a network namespace, as the interfaces do.
        let elsewhere = Instance::start(&topology.server, &["lo"], &options);
        drop(elsewhere);
        first.stop(signal);
    }
}

#[test]
fn one_that_is_pinned_for_another_network_namespace_is_named() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let file_system = BpfFileSystem::new();
    let place = file_system.path().to_str().unwrap();
    let pin = ["--pin", "--pin-dir", place, "--instance", "away"];
    let instance = Instance::start(gateway, &[WAN], &[&WITHOUT_METRICS[..], &pin].concat());
    instance.stop(Signal::SIGKILL);
    let ask = |arguments: &[&str]| lastack(&[arguments, &["--pin-dir", place]].concat());
    let is_away = format!("away is pinned in {place}, but serves another network namespace");
    for named in [&[][..], &["--instance", "away"]] {
        let removal = format!("`rm -r {place}/away`");
        let words = ["no instance", &is_away, "nsenter --net=", &removal];
        let command = ask(&[&["status"], named].concat());
        assert_fails(&topology.server, command, &words);
    }
    let none = format!("none is pinned in {place}; start one");
    let other = ask(&["status", "--instance", "other"]);
    assert_fails(&topology.server, other, &[&none]);
    assert_eq!(
        json(gateway, &["detach", "--pin-dir", place])["instance"],
        "away"
    );
}
