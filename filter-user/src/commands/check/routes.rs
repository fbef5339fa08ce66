//! Judges whether both directions of a connection pass the served interfaces.

use std::io;

use super::report::Finding;
use crate::{
    probe::{links::Links, routes::DefaultRoute},
    settings::Role,
};

/// The default routes of IPv4 and of IPv6.
pub(super) type Routes = [io::Result<Vec<DefaultRoute>>; 2];

/// The interfaces that default routes lead by, each once.
pub(super) fn uplinks(routes: &Routes) -> Vec<u32> {
    let mut uplinks = Vec::new();
    for route in routes.iter().flatten().flatten() {
        for &interface in &route.interfaces {
            if !uplinks.contains(&interface) {
                uplinks.push(interface);
            }
        }
    }
    uplinks
}

pub(super) fn judge(role: Role, served: &[u32], links: &Links, routes: &Routes) -> Finding {
    if let Some(error) = routes.iter().find_map(|family| family.as_ref().err()) {
        return Finding::unseen("routes", "where packets are routed", error);
    }
    let is_served = |&uplink: &u32| {
        let carriers = links.carriers(uplink);
        carriers.iter().any(|carrier| served.contains(carrier))
    };
    let (in_view, missed): (Vec<_>, Vec<_>) = uplinks(routes).into_iter().partition(is_served);
    let names = |interfaces: &[u32]| {
        let names: Vec<_> = interfaces.iter().map(|&index| links.name(index)).collect();
        names.join(", ")
    };
    match role {
        Role::Lan if in_view.is_empty() => {
            Finding::ok("routes", "no default route leads to the clients")
        }
        Role::Lan => Finding::warning(
            "routes",
            format!(
                "a default route leads by {}, as if servers were there",
                names(&in_view)
            ),
            "use `--role wan`, or name the interface that leads to the clients",
        ),
        Role::Wan if in_view.is_empty() && missed.is_empty() => {
            Finding::ok("routes", "there is no default route")
        }
        Role::Wan if in_view.is_empty() => {
            // The kernel does not tell what a PPPoE session is on.
            let is_ppp =
                |index| links.of(index).and_then(|link| link.kind.as_deref()) == Some("ppp");
            let so = if missed.iter().copied().any(is_ppp) {
                "looked at here if that is PPPoE on a served one"
            } else {
                "only servers by other routes are looked at"
            };
            let message = format!("default routes lead by {}: {so}", names(&missed));
            Finding::ok("routes", message)
        }
        Role::Wan if missed.is_empty() => {
            Finding::ok("routes", "all default routes lead by served interfaces")
        }
        Role::Wan => {
            let all = served.iter().chain(&missed);
            let all: Vec<_> = all
                .map(|&index| format!("--iface {}", links.name(index)))
                .collect();
            Finding::warning(
                "routes",
                why_missed(routes, &missed, &names(&missed)),
                format!("serve all uplinks: `{}`", all.join(" ")),
            )
        }
    }
}

/// What default routes by interfaces that are not served do beside those that are.
fn why_missed(routes: &Routes, missed: &[u32], names: &str) -> String {
    let leads_by = |route: &DefaultRoute, is_missed: bool| {
        let mut interfaces = route.interfaces.iter();
        interfaces.any(|interface| missed.contains(interface) == is_missed)
    };
    let beside = |is_beside: fn(&DefaultRoute, &DefaultRoute) -> bool| {
        routes.iter().flatten().any(|family| {
            let mut pairs = family
                .iter()
                .filter(|route| leads_by(route, true))
                .flat_map(|route| family.iter().map(move |other| (route, other)));
            pairs.any(|(route, other)| leads_by(other, false) && is_beside(route, other))
        })
    };
    let harm = "a close is missed if one direction takes that way";
    if beside(|route, other| (route.table, route.metric) == (other.table, other.metric)) {
        return format!("packets are shared with {names}, not served: {harm}");
    }
    if beside(|route, other| route.table != other.table) {
        return format!("routing rules send some packets by {names}, not served: {harm}");
    }
    format!("default routes lead by {names}, too, not served: {harm}")
}

#[cfg(test)]
mod tests {
    use super::{super::report::Status, *};
    use crate::probe::links::Link;

    const WAN0: u32 = 2;
    const WAN1: u32 = 3;
    const LAN0: u32 = 4;
    const MAIN: u32 = 254;

    fn links() -> Links {
        let names = [(WAN0, "wan0"), (WAN1, "wan1"), (LAN0, "lan0")];
        Links(
            names
                .map(|(index, name)| Link {
                    index,
                    name: name.to_owned(),
                    ..Link::default()
                })
                .into(),
        )
    }

    fn route(table: u32, metric: u32, interfaces: &[u32]) -> DefaultRoute {
        DefaultRoute {
            table,
            metric,
            interfaces: interfaces.into(),
        }
    }

