//! Correct clients: programs on the kernel's TCP that half-close, as `ssh`, `nc -N` and old
//! HTTP clients do, and read to the end.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Context as _;
use nix::errno::Errno;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    server::{self, Request},
    topology::{Host, SERVER_V4, SERVER_V6},
};

/// The first of the ports that connections come from: connection n has this one plus n.
pub const FIRST_PORT: u16 = 20_000;
/// In how many pieces a slow application reads a response.
const PIECES: u32 = 16;
/// Between the opening of two connections.
const OPENING_INTERVAL: Duration = Duration::from_millis(1);

/// What the clients are to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many connections to open, by turns over IPv4 and IPv6.
    pub connections: u16,
    /// Length of each response in bytes.
    pub response: u32,
    /// How long every second application takes to read a response; the others read at once.
    pub reading: Duration,
    /// How long a connection may take.
    pub timeout: Duration,
}

/// What became of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The client's end.
    pub client: SocketAddr,
    /// Bytes that the server was asked for.
    pub bytes_expected: u64,
    /// Bytes that the application read.
    pub bytes_read: u64,
    /// Whether they are the ones that the server was to send.
    pub intact: bool,
    /// The call that failed and why, such as `read: ECONNRESET`.
    pub failure: Option<String>,
}

impl Outcome {
    /// Whether all went as the application expects it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failure.is_none() && self.intact && self.bytes_read == self.bytes_expected
    }
}

/// How often each failure occurred.
#[must_use]
pub fn failures(outcomes: &[Outcome]) -> BTreeMap<String, u64> {
    let mut failures = BTreeMap::new();
    for failure in outcomes
        .iter()
        .filter_map(|outcome| outcome.failure.clone())
    {
        *failures.entry(failure).or_default() += 1;
    }
    failures
}

/// Opens the connections from a host and returns when each has ended or taken too long.
pub fn run(host: &Host, plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let subnet = host.subnet;
    host.namespace.run(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("could not start the clients")?;
        runtime.block_on(async {
            let mut connections = JoinSet::new();
            for number in 0..plan.connections {
                let (client, server): (IpAddr, IpAddr) = if number.is_multiple_of(2) {
                    (subnet.neighbour_v4.into(), SERVER_V4.into())
                } else {
                    (subnet.neighbour_v6.into(), SERVER_V6.into())
                };
                let port = FIRST_PORT.checked_add(number).context("out of ports")?;
                let is_slow = number & 2 == 0;
                connections.spawn(connection(
                    SocketAddr::new(client, port),
                    SocketAddr::new(server, server::PORT),
                    Request {
                        seed: number.into(),
                        length: plan.response,
                    },
                    is_slow.then_some(plan.reading),
                    plan.timeout,
                ));
                sleep(OPENING_INTERVAL).await;
            }
            Ok(connections.join_all().await)
        })
    })
}

async fn connection(
    client: SocketAddr,
    server: SocketAddr,
    request: Request,
    reading: Option<Duration>,
    longest: Duration,
) -> Outcome {
    let mut outcome = Outcome {
        client,
        bytes_expected: request.length.into(),
        bytes_read: 0,
        intact: true,
        failure: None,
    };
    let talk = talk(server, request, reading, &mut outcome);
    if let Err(failure) = timeout(longest, talk)
        .await
        .unwrap_or(Err("took too long".to_owned()))
    {
        outcome.failure = Some(failure);
    }
    outcome
}

/// Connects, asks, half-closes, reads to the end, closes.
async fn talk(
    server: SocketAddr,
    request: Request,
    reading: Option<Duration>,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let socket = if outcome.client.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    };
    let socket = socket.map_err(failed("socket"))?;
    socket.bind(outcome.client).map_err(failed("bind"))?;
    let mut stream = socket.connect(server).await.map_err(failed("connect"))?;
    let sent = stream.write_all(&request.encode()).await;
    sent.map_err(failed("write"))?;
    stream.shutdown().await.map_err(failed("shutdown"))?;
    let expected = request.response();
    let mut piece = vec![0; expected.len().div_ceil(PIECES as usize)];
    loop {
        if let Some(reading) = reading {
            sleep(reading / PIECES).await;
        }
        let length = stream.read(&mut piece).await.map_err(failed("read"))?;
        if length == 0 {
            return Ok(());
        }
        let position = usize::try_from(outcome.bytes_read).unwrap_or(usize::MAX);
        let expected = expected.iter().skip(position).take(length);
        outcome.intact &= expected.eq(&piece[..length]);
        outcome.bytes_read += length as u64;
    }
}

/// A failure by the name of the call and of the error, in few and constant words.
fn failed(call: &'static str) -> impl FnOnce(io::Error) -> String {
    move |error| match error.raw_os_error() {
        Some(number) => format!("{call}: {:?}", Errno::from_raw(number)),
        None => format!("{call}: {}", error.kind()),
    }
}
