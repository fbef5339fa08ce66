//! What an instance needs for itself, while somebody else has it.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use filter_user::lab::topology::{Topology, WAN};
use nix::sys::signal::Signal;

use crate::{
    check,
    instance::{Instance, bpffs::BpfFileSystem, lastack, output},
};

const SCOPE: [&str; 2] = ["--iface", WAN];

#[test]
fn an_address_that_somebody_else_has_is_an_error_as_it_is_for_run() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let mut listening = Command::new("python3");
    let script = "import socket, time; s = socket.create_server(('127.0.0.1', 9433)); \
                  print('listens', flush=True); time.sleep(600)";
    listening.args(["-c", script]).stdout(Stdio::piped());
    let mut stranger = gateway.spawn(listening).unwrap();
    let mut line = String::new();
    let said = stranger.stdout.take().unwrap();
    BufReader::new(said).read_line(&mut line).unwrap();
    let taken = check(gateway, &SCOPE);
    let other = check(
        gateway,
        &[&SCOPE[..], &["--metrics-addr", "127.0.0.1:9434"]].concat(),
    );
    let run = output(gateway, lastack(&[&["run"], &SCOPE[..]].concat()));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    taken.assert_troubles(&["metrics"]);
    let remedy = "--metrics-addr takes another";
    taken.assert(None, "metrics", "error", "127.0.0.1:9433", remedy);
    other.assert_troubles(&[]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
}

#[test]
fn an_instance_of_that_name_that_runs_is_a_warning_and_its_address_none() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let file_system = BpfFileSystem::new();
    let directory = file_system.path().to_str().unwrap();
    // A pinned one has the default's name and address.
    let pin = ["--pin", "--pin-dir", directory];
    let instance = Instance::start(gateway, &[WAN], &pin);
    let checked = check(gateway, &[&SCOPE[..], &pin].concat());
    checked.assert_troubles(&["name", "instance"]);
    checked.assert(None, "name", "warning", "default runs", "--instance NAME");
    let metrics = checked.of(None, "metrics");
    assert!(metrics["message"].as_str().unwrap().contains("default"));
    assert!(instance.stop(Signal::SIGTERM).0.success());
}

#[test]
fn what_is_pinned_can_be_taken_over_or_it_is_said_why_not() {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let file_system = BpfFileSystem::new();
    let directory = file_system.path().to_str().unwrap();
    let pin = ["--pin", "--pin-dir", directory];
    let with = |more: &[&str]| check(gateway, &[&SCOPE[..], more].concat());

    let fresh = with(&pin);
    fresh.assert_troubles(&[]);
    let nowhere = with(&["--pin", "--pin-dir", "/tmp"]);
    nowhere.assert(None, "pins", "error", "/tmp", "mount");

    let instance = Instance::start(gateway, &[WAN], &pin);
    assert!(instance.stop(Signal::SIGTERM).0.success());
    let left = with(&pin);
    let message = left.of(None, "pins")["message"].as_str().unwrap();
    assert!(message.contains("can be taken over"), "{message}");
    for (more, says) in [
        (&["--closer", "either"][..], "closer"),
        (&["--max-flows", "1024"], "1024"),
        (&["--role", "lan"], "role"),
    ] {
        let refused = with(&[&pin[..], more].concat());
        refused.assert(None, "pins", "error", says, "detach");
    }
    let unpinned = with(&["--pin-dir", directory]);
    unpinned.assert(None, "pins", "error", directory, "detach");

    let detach = lastack(&["detach", "--pin-dir", directory]);
    assert!(output(gateway, detach).status.success());
    with(&pin).assert_troubles(&[]);
}
