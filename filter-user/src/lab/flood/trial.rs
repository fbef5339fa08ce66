//! One experiment with a flood: a new network, a server, the client with the fault, an ordinary
//! client, a running lastack, and strangers that send all they can.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use aya::sys::{Stats, enable_stats};
use filter_common::Reason;
use nix::{ifaddrs::getifaddrs, net::if_::if_nametoindex};

pub use super::process::Memory;
use super::{
    Flood, Kind, Port, Sent,
    process::{Lastack, Runs},
};
use crate::{
    counters::Counters,
    lab::{
        client::{Client, Outcome, Plan},
        namespace::Namespace,
        server::{self, Request, Server},
        topology::{Host, LAN, SERVER_V4, SERVER_V6, Topology, WAN},
    },
    report::Status,
    settings::Role,
};

/// In each run of the client with the fault, half of them over IPv4 and half over IPv6.
const CONNECTIONS: u16 = 40;
/// What it does.
const PLAN: Plan = Plan {
    connections: CONNECTIONS,
    spurious_ack_after: Some(Duration::from_millis(200)),
    response: 16 * 1024,
    reading: Duration::from_millis(300),
    timeout: Duration::from_secs(30),
};
/// How long after a forwarded ACK the spurious one may come. A busy machine's client is late, and
/// what is asked here is whether the flow is still known by then.
const WINDOW: &str = "10s";
/// Bytes of each ordinary transfer.
const TRANSFER: u32 = 256 * 1024;
/// How long one may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked at what lastack has.
const LOOKING: Duration = Duration::from_millis(500);

/// An experiment.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// The program.
    pub lastack: &'a Path,
    /// Options of `lastack run` beyond interfaces, role and window.
    pub options: &'a [&'a str],
    /// Which side is served.
    pub role: Role,
    /// What is sent while connections go on; nothing, for as long as one run of the client takes.
    pub kind: Option<Kind>,
    /// Where the clients' frames come from.
    pub entry: Entry,
    /// How many strangers send at the same time; each on a processor of its own, if there is one.
    pub sources: u32,
    /// How many frames all of them send.
    pub packets: u64,
    /// How long after the flood it is looked at what is left of it.
    pub settling: Duration,
}

/// Where a flood's frames from clients come from. Those from servers arrive at the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// They are at the hook at once, and go nowhere behind it.
    Hook,
    /// From a host behind the gateway, which forwards them.
    Lan,
}

/// What it gave.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// The flood.
    pub sent: Sent,
    /// Packets that the programs were run for while it went on, arriving and leaving.
    pub seen: [u64; 2],
    /// Nanoseconds that each of them took of a program, on average.
    pub cost: [f64; 2],
    /// The same for ordinary packets (ACKs of no closing flow), before and after.
    pub ordinary: [[f64; 2]; 2],
    /// The client with the fault before, meanwhile, and after.
    pub demo: [Demo; 3],
    /// Ordinary transfers meanwhile.
    pub transfers: u64,
    /// Those that failed, or brought other bytes.
    pub broken_transfers: Vec<String>,
    /// The most flows that were known at once.
    pub flows: u64,
    /// For how many there is room.
    pub capacity: u64,
    /// What the programs counted.
    pub counters: Counters,
    /// Before, at the most, and after.
    pub memory: [Memory; 3],
}

/// What became of connections of the client with the fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demo {
    /// How many there were.
    pub connections: u64,
    /// Those that no reset reached, and whose application read everything.
    pub cured: u64,
    /// Those that were reset.
    pub reset: u64,
    /// Spurious ACKs that the client sent.
    pub spurious_acks: u64,
    /// Bytes that applications read and that nobody had sent so.
    pub corrupted: u64,
}

