//! The tools that read and make captures.

use std::{fs, path::Path, process::Command};

use analysis::capture::{Capture, Damage};

/// What tshark, too, says of a frame: number, time, length, captured length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) number: u64,
    pub(crate) time: String,
    pub(crate) wire_len: usize,
    pub(crate) captured: usize,
}

/// Runs a tool, which must succeed, and gives its standard output.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("TZ", "UTC")
        .output()
        .unwrap_or_else(|error| panic!("{program} runs (cargo xtask test installs it): {error}"));
    assert!(
        output.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// Fields of each frame, as tshark prints them.
pub(crate) fn tshark(file: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let mut arguments = vec!["-r", text(file), "-T", "fields"];
    for field in fields {
        arguments.extend(["-e", field]);
    }
    let lines = run("tshark", &arguments);
    let row = |line: &str| line.split('\t').map(str::to_owned).collect();
    lines.lines().map(row).collect()
}

/// What tshark says of each frame.
pub(crate) fn rows_of_tshark(file: &Path) -> Vec<Row> {
    let fields = [
        "frame.number",
        "frame.time_epoch",
        "frame.len",
        "frame.cap_len",
    ];
    let row = |fields: Vec<String>| Row {
        number: fields[0].parse().expect("a number"),
        time: fields[1].clone(),
        wire_len: fields[2].parse().expect("a length"),
        captured: fields[3].parse().expect("a length"),
    };
    tshark(file, &fields).into_iter().map(row).collect()
}

/// What the reader says, up to the end or what is damaged.
pub(crate) fn rows_until(mut capture: Capture) -> (Vec<Row>, Option<Damage>) {
    let mut rows = Vec::new();
    loop {
        match capture.next() {
            Ok(Some(packet)) => rows.push(Row {
                number: packet.number,
                time: format!(
                    "{}.{:09}",
                    packet.time.0 / 1_000_000_000,
                    packet.time.0 % 1_000_000_000
                ),
                wire_len: packet.wire_len,
                captured: packet.data.len(),
            }),
            Ok(None) => return (rows, None),
            Err(damage) => return (rows, Some(damage)),
        }
    }
}

/// What the reader says of a file that is not damaged.
pub(crate) fn rows(file: &Path) -> Vec<Row> {
    let capture = Capture::open(fs::File::open(file).expect("it is there"));
    let (rows, damage) = rows_until(capture.expect("a capture"));
    assert!(damage.is_none(), "{}: {damage:?}", file.display());
    rows
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
