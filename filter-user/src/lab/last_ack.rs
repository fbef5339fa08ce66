//! Watches how long the server's sockets stay in LAST-ACK, in the kernel's own table.

use std::{
    collections::HashMap,
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};

use super::namespace::Namespace;

/// Between two looks at the table: a residence is known no better than that.
pub const RESOLUTION: Duration = Duration::from_millis(10);

/// `TCP_LAST_ACK`, `TCP_LISTEN` and `TCP_NEW_SYN_RECV`'s name in the table, in hexadecimal.
const LAST_ACK: &str = "09";
const LISTEN: &str = "0A";
const SYN_RECEIVED: &str = "03";

/// A thread that looks at the TCP sockets of a namespace. Dropping it ends it.
pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<Seen>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Connections, but for those that are not established yet.
    open: AtomicUsize,
}

/// What it saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How long each socket that left LAST-ACK was there, in no order; 0 if it was seen once.
    pub residences: Vec<Duration>,
    /// Sockets that are still there.
    pub left: usize,
}

impl Watch {
    /// Starts it.
    pub fn start(namespace: &Namespace) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        // A thread starts in the namespace of the thread that starts it.
        let thread = namespace
            .run(move || {
                thread::Builder::new()
                    .name("last-ack".to_owned())
                    .spawn(move || watch(&watched))
            })
            .context("could not start a thread")?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// How many connections the server had at the last look, whatever their state.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub fn finish(mut self) -> anyhow::Result<Seen> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("the watch ended before")?;
        thread
            .join()
            .map_err(|_| anyhow!("the watch panicked"))?
            .context("could not read the kernel's TCP sockets")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Nobody asks what it saw.
            drop(thread.join());
        }
    }
}

fn watch(shared: &Shared) -> io::Result<Seen> {
    /// When a socket was first and last seen.
    struct Stay {
        first: Instant,
        last: Instant,
    }

    let mut stays: HashMap<String, Stay> = HashMap::new();
    loop {
        // Before the look: what it sees at the end is what is left.
        let stop = shared.stop.load(Ordering::Relaxed);
        let now = Instant::now();
        let (mut open, mut left) = (0, 0);
        for table in ["tcp", "tcp6"] {
            let table = fs::read_to_string(format!("/proc/thread-self/net/{table}"))?;
            for line in table.lines().skip(1) {
                let mut columns = line.split_whitespace().skip(1);
                let (Some(local), Some(remote), Some(state)) =
                    (columns.next(), columns.next(), columns.next())
                else {
                    continue;
                };
                open += usize::from(![LISTEN, SYN_RECEIVED].contains(&state));
                if state == LAST_ACK {
                    left += 1;
                    stays
                        .entry(format!("{local} {remote}"))
                        .and_modify(|stay| stay.last = now)
                        .or_insert(Stay {
                            first: now,
                            last: now,
                        });
                }
            }
        }
        shared.open.store(open, Ordering::Relaxed);
        if stop {
            let ended = stays.values().filter(|stay| stay.last != now);
            return Ok(Seen {
                residences: ended.map(|stay| stay.last - stay.first).collect(),
                left,
            });
        }
        thread::sleep(RESOLUTION);
    }
}
