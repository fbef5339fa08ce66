//! Which connections are looked at.

use std::net::IpAddr;

use filter_common::FlowKey;
use ipnet::IpNet;

/// Of each list that is not empty, one entry must be of either side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Addresses.
    pub prefixes: Vec<IpNet>,
    /// Ports.
    pub ports: Vec<u16>,
}

impl Filter {
    /// Whether a connection is looked at.
    #[inline]
    #[must_use]
    pub fn takes(&self, key: &FlowKey) -> bool {
        self.prefixes.is_empty() && self.ports.is_empty() || self.has(key)
    }

    fn has(&self, key: &FlowKey) -> bool {
        let has_address = |address: IpAddr| self.prefixes.iter().any(|net| net.contains(&address));
        let has_port = |port: u16| self.ports.contains(&port);
        let address = self.prefixes.is_empty()
            || has_address(key.client_address())
            || has_address(key.server_address());
        let port =
            self.ports.is_empty() || has_port(key.client_port()) || has_port(key.server_port());
        address && port
    }
}

#[cfg(test)]
mod tests {
    use filter_common::segment::words;

    use super::*;

    #[test]
    fn addresses_and_ports_of_either_side_narrow_it() {
        let key = FlowKey {
            client: words("10.0.0.2".parse().unwrap()),
            server: words("2001:db8::1".parse().unwrap()),
            ports: u32::from_ne_bytes([0xc0, 0, 0, 80]),
        };
        let filter = |prefixes: &[&str], ports: &[u16]| Filter {
            prefixes: prefixes.iter().map(|net| net.parse().unwrap()).collect(),
            ports: ports.to_vec(),
        };
        for (prefixes, ports, takes) in [
            (&[][..], &[][..], true),
            (&["10.0.0.0/8"], &[], true),
            (&["2001:db8::/32"], &[80], true),
            (&["10.0.0.0/8", "192.0.2.1/32"], &[80, 443], true),
            (&["192.0.2.1/32"], &[80], false),
            (&["10.0.0.2/32"], &[443], false),
            (&[], &[49152], true),
        ] {
            assert_eq!(
                filter(prefixes, ports).takes(&key),
                takes,
                "{prefixes:?} {ports:?}"
            );
        }
    }
}
