//! Where packets to everywhere go.

use std::{collections::BTreeSet, io};

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAttribute, RouteMessage, RouteType},
    rule::{RuleAction, RuleAttribute, RuleMessage},
};
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::datapath::netlink::{ask, request};

/// A default route of IPv4 or IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DefaultRoute {
    /// The routing table that it is in.
    pub(crate) table: u32,
    /// Of several in a table, that with the least is taken.
    pub(crate) metric: u32,
    /// The interfaces that it shares packets among.
    pub(crate) interfaces: Vec<u32>,
}

/// The default routes of one family in tables that are looked into.
pub(crate) fn default_routes(family: AddressFamily) -> io::Result<Vec<DefaultRoute>> {
    let used = used_tables(family)?;
    let mut question = RouteMessage::default();
    question.header.address_family = family;
    let mut routes = Vec::new();
    // One by one: a router can have a million others.
    ask(
        NETLINK_ROUTE,
        RouteNetlinkMessage::GetRoute(question),
        NLM_F_DUMP,
        |answer| {
            if let RouteNetlinkMessage::NewRoute(message) = answer
                && let Some(route) = default_route(&message)
                && used.contains(route.table)
            {
                routes.push(route);
            }
        },
    )?;
    Ok(routes)
}

/// Tables that rules name.
#[derive(Debug, PartialEq, Eq)]
enum Tables {
    /// Whichever an interface's VRF has.
    All,
    These(BTreeSet<u32>),
}

impl Tables {
    fn contains(&self, table: u32) -> bool {
        match self {
            Self::All => true,
            Self::These(tables) => tables.contains(&table),
        }
    }
}

fn used_tables(family: AddressFamily) -> io::Result<Tables> {
    let mut question = RuleMessage::default();
    question.header.family = family;
    let answers = request(RouteNetlinkMessage::GetRule(question), NLM_F_DUMP)?;
    let rules = answers.iter().filter_map(|answer| {
        if let RouteNetlinkMessage::NewRule(rule) = answer {
            Some(rule)
        } else {
            None
        }
    });
    Ok(tables(rules))
}

fn tables<'a>(rules: impl Iterator<Item = &'a RuleMessage>) -> Tables {
    let mut tables = BTreeSet::new();
    for rule in rules {
        if rule.attributes.contains(&RuleAttribute::L3MDev(true)) {
            return Tables::All;
        }
        if rule.header.action == RuleAction::ToTable {
            let long = rule.attributes.iter().find_map(|attribute| {
                if let RuleAttribute::Table(table) = attribute {
                    Some(*table)
                } else {
                    None
                }
            });
            tables.insert(long.unwrap_or_else(|| rule.header.table.into()));
        }
    }
    Tables::These(tables)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of thirty attributes, these"
)]
fn default_route(message: &RouteMessage) -> Option<DefaultRoute> {
    let header = &message.header;
    if header.destination_prefix_length != 0 || header.kind != RouteType::Unicast {
        return None;
    }
    let mut route = DefaultRoute {
        table: header.table.into(),
        metric: 0,
        interfaces: Vec::new(),
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Oif(index) => route.interfaces.push(*index),
            RouteAttribute::MultiPath(hops) => {
                route
                    .interfaces
                    .extend(hops.iter().map(|hop| hop.interface_index));
            }
            _ => {}
        }
    }
    (!route.interfaces.is_empty()).then_some(route)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tables_that_rules_name_are_looked_into() {
        let rule = |table: u8, attributes| {
            let mut rule = RuleMessage::default();
            rule.header.action = RuleAction::ToTable;
            rule.header.table = table;
            rule.attributes = attributes;
            rule
        };
        let rules = [
            rule(254, vec![]),
            rule(252, vec![RuleAttribute::Table(1000)]),
        ];
        let used = tables(rules.iter());
        assert_eq!(used, Tables::These([254, 1000].into()));
        let vrf = rule(0, vec![RuleAttribute::L3MDev(true)]);
        assert_eq!(tables([vrf].iter()), Tables::All);
    }

    #[test]
    fn a_default_route_has_an_interface_and_no_prefix() {
        let mut message = RouteMessage::default();
        message.header.kind = RouteType::Unicast;
        message.header.table = 254;
        assert_eq!(default_route(&message), None);
        message.attributes = vec![RouteAttribute::Priority(100), RouteAttribute::Oif(3)];
        let expected = DefaultRoute {
            table: 254,
            metric: 100,
            interfaces: vec![3],
        };
        assert_eq!(default_route(&message), Some(expected));
        message.header.destination_prefix_length = 8;
        assert_eq!(default_route(&message), None);
        message.header.destination_prefix_length = 0;
        message.header.kind = RouteType::BlackHole;
        assert_eq!(default_route(&message), None);
    }
}
