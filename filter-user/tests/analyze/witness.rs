//! What tshark reads and the rules' own words give is what the program finds.

#![expect(
    unsafe_code,
    reason = "a process that is to end with this one says so between fork and exec"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::Duration,
};

use filter_user::lab::{
    client::{self, Client},
    half_closing,
    impairment::Impairment,
    namespace::Namespace,
    server::Server,
    topology::{Topology, WAN},
    trial::{Clients, Filter, Trial},
};
use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use tempfile::NamedTempFile;

use crate::{
    analyze, capture,
    expected::{Figures, Finding, goldens},
    oracle, tshark,
};

/// In each recording.
const CONNECTIONS: u16 = 100;

fn witnessed(file: &Path) -> Figures {
    let (packets, rows) = tshark::read(file);
    oracle::figures(packets, &rows)
}

#[test]
fn tshark_finds_in_golden_captures_what_was_done_there() {
    for golden in goldens() {
        let found = witnessed(&capture(golden.file));
        assert_eq!(found, golden.figures, "{}", golden.file);
    }
}

#[test]
fn tshark_agrees_on_faulty_clients_between_links_that_lose_copy_and_reorder() {
    let figures = agree_under_loss(Clients::Faulty, WAN, 1);
    assert!(figures.spurious_acks > 0 && figures.redundant_acks > 0);
    assert!(figures.reacks_elicited > 0 && figures.resets_after_spurious_ack > 0);
}

#[test]
fn tshark_agrees_on_correct_clients_between_links_that_lose_copy_and_reorder() {
    let figures = agree_under_loss(Clients::Correct, WAN, 2);
    assert!(figures.redundant_acks > 0 && figures.reacks_elicited > 0 && figures.copies > 0);
}

#[test]
fn tshark_agrees_where_each_frame_is_captured_on_two_interfaces() {
    let figures = agree_under_loss(Clients::Faulty, "any", 3);
    assert!(figures.spurious_acks > 0 && figures.copies > figures.segments / 4);
}

#[test]
fn every_spurious_ack_that_a_client_has_sent_is_found_and_tshark_agrees() {
    let mut topology = Topology::new().unwrap();
    let _server = Server::start(&topology.server).unwrap();
    let mut client = Client::new(topology.add_client().unwrap()).unwrap();
    let file = NamedTempFile::new().unwrap();
    let recording = Recording::start(&topology.gateway, WAN, file.path());
    let plan = client::Plan {
        connections: CONNECTIONS,
        spurious_ack_after: Some(Duration::from_millis(200)),
        response: 4096,
        reading: Duration::from_millis(400),
        timeout: Duration::from_secs(30),
    };
    let outcomes = client.run(&plan, &mut |_| {}).unwrap();
    recording.stop();
    let figures = agree(file.path());
    let sent: u64 = outcomes
        .iter()
        .map(|outcome| outcome.seen.spurious_acks)
        .sum();
    let resets: u64 = outcomes.iter().map(|outcome| outcome.seen.resets).sum();
    assert_eq!(sent, u64::from(CONNECTIONS));
    assert_eq!((figures.spurious_acks, figures.redundant_acks), (sent, 0));
    assert_eq!(figures.resets_after_spurious_ack, resets);
    assert_eq!(figures.closed, sent);
}

#[test]
fn nothing_is_found_of_correct_clients_and_tshark_agrees() {
    let mut topology = Topology::new().unwrap();
    let _server = Server::start(&topology.server).unwrap();
    let host = topology.add_host().unwrap();
    let file = NamedTempFile::new().unwrap();
    let recording = Recording::start(&topology.gateway, WAN, file.path());
    let plan = half_closing::Plan {
        connections: CONNECTIONS,
        response: 4096,
        reading: Duration::from_millis(400),
        timeout: Duration::from_secs(30),
    };
    let outcomes = half_closing::run(&host, plan).unwrap();
    recording.stop();
    assert!(outcomes.iter().all(half_closing::Outcome::is_complete));
    let figures = agree(file.path());
    let all = u64::from(CONNECTIONS);
    assert_eq!((figures.connections, figures.closed), (all, all));
    assert_eq!(figures.findings, []);
}

