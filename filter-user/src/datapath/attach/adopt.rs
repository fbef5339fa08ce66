//! Takes over what an earlier process left on the hooks of an interface.

use aya::{Ebpf, programs::TcAttachType};
use filter_common::wire::Link;
use log::debug;

use super::{Held, HeldLink, Hook, Links, load, uses_tcx};
use crate::{
    datapath::{
        DatapathError,
        clsact::{self, Clsact},
        interface::Interface,
        pins::Pins,
        record::WasServed,
    },
    settings::{Ingress, Settings, XdpMode},
};

impl Links {
    /// Puts the programs of `ebpf` in the place of those that are pinned for `interface`, each at
    /// once. None where `place` does not know of them, or they are not what the settings ask for, or
    /// not all; then nothing is left there.
    pub(in crate::datapath) fn adopt(
        ebpf: &mut Ebpf,
        interface: &Interface,
        settings: &Settings,
        pins: &Pins,
        place: Option<&WasServed>,
    ) -> Result<Option<Self>, DatapathError> {
        let mut found = Self::find(interface, pins, place)?;
        found
            .held
            .sort_by_key(|held| held.hook.side() == TcAttachType::Egress);
        let sides: Vec<_> = found.held.iter().map(|held| held.hook.side()).collect();
        let is_whole = place.is_some()
            && sides == [TcAttachType::Ingress, TcAttachType::Egress]
            && found
                .held
                .iter()
                .all(|held| held.hook.is_asked_for(interface.link, settings));
        if is_whole {
            let programs: Vec<_> = found.held.iter().map(|held| held.program).collect();
            if let Err(error) = load(ebpf, &programs) {
                found.leave();
                return Err(error);
            }
            if found.replace(ebpf, interface) {
                return Ok(Some(found));
            }
        }
        if let Err(error) = found.detach() {
            debug!("{}: {error}", interface.name);
        }
        Ok(None)
    }

    /// What is there, with the programs that are to be there.
    fn find(
        interface: &Interface,
        pins: &Pins,
        place: Option<&WasServed>,
    ) -> Result<Self, DatapathError> {
        let mut found = Self::none();
        let program = |hook: Hook| hook.program(interface.link);
        for (hook, index) in pins.links()? {
            if index != interface.index {
                continue;
            }
            let path = pins.link(hook, index);
            let is_xdp = matches!(hook, Hook::XdpNative | Hook::XdpGeneric);
            match HeldLink::pinned(&path, is_xdp) {
                Ok(link) => found.held.push(Held {
                    hook,
                    program: program(hook),
                    program_id: 0,
                    link,
                    pin: Some(path),
                }),
                Err(error) => {
                    debug!("{}: {error}", path.display());
                    pins.remove_link(hook, index)?;
                }
            }
        }
        let failed = |error| DatapathError::System {
            what: "which filters are in clsact",
            error,
        };
        let mut in_clsact = false;
        let handle = pins.mark().handle(false);
        for filter in clsact::marked(interface.index, handle).map_err(failed)? {
            let hook = Hook::of_filter(filter.side);
            found.held.push(Held {
                hook,
                program: program(hook),
                program_id: filter.program_id,
                link: HeldLink::Tc(filter.link(&interface.name).map_err(failed)?),
                pin: None,
            });
            in_clsact = true;
        }
        let made = place.is_some_and(|place| place.made_clsact);
        found.clsact = (made && in_clsact).then(|| Clsact::of_before(interface));
        Ok(found)
    }
}

impl Hook {
    /// Whether it is one that a start with these settings may take.
    fn is_asked_for(self, link: Link, settings: &Settings) -> bool {
        let is_tc = match self {
            Self::TcxIngress | Self::TcxEgress => uses_tcx(settings.tc_mode),
            Self::ClsactIngress | Self::ClsactEgress => !uses_tcx(settings.tc_mode),
            Self::XdpNative | Self::XdpGeneric => false,
        };
        if self.side() == TcAttachType::Egress {
            return is_tc;
        }
        match (settings.ingress, settings.xdp_mode) {
            (Ingress::Auto, _) if link == Link::Ip => is_tc,
            (Ingress::Tc, _) => is_tc,
            (_, XdpMode::Generic) => self == Self::XdpGeneric,
            (Ingress::Xdp, _) | (_, XdpMode::Native) => self == Self::XdpNative,
            (Ingress::Auto, XdpMode::Auto) => is_tc || self == Self::XdpNative,
        }
    }
}
