//! A running `lastack run` in a namespace, and what is attached there.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod cure;
pub(crate) mod traffic;
pub(crate) mod wiring;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, ExitStatus, Output, Stdio},
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

/// How long anything may take that takes milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);

/// A `lastack run` that has attached.
pub(crate) struct Instance {
    child: Child,
    stdout: Option<BufReader<std::process::ChildStdout>>,
    attached: Vec<Value>,
}

impl Instance {
    /// Starts it with JSON output, and waits until it says that it has attached to all of
    /// `interfaces`.
    pub(crate) fn start(namespace: &Namespace, interfaces: &[&str], options: &[&str]) -> Self {
        let mut command = lastack(&["run", "--output", "json"]);
        for interface in interfaces {
            command.args(["--iface", interface]);
        }
        command
            .args(options)
            .env("RUST_LOG", "warn")
            .stdout(Stdio::piped());
        let mut child = namespace.spawn(command).unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut instance = Self {
            child,
            stdout: Some(stdout),
            attached: Vec::new(),
        };
        for interface in interfaces {
            let line = instance.line();
            assert_eq!(line["type"], "attached", "{line}");
            assert_eq!(line["iface"], *interface, "{line}");
            instance.attached.push(line);
        }
        instance
    }

    /// The hooks that it has attached to, by its own word.
    pub(crate) fn hooks(&self) -> Vec<String> {
        hooks_of(&self.attached)
    }

    /// The next line of its output.
    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "lastack run ended early");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Sends a signal, waits for the end, and gives the status and the rest of the output.
    pub(crate) fn stop(mut self, signal: Signal) -> (ExitStatus, Vec<Value>) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
        let mut rest = String::new();
        self.stdout
            .take()
            .unwrap()
            .read_to_string(&mut rest)
            .unwrap();
        let status = self.child.wait().unwrap();
        let lines = rest.lines().map(|line| serde_json::from_str(line).unwrap());
        (status, lines.collect())
    }
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
