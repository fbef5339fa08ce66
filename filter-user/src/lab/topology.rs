//! The lab's network: a gateway between a server and the clients, as real ones are between
//! the Internet and a LAN.

use std::{
    fs,
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
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::namespace::Namespace;

/// The gateway's interface to the server: the one to protect.
pub const WAN: &str = "wan0";
/// The gateway's interface to the client with the fault.
pub const LAN: &str = "lan0";
/// The server's IPv4 address.
pub const SERVER_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// The server's IPv6 address.
pub const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// The server's retransmission timer, at the least.
///
/// A busy machine may not run the client for a while. A retransmitted FIN asks for another
/// ACK, and the figures of a lossless network should have none.
const SERVER_RTO_MIN: Duration = Duration::from_secs(2);

/// How long the kernel may take until an interface is up.
const LINK_DEADLINE: Duration = Duration::from_secs(5);

/// A gateway and a server, and what was put behind the gateway.
pub struct Topology {
    /// The namespace with the server, whose interface is `server0`.
    pub server: Namespace,
    /// The namespace that forwards between [`WAN`] and the clients.
    pub gateway: Namespace,
    hosts: u8,
}

/// An ordinary host behind the gateway: a namespace that uses the kernel's stack.
pub struct Host {
    /// Its namespace; its interface there is `eth0`.
    pub namespace: Namespace,
    /// Its addresses and the gateway's.
    pub subnet: Subnet,
    /// The gateway's interface to it.
    pub gateway_interface: String,
}

/// A subnet with the gateway and one neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The gateway's IPv4 address; prefix length [`PREFIX_V4`](Self::PREFIX_V4).
    pub gateway_v4: Ipv4Addr,
    /// The gateway's IPv6 address; prefix length [`PREFIX_V6`](Self::PREFIX_V6).
    pub gateway_v6: Ipv6Addr,
    /// The neighbour's IPv4 address.
    pub neighbour_v4: Ipv4Addr,
    /// The neighbour's IPv6 address.
    pub neighbour_v6: Ipv6Addr,
}

/// The TAP device of a client in user space, and who the client is there.
pub struct ClientPort {
    /// Nonblocking; carries Ethernet frames.
    pub tap: SyncDevice,
    /// The client's addresses and the gateway's.
    pub subnet: Subnet,
    /// The client's Ethernet address.
    pub hardware_address: [u8; 6],
}

impl Subnet {
    /// Length of the IPv4 prefix.
    pub const PREFIX_V4: u8 = 24;
    /// Length of the IPv6 prefix.
    pub const PREFIX_V6: u8 = 64;

    const WAN: Self = Self {
        gateway_v4: Ipv4Addr::new(203, 0, 113, 1),
        gateway_v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
        neighbour_v4: SERVER_V4,
        neighbour_v6: SERVER_V6,
    };

    /// The subnet of the gateway's interface `lan{number}`.
    const fn lan(number: u8) -> Self {
        Self {
            gateway_v4: Ipv4Addr::new(10, 0, number, 1),
            gateway_v6: Ipv6Addr::new(0xfd00, 0, 0, number as u16, 0, 0, 0, 1),
            neighbour_v4: Ipv4Addr::new(10, 0, number, 2),
            neighbour_v6: Ipv6Addr::new(0xfd00, 0, 0, number as u16, 0, 0, 0, 2),
        }
    }

    fn gateway(self) -> [(IpAddr, u8); 2] {
        [
            (self.gateway_v4.into(), Self::PREFIX_V4),
            (self.gateway_v6.into(), Self::PREFIX_V6),
        ]
    }

    fn neighbour(self) -> [(IpAddr, u8); 2] {
        [
            (self.neighbour_v4.into(), Self::PREFIX_V4),
            (self.neighbour_v6.into(), Self::PREFIX_V6),
        ]
    }
}

impl Topology {
    /// Makes the two namespaces and the link between them.
    pub fn new() -> anyhow::Result<Self> {
        let server = namespace("server")?;
        let gateway = namespace("gateway")?;
        gateway.sysctl("ipv4/ip_forward", "1")?;
        gateway.sysctl("ipv6/conf/all/forwarding", "1")?;
        // A tail loss probe is a retransmission too, a few milliseconds after the FIN.
        server.sysctl("ipv4/tcp_early_retrans", "0")?;
        connect(
            &gateway,
            WAN,
            &server,
            "server0",
            Subnet::WAN,
            Some(SERVER_RTO_MIN),
        )?;
        Ok(Self {
            server,
            gateway,
            hosts: 0,
        })
    }

