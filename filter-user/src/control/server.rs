//! The side that answers: a running instance's.
//!
//! No client stops it, or another: questions, answers and connections are bounded in length, time
//! and number, and what takes its time is done outside of the runtime's thread.

use std::{collections::VecDeque, future::Future, io, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use log::{debug, warn};
use nix::{
    errno::Errno,
    sys::socket::{getsockopt, sockopt::PeerCredentials},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{broadcast, watch},
    task::{AbortHandle, JoinSet, spawn_blocking},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    Source, address,
    protocol::{Answer, LONGEST_QUESTION, MOST, Question},
    snapshot,
    trust::{is_instance, is_trusted},
};
use crate::{instance::InstanceName, report::Event};

/// As many connections at a time.
const MOST_CONNECTIONS: usize = 32;
/// How long a client may take to ask.
const ASKING: Duration = Duration::from_secs(5);
/// How long it may take to read an answer.
const READING: Duration = Duration::from_secs(10);
/// How long, in the end, answers that are on their way are waited for.
const ENDING: Duration = Duration::from_secs(2);
/// As many events between two snapshots.
const MOST_EVENTS: usize = 128;
/// Between two snapshots.
const INTERVALS: std::ops::RangeInclusive<u64> = 100..=3_600_000;

/// A name that was taken, and the socket on which its questions arrive.
#[derive(Debug)]
pub struct Listener(UnixListener);

/// Takes the name of an instance, so that no other of this network namespace has it.
///
/// None where a process that is not trusted holds it, of which the log tells: nobody can ask this
/// instance then, but a local user cannot keep it from running either.
///
/// # Errors
///
/// Where another instance has the name.
pub async fn claim(name: &InstanceName) -> anyhow::Result<Option<Listener>> {
    /// Another that starts or ends has the name without listening for a moment.
    const ATTEMPTS: usize = 10;
    let address = address(name)?;
    for _ in 0..ATTEMPTS {
        match std::os::unix::net::UnixListener::bind_addr(&address) {
            Ok(listener) => {
                listener.set_nonblocking(true)?;
                return Ok(Some(Listener(UnixListener::from_std(listener)?)));
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot take the name {name}"));
            }
        }
        // Without waiting: whoever holds it need not accept.
        match super::client::connect(name) {
            Ok(stream) => {
                let holder = getsockopt(&stream, PeerCredentials)?;
                let process = match holder.pid() {
                    // Of another PID namespace.
                    0 => String::new(),
                    pid => format!(", process {pid}"),
                };
                if is_instance(&holder) {
                    bail!(
                        "an instance called {name} runs here already{process}; give this one \
                         another name: --instance NAME"
                    );
                }
                warn!(
                    "user {} holds the name {name}{process}: nobody can ask this instance for its \
                     status; end that process, or give this instance another name",
                    holder.uid()
                );
                return Ok(None);
            }
            Err(Errno::ECONNREFUSED) => sleep(Duration::from_millis(20)).await,
            Err(Errno::EAGAIN) => break,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot tell who is called {name}"));
            }
        }
    }
    warn!(
        "the name {name} is taken by a process that does not answer: nobody can ask this instance \
         for its status; give it another name: --instance NAME"
    );
    Ok(None)
}

/// Answers until the sender of `stopped` goes away; then ends what is under way, but for answers
/// to [`Question::Detach`].
pub async fn serve(
    Listener(listener): Listener,
    source: Arc<dyn Source>,
    mut stopped: watch::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    let mut latest = VecDeque::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => if let Some(why) = refusal(&stream) {
                    refuse(&stream, why);
                } else {
                    make_room(&mut latest);
                    let conversation = converse(stream, Arc::clone(&source), stopped.clone());
                    latest.push_back(connections.spawn(async move {
                        if let Err(error) = conversation.await {
                            debug!("control: {error:#}");
                        }
                    }));
                },
                Err(error) => {
                    warn!("control: {error}");
                    // What is short of descriptors now need not be soon.
                    sleep(Duration::from_secs(1)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    let all = async { while connections.join_next().await.is_some() {} };
    // What is still under way is ended as it is dropped.
    timeout(ENDING, all).await.ok();
}

/// Ends the oldest of too many, so that newcomers are always heard.
fn make_room(latest: &mut VecDeque<AbortHandle>) {
    latest.retain(|connection| !connection.is_finished());
    while latest.len() >= MOST_CONNECTIONS {
        if let Some(oldest) = latest.pop_front() {
            oldest.abort();
        }
    }
}

fn refusal(stream: &UnixStream) -> Option<String> {
    match stream.peer_cred() {
        Ok(peer) if is_trusted(peer.uid()) => None,
        Ok(_) => {
            Some("it answers root, and the user that it runs as; ask as one of them".to_owned())
        }
        Err(error) => Some(format!("it cannot tell who asks: {error}")),
    }
}

/// Says so if that needs no waiting, as for a new connection.
fn refuse(stream: &UnixStream, why: String) {
    if let Ok(line) = line(&Answer::Refused(why)) {
        stream.try_write(&line).ok();
    }
}

async fn converse(
    stream: UnixStream,
    source: Arc<dyn Source>,
    mut stopped: watch::Receiver<()>,
) -> anyhow::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(LONGEST_QUESTION));
    let question = until(&mut stopped, timeout(ASKING, read(&mut reader))).await?;
    let question = match question.context("no question in time")? {
        Ok(question) => question,
        Err(error) => {
            let refused = line(&Answer::Refused(format!("{error:#}")))?;
            return write(&mut writer, &refused).await;
        }
    };
    match question {
        Question::Watch { interval, hosts } => {
            let reader = reader.into_inner().into_inner();
            let told = tell(source, interval, hosts, reader, writer);
            until(&mut stopped, told).await?
        }
        Question::Detach => write(&mut writer, &answer(source, question).await?).await,
        Question::Status | Question::Flows(_) | Question::Hosts { .. } => {
            let answered = async { write(&mut writer, &answer(source, question).await?).await };
            until(&mut stopped, answered).await?
        }
    }
}

