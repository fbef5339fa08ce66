//! What went into the gateway and what came out of it, by the segments seen on both its links:
//! a witness that shares no code with the filter.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use filter_common::{Flags, SeqNum};

use super::{
    frame::Headers,
    relay::{End, Sighting, Towards},
};

/// What the two links say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Segments that were sent into a link; both links, both directions.
    pub sent: u64,
    /// Segments that arrived at a link's other end, copies included.
    pub arrived: u64,
    /// Pure ACKs of the server's FIN that entered the gateway behind one that it had forwarded
    /// and that says no less.
    pub repetitions: u64,
    /// Of those: each for which the server had asked since the last one that was forwarded.
    pub repetitions_asked: u64,
    /// Pure ACKs of the server's FIN that the gateway kept, each behind one that it had
    /// forwarded and that says no less.
    pub kept_repetitions: u64,
    /// Of those: each that was kept although the server had asked for an ACK since the last one
    /// that was forwarded.
    pub kept_though_asked: u64,
    /// Of those: each that was kept while the server was still in LAST-ACK, where every one
    /// that had been forwarded got lost behind the gateway. The server had to repeat itself.
    pub kept_though_missed: u64,
    /// How much longer such a server waited than if the kept one had arrived at once.
    pub waits: Vec<Duration>,
    /// RSTs that the gateway kept, each without another flag, behind the server's FIN and the
    /// client's ACK of it.
    pub kept_resets: u64,
    /// Anything else that the gateway kept.
    pub kept_others: Vec<Headers>,
    /// RSTs of the server that arrived at a client, and that a TCP may heed.
    pub resets: u64,
    /// Connections that these were for.
    pub connections_reset: u64,
    /// RSTs that arrived at a client with a number that it had left behind: no TCP heeds them.
    pub stale_resets: u64,
    /// From the server's first FIN on its wire to the arrival of the ACK that freed its socket.
    pub last_acks: Vec<Duration>,
}

/// Where a segment was seen, in the order of its way.
const SENDER: usize = 0;
const INTO_GATEWAY: usize = 1;
const OUT_OF_GATEWAY: usize = 2;
const RECEIVER: usize = 3;

/// One connection; at each place in the order of time.
#[derive(Default)]
struct Connection {
    from_client: [Vec<Sighting>; 4],
    from_server: [Vec<Sighting>; 4],
}

/// The close of the server: its first FIN, and the ACK that freed its socket.
struct Close {
    /// When the FIN was sent.
    at: Instant,
    /// The numbers of the ACK that the server waits for.
    seq: SeqNum,
    ack: SeqNum,
    freed_by: Option<Sighting>,
}

impl Ledger {
    /// From what was seen on the clients' link and on the server's.
    #[must_use]
    pub fn new(clients_link: &[Sighting], servers_link: &[Sighting]) -> Self {
        let mut connections: HashMap<SocketAddr, Connection> = HashMap::new();
        let mut ledger = Self::default();
        for (sightings, is_servers) in [(clients_link, false), (servers_link, true)] {
            for sighting in sightings {
                let is_arrival = sighting.end == End::Receiver;
                let count = if is_arrival {
                    &mut ledger.arrived
                } else {
                    &mut ledger.sent
                };
                *count += 1;
                let is_before_gateway = sighting.towards == Towards::Gateway;
                let place = match (is_before_gateway, is_arrival) {
                    (true, false) => SENDER,
                    (true, true) => INTO_GATEWAY,
                    (false, false) => OUT_OF_GATEWAY,
                    (false, true) => RECEIVER,
                };
                if is_servers == is_before_gateway {
                    let client = connections.entry(sighting.headers.destination);
                    client.or_default().from_server[place].push(*sighting);
                } else {
                    let client = connections.entry(sighting.headers.source);
                    client.or_default().from_client[place].push(*sighting);
                }
            }
        }
        for connection in connections.values() {
            let close = connection.close();
            ledger.enter_from_client(connection, close.as_ref());
            ledger.enter_from_server(connection, close.as_ref());
            ledger.enter_resets(connection);
        }
        ledger
    }

