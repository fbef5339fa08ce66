//! Frames that were captured more than once: at a mirror port, or on several interfaces.
//!
//! A copy must not pass for a second ACK, nor a second ACK for a copy. What tells them apart is the
//! IP ID, where the sender counts it; else the TTL and the time, where other frames of the
//! same direction that nobody sends twice so quickly have copies, too.

use std::time::Duration;

use filter_common::{
    Flags, Segment, SeqNum,
    wire::{Frame, Header as _, Located, Version},
};

use crate::capture::Time;

/// How many frames of a direction are remembered: a mirror or a router may hand over a batch
/// before the same batch again.
const REMEMBERED: usize = 8;
/// The longest way from one point of capture to another, with full queues between them.
pub(crate) const LONGEST: Duration = Duration::from_secs(2);
/// What nobody needs to send the same segment again; between two ports of a mirror it takes less.
/// The least that Linux waits for a tail loss probe is two jiffies.
/// <https://github.com/torvalds/linux/blob/v6.18/net/ipv4/tcp_output.c> tcp_schedule_loss_probe
const QUICK: Duration = Duration::from_millis(5);

/// What of a frame tells it from others of its direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) time: Time,
    seq: SeqNum,
    ack: SeqNum,
    payload: u32,
    options: u32,
    flags: u16,
    window: u16,
    /// 0 where it has none.
    id: u16,
    hops: u8,
    /// It takes sequence space, so that it is not sent again without need.
    is_bearing: bool,
}

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The first of its kind.
    New,
    /// Was captured before.
    Copy,
    /// Was captured before, with other sequence numbers.
    Renumbered,
}

/// How common copies are: frames that take sequence space, and copies of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    frames: u32,
    copies: u32,
}

/// What the IDs of a sender tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ids {
    /// Not known yet.
    #[default]
    Unknown,
    /// Two frames had the same one.
    Constant,
    /// Two frames had different ones.
    Counted,
}

/// The frames of one direction of a closing connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    /// The latest frames, in a ring; gone when they are too old to have copies.
    ring: Option<Box<[Sighting; REMEMBERED]>>,
    /// Frames since the ring is there.
    seen: u32,
    has_sent: bool,
    last_id: u16,
    ids: Ids,
    share: Share,
    /// By how much the TTL of a copy was less.
    hops: Option<u8>,
}

impl Sighting {
    /// Reads what is not among the facts of the segment.
    pub(crate) fn new<F: Frame + ?Sized>(
        frame: &F,
        located: &Located,
        segment: &Segment,
        time: Time,
    ) -> Self {
        let (id, hops) = match located.version {
            Version::V4 => frame
                .header::<20>(located.network)
                .map_or((0, 0), |ip| (ip.be16(4), ip.byte(8))),
            Version::V6 => frame
                .header::<40>(located.network)
                .map_or((0, 0), |ip| (0, ip.byte(7))),
        };
        let (header, window) = frame
            .header::<20>(located.transport)
            .map_or((0, 0), |tcp| (tcp.byte(12) >> 4, tcp.be16(14)));
        Self {
            time,
            seq: segment.seq,
            ack: segment.ack,
            payload: segment.payload,
            options: options(frame, located.transport, usize::from(header) * 4),
            flags: segment.flags.bits(),
            window,
            id,
            hops,
            is_bearing: segment.payload > 0 || segment.flags.any(Flags::SYN.with(Flags::FIN)),
        }
    }

    /// Whether it may be the same but for its numbers.
    fn is_like(&self, other: &Self) -> bool {
        self.flags == other.flags && self.payload == other.payload && self.window == other.window
    }

    fn has_numbers_of(&self, other: &Self) -> bool {
        self.seq == other.seq && self.ack == other.ack
    }

    fn apart(&self, other: &Self) -> Duration {
        Duration::from_nanos(self.time.0.abs_diff(other.time.0))
    }
}

/// A digest of the TCP options, as far as they were captured.
fn options<F: Frame + ?Sized>(frame: &F, transport: usize, header: usize) -> u32 {
    (20..header).step_by(4).fold(0, |digest: u32, at| {
        let word = frame
            .header::<4>(transport + at)
            .map_or(0, |options| options.word(0));
        (digest ^ word).wrapping_mul(0x9e37_79b1).rotate_left(13)
    })
}

