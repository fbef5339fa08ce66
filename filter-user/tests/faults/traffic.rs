//! Datagrams of a host behind the gateway to the server and back, all the time.

use std::{
    fmt::{self, Display, Formatter},
    net::UdpSocket,
    ops::AddAssign,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use filter_user::lab::topology::{Host, SERVER_V4, Topology};

use super::stage::Way;

const ECHO: u16 = 7;
const PAUSE: Duration = Duration::from_millis(5);
/// How long it waits for those that have not returned yet.
const PATIENCE: Duration = Duration::from_secs(3);
/// How much may be lost where attaching interrupts, in per cent of what was sent.
const INTERRUPTED: u64 = 5;

/// One datagram after another goes to the server, which returns it.
pub(crate) struct Traffic {
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    sent: Arc<AtomicU64>,
    returned: Arc<AtomicU64>,
    _host: Host,
}

/// What became of all of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loss {
    sent: u64,
    lost: u64,
}

impl Loss {
    /// Nothing was lost; where attaching interrupts, little.
    #[track_caller]
    pub(crate) fn assert_within(self, way: Way) {
        assert!(self.sent > 0, "{}: no traffic", way.name);
        let most = if way.interrupts {
            self.sent * INTERRUPTED / 100
        } else {
            0
        };
        assert!(self.lost <= most, "{}: {self}, at most {most}", way.name);
    }
}

impl AddAssign for Loss {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.lost += other.lost;
    }
}

impl Display for Loss {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} datagrams lost", self.lost, self.sent)
    }
}

impl Traffic {
    pub(crate) fn start(topology: &mut Topology) -> Self {
        let host = topology.add_host().unwrap();
        let bind = |port: u16| move || UdpSocket::bind(("0.0.0.0", port)).unwrap();
        let server = topology.server.run(bind(ECHO));
        let socket = host.namespace.run(bind(0));
        for socket in [&server, &socket] {
            socket.set_read_timeout(Some(PAUSE)).unwrap();
        }
        socket.connect((SERVER_V4, ECHO)).unwrap();
        let mut traffic = Self {
            ends: Arc::default(),
            threads: Vec::new(),
            sent: Arc::default(),
            returned: Arc::default(),
            _host: host,
        };
        traffic.thread(move |_| {
            let mut datagram = [0; 8];
            if let Ok((length, from)) = server.recv_from(&mut datagram) {
                server.send_to(&datagram[..length], from).unwrap();
            }
        });
        let (sent, returned) = (Arc::clone(&traffic.sent), Arc::clone(&traffic.returned));
        traffic.thread(move |ends| {
            if !ends {
                socket.send(&[0; 8]).unwrap();
                sent.fetch_add(1, Ordering::Relaxed);
            }
            // It waits for the pause between two, if nothing comes.
            while socket.recv(&mut [0; 8]).is_ok() {
                returned.fetch_add(1, Ordering::Relaxed);
            }
        });
        traffic
    }

    fn thread(&mut self, mut turn: impl FnMut(bool) + Send + 'static) {
        let ends = Arc::clone(&self.ends);
        let (sent, returned) = (Arc::clone(&self.sent), Arc::clone(&self.returned));
        self.threads.push(thread::spawn(move || {
            let mut since = None;
            loop {
                let is_ending = ends.load(Ordering::Relaxed);
                turn(is_ending);
                if is_ending {
                    let since = *since.get_or_insert_with(Instant::now);
                    let all = returned.load(Ordering::Relaxed) == sent.load(Ordering::Relaxed);
                    if all || since.elapsed() > PATIENCE {
                        return;
                    }
                }
            }
        }));
    }

    /// Ends it; gives what did not return.
    pub(crate) fn end(mut self) -> Loss {
        self.join();
        let sent = self.sent.load(Ordering::Relaxed);
        let lost = sent - self.returned.load(Ordering::Relaxed);
        Loss { sent, lost }
    }

    fn join(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.join();
    }
}
