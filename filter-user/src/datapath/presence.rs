//! Interfaces that come and go: who has a name, and whether the programs still are on it.

use std::fmt;

use aya::Ebpf;
use log::warn;

use super::{
    Datapath, DatapathError, Named, Served,
    interface::{Condition, Interface},
};

/// One of the interfaces that are to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The name that it was given with.
    pub interface: String,
    /// Whether the programs are on it.
    pub served: bool,
    /// How often it was lost.
    pub losses: u64,
    /// Why it is not served, where more is known than that it is not there.
    pub trouble: Option<String>,
}

/// What became of an interface that was served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It was deleted, or moved to another network namespace.
    Vanished,
    /// It is called this now.
    Renamed(String),
    /// Another interface has its name, or it has another kind of link.
    Replaced,
    /// It is there, but a program of ours was taken off.
    Removed,
}

impl Loss {
    /// Its name for programs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Vanished => "vanished",
            Self::Renamed(_) => "renamed",
            Self::Replaced => "replaced",
            Self::Removed => "removed",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vanished => f.write_str("vanished; attaching again when it returns"),
            Self::Renamed(name) => write!(
                f,
                "is called {name} now and served no more; attaching to the next that has its name"
            ),
            Self::Replaced => f.write_str("is another interface now; attaching to that"),
            Self::Removed => f.write_str("a program is off its hook; attaching again"),
        }
    }
}

impl Datapath {
    /// Notes an interface that is to be served once it is there.
    ///
    /// # Errors
    ///
    /// Where it was named before.
    pub fn expect(&mut self, interface: &str) -> Result<(), DatapathError> {
        if self.named.iter().any(|named| named.name == interface) {
            return Err(DatapathError::Twice(interface.to_owned()));
        }
        let named = self.remembered(interface, None)?;
        self.named.push(named);
        self.remember()
    }

    /// Every interface that is to be served, in the order in which they were named.
    #[must_use]
    pub fn presences(&self) -> Vec<Presence> {
        let presence = |named: &Named| Presence {
            interface: named.name.clone(),
            served: named.served.is_some(),
            losses: named.losses,
            trouble: named.trouble.clone(),
        };
        self.named.iter().map(presence).collect()
    }

    /// Whether the programs are on the interface that was given with this name.
    #[must_use]
    pub fn serves(&self, interface: &str) -> bool {
        let mut named = self.named.iter().filter(|named| named.name == interface);
        named.any(|named| named.served.is_some())
    }

    /// The interface that has a name, if there is one that could be served.
    #[must_use]
    pub fn sight(name: &str) -> Option<Interface> {
        Interface::find(name).ok()
    }

    /// The interface that has a name.
    ///
    /// # Errors
    ///
    /// Where there is none, or it cannot be served.
    pub fn find(name: &str) -> Result<Interface, DatapathError> {
        Interface::find(name)
    }

    /// Looks whether a served interface has kept its name, and the programs on it. If not,
    /// everything is taken off.
    ///
    /// # Errors
    ///
    /// Where that cannot be found out.
    pub fn check(&mut self, name: &str) -> Result<Result<Condition, Loss>, DatapathError> {
        let Self { named, ebpf, .. } = self;
        let served = named.iter_mut().find(|named| named.name == name);
        let Some(served) = served.and_then(|named| named.served.as_mut()) else {
            return Err(DatapathError::NoInterface(name.to_owned()));
        };
        let loss = match Interface::find(name) {
            Ok(now) if now.index != served.interface.index => served.fate(ebpf, Loss::Replaced),
            Ok(now) => {
                // First of all, so that what is not ours any more is not taken off.
                let holds = served.links.hold(ebpf, &now);
                if now.link != served.interface.link {
                    Loss::Replaced
                } else if holds {
                    return Ok(Ok(now.condition));
                } else {
                    Loss::Removed
                }
            }
            Err(DatapathError::NoInterface(_)) => served.fate(ebpf, Loss::Vanished),
            Err(DatapathError::LinkType { .. }) => Loss::Replaced,
            Err(error) => return Err(error),
        };
        self.release(name);
        Ok(Err(loss))
    }

    /// Takes everything off an interface, and lets its name wait for another.
    pub(super) fn release(&mut self, name: &str) {
        let named = self.named.iter_mut().find(|named| named.name == name);
        let Some((named, served)) = named.and_then(|named| {
            let served = named.served.take()?;
            Some((named, served))
        }) else {
            return;
        };
        named.losses += 1;
        let Served {
            interface,
            entry,
            links,
            ..
        } = served;
        if let Err(error) = links.detach() {
            let interface = interface.name;
            warn!("{}", DatapathError::Detach { interface, error });
        }
        match self.tables.counters(entry) {
            Ok(counted) => named.before += counted,
            Err(error) => warn!("{error}"),
        }
        let freed = self.tables.set_owner(entry, 0);
        // The interface is let go of, whatever becomes of the notes on it.
        freed
            .and_then(|()| self.remember())
            .unwrap_or_else(|error| warn!("{error}"));
    }
}

impl Served {
    /// What became of the interface that has lost its name. Its number may be another's by now,
    /// on which our programs are not.
    fn fate(&mut self, ebpf: &mut Ebpf, otherwise: Loss) -> Loss {
        let is_it = self.links.hold(ebpf, &self.interface);
        let name = Interface::name_of(self.interface.index).filter(|_| is_it);
        name.map_or(otherwise, Loss::Renamed)
    }
}
