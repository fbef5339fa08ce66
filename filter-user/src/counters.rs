//! How often each [`Reason`] was given.

use std::{collections::BTreeMap, ops::AddAssign};

use filter_common::{Reason, SETTLED, Tallies};

/// Packets by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters(Tallies);

impl Counters {
    /// Packets that were given `reason`.
    #[must_use]
    pub fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// Flows of which both sides have been seen, or whose client gave up before that.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.0[SETTLED]
    }

    /// Pure ACKs that nothing had asked for and that were dropped, redundant ones included.
    #[must_use]
    pub fn dropped_acks(&self) -> u64 {
        self.of(Reason::SpuriousAckDropped) + self.of(Reason::RedundantAckDropped)
    }

    /// The same, observed in monitor mode.
    #[must_use]
    pub fn observed_acks(&self) -> u64 {
        self.of(Reason::SpuriousAckObserved) + self.of(Reason::RedundantAckObserved)
    }
}

impl Counters {
    /// Counters by the names of their reasons; what has no known name is left out.
    #[must_use]
    pub fn from_names(names: &BTreeMap<String, u64>, settled: u64) -> Self {
        let mut tallies: Tallies = [0; Reason::COUNT + 1];
        for (tally, reason) in tallies.iter_mut().zip(Reason::ALL) {
            *tally = names.get(reason.as_str()).copied().unwrap_or_default();
        }
        tallies[SETTLED] = settled;
        Self(tallies)
    }

    /// By the names of their reasons, all that are counted.
    #[must_use]
    pub fn by_name(&self) -> BTreeMap<String, u64> {
        let counted = Reason::ALL.into_iter().filter(|reason| reason.is_counted());
        counted
            .map(|reason| (reason.as_str().to_owned(), self.of(reason)))
            .collect()
    }

    /// What was counted since `earlier`, an older reading of the same counters.
    #[must_use]
    pub fn since(mut self, earlier: &Self) -> Self {
        for (count, earlier) in self.0.iter_mut().zip(earlier.0) {
            *count = count.saturating_sub(earlier);
        }
        self
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self([0; Reason::COUNT + 1])
    }
}

impl From<Tallies> for Counters {
    fn from(tallies: Tallies) -> Self {
        Self(tallies)
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }
}
