//! Which instances there are.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use log::warn;

use super::{
    Connection, PREFIX, Unreachable,
    pinned::{self, Pinned},
    protocol::{Answer, FlowsQuery, Question},
};
use crate::{
    instance::InstanceName,
    report::{Detached, Flows, Hosts, Status},
};

/// `__SO_ACCEPTCON`, which sockets have that listen.
/// <https://github.com/torvalds/linux/blob/v6.18/include/uapi/linux/net.h>
const LISTENS: u32 = 1 << 16;
const OTHER_ANSWER: &str = "the instance answers another question; is it of another version?";
/// What to do where there is none.
const START: &str = "start one: `lastack run --iface IF`";

/// One that can be asked.
pub enum Instance {
    /// By its process.
    Running(Connection),
    /// From what it has pinned; no process serves it.
    Pinned(Pinned),
}

impl Instance {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &InstanceName {
        match self {
            Self::Running(connection) => connection.name(),
            Self::Pinned(pinned) => &pinned.name,
        }
    }

    /// What is attached where, and what it counted.
    pub fn status(&mut self) -> anyhow::Result<Status> {
        match self {
            Self::Running(connection) => {
                let Answer::Status(status) = connection.ask(&Question::Status)? else {
                    bail!(OTHER_ANSWER);
                };
                Ok(status)
            }
            Self::Pinned(pinned) => pinned.source.status(),
        }
    }

    /// Closing flows.
    pub fn flows(&mut self, query: FlowsQuery) -> anyhow::Result<Flows> {
        match self {
            Self::Running(connection) => {
                let Answer::Flows(flows) = connection.ask(&Question::Flows(query))? else {
                    bail!(OTHER_ANSWER);
                };
                Ok(flows)
            }
            Self::Pinned(pinned) => pinned.source.flows(&query),
        }
    }

    /// Clients with the fault.
    pub fn hosts(&mut self, limit: u32) -> anyhow::Result<Hosts> {
        match self {
            Self::Running(connection) => {
                let Answer::Hosts(hosts) = connection.ask(&Question::Hosts { limit })? else {
                    bail!(OTHER_ANSWER);
                };
                Ok(hosts)
            }
            Self::Pinned(pinned) => pinned.source.hosts(limit as usize),
        }
    }

    /// Takes everything off; its process ends.
    pub fn detach(&mut self) -> anyhow::Result<Detached> {
        match self {
            Self::Running(connection) => {
                let Answer::Detached(detached) = connection.ask(&Question::Detach)? else {
                    bail!(OTHER_ANSWER);
                };
                Ok(detached)
            }
            Self::Pinned(pinned) => pinned.source.detach(),
        }
    }
}

/// All that run in this network namespace, and those pinned below `directory` that no process
/// serves, each kind by name. Names that others hold are left out; the log tells of them.
///
/// # Errors
///
/// Where it cannot be found out.
pub fn instances(directory: &Path) -> anyhow::Result<Vec<Instance>> {
    let mut instances = Vec::new();
    for name in names()? {
        match Connection::open(&name) {
            Ok(connection) => instances.push(Instance::Running(connection)),
            // It has just ended.
            Err(Unreachable::NotThere(_)) => {}
            Err(error) => warn!("{error}"),
        }
    }
    let running: BTreeSet<_> = instances.iter().map(|it| it.name().clone()).collect();
    let pinned = pinned::instances(directory)?.into_iter();
    let unserved = pinned.filter(|pinned| !running.contains(&pinned.name));
    instances.extend(unserved.map(Instance::Pinned));
    Ok(instances)
}

/// The one of a name, or else the only one that there is.
///
/// # Errors
///
/// Where there is none, or without a name more than one; the line says what to do.
pub fn choose(name: Option<&InstanceName>, directory: &Path) -> anyhow::Result<Instance> {
    if let Some(name) = name {
        let error = match Connection::open(name) {
            Ok(connection) => return Ok(Instance::Running(connection)),
            Err(error) => error,
        };
        let mut others = names()?;
        for pinned in pinned::instances(directory)? {
            if pinned.name == *name {
                return Ok(Instance::Pinned(pinned));
            }
            others.insert(pinned.name);
        }
        if !matches!(error, Unreachable::NotThere(_)) {
            return Err(error.into());
        }
        if others.is_empty() {
            bail!("{error}, and none is pinned, nor is any other; {START}");
        }
        let others: Vec<_> = others.iter().map(InstanceName::as_str).collect();
        bail!(
            "{error}, and none is pinned; there are: {}",
            others.join(", ")
        );
    }
    let mut instances = instances(directory)?;
    match (instances.pop(), instances.as_slice()) {
        (Some(only), []) => Ok(only),
        (None, _) => bail!(none()),
        (Some(last), others) => {
            let mut names: Vec<_> = others.iter().map(|it| it.name().as_str()).collect();
            names.push(last.name().as_str());
            bail!(
                "there are several instances: {}; choose one: --instance NAME",
                names.join(", ")
            )
        }
    }
}

/// That there is no instance, and what to do.
#[must_use]
pub fn none() -> String {
    format!("no instance runs in this network namespace, and none is pinned; {START}")
}

/// The names under which somebody listens in this network namespace.
fn names() -> anyhow::Result<BTreeSet<InstanceName>> {
    // Of the thread: /proc/net is that of the process.
    let path = PathBuf::from("/proc/thread-self/net/unix");
    let table = fs::read(&path);
    let table = table.with_context(|| format!("cannot read {}", path.display()))?;
    // Anybody's names are in it, and need not be text.
    let table = String::from_utf8_lossy(&table);
    Ok(table.lines().filter_map(listener).collect())
}

/// The instance that listens on the socket that a line of `/proc/net/unix` is about: its number,
/// references, protocol, flags, type, state, inode and name.
fn listener(line: &str) -> Option<InstanceName> {
    let mut fields = line.split_ascii_whitespace();
    let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
    let name = fields.nth(3)?.strip_prefix('@')?.strip_prefix(PREFIX)?;
    (flags & LISTENS != 0).then(|| name.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_that_listen_are_instances() {
        let name = |line| listener(line).map(|name| name.to_string());
        for (line, is) in [
            (
                "0000000000000000: 00000002 00000000 00010000 0001 01 36841 @lastack/default",
                Some("default"),
            ),
            // A connection that one of them has accepted.
            (
                "0000000000000000: 00000003 00000000 00000000 0001 03 36842 @lastack/default",
                None,
            ),
            (
                "0000000000000000: 00000002 00000000 00010000 0001 01 36841 @lastack/a/b",
                None,
            ),
            (
                "0000000000000000: 00000002 00000000 00010000 0001 01 36841 /lastack/default",
                None,
            ),
            (
                "0000000000000000: 00000002 00000000 00010000 0001 01 1",
                None,
            ),
            (
                "Num       RefCount Protocol Flags    Type St Inode Path",
                None,
            ),
        ] {
            assert_eq!(name(line).as_deref(), is, "{line}");
        }
    }
}
