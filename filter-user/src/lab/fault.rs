//! What Windows NT did after the close (KB Q152474), added around a correct TCP on its wire.
//!
//! A delayed-ACK timer that the ACK of the server's FIN did not stop: one delayed-ACK time
//! after that ACK, it goes out once more. Also counts, on the same wire, what the other
//! side made of it. Sans-I/O: the caller hands in frames and the time.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use smoltcp::{
    time::Instant,
    wire::{IpEndpoint, TcpPacket, TcpSeqNumber},
};

use super::frame::parse;

/// What was seen of one connection on the client's wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// ACKs of the server's FIN that the delayed-ACK timer put on the wire.
    pub spurious_acks: u64,
    /// ACKs of the server's FIN that the client's TCP sent after its first, for instance as
    /// the FIN came twice.
    pub repeated_acks: u64,
    /// Segments with RST that arrived, and that a TCP may heed.
    pub resets: u64,
    /// Segments with RST that arrived and whose number is before what the client had
    /// acknowledged: no TCP heeds them. Stale ACKs draw them.
    pub stale_resets: u64,
}

/// The delayed-ACK timers of all connections of a client.
pub struct DelayedAcks {
    /// `None`: the client is without the fault.
    delay: Option<Duration>,
    connections: HashMap<IpEndpoint, Connection>,
    /// In the order of time, as all wait equally long.
    running: VecDeque<Timer>,
}

#[derive(Default)]
struct Connection {
    seen: Seen,
    /// Sequence number that follows the server's FIN.
    after_fin: Option<TcpSeqNumber>,
    fin_acknowledged: bool,
    /// The highest that the client has sent.
    acknowledgment: Option<TcpSeqNumber>,
}

struct Timer {
    at: Instant,
    client: IpEndpoint,
    frame: Vec<u8>,
}

impl DelayedAcks {
    /// Timers that fire `delay` after the ACK of the server's FIN, or none at all.
    #[must_use]
    pub fn new(delay: Option<Duration>) -> Self {
        Self {
            delay,
            connections: HashMap::new(),
            running: VecDeque::new(),
        }
    }

    /// From now on the frames of the connection with this local endpoint are looked at.
    pub fn watch(&mut self, client: IpEndpoint) {
        self.connections.insert(client, Connection::default());
    }

    /// What was seen so far of a connection.
    #[must_use]
    pub fn seen(&self, client: IpEndpoint) -> Seen {
        self.connections
            .get(&client)
            .map_or_else(Seen::default, |connection| connection.seen)
    }

    /// Takes note of a frame that the client received.
    pub fn received(&mut self, frame: &[u8]) {
        let Some((_, client, segment)) = parse(frame) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&client) else {
            return;
        };
        if segment.rst() {
            let is_stale = |highest| segment.seq_number() < highest;
            if connection.acknowledgment.is_some_and(is_stale) {
                connection.seen.stale_resets += 1;
            } else {
                connection.seen.resets += 1;
            }
        } else if segment.fin() {
            connection.after_fin = Some(segment.seq_number() + segment.segment_len());
        }
    }

    /// Takes note of a frame that the client's TCP sent.
    pub fn sent(&mut self, frame: &[u8], now: Instant) {
        let Some((client, _, segment)) = parse(frame) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&client) else {
            return;
        };
        if segment.ack()
            && connection
                .acknowledgment
                .is_none_or(|highest| highest < segment.ack_number())
        {
            connection.acknowledgment = Some(segment.ack_number());
        }
        if !is_pure_ack(&segment) || connection.after_fin != Some(segment.ack_number()) {
            return;
        }
        if connection.fin_acknowledged {
            connection.seen.repeated_acks += 1;
            return;
        }
        connection.fin_acknowledged = true;
        if let Some(delay) = self.delay {
            self.running.push_back(Timer {
                at: now + delay.into(),
                client,
                frame: frame.to_vec(),
            });
        }
    }

    /// When the next timer fires.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.running.front().map(|timer| timer.at)
    }

    /// Lets `send` put on the wire what is due by now, and counts it.
    pub fn fire<E>(
        &mut self,
        now: Instant,
        mut send: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(timer) = self.running.front()
            && timer.at <= now
        {
            send(&timer.frame)?;
            if let Some(connection) = self.connections.get_mut(&timer.client) {
                connection.seen.spurious_acks += 1;
            }
            self.running.pop_front();
        }
        Ok(())
    }
}

