//! Whose connections the programs look at.

use std::net::{IpAddr, Ipv4Addr};

use aya::{
    Ebpf,
    maps::{HashMap, LpmTrie, Map, MapData, lpm_trie::Key},
};
use filter_common::segment::words;
use ipnet::{IpNet, Ipv6Net};

use super::DatapathError;
use crate::settings::Settings;

/// Bits in front of an IPv4 address that is mapped into IPv6 (RFC 4291, section 2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// How many elements the map of clients needs, at least one.
pub(super) fn clients(settings: &Settings) -> u32 {
    u32::try_from(prefixes(&settings.clients).len().max(1)).unwrap_or(u32::MAX)
}

/// How many elements the map of ports needs, at least one.
pub(super) fn ports(settings: &Settings) -> u32 {
    u32::try_from(settings.ports.len().max(1)).unwrap_or(u32::MAX)
}

/// Fills the maps, before the programs see a packet.
pub(super) fn fill(ebpf: &mut Ebpf, settings: &Settings) -> Result<(), DatapathError> {
    let mut clients: LpmTrie<&mut MapData, [u32; 4], u8> = map(ebpf, "CLIENTS")?;
    for (length, address, in_scope) in prefixes(&settings.clients) {
        let key = Key::new(length.into(), address);
        let inserted = clients.insert(&key, u8::from(in_scope), 0);
        inserted.map_err(|error| DatapathError::Map {
            map: "CLIENTS",
            error,
        })?;
    }
    let mut ports: HashMap<&mut MapData, u32, u8> = map(ebpf, "PORTS")?;
    for &port in &settings.ports {
        let inserted = ports.insert(u32::from(port), 1, 0);
        inserted.map_err(|error| DatapathError::Map {
            map: "PORTS",
            error,
        })?;
    }
    Ok(())
}

fn map<'a, T: TryFrom<&'a mut Map>>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<T, DatapathError> {
    ebpf.map_mut(name)
        .and_then(|map| map.try_into().ok())
        .ok_or(DatapathError::Missing(name))
}

/// Prefixes of addresses as flows have them, and whether they are in scope.
fn prefixes(clients: &[IpNet]) -> Vec<(u8, [u32; 4], bool)> {
    let all_v4 = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
    let mut prefixes: Vec<_> = clients
        .iter()
        .map(|client| match client {
            IpNet::V4(v4) => {
                let length = v4.prefix_len() + MAPPED_BITS;
                (length, words(v4.network().into()), true)
            }
            IpNet::V6(v6) => (v6.prefix_len(), words(v6.network().into()), true),
        })
        .collect();
    // Who asks for all of IPv6 does not ask for IPv4.
    let holds_v4 =
        |prefix: &Ipv6Net| prefix.prefix_len() <= MAPPED_BITS && prefix.contains(&all_v4);
    let any_holds_v4 = clients
        .iter()
        .any(|client| matches!(client, IpNet::V6(v6) if holds_v4(v6)));
    let asks_for_v4 = clients.iter().any(|client| {
        client.contains(&IpAddr::from(Ipv4Addr::UNSPECIFIED)) && client.prefix_len() == 0
    });
    if any_holds_v4 && !asks_for_v4 {
        prefixes.push((MAPPED_BITS, words(all_v4.into()), false));
    }
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes_of(clients: &[&str]) -> Vec<(u8, [u32; 4], bool)> {
        let clients: Vec<_> = clients.iter().map(|text| text.parse().unwrap()).collect();
        prefixes(&clients)
    }

    #[test]
    fn ipv4_prefixes_are_mapped_into_ipv6() {
        let [prefix] = prefixes_of(&["10.1.0.0/16"])[..] else {
            panic!("one prefix");
        };
        let mapped = [0, 0, 0xffff_u32.to_be(), 0x0a01_0000_u32.to_be()];
        assert_eq!(prefix, (112, mapped, true));
    }

    #[test]
    fn all_of_ipv6_is_nothing_of_ipv4() {
        let of_v4 = |prefixes: Vec<(u8, [u32; 4], bool)>| {
            let found = prefixes.into_iter().find(|&(length, ..)| length == 96);
            found.map(|(.., in_scope)| in_scope)
        };
        assert_eq!(of_v4(prefixes_of(&["::/0"])), Some(false));
        assert_eq!(of_v4(prefixes_of(&["::/64", "10.0.0.0/8"])), Some(false));
        assert_eq!(of_v4(prefixes_of(&["::/0", "0.0.0.0/0"])), Some(true));
        assert_eq!(of_v4(prefixes_of(&["2001:db8::/32"])), None);
    }

    #[test]
    fn a_prefix_given_twice_is_one() {
        assert_eq!(prefixes_of(&["10.0.0.0/8", "10.0.0.0/8"]).len(), 1);
    }
}
