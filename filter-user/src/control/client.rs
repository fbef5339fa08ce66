//! The side that asks: what `lastack status` and the others are.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::{
    errno::Errno,
    sys::socket::{
        self, AddressFamily, SockFlag, SockType, UnixAddr, getsockopt, sockopt::PeerCredentials,
    },
};
use thiserror::Error;

use super::{
    PREFIX,
    protocol::{Answer, LONGEST_ANSWER, Question},
    trust::is_instance,
};
use crate::{instance::InstanceName, report::Snapshot};

/// How long an instance may take to accept a connection, when many ask at once.
const ACCEPTING: Duration = Duration::from_secs(2);
/// How long it may take to answer: to list millions of flows, or to take off what is on many interfaces,
/// takes longest.
const ANSWERING: Duration = Duration::from_mins(1);
/// How long it may take to say how it is.
const TELLING: Duration = Duration::from_secs(10);

/// A connection to a running instance that may be trusted.
#[derive(Debug)]
pub struct Connection {
    name: InstanceName,
    /// Its process.
    pid: i32,
    stream: BufReader<UnixStream>,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum Unreachable {
    /// Nobody listens.
    #[error("no instance called {0} runs in this network namespace")]
    NotThere(InstanceName),
    /// Whoever has the name is somebody else.
    #[error(
        "the name {name} is held by process {pid} of user {uid}, who is neither root nor you, and it is not known to be an instance, so it is not asked; ask as root, or as that user"
    )]
    Untrusted {
        /// The name.
        name: InstanceName,
        /// Its user.
        uid: u32,
        /// It.
        pid: i32,
    },
    /// It takes no connections.
    #[error("the instance {0} takes no connections; is its process stopped?")]
    Busy(InstanceName),
    /// Anything else.
    #[error("cannot talk to the instance {0}: {1}")]
    Other(InstanceName, io::Error),
}

impl Connection {
    /// Connects to the instance that has a name.
    ///
    /// # Errors
    ///
    /// Where there is none, or none that may be trusted.
    pub fn open(name: &InstanceName) -> Result<Self, Unreachable> {
        let start = Instant::now();
        let stream = loop {
            match connect(name) {
                Ok(stream) => break stream,
                Err(Errno::ECONNREFUSED) => return Err(Unreachable::NotThere(name.clone())),
                Err(Errno::EAGAIN) if start.elapsed() < ACCEPTING => {
                    sleep(Duration::from_millis(20));
                }
                Err(Errno::EAGAIN) => return Err(Unreachable::Busy(name.clone())),
                Err(error) => return Err(Unreachable::Other(name.clone(), error.into())),
            }
        };
        let other = |error: io::Error| Unreachable::Other(name.clone(), error);
        // Of whoever called listen(2).
        let peer = getsockopt(&stream, PeerCredentials).map_err(|error| other(error.into()))?;
        if !is_instance(&peer) {
            return Err(Unreachable::Untrusted {
                name: name.clone(),
                uid: peer.uid(),
                pid: peer.pid(),
            });
        }
        stream.set_nonblocking(false).map_err(other)?;
        let timeout = Some(ANSWERING);
        stream.set_read_timeout(timeout).map_err(other)?;
        stream.set_write_timeout(timeout).map_err(other)?;
        Ok(Self {
            name: name.clone(),
            pid: peer.pid(),
            stream: BufReader::new(stream),
        })
    }

    /// The instance's name.
    #[must_use]
    pub fn name(&self) -> &InstanceName {
        &self.name
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    ///
    /// Where it refuses, or ends meanwhile.
    pub fn ask(&mut self, question: &Question) -> anyhow::Result<Answer> {
        let patience = match question {
            Question::Status => TELLING,
            Question::Flows(_)
            | Question::Hosts { .. }
            | Question::Watch { .. }
            | Question::Detach => ANSWERING,
        };
        self.stream.get_ref().set_read_timeout(Some(patience))?;
        self.send(question)?;
        self.answer()
    }

    /// Asks for snapshots, which [`snapshot`](Self::snapshot) gives.
    ///
    /// # Errors
    ///
    /// Where it has ended.
    pub fn watch(&mut self, interval: Duration, hosts: u32) -> anyhow::Result<()> {
        let milliseconds = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        let patience = interval.saturating_add(ANSWERING);
        self.stream.get_ref().set_read_timeout(Some(patience))?;
        self.send(&Question::Watch {
            interval: milliseconds,
            hosts,
        })
    }

    /// The next snapshot, when it is time for it.
    ///
    /// # Errors
    ///
    /// Where it refuses, or ends meanwhile.
    pub fn snapshot(&mut self) -> anyhow::Result<Snapshot> {
        let Answer::Snapshot(snapshot) = self.answer()? else {
            bail!("the instance {} answers another question", self.name);
        };
        Ok(snapshot)
    }

    fn send(&mut self, question: &Question) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(question)?;
        line.push(b'\n');
        // Whoever refuses us may do so before we ask: its answer tells.
        match self.stream.get_mut().write_all(&line) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(error).with_context(|| format!("cannot ask the instance {}", self.name))
            }
            _ => Ok(()),
        }
    }

    fn answer(&mut self) -> anyhow::Result<Answer> {
        let name = &self.name;
        let mut line = Vec::new();
        let read = (&mut self.stream)
            .take(LONGEST_ANSWER)
            .read_until(b'\n', &mut line);
        match read {
            Ok(_) if line.last() == Some(&b'\n') => {}
            Ok(0) => bail!("the instance {name} has ended"),
            Ok(_) => bail!("the instance {name} broke its answer off; ask again, or for less"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                bail!(
                    "the instance {name} does not answer; see what its process {pid} does: one that is stopped goes \
                     on by `kill -CONT {pid}`, and one that hangs can be ended by `kill -9 {pid}`",
                    pid = self.pid
                )
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                bail!("the instance {name} has ended")
            }
            Err(error) => {
                return Err(error).with_context(|| format!("the instance {name} does not answer"));
            }
        }
        let answer = serde_json::from_slice(&line).with_context(|| {
            format!("the instance {name} answers in another way; is it of another version?")
        })?;
        if let Answer::Refused(why) = answer {
            bail!("the instance {name} refuses: {why}");
        }
        Ok(answer)
    }
}

/// A connection to whoever has the name, that does not block. `EAGAIN`: its queue is full.
pub(super) fn connect(name: &InstanceName) -> nix::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = UnixAddr::new_abstract(format!("{PREFIX}{name}").as_bytes())?;
    socket::connect(socket.as_raw_fd(), &address)?;
    Ok(socket.into())
}
