//! Where snapshots come from: a thread that asks for them, and looks for an instance that has
//! ended until it is there again.

use std::{
    path::{Path, PathBuf},
    thread::{self, sleep},
    time::Duration,
};

use anyhow::Context as _;
use tokio::sync::mpsc;

use crate::{
    control::{self, Connection, Instance},
    instance::InstanceName,
    report::Snapshot,
};

/// As many hosts as are shown at the most.
const HOSTS: u32 = 200;
/// Between two looks for an instance that has ended.
const LOOK: Duration = Duration::from_secs(1);

/// What became known.
#[derive(Debug)]
pub(super) enum Update {
    /// What is so now.
    Snapshot(Box<Snapshot>),
    /// That there is no instance, and why; again with each look for it.
    Gone(String),
}

/// An instance to watch.
pub(super) struct Feed {
    instance: Instance,
    name: InstanceName,
    directory: PathBuf,
    interval: Duration,
}

impl Feed {
    /// Watches `instance`, and whichever has its name later, or is pinned in `directory` by it.
    pub(super) fn new(instance: Instance, directory: &Path, interval: Duration) -> Self {
        Self {
            name: instance.name().clone(),
            instance,
            directory: directory.to_owned(),
            interval,
        }
    }

    /// What it is called.
    pub(super) fn name(&self) -> &InstanceName {
        &self.name
    }

    /// Between two snapshots.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Begins; ends when the receiver goes away.
    pub(super) fn start(self) -> anyhow::Result<mpsc::Receiver<Update>> {
        let (updates, receiver) = mpsc::channel(1);
        thread::Builder::new()
            .name("feed".to_owned())
            .spawn(move || self.run(&updates))
            .context("cannot start a thread")?;
        Ok(receiver)
    }

    fn run(mut self, updates: &mpsc::Sender<Update>) {
        loop {
            let followed = match &mut self.instance {
                Instance::Running(connection) => follow(connection, self.interval, updates),
                Instance::Pinned(pinned) => loop {
                    // Once a process serves it, that is asked.
                    if Connection::open(&self.name).is_ok() {
                        break Ok(());
                    }
                    match control::snapshot(&*pinned.source, HOSTS as usize) {
                        Ok(snapshot) => {
                            let snapshot = Update::Snapshot(Box::new(snapshot));
                            if updates.blocking_send(snapshot).is_err() {
                                return;
                            }
                        }
                        Err(error) => break Err(error),
                    }
                    sleep(self.interval);
                },
            };
            let mut gone = followed.err();
            self.instance = loop {
                if let Some(error) = gone
                    && updates
                        .blocking_send(Update::Gone(format!("{error:#}")))
                        .is_err()
                {
                    return;
                }
                match control::choose(Some(&self.name), &self.directory) {
                    Ok(instance) => break instance,
                    Err(error) => gone = Some(error),
                }
                sleep(LOOK);
            };
        }
    }
}

/// Hands snapshots on until there are no more, or nobody takes them.
fn follow(
    connection: &mut Connection,
    interval: Duration,
    updates: &mpsc::Sender<Update>,
) -> anyhow::Result<()> {
    connection.watch(interval, HOSTS)?;
    loop {
        let snapshot = Box::new(connection.snapshot()?);
        updates.blocking_send(Update::Snapshot(snapshot))?;
    }
}
