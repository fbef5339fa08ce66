//! Judges an interface, and the hooks that `lastack run` would attach to.

use std::io;

use filter_common::wire::Link as Header;

use super::report::Finding;
use crate::{
    datapath::{DatapathError, Hook},
    probe::{
        features::{Offloads, XdpFeatures},
        links::Link,
        programs::{Filter, Program},
    },
    settings::{Ingress, Settings, XdpMode},
};

/// With a larger one a frame does not fit in a page of 4096 octets beside what drivers keep free
/// for XDP in front of it and behind.
const LARGEST_SINGLE_BUFFER_MTU: u32 = 3498;

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
    pub(super) offloads: io::Result<Offloads>,
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

pub(super) fn judge(facts: &Facts, settings: &Settings) -> Vec<Finding> {
    [
        Some(interface(facts)),
        Some(ingress(facts, settings)),
        Some(egress(facts)),
        instance(facts),
    ]
    .into_iter()
    .flatten()
    .map(|finding| finding.on(&facts.link.name))
    .collect()
}

fn interface(facts: &Facts) -> Finding {
    let Facts { link, header, .. } = facts;
    let header = match header {
        Header::Ethernet => "Ethernet",
        Header::Ip => "bare IP",
    };
    let what = format!("{header}, {}, MTU {}", facts.driver(), link.mtu);
    if !link.up {
        let remedy = format!("`ip link set {} up`", link.name);
        return Finding::warning("interface", format!("down: {what}"), remedy);
    }
    if !link.carrier {
        let message = format!("nothing is at its other end: {what}");
        return Finding::warning("interface", message, "see to its cable or peer");
    }
    Finding::ok("interface", what)
}

fn ingress(facts: &Facts, settings: &Settings) -> Finding {
    let tc = facts.tc(Hook::TcxIngress, Hook::ClsactIngress);
    match (settings.ingress, facts.header) {
        (Ingress::Tc, _) => Finding::ok("ingress", format!("{tc}, as asked")),
        (Ingress::Auto, Header::Ip) => {
            Finding::ok("ingress", format!("{tc}, since it has no Ethernet header"))
        }
        (Ingress::Xdp, Header::Ip) => Finding::refused(
            "ingress",
            &DatapathError::XdpWithoutEthernet(facts.link.name.clone()),
        ),
        (Ingress::Auto | Ingress::Xdp, Header::Ethernet) => {
            let asked = settings.ingress == Ingress::Xdp || settings.xdp_mode != XdpMode::Auto;
            xdp(facts, tc, asked, settings.xdp_mode)
        }
    }
}

/// `asked`: XDP and nothing else will do.
fn xdp(facts: &Facts, tc: &str, asked: bool, mode: XdpMode) -> Finding {
    if let Some(program) = &facts.xdp {
        return taken(facts, tc, asked, program);
    }
    if mode == XdpMode::Generic {
        return Finding::ok("ingress", "xdp-generic, as asked");
    }
    let driver = facts.driver();
    let Ok(Some(features)) = facts.xdp_features else {
        let untold = "kernels before 6.3 do not tell";
        if asked {
            let message = format!("xdp-native, if {driver} has it: {untold}");
            return Finding::warning("ingress", message, "`--ingress auto` takes what there is");
        }
        let message = format!("xdp-native if {driver} has it, else {tc}: {untold}");
        return Finding::ok("ingress", message);
    };
    if !features.native {
        let message = format!("{driver} has no native XDP");
        if asked {
            return Finding::error("ingress", message, "use `--ingress tc`");
        }
        return Finding::ok("ingress", format!("{tc}, since {message}"));
    }
    if !features.multi_buffer && facts.link.mtu > LARGEST_SINGLE_BUFFER_MTU {
        let message = format!(
            "MTU {} may be too large for XDP of {driver}",
            facts.link.mtu
        );
        if asked {
            return Finding::warning("ingress", message, "use `--ingress auto`");
        }
        return Finding::ok("ingress", format!("xdp-native or else {tc}: {message}"));
    }
    Finding::ok("ingress", "xdp-native")
}

