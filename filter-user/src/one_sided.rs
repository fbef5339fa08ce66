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
/// So few say nothing of the network.
const FEW: u64 = 8;

/// What is known of each interface, from looks at its counters.
#[derive(Debug, Default)]
pub struct OneSided(BTreeMap<String, Known>);

#[derive(Debug, Default)]
struct Known {
    /// Flows made so far, at each look that is younger than [`PATIENCE`].
    made: VecDeque<(Instant, u64)>,
    /// Flows that are older.
    old: u64,
    one_sided: u64,
    told: bool,
}

/// Most closes of an interface are seen from one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// The name that it was given with.
    pub interface: String,
    /// Closes of which one direction was seen.
    pub one_sided: u64,
    /// All closes.
    pub closes: u64,
}

impl OneSided {
    /// Takes the counters in; gives what is to be said, once for each interface.
    pub fn look(&mut self, now: Instant, interfaces: &[InterfaceCounters]) -> Vec<Suspicion> {
        let suspicion = |InterfaceCounters {
                             interface,
                             counters,
                         }: &InterfaceCounters| {
            let known = self.0.entry(interface.clone()).or_default();
            known.look(now, counters.of(Reason::FlowCreated), counters.settled());
            known.is_suspicious().then(|| Suspicion {
                interface: interface.clone(),
                one_sided: known.one_sided,
                closes: known.old,
            })
        };
        interfaces.iter().filter_map(suspicion).collect()
    }

    /// How many closes of an interface were seen from one side. Never goes back.
    #[must_use]
    pub fn of(&self, interface: &str) -> u64 {
        self.0.get(interface).map_or(0, |known| known.one_sided)
    }
}

impl Known {
    fn look(&mut self, now: Instant, made: u64, settled: u64) {
        self.made.push_back((now, made));
        while let Some((at, made)) = self.made.front()
            && now.duration_since(*at) >= PATIENCE
        {
            self.old = *made;
            self.made.pop_front();
        }
        self.one_sided = self.one_sided.max(self.old.saturating_sub(settled));
    }

    fn is_suspicious(&mut self) -> bool {
        let is_most = self.one_sided >= FEW && self.one_sided > self.old / 2;
        is_most && !std::mem::replace(&mut self.told, true)
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
            "{interface}: of {one_sided} of {closes} closing connections only one direction is seen \
             here, so they cannot be protected; if the other takes another interface, serve that, \
             too (`--iface`)"
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
