//! `lastack analyze` as it is typed: what it takes, what it prints and writes, and how it fails. Needs
//! gzip, zstd, script and tshark.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod errors;
mod files;
mod tape;

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;

use tape::{After, Directory, FAULT, FRAMES, FRAMES_WITH_FAULT, Tape};

const CLIENT: &str = "10.0.0.2:40000";
const SERVER: &str = "10.0.1.2:80";

fn lastack<'a>(arguments: impl IntoIterator<Item = &'a str>, files: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastack"));
    command.arg("analyze").args(arguments).args(files);
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// What it prints, without a word on standard error.
#[track_caller]
fn prints(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(
        (status.code(), stderr.as_str()),
        (Some(0), ""),
        "{command:?}"
    );
    String::from_utf8(stdout).unwrap()
}

/// The same of one that reads this.
#[track_caller]
fn prints_of(command: &mut Command, input: &[u8]) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
    String::from_utf8(output.stdout).unwrap()
}

fn objects(lines: &str) -> Vec<Value> {
    let objects = lines.lines().map(serde_json::from_str);
    objects.collect::<Result<_, _>>().unwrap()
}

fn json(file: &Path, options: &[&str]) -> Value {
    let options = ["--output", "json"].iter().chain(options).copied();
    let mut objects = objects(&prints(&mut lastack(options, &[file])));
    assert_eq!(objects.len(), 1);
    objects.remove(0)
}

/// Three clients, of which one has the fault twice, and one of IPv6 once.
fn site() -> Tape {
    let mut tape = Tape::default();
    tape.add("10.0.0.3:40000", SERVER, After::Nothing)
        .add(CLIENT, SERVER, FAULT)
        .add(
            "[2001:db8:1111:2222:3333:4444:5555:6666]:40000",
            "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:8080",
            FAULT,
        )
        .add(
            "10.0.0.2:40001",
            SERVER,
            After::Spurious(Duration::from_millis(1500)),
        );
    tape
}

