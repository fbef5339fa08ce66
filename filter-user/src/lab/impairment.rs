//! A link that loses, copies and reorders TCP segments. Sans-I/O: the caller hands in frames
//! and the time.
//!
//! What strikes a connection's n-th segment in one direction depends on the seed, the link and
//! the connection's endpoints, and on nothing else: two runs with the same ports differ only
//! where the endpoints send something else.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::{Duration, Instant},
};

use smoltcp::wire::IpEndpoint;

use super::frame::parse;

/// What a link does to each TCP segment, in both directions. All else passes it untouched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairment {
    /// Probability that a segment is lost.
    pub loss: f64,
    /// Probability that one is copied; the copy is late or not on its own account.
    pub copies: f64,
    /// Probability that one is late, and others overtake it.
    pub late: f64,
    /// How long each is on its way.
    pub delay: Duration,
    /// How much longer a late one is, at most.
    pub lateness: Duration,
    /// The same seed gives the same fates.
    pub seed: u64,
}

impl Impairment {
    /// Two links in a row that together lose this share of what is sent in one direction, and
    /// copy and delay a little of it.
    #[must_use]
    pub fn one_of_two(loss: f64, seed: u64) -> Self {
        Self {
            loss: 1.0 - (1.0 - loss).sqrt(),
            copies: 0.01,
            late: 0.05,
            delay: Duration::from_millis(1),
            lateness: Duration::from_millis(20),
            seed,
        }
    }

    /// The same with other dice.
    #[must_use]
    pub fn of_link(self, number: u64) -> Self {
        Self {
            seed: fastrand::Rng::with_seed(self.seed ^ number << u32::BITS).u64(..),
            ..self
        }
    }
}

/// One direction of a link: the frames that are on it.
pub struct Channel {
    impairment: Impairment,
    /// By source and destination.
    dice: HashMap<(IpEndpoint, IpEndpoint), fastrand::Rng>,
    frames: BinaryHeap<Reverse<Arrival>>,
    /// Frames that were taken, copies included.
    taken: u64,
}

/// In the order of time; of two at the same time, the one that was sent first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at: Instant,
    number: u64,
    sent: Instant,
    frame: Vec<u8>,
}

impl Channel {
    /// An empty one.
    #[must_use]
    pub fn new(impairment: Impairment) -> Self {
        Self {
            impairment,
            dice: HashMap::new(),
            frames: BinaryHeap::new(),
            taken: 0,
        }
    }

    /// Takes a frame that is sent at `now`.
    pub fn send(&mut self, frame: Vec<u8>, now: Instant) {
        let Some((source, destination, _)) = parse(&frame) else {
            return self.put(frame, now, now);
        };
        let impairment = self.impairment;
        let dice = self.dice.entry((source, destination)).or_insert_with(|| {
            let mut hasher = DefaultHasher::new();
            (source, destination).hash(&mut hasher);
            fastrand::Rng::with_seed(impairment.seed ^ hasher.finish())
        });
        let mut lateness = || {
            let (is_late, part) = (dice.f64() < impairment.late, dice.f64());
            if is_late {
                impairment.lateness.mul_f64(part)
            } else {
                Duration::ZERO
            }
        };
        // Always as many throws, so that the next segment's fate is its own.
        let (lateness, lateness_of_copy) = (lateness(), lateness());
        let (is_lost, is_copied) = (dice.f64() < impairment.loss, dice.f64() < impairment.copies);
        let arrival = now + impairment.delay;
        if is_copied {
            self.put(frame.clone(), now, arrival + lateness_of_copy);
        }
        if !is_lost {
            self.put(frame, now, arrival + lateness);
        }
    }

    /// A frame that has arrived by `now`, and when it was sent.
    pub fn receive(&mut self, now: Instant) -> Option<(Instant, Vec<u8>)> {
        if self.frames.peek()?.0.at > now {
            return None;
        }
        let Reverse(arrival) = self.frames.pop()?;
        Some((arrival.sent, arrival.frame))
    }

