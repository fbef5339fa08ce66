//! A link between the gateway and a neighbour, and the two interfaces at its ends.

use std::{
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd as _, AsRawFd as _},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::{
    ifaddrs::getifaddrs,
    net::if_::{InterfaceFlags, if_nametoindex},
};
use rtnetlink::{
    Handle, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::route::{RouteAttribute, RouteMessage, RouteMetric},
};
use tun_rs::{DeviceBuilder, Layer};

use super::{impairment::Impairment, namespace::Namespace, relay::Relay, topology::Subnet};

/// How long the kernel may take until an interface is up.
const DEADLINE: Duration = Duration::from_secs(5);

/// The gateway's Ethernet address on a TAP device.
pub(super) const GATEWAY_ADDRESS: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
/// Its neighbour's.
pub(super) const NEIGHBOUR_ADDRESS: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];

/// One end of a link.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) interface: &'a str,
}

/// Connects a neighbour to the gateway by a veth pair and sends all its packets there.
pub(super) fn connect(
    gateway: &End<'_>,
    neighbour: &End<'_>,
    subnet: Subnet,
    rto_min: Option<Duration>,
) -> anyhow::Result<()> {
    let (interface, peer) = (gateway.interface.to_owned(), neighbour.interface.to_owned());
    let destination = neighbour.namespace.as_fd().try_clone_to_owned()?;
    gateway.namespace.netlink(async move |handle| {
        let pair = LinkVeth::new(&interface, &peer).build();
        handle.link().add(pair).execute().await?;
        let peer = LinkUnspec::new_with_index(if_nametoindex(peer.as_str())?);
        let peer = peer.setns_by_fd(destination.as_raw_fd()).build();
        handle.link().set(peer).execute().await?;
        Ok(())
    })?;
    configure(gateway, subnet.gateway(), None)?;
    configure(neighbour, subnet.neighbour(), None)?;
    lead_to_gateway(neighbour.namespace, subnet, rto_min)?;
    for end in [gateway, neighbour] {
        wait_until_up(end)?;
    }
    Ok(())
}

/// Connects a neighbour to the gateway by two TAP devices and a relay between them, and sends
/// all its packets there.
pub(super) fn connect_impaired(
    gateway: &End<'_>,
    neighbour: &End<'_>,
    subnet: Subnet,
    rto_min: Duration,
    impairment: Impairment,
) -> anyhow::Result<Relay> {
    let gateway_card = card(gateway, subnet)?;
    let neighbour_card = tap(neighbour, NEIGHBOUR_ADDRESS)?;
    let known = Known {
        addresses: subnet.gateway(),
        hardware_address: GATEWAY_ADDRESS,
    };
    configure(neighbour, subnet.neighbour(), Some(known))?;
    lead_to_gateway(neighbour.namespace, subnet, Some(rto_min))?;
    wait_until_up(neighbour)?;
    Relay::start(gateway_card, neighbour_card, impairment)
}

/// Makes a TAP device of the gateway, up and with its neighbour's Ethernet address.
pub(super) fn card(gateway: &End<'_>, subnet: Subnet) -> anyhow::Result<File> {
    let card = tap(gateway, GATEWAY_ADDRESS)?;
    let known = Known {
        addresses: subnet.neighbour(),
        hardware_address: NEIGHBOUR_ADDRESS,
    };
    configure(gateway, subnet.gateway(), Some(known))?;
    wait_until_up(gateway)?;
    Ok(card)
}

fn tap(end: &End<'_>, hardware_address: [u8; 6]) -> anyhow::Result<File> {
    /// Room for a burst of all connections at once: the queue loses nothing.
    const QUEUE: u32 = 16_384;

    let interface = end.interface.to_owned();
    end.namespace
        .run(move || {
            let tap = DeviceBuilder::new()
                .name(interface)
                .layer(Layer::L2)
                .mac_addr(hardware_address)
                .tx_queue_len(QUEUE)
                .build_sync()?;
            tap.set_nonblocking(true)?;
            // The device lives as long as any file of it.
            Ok::<_, io::Error>(File::from(tap.as_fd().try_clone_to_owned()?))
        })
        .context("could not make a TAP device (is /dev/net/tun there, and the module tun?)")
}

