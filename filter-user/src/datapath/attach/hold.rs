//! Whether what was attached still is.

use std::mem;

use aya::{
    Ebpf,
    programs::{SchedClassifier, Xdp},
};

use super::{Links, TcLink, typed, xdp_name};
use crate::datapath::{DatapathError, clsact, interface::Interface};

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
        if let Some(link) = self.xdp.take() {
            let program: &mut Xdp = typed(ebpf, xdp_name())?;
            let link = program.attach_to_link(link);
            self.xdp = link.and_then(|id| program.take_link(id)).ok();
            all &= self.xdp.is_some();
        }
        for tc in mem::take(&mut self.tc) {
            match tc.hold(ebpf, interface)? {
                Some(tc) => self.tc.push(tc),
                None => all = false,
            }
        }
        let in_clsact = self.tc.iter().any(|tc| tc.filter.is_some());
        if !in_clsact && let Some(clsact) = self.clsact.take() {
            clsact.forget();
        }
        Ok(all)
    }
}

impl TcLink {
    /// Itself, if it still is where it was put.
    fn hold(self, ebpf: &mut Ebpf, interface: &Interface) -> Result<Option<Self>, DatapathError> {
        if let Some(program) = self.filter {
            return match clsact::has(interface, self.side, program) {
                Ok(false) => {
                    // It would take off whatever filter has its number now.
                    mem::forget(self.link);
                    Ok(None)
                }
                // What cannot be found out is no reason to take it off.
                Ok(true) | Err(_) => Ok(Some(self)),
            };
        }
        let program: &mut SchedClassifier = typed(ebpf, self.program)?;
        let link = program.attach_to_link(self.link);
        let link = link.and_then(|id| program.take_link(id)).ok();
        Ok(link.map(|link| Self { link, ..self }))
    }
}