    /// When the next one arrives.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.frames.peek().map(|Reverse(arrival)| arrival.at)
    }

    fn put(&mut self, frame: Vec<u8>, sent: Instant, at: Instant) {
        self.frames.push(Reverse(Arrival {
            at,
            number: self.taken,
            sent,
            frame,
        }));
        self.taken += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use smoltcp::wire::{IpAddress, TcpControl};

    use super::{
        super::frame::{Headers, tests::frame},
        *,
    };

    const HARSH: Impairment = Impairment {
        loss: 0.3,
        copies: 0.1,
        late: 0.2,
        delay: Duration::from_millis(1),
        lateness: Duration::from_millis(20),
        seed: 7,
    };
    const SEGMENTS: i32 = 2_000;

    /// A segment of the connection from this port, with this number.
    fn segment(port: u16, number: i32) -> Vec<u8> {
        let client = IpEndpoint::new(IpAddress::v4(10, 0, 1, 2), port);
        let server = IpEndpoint::new(IpAddress::v4(203, 0, 113, 2), 8080);
        frame((client, server), TcpControl::None, (number, 0), b"")
    }

    /// The numbers of the segments from a port as they arrive, of some that were sent a
    /// millisecond apart, those of each port in this order.
    fn arrivals(impairment: Impairment, ports: &[u16], of: u16) -> Vec<u32> {
        let mut channel = Channel::new(impairment);
        let start = Instant::now();
        let mut arrived = Vec::new();
        for number in 0..SEGMENTS {
            let now = start + Duration::from_millis(number.cast_unsigned().into());
            for &port in ports {
                channel.send(segment(port, number), now);
            }
            while let Some((sent, frame)) = channel.receive(now) {
                assert!(now - sent >= impairment.delay, "too early");
                arrived.push(frame);
            }
        }
        while let Some((_, frame)) = channel.receive(start + Duration::from_hours(1)) {
            arrived.push(frame);
        }
        assert_eq!(channel.next(), None);
        let headers = arrived.iter().filter_map(|frame| Headers::parse(frame));
        headers
            .filter(|headers| headers.source.port() == of)
            .map(|headers| headers.seq.0)
            .collect()
    }

    #[test]
    fn a_link_without_impairment_delays_and_nothing_else() {
        let clean = Impairment {
            loss: 0.0,
            copies: 0.0,
            late: 0.0,
            ..HARSH
        };
        let expected: Vec<_> = (0..SEGMENTS.cast_unsigned()).collect();
        assert_eq!(arrivals(clean, &[1], 1), expected);
    }

    #[test]
    fn as_many_are_lost_copied_and_overtaken_as_was_asked_for() {
        let arrived = arrivals(HARSH, &[1], 1);
        let different: HashSet<_> = arrived.iter().collect();
        // Six standard deviations of 2 000 throws. One that is lost may have been copied.
        let copies = arrived.len() - different.len();
        assert!(
            (1_340..1_580).contains(&different.len()),
            "{}",
            different.len()
        );
        assert!((70..210).contains(&copies), "{copies}");
        let overtaken = arrived.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!(overtaken > arrived.len() / 20, "{overtaken}");
    }

    #[test]
    fn a_fate_depends_on_seed_connection_and_count_only() {
        let alone = arrivals(HARSH, &[1], 1);
        assert_eq!(arrivals(HARSH, &[3, 1, 2], 1), alone);
        assert_ne!(arrivals(HARSH, &[2], 2), alone);
        assert_ne!(arrivals(HARSH.of_link(1), &[1], 1), alone);
        assert_ne!(
            arrivals(HARSH.of_link(1), &[1], 1),
            arrivals(HARSH.of_link(2), &[1], 1)
        );
    }

    #[test]
    fn what_is_not_tcp_is_not_touched() {
        let certain = Impairment { loss: 1.0, ..HARSH };
        let mut channel = Channel::new(certain);
        let now = Instant::now();
        channel.send(b"no frame".to_vec(), now);
        channel.send(segment(1, 1), now);
        let (_, frame) = channel.receive(now).unwrap();
        assert_eq!(frame, b"no frame");
    }

    #[test]
    fn two_links_lose_together_what_was_asked_for() {
        let loss = Impairment::one_of_two(0.2, 1).loss;
        assert!(((1.0 - loss).powi(2) - 0.8).abs() < 1e-9);
    }
}
