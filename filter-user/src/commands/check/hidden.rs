//! Judges what can carry packets past the hooks of an interface, or merge them before.

use std::io;

use super::{facts::Facts, report::Finding};
use crate::{
    commands::instances::{called, is_ours},
    probe::{flowtables::Flowtable, links::Link, programs::Program},
};

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
    if let Some((name, _)) = offloads.iter().find(|(_, on)| on.lro) {
        return Finding::warning(
            "lro",
            "LRO merges arriving segments and loses what they were",
            format!("`ethtool -K {name} lro off`"),
        );
    }
    let message = if offloads.iter().any(|(_, on)| on.gro_hw) {
        "off. GRO-HW is on: what it merges is understood, and a driver may turn it off for XDP"
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
    let offloads = facts.offloads.as_ref();
    let may = offloads.is_ok_and(|offloads| offloads.iter().any(|(_, on)| on.tc));
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
        let mut carriers = facts.carriers.iter();
        carriers.any(|carrier| table.has(carrier))
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
            "{} at XDP: what such redirect to a served interface leaves unseen",
            programs.join(", ")
        ),
        "see that they pass TCP",
    )
}

#[cfg(test)]
mod tests {
    use super::{super::report::Status, *};
    use crate::probe::{features::Offloads, flowtables::Device, programs::Filter};

    const OFF: Offloads = Offloads {
        lro: false,
        gro_hw: false,
        tc: false,
    };

    /// A card without offloads, and one with these.
    fn cards(offloads: Offloads) -> Vec<(String, Offloads)> {
        vec![("eth0".to_owned(), OFF), ("eth1".to_owned(), offloads)]
    }

    fn filter(kind: &str, in_hardware: bool) -> Filter {
        Filter {
            kind: kind.to_owned(),
            in_hardware,
            ..Filter::default()
        }
    }

    fn table(devices: &[&str], in_hardware: bool) -> Flowtable {
        Flowtable {
            name: "filter fast".to_owned(),
            devices: devices
                .iter()
                .map(|&device| Device::Named(device.to_owned()))
                .collect(),
            in_hardware,
        }
    }

    #[test]
    fn an_interface_that_nothing_bypasses_is_ok_throughout() {
        let found = judge(&Facts::sample(), &Ok(vec![]));
        let names: Vec<_> = found
            .iter()
            .map(|found| (found.status, found.name))
            .collect();
        let expected = ["lro", "hardware", "flowtable"].map(|name| (Status::Ok, name));
        assert_eq!(names, expected);
    }

    #[test]
    fn lro_is_a_warning_and_gro_in_hardware_is_not() {
        let mut facts = Facts::sample();
        facts.offloads = Ok(cards(Offloads {
            gro_hw: true,
            ..OFF
        }));
        let gro = lro(&facts);
        assert_eq!(gro.status, Status::Ok);
        assert!(gro.message.contains("GRO-HW is on"));
        facts.offloads = Ok(cards(Offloads { lro: true, ..OFF }));
        let found = lro(&facts);
        assert_eq!(found.status, Status::Warning);
        assert_eq!(
            found.message,
            "LRO merges arriving segments and loses what they were"
        );
        assert_eq!(found.remedy.as_deref(), Some("`ethtool -K eth1 lro off`"));
        facts.offloads = Err(io::ErrorKind::Unsupported.into());
        assert_eq!(lro(&facts).status, Status::Warning);
    }

    #[test]
    fn filters_in_the_hardware_hide_packets_and_the_mere_ability_does_not() {
        let mut facts = Facts::sample();
        facts.offloads = Ok(cards(Offloads { tc: true, ..OFF }));
        facts.filters = Ok([vec![filter("flower", false)], vec![]]);
        let able = hardware(&facts);
        assert_eq!(
            (able.status, able.message.as_str()),
            (
                Status::Ok,
                "hw-tc-offload is on, and no filter makes use of it"
            )
        );
        facts.filters = Ok([vec![filter("flower", true)], vec![filter("matchall", true)]]);
        let found = hardware(&facts);
        assert_eq!(found.status, Status::Warning);
        assert_eq!(
            found.message,
            "2 TC filters are in the hardware: what they redirect or drop there is not seen"
        );
        assert_eq!(
            found.remedy.as_deref(),
            Some("`ethtool -K wan0 hw-tc-offload off`, or give them skip_hw")
        );
        facts.filters = Err(io::ErrorKind::InvalidData.into());
        assert_eq!(hardware(&facts).status, Status::Warning);
    }

