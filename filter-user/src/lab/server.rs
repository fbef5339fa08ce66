//! The lab's server: an ordinary program on the kernel's TCP, which closes last.
//!
//! It reads a request until the client's FIN, answers and closes: its socket goes from
//! CLOSE-WAIT through LAST-ACK and is freed by the client's ACK. It knows nothing of the
//! fault; the RST that answers another ACK is the kernel's. A hasty one does not wait for the
//! client's FIN.

use std::{
    fs, io,
    net::{IpAddr, TcpListener},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, ensure};
use nix::sys::socket::{Backlog, listen as listen_for};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
};

use super::{
    namespace::Namespace,
    topology::{SERVER_V4, SERVER_V6},
};

/// The port that it listens on, over IPv4 and IPv6.
pub const PORT: u16 = 8080;
/// Connections that are not accepted yet; the kernel's limit, net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// What a client asks for: so many bytes that only this seed gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Makes the response differ from all others.
    pub seed: u64,
    /// Length of the response in bytes.
    pub length: u32,
}

impl Request {
    const ENCODED_LENGTH: usize = 12;

    /// What the client sends.
    #[must_use]
    pub fn encode(self) -> [u8; Self::ENCODED_LENGTH] {
        let mut encoded = [0; Self::ENCODED_LENGTH];
        let (seed, length) = encoded.split_at_mut(size_of::<u64>());
        seed.copy_from_slice(&self.seed.to_be_bytes());
        length.copy_from_slice(&self.length.to_be_bytes());
        encoded
    }

    fn decode(encoded: &[u8]) -> Option<Self> {
        let (seed, length) = encoded.split_first_chunk()?;
        Some(Self {
            seed: u64::from_be_bytes(*seed),
            length: u32::from_be_bytes(length.try_into().ok()?),
        })
    }

    /// What the server answers.
    #[must_use]
    pub fn response(self) -> Vec<u8> {
        let mut response = vec![0; self.length as usize];
        fastrand::Rng::with_seed(self.seed).fill(&mut response);
        response
    }
}

/// A running server. Dropping it ends it.
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// When a server answers, and closes.
#[derive(Clone, Copy)]
enum Manner {
    /// Once the client has sent its FIN.
    Patient,
    /// Once it has the request.
    Hasty,
}

impl Server {
    /// Starts the server; when this returns, it accepts connections.
    pub fn start(namespace: &Namespace) -> anyhow::Result<Self> {
        Self::start_with(namespace, Manner::Patient)
    }

    /// The same, but it closes without waiting for the client's FIN.
    pub fn start_hasty(namespace: &Namespace) -> anyhow::Result<Self> {
        Self::start_with(namespace, Manner::Hasty)
    }

    fn start_with(namespace: &Namespace, manner: Manner) -> anyhow::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let thread = namespace
            .run(move || {
                let v4 = listen(SERVER_V4.into())?;
                let v6 = listen(SERVER_V6.into())?;
                // A thread starts in the namespace of the thread that starts it.
                thread::Builder::new()
                    .name("server".to_owned())
                    .spawn(move || serve([v4, v6], manner, stopped))
            })
            .context("could not start the server")?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the lab's server panicked");
        }
    }
}

/// How many segments with RST the kernel has sent from a namespace.
pub fn resets_sent(namespace: &Namespace) -> anyhow::Result<u64> {
    tcp_counter(namespace, "OutRsts")
}

/// How many segments the kernel has sent again from a namespace.
pub fn retransmissions(namespace: &Namespace) -> anyhow::Result<u64> {
    tcp_counter(namespace, "RetransSegs")
}

/// One of the counters of RFC 4022, by the kernel's name.
fn tcp_counter(namespace: &Namespace, wanted: &str) -> anyhow::Result<u64> {
    let table = namespace
        .run(|| fs::read_to_string("/proc/thread-self/net/snmp"))
        .context("could not read the kernel's TCP counters")?;
    let mut lines = table.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let (names, values) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    let value = names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find_map(|(name, value)| (name == wanted).then_some(value));
    Ok(value
        .with_context(|| format!("the kernel does not count its {wanted}"))?
        .parse()?)
}

fn listen(address: IpAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((address, PORT))?;
    // On a network that loses segments many wait for the end of their handshake.
    listen_for(&listener, Backlog::new(BACKLOG)?)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn serve(listeners: [TcpListener; 2], manner: Manner, stopped: oneshot::Receiver<()>) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return log::error!("the lab's server could not start: {error}"),
    };
    runtime.block_on(async {
        for listener in listeners {
            tokio::spawn(async move {
                if let Err(error) = accept(listener, manner).await {
                    log::error!("the lab's server could not accept: {error}");
                }
            });
        }
        // Also when the sender is dropped.
        drop(stopped.await);
    });
}

async fn accept(listener: TcpListener, manner: Manner) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, client) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = answer(stream, manner).await {
                log::warn!("the lab's server could not answer {client}: {error:#}");
            }
        });
    }
}

async fn answer(mut stream: TcpStream, manner: Manner) -> anyhow::Result<()> {
    let mut encoded = Vec::with_capacity(Request::ENCODED_LENGTH);
    match manner {
        Manner::Patient => stream.read_to_end(&mut encoded).await?,
        Manner::Hasty => {
            let mut request = (&mut stream).take(Request::ENCODED_LENGTH as u64);
            request.read_to_end(&mut encoded).await?
        }
    };
    let request = Request::decode(&encoded);
    ensure!(request.is_some(), "a request of {} bytes", encoded.len());
    if let Some(request) = request {
        stream.write_all(&request.response()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_encoding_and_responses_differ_by_seed() {
        let request = Request {
            seed: 7,
            length: 100,
        };
        assert_eq!(Request::decode(&request.encode()), Some(request));
        assert_eq!(Request::decode(b"short"), None);
        assert_eq!(request.response().len(), 100);
        assert_ne!(
            request.response(),
            Request { seed: 8, ..request }.response()
        );
    }
}
