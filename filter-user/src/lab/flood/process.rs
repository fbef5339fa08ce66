//! `lastack run` in the gateway's namespace, and what can be seen of it from outside.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::super::namespace::Namespace;
use crate::{
    control::{
        Connection,
        protocol::{Answer, Question},
    },
    instance::InstanceName,
    report::Status,
};

/// How long a start or an end may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running instance. Dropping it ends it.
pub(super) struct Lastack<'a> {
    child: Child,
    name: InstanceName,
    gateway: &'a Namespace,
}

/// What it has of the machine's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory {
    /// Bytes of its maps, by the kernel's account.
    pub maps: u64,
    /// Bytes of its process that are in memory.
    pub process: u64,
}

/// What a program has done, as far as the kernel was told to count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    pub(super) packets: u64,
    pub(super) nanoseconds: u64,
}

impl<'a> Lastack<'a> {
    /// Starts it, and waits until it has attached to all of `interfaces`.
    pub(super) fn start(
        binary: &Path,
        gateway: &'a Namespace,
        interfaces: &[&str],
        options: &[String],
    ) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("flood-{}-{number}", std::process::id());
        let mut command = Command::new(binary);
        command.args(["run", "--output", "json", "--instance", &name]);
        for interface in interfaces {
            command.args(["--iface", interface]);
        }
        command
            .args(options)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut lastack = Self {
            child: gateway.spawn(command)?,
            name: name.parse().map_err(anyhow::Error::msg)?,
            gateway,
        };
        let start = Instant::now();
        while !lastack.is_attached() {
            if let Some(status) = lastack.child.try_wait()? {
                bail!("lastack run did not start: {status}");
            }
            ensure!(
                start.elapsed() < DEADLINE,
                "lastack run has not attached within {DEADLINE:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(lastack)
    }

    fn is_attached(&self) -> bool {
        self.status().is_ok_and(|status| {
            let mut interfaces = status.interfaces.iter();
            interfaces.all(|interface| !interface.hooks.is_empty())
        })
    }

    /// What it says of itself.
    pub(super) fn status(&self) -> Result<Status> {
        let name = self.name.clone();
        self.gateway.run(move || {
            let answer = Connection::open(&name)?.ask(&Question::Status)?;
            let Answer::Status(status) = answer else {
                bail!("the instance {name} answers another question");
            };
            Ok(status)
        })
    }

    pub(super) fn memory(&self) -> Result<Memory> {
        let maps = self.descriptors()?.into_iter().filter_map(|fields| {
            let number = |name| fields.get(name)?.parse::<u64>().ok();
            Some((number("map_id")?, number("memlock")?))
        });
        let maps: BTreeMap<_, _> = maps.collect();
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let resident = fields(&status).remove("VmRSS");
        let kibibytes = resident
            .and_then(|size| size.strip_suffix(" kB")?.parse::<u64>().ok())
            .context("the kernel does not tell a process' memory")?;
        Ok(Memory {
            maps: maps.values().sum(),
            process: kibibytes * 1024,
        })
    }

    /// Of the programs at the ingress hooks, and at the egress hooks.
    pub(super) fn runs(&self) -> Result<[Runs; 2]> {
        let status = self.status()?;
        let programs: BTreeMap<_, _> = self
            .descriptors()?
            .into_iter()
            .filter_map(|fields| {
                let number = |name| fields.get(name)?.parse::<u64>().ok();
                let runs = Runs {
                    packets: number("run_cnt")?,
                    nanoseconds: number("run_time_ns")?,
                };
                Some((number("prog_id")?, runs))
            })
            .collect();
        let mut sides = [BTreeMap::new(), BTreeMap::new()];
        for interface in &status.interfaces {
            for (side, hook) in sides.iter_mut().zip(&interface.hooks) {
                let id = u64::from(hook.program_id);
                let runs = programs.get(&id);
                let runs = runs.with_context(|| format!("program {id} is not lastack's"))?;
                // Interfaces may share a program.
                side.insert(id, *runs);
            }
        }
        Ok(sides.map(|side| side.into_values().fold(Runs::default(), Runs::plus)))
    }

    /// What the kernel says of each of its descriptors.
    fn descriptors(&self) -> Result<Vec<BTreeMap<String, String>>> {
        let mut descriptors = Vec::new();
        for entry in fs::read_dir(format!("/proc/{}/fdinfo", self.child.id()))? {
            // A connection may be closed meanwhile.
            if let Ok(text) = fs::read_to_string(entry?.path()) {
                descriptors.push(fields(&text));
            }
        }
        Ok(descriptors)
    }

    /// Ends it as a service manager does.
    pub(super) fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGTERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "lastack run ended with {status}");
        Ok(())
    }
}

impl Drop for Lastack<'_> {
    fn drop(&mut self) {
        // Neither does anything to a process that has been waited for.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Runs {
    fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets + other.packets,
            nanoseconds: self.nanoseconds + other.nanoseconds,
        }
    }

    pub(super) const fn since(self, earlier: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(earlier.packets),
            nanoseconds: self.nanoseconds.saturating_sub(earlier.nanoseconds),
        }
    }
}

/// Of a file of lines `name: value`.
fn fields(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}
