//! Frames that were captured more than once: at a mirror port, or on several interfaces.
//!
//! A copy must not pass for a second ACK, nor a second ACK for a copy. What tells them apart is the
//! IP ID, where the sender counts it; else the TTL and the time, where other frames of the
//! same direction that nobody sends twice so quickly have copies, too.

use std::{collections::VecDeque, time::Duration};

use filter_common::{
    Flags, Segment, SeqNum,
    wire::{Frame, Header as _, Located, Version},
};

use crate::capture::Time;

/// How many frames of a direction are remembered, however old: a mirror or a router may hand over a
/// batch before the same batch again.
const REMEMBERED: usize = 8;
/// How many are, as long as they may have copies: between two places of capture there may be many on
/// the way.
const MOST: usize = 64;
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
    /// The latest frames; gone when they are too old to have copies.
    remembered: VecDeque<Sighting>,
    /// The most that was acknowledged.
    acked: SeqNum,
    has_sent: bool,
    last_id: u16,
    ids: Ids,
    share: Share,
    /// By how much the TTLs of copies were others: a bit for each difference.
    hops: u64,
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

    fn is_fin(&self) -> bool {
        Flags::from_header(self.flags).finishes()
    }

    /// How many hops are between the two; which was captured first does not matter.
    fn hops_to(&self, other: &Self) -> u8 {
        self.hops.abs_diff(other.hops)
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
        let mut hops = 0;
        let is_fin = frame.is_fin();
        for earlier in &self.remembered {
            let has_numbers = earlier.has_numbers_of(&frame);
            // Most differ in them.
            if !(has_numbers || is_fin)
                || !earlier.is_like(&frame)
                || earlier.apart(&frame) > LONGEST
            {
                continue;
            }
            if !has_numbers {
                if self.is_renumbered(earlier, &frame) {
                    return Seen::Renumbered;
                }
            } else if earlier.options == frame.options && self.is_same(earlier, &frame, *all) {
                is_copy = true;
                hops |= bit(earlier.hops_to(&frame));
            }
        }
        if frame.is_bearing {
            self.share.count(is_copy);
            all.count(is_copy);
        }
        if is_copy {
            self.hops |= hops;
            return Seen::Copy;
        }
        if self.has_sent && self.ids != Ids::Counted {
            self.ids = if self.last_id == frame.id {
                Ids::Constant
            } else {
                Ids::Counted
            };
        }
        self.remember(frame);
        self.has_sent = true;
        self.last_id = frame.id;
        Seen::New
    }

    fn remember(&mut self, frame: Sighting) {
        if Flags::from_header(frame.flags).any(Flags::ACK) {
            let is_late = self.has_sent && frame.ack.precedes(self.acked);
            // Nothing depends on how often it comes. Where too many are on the way, it is a copy, and
            // must not displace what still may have one.
            if is_late && !frame.is_bearing {
                return;
            }
            // A FIN may be that of another connection.
            if !is_late || frame.is_fin() {
                self.acked = frame.ack;
            }
        }
        if self.remembered.capacity() == 0 {
            self.remembered.reserve_exact(REMEMBERED);
        }
        let known = self.remembered.len();
        let oldest = self.remembered.front();
        let is_over = oldest.is_some_and(|oldest| oldest.apart(&frame) > LONGEST);
        if known == MOST || known >= REMEMBERED && is_over {
            self.remembered.pop_front();
        }
        self.remembered.push_back(frame);
    }

    /// Forgets all frames, when none can have a copy any more: [`LONGEST`] after the last one.
    pub(crate) fn settle(&mut self) {
        self.remembered = VecDeque::new();
    }

    /// Of two frames whose segments are the same.
    fn is_same(&self, earlier: &Sighting, frame: &Sighting, all: Share) -> bool {
        if earlier.id != frame.id {
            return false;
        }
        let is_quick = earlier.apart(frame) <= QUICK;
        let hops = earlier.hops_to(frame);
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
            hops => frame.is_bearing || self.hops & bit(hops) != 0,
        }
    }

    fn is_copied(&self, all: Share) -> bool {
        /// Too few tell nothing of a capture.
        const LEAST: u32 = 4;
        let here = self.share.is_most(1);
        here.or_else(|| all.is_most(LEAST)).unwrap_or(false)
    }

    /// Of two FINs that are alike but for their numbers. Only of these, of which a direction has
    /// one: some network adapters give all segments of a burst the same ID.
    fn is_renumbered(&self, earlier: &Sighting, frame: &Sighting) -> bool {
        let has_its_id = frame.id != 0 && frame.id == earlier.id && self.ids == Ids::Counted;
        let has_come_further = frame.hops != earlier.hops && frame.id == earlier.id;
        has_its_id || has_come_further
    }
}

/// Of a difference of TTLs. Paths are not so long that one would have none.
fn bit(hops: u8) -> u64 {
    1_u64.checked_shl(hops.into()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
