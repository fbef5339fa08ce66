//! A running `lastack run` in a namespace, and what is attached there.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod bpffs;
pub(crate) mod capture;
pub(crate) mod cure;
pub(crate) mod expected;
pub(crate) mod file;
pub(crate) mod neighbour;
pub(crate) mod prometheus;
pub(crate) mod traffic;
pub(crate) mod wiring;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use aya::programs::{SchedClassifier, TcAttachType};
use filter_user::lab::namespace::Namespace;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// How long anything may take that takes milliseconds, but for a busy machine that emulates another.
const DEADLINE: Duration = Duration::from_mins(1);

/// A `lastack run` that has attached.
pub(crate) struct Instance {
    child: Child,
    lines: Receiver<Value>,
    /// What it said when it had attached.
    pub(crate) attached: Vec<Value>,
}

impl Instance {
    /// Starts it with JSON output, and waits until it says that it has attached to all of
    /// `interfaces`.
    pub(crate) fn start(namespace: &Namespace, interfaces: &[&str], options: &[&str]) -> Self {
        Self::launch(namespace, interfaces, options).attached_to(interfaces)
    }

    /// Waits until it says that it has attached to all of `interfaces`.
    pub(crate) fn attached_to(mut self, interfaces: &[&str]) -> Self {
        for interface in interfaces {
            let line = self.line();
            assert_eq!(line["type"], "attached", "{line}");
            assert_eq!(line["iface"], *interface, "{line}");
            self.attached.push(line);
        }
        self
    }

    /// Starts it with JSON output.
    pub(crate) fn launch(namespace: &Namespace, interfaces: &[&str], options: &[&str]) -> Self {
        Self::spawn(namespace, run(interfaces, options))
    }

    /// Starts what [`run`] gave.
    pub(crate) fn spawn(namespace: &Namespace, mut command: Command) -> Self {
        command.stdout(Stdio::piped());
        let mut child = namespace.spawn(command).unwrap();
        let lines = lines(child.stdout.take().unwrap());
        Self {
            child,
            lines,
            attached: Vec::new(),
        }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The hooks that it has attached to, by its own word.
    pub(crate) fn hooks(&self) -> Vec<String> {
        hooks_of(&self.attached)
    }

    /// The next line of its output.
    pub(crate) fn line(&self) -> Value {
        let line = self.lines.recv_timeout(DEADLINE);
        line.expect("lastack run goes on, and says something")
    }

    /// The next line of its output; none if it has ended instead.
    pub(crate) fn next_line(&self) -> Option<Value> {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("lastack run neither says anything nor ends"),
        }
    }

    /// The next line of its output that tells an event rather than counters.
    pub(crate) fn event(&self) -> Value {
        let start = Instant::now();
        loop {
            let line = self.line();
            if line["type"] != "counters" {
                return line;
            }
            assert!(start.elapsed() < DEADLINE, "nothing but counters: {line}");
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
    }

    /// Sends a signal, waits for the end, and gives the status and the rest of the output.
    pub(crate) fn stop(self, signal: Signal) -> (ExitStatus, Vec<Value>) {
        self.signal(signal);
        self.end()
    }

    /// Waits for the end, and gives the status and the rest of the output.
    pub(crate) fn end(mut self) -> (ExitStatus, Vec<Value>) {
        let rest = self.lines.iter().collect();
        (self.child.wait().unwrap(), rest)
    }
}

fn unique_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("test-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// `lastack run` with JSON output.
pub(crate) fn run(interfaces: &[&str], options: &[&str]) -> Command {
    let mut command = lastack(&["run", "--output", "json"]);
    for interface in interfaces {
        command.args(["--iface", interface]);
    }
    command
        .args(options)
        .env("RUST_LOG", "warn")
        // Not even a busy machine's client misses it.
        .env("LASTACK_WINDOW", "10s");
    // Several of a test may share a namespace; what is pinned is found again by its name.
    if !options.contains(&"--pin") {
        command.env("LASTACK_INSTANCE", unique_name());
    }
    command
}

/// What a process prints, until it ends.
fn lines(stdout: ChildStdout) -> Receiver<Value> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let line = line.unwrap();
            let value = serde_json::from_str(&line).unwrap_or_else(|error| {
                panic!("{line}: {error}");
            });
            if sender.send(value).is_err() {
                return;
            }
        }
    });
    lines
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The hooks in lines of the type `attached`.
fn hooks_of(attached: &[Value]) -> Vec<String> {
    let hooks = attached.iter().flat_map(|line| {
        let hooks = line["hooks"].as_array().unwrap();
        hooks.iter().map(|hook| hook["hook"].as_str().unwrap())
    });
    hooks.map(str::to_owned).collect()
}

/// The built program.
pub(crate) fn lastack(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastack"));
    command.args(arguments);
    command
}

/// Runs a program in a namespace to its end.
pub(crate) fn output(namespace: &Namespace, mut command: Command) -> Output {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    namespace
        .spawn(command)
        .unwrap()
        .wait_with_output()
        .unwrap()
}

/// Runs a program of the system in a namespace, and gives what it prints.
pub(crate) fn tool(namespace: &Namespace, program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    let output = output(namespace, command);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until `done` holds.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(
            start.elapsed() < DEADLINE,
            "{what}: not within {DEADLINE:?}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Everything that sits on the hooks of an interface, for comparison.
pub(crate) fn hooks(namespace: &Namespace, interface: &'static str) -> Vec<String> {
    let tcx = namespace.run(move || {
        let mut programs = Vec::new();
        for side in [TcAttachType::Ingress, TcAttachType::Egress] {
            if !expected::has_tcx() {
                continue;
            }
            let (_, attached) = SchedClassifier::query_tcx(interface, side).unwrap();
            let names = attached
                .iter()
                .map(|info| format!("tcx {side:?}: {:?}", info.name_as_str()));
            programs.extend(names);
        }
        programs
    });
    let mut hooks: Vec<_> = tool(namespace, "bpftool", &["net"])
        .lines()
        .map(str::to_owned)
        .collect();
    hooks.extend(
        tool(namespace, "tc", &["qdisc", "show", "dev", interface])
            .lines()
            .map(str::to_owned),
    );
    hooks.extend(tcx);
    hooks
}

/// The value of a sample in Prometheus' text format, by its name and labels.
pub(crate) fn sample(metrics: &str, name: &str) -> u64 {
    let mut values = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = values
        .next()
        .unwrap_or_else(|| panic!("no sample {name} in:\n{metrics}"));
    value.parse().unwrap()
}
