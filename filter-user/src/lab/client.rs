//! The lab's client: a real TCP in user space, with the fault of Windows NT, and a slow
//! application on it.
//!
//! The TCP is smoltcp. Two traits of NT are added around it: the spurious ACK (see
//! [`fault`](super::fault)), and what a RST does: the pending read fails, and what had
//! arrived but was not read yet is thrown away.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, bail};
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    socket::tcp,
    time::Instant,
    wire::{EthernetAddress, IpCidr, IpEndpoint},
};

use super::{
    fault::{DelayedAcks, Seen},
    server::{self, Request},
    tap::Card,
    topology::{ClientPort, SERVER_V4, SERVER_V6, Subnet},
};

/// The first of the ports that connections come from.
const FIRST_PORT: u16 = 20_000;
/// In how many pieces the application reads a response.
const PIECES: u32 = 32;
/// Between the opening of two connections: many are open at once, without a burst that a
/// queue might lose.
const OPENING_INTERVAL: Duration = Duration::from_millis(1);
/// How long the wire must be quiet in the end: a RST takes less than a millisecond.
const QUIET: Duration = Duration::from_millis(250);

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
    next_port: u16,
}

impl Client {
    /// A client on a TAP device of the gateway.
    #[must_use]
    pub fn new(port: ClientPort) -> Self {
        Self {
            port,
            next_port: FIRST_PORT,
        }
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
        let first_port = match self.next_port.checked_add(plan.connections) {
            Some(_) => self.next_port,
            None => FIRST_PORT,
        };
        self.next_port = first_port
            .checked_add(plan.connections)
            .context("too many connections for the client's ports")?;
        let mut run = Run::new(&self.port, plan, first_port)?;
        run.until_quiet(finished)?;
        Ok(run.outcomes())
    }
}

/// One run of a plan.
struct Run<'a> {
    plan: &'a Plan,
    card: Card<'a>,
    interface: Interface,
    sockets: SocketSet<'static>,
    connections: Vec<Connection>,
    /// How many of them were opened.
    opened: usize,
    next_opening: Instant,
}

/// A connection and the application that uses it.
struct Connection {
    client: SocketAddr,
    server: SocketAddr,
    request: Request,
    expected: Vec<u8>,
    bytes_read: usize,
    intact: bool,
    state: State,
}

/// What the application is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The connection is not open yet.
    Waiting,
    /// The request could not be sent yet.
    Requesting(SocketHandle),
    /// It reads; not before this instant, or as soon as there is something.
    Reading(SocketHandle, Option<Instant>),
    /// It has read to the end.
    Done,
    /// A read failed.
    Reset,
}

impl<'a> Run<'a> {
    fn new(port: &'a ClientPort, plan: &'a Plan, first_port: u16) -> anyhow::Result<Self> {
        let mut delayed_acks = DelayedAcks::new(plan.spurious_ack_after);
        let connections: Vec<_> = (0..plan.connections)
            .map(|number| Connection::new(port.subnet, number, first_port + number, plan))
            .collect();
        for connection in &connections {
            delayed_acks.watch(connection.endpoint());
        }
        let mut card = Card::new(&port.tap, delayed_acks);
        let now = Instant::now();
        let interface =
            interface(port, &mut card, now).context("could not set up the client's TCP/IP")?;
        Ok(Self {
            plan,
            card,
            interface,
            sockets: SocketSet::new(Vec::new()),
            connections,
            opened: 0,
            next_opening: now,
        })
    }

    fn until_quiet(&mut self, finished: &mut dyn FnMut(usize)) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.plan.timeout.into();
        let mut quiet_at = None;
        let mut done = 0;
        loop {
            let now = Instant::now();
            self.step(now)?;
            let count = self
                .connections
                .iter()
                .filter(|connection| connection.is_done())
                .count();
            if count != done {
                done = count;
                finished(done);
            }
            let next = if done == self.connections.len() && self.card.delayed_acks.next().is_none()
            {
                let quiet_at = *quiet_at.get_or_insert(now + QUIET.into());
                if now >= quiet_at {
                    return Ok(());
                }
                quiet_at
            } else {
                self.next_event(now).unwrap_or(deadline)
            };
            if now >= deadline {
                bail!(self.overdue(done));
            }
            self.card.wait((next.min(deadline).max(now) - now).into())?;
        }
    }

    fn step(&mut self, now: Instant) -> anyhow::Result<()> {
        self.card
            .fire(now)
            .context("could not send a spurious ACK")?;
        self.interface.poll(now, &mut self.card, &mut self.sockets);
        self.card.check().context("the TAP device failed")?;
        while self.opened < self.connections.len() && self.next_opening <= now {
            self.connections[self.opened].open(&mut self.interface, &mut self.sockets)?;
            self.opened += 1;
            self.next_opening += OPENING_INTERVAL.into();
        }
        let pause = self.plan.reading / PIECES;
        for connection in &mut self.connections[..self.opened] {
            connection.advance(&mut self.sockets, &self.card.delayed_acks, now, pause)?;
        }
        Ok(())
    }

    /// When something is to be done next, if no frame arrives before.
    fn next_event(&mut self, now: Instant) -> Option<Instant> {
        let reads = self
            .connections
            .iter()
            .filter_map(|connection| match connection.state {
                State::Reading(_, next) => next,
                State::Waiting | State::Requesting(_) | State::Done | State::Reset => None,
            });
        let opening = (self.opened < self.connections.len()).then_some(self.next_opening);
        reads
            .chain(opening)
            .chain(self.card.delayed_acks.next())
            .chain(self.interface.poll_at(now, &self.sockets))
            .min()
    }

    fn overdue(&self, done: usize) -> String {
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
        self.connections
            .iter()
            .map(|connection| Outcome {
                client: connection.client,
                seen: self.card.delayed_acks.seen(connection.endpoint()),
                read_error: connection.state == State::Reset,
                bytes_expected: u64::from(connection.request.length),
                bytes_read: connection.bytes_read as u64,
                intact: connection.intact,
            })
            .collect()
    }
}

