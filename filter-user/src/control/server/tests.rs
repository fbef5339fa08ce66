use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Instant,
};

use tokio::sync::oneshot;

use super::*;
use crate::{
    control::{Connection, by_option, protocol::FlowsQuery},
    report::{Detached, Flow, Flows, Hosts, Status, Timestamp},
    settings::Settings,
};

type StdStream = std::os::unix::net::UnixStream;

/// Answers without any programs.
struct MadeUp {
    name: InstanceName,
    events: broadcast::Sender<Event>,
    flows: usize,
    detaching: Mutex<mpsc::Sender<()>>,
}

impl Source for MadeUp {
    fn status(&self) -> anyhow::Result<Status> {
        Ok(Status {
            instance: self.name.clone(),
            pid: Some(std::process::id()),
            version: "0".to_owned(),
            since: Timestamp::now(),
            age_seconds: Some(1.5),
            pinned: None,
            settings: by_option(&Settings::default()),
            interfaces: Vec::new(),
            flows: Some(1),
            flows_capacity: 2,
            events_lost: 3,
        })
    }

    fn flows(&self, query: &FlowsQuery) -> anyhow::Result<Flows> {
        let flow = Flow {
            client: [10, 0, 0, 1].into(),
            client_port: 1,
            server: [10, 0, 0, 2].into(),
            server_port: 2,
            state: "closed".to_owned(),
            idle_seconds: 0.5,
            expires_in_seconds: 1.5,
            drops: 0,
            iface: None,
        };
        Ok(Flows {
            flows: vec![flow; self.flows.min(query.limit as usize)],
            total: self.flows as u64,
        })
    }

    fn hosts(&self, limit: usize) -> anyhow::Result<Hosts> {
        bail!("no hosts, and not {limit}")
    }

    fn detach(&self) -> anyhow::Result<Detached> {
        self.detaching.lock().unwrap().send(())?;
        // Longer than the server takes to see that all ends.
        thread::sleep(Duration::from_millis(200));
        Ok(Detached {
            instance: self.name.clone(),
            pid: None,
            interfaces: vec!["wan0".to_owned()],
            unpinned: None,
        })
    }

    fn subscribe(&self) -> Option<broadcast::Receiver<Event>> {
        Some(self.events.subscribe())
    }
}

