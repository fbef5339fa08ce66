//! Connections of HTTP clients, bounded in number, in time and in what they may send.

use std::{collections::VecDeque, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use log::warn;
use tokio::{
    net::{TcpListener, TcpStream},
    pin,
    task::{AbortHandle, yield_now},
    time::{sleep, timeout},
};

/// What clients may ask of the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many are connected; one more ends the oldest, so that a newcomer is always heard.
    connections: usize,
    /// How long a request's header may take, from when it could have begun.
    header: Duration,
    /// After how long a connection takes no more requests.
    age: Duration,
    /// How long the last response may take then.
    ending: Duration,
}

/// Far more than scrapers need, and well below the 1024 descriptors that a process has by default.
pub(super) const LIMITS: Limits = Limits {
    connections: 256,
    header: Duration::from_secs(10),
    age: Duration::from_mins(1),
    ending: Duration::from_secs(5),
};

/// How long a request's header may be; hyper takes no less.
const MOST_OCTETS: usize = 8_192;
/// How many fields it may have. Prometheus sends five.
const MOST_FIELDS: usize = 64;

/// How long it pauses where the kernel gives no connection: for want of descriptors or memory.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves whoever connects, forever. Where it is dropped, so is every connection.
pub(super) async fn accept(listener: TcpListener, router: Router, limits: Limits) {
    let service = TowerToHyperService::new(router);
    let mut connections = Connections(VecDeque::with_capacity(limits.connections));
    let mut failed = false;
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                failed = false;
                connections.make_room(limits.connections);
                let connection = tokio::spawn(serve(socket, service.clone(), limits));
                connections.0.push_back(connection.abort_handle());
                // Its request may be here, and more newcomers than it could outlive.
                yield_now().await;
            }
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    warn!("metrics: cannot accept a connection: {error}; trying again");
                }
                connections.end_oldest();
                sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(socket: TcpStream, service: TowerToHyperService<Router>, limits: Limits) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(MOST_OCTETS)
        .max_headers(MOST_FIELDS)
        .serve_connection(TokioIo::new(socket), service);
    pin!(connection);
    // What goes wrong with a client is the client's to know.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = sleep(limits.age) => connection.as_mut().graceful_shutdown(),
    }
    drop(timeout(limits.ending, connection).await);
}

/// The oldest first; those that have ended may be among them.
struct Connections(VecDeque<AbortHandle>);

impl Connections {
    fn make_room(&mut self, most: usize) {
        if self.0.len() >= most {
            self.0.retain(|connection| !connection.is_finished());
        }
        if self.0.len() >= most {
            self.end_oldest();
        }
    }

    fn end_oldest(&mut self) {
        if let Some(oldest) = self.0.pop_front() {
            oldest.abort();
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::Instant,
    };

    use super::*;

    const LONG: Duration = Duration::from_hours(1);
    const GENEROUS: Limits = Limits {
        connections: 1_000,
        header: LONG,
        age: LONG,
        ending: LONG,
    };
    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: lastack\r\n\r\n";

    async fn start(limits: Limits) -> SocketAddr {
        start_server(limits).await.0
    }

    async fn start_server(limits: Limits) -> (SocketAddr, AbortHandle) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "here\n"));
        let server = tokio::spawn(accept(listener, router, limits));
        (address, server.abort_handle())
    }

    async fn connect(address: SocketAddr, words: &str) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(words.as_bytes()).await.unwrap();
        client
    }

    /// What a client reads until its connection ends, by whatever way.
    async fn rest(mut client: TcpStream) -> String {
        let mut text = Vec::new();
        drop(client.read_to_end(&mut text).await);
        String::from_utf8(text).unwrap()
    }

    async fn response(client: &mut TcpStream) -> String {
        let mut buffer = [0; 1_024];
        let length = client.read(&mut buffer).await.unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_header_that_does_not_come_to_its_end_ends_the_connection() {
        let header = Duration::from_millis(100);
        let address = start(Limits { header, ..GENEROUS }).await;
        let begun = Instant::now();
        for words in ["", "GET /", "GET / HTTP/1.1\r\nHost: lasta"] {
            let mut client = connect(address, words).await;
            let (mut reading, mut writing) = client.split();
            let mut byte = [0];
            // One octet now and then does not keep it.
            let trickle = async {
                while writing.write_all(b"x").await.is_ok() {
                    sleep(header / 10).await;
                }
            };
            tokio::select! {
                _ = reading.read(&mut byte) => {}
                () = trickle => {}
            }
        }
        assert!(begun.elapsed() >= header * 3);
    }

    #[tokio::test]
    async fn a_header_that_is_too_long_is_refused() {
        let address = start(GENEROUS).await;
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(MOST_OCTETS));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(100));
        for header in [long, many] {
            let answer = rest(connect(address, &header).await).await;
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        }
    }

    #[tokio::test]
    async fn one_connection_too_many_ends_the_oldest() {
        let limits = Limits {
            connections: 2,
            ..GENEROUS
        };
        let address = start(limits).await;
        let oldest = connect(address, "").await;
        let mut middle = connect(address, REQUEST).await;
        assert!(response(&mut middle).await.ends_with("here\n"));
        let mut newest = connect(address, REQUEST).await;
        assert!(response(&mut newest).await.ends_with("here\n"));
        assert_eq!(rest(oldest).await, "");
        middle.write_all(REQUEST.as_bytes()).await.unwrap();
        assert!(response(&mut middle).await.ends_with("here\n"));
    }

    #[tokio::test]
    async fn those_that_have_gone_leave_room() {
        let limits = Limits {
            connections: 2,
            ..GENEROUS
        };
        let address = start(limits).await;
        let mut oldest = connect(address, REQUEST).await;
        assert!(response(&mut oldest).await.ends_with("here\n"));
        for _ in 0..10 {
            let closing = REQUEST.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
            let answer = rest(connect(address, &closing).await).await;
            assert!(answer.ends_with("here\n"), "{answer}");
        }
        oldest.write_all(REQUEST.as_bytes()).await.unwrap();
        assert!(response(&mut oldest).await.ends_with("here\n"));
    }

    #[tokio::test]
    async fn a_client_that_keeps_asking_is_ended_at_its_age() {
        let age = Duration::from_millis(200);
        let address = start(Limits { age, ..GENEROUS }).await;
        let begun = Instant::now();
        let mut client = connect(address, "").await;
        let mut byte = [0];
        while client.write_all(REQUEST.as_bytes()).await.is_ok()
            && client.read(&mut byte).await.is_ok_and(|length| length > 0)
        {
            sleep(age / 20).await;
        }
        assert!(begun.elapsed() >= age);
    }

    #[tokio::test]
    async fn a_client_that_never_reads_is_ended_after_its_age() {
        let limits = Limits {
            age: Duration::from_millis(100),
            ending: Duration::from_millis(100),
            ..GENEROUS
        };
        let address = start(limits).await;
        let mut client = connect(address, "").await;
        // Until the server cannot write its answers, and then does not read more requests.
        while client.write_all(REQUEST.as_bytes()).await.is_ok() {}
    }
    #[tokio::test]
    async fn no_connection_outlives_the_server() {
        let (address, server) = start_server(GENEROUS).await;
        let silent = connect(address, "").await;
        let mut kept = connect(address, REQUEST).await;
        assert!(response(&mut kept).await.ends_with("here\n"));
        server.abort();
        assert_eq!((rest(silent).await, rest(kept).await), Default::default());
    }
}
