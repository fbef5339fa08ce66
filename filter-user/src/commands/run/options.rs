//! The options of `lastack run`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{
    ArgAction, Args, ValueEnum, ValueHint,
    builder::{BoolishValueParser, RangedU64ValueParser},
};
use ipnet::IpNet;

use crate::{
    commands::{
        FileOptions,
        attaching::{Attaching, Contradiction},
        identity::{Identity, MetricsAddress},
        interface_name, patience, prefix, span,
    },
    settings::{Closer, LogDecisions, Mode, Role, Settings},
    stream::Output,
};

/// Attaches the filter to interfaces and streams its counters until a signal
///
/// SIGINT, SIGTERM and SIGQUIT detach and end with status 0. So does SIGHUP, unless there is a file
/// of options: then that is read again, and what can change while lastack runs is applied. If
/// lastack dies, the kernel detaches all but clsact filters and what is pinned.
#[derive(Debug, Args)]
#[command(
    override_usage = "lastack run [OPTIONS] --iface <IF>\n       lastack run [OPTIONS] --config <FILE>"
)]
pub struct Arguments {
    /// An interface to serve (repeatable; all share one flow table)
    #[arg(
        long,
        value_name = "IF",
        required_unless_present = "config",
        env = "LASTACK_IFACE",
        hide_env_values = true,
        value_delimiter = ',',
        value_parser = interface_name
    )]
    pub(super) iface: Vec<String>,
    /// A TOML file of these options, by their long names: window = "500ms"; flags and the
    /// environment beat it
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        env = "LASTACK_CONFIG",
        hide_env_values = true
    )]
    pub(super) config: Option<PathBuf>,
    /// Start also if an interface is not there yet, and attach to it when it comes
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", value_parser = BoolishValueParser::new(),
          hide_default_value = true, hide_possible_values = true, env = "LASTACK_WAIT", hide_env_values = true)]
    pub(super) wait: bool,
    /// Where the interfaces lead: to the servers (wan) or to the clients (lan)
    #[arg(
        long,
        value_enum,
        default_value = "wan",
        env = "LASTACK_ROLE",
        hide_env_values = true
    )]
    pub(super) role: Role,
    /// Drop spurious ACKs (enforce), or only count them (monitor)
    #[arg(
        long,
        value_enum,
        default_value = "enforce",
        env = "LASTACK_MODE",
        hide_env_values = true
    )]
    pub(super) mode: ModeName,
    /// Whose FIN makes a connection known: the client's, or either's, for servers that keep no
    /// TIME-WAIT
    #[arg(
        long,
        value_enum,
        default_value = "client",
        env = "LASTACK_CLOSER",
        hide_env_values = true
    )]
    pub(super) closer: CloserName,
    /// Also drop the server's reset after a close (RFC 1337, fix F1)
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", value_parser = BoolishValueParser::new(),
          hide_default_value = true, hide_possible_values = true, env = "LASTACK_RST_GUARD", hide_env_values = true)]
    pub(super) rst_guard: bool,
    /// Look only at connections of these clients (10.0.0.0/8, 2001:db8::1); may be repeated
    #[arg(long, value_name = "CIDR", value_parser = prefix, value_delimiter = ',', env = "LASTACK_CLIENT", hide_env_values = true)]
    pub(super) client: Vec<IpNet>,
    /// Look only at connections to this port of servers; may be repeated
    #[arg(long, value_name = "PORT", value_delimiter = ',', env = "LASTACK_PORT", hide_env_values = true,
          value_parser = RangedU64ValueParser::<u16>::new().range(1..=65_535))]
    pub(super) port: Vec<u16>,
    /// How long after a forwarded ACK another may be dropped
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = span, env = "LASTACK_WINDOW", hide_env_values = true)]
    pub(super) window: Duration,
    /// How many segments of one connection may be dropped
    #[arg(long, value_name = "N", default_value = "3", env = "LASTACK_BUDGET", hide_env_values = true,
          value_parser = RangedU64ValueParser::<u8>::new().range(1..=255))]
    pub(super) budget: u8,
    /// How many closing connections are known at once; the oldest give way
    #[arg(long, value_name = "N", default_value = "65536", env = "LASTACK_MAX_FLOWS", hide_env_values = true,
          value_parser = RangedU64ValueParser::<u32>::new().range(1..=1 << 24))]
    pub(super) max_flows: u32,
    /// How long a connection is remembered after the FIN of one side alone
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = span,
          env = "LASTACK_HALF_CLOSED_TIMEOUT", hide_env_values = true)]
    pub(super) half_closed_timeout: Duration,
    /// The same while the other side has not answered; longer than a round trip and a retransmission
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = patience,
          env = "LASTACK_ONE_SIDED_TIMEOUT", hide_env_values = true)]
    pub(super) one_sided_timeout: Duration,
    /// How long a connection is remembered after it is closed
    #[arg(long, value_name = "TIME", default_value = "4m", value_parser = span,
          env = "LASTACK_CLOSED_TIMEOUT", hide_env_values = true)]
    pub(super) closed_timeout: Duration,
    #[command(flatten)]
    pub(super) attaching: Attaching,
    /// Where Prometheus scrapes /metrics, or off
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9433",
        env = "LASTACK_METRICS_ADDR",
        hide_env_values = true
    )]
    pub(super) metrics_addr: MetricsAddress,
    /// How often counters are printed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span, env = "LASTACK_INTERVAL", hide_env_values = true)]
    pub(super) interval: Duration,
    /// How counters are printed; json is one object a line
    #[arg(
        long,
        value_enum,
        default_value = "text",
        env = "LASTACK_OUTPUT",
        hide_env_values = true
    )]
    pub(super) output: Output,
    /// Print each drop and each reset, too
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", value_parser = BoolishValueParser::new(),
          hide_default_value = true, hide_possible_values = true, env = "LASTACK_EVENTS", hide_env_values = true)]
    pub(super) events: bool,
    /// Log each decision about a closing connection, from within the kernel: of all, or of one client
    #[arg(long, value_name = "CLIENT", num_args = 0..=1, require_equals = true, default_value = "off",
          default_missing_value = "all", env = "LASTACK_LOG_DECISIONS", hide_env_values = true)]
    pub(super) log_decisions: LogDecisions,
    #[command(flatten)]
    pub(super) identity: Identity,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ModeName {
    Enforce,
    Monitor,
}

