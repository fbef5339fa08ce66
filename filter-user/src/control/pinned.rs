//! Instances that have no process: their programs and tables are pinned.

use std::{io, os::unix::net::UnixListener, path::Path, thread::sleep, time::Duration};

use anyhow::bail;
use log::warn;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::{
    Source, address, by_option, client::connect, protocol::FlowsQuery, trust::is_instance,
};
use crate::{
    datapath::left::{self, Left},
    instance::InstanceName,
    remedy::answer,
    report::{Detached, Flows, Hosts, Status},
};

/// What is pinned of one instance.
pub struct Pinned {
    /// Its name.
    pub name: InstanceName,
    /// What answers for it.
    pub source: Box<dyn Source>,
}

/// What is pinned below a directory.
pub struct Found {
    /// What serves this network namespace, or may do so, by name.
    pub here: Vec<Pinned>,
    /// The names of what is known to serve another one.
    pub elsewhere: Vec<InstanceName>,
    /// Why the directory could not be searched, where it is there.
    pub unreadable: Option<io::Error>,
}

/// What is pinned below a directory.
///
/// # Errors
///
/// Where it cannot be told which network namespace this is.
pub fn instances(directory: &Path) -> anyhow::Result<Found> {
    let found = left::instances(directory)?;
    let pinned = found.lefts.into_iter().map(|left| Pinned {
        name: left.name().clone(),
        source: Box::new(left),
    });
    Ok(Found {
        here: pinned.collect(),
        elsewhere: found.elsewhere,
        unreadable: found.unreadable,
    })
}

impl Source for Left {
    fn status(&self) -> anyhow::Result<Status> {
        unless_taken_off(self, self.read_status())
    }

    fn flows(&self, query: &FlowsQuery) -> anyhow::Result<Flows> {
        unless_taken_off(self, self.read_flows(query))
    }

    fn hosts(&self, limit: usize) -> anyhow::Result<Hosts> {
        unless_taken_off(self, self.read_hosts(limit))
    }

    fn detach(&self) -> anyhow::Result<Detached> {
        // None of that name may start now.
        let _name = take_name(self.name())?;
        let mut interfaces: Vec<_> = left::detach(self.pins())?
            .into_iter()
            .map(|(interface, _)| interface)
            .collect();
        interfaces.dedup();
        Ok(Detached {
            instance: self.name().clone(),
            pid: None,
            interfaces,
            unpinned: Some(self.directory().to_owned()),
        })
    }
}

/// The name of an instance, unless somebody has it who is not one: a local user cannot keep others
/// from taking off what is pinned. If it is an instance that works with the pins, their lock tells.
fn take_name(name: &InstanceName) -> anyhow::Result<Option<UnixListener>> {
    match UnixListener::bind_addr(&address(name)?) {
        Ok(listener) => return Ok(Some(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        Err(error) => bail!("cannot take the name {name}: {}", answer(&error)),
    }
    let holder = connect(name)
        .ok()
        .and_then(|stream| getsockopt(&stream, PeerCredentials).ok());
    match holder {
        Some(holder) if is_instance(&holder) => bail!(
            "an instance called {name} runs here, but does not answer; end its process ({})",
            holder.pid()
        ),
        Some(holder) => warn!(
            "process {} of user {} holds the name {name}, and is no instance: what is pinned is taken \
             off all the same",
            holder.pid(),
            holder.uid()
        ),
        None => warn!(
            "the name {name} is held by a process that does not answer: what is pinned is taken off \
             all the same"
        ),
    }
    Ok(None)
}

/// What was read, but for what is read of an instance while it is taken off, whose pins go one by
/// one: that is no fault of what is pinned.
fn unless_taken_off<T>(left: &Left, read: anyhow::Result<T>) -> anyhow::Result<T> {
    const LOOKS: u32 = 10;
    let is_gone = || {
        (0..LOOKS).any(|look| {
            if look != 0 {
                sleep(Duration::from_millis(20));
            }
            !left.directory().exists()
        })
    };
    match read {
        Err(_) if is_gone() => bail!(
            "no instance called {} is pinned in {} any more: it has just been taken off",
            left.name(),
            left.directory()
                .parent()
                .unwrap_or(left.directory())
                .display()
        ),
        read => read,
    }
}

impl Left {
    fn read_status(&self) -> anyhow::Result<Status> {
        let record = self.record()?;
        let tables = self.tables()?;
        Ok(Status {
            instance: self.name().clone(),
            pid: None,
            version: record.version.clone(),
            since: record.since,
            age_seconds: record.age().map(|age| age.as_secs_f64()),
            pinned: Some(self.directory().to_owned()),
            settings: by_option(&record.settings),
            interfaces: self.interfaces(&record, &tables)?,
            flows: Some(tables.count_flows(&left::policy(&record)?)?),
            flows_capacity: record.settings.max_flows.into(),
            events_lost: tables.events_lost()?,
        })
    }

    fn read_flows(&self, query: &FlowsQuery) -> anyhow::Result<Flows> {
        let record = self.record()?;
        let mut flows = self.flows(&record)?;
        flows.retain(|flow| query.includes(flow));
        let total = flows.len() as u64;
        flows.truncate(query.limit as usize);
        Ok(Flows { flows, total })
    }

    fn read_hosts(&self, limit: usize) -> anyhow::Result<Hosts> {
        let mut hosts = self.tables()?.hosts(None)?;
        let total = hosts.len() as u64;
        hosts.truncate(limit);
        Ok(Hosts { hosts, total })
    }
}
