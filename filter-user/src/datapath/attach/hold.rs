//! Whether what was attached still is, and other programs in its place.

use std::{mem, path::Path};

use aya::{
    Ebpf,
    programs::{
        SchedClassifier, Xdp,
        links::{FdLink, LinkError, PinnedLink},
        tc::SchedClassifierLink,
        xdp::XdpLink,
    },
};

use super::{Held, HeldLink, Links, load, program_id, typed};
use crate::datapath::{
    DatapathError, clsact,
    interface::Interface,
    record::{Filter, WasServed},
    unpin::unpin,
};

impl Links {
    /// Whether all of it still is where it was put, which `interface` is. What is not is
    /// forgotten, so that nobody else's is taken off in its place.
    ///
    /// A link is asked by giving it the program that it has: to the kernel that is nothing to
    /// do, except where the link has lost its interface or was detached by force (`ENOLINK`).
    /// <https://github.com/torvalds/linux/blob/v6.18/kernel/bpf/tcx.c> (`tcx_link_update`),
    /// <https://github.com/torvalds/linux/blob/v6.18/net/core/dev.c> (`bpf_xdp_link_update`).
    pub(in crate::datapath) fn hold(
        &mut self,
        ebpf: &mut Ebpf,
        interface: &Interface,
    ) -> Result<bool, DatapathError> {
        let mut all = true;
        for held in mem::take(&mut self.held) {
            match held.hold(ebpf, interface)? {
                Some(held) => self.held.push(held),
                None => all = false,
            }
        }
        let in_clsact = self.held.iter().any(|held| !held.hook.is_link());
        if !in_clsact && let Some(clsact) = self.clsact.take() {
            clsact.forget();
        }
        Ok(all)
    }

    /// Puts the programs of `ebpf` in the place of those that are there, hook by hook, each at
    /// once: every packet is judged by the old one or by the new one. Both share their tables.
    ///
    /// Gives whether all were replaced; what could not be is not attached any more.
    pub(in crate::datapath) fn replace(
        &mut self,
        ebpf: &mut Ebpf,
        interface: &Interface,
    ) -> Result<bool, DatapathError> {
        let mut all = true;
        for mut held in mem::take(&mut self.held) {
            held.program = held.hook.program(interface.link);
            if !held.is_there(interface) {
                held.forget();
                all = false;
                continue;
            }
            match held.update(ebpf)? {
                Some(held) => self.held.push(held),
                None => all = false,
            }
        }
        Ok(all)
    }

    /// Has the kernel verify what [`replace`](Self::replace) will put there.
    pub(in crate::datapath) fn prepare(
        &self,
        ebpf: &mut Ebpf,
        interface: &Interface,
    ) -> Result<(), DatapathError> {
        let programs = self.held.iter();
        let programs: Vec<_> = programs
            .map(|held| held.hook.program(interface.link))
            .collect();
        load(ebpf, &programs)
    }

    /// Leaves it to work without this process.
    pub(in crate::datapath) fn leave(self) {
        for held in self.held {
            if !held.hook.is_link() {
                held.forget();
            }
        }
        if let Some(clsact) = self.clsact {
            clsact.forget();
        }
    }

    /// Where it is, for whoever takes it over.
    pub(in crate::datapath) fn place(&self, interface: &Interface, entry: u32) -> WasServed {
        WasServed {
            index: interface.index,
            entry,
            filters: self.held.iter().filter_map(Held::filter).collect(),
            made_clsact: self.clsact.is_some(),
        }
    }
}

impl Held {
    /// Itself, if it still is where it was put.
    fn hold(self, ebpf: &mut Ebpf, interface: &Interface) -> Result<Option<Self>, DatapathError> {
        if self.hook.is_link() {
            return self.update(ebpf);
        }
        if self.is_there(interface) {
            return Ok(Some(self));
        }
        self.forget();
        Ok(None)
    }

    /// Whether a filter in clsact is there; links are asked by updating them. What cannot be
    /// found out is no reason to take it off.
    pub(super) fn is_there(&self, interface: &Interface) -> bool {
        self.hook.is_link()
            || clsact::has(interface, self.hook.side(), self.program_id).unwrap_or(true)
    }

    /// Without taking off whatever filter has its number now.
    pub(super) fn forget(self) {
        mem::forget(self.link);
    }

    /// Gives the link the program of `ebpf`. None where it has lost its interface.
    pub(super) fn update(self, ebpf: &mut Ebpf) -> Result<Option<Self>, DatapathError> {
        let Self {
            hook,
            program,
            pin,
            link,
            ..
        } = self;
        let (link, id) = match link {
            HeldLink::Xdp(link) => {
                let xdp: &mut Xdp = typed(ebpf, program)?;
                let link = xdp.attach_to_link(link).and_then(|id| xdp.take_link(id));
                (link.map(HeldLink::Xdp), xdp.info())
            }
            HeldLink::Tc(link) => {
                let tc: &mut SchedClassifier = typed(ebpf, program)?;
                let link = tc.attach_to_link(link).and_then(|id| tc.take_link(id));
                (link.map(HeldLink::Tc), tc.info())
            }
        };
        let Ok(link) = link else {
            remove_pin(pin.as_deref())?;
            return Ok(None);
        };
        Ok(Some(Self {
            hook,
            program,
            program_id: program_id(id)?,
            link,
            pin,
        }))
    }

    fn filter(&self) -> Option<Filter> {
        let HeldLink::Tc(link) = &self.link else {
            return None;
        };
        Some(Filter {
            hook: self.hook,
            priority: link.priority().ok()?,
            handle: link.handle().ok()?.into(),
            program_id: self.program_id,
        })
    }
}

impl HeldLink {
    /// Pins it, so that it stays when this process ends.
    pub(super) fn pin(self, path: &Path) -> Result<Self, std::io::Error> {
        let failed = |error: String| std::io::Error::other(error);
        let pin = |link: Result<FdLink, LinkError>| {
            let pinned = link.map_err(|error| failed(error.to_string()))?.pin(path);
            pinned
                .map(FdLink::from)
                .map_err(|error| failed(error.to_string()))
        };
        let wrong = |error: LinkError| failed(error.to_string());
        match self {
            Self::Xdp(link) => XdpLink::try_from(pin(link.try_into())?)
                .map(Self::Xdp)
                .map_err(wrong),
            Self::Tc(link) => SchedClassifierLink::try_from(pin(link.try_into())?)
                .map(Self::Tc)
                .map_err(wrong),
        }
    }

    /// The link that is pinned there.
    pub(super) fn pinned(path: &Path, is_xdp: bool) -> Result<Self, LinkError> {
        let link = FdLink::from(PinnedLink::from_pin(path)?);
        if is_xdp {
            XdpLink::try_from(link).map(Self::Xdp)
        } else {
            SchedClassifierLink::try_from(link).map(Self::Tc)
        }
    }
}

fn remove_pin(pin: Option<&Path>) -> Result<(), DatapathError> {
    pin.map_or(Ok(()), |pin| {
        unpin(pin).map_err(|error| DatapathError::Pins {
            directory: pin.to_owned(),
            error,
        })
    })
}