/// A neighbour on a link that need not be asked for its Ethernet address.
struct Known {
    addresses: [(IpAddr, u8); 2],
    hardware_address: [u8; 6],
}

/// Sets an interface up and gives it its addresses.
fn configure(
    end: &End<'_>,
    addresses: [(IpAddr, u8); 2],
    neighbour: Option<Known>,
) -> anyhow::Result<()> {
    let interface = end.interface.to_owned();
    end.namespace.netlink(async move |handle| {
        let index = if_nametoindex(interface.as_str())?;
        set_up(&handle, index, addresses).await?;
        let Some(known) = neighbour else {
            return Ok(());
        };
        for (address, _) in known.addresses {
            let neighbour = handle.neighbours().add(index, address);
            neighbour
                .link_layer_address(&known.hardware_address)
                .execute()
                .await?;
        }
        Ok(())
    })
}

async fn set_up(handle: &Handle, index: u32, addresses: [(IpAddr, u8); 2]) -> anyhow::Result<()> {
    let up = LinkUnspec::new_with_index(index).up().build();
    handle.link().set(up).execute().await?;
    for (address, prefix_length) in addresses {
        handle
            .address()
            .add(index, address, prefix_length)
            .execute()
            .await?;
    }
    Ok(())
}

fn lead_to_gateway(
    neighbour: &Namespace,
    subnet: Subnet,
    rto_min: Option<Duration>,
) -> anyhow::Result<()> {
    neighbour.netlink(async move |handle| {
        let v4 = RouteMessageBuilder::<Ipv4Addr>::new()
            .gateway(subnet.gateway_v4)
            .build();
        let v6 = RouteMessageBuilder::<Ipv6Addr>::new()
            .gateway(subnet.gateway_v6)
            .build();
        for mut route in [v4, v6] {
            if let Some(rto_min) = rto_min {
                set_rto_min(&mut route, rto_min)?;
            }
            handle.route().add(route).execute().await?;
        }
        Ok(())
    })
}

fn set_rto_min(route: &mut RouteMessage, rto_min: Duration) -> anyhow::Result<()> {
    const RTAX_RTO_MIN: u32 = 13;

    // The kernel heeds this metric only where it is locked.
    route.attributes.push(RouteAttribute::Metrics(vec![
        RouteMetric::Lock(1 << RTAX_RTO_MIN),
        RouteMetric::RtoMin(u32::try_from(rto_min.as_millis())?),
    ]));
    Ok(())
}

/// Waits until an interface passes packets and its addresses can be used: before that, the
/// kernel throws packets away and refuses to bind.
fn wait_until_up(end: &End<'_>) -> anyhow::Result<()> {
    let interface = end.interface.to_owned();
    end.namespace.run(move || {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let running = getifaddrs()?.any(|address| {
                address.interface_name == interface
                    && address.flags.contains(InterfaceFlags::IFF_RUNNING)
            });
            if running && !has_tentative_address(&interface)? {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{interface} did not come up within {DEADLINE:?}");
            }
            thread::sleep(Duration::from_millis(1));
        }
    })
}

/// Whether the kernel has yet to confirm an IPv6 address, which it does in the background
/// even where it need not look for duplicates.
fn has_tentative_address(interface: &str) -> anyhow::Result<bool> {
    const IFA_F_TENTATIVE: u32 = 0x40;

    for line in fs::read_to_string("/proc/thread-self/net/if_inet6")?.lines() {
        if let [_address, _index, _prefix_length, _scope, flags, name] =
            line.split_whitespace().collect::<Vec<_>>()[..]
            && name == interface
            && u32::from_str_radix(flags, 16)? & IFA_F_TENTATIVE != 0
        {
            return Ok(true);
        }
    }
    Ok(false)
}
