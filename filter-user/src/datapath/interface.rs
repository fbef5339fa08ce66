//! Interfaces of the calling thread's network namespace.

use std::io;

use filter_common::wire::Link;
use netlink_packet_core::NLM_F_ACK;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage},
};
use nix::net::if_::if_nametoindex;

use super::{DatapathError, netlink::request};

/// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK`: what has an Ethernet header.
/// <https://github.com/torvalds/linux/blob/v6.18/include/uapi/linux/if_arp.h>
const ETHERNET_LINK_TYPES: [u16; 2] = [1, 772];
/// `ARPHRD_PPP`, `RAWIP`, `TUNNEL`, `TUNNEL6`, `SIT` and `NONE` (tun, wireguard): what has none,
/// as TC sees it.
const IP_LINK_TYPES: [u16; 6] = [512, 519, 768, 769, 776, 65_534];

/// One interface.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) link: Link,
}

impl Interface {
    /// Finds an interface that carries IP by its name or one of its other names.
    pub(crate) fn find(name: &str) -> Result<Self, DatapathError> {
        let no_interface = || DatapathError::NoInterface(name.to_owned());
        let index = if_nametoindex(name).map_err(|_| no_interface())?;
        let mut question = LinkMessage::default();
        question.header.index = index;
        let answers = request(RouteNetlinkMessage::GetLink(question), NLM_F_ACK).map_err(
            |error| match error.raw_os_error() {
                Some(nix::libc::ENODEV) => no_interface(),
                _ => DatapathError::System {
                    what: "the interface's link type",
                    error,
                },
            },
        )?;
        let link = answers
            .into_iter()
            .find_map(|answer| {
                if let RouteNetlinkMessage::NewLink(link) = answer {
                    Some(link)
                } else {
                    None
                }
            })
            .ok_or_else(no_interface)?;
        let name = link
            .attributes
            .into_iter()
            .find_map(|attribute| {
                if let LinkAttribute::IfName(name) = attribute {
                    Some(name)
                } else {
                    None
                }
            })
            .unwrap_or_else(|| name.to_owned());
        let link_type = link.header.link_layer_type.into();
        let link = if ETHERNET_LINK_TYPES.contains(&link_type) {
            Link::Ethernet
        } else if IP_LINK_TYPES.contains(&link_type) {
            Link::Ip
        } else {
            return Err(DatapathError::LinkType {
                interface: name,
                link_type,
            });
        };
        Ok(Self { name, index, link })
    }

    /// Whether the kernel's answer to a change says that the interface, or what was on it, is
    /// gone already.
    pub(super) fn is_gone(error: &io::Error) -> bool {
        use nix::libc::{EINVAL, ENODEV, ENOENT};
        matches!(error.raw_os_error(), Some(ENODEV | ENOENT | EINVAL))
    }
}
