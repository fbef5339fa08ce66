//! `lastack demo` from end to end: the built program, real packets, the kernel's TCP. Needs
//! root.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command, Output},
    sync::OnceLock,
};

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
    let errors = String::from_utf8(output.stderr).unwrap();
    let why = "ACKs that come later than --window (50ms) are let pass, and --delay is 200ms";
    assert!(errors.contains(why), "{errors}");
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

/// Where a picture is written; removed in the end.
struct Picture(PathBuf);

impl Picture {
    fn new(test: &str) -> Self {
        let name = format!("lastack-demo-{test}-{}.svg", process::id());
        Self(env::temp_dir().join(name))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// What is written at elements of these classes.
    fn texts(&self, class: &str) -> Vec<String> {
        let text = fs::read_to_string(&self.0).unwrap();
        let document = roxmltree::Document::parse(&text).unwrap();
        let of_class = |node: &roxmltree::Node<'_, '_>| node.attribute("class") == Some(class);
        let nodes = document.descendants().filter(of_class);
        let texts = nodes.filter_map(|node| node.text());
        texts.map(|text| text.trim().to_owned()).collect()
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

fn few(options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lastack"))
        .args(["demo", "--connections", "4"])
        .args(options)
        .output()
        .unwrap()
}

/// The ladders of the three phases.
fn ladders(output: &Output) -> [String; 3] {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let (_, off) = text.split_once("\nFilter off: ").unwrap_or_else(|| {
        panic!(
            "{text}{} (this test needs root)",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    let (off, monitor) = off.split_once("\nFilter monitoring: ").unwrap();
    let (monitor, enforce) = monitor.split_once("\nFilter enforcing: ").unwrap();
    [off, monitor, enforce].map(str::to_owned)
}

/// The lines with a double shaft: faults and resets.
fn notable(ladder: &str) -> Vec<&str> {
    let lines = ladder.lines().filter_map(|line| line.split_once('|'));
    let drawn = lines.map(|(_, drawn)| drawn.trim_end_matches('|').trim());
    drawn.filter(|drawn| drawn.contains("===")).collect()
}

#[test]
fn the_ladders_show_the_reset_behind_the_spurious_ack_and_that_the_filter_drops_it() {
    let picture = Picture::new("ladders");
    let output = few(&["--ladder", "--svg", picture.path()]);
    assert!(output.status.success(), "{output:?}");
    let [off, monitor, enforce] = ladders(&output);
    for ladder in [&off, &monitor, &enforce] {
        assert!(ladder.lines().all(|line| line.chars().count() <= 80));
        assert!(!ladder.contains('\x1b'), "colours, yet no terminal");
        for step in [
            "|-- [SYN] Seq=0 -",
            "- [SYN, ACK] Seq=0 Ack=1 --|",
            "- [FIN, ACK] Seq=",
        ] {
            assert!(ladder.contains(step), "no {step} in\n{ladder}");
        }
    }
    for ladder in [&off, &monitor] {
        let [ack, reset] = notable(ladder)[..] else {
            panic!("{ladder}");
        };
        assert!(ack.starts_with("== [ACK] Seq=14 Ack=32770 =") && ack.ends_with("=>"));
        assert!(reset.starts_with("<=") && reset.ends_with("= [RST] Seq=32770 =="));
        assert!(ladder.starts_with("the client read "));
        assert!(ladder.contains("then a read failed"), "{ladder}");
    }
    let [ack] = notable(&enforce)[..] else {
        panic!("{enforce}");
    };
    assert!(ack.starts_with("== [ACK] Seq=14 Ack=32770 =") && ack.ends_with("=x"));
    assert!(
        !enforce.contains("RST") && !enforce.contains("failed"),
        "{enforce}"
    );
    // What the filter did, the kernel has told.
    for (ladder, says) in [
        (&off, "; lastack would drop it"),
        (&monitor, "; the filter lets it pass"),
        (&enforce, "; the filter drops it"),
    ] {
        assert!(ladder.contains(says), "no {says} in\n{ladder}");
    }

    // Two of three were reset, one was not.
    assert_eq!(picture.texts("label reset"), ["[RST] Seq=32770"; 2]);
    assert_eq!(picture.texts("label fault"), ["[ACK] Seq=14 Ack=32770"; 3]);
    assert_eq!(picture.texts("title").len(), 3);
}

#[test]
fn a_reset_that_the_guard_keeps_ends_on_the_way_in_the_ladder() {
    let output = few(&["--ladder", "--rst-guard", "--window", "50ms"]);
    let [_, _, enforce] = ladders(&output);
    let [ack, reset] = notable(&enforce)[..] else {
        panic!("{enforce}");
    };
    assert!(
        ack.contains("[ACK] Seq=14 Ack=32770") && ack.ends_with("=>"),
        "{ack}"
    );
    assert!(
        reset.starts_with("x=") && reset.ends_with("= [RST] Seq=32770 =="),
        "{reset}"
    );
    assert!(!enforce.contains("failed"), "{enforce}");
}

#[test]
fn with_json_the_ladders_are_in_the_picture_alone() {
    let picture = Picture::new("json");
    let output = few(&["--output", "json", "--ladder", "--svg", picture.path()]);
    assert!(output.status.success(), "{output:?}");
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(figures["connections"], 4);
    assert_eq!(picture.texts("title").len(), 3);
}

#[test]
fn a_picture_that_cannot_be_written_is_one_line() {
    let path = "/proc/lastack-demo.svg";
    let output = few(&["--ladder", "--svg", path]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = errors.lines().collect();
    assert!(lines.len() == 1 && lines[0].contains(path), "{errors}");
    assert!(!Path::new(path).exists());
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

#[test]
fn ladders_go_with_text_or_into_a_picture() {
    for (options, says) in [
        (
            &["--ladder", "--output", "json"][..],
            "--ladder draws in text; with --output json it needs --svg",
        ),
        (&["--svg", "ladder.svg"], "--ladder"),
    ] {
        let output = few(options);
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        assert!(output.stdout.is_empty(), "{options:?}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(says), "{errors}");
    }
}
