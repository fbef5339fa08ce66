//! `lastack run` whose standard output nobody reads. Needs root and curl.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod instance;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStderr, ChildStdout, Stdio},
};

use filter_user::lab::{
    namespace::Namespace,
    topology::{Topology, WAN},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use instance::{
    cure::{CONNECTIONS, resets},
    lastack, sample, tool,
    wiring::Network,
};

const METRICS: &str = "http://127.0.0.1:9433/metrics";
const DROPPED: &str =
    "lastack_spurious_acks_total{action=\"dropped\",iface=\"wan0\",kind=\"spurious\"}";

/// A `lastack run` whose standard output is read only when a test does.
struct Unread {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
}

impl Unread {
    /// Starts it with so many lines that soon there is no room for more, and waits until then.
    fn start(gateway: &Namespace) -> Self {
        let mut command = lastack(&["run", "--iface", WAN, "--output", "json"]);
        command
            .args(["--interval", "1ms", "--window", "10s"])
            .env("RUST_LOG", "warn")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = gateway.spawn(command).unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut unread = Self {
            child,
            stdout,
            stderr,
        };
        unread.assert_logged("nobody reads it");
        unread
    }

    fn assert_logged(&mut self, words: &str) {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            let length = self.stderr.read_line(&mut line).unwrap();
            assert!(length > 0, "it ended without {words:?}");
        }
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Ends it, although nobody reads.
    fn terminate(&mut self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_reader_that_pauses_stops_neither_the_filter_nor_metrics_nor_signals() {
    let mut network = Network::new();
    let mut client = network.client();
    let gateway = &network.topology.gateway;
    let mut unread = Unread::start(gateway);
    assert_eq!(resets(&mut client), 0);
    let metrics = tool(gateway, "curl", &["--silent", "--fail", METRICS]);
    assert_eq!(sample(&metrics, DROPPED), u64::from(CONNECTIONS));
    // That would wait forever for a process that waits for its reader.
    unread.terminate();

    let mut left = String::new();
    unread.stdout.read_to_string(&mut left).unwrap();
    assert!(left.ends_with('\n'), "{left}");
    for line in left.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        assert!(value["type"].is_string(), "{line}");
    }
    let mut log = String::new();
    unread.stderr.read_to_string(&mut log).unwrap();
    assert!(log.contains("ending with"), "{log}");
}

#[test]
fn a_reader_that_goes_on_is_told_how_many_lines_it_missed() {
    let topology = Topology::new().unwrap();
    let mut unread = Unread::start(&topology.gateway);
    let mut line = unread.line();
    assert_eq!(line["type"], "attached");
    while line["type"] != "lost_lines" {
        line = unread.line();
    }
    assert!(line["lines"].as_u64().unwrap() > 0, "{line}");
    assert!(line["time"].is_string(), "{line}");
    assert_eq!(unread.line()["type"], "counters");
    unread.assert_logged("lines were left out");
}