    /// Puts the TAP device [`LAN`] of a client in user space behind the gateway. One such
    /// client at a time.
    pub fn add_client(&self) -> anyhow::Result<ClientPort> {
        let subnet = Subnet::lan(0);
        let hardware_address = [0x02, 0, 0, 0, 0, 0x02];
        let tap = self
            .gateway
            .run(|| {
                let tap = DeviceBuilder::new()
                    .name(LAN)
                    .layer(Layer::L2)
                    .mac_addr([0x02, 0, 0, 0, 0, 0x01])
                    // Room for a burst of all connections at once: this network loses nothing.
                    .tx_queue_len(16_384)
                    .build_sync()?;
                tap.set_nonblocking(true)?;
                Ok::<_, std::io::Error>(tap)
            })
            .context("could not make a TAP device (is /dev/net/tun there, and the module tun?)")?;
        self.gateway.netlink(async move |handle| {
            let index = if_nametoindex(LAN)?;
            configure(&handle, index, subnet.gateway()).await?;
            for (address, _) in subnet.neighbour() {
                let neighbour = handle.neighbours().add(index, address);
                neighbour
                    .link_layer_address(&hardware_address)
                    .execute()
                    .await?;
            }
            wait_until_up(LAN)
        })?;
        Ok(ClientPort {
            tap,
            subnet,
            hardware_address,
        })
    }

    /// Puts an ordinary host behind the gateway.
    pub fn add_host(&mut self) -> anyhow::Result<Host> {
        self.hosts = self.hosts.checked_add(1).context("too many hosts")?;
        let subnet = Subnet::lan(self.hosts);
        let gateway_interface = format!("lan{}", self.hosts);
        let namespace = namespace("host")?;
        connect(
            &self.gateway,
            &gateway_interface,
            &namespace,
            "eth0",
            subnet,
            None,
        )?;
        Ok(Host {
            namespace,
            subnet,
            gateway_interface,
        })
    }
}

/// Makes a namespace with a loopback interface and with IPv6 addresses that can be used at
/// once.
fn namespace(name: &'static str) -> anyhow::Result<Namespace> {
    let namespace = Namespace::new(name)?;
    // Nobody else is here to have taken an address.
    for parameter in ["ipv6/conf/all/accept_dad", "ipv6/conf/default/accept_dad"] {
        namespace
            .sysctl(parameter, "0")
            .context("the lab needs IPv6")?;
    }
    namespace.netlink(async |handle| {
        let loopback = LinkUnspec::new_with_index(if_nametoindex("lo")?)
            .up()
            .build();
        Ok(handle.link().set(loopback).execute().await?)
    })?;
    Ok(namespace)
}

/// Connects a neighbour to the gateway by a veth pair and sends all its packets there.
fn connect(
    gateway: &Namespace,
    gateway_interface: &str,
    neighbour: &Namespace,
    neighbour_interface: &'static str,
    subnet: Subnet,
    rto_min: Option<Duration>,
) -> anyhow::Result<()> {
    let interface = gateway_interface.to_owned();
    let destination = neighbour.as_fd().try_clone_to_owned()?;
    gateway.netlink(async move |handle| {
        let pair = LinkVeth::new(&interface, neighbour_interface).build();
        handle.link().add(pair).execute().await?;
        let peer = LinkUnspec::new_with_index(if_nametoindex(neighbour_interface)?);
        let peer = peer.setns_by_fd(destination.as_raw_fd()).build();
        handle.link().set(peer).execute().await?;
        configure(
            &handle,
            if_nametoindex(interface.as_str())?,
            subnet.gateway(),
        )
        .await
    })?;
    neighbour.netlink(async move |handle| {
        let index = if_nametoindex(neighbour_interface)?;
        configure(&handle, index, subnet.neighbour()).await?;
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
        wait_until_up(neighbour_interface)
    })?;
    let interface = gateway_interface.to_owned();
    gateway.run(move || wait_until_up(&interface))
}

/// Gives an interface its addresses and sets it up.
async fn configure(
    handle: &Handle,
    index: u32,
    addresses: [(IpAddr, u8); 2],
) -> anyhow::Result<()> {
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

fn set_rto_min(route: &mut RouteMessage, rto_min: Duration) -> anyhow::Result<()> {
    const RTAX_RTO_MIN: u32 = 13;

    // The kernel heeds this metric only where it is locked.
    route.attributes.push(RouteAttribute::Metrics(vec![
        RouteMetric::Lock(1 << RTAX_RTO_MIN),
        RouteMetric::RtoMin(u32::try_from(rto_min.as_millis())?),
    ]));
    Ok(())
}

/// Waits until an interface of this thread's namespace passes packets and its addresses can
/// be used: before that, the kernel throws packets away and refuses to bind.
fn wait_until_up(interface: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + LINK_DEADLINE;
    loop {
        let running = getifaddrs()?.any(|address| {
            address.interface_name == interface
                && address.flags.contains(InterfaceFlags::IFF_RUNNING)
        });
        if running && !has_tentative_address(interface)? {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{interface} did not come up within {LINK_DEADLINE:?}");
        }
        thread::sleep(Duration::from_millis(1));
    }
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
