//! One fault after another, at each of the calls of a deed or at some.

use std::{
    any::Any,
    collections::BTreeMap,
    env, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use super::{
    stage::{Deed, Outcome, Stage, Way},
    strace::{Effect, Fault},
    traffic::Loss,
};

/// How many calls of a series go wrong where not all do.
const SAMPLE: usize = 3;

/// What goes wrong.
pub(crate) struct Series {
    pub(crate) way: Way,
    pub(crate) deed: Deed,
    /// The calls of these names.
    pub(crate) calls: &'static [&'static str],
    /// In turn; in the whole matrix, all of them.
    pub(crate) effects: &'static [Effect],
}

/// Has each of the calls go wrong, or some, and `judge` look at what became of it, which gives that a
/// name. It is told which fault is the last. A series in which nothing went wrong shows nothing.
pub(crate) fn play(series: &Series, judge: impl Fn(&mut Stage, &Outcome, bool) -> &'static str) {
    let start = Instant::now();
    let &Series {
        way, deed, calls, ..
    } = series;
    let mut stage = Stage::new(way);
    let undisturbed = stage.perform(deed, calls, None);
    assert!(undisturbed.status.success(), "{undisturbed:?}");
    stage.assert_next_works(true);
    let made = &undisturbed.trace.calls;
    for name in calls {
        let is_made = made.iter().any(|call| name_of(call) == *name);
        assert!(is_made, "{}, {deed:?} makes no {name}", way.name);
    }
    let faults = faults(series, made);
    let mut hits = 0;
    let mut loss = Loss::default();
    let mut became = BTreeMap::<_, u32>::new();
    let mut wrong = Vec::new();
    for (index, fault) in faults.iter().enumerate() {
        let is_last = index + 1 == faults.len();
        let mut hit = None;
        let judged = catch_unwind(AssertUnwindSafe(|| {
            let outcome = stage.perform(deed, calls, Some(fault));
            hit.clone_from(&outcome.trace.hit);
            hits += u32::from(hit.is_some());
            judge(&mut stage, &outcome, is_last)
        }));
        match judged {
            Ok(name) => *became.entry(name).or_default() += 1,
            Err(panic) => {
                let hit = hit.as_deref().unwrap_or("nothing");
                wrong.push(format!("{fault} hit {hit}: {}", message(&*panic)));
                let next = Stage::new(way);
                loss += mem::replace(&mut stage, next).end();
            }
        }
    }
    loss += stage.end();
    eprintln!(
        "{}, {deed:?}: {hits} of {} faults hit, {} calls of {calls:?}: {became:?}, {loss}, {:.1} s",
        way.name,
        faults.len(),
        made.len(),
        start.elapsed().as_secs_f32(),
    );
    assert!(
        wrong.is_empty(),
        "{}, {deed:?}: {} wrong:\n{}",
        way.name,
        wrong.len(),
        wrong.join("\n")
    );
    assert!(hits > 0, "{}, {deed:?}: no call went wrong", way.name);
    loss.assert_within(way);
}

fn faults(series: &Series, calls: &[String]) -> Vec<Fault> {
    let effects = series.effects;
    let mut seen = BTreeMap::<_, usize>::new();
    let mut meant = Vec::new();
    for call in calls {
        let name = name_of(call);
        let number = seen.entry(name).or_default();
        *number += 1;
        if is_meant(call) {
            meant.push((name, *number, kind(call)));
        }
    }
    let fault = |&(name, number, _): &(&str, usize, &str), effect| Fault {
        call: name.to_owned(),
        number,
        effect,
    };
    let in_turn = |(index, call)| fault(call, effects[index % effects.len()]);
    match env::var("LASTACK_FAULTS").as_deref() {
        Ok("all") => {
            let each = |call| effects.iter().map(move |&effect| fault(call, effect));
            return meant.iter().flat_map(each).collect();
        }
        Ok("each") => return meant.iter().enumerate().map(in_turn).collect(),
        _ => {}
    }
    // The last of each kind, for those are where most has been done already.
    let is_last = |&(index, (.., kind)): &(usize, &(&str, usize, &str))| {
        let mut later = meant.iter().skip(index + 1);
        !later.any(|(.., other)| other == kind)
    };
    let last: Vec<_> = meant.iter().enumerate().filter(is_last).collect();
    let step = last.len().div_ceil(SAMPLE).max(1);
    last.into_iter().rev().step_by(step).map(in_turn).collect()
}

fn name_of(call: &str) -> &str {
    call.split('(').next().unwrap_or_default()
}

/// Sockets are for netlink here; those of the runtime's, by which a signal wakes it, do not fail.
fn is_meant(call: &str) -> bool {
    let is_socket = ["socket(", "sendto(", "recvfrom("];
    let is_netlink = || call.contains("NETLINK") || call.contains("nlmsg_len=");
    !is_socket.iter().any(|name| call.starts_with(name)) || is_netlink()
}

/// A call without what differs between calls for the same purpose.
fn kind(call: &str) -> &str {
    let message = call.split_once("nlmsg_type=").map(|(_, message)| message);
    let kind = message.unwrap_or(call).split([',', '}']).next();
    kind.unwrap_or_default()
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let word = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or(word).unwrap_or_default()
}
