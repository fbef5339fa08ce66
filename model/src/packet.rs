//! Packets of the model, small enough to keep millions of them, and the four links that
//! carry them.

use filter_common::{Direction, Flags, Segment, SeqNum, segment::Options};

/// The client's octet 0 is its FIN, so that Fc is offset 1: 0 on the wire, after the wrap.
const CLIENT_START: SeqNum = SeqNum(u32::MAX);
/// The server's octet 0 is its data and 1 its FIN: SND.NXT is 0 on the wire before the FIN,
/// which is also what a half holds that nobody wrote.
const SERVER_START: SeqNum = SeqNum(u32::MAX);

/// Fc, as an offset.
pub const FC: i8 = 1;
/// Fs, as an offset.
pub const FS: i8 = 2;
/// Numbers that a stranger guesses; never what an endpoint uses.
pub const GUESSES: [i8; 2] = [100, -100];
/// Where the numbers of a later connection start, if not where this one's end.
pub const ELSEWHERE: i8 = 50;

/// FIN.
pub const FIN: u8 = 0x01;
/// SYN.
pub const SYN: u8 = 0x02;
/// RST.
pub const RST: u8 = 0x04;
/// PSH.
pub const PSH: u8 = 0x08;
/// ACK.
pub const ACK: u8 = 0x10;
/// ECE: a sender's congestion feedback, of which no pure ACK has any.
pub const ECE: u8 = 0x40;

/// It carries options other than End, No-Operation and Timestamps.
pub const OTHER_OPTIONS: u8 = 0x01;
/// Ghost: the server waits for what this is, or will draw, and no ACK of Fs that it would
/// take has been forwarded since.
pub const WAITED_FOR: u8 = 0x02;
/// Ghost: of a later connection on the same ports.
pub const LATER: u8 = 0x04;
/// Ghost: neither endpoint sent it.
pub const FORGED: u8 = 0x08;
/// Ghost: of this connection's own handshake.
pub const HANDSHAKE: u8 = 0x10;

/// One packet: what the machine sees of it, as offsets, and ghosts that only properties see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Packet {
    /// Control bits.
    pub flags: u8,
    /// SEG.SEQ in the sender's space.
    pub seq: i8,
    /// SEG.ACK in the receiver's space.
    pub ack: i8,
    /// Octets of payload.
    pub payload: u8,
    /// [`OTHER_OPTIONS`], and ghosts.
    pub marks: u8,
}

impl Packet {
    /// A packet without payload and marks.
    #[must_use]
    pub const fn new(flags: u8, seq: i8, ack: i8) -> Self {
        Self {
            flags,
            seq,
            ack,
            payload: 0,
            marks: 0,
        }
    }

    /// The same with marks.
    #[must_use]
    pub const fn marked(self, marks: u8) -> Self {
        Self {
            marks: self.marks | marks,
            ..self
        }
    }

    /// Whether any of `flags` is set.
    #[must_use]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// Whether any of `marks` is set.
    #[must_use]
    pub const fn is(&self, marks: u8) -> bool {
        self.marks & marks != 0
    }

    /// The offset after it.
    #[must_use]
    pub fn next(&self) -> i8 {
        self.seq + i8::try_from(self.payload).unwrap_or(0) + i8::from(self.has(FIN))
    }

    /// Octets of sequence space, but for SYN's.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.payload + u8::from(self.has(FIN))
    }

    /// Whether it is in the window of a receiver (RFC 9293, section 3.10.7.4, first check): a
    /// duplicate is before it, a guess far off.
    #[must_use]
    pub fn is_in_window(&self, received: i8) -> bool {
        const WINDOW: i8 = 10;
        (received..received + WINDOW).contains(&self.seq)
    }

    /// Whether it is a client's ACK of Fs that a server in LAST-ACK takes: in its window.
    #[must_use]
    pub const fn closes(&self) -> bool {
        self.has(ACK) && !self.has(SYN | RST) && self.seq == FC && self.ack == FS
    }

    /// The facts that the machine gets.
    #[must_use]
    pub fn segment(&self, direction: Direction) -> Segment {
        let (own, other) = match direction {
            Direction::FromClient => (CLIENT_START, SERVER_START),
            Direction::FromServer => (SERVER_START, CLIENT_START),
        };
        Segment {
            seq: own.plus(i32::from(self.seq).cast_unsigned()),
            ack: other.plus(i32::from(self.ack).cast_unsigned()),
            flags: Flags::from_header(self.flags.into()),
            payload: self.payload.into(),
            options: if self.is(OTHER_OPTIONS) {
                Options::Other
            } else {
                Options::Plain
            },
        }
    }
}

impl std::fmt::Display for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [
            (FIN, "FIN"),
            (SYN, "SYN"),
            (RST, "RST"),
            (PSH, "PSH"),
            (ACK, "ACK"),
            (ECE, "ECE"),
        ];
        let mut separator = "";
        for (flag, name) in names {
            if self.has(flag) {
                write!(f, "{separator}{name}")?;
                separator = "-";
            }
        }
        write!(f, " seq {}", self.seq)?;
        if self.has(ACK) {
            write!(f, " ack {}", self.ack)?;
        }
        if self.payload > 0 {
            write!(f, " payload {}", self.payload)?;
        }
        for (mark, name) in [
            (OTHER_OPTIONS, "options"),
            (LATER, "later"),
            (FORGED, "forged"),
            (HANDSHAKE, "handshake"),
        ] {
            if self.is(mark) {
                write!(f, " ({name})")?;
            }
        }
        Ok(())
    }
}

/// The most packets that one link holds.
pub const MOST: usize = 4;

/// What is on the way between two of client, gateway and server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Link {
    length: u8,
    packets: [Packet; MOST],
}

impl Link {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length.into()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Those on the way, oldest first.
    #[must_use]
    pub fn packets(&self) -> &[Packet] {
        &self.packets[..self.len()]
    }

    /// The same, to change their ghosts.
    pub fn packets_mut(&mut self) -> &mut [Packet] {
        let length = self.len();
        &mut self.packets[..length]
    }

    /// Puts one on the way at `index`.
    pub fn insert(&mut self, index: usize, packet: Packet) {
        let length = self.len();
        self.packets.copy_within(index..length, index + 1);
        self.packets[index] = packet;
        self.length += 1;
    }

    /// Puts one on the way, behind the others.
    pub fn push(&mut self, packet: Packet) {
        self.insert(self.len(), packet);
    }

    /// Takes one off.
    pub fn remove(&mut self, index: usize) -> Packet {
        let length = self.len();
        let packet = self.packets[index];
        self.packets.copy_within(index + 1..length, index);
        self.packets[length - 1] = Packet::default();
        self.length -= 1;
        packet
    }

    /// Forgets an order that means nothing, since any of them may arrive next.
    pub fn sort(&mut self) {
        self.packets_mut().sort_unstable();
    }
}
