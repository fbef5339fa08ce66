//! The frames of one connection, as they were on the client's wire.

use std::{net::SocketAddr, time::Duration};

use nix::time::{ClockId, clock_gettime};

use super::frame::Headers;

/// What was on the wire so far.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The client's end of the connection.
    pub client: SocketAddr,
    /// In the order in which they were sent and received.
    pub frames: Vec<Recorded>,
}

/// One Ethernet frame.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// On `CLOCK_MONOTONIC`, as the packet programs' reports: just before it was sent, or just
    /// after it was received.
    pub at: Duration,
    /// What its headers say.
    pub headers: Headers,
    /// All of it.
    pub octets: Vec<u8>,
}

impl Recording {
    /// Of the connection with this end; nothing yet.
    pub(super) fn new(client: SocketAddr) -> Self {
        Self {
            client,
            frames: Vec::new(),
        }
    }

    /// Keeps a frame, if it is one of the connection.
    pub(super) fn keep(&mut self, at: Duration, octets: &[u8]) {
        let Some(headers) = Headers::parse(octets) else {
            return;
        };
        if [headers.source, headers.destination].contains(&self.client) {
            self.frames.push(Recorded {
                at,
                headers,
                octets: octets.to_vec(),
            });
        }
    }
}

/// Now, on `CLOCK_MONOTONIC`; every system has it.
pub(super) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::{IpAddress, IpEndpoint, TcpControl};

    use super::{super::frame::tests::frame, *};

    #[test]
    fn frames_of_the_connection_are_kept_both_ways_and_no_others() {
        let end = |host, port| IpEndpoint::new(IpAddress::v4(10, 0, 0, host), port);
        let (client, other, server) = (end(2, 20_000), end(2, 20_001), end(9, 80));
        let mut recording = Recording::new("10.0.0.2:20000".parse().unwrap());
        for (number, way) in [(client, server), (other, server), (server, client)]
            .into_iter()
            .enumerate()
        {
            let at = Duration::from_secs(number as u64);
            recording.keep(at, &frame(way, TcpControl::None, (1, 2), b"data"));
        }
        recording.keep(Duration::ZERO, b"no frame");
        let kept: Vec<_> = recording
            .frames
            .iter()
            .map(|frame| (frame.at.as_secs(), frame.headers.source.port()))
            .collect();
        assert_eq!(kept, [(0, 20_000), (2, 80)]);
        assert!(recording.frames[0].octets.ends_with(b"data"));
    }
}