    fn of(role: Role, served: &[u32], v4: Vec<DefaultRoute>, v6: Vec<DefaultRoute>) -> Finding {
        judge(role, served, &links(), &[Ok(v4), Ok(v6)])
    }

    #[track_caller]
    fn assert_missed(v4: Vec<DefaultRoute>, v6: Vec<DefaultRoute>, message: &str) {
        let found = of(Role::Wan, &[WAN0], v4.clone(), v6.clone());
        assert_eq!(found.status, Status::Warning);
        assert_eq!(found.message, message);
        assert_eq!(
            found.remedy.as_deref(),
            Some("serve all uplinks: `--iface wan0 --iface wan1`")
        );
        let both = of(Role::Wan, &[WAN0, WAN1], v4, v6);
        assert_eq!(both.status, Status::Ok, "{both:?}");
    }

    #[test]
    fn uplinks_that_share_packets_have_to_be_served_all() {
        let shared = "packets are shared with wan1, not served: \
                      a close is missed if one direction takes that way";
        assert_missed(vec![route(MAIN, 0, &[WAN0, WAN1])], vec![], shared);
        let equal = || vec![route(MAIN, 100, &[WAN0]), route(MAIN, 100, &[WAN1])];
        assert_missed(vec![], equal(), shared);
    }

    #[test]
    fn uplinks_that_rules_choose_have_to_be_served_all() {
        let by_rules = "routing rules send some packets by wan1, not served: \
                        a close is missed if one direction takes that way";
        let routes = vec![route(MAIN, 0, &[WAN0]), route(100, 0, &[WAN1])];
        assert_missed(routes, vec![], by_rules);
    }

    #[test]
    fn a_spare_uplink_and_one_of_the_other_family_have_to_be_served() {
        let spare = "default routes lead by wan1, too, not served: \
                     a close is missed if one direction takes that way";
        let routes = vec![route(MAIN, 0, &[WAN0]), route(MAIN, 200, &[WAN1])];
        assert_missed(routes, vec![], spare);
        let (v4, v6) = (route(MAIN, 0, &[WAN0]), route(MAIN, 0, &[WAN1]));
        assert_missed(vec![v4], vec![v6], spare);
    }

    #[test]
    fn one_uplink_or_none_is_no_trouble() {
        let status = |v4| of(Role::Wan, &[WAN0], v4, vec![]).status;
        assert_eq!(status(vec![route(MAIN, 0, &[WAN0])]), Status::Ok);
        assert_eq!(status(vec![]), Status::Ok);
        let elsewhere = of(Role::Wan, &[LAN0], vec![route(MAIN, 0, &[WAN0])], vec![]);
        assert_eq!(elsewhere.status, Status::Ok);
        let others = "default routes lead by wan0: only servers by other routes are looked at";
        assert_eq!(elsewhere.message, others);
    }

    #[test]
    fn a_pppoe_session_may_be_on_the_served_interface() {
        let mut links = links();
        let wan1 = links.0.iter_mut().find(|link| link.index == WAN1).unwrap();
        wan1.kind = Some("ppp".to_owned());
        let routes = [Ok(vec![route(MAIN, 0, &[WAN1])]), Ok(vec![])];
        let found = judge(Role::Wan, &[WAN0], &links, &routes);
        assert_eq!(found.status, Status::Ok);
        assert!(found.message.contains("PPPoE"), "{found:?}");
    }

    #[test]
    fn the_port_of_a_bridge_serves_what_is_routed_to_the_bridge() {
        let mut links = links();
        let bridge = 9;
        let wan0 = links.0.iter_mut().find(|link| link.index == WAN0).unwrap();
        wan0.controller = Some(bridge);
        wan0.port_kind = Some("bridge".to_owned());
        let routes = [Ok(vec![route(MAIN, 0, &[bridge])]), Ok(vec![])];
        let found = judge(Role::Wan, &[WAN0], &links, &routes);
        assert_eq!(
            found.message,
            "all default routes lead by served interfaces"
        );
    }

    #[test]
    fn a_default_route_by_the_clients_interface_speaks_for_the_other_role() {
        let routes = || vec![route(MAIN, 0, &[WAN0])];
        assert_eq!(of(Role::Lan, &[LAN0], routes(), vec![]).status, Status::Ok);
        let wrong = of(Role::Lan, &[WAN0], routes(), vec![]);
        assert_eq!(wrong.status, Status::Warning);
        assert!(wrong.remedy.unwrap().contains("--role wan"));
    }

    #[test]
    fn routes_that_do_not_show_are_a_warning() {
        let routes = [Ok(vec![]), Err(io::ErrorKind::InvalidData.into())];
        let found = judge(Role::Wan, &[WAN0], &links(), &routes);
        assert_eq!(found.status, Status::Warning);
    }
}
