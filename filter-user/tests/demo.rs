//! `lastack demo` from end to end: the built program, real packets, the kernel's TCP. Needs
//! root.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::{collections::BTreeSet, fs, process::Command, sync::OnceLock};

use serde_json::Value;

const CONNECTIONS: u64 = 40;

/// One run for all tests of this file that read its figures.
fn figures() -> &'static Value {
    static FIGURES: OnceLock<Value> = OnceLock::new();
    FIGURES.get_or_init(|| demo(&[]))
}

fn demo(options: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_lastack"))
        .args([
            "demo",
            "--output",
            "json",
            "--connections",
            &CONNECTIONS.to_string(),
        ])
        .args(options)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}: {errors} (this test needs root)",
        output.status
    );
    let mut objects = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    let object = objects.next().expect("no JSON on standard output").unwrap();
    assert!(
        objects.next().is_none(),
        "more than one JSON value on standard output"
    );
    object
}

fn phase<'a>(figures: &'a Value, mode: &str) -> &'a Value {
    let phases = figures["phases"].as_array().unwrap();
    phases.iter().find(|phase| phase["mode"] == mode).unwrap()
}

#[track_caller]
fn assert_figures(of: &Value, expected: &[(&str, u64)]) {
    for (name, value) in expected {
        assert_eq!(of[name].as_u64(), Some(*value), "{name} of {of:#}");
    }
}

/// All connections of both families are reset and lose data.
#[track_caller]
fn assert_fault(phase: &Value) {
    let halves = [
        (phase, CONNECTIONS),
        (&phase["ipv4"], CONNECTIONS / 2),
        (&phase["ipv6"], CONNECTIONS / 2),
    ];
    for (of, connections) in halves {
        assert_figures(
            of,
            &[
                ("connections", connections),
                ("spurious_acks_sent", connections),
                ("server_resets", connections),
                ("client_read_errors", connections),
                ("corrupted", 0),
            ],
        );
        let (read, expected) = (
            of["bytes_read"].as_u64().unwrap(),
            of["bytes_expected"].as_u64().unwrap(),
        );
        assert!(0 < read && read < expected, "{of:#}");
    }
    assert_figures(phase, &[("server_resets_sent", CONNECTIONS)]);
}

/// No connection of either family is reset or loses data.
#[track_caller]
fn assert_cure(phase: &Value) {
    let halves = [
        (phase, CONNECTIONS),
        (&phase["ipv4"], CONNECTIONS / 2),
        (&phase["ipv6"], CONNECTIONS / 2),
    ];
    for (of, connections) in halves {
        assert_figures(
            of,
            &[
                ("connections", connections),
                ("spurious_acks_sent", connections),
                ("server_resets", 0),
                ("client_read_errors", 0),
                ("corrupted", 0),
            ],
        );
        assert_eq!(of["bytes_read"], of["bytes_expected"], "{of:#}");
    }
}

#[test]
fn the_phases_come_in_order_with_all_connections_in_each() {
    let figures = figures();
    assert_figures(figures, &[("connections", CONNECTIONS)]);
    let phases = figures["phases"].as_array().unwrap();
    let modes: Vec<_> = phases.iter().map(|phase| &phase["mode"]).collect();
    assert_eq!(modes, ["off", "monitor", "enforce"]);
}

#[test]
fn without_the_filter_every_connection_is_reset_and_loses_data() {
    let off = phase(figures(), "off");
    assert_fault(off);
    assert_figures(
        off,
        &[("spurious_acks_observed", 0), ("spurious_acks_dropped", 0)],
    );
}

#[test]
fn monitor_observes_every_spurious_ack_and_changes_nothing() {
    let monitor = phase(figures(), "monitor");
    assert_fault(monitor);
    assert_figures(
        monitor,
        &[
            ("spurious_acks_observed", CONNECTIONS),
            ("spurious_acks_dropped", 0),
        ],
    );
}

#[test]
fn enforce_drops_every_spurious_ack_and_no_connection_loses_anything() {
    let enforce = phase(figures(), "enforce");
    assert_cure(enforce);
    assert_figures(
        enforce,
        &[
            ("spurious_acks_observed", 0),
            ("spurious_acks_dropped", CONNECTIONS),
            ("server_resets_sent", 0),
        ],
    );
}

#[test]
fn the_reset_guard_suppresses_the_resets_of_spurious_acks_that_the_window_lets_through() {
    // R1 does nothing about an ACK that comes later than its window; the demo says so.
    let output = Command::new(env!("CARGO_BIN_EXE_lastack"))
        .args([
            "demo",
            "--output",
            "json",
            "--connections",
            &CONNECTIONS.to_string(),
        ])
        .args(["--rst-guard", "--window", "50ms"])
        .output()
        .unwrap();
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        panic!(
            "{} (this test needs root)",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    assert_eq!(
        output.status.code(),
        Some(1),
        "dropped nothing, and yet contented"
    );
    let enforce = phase(&figures, "enforce");
    assert_cure(enforce);
    assert_figures(
        enforce,
        &[
            ("spurious_acks_dropped", 0),
            ("server_resets_sent", CONNECTIONS),
            ("server_resets_suppressed", CONNECTIONS),
        ],
    );
}

#[test]
fn with_the_reset_guard_the_outcome_is_the_same() {
    let figures = demo(&["--rst-guard"]);
    assert_fault(phase(&figures, "off"));
    assert_fault(phase(&figures, "monitor"));
    let enforce = phase(&figures, "enforce");
    assert_cure(enforce);
    assert_figures(enforce, &[("spurious_acks_dropped", CONNECTIONS)]);
}

#[test]
fn the_text_shows_every_phase_within_80_columns() {
    let output = Command::new(env!("CARGO_BIN_EXE_lastack"))
        .args(["demo", "--connections", "4"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{} (this test needs root)",
        String::from_utf8_lossy(&output.stderr)
    );
    for word in ["off", "monitor", "enforce", "IPv4", "IPv6"] {
        assert!(text.contains(word), "no {word} in\n{text}");
    }
    assert!(!text.contains('\x1b'), "colours, yet no terminal:\n{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "too wide:\n{text}"
    );
}

#[test]
fn the_machine_is_as_before() {
    fn interfaces_and_routes() -> (BTreeSet<String>, String, String) {
        let devices = fs::read_to_string("/proc/net/dev").unwrap();
        let names = devices.lines().filter_map(|line| line.split_once(':'));
        (
            names.map(|(name, _)| name.trim().to_owned()).collect(),
            fs::read_to_string("/proc/net/route").unwrap(),
            fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default(),
        )
    }
    fn named_namespaces() -> usize {
        fs::read_dir("/run/netns").map_or(0, Iterator::count)
    }

    let before = (interfaces_and_routes(), named_namespaces());
    demo(&[]);
    let after = (interfaces_and_routes(), named_namespaces());
    assert_eq!(before, after);
}

#[test]
fn wrong_use_is_one_line_and_status_2() {
    for options in [
        ["--connections", "0"],
        ["--delay", "0s"],
        ["--window", "0s"],
        ["--delay", "soon"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_lastack"))
            .arg("demo")
            .args(options)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        assert!(output.stdout.is_empty(), "{options:?}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.starts_with("error: invalid value"), "{errors}");
    }
}