fn taken(facts: &Facts, tc: &str, asked: bool, program: &Program) -> Finding {
    let name = &facts.link.name;
    if asked {
        return Finding::refused("ingress", &DatapathError::XdpBusy(name.clone()));
    }
    if is_ours(program.name.as_deref()) {
        return Finding::ok("ingress", format!("{tc}, since another lastack has XDP"));
    }
    let message = format!(
        "{tc}, since {} has XDP: what that drops or redirects is not seen",
        called(program)
    );
    let remedy = format!("see that it passes TCP, or `ip link set dev {name} xdp off`");
    Finding::warning("ingress", message, remedy)
}

fn egress(facts: &Facts) -> Finding {
    let tc = facts.tc(Hook::TcxEgress, Hook::ClsactEgress);
    if !facts.tcx && facts.has_ingress_qdisc.as_ref().is_ok_and(|&there| there) {
        return Finding::error(
            "egress",
            "an ingress qdisc is where clsact has to be",
            format!(
                "`tc qdisc del dev {} ingress`, and its filters into clsact",
                facts.link.name
            ),
        );
    }
    let mut before = Vec::new();
    match &facts.tcx_programs {
        Ok([_, egress]) => before.extend(
            egress
                .iter()
                .filter(|program| !is_ours(program.name.as_deref()))
                .map(called),
        ),
        Err(error) if facts.tcx => {
            return Finding::unseen("egress", &format!("what runs before us at {tc}"), error);
        }
        Err(_) => {}
    }
    // TCX comes before clsact.
    if !facts.tcx
        && let Ok([_, egress]) = &facts.filters
    {
        let others = egress
            .iter()
            .filter(|filter| !is_ours(filter.name.as_deref()));
        before.extend(others.map(|filter| format!("a filter ({})", filter.kind)));
    }
    if before.is_empty() {
        return Finding::ok("egress", tc);
    }
    Finding::warning(
        "egress",
        format!(
            "{tc}, behind {}: what those accept for good, redirect or drop is not seen",
            before.join(", ")
        ),
        "see that they let TCP go on (TCX_NEXT, TC_ACT_UNSPEC)",
    )
}

/// Another lastack, or what one that was killed has left.
fn instance(facts: &Facts) -> Option<Finding> {
    let tcx = facts.tcx_programs.as_ref().map_or(&[][..], |sides| sides);
    let programs = facts.xdp.iter().chain(tcx.iter().flatten());
    let running = programs.filter(|program| is_ours(program.name.as_deref()));
    let running = running.map(called);
    let filters = facts.filters.as_ref().map_or(&[][..], |sides| sides);
    let filters = filters.iter().flatten();
    let filters: Vec<_> = filters.filter_map(|filter| filter.name.clone()).collect();
    let left: Vec<_> = filters
        .into_iter()
        .filter(|name| is_ours(Some(name)))
        .collect();
    let remedy = if left.is_empty() {
        "stop that one first".to_owned()
    } else {
        let name = &facts.link.name;
        format!("stop that one first; was it killed, `tc qdisc del dev {name} clsact`")
    };
    let all: Vec<_> = running.chain(left).collect();
    (!all.is_empty()).then(|| {
        let message = format!("another lastack is there: {}", all.join(", "));
        Finding::warning("instance", message, remedy)
    })
}

impl Facts {
    fn driver(&self) -> String {
        match (&self.driver, &self.link.kind) {
            (Some(name), _) | (None, Some(name)) => format!("driver {name}"),
            (None, None) => "its driver".to_owned(),
        }
    }

    fn tc(&self, tcx: Hook, clsact: Hook) -> &'static str {
        if self.tcx { tcx } else { clsact }.as_str()
    }
}

/// Whether a program is lastack's, by its name.
pub(super) fn is_ours(name: Option<&str>) -> bool {
    name.is_some_and(|name| name.starts_with("lastack_"))
}

/// A program as a person looks for it.
pub(super) fn called(program: &Program) -> String {
    let Program { id, name } = program;
    match name.as_deref() {
        Some(name) if !name.is_empty() => format!("{name} (id {id})"),
        _ => format!("program {id}"),
    }
}
