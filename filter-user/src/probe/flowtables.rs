//! Flowtables of nftables, which take forwarded connections past the stack.

use std::io;

use netlink_packet_core::NLM_F_DUMP;
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::attributes::{Message, attributes, text, value};
use crate::datapath::netlink::ask;

/// `NFNL_SUBSYS_NFTABLES`.
const NFTABLES: u16 = 10 << 8;

/// One flowtable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flowtable {
    /// The table that it is in, and its name there.
    pub(crate) name: String,
    /// The interfaces that it takes packets from.
    pub(crate) devices: Vec<Device>,
    /// Whether the hardware forwards what is in it (`flags offload`).
    pub(crate) in_hardware: bool,
}

/// What a flowtable says of where it takes packets from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// The interface with this name.
    Named(String),
    /// All whose names begin so; from kernel 6.16 on.
    Beginning(String),
}

impl Flowtable {
    /// Whether it takes packets from the interface with that name.
    pub(crate) fn has(&self, interface: &str) -> bool {
        self.devices.iter().any(|device| match device {
            Device::Named(name) => name == interface,
            Device::Beginning(prefix) => interface.starts_with(prefix.as_str()),
        })
    }
}

/// All flowtables. Needs CAP_NET_ADMIN.
///
/// Source: <https://github.com/torvalds/linux/blob/v6.18/include/uapi/linux/netfilter/nf_tables.h>
/// (`nft_flowtable_attributes`).
pub(crate) fn flowtables() -> io::Result<Vec<Flowtable>> {
    use nix::libc::{EINVAL, EPROTONOSUPPORT};
    const GET_FLOWTABLE: u16 = NFTABLES + 23;
    const NEW_FLOWTABLE: u16 = NFTABLES + 22;

    let mut tables = Vec::new();
    let question = Message::new(GET_FLOWTABLE, [0; 4]);
    let done = ask(NETLINK_NETFILTER, question, NLM_F_DUMP, |answer| {
        if answer.kind() == NEW_FLOWTABLE {
            tables.push(flowtable(&answer));
        }
    });
    match done {
        // A kernel without nftables.
        Err(error) if matches!(error.raw_os_error(), Some(EINVAL | EPROTONOSUPPORT)) => {
            Ok(Vec::new())
        }
        done => done.map(|()| tables),
    }
}

fn flowtable(message: &Message) -> Flowtable {
    const TABLE: u16 = 1;
    const NAME: u16 = 2;
    const HOOK: u16 = 3;
    const FLAGS: u16 = 7;
    const HOOK_DEVICES: u16 = 3;
    const DEVICE_NAME: u16 = 1;
    const DEVICE_PREFIX: u16 = 2;
    const HW_OFFLOAD: u32 = 1;

    let name = |kind| message.value(kind).map(text).unwrap_or_default();
    let hook = message.value(HOOK).unwrap_or_default();
    let flags = message.value(FLAGS).and_then(|flags| flags.try_into().ok());
    Flowtable {
        name: format!("{} {}", name(TABLE), name(NAME)),
        devices: attributes(value(hook, HOOK_DEVICES).unwrap_or_default())
            .filter_map(|(kind, name)| match kind {
                DEVICE_NAME => Some(Device::Named(text(name))),
                DEVICE_PREFIX => Some(Device::Beginning(text(name))),
                _ => None,
            })
            .collect(),
        in_hardware: flags.is_some_and(|flags| u32::from_be_bytes(flags) & HW_OFFLOAD != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::attributes::nest, *};

    #[test]
    fn a_flowtable_is_read_as_the_kernel_writes_it() {
        let devices = nest(&[(1, b"wan0\0"), (2, b"lan\0")]);
        let hook = nest(&[(1, &[0; 4]), (2, &[0; 4]), (3, &devices)]);
        let message = |flags: u32| {
            Message::new(NFTABLES + 22, [1, 0, 0, 0])
                .with(1, b"filter\0")
                .with(2, b"fast\0")
                .with(3, &hook)
                .with(7, &flags.to_be_bytes())
        };
        let expected = |in_hardware| Flowtable {
            name: "filter fast".to_owned(),
            devices: vec![
                Device::Named("wan0".to_owned()),
                Device::Beginning("lan".to_owned()),
            ],
            in_hardware,
        };
        assert_eq!(flowtable(&message(3)), expected(true));
        assert_eq!(flowtable(&message(2)), expected(false));
        let there = ["wan0", "wan01", "lan", "lan7", "wlan0"].map(|name| expected(true).has(name));
        assert_eq!(there, [true, false, true, true, false]);
    }
}