/// What `future` gives, unless it all ends first.
async fn until<T>(
    stopped: &mut watch::Receiver<()>,
    future: impl Future<Output = T>,
) -> anyhow::Result<T> {
    tokio::select! {
        done = future => Ok(done),
        _ = stopped.changed() => bail!("the instance ends"),
    }
}

async fn read(reader: &mut BufReader<tokio::io::Take<OwnedReadHalf>>) -> anyhow::Result<Question> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).await?;
    if line.last() != Some(&b'\n') {
        bail!("it did not get a question of one line with at most {LONGEST_QUESTION} octets");
    }
    serde_json::from_slice(&line).context("it does not know that question")
}

async fn answer(source: Arc<dyn Source>, question: Question) -> anyhow::Result<Vec<u8>> {
    let answered = spawn_blocking(move || {
        let answer = match question {
            Question::Flows(mut query) => {
                query.limit = query.limit.min(MOST);
                source.flows(&query).map(Answer::Flows)
            }
            Question::Hosts { limit } => source.hosts(limit.min(MOST) as usize).map(Answer::Hosts),
            Question::Detach => source.detach().map(Answer::Detached),
            Question::Status | Question::Watch { .. } => source.status().map(Answer::Status),
        };
        line(&answer.unwrap_or_else(|error| Answer::Refused(format!("{error:#}"))))
    });
    Ok(answered.await??)
}

/// A snapshot now and each interval, until the client closes its side, or reads no more.
async fn tell(
    source: Arc<dyn Source>,
    milliseconds: u64,
    hosts: u32,
    mut reader: OwnedReadHalf,
    mut writer: OwnedWriteHalf,
) -> anyhow::Result<()> {
    let milliseconds = milliseconds.clamp(*INTERVALS.start(), *INTERVALS.end());
    let mut ticks = interval(Duration::from_millis(milliseconds));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut events = source.subscribe();
    let mut ignored = [0; 64];
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            read = reader.read(&mut ignored) => match read? {
                0 => return Ok(()),
                _ => continue,
            },
        }
        let source = Arc::clone(&source);
        let hosts = hosts.min(MOST) as usize;
        let taken = spawn_blocking(move || snapshot(&*source, hosts)).await?;
        let answer = match taken {
            Ok(mut snapshot) => {
                if let Some(events) = &mut events {
                    (snapshot.events, snapshot.events_skipped) = arrived(events);
                }
                Answer::Snapshot(snapshot)
            }
            Err(error) => Answer::Refused(format!("{error:#}")),
        };
        write(&mut writer, &line(&answer)?).await?;
    }
}

/// The latest of those that have arrived, and how many others there were.
fn arrived(events: &mut broadcast::Receiver<Event>) -> (Vec<Event>, u64) {
    let mut latest = VecDeque::new();
    let mut skipped = 0;
    loop {
        match events.try_recv() {
            Ok(event) => {
                if latest.len() == MOST_EVENTS {
                    latest.pop_front();
                    skipped += 1;
                }
                latest.push_back(event);
            }
            Err(broadcast::error::TryRecvError::Lagged(missed)) => skipped += missed,
            Err(_) => return (latest.into(), skipped),
        }
    }
}

async fn write(writer: &mut OwnedWriteHalf, line: &[u8]) -> anyhow::Result<()> {
    let written = timeout(READING, writer.write_all(line)).await;
    written.context("the client did not read its answer in time")??;
    Ok(())
}

fn line(answer: &Answer) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests;