impl Trial<'_> {
    /// Runs it in namespaces of its own. Needs root.
    ///
    /// # Errors
    ///
    /// Where something cannot be set up, or ends early.
    pub fn run(&self) -> Result<Results> {
        let mut topology = Topology::new()?;
        let mut client = Client::new(topology.add_client()?)?;
        let (ordinary, stranger) = (topology.add_host()?, topology.add_host()?);
        let _server = Server::start(&topology.server)?;
        make_way(&topology)?;
        // Else the kernel counts no runs.
        let _counting = enable_stats(Stats::RunTime)?;
        let lastack = self.start(&topology, &stranger)?;
        let mut floods = (0..self.sources.max(1))
            .map(|number| self.source(&topology, &stranger, number))
            .collect::<Result<Vec<_>>>()?;
        let mut probe = self.probe(&topology, &stranger)?;

        let mut results = Results::default();
        results.demo[0] = Demo::of(&client.run(&PLAN, &mut |_| {})?);
        results.ordinary[0] = self.ordinary_cost(&lastack, &mut probe)?;
        results.memory[0] = lastack.memory()?;
        let before = lastack.runs()?;
        self.flood(
            &lastack,
            &mut floods,
            (&mut client, &ordinary),
            &mut results,
        )?;
        let after = lastack.runs()?;
        for side in 0..2 {
            let runs = after[side].since(before[side]);
            results.seen[side] = runs.packets;
            results.cost[side] = runs.cost();
        }
        thread::sleep(self.settling);
        results.demo[2] = Demo::of(&client.run_until(&PLAN, &mut |_| {}, &mut || true)?);
        results.ordinary[1] = self.ordinary_cost(&lastack, &mut probe)?;
        results.memory[2] = lastack.memory()?;
        results.note(&lastack.status()?);
        lastack.stop()?;
        Ok(results)
    }

    fn start<'a>(&self, topology: &'a Topology, stranger: &Host) -> Result<Lastack<'a>> {
        let (role, interfaces) = match self.role {
            Role::Wan => ("wan", vec![WAN]),
            Role::Lan => ("lan", vec![LAN, &stranger.gateway_interface]),
        };
        let options = ["--role", role, "--window", WINDOW];
        let options = options.iter().chain(self.options);
        let options: Vec<_> = options.map(|&option| option.to_owned()).collect();
        Lastack::start(self.lastack, &topology.gateway, &interfaces, &options)
    }

    /// A source of frames of which no other sends the same.
    fn source(&self, topology: &Topology, stranger: &Host, number: u32) -> Result<Flood> {
        let at_hook = self.hooks(topology, stranger);
        let client = match self.entry {
            Entry::Hook => at_hook[0],
            Entry::Lan => Port {
                namespace: &stranger.namespace,
                interface: "eth0",
                to: hardware_address(&topology.gateway, &stranger.gateway_interface)?,
            },
        };
        Flood::new(client, at_hook[1], number << 30)
    }

    fn probe(&self, topology: &Topology, stranger: &Host) -> Result<Flood> {
        let [client, server] = self.hooks(topology, stranger);
        Flood::new(client, server, 3 << 30)
    }

    /// Ports right before the hooks, for clients' frames and for servers'.
    fn hooks<'a>(&self, topology: &'a Topology, stranger: &'a Host) -> [Port<'a>; 2] {
        let port = |namespace, interface| Port {
            namespace,
            interface,
            to: Port::NOBODY,
        };
        match self.role {
            Role::Wan => [
                port(&topology.gateway, WAN),
                port(&topology.server, "server0"),
            ],
            Role::Lan => [
                port(&stranger.namespace, "eth0"),
                port(&topology.gateway, &stranger.gateway_interface),
            ],
        }
    }

    /// Nanoseconds that packets of no closing flow take of the programs.
    fn ordinary_cost(&self, lastack: &Lastack<'_>, probe: &mut Flood) -> Result<[f64; 2]> {
        let before = lastack.runs()?;
        probe.send(Kind::Acks, self.packets / 50)?;
        let after = lastack.runs()?;
        Ok([0, 1].map(|side| after[side].since(before[side]).cost()))
    }

    /// Sends, and has connections go on until all is sent.
    fn flood(
        &self,
        lastack: &Lastack<'_>,
        floods: &mut [Flood],
        (client, ordinary): (&mut Client, &Host),
        results: &mut Results,
    ) -> Result<()> {
        let each = self.packets / u64::from(self.sources.max(1));
        let over = AtomicBool::new(false);
        let seen = Mutex::new(Results::default());
        thread::scope(|scope| {
            let sources: Vec<_> = floods
                .iter_mut()
                .map(|flood| {
                    let send = move || {
                        self.kind
                            .map_or(Ok(Sent::default()), |kind| flood.send(kind, each))
                    };
                    scope.spawn(send)
                })
                .collect();
            let watch = scope.spawn(|| watch(lastack, &seen, &over));
            let transfers = scope.spawn(|| transfers(ordinary, &over));
            let demo = loop {
                let run = client.run_until(&PLAN, &mut |_| {}, &mut || true);
                let over =
                    run.is_err() || sources.iter().all(thread::ScopedJoinHandle::is_finished);
                match run {
                    Ok(outcomes) => results.demo[1] += Demo::of(&outcomes),
                    Err(error) => break Err(error),
                }
                if over {
                    break Ok(());
                }
            };
            over.store(true, Ordering::Relaxed);
            for source in sources {
                let sent = joined(source)??;
                results.sent.frames += sent.frames;
                results.sent.repeated_acks += sent.repeated_acks;
                results.sent.took = results.sent.took.max(sent.took);
            }
            joined(watch)??;
            (results.transfers, results.broken_transfers) = joined(transfers)?;
            demo
        })?;
        let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.flows = seen.flows;
        results.memory[1] = seen.memory[1];
        Ok(())
    }
}

