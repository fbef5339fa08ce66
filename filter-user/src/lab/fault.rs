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
    wire::{
        EthernetFrame, EthernetProtocol, IpAddress, IpEndpoint, IpProtocol, Ipv4Packet, Ipv6Packet,
        TcpPacket, TcpSeqNumber,
    },
};

/// What was seen of one connection on the client's wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// ACKs of the server's FIN that the delayed-ACK timer put on the wire.
    pub spurious_acks: u64,
    /// ACKs of the server's FIN that the client's TCP sent after its first, for instance as
    /// the FIN came twice.
    pub repeated_acks: u64,
    /// Segments with RST that arrived.
    pub resets: u64,
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
            connection.seen.resets += 1;
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

/// The endpoints that a TCP segment comes from and goes to, and the segment.
fn parse(frame: &[u8]) -> Option<(IpEndpoint, IpEndpoint, TcpPacket<&[u8]>)> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let (source, destination, segment): (IpAddress, IpAddress, _) = match frame.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
            if packet.next_header() != IpProtocol::Tcp {
                return None;
            }
            (
                packet.src_addr().into(),
                packet.dst_addr().into(),
                packet.payload(),
            )
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
            if packet.next_header() != IpProtocol::Tcp {
                return None;
            }
            (
                packet.src_addr().into(),
                packet.dst_addr().into(),
                packet.payload(),
            )
        }
        EthernetProtocol::Arp | EthernetProtocol::Unknown(_) => return None,
    };
    let segment = TcpPacket::new_checked(segment).ok()?;
    Some((
        IpEndpoint::new(source, segment.src_port()),
        IpEndpoint::new(destination, segment.dst_port()),
        segment,
    ))
}
