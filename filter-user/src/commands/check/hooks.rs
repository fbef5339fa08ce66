//! Judges an interface, and the hooks that `lastack run` would attach to.

use std::io;

use filter_common::wire::Link as Header;

use super::{facts::Facts, ingress, report::Finding};
use crate::{
    commands::instances::{Ours, called, is_ours},
    datapath::Hook,
    settings::Settings,
};

pub(super) fn judge(facts: &Facts, settings: &Settings) -> Vec<Finding> {
    [
        Some(interface(facts)),
        Some(ingress::judge(facts, settings)),
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
    let driver = facts.driver.as_ref();
    let driver = driver.map_or_else(String::new, |name| format!("driver {name}, "));
    let what = format!("{header}, {driver}MTU {}", link.mtu);
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
        Err(error) if facts.tcx && error.kind() == io::ErrorKind::InvalidInput => {
            let remedy = "use `--tc-mode clsact`";
            return Finding::error("egress", "this kernel has no TCX (6.6)", remedy);
        }
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
        before.extend(others.map(|filter| match &filter.name {
            Some(name) => format!("the {} filter {name}", filter.kind),
            None => format!("a {} filter", filter.kind),
        }));
    }
    // A hash filter shows as several.
    before.dedup();
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
    let filters = facts.filters.as_ref().map_or(&[][..], |sides| sides);
    let there = Ours::among(programs, filters.iter().flatten());
    let remedy = if there.filters.is_empty() {
        "stop that one first".to_owned()
    } else {
        let name = &facts.link.name;
        format!("stop that one first; was it killed, `tc qdisc del dev {name} clsact`")
    };
    (!there.is_empty()).then(|| Finding::warning("instance", there.to_string(), remedy))
}

#[cfg(test)]
mod tests {
    use super::{super::report::Status, *};
    use crate::probe::programs::{Filter, Program};

    fn program(name: &str) -> Program {
        Program {
            id: 7,
            name: Some(name.to_owned()),
        }
    }

    fn bpf(name: &str) -> Filter {
        Filter {
            kind: "bpf".to_owned(),
            name: Some(name.to_owned()),
            ..Filter::default()
        }
    }

    #[test]
    fn a_network_card_that_can_do_everything_is_ok_throughout() {
        let found = judge(&Facts::sample(), &Settings::default());
        let lines: Vec<_> = found
            .iter()
            .map(|found| (found.status, found.name, found.message.as_str()))
            .collect();
        assert_eq!(
            lines,
            [
                (Status::Ok, "interface", "Ethernet, driver ice, MTU 1500"),
                (Status::Ok, "ingress", "xdp-native, which driver ice has"),
                (Status::Ok, "egress", "tcx-egress"),
            ]
        );
        assert!(
            found
                .iter()
                .all(|found| found.iface.as_deref() == Some("wan0"))
        );
    }

    #[test]
    fn an_interface_that_is_down_or_unplugged_is_a_warning() {
        let mut facts = Facts::sample();
        facts.link.carrier = false;
        let unplugged = interface(&facts);
        assert_eq!(unplugged.status, Status::Warning);
        assert!(unplugged.message.starts_with("nothing is at its other end"));
        facts.link.up = false;
        facts.header = Header::Ip;
        let down = interface(&facts);
        assert_eq!(down.status, Status::Warning);
        assert_eq!(down.message, "down: bare IP, driver ice, MTU 1500");
        assert_eq!(down.remedy.as_deref(), Some("`ip link set wan0 up`"));
    }

    #[test]
    fn programs_before_ours_at_egress_are_named() {
        let mut facts = Facts::sample();
        facts.tcx_programs = Ok([vec![program("first")], vec![]]);
        facts.filters = Ok([vec![bpf("early")], vec![bpf("late")]]);
        // Ours is first at ingress, and TCX comes before clsact.
        assert_eq!(egress(&facts), Finding::ok("egress", "tcx-egress"));

        facts.tcx_programs = Ok([vec![], vec![program("shaper")]]);
        let found = egress(&facts);
        assert_eq!(found.status, Status::Warning);
        assert_eq!(
            found.message,
            "tcx-egress, behind shaper (id 7): what those accept for good, redirect or drop is \
             not seen"
        );

        facts.tcx = false;
        facts.filters = Ok([vec![bpf("early")], vec![bpf("late"), bpf("late")]]);
        let found = egress(&facts);
        assert!(
            found
                .message
                .starts_with("clsact-egress, behind shaper (id 7), the bpf filter late:"),
            "{found:?}"
        );
        // Where there is no TCX, that it does not show says nothing.
        facts.tcx_programs = Err(io::ErrorKind::InvalidInput.into());
        facts.filters = Ok([vec![], vec![]]);
        assert_eq!(egress(&facts), Finding::ok("egress", "clsact-egress"));
        facts.tcx = true;
        let found = egress(&facts);
        assert_eq!(found.status, Status::Error);
        assert_eq!(found.remedy.as_deref(), Some("use `--tc-mode clsact`"));
        facts.tcx_programs = Err(io::ErrorKind::PermissionDenied.into());
        assert_eq!(egress(&facts).status, Status::Warning);
    }

    #[test]
    fn the_old_ingress_qdisc_is_in_clsact_s_way_only() {
        let mut facts = Facts::sample();
        facts.has_ingress_qdisc = Ok(true);
        assert_eq!(egress(&facts).status, Status::Ok);
        facts.tcx = false;
        let found = egress(&facts);
        assert_eq!(found.status, Status::Error);
        assert!(
            found
                .remedy
                .unwrap()
                .starts_with("`tc qdisc del dev wan0 ingress`")
        );
    }

    #[test]
    fn another_instance_is_found_at_xdp() {
        let mut facts = Facts::sample();
        facts.xdp = Some(program("xdp_fwd"));
        assert_eq!(instance(&facts), None);
        facts.xdp = Some(program("lastack_xdp_mb"));
        let instance = instance(&facts).unwrap();
        assert_eq!(instance.status, Status::Warning);
        assert_eq!(
            instance.message,
            "another lastack is there: lastack_xdp_mb (id 7)"
        );
    }

    #[test]
    fn what_a_killed_instance_left_in_clsact_is_found_with_the_way_to_remove_it() {
        let mut facts = Facts::sample();
        assert_eq!(instance(&facts), None);
        facts.filters = Ok([vec![bpf("lastack_ingress")], vec![bpf("theirs")]]);
        let left = instance(&facts).unwrap();
        assert_eq!(left.message, "another lastack is there: lastack_ingress");
        assert!(
            left.remedy
                .unwrap()
                .contains("`tc qdisc del dev wan0 clsact`")
        );

        facts.filters = Ok([vec![], vec![]]);
        facts.tcx_programs = Ok([vec![], vec![program("lastack_egress")]]);
        let running = instance(&facts).unwrap();
        assert_eq!(running.remedy.as_deref(), Some("stop that one first"));
        assert_eq!(egress(&facts).status, Status::Ok);
    }
}
