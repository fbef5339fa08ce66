//! What the committed corpus was grown from: the shortest of many inputs for each class of frames
//! from each origin, and for each reason behind each other one.

use std::collections::BTreeMap;

use fastrand::Rng;
use filter_common::Reason;

use crate::{close, mutation, traffic, wire};

const SEED: u64 = 1;
/// A super-packet is no seed.
const MOST_OCTETS: usize = 4096;

/// Inputs of a target; none if there is no such target.
#[must_use]
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let mut random = Rng::with_seed(SEED);
    match target {
        "wire" => shortest(200_000, || {
            let (origin, octets) = mutation::frame(&mut random);
            let class = wire::check(&octets).into_iter();
            let reached = class.map(|class| (class as u8, origin as u8)).collect();
            (octets, reached)
        }),
        "close" => shortest(20_000, || {
            let octets = close::random(&mut random);
            let reached = close::check(&octets).map(|reasons| pairs(&reasons));
            (octets, reached.unwrap_or_default())
        }),
        "traffic" => shortest(20_000, || {
            let octets = traffic::random(&mut random);
            let reached = traffic::check(&octets).map(|reasons| pairs(&reasons));
            (octets, reached.unwrap_or_default())
        }),
        _ => Vec::new(),
    }
}

/// What an input reaches.
type Reached = Vec<(u8, u8)>;

fn pairs(reasons: &[Reason]) -> Reached {
    let pairs = reasons.iter().zip(reasons.iter().skip(1));
    pairs
        .map(|(&before, &reason)| (before as u8, reason as u8))
        .collect()
}

/// The shortest of `count` inputs for each thing that they reach.
fn shortest(count: usize, mut next: impl FnMut() -> (Vec<u8>, Reached)) -> Vec<Vec<u8>> {
    let mut best: BTreeMap<(u8, u8), Vec<u8>> = BTreeMap::new();
    for _ in 0..count {
        let (octets, reached) = next();
        for thing in reached {
            let longer = |known: &Vec<u8>| known.len() > octets.len();
            if octets.len() <= MOST_OCTETS && best.get(&thing).is_none_or(longer) {
                best.insert(thing, octets.clone());
            }
        }
    }
    let mut inputs: Vec<_> = best.into_values().collect();
    inputs.sort();
    inputs.dedup();
    inputs
}
