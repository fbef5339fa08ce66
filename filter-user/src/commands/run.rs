//! `lastack run`: attach, stream counters until a signal, detach.

mod decisions;
mod keeper;
mod signals;

use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use clap::{
    Args, ValueEnum,
    builder::{BoolishValueParser, NonEmptyStringValueParser, RangedU64ValueParser},
};
use ipnet::IpNet;
use log::{info, warn};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, interval_at},
};

use self::{decisions::log_decisions, keeper::Keeper, signals::Signals};
use super::attaching::Attaching;
use crate::{
    datapath::{Changes, Datapath, DatapathError},
    metrics::Metrics,
    one_sided::OneSided,
    server,
    settings::{Closer, Mode, Role, Settings},
    stream::{Output, Stream},
};

/// Between two looks for closes of which one direction is seen.
const LOOK: Duration = Duration::from_secs(1);

/// Attaches the filter to interfaces and streams its counters until a signal
///
/// SIGINT, SIGTERM, SIGHUP and SIGQUIT detach and end with status 0. If lastack dies, the kernel
/// detaches all but clsact filters.
#[derive(Debug, Args)]
pub struct Arguments {
    /// An interface to serve (repeatable; all share one flow table)
    #[arg(
        long,
        value_name = "IF",
        required = true,
        env = "LASTACK_IFACE",
        hide_env_values = true,
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new()
    )]
    iface: Vec<String>,
    /// Start also if an interface is not there yet, and attach to it when it comes
    #[arg(long, value_parser = BoolishValueParser::new(), env = "LASTACK_WAIT", hide_env_values = true)]
    wait: bool,
    /// Where the interfaces lead: to the servers (wan) or to the clients (lan)
    #[arg(
        long,
        value_enum,
        default_value = "wan",
        env = "LASTACK_ROLE",
        hide_env_values = true
    )]
    role: Role,
    /// Drop spurious ACKs (enforce), or only count them (monitor)
    #[arg(
        long,
        value_enum,
        default_value = "enforce",
        env = "LASTACK_MODE",
        hide_env_values = true
    )]
    mode: ModeName,
    /// Whose FIN makes a connection known: the client's, or either's, for servers that keep no
    /// TIME-WAIT
    #[arg(
        long,
        value_enum,
        default_value = "client",
        env = "LASTACK_CLOSER",
        hide_env_values = true
    )]
    closer: CloserName,
    /// Also drop the server's reset after a close (RFC 1337, fix F1)
    #[arg(long, value_parser = BoolishValueParser::new(), env = "LASTACK_RST_GUARD", hide_env_values = true)]
    rst_guard: bool,
    /// Look only at connections of these clients (10.0.0.0/8, 2001:db8::1); may be repeated
    #[arg(long, value_name = "CIDR", value_parser = prefix, value_delimiter = ',', env = "LASTACK_CLIENT", hide_env_values = true)]
    client: Vec<IpNet>,
    /// Look only at connections to this port of servers; may be repeated
    #[arg(long, value_name = "PORT", value_delimiter = ',', env = "LASTACK_PORT", hide_env_values = true,
          value_parser = RangedU64ValueParser::<u16>::new().range(1..=65_535))]
    port: Vec<u16>,
    /// How long after a forwarded ACK another may be dropped
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = super::span, env = "LASTACK_WINDOW", hide_env_values = true)]
    window: Duration,
    /// How many segments of one connection may be dropped
    #[arg(long, value_name = "N", default_value = "3", env = "LASTACK_BUDGET", hide_env_values = true,
          value_parser = RangedU64ValueParser::<u8>::new().range(1..=255))]
    budget: u8,
    /// How many closing connections are known at once; the oldest give way
    #[arg(long, value_name = "N", default_value = "65536", env = "LASTACK_MAX_FLOWS", hide_env_values = true,
          value_parser = RangedU64ValueParser::<u32>::new().range(1..=1 << 24))]
    max_flows: u32,
    /// How long a connection is remembered after the FIN of one side alone
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = super::span,
          env = "LASTACK_HALF_CLOSED_TIMEOUT", hide_env_values = true)]
    half_closed_timeout: Duration,
    /// How long a connection is remembered after it is closed
    #[arg(long, value_name = "TIME", default_value = "4m", value_parser = super::span,
          env = "LASTACK_CLOSED_TIMEOUT", hide_env_values = true)]
    closed_timeout: Duration,
    #[command(flatten)]
    attaching: Attaching,
    /// Where Prometheus scrapes /metrics, or off
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9433",
        env = "LASTACK_METRICS_ADDR",
        hide_env_values = true
    )]
    metrics_addr: MetricsAddress,
    /// How often counters are printed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = super::span, env = "LASTACK_INTERVAL", hide_env_values = true)]
    interval: Duration,
    /// How counters are printed; json is one object a line
    #[arg(
        long,
        value_enum,
        default_value = "text",
        env = "LASTACK_OUTPUT",
        hide_env_values = true
    )]
    output: Output,
    /// Log each decision about a closing connection, from within the kernel
    #[arg(long, value_parser = BoolishValueParser::new(), env = "LASTACK_LOG_DECISIONS", hide_env_values = true)]
    log_decisions: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeName {
    Enforce,
    Monitor,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CloserName {
    Client,
    Either,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetricsAddress {
    Off,
    At(SocketAddr),
}

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| {
            "neither an address with a port (127.0.0.1:9433, [::1]:9433) nor off".to_owned()
        })
    }
}

