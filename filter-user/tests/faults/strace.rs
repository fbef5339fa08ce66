//! A process of whose system calls one goes wrong.

use std::{
    fmt,
    fs::{self, File},
    path::Path,
    process::Command,
};

use super::{instance::wait_until, stage::wrapped};

/// What happens to one call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effect {
    /// It is not made, and gives this error.
    Error(&'static str),
    /// It is not made, and the process is killed as by `kill -9`.
    Kill,
}

/// The call of that number, of those with that name, goes wrong: in each thread.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) call: String,
    pub(crate) number: usize,
    pub(crate) effect: Effect,
}

/// What a process did under strace.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Calls of its main thread, in order; each with its arguments.
    pub(crate) calls: Vec<String>,
    /// The first that went wrong, of any thread.
    pub(crate) hit: Option<String>,
}

/// `command` under strace, which writes the calls of these names to a file. The process is the
/// command's own: signals reach it, and its status is that of the command.
pub(crate) fn traced(
    command: &Command,
    calls: &[&str],
    fault: Option<&Fault>,
    trace: &Path,
) -> Command {
    let mut strace = Command::new("strace");
    strace
        .args(["--daemonize", "--follow-forks", "--output"])
        .arg(trace)
        .arg(format!("--trace={}", calls.join(",")));
    if !matches!(
        fault,
        Some(Fault {
            effect: Effect::Kill,
            ..
        })
    ) {
        // Quicker, but it sends no signals.
        strace.arg("--seccomp-bpf");
    }
    if let Some(fault) = fault {
        strace.arg(format!("--inject={fault}"));
    }
    wrapped(strace, command)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            call,
            number,
            effect,
        } = self;
        match effect {
            Effect::Error(error) => write!(f, "{call}:error={error}:when={number}"),
            Effect::Kill => write!(f, "{call}:signal=KILL:when={number}"),
        }
    }
}

impl Trace {
    /// Reads what strace wrote of a process that has ended.
    pub(crate) fn read(file: &Path, process: u32) -> Self {
        let mut text = String::new();
        let main = process.to_string();
        wait_until("strace ends, too", || {
            text = fs::read_to_string(file).unwrap();
            let mut lines = text.lines().map(columns);
            lines.any(|(thread, what)| thread == main && what.starts_with("+++ "))
        });
        let is_call = |what: &&str| !what.starts_with(['<', '+', '-']);
        let calls = text.lines().map(columns);
        let calls = calls.filter(|(thread, _)| *thread == main);
        let calls = calls.map(|(_, what)| what).filter(is_call);
        let hit = text.lines().find(|line| line.contains("(INJECTED)"));
        // What is killed makes no call any more.
        let killed = text.lines().find(|line| line.ends_with("= ?"));
        Self {
            calls: calls.map(str::to_owned).collect(),
            hit: hit.or(killed).map(|line| columns(line).1.to_owned()),
        }
    }
}

/// A thread's number, and what it did.
fn columns(line: &str) -> (&str, &str) {
    let (thread, what) = line.split_once(' ').unwrap_or_default();
    (thread, what.trim_start())
}

/// An empty file for strace to write to, and where it is.
pub(crate) fn file(directory: &Path, name: &str) -> std::path::PathBuf {
    let path = directory.join(name);
    File::create(&path).unwrap();
    path
}
