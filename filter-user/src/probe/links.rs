//! The interfaces of the network namespace, and how they are stacked.

use std::io;

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp},
};

use crate::datapath::netlink::request;

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its number.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// What it is, such as `veth`; none for hardware.
    pub(crate) kind: Option<String>,
    /// Whether it is set up.
    pub(crate) up: bool,
    /// Whether there is a link at its other end.
    pub(crate) carrier: bool,
    /// Octets of the longest packet behind the link's own header.
    pub(crate) mtu: u32,
    /// The bridge, bond or the like that it is a port of.
    pub(crate) controller: Option<u32>,
    /// What that is, such as `bond`.
    pub(crate) port_kind: Option<String>,
    /// The interface below, if its packets are there to be read, as those of a VLAN are.
    pub(crate) below: Option<u32>,
    /// The interface below, if its packets are encrypted there.
    pub(crate) encrypted_below: Option<u32>,
    /// The XDP program that is on it.
    pub(crate) xdp: Option<u32>,
    /// Whether it is a port of a switch that can forward by itself.
    pub(crate) is_switch_port: bool,
}

/// All interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Links(pub(crate) Vec<Link>);

impl Links {
    /// Asks the kernel.
    pub(crate) fn read() -> io::Result<Self> {
        let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = request(question, NLM_F_DUMP)?.into_iter();
        let links = answers.filter_map(|answer| {
            if let RouteNetlinkMessage::NewLink(message) = answer {
                Some(link(message))
            } else {
                None
            }
        });
        Ok(Self(links.collect()))
    }

    /// The interface with that index.
    pub(crate) fn of(&self, index: u32) -> Option<&Link> {
        self.0.iter().find(|link| link.index == index)
    }

    /// Its name, or its index if it has gone meanwhile.
    pub(crate) fn name(&self, index: u32) -> String {
        self.of(index)
            .map_or_else(|| format!("#{index}"), |link| link.name.clone())
    }

    /// The interface itself and all whose packets are also its own: those below it and its
    /// ports.
    pub(crate) fn carriers(&self, index: u32) -> Vec<u32> {
        let mut found = vec![index];
        let mut next = 0;
        while let Some(&above) = found.get(next) {
            let ports = self.0.iter().filter(|link| link.controller == Some(above));
            let ports = ports.filter(|link| link.port_kind.as_deref() != Some("vrf"));
            let below = self.of(above).and_then(|link| link.below);
            for carrier in ports.map(|link| link.index).chain(below) {
                if !found.contains(&carrier) {
                    found.push(carrier);
                }
            }
            next += 1;
        }
        found
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of some sixty attributes, these"
)]
fn link(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
        ..Link::default()
    };
    let (mut below, mut elsewhere) = (None, false);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(index) => link.controller = Some(index),
            LinkAttribute::Link(index) => below = Some(index),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::PhysSwitchId(_) => link.is_switch_port = true,
            LinkAttribute::Xdp(xdp) => link.xdp = xdp.iter().find_map(program),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => link.kind = Some(kind.to_string()),
                        LinkInfo::PortKind(kind) => link.port_kind = Some(kind.to_string()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let below = below.filter(|_| !elsewhere);
    match link.kind.as_deref() {
        Some("vlan" | "macvlan" | "macvtap" | "ipvlan" | "ipvtap") => link.below = below,
        Some("macsec") => link.encrypted_below = below,
        _ => {}
    }
    link
}

/// The program's id; of several, the kernel gives each by its mode.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others carry no id")]
fn program(xdp: &LinkXdp) -> Option<u32> {
    match xdp {
        LinkXdp::ProgId(id)
        | LinkXdp::DrvProgId(id)
        | LinkXdp::SkbProgId(id)
        | LinkXdp::HwProgId(id) => Some(*id),
        _ => None,
    }
    .filter(|&id| id != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(index: u32, name: &str) -> Link {
        Link {
            index,
            name: name.to_owned(),
            ..Link::default()
        }
    }

    #[test]
    fn carriers_are_ports_and_what_is_below() {
        let port = |index, name, kind: &str| Link {
            controller: Some(9),
            port_kind: Some(kind.to_owned()),
            ..named(index, name)
        };
        let vlan = Link {
            below: Some(9),
            ..named(10, "bond0.7")
        };
        let links = Links(vec![
            port(2, "eth0", "bond"),
            port(3, "eth1", "bond"),
            named(9, "bond0"),
            vlan,
            named(11, "wan0"),
        ]);
        assert_eq!(links.carriers(10), [10, 9, 2, 3]);
        assert_eq!(links.carriers(2), [2]);
        assert_eq!(links.carriers(11), [11]);

        let vrf = Links(vec![port(2, "eth0", "vrf"), named(9, "red")]);
        assert_eq!(vrf.carriers(9), [9]);
    }
}