/// A server in a thread of its own.
struct Running {
    name: InstanceName,
    events: broadcast::Sender<Event>,
    stop: Option<watch::Sender<()>>,
    is_detaching: mpsc::Receiver<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    fn start(flows: usize) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name: InstanceName = format!("unit-{}-{number}", std::process::id())
            .parse()
            .unwrap();
        let (events, _) = broadcast::channel(4096);
        let (stop, stopped) = watch::channel(());
        let (ready, is_ready) = oneshot::channel();
        let (detaching, is_detaching) = mpsc::channel();
        let source = MadeUp {
            name: name.clone(),
            events: events.clone(),
            flows,
            detaching: Mutex::new(detaching),
        };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let listener = claim(&source.name).await.unwrap().unwrap();
                ready.send(()).unwrap();
                serve(listener, Arc::new(source), stopped).await;
            });
        });
        is_ready.blocking_recv().unwrap();
        Self {
            name,
            events,
            stop: Some(stop),
            is_detaching,
            thread: Some(thread),
        }
    }

    fn connect(&self) -> StdStream {
        let address = SocketAddr::from_abstract_name(format!("lastack/{}", self.name));
        let stream = StdStream::connect_addr(&address.unwrap()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    fn ask(&self, question: &Question) -> anyhow::Result<Answer> {
        Connection::open(&self.name)?.ask(question)
    }

    fn end(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn event(port: u16) -> Event {
    Event {
        time: Timestamp::now(),
        iface: "wan0".to_owned(),
        client: [10, 0, 0, 1].into(),
        client_port: port,
        server: [10, 0, 0, 2].into(),
        server_port: 80,
        seq: 1,
        ack: 2,
        reason: "spurious_ack_dropped".to_owned(),
    }
}

/// What is answered to these octets.
fn answer_to(mut stream: StdStream, octets: &[u8]) -> String {
    // It may be refused before all of it is sent.
    stream.write_all(octets).ok();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).ok();
    answer
}

#[test]
fn questions_are_answered_and_errors_are_told() {
    let running = Running::start(7);
    let Answer::Status(status) = running.ask(&Question::Status).unwrap() else {
        panic!("no status");
    };
    assert_eq!(
        (status.instance, status.flows),
        (running.name.clone(), Some(1))
    );
    let query = FlowsQuery {
        limit: 3,
        ..FlowsQuery::default()
    };
    let Answer::Flows(flows) = running.ask(&Question::Flows(query)).unwrap() else {
        panic!("no flows");
    };
    assert_eq!((flows.flows.len(), flows.total), (3, 7));
    let error = running.ask(&Question::Hosts { limit: 5 }).unwrap_err();
    assert!(
        error.to_string().ends_with("refuses: no hosts, and not 5"),
        "{error}"
    );
}

#[test]
fn as_many_flows_as_an_answer_may_hold_fit_into_it() {
    let running = Running::start(MOST as usize);
    let query = FlowsQuery {
        limit: u32::MAX,
        ..FlowsQuery::default()
    };
    let Answer::Flows(flows) = running.ask(&Question::Flows(query)).unwrap() else {
        panic!("no flows");
    };
    assert_eq!(flows.flows.len(), MOST as usize);
    // Addresses of IPv6, at their longest, add this.
    let line = line(&Answer::Flows(flows)).unwrap().len() as u64;
    assert!(
        line + 2 * 30 * u64::from(MOST) < crate::control::protocol::LONGEST_ANSWER,
        "{line}"
    );
}

#[test]
fn what_is_no_question_is_refused() {
    let running = Running::start(0);
    for wrong in ["{}", "dance", "{\"ask\":\"dance\"}", "\u{0}\u{1}"] {
        let answer = answer_to(running.connect(), format!("{wrong}\n").as_bytes());
        assert!(answer.starts_with("{\"refused\":"), "{wrong:?}: {answer}");
    }
    let endless = answer_to(running.connect(), &vec![b'x'; 1 << 20]);
    assert!(endless.is_empty() || endless.contains("16384"), "{endless}");
    assert!(running.ask(&Question::Status).is_ok());
}

#[test]
fn silent_clients_keep_nobody_from_asking() {
    let running = Running::start(0);
    let silent: Vec<_> = (0..4 * MOST_CONNECTIONS)
        .map(|_| running.connect())
        .collect();
    let start = Instant::now();
    running.ask(&Question::Status).unwrap();
    assert!(start.elapsed() < ASKING, "{:?}", start.elapsed());
    // Those that are not ended for others' sake are for their own.
    for mut silent in silent {
        assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_watcher_gets_snapshots_with_what_happened_between_them() {
    let running = Running::start(0);
    // Snapshots have hosts, which this source refuses: seen as that.
    let mut connection = Connection::open(&running.name).unwrap();
    connection.watch(Duration::from_millis(100), 5).unwrap();
    let error = connection.snapshot().unwrap_err();
    assert!(error.to_string().contains("not 5"), "{error}");
    let mut events = running.events.subscribe();
    for port in 0..200 {
        running.events.send(event(port)).unwrap();
    }
    let (latest, skipped) = arrived(&mut events);
    assert_eq!(
        (latest.len() as u64, skipped),
        (MOST_EVENTS as u64, 200 - MOST_EVENTS as u64)
    );
    assert_eq!(latest.last().unwrap().client_port, 199);
    for _ in 0..5000_u32 {
        running.events.send(event(1)).unwrap();
    }
    let (latest, skipped) = arrived(&mut events);
    assert_eq!(
        latest.len() as u64 + skipped,
        5000,
        "each is there, or counted"
    );
}

#[test]
fn an_end_waits_for_what_detaches_and_for_nothing_else() {
    let mut running = Running::start(0);
    let silent = running.connect();
    let mut detaching = running.connect();
    detaching.write_all(b"{\"ask\":\"detach\"}\n").unwrap();
    running.is_detaching.recv().unwrap();
    let start = Instant::now();
    running.end();
    assert!(start.elapsed() < ENDING, "{:?}", start.elapsed());
    let mut answer = String::new();
    BufReader::new(detaching).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("{\"detached\":"), "{answer}");
    assert_eq!((&silent).read(&mut [0]).unwrap(), 0);
    let gone = Connection::open(&running.name).unwrap_err();
    assert!(gone.to_string().contains("no instance called"), "{gone}");
}

#[test]
fn a_name_can_be_taken_once() {
    let running = Running::start(0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let error = runtime
        .block_on(claim(&running.name))
        .unwrap_err()
        .to_string();
    let process = format!("process {}", std::process::id());
    assert!(
        error.contains(&process) && error.contains("--instance"),
        "{error}"
    );
}
