//! The connections that are open, or were a short while ago: memory is bounded by their number.

use std::{
    hash::{BuildHasher as _, RandomState},
    mem,
    time::Duration,
};

use filter_common::{Direction, Flags, FlowKey, Segment, SeqNum, expiry::TupleHash};
use hashbrown::{HashTable, hash_table::Entry};

use crate::{capture::Time, closing::Closing, copies::LONGEST};

/// How many there are at the most, lest a scan of a whole network fill the memory.
const MOST: usize = 1 << 20;
/// How many are looked at to find one that can be forgotten for another.
const CANDIDATES: usize = 16;

/// One side of a connection, of the two as they are in its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The key's client.
    First,
    /// The key's server.
    Second,
}

/// One connection.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// Its addresses and ports, in the order of their numbers.
    key: FlowKey,
    /// Initial sequence numbers, where the SYN was seen.
    initial: [Option<SeqNum>; 2],
    /// Which ends have sent something.
    heard: [bool; 2],
    /// Nothing but SYNs was seen.
    is_opening: bool,
    /// Its frames are there with two kinds of sequence numbers.
    pub(crate) is_renumbered: bool,
    /// A RST was seen.
    is_reset: bool,
    /// Its first frame.
    pub(crate) first_frame: u64,
    /// The second from which on it is over.
    over: u64,
    /// The same as in [`Connections::due`].
    due: u64,
    /// Its close, if it has come so far.
    pub(crate) closing: Option<Box<Closing>>,
}

/// How long connections are remembered after their last frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    /// Such as may go on.
    pub(crate) open: Duration,
    /// Such as are closed or reset.
    pub(crate) closed: Duration,
}

/// Where a connection is.
pub(crate) struct Found {
    pub(crate) slot: usize,
    /// Who has sent.
    pub(crate) end: End,
    /// It was not known, or is over.
    pub(crate) is_new: bool,
}

/// Seconds after a frame of a close in which there may be a copy of it.
const SETTLES: u64 = LONGEST.as_secs() + 1;

/// The second that does not come.
const NEVER: u64 = u64::MAX;

/// All of them.
pub(crate) struct Connections {
    slots: Vec<Connection>,
    /// For each slot the second from which on there is something to do; beside them, since they are
    /// walked over all the time.
    due: Vec<u64>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hash: TupleHash,
    lifetimes: Lifetimes,
    /// The slot that is looked at next.
    hand: usize,
    /// See [`Report::forgotten`](crate::report::Report::forgotten).
    pub(crate) forgotten: u64,
}

impl End {
    /// As an index.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::First => 0,
            Self::Second => 1,
        }
    }

    /// The one across.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// Which way its segments travel where `client` is the client.
    pub(crate) fn direction(self, client: Self) -> Direction {
        if self == client {
            Direction::FromClient
        } else {
            Direction::FromServer
        }
    }
}

impl Connection {
    /// Forgets what was before: its ports are used again.
    pub(crate) fn begin(&mut self, frame: u64, is_opening: bool) {
        *self = Self {
            key: self.key,
            first_frame: frame,
            is_opening,
            due: self.due,
            ..Self::default()
        };
    }

    /// Whether a SYN of `end` opens another connection than the one that is known. As long as there
    /// was nothing but SYNs it is the same attempt, or a copy whose numbers were rewritten.
    pub(crate) fn is_another(&self, end: End, segment: &Segment) -> bool {
        !self.is_opening && self.initial[end.index()] != Some(segment.seq)
    }

    /// Whether a RST is its first, and comes before its close was complete.
    pub(crate) fn is_cut_short(&self) -> bool {
        let is_closed = self.closing.as_ref().is_some_and(|close| close.is_closed());
        !self.is_reset && !is_closed
    }

    /// Takes note of a segment; tells whether it is the first by which both ends are heard.
    pub(crate) fn touch(&mut self, end: End, segment: &Segment) -> bool {
        let was_heard = mem::replace(&mut self.heard[end.index()], true);
        if segment.flags.any(Flags::SYN) {
            self.initial[end.index()] = Some(segment.seq);
        } else {
            self.is_opening = false;
        }
        self.is_reset |= segment.flags.any(Flags::RST);
        !was_heard && self.heard[end.other().index()]
    }

    /// The second from which on there is something to do, if no other frame comes after `now`.
    fn due_at(&self, now: u64) -> u64 {
        if self.closing.is_some() {
            self.over.min(now + SETTLES)
        } else {
            self.over
        }
    }

    /// Makes room, if no frame can have a copy any more; gives the second from which on there is
    /// something to do.
    fn settle(&mut self, now: u64) -> u64 {
        match &mut self.closing {
            Some(closing) if now < closing.last + SETTLES => self.over.min(closing.last + SETTLES),
            Some(closing) => {
                closing.settle();
                self.over
            }
            None => self.over,
        }
    }