impl Share {
    fn count(&mut self, is_copy: bool) {
        if is_copy {
            self.copies = self.copies.saturating_add(1);
        } else {
            self.frames = self.frames.saturating_add(1);
        }
    }

    /// Whether most frames have a copy, as far as that can be told; `least` is how many it takes.
    fn is_most(self, least: u32) -> Option<bool> {
        (self.frames >= least).then_some(self.copies >= self.frames.div_ceil(2))
    }
}

impl Side {
    /// Takes note of a frame. `all` is what is known of the whole capture.
    pub(crate) fn see(&mut self, frame: Sighting, all: &mut Share) -> Seen {
        let mut is_copy = false;
        let mut hops = None;
        let seen = self.seen as usize;
        let ring = self.ring.iter().flat_map(|ring| ring.iter());
        for earlier in ring.take(seen) {
            if !earlier.is_like(&frame) || earlier.apart(&frame) > LONGEST {
                continue;
            }
            if !earlier.has_numbers_of(&frame) {
                if self.is_renumbered(earlier, &frame) {
                    return Seen::Renumbered;
                }
            } else if earlier.options == frame.options && self.is_same(earlier, &frame, *all) {
                is_copy = true;
                hops = Some(earlier.hops.wrapping_sub(frame.hops));
            }
        }
        if frame.is_bearing {
            self.share.count(is_copy);
            all.count(is_copy);
        }
        if is_copy {
            self.hops = hops.filter(|hops| *hops != 0).or(self.hops);
            return Seen::Copy;
        }
        if self.has_sent && self.ids != Ids::Counted {
            self.ids = if self.last_id == frame.id {
                Ids::Constant
            } else {
                Ids::Counted
            };
        }
        self.has_sent = true;
        self.last_id = frame.id;
        let ring = self.ring.get_or_insert_default();
        ring[seen % REMEMBERED] = frame;
        self.seen = self.seen.wrapping_add(1);
        Seen::New
    }

    /// Forgets all frames, when none can have a copy any more: [`LONGEST`] after the last one.
    pub(crate) fn settle(&mut self) {
        self.ring = None;
        self.seen = 0;
    }

    /// Of two frames whose segments are the same.
    fn is_same(&self, earlier: &Sighting, frame: &Sighting, all: Share) -> bool {
        if earlier.id != frame.id {
            return false;
        }
        let is_quick = earlier.apart(frame) <= QUICK;
        let hops = earlier.hops.wrapping_sub(frame.hops);
        if frame.id != 0 {
            match self.ids {
                Ids::Counted => return true,
                Ids::Unknown if is_quick || hops != 0 => return true,
                Ids::Unknown | Ids::Constant => {}
            }
        }
        match hops {
            // What was sent twice has come the same way twice.
            0 if frame.is_bearing => is_quick,
            0 => is_quick && self.is_copied(all),
            hops => frame.is_bearing || self.hops == Some(hops),
        }
    }

    fn is_copied(&self, all: Share) -> bool {
        /// Too few tell nothing of a capture.
        const LEAST: u32 = 4;
        let here = self.share.is_most(1);
        here.or_else(|| all.is_most(LEAST)).unwrap_or(false)
    }

