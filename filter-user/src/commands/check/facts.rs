//! What is known of one interface that is to be served.

use std::io;

use filter_common::wire::Link as Header;

use crate::{
    datapath::{Hook, Interface, driver::driver, uses_tcx},
    probe::{
        features::{self, Offloads, XdpFeatures},
        links::{Link, Links},
        programs::{self, Filter, Program, Side},
    },
    settings::TcMode,
};

/// What was found of one interface.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) link: Link,
    /// What its packets begin with.
    pub(super) header: Header,
    pub(super) driver: Option<String>,
    /// Whether TC is TCX here.
    pub(super) tcx: bool,
    /// The program that has its XDP hook.
    pub(super) xdp: Option<Program>,
    pub(super) xdp_features: io::Result<Option<XdpFeatures>>,
    /// What the hardware that carries its packets does to them, by the names of its interfaces.
    pub(super) offloads: io::Result<Vec<(String, Offloads)>>,
    /// The programs at its TCX hooks, ingress and egress.
    pub(super) tcx_programs: io::Result<[Vec<Program>; 2]>,
    /// The filters of its clsact or ingress qdisc, ingress and egress.
    pub(super) filters: io::Result<[Vec<Filter>; 2]>,
    pub(super) has_ingress_qdisc: io::Result<bool>,
    /// The bridge, bond or the like that it is a port of.
    pub(super) controller: Option<String>,
    /// Interfaces that encrypt and send through it.
    pub(super) encrypting: Vec<String>,
    /// The names of all that carry its packets, itself first.
    pub(super) carriers: Vec<String>,
}

impl Facts {
    /// Asks the kernel.
    pub(super) fn gather(interface: &Interface, links: &Links, tc_mode: TcMode) -> Self {
        let Interface {
            name, index, link, ..
        } = interface.clone();
        let both = [Side::Ingress, Side::Egress];
        let carriers = links.carriers(index);
        let encrypting = links
            .0
            .iter()
            .filter(|link| link.encrypted_below == Some(index));
        let header = link;
        let link = links.of(index).cloned().unwrap_or_else(|| Link {
            index,
            name: name.clone(),
            ..Link::default()
        });
        Self {
            driver: driver(&name)
                // A few give a sentence: "802.1Q VLAN Support".
                .filter(|name| !name.contains(' '))
                .or_else(|| link.kind.clone()),
            tcx: uses_tcx(tc_mode),
            xdp: link.xdp.map(Program::find),
            xdp_features: features::xdp(index),
            offloads: offloads(links, &carriers),
            tcx_programs: each(both, |side| programs::tcx(&name, side)),
            filters: each(both, |side| programs::filters(index, side)),
            has_ingress_qdisc: programs::has_ingress_qdisc(index),
            controller: link.controller.map(|index| links.name(index)),
            encrypting: encrypting.map(|link| link.name.clone()).collect(),
            carriers: carriers
                .into_iter()
                .map(|index| links.name(index))
                .collect(),
            header,
            link,
        }
    }

    /// Its driver, as the subject of a sentence.
    pub(super) fn driver(&self) -> String {
        let name = self.driver.as_ref();
        name.map_or_else(|| "its driver".to_owned(), |name| format!("driver {name}"))
    }

    /// One of two hooks: which it is of TC.
    pub(super) fn tc(&self, tcx: Hook, clsact: Hook) -> &'static str {
        if self.tcx { tcx } else { clsact }.as_str()
    }
}

/// Interfaces of software can have LRO on, too, so that it can be turned off by them; they merge
/// nothing.
fn offloads(links: &Links, carriers: &[u32]) -> io::Result<Vec<(String, Offloads)>> {
    carriers
        .iter()
        .filter_map(|&index| links.of(index))
        .filter(|link| link.kind.is_none())
        .map(|link| Ok((link.name.clone(), features::offloads(link.index)?)))
        .collect()
}

/// Both answers, or the first error.
fn each<T>(
    sides: [Side; 2],
    mut question: impl FnMut(Side) -> io::Result<T>,
) -> io::Result<[T; 2]> {
    let [first, second] = sides;
    Ok([question(first)?, question(second)?])
}

#[cfg(test)]
impl Facts {
    /// A network card that can do everything, up, with nothing on it.
    pub(super) fn sample() -> Self {
        Self {
            link: Link {
                index: 2,
                name: "wan0".to_owned(),
                up: true,
                carrier: true,
                mtu: 1500,
                ..Link::default()
            },
            header: Header::Ethernet,
            driver: Some("ice".to_owned()),
            tcx: true,
            xdp: None,
            xdp_features: Ok(Some(XdpFeatures {
                native: true,
                multi_buffer: true,
            })),
            offloads: Ok(Vec::new()),
            tcx_programs: Ok([vec![], vec![]]),
            filters: Ok([vec![], vec![]]),
            has_ingress_qdisc: Ok(false),
            controller: None,
            encrypting: Vec::new(),
            carriers: vec!["wan0".to_owned()],
        }
    }
}
