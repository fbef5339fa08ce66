//! Judges what can carry packets past the hooks of an interface, or merge them before.

use std::io;

use super::{
    hooks::{Facts, called, is_ours},
    report::Finding,
};
use crate::probe::{flowtables::Flowtable, links::Link, programs::Program};

pub(super) fn judge(facts: &Facts, flowtables: &io::Result<Vec<Flowtable>>) -> Vec<Finding> {
    [
        Some(lro(facts)),
        Some(hardware(facts)),
        Some(flowtable(facts, flowtables)),
        port(facts),
        encryption(facts),
    ]
    .into_iter()
    .flatten()
    .map(|finding| finding.on(&facts.link.name))
    .collect()
}

fn lro(facts: &Facts) -> Finding {
    let offloads = match &facts.offloads {
        Ok(offloads) => offloads,
        Err(error) => return Finding::unseen("lro", "whether LRO is on", error),
    };
    if offloads.lro {
        return Finding::warning(
            "lro",
            "LRO merges arriving segments and loses what they were",
            format!("`ethtool -K {} lro off`", facts.link.name),
        );
    }
    let message = if offloads.gro_hw {
        "off. GRO-HW is on, whose merged segments are understood"
    } else {
        "off, and so is GRO-HW"
    };
    Finding::ok("lro", message)
}

/// Filters, and switches, that forward without the kernel.
fn hardware(facts: &Facts) -> Finding {
    let name = &facts.link.name;
    let sides = match &facts.filters {
        Ok(sides) => sides,
        Err(error) => return Finding::unseen("hardware", "its TC filters", error),
    };
    let offloaded = sides.iter().flatten().filter(|filter| filter.in_hardware);
    let count = offloaded.count();
    if count > 0 {
        return Finding::warning(
            "hardware",
            format!(
                "{count} TC filters are in the hardware: what they redirect or drop there is not \
                 seen"
            ),
            format!("`ethtool -K {name} hw-tc-offload off`, or give them skip_hw"),
        );
    }
    if facts.link.is_switch_port
        && facts.link.port_kind.as_deref() == Some("bridge")
        && let Some(bridge) = &facts.controller
    {
        return Finding::warning(
            "hardware",
            format!("a switch chip may forward between it and other ports of {bridge}, unseen"),
            format!("serve what is routed: `--iface {bridge}`"),
        );
    }
    let may = facts.offloads.as_ref().is_ok_and(|offloads| offloads.tc);
    Finding::ok(
        "hardware",
        if may {
            "hw-tc-offload is on, and no filter makes use of it"
        } else {
            "no TC filter is in the hardware"
        },
    )
}

/// Packets of a software flowtable still pass TC egress, and XDP or TC ingress come before it.
/// The hardware keeps a connection until a while after its first FIN, which is when the close
/// takes place:
/// <https://github.com/torvalds/linux/blob/v6.18/net/netfilter/nf_flow_table_core.c>
/// (`nf_flow_offload_gc_step`).
fn flowtable(facts: &Facts, flowtables: &io::Result<Vec<Flowtable>>) -> Finding {
    let flowtables = match flowtables {
        Ok(flowtables) => flowtables,
        Err(error) => return Finding::unseen("flowtable", "flowtables of nftables", error),
    };
    let is_here = |table: &&Flowtable| {
        let mut devices = table.devices.iter();
        devices.any(|device| facts.carriers.contains(device))
    };
    let here: Vec<_> = flowtables.iter().filter(is_here).collect();
    if let Some(table) = here.iter().find(|table| table.in_hardware) {
        return Finding::warning(
            "flowtable",
            format!(
                "the hardware forwards what is in flowtable {}, closes included, unseen",
                table.name
            ),
            "take `flags offload` from it",
        );
    }
    match here.first() {
        Some(table) => Finding::ok(
            "flowtable",
            format!("{}, in software: both hooks see its packets", table.name),
        ),
        None => Finding::ok("flowtable", "none has it"),
    }
}

fn port(facts: &Facts) -> Option<Finding> {
    let controller = facts.controller.as_deref()?;
    match facts.link.port_kind.as_deref() {
        Some("bond" | "team") => Some(Finding::warning(
            "port",
            format!("{controller} shares packets among it and others, which are not seen here"),
            format!("`--iface {controller}`"),
        )),
        Some("bridge") => Some(Finding::ok(
            "port",
            format!("of bridge {controller}, whose other ports are not seen here"),
        )),
        _ => None,
    }
}

fn encryption(facts: &Facts) -> Option<Finding> {
    let above = facts.encrypting.first()?;
    Some(Finding::warning(
        "macsec",
        format!("packets of {above} are encrypted here, and not understood"),
        format!("`--iface {above}`"),
    ))
}

/// XDP programs on interfaces that are not served: what they redirect leaves without passing TC
/// egress.
pub(super) fn redirects(others: &[(&Link, Program)]) -> Finding {
    let foreign = others
        .iter()
        .filter(|(_, program)| !is_ours(program.name.as_deref()));
    let programs: Vec<_> = foreign
        .map(|(link, program)| format!("{} on {}", called(program), link.name))
        .collect();
    if programs.is_empty() {
        return Finding::ok("redirects", "no XDP program on other interfaces");
    }
    Finding::warning(
        "redirects",
        format!(
            "XDP program {}: what such redirect to a served interface leaves unseen",
            programs.join(", ")
        ),
        "see that they pass TCP",
    )
}
