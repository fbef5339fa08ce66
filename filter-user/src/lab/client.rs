//! The lab's client: a real TCP in user space, with the fault of Windows NT, and a slow
//! application on it.
//!
//! The TCP is smoltcp. Two traits of NT are added around it: the spurious ACK (see
//! [`fault`](super::fault)), and what a RST does to the application: its pending read fails,
//! and what had arrived but was not read yet is thrown away.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};
use smoltcp::{
    iface::{Config, Interface, SocketSet},
    time::Instant,
    wire::{EthernetAddress, IpCidr},
};

use super::{
    application::{Connection, Pace},
    fault::{DelayedAcks, Seen},
    recording::Recording,
    tap::Card,
    topology::{ClientPort, Subnet},
};

/// The first of the ports that connections come from.
const FIRST_PORT: u16 = 20_000;
/// IPv4 and IPv6.
const FAMILIES: usize = 2;
/// Between the opening of two connections: many are open at once, without a burst that a
/// queue might lose.
const OPENING_INTERVAL: Duration = Duration::from_millis(1);
/// How long the wire must be quiet in the end: a RST takes less than a millisecond.
const QUIET: Duration = Duration::from_millis(250);
/// How often it asks whether all is over, at the least.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What the client is to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many connections to open, by turns over IPv4 and IPv6; at least 1.
    pub connections: u16,
    /// The client's delayed-ACK time, after which it acknowledges the server's FIN again;
    /// `None`: a client without the fault.
    pub spurious_ack_after: Option<Duration>,
    /// Length of each response in bytes; at most 48 KiB, so that it fits in a window.
    pub response: u16,
    /// How long the application takes to read a response that is all there.
    pub reading: Duration,
    /// How long all of it may take.
    pub timeout: Duration,
}

/// What became of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The client's end.
    pub client: SocketAddr,
    /// What was seen on the wire.
    pub seen: Seen,
    /// Whether the application came to an end: it read to it, or a read failed.
    pub is_done: bool,
    /// Whether a read failed, as the connection was reset.
    pub read_error: bool,
    /// Bytes that the server was asked for.
    pub bytes_expected: u64,
    /// Bytes that the application read.
    pub bytes_read: u64,
    /// Whether they are the ones that the server was to send.
    pub intact: bool,
}

/// A client behind the gateway.
pub struct Client {
    port: ClientPort,
    /// Knows the gateway's Ethernet address from one run to the next.
    interface: Interface,
    next_port: u16,
    finishing: Duration,
    records: bool,
    recording: Option<Recording>,
}

impl Client {
    /// A client behind the gateway.
    pub fn new(port: ClientPort) -> anyhow::Result<Self> {
        let interface = interface(&port).context("could not set up the client's TCP/IP")?;
        Ok(Self {
            port,
            interface,
            next_port: FIRST_PORT,
            finishing: Duration::ZERO,
            records: false,
            recording: None,
        })
    }

    /// From now on applications half-close so long after their requests, rather than at once.
    pub fn half_close_after(&mut self, finishing: Duration) {
        self.finishing = finishing;
    }

    /// From now on the frames of each run's first connection, which is over IPv4, are kept.
    pub fn record(&mut self) {
        self.records = true;
    }

    /// Those of the last run.
    pub fn take_recording(&mut self) -> Option<Recording> {
        self.recording.take()
    }

    /// Opens the connections, reads the responses, and waits until nothing more comes.
    ///
    /// `finished` is told how many connections' applications are done, each time when one more
    /// is.
    pub fn run(
        &mut self,
        plan: &Plan,
        finished: &mut dyn FnMut(usize),
    ) -> anyhow::Result<Vec<Outcome>> {
        let mut run = self.start(plan)?;
        if !run.until_quiet(finished, &mut || true)? {
            bail!(run.overdue());
        }
        let outcomes = run.outcomes();
        self.recording = run.card.recording;
        Ok(outcomes)
    }

    /// The same, but it goes on until `is_over` as well, and after the plan's timeout gives
    /// what it has come to.
    pub fn run_until(
        &mut self,
        plan: &Plan,
        finished: &mut dyn FnMut(usize),
        is_over: &mut dyn FnMut() -> bool,
    ) -> anyhow::Result<Vec<Outcome>> {
        let mut run = self.start(plan)?;
        run.until_quiet(finished, is_over)?;
        let outcomes = run.outcomes();
        self.recording = run.card.recording;
        Ok(outcomes)
    }

    fn start<'a>(&'a mut self, plan: &'a Plan) -> anyhow::Result<Run<'a>> {
        let first_port = match self.next_port.checked_add(plan.connections) {
            Some(_) => self.next_port,
            None => FIRST_PORT,
        };
        self.next_port = first_port
            .checked_add(plan.connections)
            .context("too many connections for the client's ports")?;
        let pace = Pace {
            finishing: self.finishing,
            reading: plan.reading,
        };
        let mut run = Run::new(&self.port, &mut self.interface, plan, pace, first_port);
        if self.records {
            run.card.recording = run.connections.first().map(Connection::record);
        }
        Ok(run)
    }
}

