//! Connections, one after the other until it is over.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    ops::AddAssign,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::{
    super::{
        client::{Client, Plan},
        server::{self, Request},
        topology::{SERVER_V4, SERVER_V6},
    },
    site::PAGE,
};

/// nginx's port.
pub(super) const HTTP: u16 = 80;
/// How long an ordinary connection may hang.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two of the same program.
const PAUSE: Duration = Duration::from_millis(5);
/// How many failures are told.
const TOLD: usize = 16;

/// Of the client with the fault, at once.
const PLAN: Plan = Plan {
    connections: 50,
    spurious_ack_after: Some(Duration::from_millis(200)),
    response: 16 * 1024,
    reading: Duration::from_millis(400),
    timeout: Duration::from_mins(1),
};

/// What became of connections.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Traffic {
    /// Of the client with the fault.
    pub faulty: u64,
    /// ACKs that its delayed-ACK timers sent.
    pub spurious_acks: u64,
    /// Those of its connections that were reset, or not read to the end.
    pub resets: u64,
    /// Of correct clients that half-close.
    pub half_closing: u64,
    /// Of ordinary clients, whose server closes first.
    pub ordinary: u64,
    /// What went wrong with correct and ordinary ones, the first.
    pub failures: Vec<String>,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.faulty += other.faulty;
        self.spurious_acks += other.spurious_acks;
        self.resets += other.resets;
        self.half_closing += other.half_closing;
        self.ordinary += other.ordinary;
        self.failures.extend(other.failures);
        self.failures.truncate(TOLD);
    }
}

/// The client with the fault.
pub(super) fn faulty(client: &mut Client, over: &AtomicBool) -> Result<Traffic> {
    let mut traffic = Traffic::default();
    while !over.load(Ordering::Relaxed) {
        for outcome in client.run(&PLAN, &mut |_| {})? {
            let is_reset = outcome.read_error || outcome.seen.resets > 0;
            let is_read = outcome.bytes_read == outcome.bytes_expected;
            traffic.faulty += 1;
            traffic.spurious_acks += outcome.seen.spurious_acks;
            traffic.resets += u64::from(is_reset || !is_read);
            if !outcome.intact {
                traffic.failures.push(format!("{outcome:?}"));
            }
        }
    }
    Ok(traffic)
}

/// A program that half-closes when it has asked, and reads to the end.
pub(super) fn half_closing(over: &AtomicBool) -> Traffic {
    let mut traffic = Traffic::default();
    repeat(over, &mut traffic.failures, |number| {
        traffic.half_closing += 1;
        let request = Request {
            seed: fastrand::u64(..),
            length: fastrand::u32(1..64 * 1024),
        };
        let mut stream = connect(number, server::PORT)?;
        stream.write_all(&request.encode()).context("write")?;
        stream.shutdown(Shutdown::Write).context("shutdown")?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).context("read")?;
        ensure!(response == request.response(), "other bytes than were sent");
        Ok(())
    });
    traffic
}

/// A program that fetches pages; the server closes first.
pub(super) fn ordinary(over: &AtomicBool) -> Traffic {
    let mut traffic = Traffic::default();
    repeat(over, &mut traffic.failures, |number| {
        traffic.ordinary += 1;
        let mut stream = connect(number, HTTP)?;
        stream
            .write_all(b"GET /page HTTP/1.0\r\n\r\n")
            .context("write")?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).context("read")?;
        ensure!(response.ends_with(PAGE), "another page than there is");
        Ok(())
    });
    traffic
}

fn repeat(
    over: &AtomicBool,
    failures: &mut Vec<String>,
    mut connection: impl FnMut(u64) -> Result<()>,
) {
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        if let Err(error) = connection(number)
            && failures.len() < TOLD
        {
            failures.push(format!("{error:#}"));
        }
        number += 1;
        thread::sleep(PAUSE);
    }
}

/// Over IPv4 and IPv6 by turns.
fn connect(number: u64, port: u16) -> Result<TcpStream> {
    let server: IpAddr = if number.is_multiple_of(2) {
        SERVER_V4.into()
    } else {
        SERVER_V6.into()
    };
    let stream = TcpStream::connect_timeout(&SocketAddr::new(server, port), PATIENCE);
    let stream = stream.context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}
