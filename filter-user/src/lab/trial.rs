//! One experiment with real stacks under loss: a new network, a server, one kind of client,
//! the filter or not, and everything that can be counted.

use std::{
    any::Any,
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;

use super::{
    client::{Client, Plan},
    half_closing,
    impairment::Impairment,
    last_ack::{Seen, Watch},
    ledger::Ledger,
    namespace::Namespace,
    server::{Server, retransmissions},
    topology::{LAN, Topology, WAN},
};
use crate::{counters::Counters, datapath::Datapath, settings::Settings};

/// Of each response in bytes; fits in a receive window, so that all of it, and the server's
/// FIN, can be there while the application still reads.
const RESPONSE: u16 = 32 * 1024;
/// The delayed-ACK time of the client with the fault.
const DELAYED_ACK: Duration = Duration::from_millis(200);
/// How long slow applications read; longer than the delayed-ACK time.
const READING: Duration = Duration::from_millis(500);
/// How long one experiment may take. A close with many losses takes seconds.
const TIMEOUT: Duration = Duration::from_mins(2);
/// How long what is still on its way in the end may take to arrive.
const ON_ITS_WAY: Duration = Duration::from_millis(200);

/// What is between the client and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Nothing.
    Off,
    /// R1.
    R1,
    /// R1 and the reset guard.
    R1AndR2,
}

/// Who the clients are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Programs on the kernel's TCP.
    Correct,
    /// The client with the fault of Windows NT.
    Faulty,
}

/// An experiment.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Who the clients are.
    pub clients: Clients,
    /// What is in between.
    pub filter: Filter,
    /// Share of the segments that get lost, in each direction; 0 to 1. Half of it before the
    /// gateway, and half of it behind.
    pub loss: f64,
    /// How many connections to open, by turns over IPv4 and IPv6.
    pub connections: u16,
    /// The same seed gives the n-th segment of each connection the same fate.
    pub seed: u64,
}

/// What it gave.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// Connections whose application read to the end.
    pub complete: u64,
    /// The others, by what went wrong.
    pub failures: BTreeMap<String, u64>,
    /// Connections that read something else than what was sent.
    pub corrupted: u64,
    /// Bytes that servers were asked for.
    pub bytes_expected: u64,
    /// Bytes that applications read.
    pub bytes_read: u64,
    /// ACKs that the delayed-ACK timers of clients with the fault put on the wire.
    pub spurious_acks: u64,
    /// Segments that the server retransmitted, by its kernel's count.
    pub server_retransmissions: u64,
    /// The server's sockets in LAST-ACK.
    pub last_ack: Seen,
    /// By the packets on both sides of the gateway.
    pub ledger: Ledger,
    /// By the filter.
    pub counters: Counters,
}

/// A client's stack, which is there for what still comes after its applications have ended.
struct Behind {
    gateway_interface: String,
    _stack: Box<dyn Any>,
}

impl Trial {
    /// Runs it in namespaces of its own. Needs root.
    pub fn run(&self) -> anyhow::Result<Results> {
        ensure!((0.0..1.0).contains(&self.loss), "a loss of {}", self.loss);
        let links = Impairment::one_of_two(self.loss, self.seed);
        self.run_between(links, |_| Ok(()))
    }

    /// The same with every link impaired like this, whatever the trial's loss, and with what
    /// `prepare` has done in the gateway's namespace before anything is sent.
    pub fn run_between(
        &self,
        links: Impairment,
        prepare: impl FnOnce(&Namespace) -> anyhow::Result<()>,
    ) -> anyhow::Result<Results> {
        let mut topology = Topology::impaired(links)?;
        prepare(&topology.gateway)?;
        let server = Server::start(&topology.server)?;
        let watch = Watch::start(&topology.server)?;
        let datapath = self.protect(&topology)?;
        let deadline = Instant::now() + TIMEOUT;
        let (mut results, clients) = match self.clients {
            Clients::Correct => self.run_correct(&mut topology)?,
            Clients::Faulty => self.run_faulty(&mut topology, &watch)?,
        };
        while watch.open() > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(ON_ITS_WAY);
        results.last_ack = watch.finish()?;
        results.server_retransmissions = retransmissions(&topology.server)?;
        if let Some(mut datapath) = datapath {
            for interface in datapath.counters()? {
                results.counters += interface.counters;
            }
            topology.gateway.run(move || datapath.detach())?;
        }
        results.ledger = Ledger::new(
            &topology.cut(&clients.gateway_interface)?,
            &topology.cut(WAN)?,
        );
        drop(server);
        Ok(results)
    }

    fn protect(&self, topology: &Topology) -> anyhow::Result<Option<Datapath>> {
        let settings = Settings {
            rst_guard: match self.filter {
                Filter::Off => return Ok(None),
                Filter::R1 => false,
                Filter::R1AndR2 => true,
            },
            ..Settings::default()
        };
        topology.gateway.run(move || {
            let mut datapath = Datapath::load(&settings)?;
            datapath.attach(WAN)?;
            Ok(Some(datapath))
        })
    }

    fn run_correct(&self, topology: &mut Topology) -> anyhow::Result<(Results, Behind)> {
        let host = topology.add_host()?;
        let plan = half_closing::Plan {
            connections: self.connections,
            response: RESPONSE.into(),
            reading: READING,
            timeout: TIMEOUT,
        };
        let outcomes = half_closing::run(&host, plan)?;
        let mut results = Results {
            failures: half_closing::failures(&outcomes),
            ..Results::default()
        };
        for outcome in &outcomes {
            results.complete += u64::from(outcome.is_complete());
            results.corrupted += u64::from(!outcome.intact);
            results.bytes_expected += outcome.bytes_expected;
            results.bytes_read += outcome.bytes_read;
        }
        let behind = Behind {
            gateway_interface: host.gateway_interface.clone(),
            _stack: Box::new(host),
        };
        Ok((results, behind))
    }

    fn run_faulty(
        &self,
        topology: &mut Topology,
        watch: &Watch,
    ) -> anyhow::Result<(Results, Behind)> {
        let mut client = Client::new(topology.add_client()?)?;
        let plan = Plan {
            connections: self.connections,
            spurious_ack_after: Some(DELAYED_ACK),
            response: RESPONSE,
            reading: READING,
            timeout: TIMEOUT,
        };
        let outcomes = client.run_until(&plan, &mut |_| {}, &mut || watch.open() == 0)?;
        let mut results = Results::default();
        for outcome in &outcomes {
            let is_all_read = outcome.bytes_read == outcome.bytes_expected;
            let failure = if outcome.read_error {
                Some("read: ECONNRESET")
            } else if outcome.is_done {
                (!is_all_read).then_some("ended early")
            } else {
                Some("took too long")
            };
            match failure {
                Some(failure) => *results.failures.entry(failure.to_owned()).or_default() += 1,
                None => results.complete += u64::from(outcome.intact),
            }
            results.corrupted += u64::from(!outcome.intact);
            results.bytes_expected += outcome.bytes_expected;
            results.bytes_read += outcome.bytes_read;
            results.spurious_acks += outcome.seen.spurious_acks;
        }
        let behind = Behind {
            gateway_interface: LAN.to_owned(),
            _stack: Box::new(client),
        };
        Ok((results, behind))
    }
}