    fn lifetime(&self, lifetimes: &Lifetimes) -> Duration {
        /// A SYN that nobody answers is repeated for some two minutes.
        const OPENING: Duration = Duration::from_mins(3);
        let is_done = match &self.closing {
            Some(closing) => closing.is_closed(),
            None => self.is_reset,
        };
        if is_done {
            lifetimes.closed
        } else if self.is_opening {
            OPENING
        } else {
            lifetimes.open
        }
    }
}

impl Connections {
    pub(crate) fn new(lifetimes: Lifetimes) -> Self {
        Self {
            slots: Vec::new(),
            due: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hash: TupleHash::new(RandomState::new().hash_one(0)),
            lifetimes,
            hand: 0,
            forgotten: 0,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Where the connection of a segment is.
    pub(crate) fn find(&mut self, key: &FlowKey, now: Time) -> Found {
        let (key, end) = in_order(key);
        self.sweep(now);
        let hash = hash(self.hash, &key);
        let slots = &self.slots;
        let entry = self.index.entry(
            hash,
            |slot| slots[*slot as usize].key == key,
            |slot| self::hash(self.hash, &slots[*slot as usize].key),
        );
        let (slot, is_new) = match entry {
            Entry::Occupied(entry) => {
                let slot = *entry.get() as usize;
                (slot, seconds(now) >= self.slots[slot].over)
            }
            Entry::Vacant(entry) => {
                let slot = self.free.pop().unwrap_or_else(|| {
                    self.slots.push(Connection::default());
                    self.due.push(NEVER);
                    number(self.slots.len() - 1)
                });
                entry.insert(slot);
                let connection = &mut self.slots[slot as usize];
                connection.key = key;
                connection.due = NEVER;
                (slot as usize, true)
            }
        };
        Found { slot, end, is_new }
    }

    /// The connection in a slot.
    pub(crate) fn at(&mut self, slot: usize) -> &mut Connection {
        &mut self.slots[slot]
    }

    /// Remembers a connection for as long as it may live from now on.
    #[inline]
    pub(crate) fn keep(&mut self, slot: usize, now: Time) {
        let connection = &mut self.slots[slot];
        let over = seconds(now) + connection.lifetime(&self.lifetimes).as_secs() + 1;
        connection.over = over;
        let due = connection.due_at(seconds(now));
        // Where it comes later than it is noted, the hand finds that out.
        if due < connection.due {
            connection.due = due;
            self.due[slot] = due;
        }
    }

    /// Looks at one connection, whether it is over; when there are too many, forgets one that is not.
    fn sweep(&mut self, now: Time) {
        if self.slots.is_empty() {
            return;
        }
        let hand = self.hand;
        self.hand = if hand + 1 < self.slots.len() {
            hand + 1
        } else {
            0
        };
        let now = seconds(now);
        if now >= self.due[hand] {
            let connection = &mut self.slots[hand];
            if now >= connection.over {
                self.remove(hand);
            } else {
                connection.due = connection.settle(now);
                self.due[hand] = connection.due;
            }
        }
        if self.slots.len() >= MOST && self.free.is_empty() {
            let candidates = (0..CANDIDATES).map(|n| (hand + n) % self.slots.len());
            let oldest = candidates
                .min_by_key(|slot| (self.slots[*slot].closing.is_some(), self.slots[*slot].over));
            if let Some(oldest) = oldest {
                self.remove(oldest);
                self.forgotten += 1;
            }
        }
    }

    fn remove(&mut self, slot: usize) {
        let key = mem::take(&mut self.slots[slot]).key;
        self.due[slot] = NEVER;
        let number = number(slot);
        let entry = self
            .index
            .find_entry(hash(self.hash, &key), |found| *found == number);
        if let Ok(entry) = entry {
            entry.remove();
        }
        self.free.push(number);
    }
}

/// The second that an instant is in.
pub(crate) const fn seconds(time: Time) -> u64 {
    time.0 / 1_000_000_000
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "there are no more than MOST"
)]
const fn number(slot: usize) -> u32 {
    slot as u32
}

/// The key of both directions, and which of its ends has sent.
fn in_order(key: &FlowKey) -> (FlowKey, End) {
    let ports = key.ports.rotate_left(16);
    // Mostly the ports tell.
    if (key.ports, key.client) <= (ports, key.server) {
        return (*key, End::First);
    }
    let other = FlowKey {
        client: key.server,
        server: key.client,
        ports,
    };
    (other, End::Second)
}

fn hash(hash: TupleHash, key: &FlowKey) -> u64 {
    let mut hash = hash.words(0, key.ports);
    for [first, second] in [key.client, key.server].as_flattened().as_chunks().0 {
        hash = hash.words(*first, *second);
    }
    let hash = u64::from(hash.finish());
    // The table looks at both ends of it.
    hash << 32 | hash
}
