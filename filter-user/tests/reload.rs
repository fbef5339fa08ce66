//! SIGHUP: other settings for an instance that is at work. Needs root, curl and setpriv.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use filter_user::lab::{
    client::{Outcome, Plan},
    topology::WAN,
};
use nix::sys::signal::Signal;
use serde_json::Value;

use instance::{Instance, file::OwnFile, tool, wait_until, wiring::Network};

const METRICS: &str = "http://127.0.0.1:9433/metrics";

/// Long between the close and the spurious ACK, so that much can happen there.
fn patient(connections: u16) -> Plan {
    Plan {
        connections,
        spurious_ack_after: Some(Duration::from_secs(5)),
        response: 16_384,
        reading: Duration::from_millis(5500),
        timeout: Duration::from_mins(1),
    }
}

/// As quick as a client of the lab can be.
fn hasty(connections: u16) -> Plan {
    Plan {
        spurious_ack_after: Some(Duration::from_millis(200)),
        reading: Duration::from_millis(400),
        ..patient(connections)
    }
}

fn start(network: &Network, file: &OwnFile, more: &[&str]) -> Instance {
    let options = [&["--config", file.as_str()], more].concat();
    Instance::start(&network.topology.gateway, &[WAN], &options)
}

/// Has it read the file again, and gives what it says of that.
fn reload(instance: &Instance, file: &OwnFile, text: &str) -> Value {
    file.write(text);
    instance.signal(Signal::SIGHUP);
    instance.event()
}

fn resets(outcomes: &[Outcome]) -> u64 {
    outcomes.iter().map(|outcome| outcome.seen.resets).sum()
}

fn sent(outcomes: &[Outcome]) -> u64 {
    let sent = outcomes.iter().map(|outcome| outcome.seen.spurious_acks);
    sent.sum()
}

fn last(lines: &[Value]) -> &Value {
    let last = lines.iter().rfind(|line| line["type"] == "counters");
    last.unwrap()
}

fn metrics(network: &Network) -> String {
    tool(
        &network.topology.gateway,
        "curl",
        &["--silent", "--show-error", "--fail", METRICS],
    )
}

fn is_in_force(network: &Network) -> u64 {
    instance::sample(&metrics(network), "lastack_config_last_reload_successful")
}

fn config_info(network: &Network) -> String {
    let metrics = metrics(network);
    let line = metrics
        .lines()
        .find(|line| line.starts_with("lastack_config_info"));
    line.unwrap().to_owned()
}

/// The closes happen under the old settings, the spurious ACKs come under the new ones.
#[test]
fn a_close_that_was_seen_in_monitor_mode_is_cured_in_enforce_mode() {
    let mut network = Network::new();
    let mut client = network.client();
    let file = OwnFile::new("mode = \"monitor\"\n");
    let instance = start(&network, &file, &[]);
    let closed = || instance::sample(&metrics(&network), "lastack_flows_closed_total");
    let outcomes = thread::scope(|scope| {
        let client = scope.spawn(|| client.run(&patient(32), &mut |_| {}).unwrap());
        wait_until("all are closed", || closed() == 32);
        let event = reload(&instance, &file, "mode = \"enforce\"\n");
        assert_eq!(event["type"], "reloaded", "{event}");
        assert_eq!(event["changes"]["mode"]["old"], "monitor");
        assert_eq!(event["changes"]["mode"]["new"], "enforce");
        client.join().unwrap()
    });
    let (_, lines) = instance.stop(Signal::SIGTERM);
    assert_eq!((sent(&outcomes), resets(&outcomes)), (32, 0));
    assert_eq!(last(&lines)["spurious_acks_dropped"], 32);
    assert_eq!(last(&lines)["spurious_acks_observed"], 0);
    // Nothing that was counted before is forgotten.
    assert_eq!(last(&lines)["packets"]["first_ack"], 32);
}

#[test]
fn reloads_under_load_let_no_spurious_ack_through() {
    let mut network = Network::new();
    let mut client = network.client();
    let plan = hasty(48);
    let file = OwnFile::new("budget = 3\n");
    let instance = start(&network, &file, &[]);
    let done = AtomicBool::new(false);
    let mut reloads = 0;
    let outcomes = thread::scope(|scope| {
        let working = scope.spawn(|| {
            let mut outcomes = Vec::new();
            while !done.load(Ordering::Relaxed) {
                outcomes.extend(client.run(&plan, &mut |_| {}).unwrap());
            }
            outcomes
        });
        for budget in [4, 5, 6, 7, 8, 9, 10, 11, 12, 13] {
            let event = reload(&instance, &file, &format!("budget = {budget}\n"));
            assert_eq!(event["type"], "reloaded", "{event}");
            reloads += 1;
        }
        done.store(true, Ordering::Relaxed);
        working.join().unwrap()
    });
    assert!(config_info(&network).contains("budget=\"13\""));
    let (_, lines) = instance.stop(Signal::SIGTERM);
    assert_eq!(resets(&outcomes), 0, "after {reloads} reloads");
    assert_eq!(last(&lines)["spurious_acks_dropped"], sent(&outcomes));
    assert_eq!(last(&lines)["packets"]["elicited"], 0);
}

