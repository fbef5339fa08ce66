//! `kill -9` at each of the calls that lastack makes.

use super::{
    instance::wait_until,
    matrix::{self, Series},
    stage::{CLSACT, Deed, PINNED, PINNED_CLSACT, Way, XDP},
    strace::Effect,
};

fn killed_at_each(way: Way, deed: Deed, calls: &'static [&'static str]) {
    let series = Series {
        way,
        deed,
        calls,
        effects: &[Effect::Kill],
    };
    matrix::play(&series, |stage, outcome, is_last| {
        if outcome.trace.hit.is_none() {
            return "ended before";
        }
        assert!(outcome.status.code().is_none(), "{}", outcome.status);
        let served = stage.served();
        assert!(served.iter().all(|&programs| programs <= 1), "{served:?}");
        if !way.is_pinned && way.has_links() {
            // In the background.
            wait_until("the kernel detaches", || stage.is_empty());
        }
        stage.assert_next_works(is_last);
        "killed"
    });
}

#[test]
fn killed_at_any_step_of_a_start_it_leaves_nothing() {
    killed_at_each(XDP, Deed::Start, &["bpf"]);
}

#[test]
fn what_a_killed_start_left_in_clsact_goes_with_the_next() {
    killed_at_each(CLSACT, Deed::Start, &["bpf", "sendto"]);
}

#[test]
fn what_a_killed_pinned_start_left_is_taken_over_by_the_next() {
    killed_at_each(PINNED, Deed::Start, &["bpf", "mkdir"]);
    killed_at_each(PINNED_CLSACT, Deed::Start, &["sendto"]);
}

#[test]
fn killed_at_any_step_of_a_reload_it_leaves_one_filter_at_most() {
    killed_at_each(XDP, Deed::Reload, &["bpf"]);
    killed_at_each(PINNED, Deed::Reload, &["bpf"]);
}

#[test]
fn killed_at_any_step_of_a_takeover_it_leaves_what_the_next_takes_over() {
    killed_at_each(PINNED, Deed::Takeover, &["bpf"]);
    killed_at_each(PINNED_CLSACT, Deed::Takeover, &["sendto"]);
}

#[test]
fn killed_at_any_step_of_a_detach_it_leaves_what_can_be_taken_off() {
    killed_at_each(PINNED, Deed::Detach, &["bpf"]);
    killed_at_each(PINNED, Deed::DetachLeft, &["bpf", "unlink", "rmdir"]);
    killed_at_each(PINNED_CLSACT, Deed::DetachLeft, &["sendto"]);
}
