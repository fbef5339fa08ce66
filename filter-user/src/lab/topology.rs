//! The lab's network: a gateway between a server and the clients, as real ones are between
//! the Internet and a LAN.
//!
//! Its links lose nothing, and nobody retransmits too early; or they are impaired, on both
//! sides of the gateway, and the hosts retransmit as Linux does, but sooner.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    net::if_::if_nametoindex,
    sys::socket::{
        AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt::SndBufForce,
    },
};
use rtnetlink::LinkUnspec;

use super::{
    impairment::Impairment,
    link::{self, End},
    namespace::Namespace,
    relay::{Relay, Sighting},
};

/// The gateway's interface to the server: the one to protect.
pub const WAN: &str = "wan0";
/// The gateway's second interface to the server, where it has one.
pub const WAN2: &str = "wan1";
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

/// Everybody's retransmission timer on impaired links, at the least: longer than Linux delays
/// an ACK, which is 40 ms.
const IMPAIRED_RTO_MIN: Duration = Duration::from_millis(50);

/// How hosts retransmit on impaired links: often enough that hardly anybody gives up, and at
/// least once a second, so that a close with several losses takes seconds and not minutes.
const PERSISTENCE: [(&str, &str); 6] = [
    ("ipv4/tcp_rto_max_ms", "1000"),
    ("ipv4/tcp_syn_retries", "30"),
    ("ipv4/tcp_synack_retries", "30"),
    ("ipv4/tcp_retries2", "30"),
    ("ipv4/tcp_orphan_retries", "30"),
    // Who runs out of these forgets TIME-WAIT at once.
    ("ipv4/tcp_max_tw_buckets", "262144"),
];

/// Bytes that the socket of a client in user space holds, the kernel's bookkeeping included.
const SOCKET_QUEUE: usize = 64 * 1024 * 1024;

/// A gateway and a server, and what was put behind the gateway.
pub struct Topology {
    /// By the gateway's interface. Dropped before the namespaces, whose devices they hold.
    links: HashMap<String, Relay>,
    impairment: Option<Impairment>,
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

/// The network card of a client in user space, and who the client is there.
pub struct ClientPort {
    /// Nonblocking; each read and each write carries an Ethernet frame.
    pub card: File,
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

    const WAN2: Self = Self {
        gateway_v4: Ipv4Addr::new(198, 51, 100, 1),
        gateway_v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 1),
        neighbour_v4: Ipv4Addr::new(198, 51, 100, 2),
        neighbour_v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 2),
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

    pub(super) fn gateway(self) -> [(IpAddr, u8); 2] {
        [
            (self.gateway_v4.into(), Self::PREFIX_V4),
            (self.gateway_v6.into(), Self::PREFIX_V6),
        ]
    }

    pub(super) fn neighbour(self) -> [(IpAddr, u8); 2] {
        [
            (self.neighbour_v4.into(), Self::PREFIX_V4),
            (self.neighbour_v6.into(), Self::PREFIX_V6),
        ]
    }
}

impl Topology {
    /// Makes the two namespaces and a link between them that loses nothing.
    pub fn new() -> anyhow::Result<Self> {
        Self::with(None)
    }

    /// The same with every link impaired, each by dice of its own.
    pub fn impaired(impairment: Impairment) -> anyhow::Result<Self> {
        Self::with(Some(impairment))
    }

    fn with(impairment: Option<Impairment>) -> anyhow::Result<Self> {
        let server = namespace("server")?;
        let gateway = namespace("gateway")?;
        gateway.sysctl("ipv4/ip_forward", "1")?;
        gateway.sysctl("ipv6/conf/all/forwarding", "1")?;
        if impairment.is_none() {
            // A tail loss probe is a retransmission too, a few milliseconds after the FIN.
            server.sysctl("ipv4/tcp_early_retrans", "0")?;
        }
        let mut topology = Self {
            links: HashMap::new(),
            impairment,
            server,
            gateway,
            hosts: 0,
        };
        let link = connect(
            &topology.gateway,
            WAN,
            End {
                namespace: &topology.server,
                interface: "server0",
            },
            Subnet::WAN,
            (Some(SERVER_RTO_MIN), impairment.map(|all| all.of_link(0))),
        )?;
        topology.keep(WAN, link);
        Ok(topology)
    }

    /// Puts the TAP device [`LAN`] of a client in user space behind the gateway. One such
    /// client at a time.
    pub fn add_client(&mut self) -> anyhow::Result<ClientPort> {
        let subnet = Subnet::lan(0);
        let gateway = End {
            namespace: &self.gateway,
            interface: LAN,
        };
        let mut card = link::card(&gateway, subnet)?;
        if let Some(impairment) = self.impairment {
            let (near, far) = user_space_cards().context("could not make a pair of sockets")?;
            let relay = Relay::start(card, near, impairment.of_link(1))?;
            self.links.insert(LAN.to_owned(), relay);
            card = far;
        }
        Ok(ClientPort {
            card,
            subnet,
            hardware_address: link::NEIGHBOUR_ADDRESS,
        })
    }

