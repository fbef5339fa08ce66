//! Which instances there are.

use std::{
    collections::BTreeSet,
    fs, io, mem,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    slice,
};

use anyhow::{Context as _, bail};
use log::warn;

use super::{
    Connection, PREFIX, Unreachable, address,
    pinned::{self, Pinned},
    protocol::{Answer, FlowsQuery, Question},
};
use crate::{
    datapath::left,
    instance::InstanceName,
    report::{AllDetached, Detached, Flows, Hosts, Status},
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
/// Where there is none, or it cannot be found out; the line says what to do.
pub fn instances(directory: &Path) -> anyhow::Result<Vec<Instance>> {
    let mut instances = Vec::new();
    let mut passed_over = Vec::new();
    for name in names()? {
        match Connection::open(&name) {
            Ok(connection) => instances.push(Instance::Running(connection)),
            // It has just ended.
            Err(Unreachable::NotThere(_)) => {}
            Err(error) => passed_over.push(error.to_string()),
        }
    }
    let running: BTreeSet<_> = instances.iter().map(|it| it.name().clone()).collect();
    let mut found = pinned::instances(directory)?;
    let pinned = mem::take(&mut found.here).into_iter();
    let unserved = pinned.filter(|pinned| !running.contains(&pinned.name));
    instances.extend(unserved.map(Instance::Pinned));
    if instances.is_empty() {
        if passed_over.is_empty() {
            let nowhere = nowhere(None, directory, &found.elsewhere, found.unreadable.as_ref());
            bail!("no instance runs in this network namespace{nowhere}");
        }
        bail!(passed_over.join("; "));
    }
    for error in passed_over {
        warn!("{error}");
    }
    Ok(instances)
}

/// The one of a name, or else the only one that there is.
///
/// # Errors
///
/// Where there is none, or without a name more than one; the line says what to do.
pub fn choose(name: Option<&InstanceName>, directory: &Path) -> anyhow::Result<Instance> {
    match name {
        Some(name) => named(name, directory),
        None => only(directory),
    }
}

/// Takes off the one of a name, or else the only one that there is; or what one that was killed has
/// left in clsact, with nothing pinned.
///
/// # Errors
///
/// As [`choose`], and where something stays.
pub fn detach(name: Option<&InstanceName>, directory: &Path) -> anyhow::Result<Detached> {
    let error = match choose(name, directory) {
        Ok(mut instance) => return instance.detach(),
        Err(error) => error,
    };
    // Of several none is meant.
    if name.is_none() && instances(directory).is_ok() {
        return Err(error);
    }
    let instance = name.cloned().unwrap_or_default();
    // Neither does one of that name run, nor may one start now.
    let Ok(_lock) = UnixListener::bind_addr(&address(&instance)?) else {
        return Err(error);
    };
    let interfaces = left::detach_killed(&instance)?;
    if interfaces.is_empty() {
        return Err(error);
    }
    Ok(Detached {
        instance,
        pid: None,
        interfaces,
        unpinned: None,
    })
}

/// Takes off all that run in this network namespace, all that are pinned below `directory` and serve
/// it, and what others that were killed have left in clsact. What cannot be taken off is told beside
/// what was; then filters in clsact stay, for they may be of that.
///
/// # Errors
///
/// Where it cannot be found out what there is.
pub fn detach_all(directory: &Path) -> anyhow::Result<(AllDetached, Vec<String>)> {
    let mut done = AllDetached::default();
    let mut failed = Vec::new();
    let mut take_off = |instance: &mut Instance| match instance.detach() {
        Ok(detached) => done.instances.push(detached),
        Err(error) => failed.push(format!("{}: {error:#}", instance.name())),
    };
    let mut unreachable = Vec::new();
    for name in names()? {
        match Connection::open(&name) {
            Ok(connection) => take_off(&mut Instance::Running(connection)),
            // It has just ended.
            Err(Unreachable::NotThere(_)) => {}
            Err(error) => unreachable.push(error.to_string()),
        }
    }
    let found = pinned::instances(directory)?;
    for pinned in found.here {
        take_off(&mut Instance::Pinned(pinned));
    }
    failed.extend(unreachable);
    if let Some(error) = found.unreadable {
        let directory = directory.display();
        failed.push(format!(
            "what is pinned in {directory} is not known: {error}"
        ));
    }
    if failed.is_empty() {
        match left::detach_all_killed() {
            Ok(left) => done.left = left,
            Err(error) => failed.push(error.to_string()),
        }
    }
    Ok((done, failed))
}

fn named(name: &InstanceName, directory: &Path) -> anyhow::Result<Instance> {
    let error = match Connection::open(name) {
        Ok(connection) => return Ok(Instance::Running(connection)),
        Err(error) => error,
    };
    let mut others = names()?;
    let found = pinned::instances(directory)?;
    for pinned in found.here {
        if pinned.name == *name {
            return Ok(Instance::Pinned(pinned));
        }
        others.insert(pinned.name);
    }
    if !matches!(error, Unreachable::NotThere(_)) {
        return Err(error.into());
    }
    let is_elsewhere = found.elsewhere.contains(name);
    if others.is_empty() || is_elsewhere || found.unreadable.is_some() {
        let elsewhere = if is_elsewhere {
            slice::from_ref(name)
        } else {
            &[]
        };
        let nowhere = nowhere(Some(name), directory, elsewhere, found.unreadable.as_ref());
        bail!("{error}{nowhere}");
    }
    let others: Vec<_> = others.iter().map(InstanceName::as_str).collect();
    let directory = directory.display();
    let remedy = killed(name).unwrap_or_else(|| format!("there are: {}", others.join(", ")));
    bail!("{error}, and none is pinned in {directory}; {remedy}");
}

fn only(directory: &Path) -> anyhow::Result<Instance> {
    let mut instances = instances(directory)?;
    if instances.len() > 1 {
        let names: Vec<_> = instances.iter().map(|it| it.name().as_str()).collect();
        bail!(
            "there are several instances: {}; choose one: --instance NAME",
            names.join(", ")
        );
    }
    instances.pop().context("there is no instance")
}

/// What one of that name has left that was killed, and what takes it off.
fn killed(name: &InstanceName) -> Option<String> {
    let interfaces = left::killed_on(name);
    (!interfaces.is_empty()).then(|| {
        format!(
            "one called {name} was killed and has left filters in clsact on {}: `lastack detach \
             --instance {name}` takes them off, or the next start of that name",
            interfaces.join(", ")
        )
    })
}

/// What is to be said of a directory where what is looked for, by a name or not, is not pinned: which
/// instances of other network namespaces are, or why it cannot be told; and what to do.
fn nowhere(
    name: Option<&InstanceName>,
    directory: &Path,
    elsewhere: &[InstanceName],
    unreadable: Option<&io::Error>,
) -> String {
    let directory = directory.display();
    if let Some(error) = unreadable {
        if error.get_ref().is_some() {
            return format!(", and what is pinned is not looked at: {error}");
        }
        let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
        let root = if is_denied { "; run as root" } else { "" };
        return format!(
            ", and what is pinned is not known: cannot read {directory}: {error}{root}"
        );
    }
    let names: Vec<_> = elsewhere.iter().map(InstanceName::as_str).collect();
    let removals: Vec<_> = names
        .iter()
        .map(|name| format!("`rm -r {directory}/{name}`"))
        .collect();
    let (are, serve) = match names.as_slice() {
        [] => {
            let left = killed(name.unwrap_or(&InstanceName::default()));
            let remedy = left.as_deref().unwrap_or(START);
            return format!(", and none is pinned in {directory}; {remedy}");
        }
        [_] => ("is", "serves"),
        _ => ("are", "serve"),
    };
    format!(
        "; {} {are} pinned in {directory}, but {serve} another network namespace: ask there \
         (`nsenter --net=FILE lastack ...`), or, if that namespace is gone, remove what is pinned: \
         {}",
        names.join(", "),
        removals.join(", ")
    )
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
