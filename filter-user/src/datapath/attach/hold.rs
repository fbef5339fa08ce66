//! Whether what was attached still is, and other programs in its place.

use std::{io, mem, path::Path};

use aya::{
    Ebpf,
    programs::{
        Link as _, SchedClassifier, Xdp,
        links::{FdLink, LinkError, PinnedLink},
        tc::{SchedClassifierLink, TcHandle},
        xdp::XdpLink,
    },
};

use log::{debug, warn};

use super::{HOOKS, Held, HeldLink, Links, load, program_id, typed};
use crate::datapath::{
    DatapathError, clsact,
    error::{kernel_answer, pin_answer},
    interface::Interface,
    record::WasServed,
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
    pub(in crate::datapath) fn hold(&mut self, ebpf: &mut Ebpf, interface: &Interface) -> bool {
        // Less where something was lost when programs were replaced.
        let mut all = self.held.len() == HOOKS;
        for held in mem::take(&mut self.held) {
            let held = held.hold(ebpf, interface);
            all &= held.is_some();
            self.held.extend(held);
        }
        let in_clsact = self.held.iter().any(|held| !held.hook.is_link());
        if !in_clsact && let Some(clsact) = self.clsact.take() {
            clsact.forget();
        }
        all
    }

    /// Puts the programs of `ebpf` in the place of those that are there, hook by hook, each at
    /// once: every packet is judged by the old one or by the new one. Both share their tables.
    ///
    /// Gives whether all were replaced; what could not be is not attached any more.
    pub(in crate::datapath) fn replace(&mut self, ebpf: &mut Ebpf, interface: &Interface) -> bool {
        let mut all = self.held.len() == HOOKS;
        for mut held in mem::take(&mut self.held) {
            held.program = held.hook.program(interface.link);
            let held = if held.is_there(interface) {
                held.update(ebpf, interface)
            } else {
                held.forget();
                None
            };
            all &= held.is_some();
            self.held.extend(held);
        }
        all
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
            made_clsact: self.clsact.is_some(),
        }
    }
}

impl Held {
    /// Itself, if it still is where it was put.
    fn hold(self, ebpf: &mut Ebpf, interface: &Interface) -> Option<Self> {
        if self.hook.is_link() {
            return self.update(ebpf, interface);
        }
        if self.is_there(interface) {
            return Some(self);
        }
        self.forget();
        None
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

    /// Gives the link the program of `ebpf`. None where it has lost its interface, or that went
    /// wrong; then it is not attached any more.
    fn update(self, ebpf: &mut Ebpf, interface: &Interface) -> Option<Self> {
        let Self {
            hook,
            program,
            pin,
            link,
            ..
        } = self;
        let numbers = link.numbers();
        match link.update(ebpf, program) {
            Ok((link, program_id)) => Some(Self {
                hook,
                program,
                program_id,
                link,
                pin,
            }),
            Err(error) => {
                debug!("{}: {}: {error}", interface.name, hook.as_str());
                if let Some((priority, handle)) = numbers {
                    // A filter is still there, and must not stay beside another.
                    let name = &interface.name;
                    let link =
                        SchedClassifierLink::attached(name, hook.side(), priority, handle, None);
                    let detached = link.and_then(|link| link.detach().map_err(kernel_answer));
                    if let Err(error) = detached
                        && !Interface::is_gone(&error)
                    {
                        let hook = hook.as_str();
                        warn!("{name}: {hook}: its filter could not be taken off: {error}");
                    }
                }
                if let Some(pin) = pin
                    && let Err(error) = unpin(&pin)
                {
                    warn!("{}: {error}", pin.display());
                }
                None
            }
        }
    }
}

impl HeldLink {
    /// Puts a program of `ebpf` in the place of its own; gives the program's number, too.
    fn update(self, ebpf: &mut Ebpf, program: &'static str) -> Result<(Self, u32), DatapathError> {
        let (link, info) = match self {
            Self::Xdp(link) => {
                let xdp: &mut Xdp = typed(ebpf, program)?;
                let link = xdp.attach_to_link(link).and_then(|id| xdp.take_link(id));
                (link.map(Self::Xdp), xdp.info())
            }
            Self::Tc(link) => {
                let tc: &mut SchedClassifier = typed(ebpf, program)?;
                let link = tc.attach_to_link(link).and_then(|id| tc.take_link(id));
                (link.map(Self::Tc), tc.info())
            }
        };
        let link = link.map_err(|error| DatapathError::System {
            what: "whether a program still is where it was put",
            error: kernel_answer(error),
        })?;
        Ok((link, program_id(info)?))
    }

    /// Priority and handle, of a filter in clsact.
    fn numbers(&self) -> Option<(u16, TcHandle)> {
        let Self::Tc(link) = self else { return None };
        Some((link.priority().ok()?, link.handle().ok()?))
    }

    /// Pins it, so that it stays when this process ends.
    pub(super) fn pin(self, path: &Path) -> io::Result<Self> {
        let wrong = |error: LinkError| io::Error::other(error.to_string());
        let pin = |link: Result<FdLink, LinkError>| {
            let pinned = link.map_err(wrong)?.pin(path);
            pinned.map(FdLink::from).map_err(pin_answer)
        };
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