    fn enter_from_client(&mut self, connection: &Connection, close: Option<&Close>) {
        let asked = close.map_or_else(Vec::new, |close| connection.asked(close));
        let mut longest_wait = None;
        for Entry {
            segment,
            is_kept,
            forwarded,
        } in entries(&connection.from_client)
        {
            let is_repetition = |close: &&Close| {
                segment.headers.is_pure_ack()
                    && segment.headers.ack == close.ack
                    && forwarded.iter().any(|ack| close.is_acknowledged_by(ack))
            };
            let Some(close) = close.filter(is_repetition) else {
                self.kept_others.extend(is_kept.then_some(segment.headers));
                continue;
            };
            let answers = forwarded.iter().filter(|ack| close.is_acknowledged_by(ack));
            let answered = answers.map(|ack| ack.at).max();
            // It has passed the gateway between its two sightings, and that is all that is
            // known: only what is between the two ACKs in any case is counted.
            let was_asked = asked
                .iter()
                .any(|(before, after)| Some(*before) > answered && *after < segment.at);
            self.repetitions += 1;
            self.repetitions_asked += u64::from(was_asked);
            if !is_kept {
                continue;
            }
            self.kept_repetitions += 1;
            self.kept_though_asked += u64::from(was_asked);
            if let Some(freed_by) = close.freed_by
                && forwarded.iter().all(|ack| ack.sent < freed_by.sent)
                && segment.at < freed_by.at
            {
                self.kept_though_missed += 1;
                longest_wait = longest_wait.max(Some(freed_by.at - segment.at));
            }
        }
        self.waits.extend(longest_wait);
        if let Some(close) = close
            && let Some(freed_by) = close.freed_by
        {
            self.last_acks.push(freed_by.at - close.at);
        }
    }

    fn enter_from_server(&mut self, connection: &Connection, close: Option<&Close>) {
        let entries = entries(&connection.from_server).into_iter();
        for kept in entries.filter(|entry| entry.is_kept) {
            let kept = kept.segment;
            let is_after_close = close.is_some_and(|close| {
                let mut forwarded = connection.from_client[OUT_OF_GATEWAY].iter();
                kept.headers.seq == close.ack
                    && forwarded.any(|ack| ack.at < kept.at && close.is_acknowledged_by(ack))
            });
            if kept.headers.flags == Flags::RST && is_after_close {
                self.kept_resets += 1;
            } else {
                self.kept_others.push(kept.headers);
            }
        }
    }

    fn enter_resets(&mut self, connection: &Connection) {
        let before = self.resets;
        for reset in &connection.from_server[RECEIVER] {
            if !reset.headers.flags.any(Flags::RST) {
                continue;
            }
            // What the client acknowledges is what it expects next.
            let is_stale = connection.from_client[SENDER].iter().any(|segment| {
                segment.at < reset.at
                    && segment.headers.flags.any(Flags::ACK)
                    && reset.headers.seq.precedes(segment.headers.ack)
            });
            if is_stale {
                self.stale_resets += 1;
            } else {
                self.resets += 1;
            }
        }
        self.connections_reset += u64::from(self.resets > before);
    }
}

impl Connection {
    fn close(&self) -> Option<Close> {
        let mut sent = self.from_server[SENDER].iter();
        let fin = sent.find(|segment| segment.headers.flags.any(Flags::FIN))?;
        let mut close = Close {
            at: fin.at,
            seq: fin.headers.ack,
            ack: fin.headers.end(),
            freed_by: None,
        };
        let mut arrived = self.from_client[RECEIVER].iter();
        close.freed_by = arrived
            .find(|segment| close.is_acknowledged_by(segment))
            .copied();
        Some(close)
    }

