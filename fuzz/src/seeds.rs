//! What the committed corpus was grown from: for each class of frames, and for each reason,
//! the shortest inputs of many that reach it.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::{close, mutation, traffic, wire};

const SEED: u64 = 1;
/// A super-packet is no seed.
const MOST_OCTETS: usize = 4096;

/// Inputs of a target; none if there is no such target.
#[must_use]
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let mut random = Rng::with_seed(SEED);
    match target {
        "wire" => shortest(200_000, |kept| {
            let (_, octets) = mutation::frame(&mut random);
            let class = wire::check(&octets).map(|class| class as u8);
            kept(octets, class.into_iter().collect());
        }),
        "close" => shortest(20_000, |kept| {
            let octets = close::random(&mut random);
            let reasons = close::check(&octets).unwrap_or_default();
            kept(octets, reasons.iter().map(|&reason| reason as u8).collect());
        }),
        "traffic" => shortest(20_000, |kept| {
            let octets = traffic::random(&mut random);
            let reasons = traffic::check(&octets).unwrap_or_default();
            kept(octets, reasons.iter().map(|&reason| reason as u8).collect());
        }),
        _ => Vec::new(),
    }
}

/// The shortest of `count` inputs for each thing that they reach.
fn shortest(count: usize, mut next: impl FnMut(&mut dyn FnMut(Vec<u8>, Vec<u8>))) -> Vec<Vec<u8>> {
    let mut best: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    for _ in 0..count {
        next(&mut |octets, reached| {
            for thing in reached {
                let longer = |known: &Vec<u8>| known.len() > octets.len();
                if octets.len() <= MOST_OCTETS && best.get(&thing).is_none_or(longer) {
                    best.insert(thing, octets.clone());
                }
            }
        });
    }
    let mut inputs: Vec<_> = best.into_values().collect();
    inputs.sort();
    inputs.dedup();
    inputs
}
