//! Interfaces of the calling thread's network namespace.

use std::{fmt, io};

use filter_common::wire::Link;
use netlink_packet_core::NLM_F_ACK;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkMessage, LinkXdp},
};
use nix::{errno::Errno, net::if_::if_nametoindex};

use super::{DatapathError, netlink::request};

/// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK`: what has an Ethernet header.
/// <https://github.com/torvalds/linux/blob/v6.18/include/uapi/linux/if_arp.h>
const ETHERNET_LINK_TYPES: [u16; 2] = [1, 772];
/// `ARPHRD_PPP`, `RAWIP`, `TUNNEL`, `TUNNEL6`, `SIT` and `NONE` (tun, wireguard): what has none,
/// as TC sees it.
const IP_LINK_TYPES: [u16; 6] = [512, 519, 768, 769, 776, 65_534];

/// One interface, as it was when it was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) link: Link,
    pub(super) condition: Condition,
    /// What is at its XDP hooks.
    xdp: Vec<LinkXdp>,
}

/// What an interface lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether packets flow.
    pub state: LinkState,
    /// Octets; 0 where the kernel does not say.
    pub mtu: u32,
}

/// Whether packets flow through an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// They do.
    Up,
    /// It is up, but nothing is at its other end.
    NoCarrier,
    /// It was set down, or never up.
    Down,
}

impl LinkState {
    /// Its name for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::NoCarrier => "no_carrier",
            Self::Down => "down",
        }
    }

    fn of(flags: LinkFlags) -> Self {
        if !flags.contains(LinkFlags::Up) {
            Self::Down
        } else if !flags.contains(LinkFlags::Running) {
            Self::NoCarrier
        } else {
            Self::Up
        }
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::NoCarrier => "up, but without a carrier",
            Self::Down => "down",
        })
    }
}

impl Interface {
    /// Finds an interface that carries IP by its name or one of its other names.
    pub(crate) fn find(name: &str) -> Result<Self, DatapathError> {
        let no_interface = || DatapathError::NoInterface(name.to_owned());
        let index = if_nametoindex(name).map_err(|errno| {
            if matches!(errno, Errno::ENODEV | Errno::ENXIO | Errno::EINVAL) {
                return no_interface();
            }
            // Without a free descriptor, for one, nothing can be said of interfaces. Why the C library
            // got no socket, it does not say.
            let error = get_link(1).err();
            DatapathError::System {
                what: "which interfaces there are",
                error: error.unwrap_or_else(|| errno.into()),
            }
        })?;
        let message = get_link(index).map_err(|error| match error.raw_os_error() {
            Some(nix::libc::ENODEV) => no_interface(),
            _ => DatapathError::System {
                what: "the interface's link type",
                error,
            },
        })?;
        let message = message.ok_or_else(no_interface)?;
        let mut interface = Self {
            name: name.to_owned(),
            index,
            link: Link::Ethernet,
            condition: Condition {
                state: LinkState::of(message.header.flags),
                mtu: 0,
            },
            xdp: Vec::new(),
        };
        for attribute in message.attributes {
            if let LinkAttribute::IfName(name) = attribute {
                interface.name = name;
            } else if let LinkAttribute::Mtu(mtu) = attribute {
                interface.condition.mtu = mtu;
            } else if let LinkAttribute::Xdp(xdp) = attribute {
                interface.xdp = xdp;
            }
        }
        interface.link = link(&interface.name, message.header.link_layer_type.into())?;
        Ok(interface)
    }

    /// What the interface with this number is called now, if there is one.
    pub(super) fn name_of(index: u32) -> Option<String> {
        let attributes = get_link(index).ok()??.attributes;
        attributes.into_iter().find_map(|attribute| {
            if let LinkAttribute::IfName(name) = attribute {
                Some(name)
            } else {
                None
            }
        })
    }

    /// Whether the kernel's answer to a change says that the interface, or what was on it, is
    /// gone already.
    pub(super) fn is_gone(error: &io::Error) -> bool {
        use nix::libc::{EINVAL, ENODEV, ENOENT};
        matches!(error.raw_os_error(), Some(ENODEV | ENOENT | EINVAL))
    }
}

fn get_link(index: u32) -> io::Result<Option<LinkMessage>> {
    let mut question = LinkMessage::default();
    question.header.index = index;
    let answers = request(RouteNetlinkMessage::GetLink(question), NLM_F_ACK)?;
    Ok(answers.into_iter().find_map(|answer| {
        if let RouteNetlinkMessage::NewLink(link) = answer {
            Some(link)
        } else {
            None
        }
    }))
}

fn link(interface: &str, link_type: u16) -> Result<Link, DatapathError> {
    if ETHERNET_LINK_TYPES.contains(&link_type) {
        Ok(Link::Ethernet)
    } else if IP_LINK_TYPES.contains(&link_type) {
        Ok(Link::Ip)
    } else {
        Err(DatapathError::LinkType {
            interface: interface.to_owned(),
            link_type,
        })
    }
}
