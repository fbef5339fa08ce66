//! What a running instance answers on its control socket.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use filter_common::Policy;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{lock, options::Arguments};
use crate::{
    control::{Source, by_option, protocol::FlowsQuery},
    datapath::{Datapath, DatapathError, Query, Tables},
    instance::InstanceName,
    report::{Detached, Event, Flows, HookStatus, Hosts, InterfaceStatus, Status},
};

/// Of a CPU, at the most, counting flows takes one of so many parts.
const SHARE: u32 = 50;

/// Answers from the programs and their tables, with the lock on them held briefly.
pub(super) struct Answering {
    name: InstanceName,
    datapath: Arc<Mutex<Datapath>>,
    /// To whom events go.
    watchers: broadcast::Sender<Event>,
    counted: Mutex<Option<Counted>>,
    removals: mpsc::Sender<Removal>,
}

/// A count of flows.
#[derive(Clone, Copy)]
struct Counted {
    flows: u64,
    at: Instant,
    cost: Duration,
}

/// That somebody has asked to take everything off.
#[derive(Debug)]
pub(super) struct Removal(oneshot::Sender<Result<(), String>>);

impl Removal {
    /// Answers whoever has asked.
    pub(super) fn done(self, result: &Result<(), DatapathError>) {
        let result = result.as_ref().map_err(ToString::to_string);
        // Who has gone does not wait for it.
        self.0.send(result.copied()).ok();
    }
}

impl Answering {
    /// Answers for `datapath`. What comes out of the receiver has to be done, and answered.
    pub(super) fn new(
        arguments: &Arguments,
        datapath: &Arc<Mutex<Datapath>>,
        watchers: &broadcast::Sender<Event>,
    ) -> (Arc<Self>, mpsc::Receiver<Removal>) {
        let (removals, receiver) = mpsc::channel(1);
        let answering = Self {
            name: arguments.identity.instance.clone(),
            datapath: Arc::clone(datapath),
            watchers: watchers.clone(),
            counted: Mutex::new(None),
            removals,
        };
        (Arc::new(answering), receiver)
    }
}

impl Answering {
    /// Closing flows: counted again when that takes no more than a small part of a CPU, however
    /// many ask.
    fn count_flows(&self) -> anyhow::Result<u64> {
        let mut counted = lock(&self.counted);
        if let Some(counted) = *counted
            && counted.at.elapsed() < counted.cost * SHARE
        {
            return Ok(counted.flows);
        }
        let (tables, policy, _) = self.tables();
        let start = Instant::now();
        let flows = tables.count_flows(&policy)?;
        let at = Instant::now();
        *counted = Some(Counted {
            flows,
            at,
            cost: at.duration_since(start),
        });
        Ok(flows)
    }

    /// What can be read without the lock, and what it needs to be understood: the settings that
    /// flows depend on, and the names of interfaces by their numbers.
    fn tables(&self) -> (Arc<Tables>, Policy, BTreeMap<u32, String>) {
        let datapath = lock(&self.datapath);
        let attachments = datapath.attachments().into_iter();
        let names = attachments.map(|attachment| (attachment.index, attachment.interface));
        let policy = datapath.configuration().policy();
        (datapath.tables(), policy, names.collect())
    }
}

impl Source for Answering {
    fn status(&self) -> anyhow::Result<Status> {
        let (settings, interfaces, since, age, pinned) = {
            let datapath = lock(&self.datapath);
            (
                datapath.settings().clone(),
                interfaces(&datapath)?,
                datapath.since(),
                datapath.age(),
                directory(&datapath),
            )
        };
        Ok(Status {
            instance: self.name.clone(),
            pid: Some(process::id()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since,
            age_seconds: Some(age.as_secs_f64()),
            pinned,
            settings: by_option(&settings),
            interfaces,
            flows: Some(self.count_flows()?),
            flows_capacity: settings.max_flows.into(),
            events_lost: self.tables().0.events_lost()?,
        })
    }

    fn flows(&self, query: &FlowsQuery) -> anyhow::Result<Flows> {
        let (tables, policy, names) = self.tables();
        let name = |index| names.get(&index).cloned();
        let limit = query.limit as usize;
        if query.clients.is_empty() {
            let all = Query {
                limit: Some(limit),
                ..Query::default()
            };
            return Ok(Flows {
                flows: tables.flows(&policy, &all, name)?,
                total: tables.count_flows(&policy)?,
            });
        }
        let of_one = Query {
            client: match query.clients.as_slice() {
                [client] => Some(*client),
                _ => None,
            },
            limit: None,
        };
        let mut flows = tables.flows(&policy, &of_one, name)?;
        flows.retain(|flow| query.includes(flow));
        let total = flows.len() as u64;
        flows.truncate(limit);
        Ok(Flows { flows, total })
    }

    fn hosts(&self, limit: usize) -> anyhow::Result<Hosts> {
        let mut hosts = self.tables().0.hosts(None)?;
        let total = hosts.len() as u64;
        hosts.truncate(limit);
        Ok(Hosts { hosts, total })
    }

    fn subscribe(&self) -> Option<broadcast::Receiver<Event>> {
        let reports = lock(&self.datapath).settings().events;
        reports.then(|| self.watchers.subscribe())
    }

    fn detach(&self) -> anyhow::Result<Detached> {
        let (attachments, unpinned) = {
            let datapath = lock(&self.datapath);
            (datapath.attachments().into_iter(), directory(&datapath))
        };
        let interfaces = attachments.map(|attachment| attachment.interface).collect();
        let (done, result) = oneshot::channel();
        // What goes wrong: its receiver is gone, as the instance ends already.
        let ending = "it ends already";
        self.removals.blocking_send(Removal(done)).context(ending)?;
        let result = result.blocking_recv().context(ending)?;
        result.map_err(|error| anyhow!(error))?;
        Ok(Detached {
            instance: self.name.clone(),
            pid: Some(process::id()),
            interfaces,
            unpinned,
        })
    }
}

fn directory(datapath: &Datapath) -> Option<PathBuf> {
    datapath.pins().map(|pins| pins.directory().to_owned())
}

fn interfaces(datapath: &Datapath) -> Result<Vec<InterfaceStatus>, DatapathError> {
    let mut attachments: BTreeMap<_, _> = datapath
        .attachments()
        .into_iter()
        .map(|attachment| (attachment.interface.clone(), attachment))
        .collect();
    let mut counters: BTreeMap<_, _> = datapath
        .counters()?
        .into_iter()
        .map(|counted| (counted.interface, counted.counters))
        .collect();
    let status = |presence: crate::datapath::Presence| {
        let attachment = attachments.remove(&presence.interface);
        let counters = counters.remove(&presence.interface).unwrap_or_default();
        let hooks = attachment
            .iter()
            .flat_map(|attachment| &attachment.attached);
        InterfaceStatus {
            ifindex: attachment.as_ref().map(|attachment| attachment.index),
            hooks: hooks
                .map(|attached| HookStatus {
                    hook: attached.hook.as_str().to_owned(),
                    program_id: attached.program_id,
                })
                .collect(),
            note: attachment.and_then(|attachment| attachment.note),
            iface: presence.interface,
            trouble: presence.trouble,
            losses: presence.losses,
            spurious_acks_dropped: counters.dropped_acks(),
            spurious_acks_observed: counters.observed_acks(),
            packets: counters.by_name(),
        }
    };
    Ok(datapath.presences().into_iter().map(status).collect())
}