    #[test]
    fn a_switch_forwards_between_the_ports_of_a_bridge() {
        let mut facts = Facts::sample();
        facts.link.is_switch_port = true;
        assert_eq!(hardware(&facts).status, Status::Ok);
        facts.link.port_kind = Some("bridge".to_owned());
        facts.controller = Some("br0".to_owned());
        let found = hardware(&facts);
        assert_eq!(found.status, Status::Warning);
        assert_eq!(
            found.message,
            "a switch chip may forward between it and other ports of br0, unseen"
        );
        assert_eq!(
            found.remedy.as_deref(),
            Some("serve what is routed: `--iface br0`")
        );
        facts.link.is_switch_port = false;
        assert_eq!(hardware(&facts).status, Status::Ok);
    }

    #[test]
    fn a_flowtable_in_hardware_hides_closes_and_one_in_software_does_not() {
        let mut facts = Facts::sample();
        let of = |facts: &Facts, tables: Vec<Flowtable>| flowtable(facts, &Ok(tables));
        let both = ["lan0", "wan0"];
        let software = of(&facts, vec![table(&both, false)]);
        assert_eq!(
            (software.status, software.message.as_str()),
            (
                Status::Ok,
                "filter fast, in software: both hooks see its packets"
            )
        );
        let hardware = of(&facts, vec![table(&both, false), table(&both, true)]);
        assert_eq!(hardware.status, Status::Warning);
        assert_eq!(
            hardware.message,
            "the hardware forwards what is in flowtable filter fast, closes included, unseen"
        );
        assert_eq!(
            hardware.remedy.as_deref(),
            Some("take `flags offload` from it")
        );
        let elsewhere = of(&facts, vec![table(&["lan0", "lan1"], true)]);
        assert_eq!(elsewhere, Finding::ok("flowtable", "none has it"));

        // A VLAN's packets are offloaded on the card below.
        facts.carriers = vec!["wan0.7".to_owned(), "wan0".to_owned()];
        let below = of(&facts, vec![table(&["wan0"], true)]);
        assert_eq!(below.status, Status::Warning);

        let denied = Err(io::ErrorKind::PermissionDenied.into());
        assert_eq!(flowtable(&facts, &denied).status, Status::Warning);
    }

    #[test]
    fn a_port_of_a_bond_sees_a_part_and_one_of_a_bridge_all_of_its_own() {
        let mut facts = Facts::sample();
        assert_eq!(port(&facts), None);
        facts.controller = Some("bond0".to_owned());
        facts.link.port_kind = Some("bond".to_owned());
        let bond = port(&facts).unwrap();
        assert_eq!(bond.status, Status::Warning);
        assert_eq!(bond.remedy.as_deref(), Some("`--iface bond0`"));
        facts.link.port_kind = Some("bridge".to_owned());
        assert_eq!(port(&facts).unwrap().status, Status::Ok);
        facts.link.port_kind = Some("vrf".to_owned());
        assert_eq!(port(&facts), None);
    }

    #[test]
    fn below_macsec_packets_are_not_understood() {
        let mut facts = Facts::sample();
        assert_eq!(encryption(&facts), None);
        facts.encrypting = vec!["macsec0".to_owned()];
        let found = encryption(&facts).unwrap();
        assert_eq!(found.status, Status::Warning);
        assert_eq!(found.remedy.as_deref(), Some("`--iface macsec0`"));
    }

    #[test]
    fn xdp_programs_elsewhere_may_redirect_past_us() {
        let lan0 = Link {
            name: "lan0".to_owned(),
            ..Link::default()
        };
        let program = |name: Option<&str>| Program {
            id: 7,
            name: name.map(str::to_owned),
        };
        assert_eq!(redirects(&[]).status, Status::Ok);
        let ours = program(Some("lastack_xdp"));
        assert_eq!(redirects(&[(&lan0, ours)]).status, Status::Ok);
        let found = redirects(&[(&lan0, program(None)), (&lan0, program(Some("xdp_fwd")))]);
        assert_eq!(found.status, Status::Warning);
        assert_eq!(
            found.message,
            "program 7 on lan0, xdp_fwd (id 7) on lan0 at XDP: what such redirect to a served \
             interface leaves unseen"
        );
    }
}
