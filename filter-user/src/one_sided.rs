//! Closes of which only one direction is seen.
//!
//! A server acknowledges a FIN at once. Flows that were made [`PATIENCE`] ago, less those of which
//! the other side has been seen since, have their other direction elsewhere.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::{Duration, Instant},
};

use filter_common::Reason;

use crate::datapath::InterfaceCounters;

/// How long the other side may take: a few repetitions of the FIN.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// What is judged is the closes of this long.
const RECENT: Duration = Duration::from_mins(1);
/// So few say nothing of the network.
const FEW: u64 = 8;

/// What is known of each interface, from looks at its counters.
#[derive(Debug, Default)]
pub struct OneSided(BTreeMap<String, Known>);

#[derive(Debug, Default)]
struct Known {
    /// Flows made so far, at each look that is younger than [`PATIENCE`].
    made: VecDeque<(Instant, u64)>,
    now: Count,
    /// The same, at each look that is younger than [`RECENT`].
    recent: VecDeque<(Instant, Count)>,
    /// That was told, and has not changed since.
    told: bool,
}

/// Of flows that are older than [`PATIENCE`].
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: u64,
    /// At the least: flows that were settled since are taken for old ones.
    one_sided: u64,
}

/// Most recent closes of an interface are seen from one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// The name that it was given with.
    pub interface: String,
    /// Closes of which one direction was seen, of the last minute.
    pub one_sided: u64,
    /// All closes of that time.
    pub closes: u64,
}

impl OneSided {
    /// Takes the counters in; gives what is to be said: once, until an interface is well again.
    pub fn look(&mut self, now: Instant, interfaces: &[InterfaceCounters]) -> Vec<Suspicion> {
        let suspicion = |InterfaceCounters {
                             interface,
                             counters,
                         }: &InterfaceCounters| {
            let known = self.0.entry(interface.clone()).or_default();
            known.look(now, counters.of(Reason::FlowCreated), counters.settled());
            known.suspicion().map(|Count { all, one_sided }| Suspicion {
                interface: interface.clone(),
                one_sided,
                closes: all,
            })
        };
        interfaces.iter().filter_map(suspicion).collect()
    }

    /// How many closes of an interface were seen from one side. Never goes back.
    #[must_use]
    pub fn of(&self, interface: &str) -> u64 {
        self.0.get(interface).map_or(0, |known| known.now.one_sided)
    }
}

impl Known {
    fn look(&mut self, at: Instant, made: u64, settled: u64) {
        self.made.push_back((at, made));
        while let Some((then, made)) = self.made.front()
            && at.duration_since(*then) >= PATIENCE
        {
            self.now.all = *made;
            self.made.pop_front();
        }
        let one_sided = self.now.all.saturating_sub(settled);
        self.now.one_sided = self.now.one_sided.max(one_sided);
        self.recent.push_back((at, self.now));
        // The first that is left is the last that is old.
        while let Some((then, _)) = self.recent.get(1)
            && at.duration_since(*then) >= RECENT
        {
            self.recent.pop_front();
        }
    }

    /// What most recent closes are, if that has to be told.
    fn suspicion(&mut self) -> Option<Count> {
        let before = self
            .recent
            .front()
            .map_or(Count::default(), |(_, count)| *count);
        let recent = Count {
            all: self.now.all - before.all,
            one_sided: self.now.one_sided - before.one_sided,
        };
        if recent.all < FEW {
            return None;
        }
        let is_most = recent.one_sided >= FEW && recent.one_sided > recent.all / 2;
        let was_told = std::mem::replace(&mut self.told, is_most);
        (is_most && !was_told).then_some(recent)
    }
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            interface,
            one_sided,
            closes,
        } = self;
        write!(
            f,
            "{interface}: of {one_sided} of the last {closes} closing connections only one direction \
             is seen here, so they cannot be protected; if the other takes another interface, serve \
             that, too (`--iface`), else somebody sends FINs of connections that there are not"
        )
    }
}

#[cfg(test)]
mod tests {
    use filter_common::{SETTLED, Tallies};

    use super::*;
    use crate::counters::Counters;

    fn counted(made: u64, settled: u64) -> [InterfaceCounters; 1] {
        let mut tallies: Tallies = [0; Reason::COUNT + 1];
        tallies[Reason::FlowCreated as usize] = made;
        tallies[SETTLED] = settled;
        [InterfaceCounters {
            interface: "wan0".to_owned(),
            counters: Counters::from(tallies),
        }]
    }

    fn seconds(after: u64) -> Duration {
        Duration::from_secs(after)
    }

    #[test]
    fn closes_count_once_nothing_has_come_back_for_ten_seconds() {
        let (mut closes, start) = (OneSided::default(), Instant::now());
        assert!(closes.look(start, &counted(20, 0)).is_empty());
        assert!(closes.look(start + seconds(9), &counted(30, 0)).is_empty());
        assert_eq!(closes.of("wan0"), 0);
        let told = closes.look(start + seconds(10), &counted(30, 1));
        assert_eq!(closes.of("wan0"), 19);
        assert_eq!((told[0].one_sided, told[0].closes), (19, 20));
        assert!(
            closes.look(start + seconds(30), &counted(50, 1)).is_empty(),
            "it is told once"
        );
        assert_eq!(closes.of("wan0"), 29);
    }

    #[test]
    fn what_begins_after_many_good_closes_is_told_and_again_after_it_was_well() {
        let (mut closes, start) = (OneSided::default(), Instant::now());
        let (mut made, mut settled) = (0, 0);
        let mut told = Vec::new();
        for second in 0..400 {
            let is_well = second < 100 || (200..300).contains(&second);
            made += 10;
            settled += if is_well { 10 } else { 0 };
            let counters = counted(made, settled);
            if !closes.look(start + seconds(second), &counters).is_empty() {
                told.push(second);
            }
        }
        let [first, second] = told[..] else {
            panic!("told at {told:?}");
        };
        let in_time = (110..180).contains(&first) && (310..380).contains(&second);
        assert!(in_time, "{told:?}");
    }

    #[test]
    fn what_was_counted_is_never_taken_back() {
        let (mut closes, start) = (OneSided::default(), Instant::now());
        closes.look(start, &counted(10, 0));
        closes.look(start + seconds(10), &counted(10, 0));
        closes.look(start + seconds(11), &counted(10, 30));
        assert_eq!(closes.of("wan0"), 10);
    }

    #[test]
    fn few_closes_or_the_lesser_part_say_nothing_of_the_network() {
        for (made, settled) in [(7, 0), (100, 50), (1_000, 999)] {
            let (mut closes, start) = (OneSided::default(), Instant::now());
            closes.look(start, &counted(made, 0));
            let told = closes.look(start + seconds(10), &counted(made, settled));
            assert!(told.is_empty(), "{made} {settled}");
            assert_eq!(closes.of("wan0"), made - settled);
        }
    }

    #[test]
    fn of_an_interface_that_nobody_looked_at_nothing_is_known() {
        assert_eq!(OneSided::default().of("wan0"), 0);
    }
}
