//! Arbitrary traces, of segments and of frames, beside an oracle that keeps all history.

use fastrand::Rng;
use filter_common::Reason;
use fuzz::{close, hex, traffic};

/// The flow table here takes every flow, there is one link, and everybody is in scope.
const ELSEWHERE: [Reason; 3] = [Reason::FlowNotStored, Reason::OtherLink, Reason::OutOfScope];
/// What bytes alone can be.
const OF_BYTES: [Reason; 6] = [
    Reason::NotTcp,
    Reason::EtherType,
    Reason::Fragment,
    Reason::Truncated,
    Reason::BadHeader,
    Reason::ExtensionHeader,
];

/// Nothing is broken by so many traces, and each reason but `elsewhere` is reached.
fn assert_holds(
    traces: u32,
    random: fn(&mut Rng) -> Vec<u8>,
    check: fn(&[u8]) -> Result<Vec<Reason>, String>,
    elsewhere: &[Reason],
) {
    const SEED: u64 = 0x6c61_7374_6163_6b01;
    let mut source = Rng::with_seed(SEED);
    let mut counts = [0_u32; Reason::COUNT];
    for index in 0..traces {
        let octets = random(&mut source);
        match check(&octets) {
            Ok(reasons) => reasons
                .into_iter()
                .for_each(|reason| counts[reason as usize] += 1),
            Err(broken) => panic!(
                "trace {index} of seed {SEED:#x}: {broken}\n{}",
                hex(&octets)
            ),
        }
    }
    let mut missing = Vec::new();
    for reason in Reason::ALL {
        let count = counts[reason as usize];
        println!("{count:>9}  {}", reason.as_str());
        if count == 0 && !elsewhere.contains(&reason) {
            missing.push(reason);
        }
    }
    assert!(missing.is_empty(), "never reached: {missing:?}");
}

#[test]
fn segments_are_judged_by_the_words() {
    let elsewhere = [&ELSEWHERE[..], &OF_BYTES].concat();
    assert_holds(5_000, close::random, close::check, &elsewhere);
}

#[test]
fn frames_are_judged_by_the_words() {
    assert_holds(3_000, traffic::random, traffic::check, &ELSEWHERE);
}