#[test]
fn scope_changes_too() {
    let mut network = Network::new();
    let mut client = network.client();
    let plan = hasty(8);
    let mut run = || client.run(&plan, &mut |_| {}).unwrap();
    let file = OwnFile::new("port = [1]\n");
    let instance = start(&network, &file, &[]);
    assert_eq!(resets(&run()), 8);
    // Half of the connections are IPv4.
    let event = reload(&instance, &file, "client = [\"10.0.0.0/8\"]\n");
    assert_eq!(event["changes"]["port"]["new"], "", "{event}");
    assert_eq!(resets(&run()), 4);
    reload(&instance, &file, "");
    assert_eq!(resets(&run()), 0);
}

#[test]
fn wrong_settings_leave_the_old_ones_in_force() {
    let network = Network::new();
    let file = OwnFile::new("budget = 3\n");
    let instance = start(&network, &file, &[]);
    let before = config_info(&network);
    assert_eq!(is_in_force(&network), 1);
    for (text, says) in [
        ("budget = 7\nwindow = 5\n", "2"),
        ("budget = 7\nbugdet = 8\n", "bugdet"),
        ("budget = ", "1"),
    ] {
        let event = reload(&instance, &file, text);
        assert_eq!(event["type"], "reload_failed", "{event}");
        let error = event["error"].as_str().unwrap();
        assert!(error.contains(file.as_str()), "{error}");
        assert!(error.contains(says), "{error}");
        assert_eq!(config_info(&network), before);
        assert_eq!(is_in_force(&network), 0);
    }
    std::fs::remove_file(file.path()).unwrap();
    instance.signal(Signal::SIGHUP);
    assert_eq!(instance.event()["type"], "reload_failed");
    let event = reload(&instance, &file, "budget = 7\n");
    assert_eq!(event["type"], "reloaded", "{event}");
    assert!(config_info(&network).contains("budget=\"7\""));
    assert_eq!(is_in_force(&network), 1);
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_applied() {
    let network = Network::new();
    let file = OwnFile::new("");
    let instance = start(&network, &file, &[]);
    let text = "role = \"lan\"\nmax-flows = 5\nrst-guard = true\n";
    for _ in 0..2 {
        let event = reload(&instance, &file, text);
        assert_eq!(event["type"], "reloaded", "{event}");
        let waiting = event["needs_restart"].as_array().unwrap();
        assert_eq!(*waiting, ["role", "max-flows"], "{event}");
    }
    let info = config_info(&network);
    assert!(info.contains("role=\"wan\""), "{info}");
    assert!(info.contains("rst_guard=\"true\""), "{info}");
}

#[test]
fn without_a_configuration_file_a_hangup_ends_it() {
    let network = Network::new();
    let instance = Instance::start(&network.topology.gateway, &[WAN], &[]);
    let (status, lines) = instance.stop(Signal::SIGHUP);
    assert!(status.success(), "{status}");
    assert_eq!(lines.last().unwrap()["type"], "detached");
}

#[test]
fn events_and_decisions_go_on_when_only_the_interval_has_changed() {
    let mut network = Network::new();
    let mut client = network.client();
    let plan = hasty(8);
    let file = OwnFile::new("events = true\nlog-decisions = \"all\"\n");
    let instance = start(&network, &file, &[]);
    let text = "events = true\nlog-decisions = \"all\"\ninterval = \"1h\"\n";
    let event = reload(&instance, &file, text);
    assert_eq!(event["changes"]["interval"]["new"], "1h", "{event}");
    let outcomes = client.run(&plan, &mut |_| {}).unwrap();
    let (_, lines) = instance.stop(Signal::SIGTERM);
    let events = lines.iter().filter(|line| line["type"] == "event");
    assert_eq!(events.count() as u64, sent(&outcomes));
}

/// A link that was detached by force is asked only now and then; a reload must not hide it.
#[test]
fn a_hook_that_is_lost_when_programs_are_replaced_is_taken_again() {
    let network = Network::new();
    let gateway = &network.topology.gateway;
    let file = OwnFile::new("budget = 3\n");
    let instance = start(&network, &file, &[]);
    let arriving = &instance.attached[0]["hooks"][0]["program_id"];
    let links = tool(gateway, "bpftool", &["--json", "link", "show"]);
    let links: Value = serde_json::from_str(&links).unwrap();
    let mut links = links.as_array().unwrap().iter();
    let link = links.find(|link| link["prog_id"] == *arriving).unwrap();
    tool(
        gateway,
        "bpftool",
        &["link", "detach", "id", &link["id"].to_string()],
    );
    let event = reload(&instance, &file, "budget = 4\n");
    assert_eq!(event["type"], "reloaded", "{event}");
    let lost = instance.event();
    assert_eq!(
        (&lost["type"], &lost["reason"]),
        (&"lost".into(), &"removed".into())
    );
    assert_eq!(instance.event()["type"], "attached");
}