/// One run of a plan.
struct Run<'a> {
    plan: &'a Plan,
    pace: Pace,
    card: Card<'a>,
    interface: &'a mut Interface,
    sockets: SocketSet<'static>,
    connections: Vec<Connection>,
    /// How many of them were opened.
    opened: usize,
    next_opening: Instant,
}

impl<'a> Run<'a> {
    fn new(
        port: &'a ClientPort,
        interface: &'a mut Interface,
        plan: &'a Plan,
        pace: Pace,
        first_port: u16,
    ) -> Self {
        let mut delayed_acks = DelayedAcks::new(plan.spurious_ack_after);
        let connections: Vec<_> = (0..plan.connections)
            .map(|number| Connection::new(port.subnet, number, first_port + number, plan))
            .collect();
        for connection in &connections {
            delayed_acks.watch(connection.endpoint());
        }
        Self {
            plan,
            pace,
            card: Card::new(&port.card, delayed_acks),
            interface,
            sockets: SocketSet::new(Vec::new()),
            connections,
            opened: 0,
            next_opening: Instant::now(),
        }
    }

    /// Whether that was before the plan's timeout.
    fn until_quiet(
        &mut self,
        finished: &mut dyn FnMut(usize),
        is_over: &mut dyn FnMut() -> bool,
    ) -> anyhow::Result<bool> {
        let deadline = Instant::now() + self.plan.timeout.into();
        let mut quiet_at = None;
        let mut done = 0;
        loop {
            let now = Instant::now();
            self.step(now)?;
            let count = self.done();
            if count != done {
                done = count;
                finished(done);
            }
            let next = if done == self.connections.len()
                && self.card.delayed_acks.next().is_none()
                && is_over()
            {
                let quiet_at = *quiet_at.get_or_insert(now + QUIET.into());
                if now >= quiet_at {
                    return Ok(true);
                }
                quiet_at
            } else {
                quiet_at = None;
                let next = self.next_event(now).unwrap_or(deadline);
                next.min(now + LOOK_AGAIN.into())
            };
            if now >= deadline {
                return Ok(false);
            }
            self.card.wait((next.min(deadline).max(now) - now).into())?;
        }
    }

    fn done(&self) -> usize {
        let done = self.connections.iter().filter(|other| other.is_done());
        done.count()
    }

    fn step(&mut self, now: Instant) -> anyhow::Result<()> {
        self.card
            .fire(now)
            .context("could not send a spurious ACK")?;
        self.interface.poll(now, &mut self.card, &mut self.sockets);
        self.card.check().context("the network card failed")?;
        while self.opens_next() && self.next_opening <= now {
            self.connections[self.opened].open(self.interface, &mut self.sockets)?;
            self.opened += 1;
            self.next_opening = now.max(self.next_opening + OPENING_INTERVAL.into());
        }
        for connection in &mut self.connections[..self.opened] {
            connection.advance(&mut self.sockets, &self.card.delayed_acks, now, self.pace)?;
        }
        Ok(())
    }

    /// Whether it is time for another connection.
    ///
    /// smoltcp asks for one Ethernet address a second. The first connection of each family
    /// finds the gateway, lest those of one family begin a second after the other's, at once.
    fn opens_next(&self) -> bool {
        let is_first = self.opened < FAMILIES;
        let mut first = self.connections.iter().take(FAMILIES);
        self.opened < self.connections.len() && (is_first || first.all(Connection::is_open))
    }

    /// When something is to be done next, if no frame arrives before.
    fn next_event(&mut self, now: Instant) -> Option<Instant> {
        let reads = self.connections.iter().filter_map(Connection::next_read);
        let opening = self.opens_next().then_some(self.next_opening);
        reads
            .chain(opening)
            .chain(self.card.delayed_acks.next())
            .chain(self.interface.poll_at(now, &self.sockets))
            .min()
    }

    fn overdue(&self) -> String {
        let done = self.done();
        let total = self.connections.len();
        let timeout = humantime::format_duration(self.plan.timeout);
        let stuck = self
            .connections
            .iter()
            .find(|connection| !connection.is_done());
        let example = stuck
            .map(|connection| connection.describe(&self.sockets))
            .unwrap_or_default();
        format!(
            "{} of {total} connections were not done after {timeout}{example}",
            total - done
        )
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let delayed_acks = &self.card.delayed_acks;
        self.connections
            .iter()
            .map(|connection| connection.outcome(delayed_acks.seen(connection.endpoint())))
            .collect()
    }
}

fn interface(port: &ClientPort) -> anyhow::Result<Interface> {
    let mut config = Config::new(EthernetAddress(port.hardware_address).into());
    config.random_seed = fastrand::u64(..);
    let mut card = Card::new(&port.card, DelayedAcks::new(None));
    let mut interface = Interface::new(config, &mut card, Instant::now());
    let subnet = port.subnet;
    let addresses = [
        IpCidr::new(subnet.neighbour_v4.into(), Subnet::PREFIX_V4),
        IpCidr::new(subnet.neighbour_v6.into(), Subnet::PREFIX_V6),
    ];
    interface.update_ip_addrs(|list| {
        // smoltcp is built with room for two.
        list.extend(addresses);
    });
    let routes = interface.routes_mut();
    routes.add_default_ipv4_route(subnet.gateway_v4)?;
    routes.add_default_ipv6_route(subnet.gateway_v6)?;
    Ok(interface)
}