/// A prefix, or one address.
fn prefix(text: &str) -> Result<IpNet, String> {
    let prefix: Result<IpNet, _> = text.parse();
    prefix
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map(|prefix| prefix.trunc())
        .map_err(|_| "neither an address nor a prefix (10.0.0.0/8, 2001:db8::/32)".to_owned())
}

impl Arguments {
    fn settings(&self) -> Settings {
        Settings {
            role: self.role,
            mode: match self.mode {
                ModeName::Enforce => Mode::Enforce,
                ModeName::Monitor => Mode::Monitor,
            },
            closer: match self.closer {
                CloserName::Client => Closer::Client,
                CloserName::Either => Closer::Either,
            },
            rst_guard: self.rst_guard,
            window: self.window,
            budget: self.budget,
            max_flows: self.max_flows,
            half_closed_timeout: self.half_closed_timeout,
            closed_timeout: self.closed_timeout,
            ingress: self.attaching.ingress,
            xdp_mode: self.attaching.xdp_mode,
            tc_mode: self.attaching.tc_mode,
            clients: self.client.clone(),
            ports: self.port.clone(),
            log_decisions: self.log_decisions,
        }
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let attaching = arguments.attaching;
    attaching.refuse_contradiction(Arguments::augment_args(clap::Command::new("lastack run")));
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?
        .block_on(serve(arguments))
}

async fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    // Before anything is attached: a signal from now on ends in good order.
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let settings = arguments.settings();
    let listener = match arguments.metrics_addr {
        MetricsAddress::Off => None,
        MetricsAddress::At(address) => Some(bind(address)?),
    };
    // Before it is looked which interfaces there are.
    let changes = Changes::listen(&settings).context("cannot watch the interfaces")?;
    let mut datapath = Datapath::load(&settings)?;
    for interface in &arguments.iface {
        attach(&mut datapath, interface, arguments.wait)?;
    }
    let mut stream = Stream::new(arguments.output);
    let mut keeper = Keeper::new(&datapath, changes, &mut stream);
    let (stop, stopped) = watch::channel(());
    let decisions = if settings.log_decisions {
        Some(log_decisions(&mut datapath, stopped.clone())?)
    } else {
        None
    };
    let datapath = Arc::new(Mutex::new(datapath));
    let one_sided = Arc::new(Mutex::new(OneSided::default()));
    let server = match listener {
        Some(listener) => {
            info!("metrics at http://{}/metrics", listener.local_addr()?);
            let one_sided = Arc::clone(&one_sided);
            let metrics = Metrics::new(Arc::clone(&datapath), one_sided, &settings);
            Some(tokio::spawn(server::serve(listener, metrics, stopped)))
        }
        None => None,
    };

    let mut ticks = interval_at(Instant::now() + arguments.interval, arguments.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let signal = loop {
        tokio::select! {
            _ = ticks.tick() => print(&mut stream, &datapath),
            _ = looks.tick() => look(&mut stream, &datapath, &one_sided),
            () = keeper.due() => keeper.look(&mut lock(&datapath), &mut stream),
            signal = signals.next() => break signal,
        }
    };
    info!("{signal}: detaching");
    print(&mut stream, &datapath);
    let detached = lock(&datapath).detach();
    stream.detached();
    drop(stop);
    if let Some(decisions) = decisions {
        decisions.await?;
    }
    if let Some(server) = server
        && let Err(error) = server.await?
    {
        warn!("metrics: {error}");
    }
    Ok(detached?)
}

fn bind(address: SocketAddr) -> anyhow::Result<tokio::net::TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot serve metrics at {address}; --metrics-addr takes another address, or off")
    })?;
    listener.set_nonblocking(true)?;
    Ok(tokio::net::TcpListener::from_std(listener)?)
}

/// Attaches to an interface, or to none if one that is not there is to be waited for.
fn attach(datapath: &mut Datapath, interface: &str, wait: bool) -> Result<(), DatapathError> {
    match datapath.attach(interface) {
        Err(DatapathError::NoInterface(_)) if wait => datapath.expect(interface),
        attached => attached.map(drop),
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Looks for interfaces of which one direction is seen.
fn look(stream: &mut Stream, datapath: &Mutex<Datapath>, one_sided: &Mutex<OneSided>) {
    let counters = match lock(datapath).counters() {
        Ok(counters) => counters,
        Err(error) => return warn!("{error}"),
    };
    for suspicion in lock(one_sided).look(std::time::Instant::now(), &counters) {
        warn!("{suspicion}");
        stream.one_sided(&suspicion);
    }
}

fn print(stream: &mut Stream, datapath: &Mutex<Datapath>) {
    match lock(datapath).counters() {
        Ok(counters) => stream.counters(&counters),
        Err(error) => warn!("{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_at_an_address_or_off() {
        assert_eq!("off".parse(), Ok(MetricsAddress::Off));
        assert!(matches!("[::1]:9433".parse(), Ok(MetricsAddress::At(_))));
        assert!("9433".parse::<MetricsAddress>().is_err());
    }
}
