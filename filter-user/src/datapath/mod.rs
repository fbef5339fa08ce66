//! The packet programs in the kernel: loaded, attached, read, detached.

use crate::{counters::Counters, settings::Settings};

/// The loaded programs and what they are attached to.
///
/// Dropping it detaches everything.
pub struct Datapath {}

/// The counters of one interface, summed over all CPUs.
pub struct InterfaceCounters {
    /// The interface's name.
    pub interface: String,
    /// Since the programs were loaded.
    pub counters: Counters,
}

impl Datapath {
    /// Loads the programs with `settings`.
    pub fn load(_settings: &Settings) -> anyhow::Result<Self> {
        todo!()
    }

    /// Attaches them to an interface of the calling thread's network namespace.
    pub fn attach(&mut self, _interface: &str) -> anyhow::Result<()> {
        todo!()
    }

    /// Reads the counters of every interface.
    pub fn counters(&self) -> anyhow::Result<Vec<InterfaceCounters>> {
        todo!()
    }

    /// Detaches everything; says what could not be.
    pub fn detach(self) -> anyhow::Result<()> {
        todo!()
    }
}
