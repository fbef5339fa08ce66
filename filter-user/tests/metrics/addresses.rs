//! Who reaches the metrics.

use std::{
    io::Read as _,
    process::{Command, Stdio},
};

use filter_user::lab::{
    namespace::Namespace,
    topology::{Topology, WAN},
};
use nix::sys::signal::Signal;

use crate::instance::{Instance, output, run, tool};

/// What curl gets from the gateway's address towards the server.
fn from_the_server(server: &Namespace, address: &str) -> bool {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--max-time", "20"]);
    curl.arg(format!("http://{address}:9433/metrics"));
    output(server, curl).status.success()
}

/// Runs an instance; gives what it logged at level warn, and whether the server reached it.
fn served(options: &[&str]) -> (String, bool) {
    let topology = Topology::new().unwrap();
    let gateway = &topology.gateway;
    let routes = tool(gateway, "ip", &["-4", "-brief", "address", "show", WAN]);
    let prefix = routes.split_whitespace().find(|word| word.contains('/'));
    let (address, _) = prefix.unwrap().split_once('/').unwrap();
    let mut command = run(&[WAN], options);
    let (mut log, logged) = std::io::pipe().unwrap();
    command.stderr(Stdio::from(logged));
    let instance = Instance::spawn(gateway, command).attached_to(&[WAN]);
    let reached = from_the_server(&topology.server, address);
    assert!(instance.stop(Signal::SIGTERM).0.success());
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    (text, reached)
}

#[test]
fn metrics_are_for_this_machine_unless_something_else_is_asked_for() {
    for options in [
        &[][..],
        &["--metrics-addr", "127.0.0.2:9433"],
        &["--metrics-addr", "[::1]:9433"],
        &["--metrics-addr", "[::ffff:127.0.0.1]:9433"],
    ] {
        let (log, reached) = served(options);
        assert_eq!((&*log, reached), ("", false), "{options:?}");
    }
}

#[test]
fn metrics_that_others_reach_are_a_warning_of_one_line() {
    for address in ["0.0.0.0:9433", "[::]:9433"] {
        let (log, reached) = served(&["--metrics-addr", address]);
        assert!(reached, "{address}: {log}");
        assert_eq!(log.lines().count(), 1, "{log}");
        for part in ["WARN", address, "without a password", "--metrics-addr"] {
            assert!(log.contains(part), "no {part} in: {log}");
        }
    }
}