fn is_pure_ack(segment: &TcpPacket<&[u8]>) -> bool {
    segment.ack()
        && !(segment.syn() || segment.fin() || segment.rst() || segment.psh() || segment.urg())
        && segment.payload().is_empty()
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::{IpAddress, TcpControl};

    use super::{super::frame::tests::frame, *};

    const DELAY: Duration = Duration::from_millis(200);
    const START: Instant = Instant::from_millis_const(1_000);
    const SERVER_FIN: i32 = 5_000;

    fn endpoints(is_ipv4: bool) -> (IpEndpoint, IpEndpoint) {
        if is_ipv4 {
            (
                IpEndpoint::new(IpAddress::v4(10, 0, 0, 2), 20_000),
                IpEndpoint::new(IpAddress::v4(203, 0, 113, 2), 80),
            )
        } else {
            (
                IpEndpoint::new(IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0, 2), 20_000),
                IpEndpoint::new(IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2), 80),
            )
        }
    }

    /// Timers of a connection whose server has sent its FIN, with four bytes before it.
    fn closing(is_ipv4: bool, delay: Option<Duration>) -> (DelayedAcks, IpEndpoint, IpEndpoint) {
        let (client, server) = endpoints(is_ipv4);
        let mut timers = DelayedAcks::new(delay);
        timers.watch(client);
        let fin = frame(
            (server, client),
            TcpControl::Fin,
            (SERVER_FIN - 4, 1),
            b"last",
        );
        timers.received(&fin);
        (timers, client, server)
    }

    fn fired(timers: &mut DelayedAcks, now: Instant) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let done: Result<(), ()> = timers.fire(now, |frame| {
            frames.push(frame.to_vec());
            Ok(())
        });
        done.unwrap();
        frames
    }

    #[test]
    fn the_ack_of_the_fin_goes_out_once_more_after_the_delay_and_never_again() {
        for is_ipv4 in [true, false] {
            let (mut timers, client, server) = closing(is_ipv4, Some(DELAY));
            let ack = frame((client, server), TcpControl::None, (1, SERVER_FIN + 1), b"");
            timers.sent(&ack, START);
            let due = START + DELAY.into();
            assert_eq!(timers.next(), Some(due));
            assert!(fired(&mut timers, due - smoltcp::time::Duration::from_micros(1)).is_empty());
            assert_eq!(fired(&mut timers, due), [ack]);
            assert_eq!(timers.next(), None);
            assert_eq!(timers.seen(client).spurious_acks, 1);
        }
    }

    #[test]
    fn only_a_pure_ack_of_exactly_the_fin_starts_the_timer() {
        let (mut timers, client, server) = closing(true, Some(DELAY));
        let way = (client, server);
        for other in [
            frame(way, TcpControl::None, (1, SERVER_FIN), b""),
            frame(way, TcpControl::None, (1, SERVER_FIN + 1), b"x"),
            frame(way, TcpControl::Fin, (1, SERVER_FIN + 1), b""),
            frame(way, TcpControl::Rst, (1, SERVER_FIN + 1), b""),
            b"no frame".to_vec(),
        ] {
            timers.sent(&other, START);
        }
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn an_ack_that_tcp_repeats_is_counted_and_starts_no_second_timer() {
        let (mut timers, client, server) = closing(true, Some(DELAY));
        let ack = frame((client, server), TcpControl::None, (1, SERVER_FIN + 1), b"");
        timers.sent(&ack, START);
        timers.sent(&ack, START);
        assert_eq!(fired(&mut timers, START + DELAY.into()).len(), 1);
        assert_eq!(timers.seen(client).repeated_acks, 1);
    }

    #[test]
    fn what_could_not_be_sent_is_not_counted_and_stays_due() {
        let (mut timers, client, server) = closing(true, Some(DELAY));
        let ack = frame((client, server), TcpControl::None, (1, SERVER_FIN + 1), b"");
        timers.sent(&ack, START);
        let due = START + DELAY.into();
        assert_eq!(timers.fire(due, |_| Err("full")), Err("full"));
        assert_eq!(timers.seen(client).spurious_acks, 0);
        assert_eq!(fired(&mut timers, due), [ack]);
    }

    #[test]
    fn resets_are_counted_for_the_connection_that_they_are_for() {
        for is_ipv4 in [true, false] {
            let (mut timers, client, server) = closing(is_ipv4, Some(DELAY));
            let other = IpEndpoint::new(client.addr, client.port + 1);
            let reset = |to| frame((server, to), TcpControl::Rst, (SERVER_FIN + 1, 0), b"");
            timers.received(&reset(client));
            timers.received(&reset(other));
            assert_eq!(timers.seen(client).resets, 1);
            assert_eq!(timers.seen(other), Seen::default());
        }
    }

    #[test]
    fn a_reset_with_a_number_that_the_client_has_left_behind_is_stale() {
        let (mut timers, client, server) = closing(true, Some(DELAY));
        let ack = frame((client, server), TcpControl::None, (1, SERVER_FIN + 1), b"");
        timers.sent(&ack, START);
        for number in [SERVER_FIN, SERVER_FIN + 1] {
            let reset = frame((server, client), TcpControl::Rst, (number, 0), b"");
            timers.received(&reset);
        }
        let seen = timers.seen(client);
        assert_eq!((seen.stale_resets, seen.resets), (1, 1));
    }

    #[test]
    fn a_client_without_the_fault_has_no_timer() {
        let (mut timers, client, server) = closing(true, None);
        let ack = frame((client, server), TcpControl::None, (1, SERVER_FIN + 1), b"");
        timers.sent(&ack, START);
        assert_eq!(timers.next(), None);
    }
}
