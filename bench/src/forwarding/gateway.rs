//! The gateway that forwards, and what can be on it.

use std::{collections::HashMap, fs, net::IpAddr};

use anyhow::{Context as _, Result, ensure};
use filter_user::{
    counters::Counters,
    datapath::Datapath,
    lab::topology::{Host, Topology, WAN},
    settings::{Ingress, Mode, Settings},
};
use nix::{ifaddrs::getifaddrs, net::if_::if_nametoindex};

use super::{
    empty::Empty,
    stream::{Address, FLOWS, Kind, Opened, Sender, Stream},
};
use crate::rivals::{Loaded, Rules};

/// Of the far ends: nobody's, so that whoever gets a frame throws it away at once.
const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
const CLIENT: [u8; 4] = [10, 0, 1, 9];
const SERVER: [u8; 4] = [203, 0, 113, 9];

/// Sequence numbers that follow the SYNs.
const CLIENT_SEQ: u32 = 1000;
const SERVER_SEQ: u32 = 5000;
/// Random flows in so many frames leave none out: one is with a probability of e^-16.
const ALL: u32 = 16 * FLOWS as u32;

/// Neighbours that never answer, and need not be asked. `topology`: with one host.
pub(super) fn prepare(topology: &Topology, host: &Host) -> Result<()> {
    let lan = host.gateway_interface.clone();
    // A card has checked the checksum of what it delivers; conntrack need not do it again.
    topology
        .gateway
        .sysctl("netfilter/nf_conntrack_checksum", "0")?;
    topology.gateway.netlink(async move |handle| {
        for (interface, address) in [(lan.as_str(), CLIENT), (WAN, SERVER)] {
            handle
                .neighbours()
                .add(if_nametoindex(interface)?, IpAddr::from(address))
                .link_layer_address(&NOBODY)
                .execute()
                .await?;
        }
        Ok(())
    })
}

/// What is on the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) hooks: Hooks,
    pub(super) rules: &'static [Rules],
}

/// What is on the hooks of the interface to the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hooks {
    Free,
    /// Programs that only answer.
    Empty,
    Lastack(Mode),
}

/// What is sent and timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    PureAck,
    Data,
}

impl Path {
    pub(super) const ALL: [Self; 2] = [Self::PureAck, Self::Data];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::PureAck => "pure ACK, client to server",
            Self::Data => "1000 octets, server to client",
        }
    }
}

/// The calling thread's namespace as a gateway.
pub(super) struct Gateway {
    /// A client's SYN, the server's answer, and the client's ACK.
    handshake: [Stream; 3],
    data: Stream,
    empty: Empty,
    enforce: Datapath,
    monitor: Datapath,
    _opened: [Opened; 2],
}

/// What a setup has put there.
struct Installed {
    hooks: Hooks,
    rules: Vec<Loaded>,
}

impl Gateway {
    /// `lan`: the interface to the clients.
    pub(super) fn new(lan: &str) -> Result<Self> {
        let opened = [Opened::new(lan)?, Opened::new(WAN)?];
        let (near_client, near_server) = (hardware_address(lan)?, hardware_address(WAN)?);
        let stream = |sender, syn, ack, payload| {
            let (client, server) = match sender {
                Sender::Client => (NOBODY, near_client),
                Sender::Server => (near_server, NOBODY),
            };
            let client = Address {
                ethernet: client,
                ip: CLIENT,
            };
            let server = Address {
                ethernet: server,
                ip: SERVER,
            };
            let (from, to, interface, seq) = match sender {
                Sender::Client => (client, server, lan, CLIENT_SEQ),
                Sender::Server => (server, client, WAN, SERVER_SEQ),
            };
            let kind = Kind {
                sender,
                seq: seq - u32::from(syn),
                ack,
                syn,
                payload,
            };
            Stream::new(kind, from, to, interface)
        };
        let load = |mode| {
            Datapath::load(&Settings {
                mode,
                // Live frames enter behind the driver, where XDP is.
                ingress: Ingress::Tc,
                ..Settings::default()
            })
        };
        Ok(Self {
            handshake: [
                stream(Sender::Client, true, None, 0)?,
                stream(Sender::Server, true, Some(CLIENT_SEQ), 0)?,
                stream(Sender::Client, false, Some(SERVER_SEQ), 0)?,
            ],
            data: stream(Sender::Server, false, Some(CLIENT_SEQ), 1000)?,
            empty: Empty::new()?,
            enforce: load(Mode::Enforce)?,
            monitor: load(Mode::Monitor)?,
            _opened: opened,
        })
    }

