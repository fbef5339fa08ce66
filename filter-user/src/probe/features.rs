//! What an interface's driver can do, and which of its offloads are on.

use std::io;

use netlink_packet_core::NLM_F_ACK;
use netlink_sys::protocols::NETLINK_GENERIC;

use super::attributes::{Message, attributes, text, value};
use crate::datapath::netlink::ask;

/// What a driver says of its XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct XdpFeatures {
    /// It runs XDP programs.
    pub(crate) native: bool,
    /// It hands them frames that do not fit in one buffer.
    pub(crate) multi_buffer: bool,
}

/// Offloads that are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offloads {
    /// Arriving segments are merged, and cannot be taken apart again.
    pub(crate) lro: bool,
    /// Arriving segments are merged by the rules of GRO.
    pub(crate) gro_hw: bool,
    /// TC filters can be put into the hardware.
    pub(crate) tc: bool,
}

/// Asks the driver of the interface with that index; none where the kernel cannot tell, which
/// those before 6.3 cannot.
///
/// Source: `Documentation/netlink/specs/netdev.yaml`
/// (<https://github.com/torvalds/linux/blob/v6.18/Documentation/netlink/specs/netdev.yaml>).
pub(crate) fn xdp(index: u32) -> io::Result<Option<XdpFeatures>> {
    const DEV_GET: u8 = 1;
    const IFINDEX: u16 = 1;
    const XDP_FEATURES: u16 = 3;
    const BASIC: u64 = 1;
    const RX_SG: u64 = 32;

    let Some(family) = family("netdev")? else {
        return Ok(None);
    };
    let question = Message::new(family, [DEV_GET, 1, 0, 0]).with(IFINDEX, &index.to_ne_bytes());
    let mut features = None;
    ask(NETLINK_GENERIC, question, NLM_F_ACK, |answer| {
        let value = answer.value(XDP_FEATURES);
        features = value.and_then(|value| value.try_into().ok());
    })?;
    Ok(features.map(u64::from_ne_bytes).map(|bits| XdpFeatures {
        native: bits & BASIC != 0,
        multi_buffer: bits & RX_SG != 0,
    }))
}

/// Asks which offloads the interface with that index has on. Needs kernel 5.7.
///
/// Source: <https://docs.kernel.org/networking/ethtool-netlink.html#features-get>.
pub(crate) fn offloads(index: u32) -> io::Result<Offloads> {
    const FEATURES_GET: u8 = 11;
    const HEADER: u16 = 1;
    const DEV_INDEX: u16 = 1;
    const ACTIVE: u16 = 4;

    let family = family("ethtool")?.ok_or(io::ErrorKind::Unsupported)?;
    let question = Message::new(family, [FEATURES_GET, 1, 0, 0]);
    let question = question.with_nested(HEADER, DEV_INDEX, &index.to_ne_bytes());
    let mut names = None;
    ask(NETLINK_GENERIC, question, NLM_F_ACK, |answer| {
        names = answer.value(ACTIVE).map(set_bits);
    })?;
    let names = names.ok_or(io::ErrorKind::InvalidData)?;
    let is_on = |name: &str| names.iter().any(|on| on == name);
    Ok(Offloads {
        lro: is_on("rx-lro"),
        gro_hw: is_on("rx-gro-hw"),
        tc: is_on("hw-tc-offload"),
    })
}

/// The names of the bits in a set without a mask: those that are named are set.
/// <https://docs.kernel.org/networking/ethtool-netlink.html#bit-sets>
fn set_bits(set: &[u8]) -> Vec<String> {
    const BITS: u16 = 3;
    const BIT_NAME: u16 = 2;

    let bits = value(set, BITS).unwrap_or_default();
    attributes(bits)
        .filter_map(|(_, bit)| value(bit, BIT_NAME).map(text))
        .collect()
}

/// The number of a family of generic netlink; none where the kernel has no such family.
fn family(name: &str) -> io::Result<Option<u16>> {
    const CONTROLLER: u16 = 16;
    const GET_FAMILY: u8 = 3;
    const FAMILY_ID: u16 = 1;
    const FAMILY_NAME: u16 = 2;

    let name = [name.as_bytes(), &[0]].concat();
    let question = Message::new(CONTROLLER, [GET_FAMILY, 1, 0, 0]).with(FAMILY_NAME, &name);
    let mut id = None;
    let done = ask(NETLINK_GENERIC, question, NLM_F_ACK, |answer| {
        let value = answer.value(FAMILY_ID);
        id = value.and_then(|value| value.try_into().ok());
    });
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        done => done.map(|()| id.map(u16::from_ne_bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::attributes::nest, *};

    /// The kernel's own loopback interface is in every namespace, and needs no rights.
    const LOOPBACK: u32 = 1;

    #[test]
    fn the_kernel_names_families_and_features() {
        assert_eq!(family("no such family").unwrap(), None);
        assert!(family("ethtool").unwrap().is_some());
        assert_eq!(
            offloads(LOOPBACK).unwrap(),
            Offloads {
                lro: false,
                gro_hw: false,
                tc: false
            }
        );
        if let Some(features) = xdp(LOOPBACK).unwrap() {
            assert!(!features.native);
        }
        assert!(offloads(u32::MAX >> 1).is_err());
    }

    #[test]
    fn a_bit_set_is_read_by_its_names() {
        let bit = |name| nest(&[(1, &[9, 0, 0, 0]), (2, name)]);
        let bits = nest(&[(1, &bit(b"rx-lro\0")), (1, &bit(b"rx-gro\0"))]);
        assert_eq!(
            set_bits(&nest(&[(1, &[]), (3, &bits)])),
            ["rx-lro", "rx-gro"]
        );
        assert!(set_bits(&[]).is_empty());
    }
}
