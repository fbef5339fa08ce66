//! What a loaded instance was asked to do.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use clap::ValueEnum;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use filter_common::{Closer, Mode};

/// Where the interface leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// To the servers: clients' segments leave by it.
    Wan,
    /// To the clients: their segments arrive on it.
    Lan,
}

/// What sees arriving packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TcMode {
    /// TCX where the kernel has it (6.6), else clsact.
    Auto,
    /// TCX links, which end with the process.
    Tcx,
    /// A filter in a clsact qdisc.
    Clsact,
}

/// Settings of one instance; fixed in its programs when they are loaded.
///
/// In JSON by the names of the options, for `status` and for whoever takes over what is pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Settings {
    /// Where the interfaces lead.
    pub role: Role,
    /// Drop, or only count.
    #[serde(with = "ModeName")]
    pub mode: Mode,
    /// Whose FIN makes a flow.
    #[serde(with = "CloserName")]
    pub closer: Closer,
    /// R2: drop the server's RST after the close.
    pub rst_guard: bool,
    /// R1.4: how long after a forwarded ACK another may be dropped.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// R1.5: how many segments of one flow may be dropped; at least 1.
    pub budget: u8,
    /// Capacity of the flow table; at least 1.
    pub max_flows: u32,
    /// Idle lifetime of a flow that is not closed yet.
    #[serde(with = "humantime_serde")]
    pub half_closed_timeout: Duration,
    /// The same while only one side was seen.
    #[serde(with = "humantime_serde")]
    pub one_sided_timeout: Duration,
    /// Idle lifetime of a closed flow.
    #[serde(with = "humantime_serde")]
    pub closed_timeout: Duration,
    /// What sees arriving packets.
    pub ingress: Ingress,
    /// How XDP is attached.
    pub xdp_mode: XdpMode,
    /// How TC is attached.
    pub tc_mode: TcMode,
    /// Whose connections are looked at; empty: everybody's.
    #[serde(rename = "client")]
    pub clients: Vec<IpNet>,
    /// To which of the servers' ports; empty: to all.
    #[serde(rename = "port")]
    pub ports: Vec<u16>,
    /// Whether the programs report each drop and each reset.
    pub events: bool,
    /// Of whom the programs log each decision.
    pub log_decisions: LogDecisions,
}

impl Settings {
    /// These, with what can change while the programs are at work from `new`.
    #[must_use]
    pub fn changed_to(&self, new: &Self) -> Self {
        Self {
            mode: new.mode,
            rst_guard: new.rst_guard,
            window: new.window,
            budget: new.budget,
            half_closed_timeout: new.half_closed_timeout,
            one_sided_timeout: new.one_sided_timeout,
            closed_timeout: new.closed_timeout,
            clients: new.clients.clone(),
            ports: new.ports.clone(),
            events: new.events,
            log_decisions: new.log_decisions,
            ..self.clone()
        }
    }
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
            one_sided_timeout: Duration::from_mins(1),
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

/// Names of the modes.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Mode", rename_all = "lowercase")]
enum ModeName {
    Enforce,
    Monitor,
}

/// Names of those whose FIN makes a flow.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Closer", rename_all = "lowercase")]
enum CloserName {
    Client,
    Either,
}

/// Whose segments' decisions the programs log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
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

impl From<LogDecisions> for String {
    fn from(log: LogDecisions) -> Self {
        log.to_string()
    }
}

impl TryFrom<String> for LogDecisions {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_from_json_as_they_were() {
        let settings = Settings {
            mode: Mode::Monitor,
            closer: Closer::Either,
            window: Duration::from_millis(1500),
            clients: vec!["10.0.0.0/8".parse().unwrap()],
            ports: vec![80],
            log_decisions: LogDecisions::Client("fd00::1".parse().unwrap()),
            ..Settings::default()
        };
        let json = serde_json::to_value(&settings).unwrap();
        assert_eq!(json["mode"], "monitor");
        assert_eq!(json["window"], "1s 500ms");
        assert_eq!(json["half-closed-timeout"], "1h");
        assert_eq!(json["client"][0], "10.0.0.0/8");
        assert_eq!(serde_json::from_value::<Settings>(json).unwrap(), settings);
    }
}
