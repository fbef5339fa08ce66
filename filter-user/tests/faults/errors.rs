//! Each of the calls that lastack makes fails: it ends with one line, or goes on and filters.

use super::{
    instance::wait_until,
    matrix::{self, Series},
    stage::{CLSACT, Deed, Outcome, PINNED, PINNED_CLSACT, Stage, Way, XDP},
    strace::Effect,
};

/// What the kernel answers when something is forbidden, short or taken.
const ERRORS: [Effect; 3] = [
    Effect::Error("EPERM"),
    Effect::Error("ENOMEM"),
    Effect::Error("EBUSY"),
];

fn each_fails(way: Way, deed: Deed, calls: &'static [&'static str]) {
    let series = Series {
        way,
        deed,
        calls,
        effects: &ERRORS,
    };
    matrix::play(&series, |stage, outcome, is_last| {
        assert_told(outcome);
        if deed == Deed::DetachLeft {
            let wrong = ["cannot pin", "runs here"];
            let said = &outcome.said;
            assert!(wrong.iter().all(|words| !said.contains(words)), "{said}");
        }
        let went_on = outcome.has_attached || deed == Deed::DetachLeft;
        assert_state(stage, (way, deed), outcome);
        stage.assert_next_works(is_last);
        if went_on && outcome.status.success() {
            "went on"
        } else {
            "ended with one line"
        }
    });
}

/// One line if it has failed, which says what to do; and never anything but lines for people.
fn assert_told(outcome: &Outcome) {
    let said = &outcome.said;
    for word in ["panicked", "Some(", "Error {", "Err(", "RUST_BACKTRACE"] {
        assert!(!said.contains(word), "not for people: {said}");
    }
    let failures = said.lines().filter(|line| line.starts_with("lastack: "));
    let failures: Vec<_> = failures.collect();
    match outcome.status.code() {
        Some(0) => assert!(failures.is_empty(), "{said}"),
        Some(1) => {
            let [line] = failures[..] else {
                panic!("not one line: {said}");
            };
            assert!(line.contains("; "), "it does not say what to do: {line}");
            let twice = line.matches("(os error").count() > 1;
            assert!(!twice, "it says so twice: {line}");
        }
        _ => panic!("{}: {said}", outcome.status),
    }
}

/// Nothing is left, or all of what is pinned.
fn assert_state(stage: &Stage, (way, deed): (Way, Deed), outcome: &Outcome) {
    let is_to_stay = way.is_pinned
        && match deed {
            Deed::Start | Deed::Reload => outcome.has_attached,
            Deed::Takeover => true,
            // What could not be taken off can be taken off then.
            Deed::Detach | Deed::DetachLeft => !outcome.status.success(),
        };
    // What is in clsact, the next start takes off.
    let says_what_stays = !outcome.status.success()
        && !way.has_links()
        && outcome.said.contains("could not take everything off");
    if says_what_stays {
        return;
    }
    if !is_to_stay {
        // Links of which only the pin could be removed go in the background.
        wait_until("nothing is left", || stage.is_empty());
    } else if outcome.status.success() || deed == Deed::Takeover {
        assert_eq!(stage.served(), [1, 1]);
    }
}

#[test]
fn a_start_whose_calls_fail_ends_or_goes_on_and_leaves_nothing() {
    each_fails(
        XDP,
        Deed::Start,
        &["bpf", "fsopen", "fsconfig", "fsmount", "sendto", "recvfrom"],
    );
}

#[test]
fn a_start_with_clsact_whose_netlink_messages_fail_leaves_nothing() {
    each_fails(CLSACT, Deed::Start, &["socket", "sendto", "recvfrom"]);
}

#[test]
fn a_pinned_start_whose_calls_fail_leaves_nothing_or_all() {
    each_fails(PINNED, Deed::Start, &["bpf", "mkdir"]);
}

#[test]
fn a_reload_whose_bpf_calls_fail_leaves_the_old_or_the_new_programs() {
    each_fails(PINNED, Deed::Reload, &["bpf"]);
}

#[test]
fn a_takeover_whose_calls_fail_leaves_one_filter_at_work() {
    each_fails(PINNED, Deed::Takeover, &["bpf"]);
    each_fails(PINNED_CLSACT, Deed::Takeover, &["sendto", "recvfrom"]);
}

#[test]
fn a_detach_whose_calls_fail_can_be_tried_again() {
    each_fails(PINNED, Deed::Detach, &["bpf"]);
    each_fails(
        PINNED,
        Deed::DetachLeft,
        &["bind", "bpf", "unlink", "rmdir"],
    );
    each_fails(PINNED_CLSACT, Deed::DetachLeft, &["sendto"]);
}