impl Connection {
    fn new(subnet: Subnet, number: u16, port: u16, plan: &Plan) -> Self {
        let (client, server): (IpAddr, IpAddr) = if number.is_multiple_of(2) {
            (subnet.neighbour_v4.into(), SERVER_V4.into())
        } else {
            (subnet.neighbour_v6.into(), SERVER_V6.into())
        };
        let request = Request {
            seed: fastrand::u64(..),
            length: u32::from(plan.response),
        };
        Self {
            client: SocketAddr::new(client, port),
            server: SocketAddr::new(server, server::PORT),
            request,
            expected: request.response(),
            bytes_read: 0,
            intact: true,
            state: State::Waiting,
        }
    }

    fn endpoint(&self) -> IpEndpoint {
        self.client.into()
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Done | State::Reset)
    }

    fn open(
        &mut self,
        interface: &mut Interface,
        sockets: &mut SocketSet<'_>,
    ) -> anyhow::Result<()> {
        // The whole response and the FIN fit in the window, so that nothing has to be
        // acknowledged after the FIN's ACK.
        let receive = tcp::SocketBuffer::new(vec![0; self.expected.len() + 4096]);
        let send = tcp::SocketBuffer::new(self.request.encode().to_vec());
        let mut socket = tcp::Socket::new(receive, send);
        socket.set_ack_delay(None);
        socket
            .connect(
                interface.context(),
                IpEndpoint::from(self.server),
                self.client.port(),
            )
            .with_context(|| format!("could not connect to {}", self.server))?;
        self.state = State::Requesting(sockets.add(socket));
        Ok(())
    }

    /// Lets the application go on as far as it can by now.
    fn advance(
        &mut self,
        sockets: &mut SocketSet<'_>,
        delayed_acks: &DelayedAcks,
        now: Instant,
        pause: Duration,
    ) -> anyhow::Result<()> {
        match self.state {
            State::Waiting | State::Done | State::Reset => {}
            State::Requesting(handle) => {
                let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
                if socket.may_send() {
                    let sent = socket.send_slice(&self.request.encode());
                    sent.with_context(|| format!("could not send a request to {}", self.server))?;
                    // Half-closes: the FIN follows the request.
                    socket.close();
                    self.state = State::Reading(handle, None);
                } else if socket.state() == tcp::State::Closed {
                    bail!("{} refused a connection", self.server);
                }
            }
            State::Reading(handle, next) if next.is_none_or(|next| next <= now) => {
                let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
                let reset = delayed_acks.seen(self.endpoint()).resets > 0;
                let mut piece = vec![0; self.expected.len().div_ceil(PIECES as usize)];
                self.state = match read(socket, reset, &mut piece) {
                    Read::Nothing => State::Reading(handle, None),
                    Read::Bytes(length) => {
                        let expected = self.expected.iter().skip(self.bytes_read).take(length);
                        self.intact &= expected.eq(&piece[..length]);
                        self.bytes_read += length;
                        State::Reading(handle, Some(now + pause.into()))
                    }
                    Read::End => State::Done,
                    Read::ConnectionReset => State::Reset,
                };
            }
            State::Reading(..) => {}
        }
        Ok(())
    }

    /// For the message that it hangs.
    fn describe(&self, sockets: &SocketSet<'_>) -> String {
        let state = match self.state {
            State::Requesting(handle) | State::Reading(handle, _) => {
                sockets.get::<tcp::Socket<'_>>(handle).state().to_string()
            }
            State::Waiting | State::Done | State::Reset => "not opened".to_owned(),
        };
        format!(
            "; the first, {} to {}, is {state} and has read {} of {} bytes",
            self.client,
            self.server,
            self.bytes_read,
            self.expected.len()
        )
    }
}

/// What a call of recv() gives on Windows NT.
enum Read {
    /// It would block.
    Nothing,
    Bytes(usize),
    /// The server sends no more.
    End,
    /// WSAECONNRESET.
    ConnectionReset,
}

/// Reads as the stack of Windows NT lets an application read.
///
/// `reset`: whether a RST arrived. smoltcp then closes the socket if the RST is acceptable, and
/// like most stacks still hands out what it had received; NT's throws that away.
fn read(socket: &mut tcp::Socket<'_>, reset: bool, piece: &mut [u8]) -> Read {
    if reset && socket.state() == tcp::State::Closed {
        return Read::ConnectionReset;
    }
    match socket.recv_slice(piece) {
        Ok(0) => Read::Nothing,
        Ok(length) => Read::Bytes(length),
        Err(tcp::RecvError::Finished) => Read::End,
        Err(tcp::RecvError::InvalidState) => Read::ConnectionReset,
    }
}

fn interface(port: &ClientPort, card: &mut Card<'_>, now: Instant) -> anyhow::Result<Interface> {
    let mut config = Config::new(EthernetAddress(port.hardware_address).into());
    config.random_seed = fastrand::u64(..);
    let mut interface = Interface::new(config, card, now);
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