    /// What the server sent that asks for an ACK, and the gateway forwarded: when it entered
    /// the gateway, and when it had left it.
    fn asked(&self, close: &Close) -> Vec<(Instant, Instant)> {
        let mut forwarded = self.from_server[OUT_OF_GATEWAY].iter().peekable();
        let entered = self.from_server[INTO_GATEWAY].iter();
        let passed = entered.filter_map(|segment| {
            let left = forwarded.next_if(|other| other.headers == segment.headers)?;
            let Headers {
                flags,
                seq,
                payload,
                ..
            } = segment.headers;
            let asks = payload > 0 || flags.any(Flags::FIN) || seq != close.ack;
            (asks && !flags.any(Flags::RST)).then_some((segment.at, left.at))
        });
        passed.collect()
    }
}

impl Close {
    /// Whether a segment gets the server out of LAST-ACK.
    fn is_acknowledged_by(&self, segment: &Sighting) -> bool {
        let Headers { flags, ack, .. } = segment.headers;
        flags.any(Flags::ACK)
            && !flags.any(Flags::RST)
            && ack == self.ack
            && segment.headers.end() == self.seq
    }
}

/// What entered the gateway.
struct Entry<'a> {
    segment: Sighting,
    /// Whether it did not come out.
    is_kept: bool,
    /// What had come out before.
    forwarded: &'a [Sighting],
}

/// What entered the gateway one way.
///
/// The gateway forwards in order. When it forwards is not compared with when something enters:
/// the two links keep their own time.
fn entries(way: &[Vec<Sighting>; 4]) -> Vec<Entry<'_>> {
    let out = &way[OUT_OF_GATEWAY];
    let mut forwarded = 0;
    let mut entries = Vec::new();
    for &segment in &way[INTO_GATEWAY] {
        let is_kept = out.get(forwarded).map(|other| other.headers) != Some(segment.headers);
        entries.push(Entry {
            segment,
            is_kept,
            forwarded: &out[..forwarded],
        });
        forwarded += usize::from(!is_kept);
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: u16 = 1;
    const SERVER: u16 = 2;

    /// A segment between the two ports, at a millisecond; numbers as the headers have them.
    fn seen(
        start: Instant,
        at: u64,
        from: u16,
        flags: Flags,
        (seq, ack): (u32, u32),
    ) -> [Sighting; 2] {
        let at = start + Duration::from_millis(at);
        let to = CLIENT + SERVER - from;
        let [source, destination] = [from, to].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        let headers = Headers {
            source,
            destination,
            seq: SeqNum(seq),
            ack: SeqNum(ack),
            flags,
            payload: 0,
        };
        [End::Sender, End::Receiver].map(|end| Sighting {
            at,
            sent: at,
            towards: Towards::Gateway,
            end,
            headers,
        })
    }

    fn out_again(sightings: &[Sighting]) -> Vec<Sighting> {
        let onward = |sighting: &Sighting| Sighting {
            at: sighting.at + Duration::from_micros(100),
            towards: Towards::Neighbour,
            ..*sighting
        };
        sightings.iter().map(onward).collect()
    }

    #[test]
    fn repetitions_count_whether_they_are_kept_or_not() {
        let start = Instant::now();
        let fin = |at| seen(start, at, SERVER, Flags::FIN.with(Flags::ACK), (99, 10));
        let ack = |at| seen(start, at, CLIENT, Flags::ACK, (10, 100));
        // The first answers, the second was asked for, and nothing has asked for the others, of
        // which the last is kept.
        let from_server = [fin(0), fin(20)].concat();
        let from_client = [ack(10), ack(30), ack(40), ack(50)].concat();
        let forwarded = &from_client[..6];
        let clients_link = [from_client.clone(), out_again(&from_server)].concat();
        let servers_link = [from_server, out_again(forwarded)].concat();
        let ledger = Ledger::new(&clients_link, &servers_link);
        assert_eq!((ledger.repetitions, ledger.repetitions_asked), (3, 1));
        assert_eq!((ledger.kept_repetitions, ledger.kept_though_asked), (1, 0));
        assert_eq!(ledger.kept_others, []);
    }
}
