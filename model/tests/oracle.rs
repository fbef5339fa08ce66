//! The machine against an oracle that keeps all that passed and, for each segment, decides
//! anew from the words of docs/architecture.md. It has no state but the history.

#[path = "oracle/traces.rs"]
mod traces;
#[path = "oracle/words.rs"]
mod words;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

use filter_common::{Flow, Reason, Ticks, decide};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::words::{Event, judge};

/// What bytes alone can be, a table that is full, and another link say nothing of the close.
const ELSEWHERE: [Reason; 9] = [
    Reason::OutOfScope,
    Reason::NotTcp,
    Reason::EtherType,
    Reason::Fragment,
    Reason::Truncated,
    Reason::BadHeader,
    Reason::ExtensionHeader,
    Reason::FlowNotStored,
    Reason::OtherLink,
];

#[test]
fn the_machine_says_what_the_words_say() {
    const CASES: u32 = 6_000;
    let traces = (
        traces::policies(),
        prop::collection::vec((traces::segments(), traces::pauses()), 5..60),
    );
    let reached = RefCell::new(BTreeSet::new());
    let steps = Cell::new(0_usize);
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&traces, |(policy, trace)| {
        let mut flow: Option<Flow> = None;
        let mut history: Vec<Event> = Vec::new();
        let mut now = Ticks(1_000);
        for ((direction, segment), pause) in trace {
            now = Ticks(now.0 + pause);
            let expected = judge(&history, direction, segment, now, &policy);
            let decision = decide(flow, direction, &segment, now, &policy);
            prop_assert_eq!(
                decision.reason,
                expected,
                "{:?} {:?} after {:#?}",
                direction,
                segment,
                history
            );
            decision.change.apply(&mut flow);
            reached.borrow_mut().insert(expected as u8);
            steps.set(steps.get() + 1);
            history.push(Event {
                at: now,
                direction,
                segment,
                verdict: expected.verdict(),
                reason: expected,
            });
        }
        Ok(())
    });
    result.unwrap();
    assert!(steps.get() >= 100_000, "{} steps", steps.get());
    let missing: Vec<_> = Reason::ALL
        .into_iter()
        .filter(|reason| {
            !ELSEWHERE.contains(reason) && !reached.borrow().contains(&(*reason as u8))
        })
        .collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}