/// Whose FIN makes a flow, as options name it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::commands) enum CloserName {
    Client,
    Either,
}

impl From<CloserName> for Closer {
    fn from(name: CloserName) -> Self {
        match name {
            CloserName::Client => Self::Client,
            CloserName::Either => Self::Either,
        }
    }
}

impl FileOptions for Arguments {
    fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    fn interfaces(&self) -> &[String] {
        &self.iface
    }

    fn contradiction(&self) -> Option<Contradiction> {
        self.attaching.contradiction()
    }
}

impl Arguments {
    /// What the programs are to do.
    pub(super) fn settings(&self) -> Settings {
        Settings {
            role: self.role,
            mode: match self.mode {
                ModeName::Enforce => Mode::Enforce,
                ModeName::Monitor => Mode::Monitor,
            },
            closer: self.closer.into(),
            rst_guard: self.rst_guard,
            window: self.window,
            budget: self.budget,
            max_flows: self.max_flows,
            half_closed_timeout: self.half_closed_timeout,
            one_sided_timeout: self.one_sided_timeout,
            closed_timeout: self.closed_timeout,
            ingress: self.attaching.ingress,
            xdp_mode: self.attaching.xdp_mode,
            tc_mode: self.attaching.tc_mode,
            clients: self.client.clone(),
            ports: self.port.clone(),
            events: self.events,
            log_decisions: self.log_decisions,
        }
    }
}
