//! What a running instance answers on its control socket.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, anyhow};
use filter_common::Reason;
use tokio::sync::{mpsc, oneshot};

use super::{lock, options::Arguments};
use crate::{
    control::{Source, by_option, protocol::FlowsQuery},
    counters::Counters,
    datapath::{Datapath, DatapathError},
    instance::InstanceName,
    report::{Detached, Flows, HookStatus, Hosts, InterfaceStatus, Status},
};

/// Answers from the programs and their tables, with the lock on them held briefly.
pub(super) struct Answering {
    name: InstanceName,
    datapath: Arc<Mutex<Datapath>>,
    removals: mpsc::Sender<Removal>,
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
    ) -> (Arc<Self>, mpsc::Receiver<Removal>) {
        let (removals, receiver) = mpsc::channel(1);
        let answering = Self {
            name: arguments.instance.clone(),
            datapath: Arc::clone(datapath),
            removals,
        };
        (Arc::new(answering), receiver)
    }
}

impl Source for Answering {
    fn status(&self) -> anyhow::Result<Status> {
        let (settings, interfaces, since, pinned) = {
            let datapath = lock(&self.datapath);
            (
                datapath.settings().clone(),
                interfaces(&datapath)?,
                datapath.since(),
                directory(&datapath),
            )
        };
        Ok(Status {
            instance: self.name.clone(),
            pid: Some(process::id()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since,
            pinned,
            settings: by_option(&settings),
            interfaces,
            flows: None,
            flows_capacity: settings.max_flows.into(),
            events_lost: 0,
        })
    }

    fn flows(&self, _query: &FlowsQuery) -> anyhow::Result<Flows> {
        Ok(Flows::default())
    }

    fn hosts(&self, _limit: usize) -> anyhow::Result<Hosts> {
        Ok(Hosts::default())
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
            packets: packets(&counters),
        }
    };
    Ok(datapath.presences().into_iter().map(status).collect())
}

fn packets(counters: &Counters) -> BTreeMap<String, u64> {
    Reason::ALL
        .into_iter()
        .filter(|reason| reason.is_counted())
        .map(|reason| (reason.as_str().to_owned(), counters.of(reason)))
        .collect()
}
