//! Asking an instance, and letting it be asked.
//!
//! A running instance listens on an abstract Unix socket that has its name. Such sockets belong to
//! the network namespace, as the interfaces do that it serves; they leave nothing behind, however
//! the process ends, and need no writable directory. The name is also the lock that keeps two
//! instances of one name apart. As anybody may connect, or take the name, both sides look at whom
//! they talk to: see `trust`.
//!
//! What is pinned without a process answers for itself, from its maps: see [`pinned`].

mod client;
mod discovery;
pub mod pinned;
pub mod protocol;
pub mod server;
mod settings;
mod trust;

use std::os::linux::net::SocketAddrExt as _;
use std::{io, os::unix::net::SocketAddr};

use tokio::sync::broadcast;

pub use self::{
    client::{Connection, Unreachable},
    discovery::{Instance, choose, detach, detach_all, instances},
    settings::by_option,
};
use crate::{
    instance::InstanceName,
    report::{Detached, Event, Flows, Hosts, Snapshot, Status, Timestamp},
};
use protocol::FlowsQuery;

/// What names of sockets begin with.
const PREFIX: &str = "lastack/";

/// What can be asked: a running instance, or what one has left pinned.
///
/// Every method may take its time, so it is called where that stops nobody else.
pub trait Source: Send + Sync {
    /// What is attached where, and what it counted.
    fn status(&self) -> anyhow::Result<Status>;

    /// Closing flows.
    fn flows(&self, query: &FlowsQuery) -> anyhow::Result<Flows>;

    /// Clients with the fault, at most `limit`.
    fn hosts(&self, limit: usize) -> anyhow::Result<Hosts>;

    /// Takes everything off; returns when that is done.
    fn detach(&self) -> anyhow::Result<Detached>;

    /// Events from now on; none where nobody takes them from the programs.
    fn subscribe(&self) -> Option<broadcast::Receiver<Event>> {
        None
    }
}

/// What is so now, with no events yet.
pub fn snapshot(source: &dyn Source, hosts: usize) -> anyhow::Result<Snapshot> {
    Ok(Snapshot {
        status: source.status()?,
        hosts: source.hosts(hosts)?,
        time: Timestamp::now(),
        events: Vec::new(),
        events_skipped: 0,
    })
}

fn address(name: &InstanceName) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("{PREFIX}{name}"))
}
