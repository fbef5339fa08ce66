//! tcpdump on both sides of a gateway: whether everything that came in went out again.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::Duration,
};

use filter_user::lab::{
    namespace::Namespace,
    topology::{Host, Topology, WAN},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    forger::ORDINARY_TTL,
    instance::{tool, traffic::Directory},
};

/// Captures of the segments that were not forged.
pub(crate) struct Witness {
    directory: Directory,
    inside: Side,
    outside: Side,
}

impl Witness {
    /// Starts it on the gateway's interfaces to a host and to the server.
    pub(crate) fn start(topology: &Topology, host: &Host) -> Self {
        let directory = Directory::new();
        let side = |interface: &str| {
            let file = directory.0.join(interface);
            Side::start(&topology.gateway, interface, file)
        };
        Self {
            inside: side(&host.gateway_interface),
            outside: side(WAN),
            directory,
        }
    }

    /// Ends it: each segment was as often on one side as on the other. How many there were.
    pub(crate) fn nothing_was_lost(self) -> usize {
        // They leave what they have not read yet.
        thread::sleep(Duration::from_millis(300));
        let [inside, outside] = [self.inside, self.outside].map(Side::stop);
        let mut balance = HashMap::<&str, i64>::new();
        for (lines, weight) in [(&inside, 1), (&outside, -1)] {
            for line in lines.lines() {
                *balance.entry(line).or_default() += weight;
            }
        }
        balance.retain(|_, weight| *weight != 0);
        let mut example = balance.iter().take(8);
        assert!(
            balance.is_empty(),
            "{} segments are not on both sides, such as {:?}",
            balance.len(),
            example.by_ref().collect::<Vec<_>>()
        );
        drop(self.directory);
        inside.lines().count()
    }
}

/// A tcpdump.
struct Side {
    child: Child,
    said: BufReader<ChildStderr>,
    file: PathBuf,
}

impl Side {
    fn start(gateway: &Namespace, interface: &str, file: PathBuf) -> Self {
        // Before the gateway's hop and behind it.
        let ordinary = format!(
            "tcp and ((ip and ip[8] <= {ORDINARY_TTL}) or (ip6 and ip6[7] <= {ORDINARY_TTL}))"
        );
        let mut command = Command::new("tcpdump");
        command
            .args("-n --immediate-mode -s 128 -B 65536 -Z root -i".split(' '))
            .args([interface, "-w"])
            .arg(&file)
            .arg(ordinary)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = gateway.spawn(command).unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "tcpdump ended");
        }
        Self { child, said, file }
    }

    /// Ends it, and gives a line for each segment. Not one was missed.
    fn stop(mut self) -> String {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, Signal::SIGINT).unwrap();
        let mut summary = String::new();
        self.said.read_to_string(&mut summary).unwrap();
        assert!(self.child.wait().unwrap().success(), "{summary}");
        let count = |what| {
            let mut lines = summary.lines();
            lines.find_map(|line| line.strip_suffix(what)?.trim().parse::<u64>().ok())
        };
        let captured = count("packets captured");
        let is_whole = captured.is_some()
            && captured == count("packets received by filter")
            && count("packets dropped by kernel") == Some(0);
        assert!(is_whole, "{summary}");
        lines(&self.file)
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// With absolute numbers, and without times.
fn lines(file: &Path) -> String {
    let output = Command::new("tcpdump")
        .args(["-nntS", "-r"])
        .arg(file)
        .output()
        .unwrap();
    fs::remove_file(file).unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Frames that XDP has dropped at an interface, by its driver's count.
pub(crate) fn dropped_by_xdp(gateway: &Namespace, interface: &str) -> u64 {
    let counts = tool(gateway, "ethtool", &["-S", interface]);
    let of_queues = counts.lines().filter_map(|line| {
        let (name, count) = line.trim().split_once(": ")?;
        name.ends_with("_xdp_drops").then(|| count.parse::<u64>())
    });
    of_queues.map(Result::unwrap).sum()
}
