//! Asking a running instance: `lastack status`, `flows`, `hosts`, `detach`, and `watch` without a
//! terminal. Needs root, bpftool, tc, setpriv, unshare and systemd-socket-activate.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod answers;
mod detach;
mod hostile;
#[path = "../instance/mod.rs"]
mod instance;
mod killed;
mod left;
mod names;
mod trust;

use std::process::Command;

use filter_user::lab::namespace::Namespace;
use serde_json::Value;

use instance::{lastack, output};

/// What every instance here is started with.
const WITHOUT_METRICS: [&str; 2] = ["--metrics-addr", "off"];

/// Runs a command of lastack in a namespace, which must succeed and say nothing to its log; gives
/// what it prints.
#[track_caller]
fn say(namespace: &Namespace, arguments: &[&str]) -> String {
    let output = output(namespace, lastack(arguments));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    assert!(errors.is_empty(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The same with JSON: one object.
#[track_caller]
fn json(namespace: &Namespace, arguments: &[&str]) -> Value {
    let said = say(namespace, &[arguments, &["--output", "json"]].concat());
    assert_eq!(said.matches('\n').count(), 1, "{said}");
    serde_json::from_str(&said).unwrap()
}

/// Runs a command that must fail with one line that has all of these words.
#[track_caller]
fn assert_fails(namespace: &Namespace, command: Command, words: &[&str]) {
    let output = output(namespace, command);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(output.stdout.is_empty());
    for word in words {
        assert!(errors.contains(word), "no {word} in: {errors}");
    }
}