impl Results {
    /// Takes in what lastack tells.
    fn note(&mut self, status: &Status) {
        self.capacity = status.flows_capacity;
        self.flows = self.flows.max(status.flows.unwrap_or_default());
        self.counters = Counters::default();
        for interface in &status.interfaces {
            self.counters += Counters::from_names(&interface.packets, 0);
        }
    }

    /// Times that the table refused a flow.
    #[must_use]
    pub fn map_errors(&self) -> u64 {
        self.counters.of(Reason::FlowNotStored)
    }

    /// Spurious ACKs that the client has sent, before, meanwhile and after.
    #[must_use]
    pub fn spurious_acks(&self) -> u64 {
        self.demo.iter().map(|demo| demo.spurious_acks).sum()
    }
}

impl Demo {
    fn of(outcomes: &[Outcome]) -> Self {
        let mut demo = Self::default();
        for outcome in outcomes {
            let reset = outcome.read_error || outcome.seen.resets > 0;
            let all = outcome.is_done && outcome.bytes_read == outcome.bytes_expected;
            demo.connections += 1;
            demo.reset += u64::from(reset);
            demo.cured += u64::from(!reset && all && outcome.intact);
            demo.spurious_acks += outcome.seen.spurious_acks;
            demo.corrupted += u64::from(!outcome.intact);
        }
        demo
    }
}

impl std::ops::AddAssign for Demo {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.cured += other.cured;
        self.reset += other.reset;
        self.spurious_acks += other.spurious_acks;
        self.corrupted += other.corrupted;
    }
}

impl Runs {
    #[expect(clippy::cast_precision_loss, reason = "a mean of counts")]
    fn cost(self) -> f64 {
        match self.packets {
            0 => 0.0,
            packets => self.nanoseconds as f64 / packets as f64,
        }
    }
}

/// Lets the gateway forward a flood's frames to a server that never answers, and need not be
/// asked for its Ethernet address.
fn make_way(topology: &Topology) -> Result<()> {
    for parameter in ["ipv4/conf/all/rp_filter", "ipv4/conf/default/rp_filter"] {
        topology.gateway.sysctl(parameter, "0")?;
    }
    topology.gateway.netlink(async |handle| {
        let wan = if_nametoindex(WAN)?;
        let servers: [IpAddr; 2] = ["203.0.113.9".parse()?, "2001:db8::9".parse()?];
        for server in servers {
            let neighbour = handle.neighbours().add(wan, server);
            neighbour
                .link_layer_address(&Port::NOBODY)
                .execute()
                .await?;
        }
        Ok(())
    })
}

fn hardware_address(namespace: &Namespace, interface: &str) -> Result<[u8; 6]> {
    let interface = interface.to_owned();
    namespace.run(move || {
        getifaddrs()?
            .filter(|address| address.interface_name == interface)
            .find_map(|address| address.address?.as_link_addr()?.addr())
            .with_context(|| format!("{interface} has no Ethernet address"))
    })
}

/// Keeps the most of what lastack has.
fn watch(lastack: &Lastack<'_>, seen: &Mutex<Results>, over: &AtomicBool) -> Result<()> {
    loop {
        let memory = lastack.memory()?;
        let flows = lastack.status()?.flows.unwrap_or_default();
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.flows = seen.flows.max(flows);
            let most = &mut seen.memory[1];
            most.maps = most.maps.max(memory.maps);
            most.process = most.process.max(memory.process);
        }
        if over.load(Ordering::Relaxed) {
            return Ok(());
        }
        thread::sleep(LOOKING);
    }
}

/// Fetches one response after the other over the kernel's TCP: how many, and what went wrong.
fn transfers(host: &Host, over: &AtomicBool) -> (u64, Vec<String>) {
    let (mut number, mut broken) = (0_u64, Vec::new());
    while !over.load(Ordering::Relaxed) {
        let address = if number.is_multiple_of(2) {
            IpAddr::from(SERVER_V4)
        } else {
            SERVER_V6.into()
        };
        let request = Request {
            seed: number,
            length: TRANSFER,
        };
        let fetched = host
            .namespace
            .run(move || transfer(SocketAddr::new(address, server::PORT), request));
        number += 1;
        if let Err(error) = fetched {
            broken.push(format!("transfer {number} from {address}: {error:#}"));
        }
    }
    (number, broken)
}

fn transfer(server: SocketAddr, request: Request) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&request.encode()).context("write")?;
    stream.shutdown(Shutdown::Write).context("shutdown")?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).context("read")?;
    ensure!(response == request.response(), "other bytes than were sent");
    Ok(())
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> Result<T> {
    thread
        .join()
        .map_err(|_| anyhow!("a thread of the trial panicked"))
}
