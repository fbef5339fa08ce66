//! `lastack run --events` with real traffic. Needs root, curl and tcpdump.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::{
    collections::BTreeMap,
    io::Read as _,
    net::SocketAddr,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use filter_user::lab::{
    client::{Client, Outcome, Plan},
    server::{self, Server},
    topology::{LAN, SERVER_V4, SERVER_V6, Topology, WAN},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use instance::{Instance, capture::Capture, wait_until};

const CONNECTIONS: u16 = 12;

fn faulty() -> Plan {
    Plan {
        connections: CONNECTIONS,
        spurious_ack_after: Some(Duration::from_millis(200)),
        response: 16_384,
        reading: Duration::from_millis(400),
        timeout: Duration::from_secs(30),
    }
}

/// Where a client's connection leads.
fn server_of(client: SocketAddr) -> SocketAddr {
    match client {
        SocketAddr::V4(_) => (SERVER_V4, server::PORT).into(),
        SocketAddr::V6(_) => (SERVER_V6, server::PORT).into(),
    }
}

/// What follows the FINs in a capture, by who sent it to whom.
fn fin_ends(lines: &[String]) -> BTreeMap<(SocketAddr, SocketAddr), u32> {
    let socket = |text: &str| {
        let (address, port) = text.rsplit_once('.')?;
        Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))
    };
    let end = |line: &String| {
        // "IP 10.0.0.2.49152 > 203.0.113.2.80: Flags [F.], seq 7, …", or "seq 7:9".
        let (head, rest) = line.split_once(": Flags [")?;
        let (flags, rest) = rest.split_once("], seq ")?;
        if !flags.contains('F') {
            return None;
        }
        let (from, to) = head.split_once(' ')?.1.split_once(" > ")?;
        let last: u32 = rest.split(',').next()?.rsplit(':').next()?.parse().ok()?;
        Some(((socket(from)?, socket(to)?), last.wrapping_add(1)))
    };
    lines.iter().filter_map(end).collect()
}

fn socket(event: &Value, side: &str) -> SocketAddr {
    let address = event[side].as_str().unwrap().parse().unwrap();
    let port = event[format!("{side}_port")].as_u64().unwrap();
    SocketAddr::new(address, port.try_into().unwrap())
}

/// The events with one of these reasons, by client: one of each, and of nobody else.
fn of_each<'e>(
    events: &'e [Value],
    reason: &str,
    outcomes: &[Outcome],
) -> BTreeMap<SocketAddr, &'e Value> {
    let with = events.iter().filter(|event| event["reason"] == reason);
    let by_client: Vec<_> = with.map(|event| (socket(event, "client"), event)).collect();
    assert_eq!(by_client.len(), outcomes.len(), "{reason}: {events:?}");
    let by_client: BTreeMap<_, _> = by_client.into_iter().collect();
    for outcome in outcomes {
        assert!(
            by_client.contains_key(&outcome.client),
            "{reason}: {}",
            outcome.client
        );
    }
    by_client
}

