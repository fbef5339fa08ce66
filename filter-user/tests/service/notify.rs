//! What systemd is told.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use filter_user::lab::{
    namespace::Namespace,
    topology::{Topology, WAN},
};
use nix::sys::signal::Signal;

use crate::{
    UPLINK, add_uplink,
    instance::{
        Instance,
        cure::{self, CONNECTIONS},
        hooks, output, run,
        wiring::Network,
    },
    manager::Manager,
    remove_uplink,
};

const WITHOUT_METRICS: [&str; 2] = ["--metrics-addr", "off"];

fn managed(manager: &Manager, interfaces: &[&str], options: &[&str]) -> Command {
    let mut command = run(interfaces, &WITHOUT_METRICS);
    command
        .args(options)
        .env("NOTIFY_SOCKET", &manager.address)
        .env_remove("WATCHDOG_PID")
        .env_remove("WATCHDOG_USEC");
    command
}

fn start(manager: &Manager, gateway: &Namespace, options: &[&str]) -> Instance {
    Instance::spawn(gateway, managed(manager, &[WAN], options))
}

#[test]
fn readiness_is_told_when_everything_is_attached_and_the_end_when_it_begins() {
    let topology = Topology::new().unwrap();
    let before = hooks(&topology.gateway, WAN);
    let manager = Manager::new();
    let instance = start(&manager, &topology.gateway, &[]);
    assert_eq!(manager.message(), ["READY=1"]);
    let attached = hooks(&topology.gateway, WAN);
    assert!(
        attached.iter().any(|line| line.contains("lastack_egress")),
        "{attached:?}"
    );
    assert_eq!(
        manager.message(),
        ["STATUS=wan0 served; 0 spurious ACKs dropped"]
    );
    assert!(instance.stop(Signal::SIGTERM).0.success());
    assert_eq!(manager.rest(), ["STOPPING=1"]);
    assert_eq!(hooks(&topology.gateway, WAN), before);
}

#[test]
fn what_cannot_be_served_is_never_told_to_be_ready() {
    let topology = Topology::new().unwrap();
    let manager = Manager::new();
    let mut command = managed(&manager, &[WAN, "nope0"], &[]);
    command.stderr(Stdio::null());
    let output = output(&topology.gateway, command);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(manager.rest(), [""; 0]);
}

#[test]
fn a_manager_with_an_abstract_socket_is_told_too() {
    let topology = Topology::new().unwrap();
    let manager = Manager::without_a_file(&topology.gateway);
    let _instance = start(&manager, &topology.gateway, &[]);
    assert_eq!(manager.message(), ["READY=1"]);
}

#[test]
fn a_manager_that_is_not_there_stops_nothing() {
    let topology = Topology::new().unwrap();
    let gone = Manager::new().address;
    let mut command = run(&[WAN], &WITHOUT_METRICS);
    command.env("NOTIFY_SOCKET", gone).stderr(Stdio::null());
    let instance = Instance::spawn(&topology.gateway, command).attached_to(&[WAN]);
    assert!(instance.stop(Signal::SIGTERM).0.success());
}

#[test]
fn the_status_line_follows_interfaces_and_drops() {
    let mut network = Network::new();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    let manager = Manager::new();
    let command = managed(&manager, &[WAN, UPLINK], &["--wait"]);
    let _instance = Instance::spawn(gateway, command);
    assert_eq!(manager.message(), ["READY=1"]);
    assert_eq!(
        manager.message(),
        ["STATUS=wan0 served; up0 not served: not there; 0 spurious ACKs dropped"]
    );
    add_uplink(gateway);
    manager.status(|status| status == "wan0, up0 served; 0 spurious ACKs dropped");
    assert_eq!(cure::resets(&mut client), 0);
    let all = format!("wan0, up0 served; {CONNECTIONS} spurious ACKs dropped");
    manager.status(|status| status == all);
    remove_uplink(gateway);
    let all =
        format!("wan0 served; up0 not served: not there; {CONNECTIONS} spurious ACKs dropped");
    manager.status(|status| status == all);
}

#[test]
fn the_watchdog_is_told_again_and_again_that_it_lives_but_not_before_it_is_ready() {
    let topology = Topology::new().unwrap();
    let manager = Manager::new();
    let mut command = managed(&manager, &[WAN], &[]);
    command.env("WATCHDOG_USEC", "200000");
    let _instance = Instance::spawn(&topology.gateway, command);
    assert_eq!(manager.message(), ["READY=1"]);
    let mut alive = 0;
    while alive < 5 {
        let message = manager.message();
        if message == ["WATCHDOG=1"] {
            alive += 1;
        } else {
            assert!(message[0].starts_with("STATUS="), "{message:?}");
        }
    }
}

/// Runs it until signs of life are long due; gives how many there were.
fn signs_of_life(pid: &str) -> usize {
    let topology = Topology::new().unwrap();
    let manager = Manager::new();
    let command = managed(&manager, &[WAN], &["--interval", "500ms"]);
    let mut shell = Command::new("sh");
    let become_it = format!("export WATCHDOG_PID={pid}; exec \"$0\" \"$@\"");
    shell.args(["-c", &become_it]).arg(command.get_program());
    shell.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let watchdog = Duration::from_millis(200);
    shell.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
    let instance = Instance::spawn(&topology.gateway, shell).attached_to(&[WAN]);
    let mut told = Vec::new();
    for _ in 0..3 {
        assert_eq!(instance.line()["type"], "counters");
        told.extend(manager.rest());
    }
    assert!(instance.stop(Signal::SIGTERM).0.success());
    told.extend(manager.rest());
    assert!(told.contains(&"READY=1".to_owned()), "{told:?}");
    told.iter().filter(|line| *line == "WATCHDOG=1").count()
}

#[test]
fn a_watchdog_that_is_meant_for_another_process_is_told_nothing() {
    assert_ne!(signs_of_life("$$"), 0);
    assert_eq!(signs_of_life("1"), 0);
}
