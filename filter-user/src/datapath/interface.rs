//! Interfaces of the calling thread's network namespace.

use std::io;

use nix::{ifaddrs::getifaddrs, net::if_::if_nametoindex};

use super::DatapathError;

/// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK`: what has an Ethernet header.
const ETHERNET_LINK_TYPES: [u16; 2] = [1, 772];

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) index: u32,
}

impl Interface {
    /// Finds an interface with an Ethernet header.
    pub(super) fn find(name: &str) -> Result<Self, DatapathError> {
        let index =
            if_nametoindex(name).map_err(|_| DatapathError::NoInterface(name.to_owned()))?;
        let system = |error: nix::Error| DatapathError::System {
            what: "the interface's link type",
            error: io::Error::from(error),
        };
        let link_type = getifaddrs()
            .map_err(system)?
            .filter(|address| address.interface_name == name)
            .find_map(|address| {
                address
                    .address?
                    .as_link_addr()
                    .map(nix::sys::socket::LinkAddr::hatype)
            });
        match link_type {
            Some(link_type) if !ETHERNET_LINK_TYPES.contains(&link_type) => {
                Err(DatapathError::NotEthernet {
                    interface: name.to_owned(),
                    link_type,
                })
            }
            Some(_) | None => Ok(Self {
                name: name.to_owned(),
                index,
            }),
        }
    }
}
