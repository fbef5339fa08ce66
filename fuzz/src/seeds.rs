//! What the committed corpus was grown from: the shortest of many inputs for each class of frames
//! from each origin, and for each reason in each mode.

use std::collections::BTreeMap;

use fastrand::Rng;
use filter_common::Reason;

use crate::{capture, close, mutation, traffic, wire};

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
            let reasons = close::check(&octets).unwrap_or_default();
            let reached = in_mode(&octets, &reasons);
            (octets, reached)
        }),
        "traffic" => shortest(20_000, || {
            let octets = traffic::random(&mut random);
            let reasons = traffic::check(&octets).unwrap_or_default();
            let reached = in_mode(&octets, &reasons);
            (octets, reached)
        }),
        "capture" => shortest(20_000, || {
            let octets = capture::random(&mut random);
            let outcome = capture::check(&octets).into_iter();
            // Formats and byte orders differ in these; a link type is worth a seed, too.
            let octet = |at: usize| octets.get(at).copied().unwrap_or_default();
            let form = octet(0) ^ octet(20);
            let is_known = matches!(octet(0), 0x0a | 0x34 | 0x4d | 0xa1 | 0xd4);
            let reached = outcome
                .filter(|_| is_known)
                .map(|it| (form, it as u8))
                .collect();
            (octets, reached)
        }),
        _ => Vec::new(),
    }
}

/// What an input reaches.
type Reached = Vec<(u8, u8)>;

/// The first octet of a trace holds its modes.
fn in_mode(octets: &[u8], reasons: &[Reason]) -> Reached {
    let mode = octets.first().copied().unwrap_or_default();
    reasons.iter().map(|&reason| (reason as u8, mode)).collect()
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