#[test]
fn each_drop_and_each_reset_is_an_object_with_the_numbers_that_were_on_the_wire() {
    let mut topology = Topology::new().unwrap();
    let _server = Server::start(&topology.server).unwrap();
    let mut client = Client::new(topology.add_client().unwrap()).unwrap();
    // In monitor mode the ACKs reach the server, and draw its resets.
    let options = ["--mode", "monitor", "--events"];
    let instance = Instance::start(&topology.gateway, &[WAN], &options);
    let filter = format!("tcp port {}", server::PORT);
    let capture = Capture::start(&topology.gateway, LAN, &filter);
    let before = SystemTime::now();
    let outcomes = client.run(&faulty(), &mut |_| {}).unwrap();
    let ends = fin_ends(&capture.stop());
    let (status, lines) = instance.stop(Signal::SIGTERM);
    let after = SystemTime::now();
    assert!(status.success(), "{status}");
    for outcome in &outcomes {
        assert_eq!((outcome.seen.spurious_acks, outcome.seen.resets), (1, 1));
    }
    assert_eq!(lines.last().unwrap()["type"], "detached");
    let events: Vec<_> = lines
        .into_iter()
        .filter(|line| line["type"] == "event")
        .collect();
    let acks = of_each(&events, "spurious_ack_observed", &outcomes);
    let resets = of_each(&events, "reset_after_spurious_ack", &outcomes);
    assert_eq!(events.len(), acks.len() + resets.len(), "{events:?}");
    for (client, ack) in acks {
        let reset = resets[&client];
        for event in [ack, reset] {
            assert_eq!(event["iface"], WAN);
            assert_eq!(socket(event, "server"), server_of(client));
            let time = humantime::parse_rfc3339(event["time"].as_str().unwrap()).unwrap();
            // Its last digits are milliseconds.
            assert!(
                time + Duration::from_millis(2) >= before && time <= after,
                "{event}"
            );
        }
        let server = server_of(client);
        let (fc, fs) = (ends[&(client, server)], ends[&(server, client)]);
        assert!(
            ack["seq"] == fc || ack["seq"] == fc.wrapping_sub(1),
            "{ack} for {fc}"
        );
        assert_eq!(ack["ack"], fs);
        assert_eq!(reset["seq"], fs);
    }
}

/// Runs the client with the fault through a gateway, and gives what lastack prints.
fn printed(options: &[&str], stream: &str) -> (Vec<Outcome>, String) {
    let mut topology = Topology::new().unwrap();
    let _server = Server::start(&topology.server).unwrap();
    let mut client = Client::new(topology.add_client().unwrap()).unwrap();
    let mut command = instance::lastack(&["run", "--iface", WAN]);
    command
        .args(options)
        .env("LASTACK_WINDOW", "10s")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = topology.gateway.spawn(command).unwrap();
    wait_until("metrics are served", || {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "http://127.0.0.1:9433/metrics"]);
        instance::output(&topology.gateway, curl).status.success()
    });
    let outcomes = client.run(&faulty(), &mut |_| {}).unwrap();
    kill(
        Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let out = child.stdout.as_mut().unwrap();
    out.read_to_string(&mut stdout).unwrap();
    let err = child.stderr.as_mut().unwrap();
    err.read_to_string(&mut stderr).unwrap();
    assert!(child.wait().unwrap().success(), "{stderr}");
    (outcomes, if stream == "stdout" { stdout } else { stderr })
}

#[test]
fn each_drop_is_a_line_that_says_whose() {
    let (outcomes, stdout) = printed(&["--events"], "stdout");
    let drops = stdout
        .lines()
        .filter(|line| line.contains("wan0: spurious ack dropped: "));
    assert_eq!(drops.count(), outcomes.len(), "{stdout}");
    for Outcome { client, .. } in outcomes {
        let whose = format!(": client {client}, server {}, seq ", server_of(client));
        let told = stdout.lines().filter(|line| line.contains(&whose));
        assert_eq!(told.count(), 1, "{client} in:\n{stdout}");
    }
}

#[test]
fn nothing_is_told_of_drops_unless_asked_for() {
    let (_, stdout) = printed(&[], "stdout");
    assert!(!stdout.contains("client 10."), "{stdout}");
}

/// Half of its connections are over IPv4, which are another client's to the filter.
#[test]
fn decisions_are_logged_about_one_client_of_two() {
    let (outcomes, log) = printed(&["--log-decisions=10.0.0.2"], "stderr");
    for reason in [
        "flow_created",
        "server_fin",
        "first_ack",
        "spurious_ack_dropped",
    ] {
        let end = format!(": {reason}");
        let lines: Vec<_> = log.lines().filter(|line| line.ends_with(&end)).collect();
        for Outcome { client, .. } in &outcomes {
            let whose = format!(" {client} ");
            let told = lines.iter().filter(|line| line.contains(&whose)).count();
            assert_eq!(
                told,
                usize::from(client.is_ipv4()),
                "{client}: {reason} in:\n{log}"
            );
        }
    }
}
