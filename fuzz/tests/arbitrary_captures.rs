//! Arbitrary and damaged captures through the reader, the analyzer and the writer.

use fastrand::Rng;
use fuzz::{
    capture::{self, Outcome},
    hex,
};

#[test]
fn captures_are_read_and_written_whatever_is_in_them() {
    const CAPTURES: u32 = 20_000;
    const SEED: u64 = 0x6c61_7374_6163_6b02;
    let mut random = Rng::with_seed(SEED);
    let mut counts = [0_u32; Outcome::ALL.len()];
    for index in 0..CAPTURES {
        let octets = capture::random(&mut random);
        match capture::check(&octets) {
            Ok(outcome) => counts[outcome as usize] += 1,
            Err(broken) => panic!(
                "capture {index} of seed {SEED:#x}: {broken}\n{}",
                hex(&octets)
            ),
        }
    }
    for outcome in Outcome::ALL {
        let count = counts[outcome as usize];
        println!("{count:>9}  {outcome:?}");
        assert!(count > CAPTURES / 100, "{outcome:?} is hardly reached");
    }
}
