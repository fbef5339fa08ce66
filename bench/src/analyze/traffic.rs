//! Made-up traffic of a site: as many conversations at once as it is asked for, each followed by the
//! next one after a pause, so that what is open does not grow with the number of packets.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use fastrand::Rng;

use super::{
    conversation::{Conversation, Mark},
    frame::Frames,
};

/// 2026-11-27 15:00 UTC, in nanoseconds since 1970.
const START: u64 = 1_795_791_600_000_000_000;

/// Octets of a frame that are kept: all headers, and of files' contents little.
const SNAPLEN: usize = 128;

/// Makes packets without an end.
pub(super) struct Traffic {
    rng: Rng,
    /// When each conversation sends its next packet; those that do so first are on top.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    conversations: Vec<Conversation>,
    frames: Frames,
    begun: u32,
    made: Made,
    now: u64,
}

/// What is in the packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    /// ACKs that nothing asked for.
    pub(super) spurious_acks: u64,
    /// Resets that followed.
    pub(super) resets: u64,
    /// ACKs after a close that the server asked for.
    pub(super) elicited_acks: u64,
}

/// One packet.
pub(super) struct Packet<'a> {
    /// Nanoseconds since 1970.
    pub(super) time: u64,
    /// Cut as by `tcpdump -s 128`.
    pub(super) frame: &'a [u8],
    pub(super) wire_len: usize,
}

impl Traffic {
    pub(super) fn new(seed: u64, conversations: usize) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut begun = 0;
        let mut next = BinaryHeap::new();
        let conversations = (0..conversations).map(|slot| {
            next.push(Reverse((START + rng.u64(0..3_000_000_000), slot)));
            begun += 1;
            Conversation::new(&mut rng, begun)
        });
        let conversations = conversations.collect();
        Self {
            rng,
            next,
            conversations,
            frames: Frames::default(),
            begun,
            made: Made::default(),
            now: START,
        }
    }

    /// The next packet, in the order of time.
    pub(super) fn packet(&mut self) -> Option<Packet<'_>> {
        let Reverse((time, slot)) = self.next.pop()?;
        self.now = time;
        let conversation = &mut self.conversations[slot];
        let step = conversation.step()?;
        match step.mark {
            Mark::None => {}
            Mark::Spurious => self.made.spurious_acks += 1,
            Mark::Reset => self.made.resets += 1,
            Mark::Elicited => self.made.elicited_acks += 1,
        }
        let segment = conversation.segment(&step);
        let pause = conversation.pause().unwrap_or_else(|| {
            self.begun += 1;
            *conversation = Conversation::new(&mut self.rng, self.begun);
            self.rng.u64(500_000_000..5_500_000_000)
        });
        self.next.push(Reverse((time + pause, slot)));
        let frame = self.frames.frame(&segment);
        Some(Packet {
            time,
            frame: frame.get(..SNAPLEN).unwrap_or(frame),
            wire_len: frame.len(),
        })
    }

    pub(super) const fn made(&self) -> Made {
        self.made
    }

    /// How long it has gone on.
    pub(super) const fn duration(&self) -> Duration {
        Duration::from_nanos(self.now - START)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_packets_and_another_one_others() {
        let frames = |seed| -> Vec<_> {
            let mut traffic = Traffic::new(seed, 50);
            let packets = (0..1000).map(|_| traffic.packet().unwrap().frame.to_vec());
            packets.collect()
        };
        assert_eq!(frames(1), frames(1));
        assert_ne!(frames(1), frames(2));
    }

    #[test]
    fn time_goes_on() {
        let mut traffic = Traffic::new(1, 50);
        let times: Vec<_> = (0..10_000)
            .map(|_| traffic.packet().unwrap().time)
            .collect();
        assert!(times.is_sorted());
    }
}