/// Records what some connections come to between links that lose, copy and reorder, and has both
/// look at it.
fn agree_under_loss(clients: Clients, interface: &str, seed: u64) -> Figures {
    let trial = Trial {
        clients,
        filter: Filter::Off,
        loss: 0.05,
        connections: CONNECTIONS,
        seed,
    };
    let links = Impairment::one_of_two(trial.loss, seed);
    let file = NamedTempFile::new().unwrap();
    let mut recording = None;
    let results = trial.run_between(links, |gateway| {
        recording = Some(Recording::start(gateway, interface, file.path()));
        Ok(())
    });
    results.unwrap();
    recording.unwrap().stop();
    agree(file.path())
}

/// What both find in a capture where no client uses a port twice.
fn agree(file: &Path) -> Figures {
    let report = analyze(file);
    let found = Figures::of(&report);
    let (packets, rows) = tshark::read(file);
    let mut witnessed = oracle::figures(packets, &rows);
    let most = witnessed.copies + oracle::behind_client_resets(&rows);
    if (witnessed.copies..=most).contains(&found.copies) {
        witnessed.copies = found.copies;
    }
    assert_eq!(found, witnessed);
    let hosts = report["hosts"].as_array().unwrap().iter();
    let hosts: BTreeMap<_, _> = hosts
        .map(|host| {
            let names = ["connections", "spurious_acks", "redundant_acks", "resets"];
            let counts = names.map(|name| host[name].as_u64().unwrap());
            let cured = host["cured_by_r1"].as_u64().unwrap();
            (host["client"].as_str().unwrap().to_owned(), (counts, cured))
        })
        .collect();
    assert_eq!(hosts, hosts_of(&witnessed.findings));
    found
}

/// By client: connections with findings, spurious and redundant ACKs, resets; findings that R1 drops.
fn hosts_of(findings: &[Finding]) -> BTreeMap<String, ([u64; 4], u64)> {
    let mut hosts: BTreeMap<String, ([u64; 4], u64)> = BTreeMap::new();
    let mut connections = BTreeSet::new();
    for finding in findings {
        let client: SocketAddr = finding.client.parse().unwrap();
        let ([with_findings, spurious, redundant, resets], cured) =
            hosts.entry(client.ip().to_string()).or_default();
        *with_findings += u64::from(connections.insert(client));
        *spurious += u64::from(finding.kind == "spurious");
        *redundant += u64::from(finding.kind == "redundant");
        *resets += u64::from(finding.reset_frame.is_some());
        *cured += u64::from(matches!(
            finding.reason.as_str(),
            "spurious_ack" | "redundant_ack"
        ));
    }
    hosts
}

/// A tcpdump that writes a file.
struct Recording {
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Recording {
    /// Starts it. It outlives the namespace's other inhabitants, and not this process.
    fn start(gateway: &Namespace, interface: &str, file: &Path) -> Self {
        let descriptor = gateway.as_fd().as_raw_fd();
        let namespace = format!("--net=/proc/{}/fd/{descriptor}", std::process::id());
        let mut command = Command::new("nsenter");
        let options = "tcpdump -n --immediate-mode -U -s 128 -B 65536 -Z root -i";
        command.arg(namespace).args(options.split(' '));
        command.args([interface, "-w"]).arg(file).arg("tcp");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        // SAFETY: prctl(2) is async-signal-safe, and nothing else is called.
        unsafe {
            command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
        }
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "tcpdump ended");
        }
        Self { child, said }
    }

    /// Ends it, unless its interface has gone before.
    fn stop(mut self) {
        // It leaves what it has not read yet.
        thread::sleep(Duration::from_millis(200));
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, Signal::SIGINT).unwrap();
        let mut summary = String::new();
        self.said.read_to_string(&mut summary).unwrap();
        self.child.wait().unwrap();
        assert!(
            summary.contains("\n0 packets dropped by kernel"),
            "{summary}"
        );
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