    /// Nanoseconds a packet. Fails if not every packet was forwarded, or if one was not the
    /// ordinary packet that it is meant to be.
    pub(super) fn measure(&mut self, setup: Setup, path: Path, packets: u32) -> Result<f64> {
        let installed = self.install(setup)?;
        let time = self.time(path, packets, setup);
        let removed = self.remove(installed);
        let time = time?;
        removed?;
        Ok(time)
    }

    fn time(&mut self, path: Path, packets: u32, setup: Setup) -> Result<f64> {
        let is_tracked = setup.rules.iter().any(|rules| rules.needs_conntrack());
        if is_tracked {
            for step in &self.handshake {
                step.send(ALL)?;
            }
        }
        let stream = match path {
            Path::PureAck => &self.handshake[2],
            Path::Data => &self.data,
        };
        // Brings what is to run into the caches, and opens the window for the client.
        self.handshake[2].send(packets / 20 + 1)?;
        stream.send(packets / 20 + 1)?;
        let (before, invalid) = (forwarded()?, invalid()?);
        let took = stream.send(packets)?;
        let forwarded = forwarded()? - before;
        ensure!(
            forwarded == u64::from(packets),
            "of {packets} packets {forwarded} were forwarded"
        );
        ensure!(
            self::invalid()? == invalid,
            "conntrack called packets invalid that are not"
        );
        if is_tracked {
            let tracked = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count")?;
            ensure!(
                tracked.trim().parse() == Ok(FLOWS),
                "conntrack knows {} connections, and not {FLOWS}",
                tracked.trim()
            );
        }
        Ok(took.as_secs_f64() * 1e9 / f64::from(packets))
    }

    fn install(&mut self, setup: Setup) -> Result<Installed> {
        let mut installed = Installed {
            hooks: setup.hooks,
            rules: Vec::new(),
        };
        match setup.hooks {
            Hooks::Free => {}
            Hooks::Empty => self.empty.attach(WAN)?,
            Hooks::Lastack(mode) => drop(self.datapath(mode).attach(WAN)?),
        }
        for rules in setup.rules {
            installed.rules.push(rules.load(&[WAN])?);
        }
        Ok(installed)
    }

    fn remove(&mut self, installed: Installed) -> Result<()> {
        match installed.hooks {
            Hooks::Free => {}
            Hooks::Empty => self.empty.detach()?,
            Hooks::Lastack(mode) => {
                let datapath = self.datapath(mode);
                let counters = datapath.counters()?;
                datapath.detach()?;
                let is_ordinary = |counters: &Counters| *counters == Counters::default();
                ensure!(
                    counters.iter().all(|served| is_ordinary(&served.counters)),
                    "lastack took ordinary packets for those of a closing flow"
                );
            }
        }
        for rules in installed.rules {
            rules.unload()?;
        }
        Ok(())
    }

    const fn datapath(&mut self, mode: Mode) -> &mut Datapath {
        match mode {
            Mode::Enforce => &mut self.enforce,
            Mode::Monitor => &mut self.monitor,
        }
    }
}

fn hardware_address(interface: &str) -> Result<[u8; 6]> {
    getifaddrs()?
        .filter(|address| address.interface_name == interface)
        .find_map(|address| address.address?.as_link_addr()?.addr())
        .with_context(|| format!("{interface} has no Ethernet address"))
}

/// Packets that the calling thread's namespace has forwarded, past all rules. What lastack
/// drops behind them, it counts.
fn forwarded() -> Result<u64> {
    let figures = fs::read_to_string("/proc/thread-self/net/snmp")?;
    let mut lines = figures
        .lines()
        .filter_map(|line| line.strip_prefix("Ip:"))
        .map(str::split_whitespace);
    lines
        .next()
        .zip(lines.next())
        .and_then(|(names, figures)| {
            names
                .zip(figures)
                .find(|(name, _)| *name == "ForwDatagrams")
        })
        .map(|(_, figure)| figure)
        .context("the kernel does not count what it forwards")?
        .parse()
        .context("the kernel counts in no figures")
}

/// Packets that conntrack has called invalid; 0 where the kernel does not say.
fn invalid() -> Result<u64> {
    let Ok(table) = fs::read_to_string("/proc/thread-self/net/stat/nf_conntrack") else {
        return Ok(0);
    };
    let mut lines = table.lines();
    let names = lines.next().unwrap_or_default().split_whitespace();
    let columns: HashMap<_, _> = names
        .enumerate()
        .map(|(column, name)| (name, column))
        .collect();
    let column = columns
        .get("invalid")
        .context("conntrack does not count what is invalid")?;
    lines
        .map(|line| {
            let figure = line.split_whitespace().nth(*column).unwrap_or_default();
            u64::from_str_radix(figure, 16).context("conntrack counts in no figures")
        })
        .sum()
}
