//! What a loaded instance was asked to do.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use clap::ValueEnum;
use ipnet::IpNet;
use serde::Serialize;

pub use filter_common::{Closer, Mode};

/// Where the interface leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// To the servers: clients' segments leave by it.
    Wan,
    /// To the clients: their segments arrive on it.
    Lan,
}

/// What sees arriving packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ingress {
    /// Native XDP where it can be had, else TC.
    Auto,
    /// XDP.
    Xdp,
    /// TC.
    Tc,
}

/// How XDP is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum XdpMode {
    /// As the other options ask: native.
    Auto,
    /// By the driver.
    Native,
    /// By the kernel, behind the driver; copies.
    Generic,
}

/// How TC is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TcMode {
    /// TCX where the kernel has it (6.6), else clsact.
    Auto,
    /// TCX links, which end with the process.
    Tcx,
    /// A filter in a clsact qdisc.
    Clsact,
}

/// Settings of one instance; fixed while its programs are loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the interfaces lead.
    pub role: Role,
    /// Drop, or only count.
    pub mode: Mode,
    /// Whose FIN makes a flow.
    pub closer: Closer,
    /// R2: drop the server's RST after the close.
    pub rst_guard: bool,
    /// R1.4: how long after a forwarded ACK another may be dropped.
    pub window: Duration,
    /// R1.5: how many segments of one flow may be dropped; at least 1.
    pub budget: u8,
    /// Capacity of the flow table; at least 1.
    pub max_flows: u32,
    /// Idle lifetime of a flow that is not closed yet.
    pub half_closed_timeout: Duration,
    /// Idle lifetime of a closed flow.
    pub closed_timeout: Duration,
    /// What sees arriving packets.
    pub ingress: Ingress,
    /// How XDP is attached.
    pub xdp_mode: XdpMode,
    /// How TC is attached.
    pub tc_mode: TcMode,
    /// Whose connections are looked at; empty: everybody's.
    pub clients: Vec<IpNet>,
    /// To which of the servers' ports; empty: to all.
    pub ports: Vec<u16>,
    /// Whether the programs report each drop and each reset.
    pub events: bool,
    /// Of whom the programs log each decision.
    pub log_decisions: LogDecisions,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            role: Role::Wan,
            mode: Mode::Enforce,
            closer: Closer::Client,
            rst_guard: false,
            window: Duration::from_millis(500),
            budget: 3,
            max_flows: 65_536,
            half_closed_timeout: Duration::from_hours(1),
            closed_timeout: Duration::from_mins(4),
            ingress: Ingress::Auto,
            xdp_mode: XdpMode::Auto,
            tc_mode: TcMode::Auto,
            clients: Vec::new(),
            ports: Vec::new(),
            events: false,
            log_decisions: LogDecisions::Off,
        }
    }
}

/// Whose segments' decisions the programs log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogDecisions {
    /// Nobody's.
    Off,
    /// Everybody's.
    All,
    /// Those of one client's connections.
    Client(IpAddr),
}

impl FromStr for LogDecisions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" | "false" | "no" | "0" => Ok(Self::Off),
            "all" | "true" | "yes" | "1" => Ok(Self::All),
            address => address
                .parse()
                .map(Self::Client)
                .map_err(|_| "neither an address nor all nor off".to_owned()),
        }
    }
}

impl fmt::Display for LogDecisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::All => f.write_str("all"),
            Self::Client(client) => client.fmt(f),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wan => "wan",
            Self::Lan => "lan",
        })
    }
}