    /// Of two frames that are alike but for their numbers. Only of a FIN, of which a direction has
    /// one: some network adapters give all segments of a burst the same ID.
    fn is_renumbered(&self, earlier: &Sighting, frame: &Sighting) -> bool {
        let is_fin = Flags::from_header(frame.flags).finishes();
        let has_its_id = frame.id != 0 && frame.id == earlier.id && self.ids == Ids::Counted;
        let has_come_further = frame.hops != earlier.hops && frame.id == earlier.id;
        is_fin && (has_its_id || has_come_further)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Microseconds, IP ID, TTL.
    type At = (u64, u16, u8);

    fn ack((micros, id, hops): At) -> Sighting {
        Sighting {
            time: Time(1_000_000_000 + micros * 1000),
            seq: SeqNum(1000),
            ack: SeqNum(2000),
            flags: Flags::ACK.bits(),
            window: 8760,
            id,
            hops,
            ..Sighting::default()
        }
    }

    fn fin(at: At) -> Sighting {
        Sighting {
            seq: SeqNum(999),
            flags: Flags::FIN.with(Flags::ACK).bits(),
            is_bearing: true,
            ..ack(at)
        }
    }

    fn seen(frames: &[Sighting]) -> Vec<Seen> {
        let (mut side, mut all) = (Side::default(), Share::default());
        let frames = frames.iter();
        frames.map(|frame| side.see(*frame, &mut all)).collect()
    }

    const NEW: Seen = Seen::New;
    const COPY: Seen = Seen::Copy;

    #[test]
    fn the_same_id_where_ids_are_counted_is_a_copy() {
        let frames = [
            fin((0, 7, 128)),
            ack((1000, 8, 128)),
            ack((1050, 8, 128)),
            ack((1090, 8, 127)),
        ];
        assert_eq!(seen(&frames), [NEW, NEW, COPY, COPY]);
    }

    #[test]
    fn another_id_is_another_ack_however_soon() {
        let frames = [fin((0, 7, 128)), ack((1000, 8, 128)), ack((1001, 9, 128))];
        assert_eq!(seen(&frames), [NEW, NEW, NEW]);
    }

    #[test]
    fn an_id_that_never_changes_tells_nothing() {
        let frames = [fin((0, 7, 64)), ack((1000, 7, 64)), ack((1001, 7, 64))];
        assert_eq!(seen(&frames), [NEW, NEW, NEW]);
    }

    #[test]
    fn without_ids_an_ack_is_a_copy_only_where_other_frames_have_copies() {
        let alone = [fin((0, 0, 64)), ack((1000, 0, 64)), ack((1002, 0, 64))];
        assert_eq!(seen(&alone), [NEW, NEW, NEW]);
        let mirrored = [
            fin((0, 0, 64)),
            fin((2, 0, 64)),
            ack((1000, 0, 64)),
            ack((1002, 0, 64)),
            ack((201_000, 0, 64)),
            ack((201_002, 0, 64)),
        ];
        assert_eq!(seen(&mirrored), [NEW, COPY, NEW, COPY, NEW, COPY]);
    }

    #[test]
    fn without_ids_another_ttl_is_a_copy_only_where_a_copy_was_so_much_further_on_its_way() {
        let unknown = [fin((0, 0, 64)), ack((1000, 0, 64)), ack((1002, 0, 63))];
        assert_eq!(seen(&unknown), [NEW, NEW, NEW]);
        let forwarded = [
            fin((0, 0, 64)),
            fin((40_000, 0, 63)),
            ack((100_000, 0, 64)),
            ack((140_000, 0, 63)),
        ];
        assert_eq!(seen(&forwarded), [NEW, COPY, NEW, COPY]);
    }

    #[test]
    fn a_direction_of_which_nothing_is_known_is_as_the_rest_of_the_capture() {
        let mut all = Share {
            frames: 10,
            copies: 9,
        };
        let mut side = Side::default();
        assert_eq!(side.see(ack((0, 0, 64)), &mut all), NEW);
        assert_eq!(side.see(ack((2, 0, 64)), &mut all), COPY);
    }

    #[test]
    fn a_batch_that_comes_twice_is_a_batch_of_copies() {
        let burst: Vec<_> = (0..6)
            .map(|n| Sighting {
                seq: SeqNum(n * 100),
                payload: 100,
                is_bearing: true,
                ..ack((u64::from(n), 0, 64))
            })
            .collect();
        let again = burst.iter().map(|frame| Sighting {
            time: Time(frame.time.0 + 50_000),
            ..*frame
        });
        let both: Vec<_> = burst.iter().copied().chain(again).collect();
        assert_eq!(seen(&both), [[NEW; 6], [COPY; 6]].concat());
    }

    #[test]
    fn a_fin_with_other_numbers_and_the_same_id_was_renumbered() {
        let other = Sighting {
            seq: SeqNum(77_000),
            ..fin((3, 8, 127))
        };
        let frames = [ack((0, 7, 128)), fin((1, 8, 128)), other];
        assert_eq!(seen(&frames), [NEW, NEW, Seen::Renumbered]);
        let reused = Sighting {
            seq: SeqNum(77_000),
            ..fin((3, 9, 128))
        };
        let frames = [ack((0, 7, 128)), fin((1, 8, 128)), reused];
        assert_eq!(seen(&frames), [NEW, NEW, NEW]);
    }

    #[test]
    fn other_timestamps_are_another_ack() {
        let second = Sighting {
            options: 2,
            ..ack((1002, 0, 64))
        };
        let frames = [fin((0, 0, 64)), fin((2, 0, 64)), ack((1000, 0, 64)), second];
        assert_eq!(seen(&frames), [NEW, COPY, NEW, NEW]);
    }
}
