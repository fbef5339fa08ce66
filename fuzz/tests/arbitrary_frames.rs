//! Arbitrary and damaged frames through the parser and an independent one.

use fastrand::Rng;
use fuzz::{
    hex,
    mutation::{self, Origin},
    wire::{self, Class},
};

/// Both parsers say the same of every frame, or differ as [`Class`] allows. Every way to make a
/// frame and every class is reached, or this would have gone blind.
#[test]
fn parsers_agree_on_arbitrary_frames() {
    const FRAMES: u32 = 500_000;
    const SEED: u64 = 0x6c61_7374_6163_6b00;
    let mut random = Rng::with_seed(SEED);
    let mut counts = [[0_u32; Class::ALL.len()]; Origin::ALL.len()];
    for index in 0..FRAMES {
        let (origin, octets) = mutation::frame(&mut random);
        match wire::check(&octets) {
            Ok(class) => counts[origin as usize][class as usize] += 1,
            Err(broken) => panic!(
                "frame {index} of seed {SEED:#x} ({origin:?}, {} octets): {broken}\n{}",
                octets.len(),
                hex(&octets)
            ),
        }
    }
    for origin in Origin::ALL {
        println!(
            "{:>9}  {origin:?}",
            counts[origin as usize].iter().sum::<u32>()
        );
    }
    println!();
    let mut missing = Vec::new();
    for class in Class::ALL {
        let count: u32 = counts.iter().map(|counts| counts[class as usize]).sum();
        println!("{count:>9}  {class:?}");
        if count == 0 {
            missing.push(class);
        }
    }
    assert!(missing.is_empty(), "never reached: {missing:?}");
    assert!(
        counts
            .iter()
            .all(|counts| counts.iter().sum::<u32>() > 1000),
        "an origin is hardly reached: {counts:?}"
    );
}