    /// Puts an ordinary host behind the gateway.
    pub fn add_host(&mut self) -> anyhow::Result<Host> {
        self.hosts = self.hosts.checked_add(1).context("too many hosts")?;
        let subnet = Subnet::lan(self.hosts);
        let gateway_interface = format!("lan{}", self.hosts);
        let namespace = namespace("host")?;
        let impairment = self
            .impairment
            .map(|all| all.of_link(1 + u64::from(self.hosts)));
        let link = connect(
            &self.gateway,
            &gateway_interface,
            End {
                namespace: &namespace,
                interface: "eth0",
            },
            subnet,
            (None, impairment),
        )?;
        self.keep(&gateway_interface, link);
        Ok(Host {
            namespace,
            subnet,
            gateway_interface,
        })
    }

    /// Cuts an impaired link, and gives every segment that was seen at either end of it, in
    /// the order of time.
    pub fn cut(&mut self, gateway_interface: &str) -> anyhow::Result<Vec<Sighting>> {
        let link = self.links.remove(gateway_interface);
        link.with_context(|| format!("{gateway_interface} has no impaired link"))?
            .cut()
    }

    fn keep(&mut self, gateway_interface: &str, relay: Option<Relay>) {
        self.links
            .extend(relay.map(|relay| (gateway_interface.to_owned(), relay)));
    }
}

/// A gateway with two uplinks, all of whose neighbours are in user space: what enters it, where
/// and when, is the caller's.
pub struct Wired {
    /// The namespace that forwards between [`LAN`], [`WAN`] and [`WAN2`].
    pub gateway: Namespace,
    /// Its Ethernet address on each of them.
    pub gateway_address: [u8; 6],
    /// The client.
    pub client: ClientPort,
    /// What is behind [`WAN`], by which the gateway reaches the server, and behind [`WAN2`].
    pub uplinks: [File; 2],
}

impl Wired {
    /// Makes it.
    pub fn new() -> anyhow::Result<Self> {
        let gateway = namespace("gateway")?;
        gateway.sysctl("ipv4/ip_forward", "1")?;
        gateway.sysctl("ipv6/conf/all/forwarding", "1")?;
        // The server's segments may come by either uplink.
        gateway.sysctl("ipv4/conf/all/rp_filter", "0")?;
        gateway.sysctl("ipv4/conf/default/rp_filter", "0")?;
        let card = |interface, subnet| {
            let end = End {
                namespace: &gateway,
                interface,
            };
            link::card(&end, subnet)
        };
        let subnet = Subnet::lan(0);
        let client = ClientPort {
            card: card(LAN, subnet)?,
            subnet,
            hardware_address: link::NEIGHBOUR_ADDRESS,
        };
        let uplinks = [card(WAN, Subnet::WAN)?, card(WAN2, Subnet::WAN2)?];
        Ok(Self {
            gateway,
            gateway_address: link::GATEWAY_ADDRESS,
            client,
            uplinks,
        })
    }
}

/// Connects a neighbour to the gateway; impaired, or with that minimum of its retransmission
/// timer.
fn connect(
    gateway: &Namespace,
    gateway_interface: &str,
    neighbour: End<'_>,
    subnet: Subnet,
    (rto_min, impairment): (Option<Duration>, Option<Impairment>),
) -> anyhow::Result<Option<Relay>> {
    let gateway = End {
        namespace: gateway,
        interface: gateway_interface,
    };
    let Some(impairment) = impairment else {
        link::connect(&gateway, &neighbour, subnet, rto_min)?;
        return Ok(None);
    };
    for (parameter, value) in PERSISTENCE {
        persist(neighbour.namespace, parameter, value)?;
    }
    link::connect_impaired(&gateway, &neighbour, subnet, IMPAIRED_RTO_MIN, impairment).map(Some)
}

/// Sets a parameter that older kernels lack: there, a close takes longer.
fn persist(
    namespace: &Namespace,
    parameter: &'static str,
    value: &'static str,
) -> anyhow::Result<()> {
    let exists = namespace.run(move || fs::exists(format!("/proc/sys/net/{parameter}")))?;
    if exists {
        namespace.sysctl(parameter, value)?;
    }
    Ok(())
}

/// Two ends of a wire in user space: each write is a frame.
fn user_space_cards() -> io::Result<(File, File)> {
    let (near, far) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
    )?;
    for socket in [&near, &far] {
        setsockopt(socket, SndBufForce, &SOCKET_QUEUE)?;
    }
    Ok((near.into(), far.into()))
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