#[test]
fn the_report_tells_who_has_the_fault_each_finding_and_what_to_do() {
    let directory = Directory::new();
    let file = directory.write("site.pcapng", site().pcapng());
    let text = prints(&mut lastack([], &[&file]));
    let name = file.to_str().unwrap();
    for part in [
        &format!("{name}\n\nThe fault is there: 2 clients sent 3 ACKs"),
        "\n10.0.0.2            ",
        "\n2001:db8:1111:2222:3333:4444:5555:6666\n",
        "later than --window 500ms",
        &format!("lastack analyze {name} --ladder 1\n"),
        "lastack run --iface IF --mode monitor",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    for line in text.lines() {
        // The file's name is as long as it is.
        let length = line.replace(name, "").chars().count();
        assert!(length <= 80, "{line}");
    }
}

#[test]
fn json_is_one_object_a_file_with_the_names_of_the_contract() {
    let directory = Directory::new();
    let (one, other) = (
        directory.write("one.pcapng", Tape::of(CLIENT, SERVER, FAULT).pcapng()),
        directory.write(
            "other.pcapng",
            Tape::of(CLIENT, SERVER, After::Nothing).pcapng(),
        ),
    );
    let lines = prints(&mut lastack(["--output", "json"], &[&one, &other]));
    let [one_report, other_report] = &objects(&lines)[..] else {
        panic!("{lines}");
    };
    for (name, value) in [
        ("file", one.to_str().unwrap().into()),
        ("packets", FRAMES_WITH_FAULT.into()),
        ("connections", 1.into()),
        ("closed", 1.into()),
        ("spurious_acks", 1.into()),
        ("redundant_acks", 0.into()),
        ("resets_after_spurious_ack", 1.into()),
        ("reacks_elicited", 0.into()),
        ("skipped", Value::Object(serde_json::Map::new())),
        ("damage", Value::Null),
    ] {
        assert_eq!(one_report[name], value, "{name}");
    }
    assert_eq!(one_report["hosts"][0]["client"], "10.0.0.2");
    let finding = &one_report["findings"][0];
    for (name, value) in [
        ("client", Value::from(CLIENT)),
        ("server", SERVER.into()),
        ("frame", (FRAMES + 1).into()),
        ("time", "2026-11-27T15:00:00.281000000Z".into()),
        ("reset_frame", (FRAMES + 2).into()),
        ("cure", "r1".into()),
    ] {
        assert_eq!(finding[name], value, "{name}");
    }
    assert_eq!(other_report["file"], other.to_str().unwrap());
    assert_eq!(other_report["packets"], FRAMES);
    assert_eq!(other_report["spurious_acks"], 0);
    assert_eq!(other_report["findings"], Value::Array(Vec::new()));
}

#[test]
fn standard_input_is_as_good_as_a_file_and_compressed_as_good_as_not() {
    let directory = Directory::new();
    let file = directory.write("site.pcapng", site().pcapng());
    let mut expected = json(&file, &[]);
    for tool in ["gzip", "zstd"] {
        let packed = Command::new(tool).args(["-c"]).arg(&file).output().unwrap();
        let packed = directory.write(tool, packed.stdout);
        let mut report = json(&packed, &[]);
        assert_eq!(report["file"], packed.to_str().unwrap());
        report["file"] = expected["file"].clone();
        assert_eq!(report, expected, "{tool}");
    }
    expected["file"] = "-".into();
    let arguments = ["--output", "json", "-"];
    let piped = prints_of(&mut lastack(arguments, &[]), &site().pcapng());
    assert_eq!(objects(&piped), [expected.clone()]);
    let mut redirected = lastack(arguments, &[]);
    redirected.stdin(File::open(&file).unwrap());
    assert_eq!(objects(&prints(&mut redirected)), [expected]);
}

#[test]
fn a_filter_leaves_other_connections_out() {
    let directory = Directory::new();
    let file = directory.write("site.pcapng", site().pcapng());
    for (filter, connections, spurious) in [
        (&[][..], 4, 3),
        (&["10.0.0.2"], 2, 2),
        (&["10.0.0.0/24"], 3, 2),
        (&["2001:db8::/32"], 1, 1),
        (&["80"], 3, 2),
        (&["8080"], 1, 1),
        (&["40001"], 1, 1),
        (&["10.0.0.2", "40000"], 1, 1),
        (&["10.0.0.2", "2001:db8::/32"], 3, 3),
    ] {
        let options: Vec<_> = filter
            .iter()
            .flat_map(|wanted| ["--filter", wanted])
            .collect();
        let report = json(&file, &options);
        let found = (&report["connections"], &report["spurious_acks"]);
        assert_eq!(found, (&connections.into(), &spurious.into()), "{filter:?}");
    }
    let text = prints(&mut lastack(["--filter", "10.9.0.0/16"], &[&file]));
    assert!(
        text.contains("no TCP connection in this capture\nmatches --filter"),
        "{text}"
    );
}

#[test]
fn settings_of_the_filter_decide_what_would_have_been_cured() {
    let directory = Directory::new();
    let file = directory.write("site.pcapng", site().pcapng());
    let late = |options: &[&str]| json(&file, options)["findings"][2]["reason"].clone();
    assert_eq!(late(&[]), "window");
    assert_eq!(late(&["--window", "2s"]), "spurious_ack");
    let forgotten = json(&file, &["--closed-timeout", "1s"]);
    assert_eq!(forgotten["spurious_acks"], 2, "{forgotten}");
}

#[test]
fn findings_beyond_those_asked_for_are_counted() {
    let directory = Directory::new();
    let file = directory.write("site.pcapng", site().pcapng());
    let report = json(&file, &["--findings", "1"]);
    assert_eq!(report["findings"].as_array().unwrap().len(), 1);
    assert_eq!(report["findings_left_out"], 2);
    assert_eq!(report["spurious_acks"], 3);
    let text = prints(&mut lastack(["--findings", "1"], &[&file]));
    assert!(
        text.contains("\n2 more findings; --findings N lists them\n"),
        "{text}"
    );
}

#[test]
fn what_a_capture_cannot_tell_is_said() {
    let mut tape = site();
    let directory = Directory::new();
    let bluetooth = directory.write(
        "link.pcapng",
        tape.with_link(analysis::capture::LinkType(187)),
    );
    let one_sided = directory.write("one.pcapng", tape.only_from("10.0.0.2").pcapng());
    let text = prints(&mut lastack([], &[&one_sided])).replace('\n', " ");
    assert!(
        text.contains("of 2 connections only one direction"),
        "{text}"
    );
    assert_eq!(json(&one_sided, &[])["one_sided_connections"], 2);
    let whole = directory.write("whole.pcapng", site().pcapng());
    assert_eq!(json(&whole, &[])["one_sided_connections"], 0);
    let text = prints(&mut lastack([], &[&bluetooth]));
    assert!(text.contains("187 (BLUETOOTH_HCI_H4)"), "{text}");
}

/// What `prints` sees has no word of it.
#[test]
fn on_a_terminal_it_shows_how_far_it_is_and_takes_that_away() {
    const CLEARED: &str = "\r\u{1b}[2K";
    let directory = Directory::new();
    let file = directory.write("site.pcapng", site().pcapng());
    let command = format!(
        "{} analyze {}",
        env!("CARGO_BIN_EXE_lastack"),
        file.display()
    );
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]);
    let shown = prints(script.stdin(Stdio::null()).env("TERM", "xterm"));
    let (progress, report) = shown.split_once("The fault is there").unwrap();
    assert!(progress.contains("KiB of "), "{progress:?}");
    let after = progress.rsplit_once(CLEARED).unwrap().1;
    assert!(after.starts_with(file.to_str().unwrap()), "{after:?}");
    assert!(!report.contains('\u{1b}'), "{report:?}");
}

#[test]
fn a_terminal_as_standard_input_is_told_of() {
    let command = format!("{} analyze -", env!("CARGO_BIN_EXE_lastack"));
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]);
    let output = script.stdin(Stdio::null()).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("standard input is a terminal"), "{shown:?}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn who_reads_no_further_is_no_error() {
    let directory = Directory::new();
    let file = directory.write("site.pcapng", site().pcapng());
    let mut child = lastack([], &[&file, &file])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert!(output.status.success());
}
