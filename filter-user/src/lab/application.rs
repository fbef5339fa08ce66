//! The application on the lab's client: asks for a response and reads it slowly.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, bail};
use smoltcp::{
    iface::{Interface, SocketHandle, SocketSet},
    socket::tcp,
    time::Instant,
    wire::IpEndpoint,
};

use super::{
    client::{Outcome, Plan},
    fault::{DelayedAcks, Seen},
    recording::Recording,
    server::{self, Request},
    topology::{SERVER_V4, SERVER_V6, Subnet},
};

/// In how many pieces the application reads a response.
const PIECES: u32 = 32;

/// How fast an application is.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// How long after its request it half-closes.
    pub(super) finishing: Duration,
    /// How long it takes for a whole response.
    pub(super) reading: Duration,
}

/// A connection and the application that uses it.
pub(super) struct Connection {
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
    /// It was; the application half-closes at this instant.
    HalfClosing(SocketHandle, Instant),
    /// It reads; not before this instant, or as soon as there is something.
    Reading(SocketHandle, Option<Instant>),
    /// It has read to the end.
    Done,
    /// A read failed.
    Reset,
}

impl Connection {
    /// The plan's connection of this number, from this port; not opened yet.
    pub(super) fn new(subnet: Subnet, number: u16, port: u16, plan: &Plan) -> Self {
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

    /// The client's end.
    pub(super) fn endpoint(&self) -> IpEndpoint {
        self.client.into()
    }

    /// What keeps its frames.
    pub(super) fn record(&self) -> Recording {
        Recording::new(self.client)
    }

    /// Whether it was ever connected.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, State::Waiting | State::Requesting(_))
    }

    /// Whether the application has nothing left to do.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done | State::Reset)
    }

    /// Connects.
    pub(super) fn open(
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
    pub(super) fn advance(
        &mut self,
        sockets: &mut SocketSet<'_>,
        delayed_acks: &DelayedAcks,
        now: Instant,
        Pace { finishing, reading }: Pace,
    ) -> anyhow::Result<()> {
        match self.state {
            State::Reading(_, Some(next)) | State::HalfClosing(_, next) if next > now => {}
            State::Waiting | State::Done | State::Reset => {}
            State::Requesting(handle) => {
                let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
                if socket.may_send() {
                    let sent = socket.send_slice(&self.request.encode());
                    sent.with_context(|| format!("could not send a request to {}", self.server))?;
                    self.state = if finishing.is_zero() {
                        // The FIN follows the request.
                        socket.close();
                        State::Reading(handle, None)
                    } else {
                        State::HalfClosing(handle, now + finishing.into())
                    };
                } else if socket.state() == tcp::State::Closed {
                    bail!("{} refused a connection", self.server);
                }
            }
            State::HalfClosing(handle, _) => {
                sockets.get_mut::<tcp::Socket<'_>>(handle).close();
                self.state = State::Reading(handle, None);
            }
            State::Reading(handle, _) => {
                let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
                let reset = delayed_acks.seen(self.endpoint()).resets > 0;
                let mut piece = vec![0; self.expected.len().div_ceil(PIECES as usize)];
                self.state = match read(socket, reset, &mut piece) {
                    Read::Nothing => State::Reading(handle, None),
                    Read::Bytes(length) => {
                        let expected = self.expected.iter().skip(self.bytes_read).take(length);
                        self.intact &= expected.eq(&piece[..length]);
                        self.bytes_read += length;
                        State::Reading(handle, Some(now + (reading / PIECES).into()))
                    }
                    Read::End => State::Done,
                    Read::ConnectionReset => State::Reset,
                };
            }
        }
        Ok(())
    }

    /// When it reads next, unless something arrives before.
    pub(super) fn next_read(&self) -> Option<Instant> {
        match self.state {
            State::Reading(_, next) => next,
            State::HalfClosing(_, next) => Some(next),
            State::Waiting | State::Requesting(_) | State::Done | State::Reset => None,
        }
    }

    /// What became of it, as far as it has come.
    pub(super) fn outcome(&self, seen: Seen) -> Outcome {
        Outcome {
            client: self.client,
            seen,
            is_done: self.is_done(),
            read_error: self.state == State::Reset,
            bytes_expected: u64::from(self.request.length),
            bytes_read: self.bytes_read as u64,
            intact: self.intact,
        }
    }

    /// For the message that it hangs.
    pub(super) fn describe(&self, sockets: &SocketSet<'_>) -> String {
        let state = match self.state {
            State::Requesting(handle)
            | State::HalfClosing(handle, _)
            | State::Reading(handle, _) => {
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
