//! `lastack analyze`: whether captures show the fault, and what would have cured it.

mod options;
mod output;
mod pass;
mod text;

use std::{
    ffi::OsStr,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
};

use analysis::{
    Analysis,
    capture::source::{Passes, Rereadable},
    report::{Finding, Report},
};
use anyhow::{Context as _, anyhow, bail};

pub use self::options::Arguments;
use self::{
    options::is_stdin,
    pass::judge,
    text::{Asked, count},
};
use super::{is_read, table::is_coloured};
use crate::{logging, stream::Output};

/// Runs the command: each file, also if one before it is damaged or cannot be read.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut status = ExitCode::SUCCESS;
    let mut is_first = true;
    for file in arguments.files() {
        match analyze(arguments, file, &mut is_first) {
            Ok(Reader::Reads) => {}
            Ok(Reader::Left) => break,
            Err(error) => {
                logging::failure(&error);
                status = ExitCode::FAILURE;
            }
        }
    }
    Ok(status)
}

/// Whoever takes what is printed.
enum Reader {
    Reads,
    Left,
}

/// Prints what is in a capture; fails then if it is damaged.
fn analyze(arguments: &Arguments, file: &Path, is_first: &mut bool) -> anyhow::Result<Reader> {
    let name = named(file);
    if is_stdin(file) && io::stdin().is_terminal() {
        bail!("standard input is a terminal: name a file, or pipe a capture into it");
    }
    for written in arguments.written() {
        output::refuse_same(file, written)?;
    }
    let passes = if arguments.needs_second_pass() {
        Passes::Several
    } else {
        Passes::One
    };
    let mut input = Rereadable::open(file, passes).map_err(in_one)?;
    let found = judge(&mut input, arguments).with_context(|| name.clone())?;
    let mut analysis = found.analysis;
    let damage = found.damage.map(|damage| damage.to_string());
    analysis.report.file = file.to_string_lossy().into_owned();
    analysis.report.damage.clone_from(&damage);
    let ladder = ladder(arguments, &mut input, &analysis).with_context(|| name.clone())?;
    let written = write(arguments, &mut input, &analysis);
    let report = &analysis.report;
    let mut printed = match (arguments.output(), ladder) {
        (Output::Text, Some(ladder)) => ladder,
        (Output::Text, None) => {
            let mut text = Vec::new();
            text::write(&mut text, report, &Asked::of(arguments, found.links))?;
            if let Ok(Some(written)) = &written {
                text.extend(written.as_bytes());
            }
            text
        }
        (Output::Json, _) => json(report, arguments.listed())?,
    };
    if !std::mem::take(is_first) && arguments.output() == Output::Text {
        printed.insert(0, b'\n');
    }
    let mut output = io::stdout().lock();
    let printed = output.write_all(&printed).and_then(|()| output.flush());
    let is_read = is_read(printed).context("cannot print what was found")?;
    written?;
    match damage {
        Some(damage) => Err(anyhow!("{name}: {damage}")),
        None if is_read => Ok(Reader::Reads),
        None => Ok(Reader::Left),
    }
}

/// One object on a line, with no more findings than are to be listed.
fn json(report: &Report, listed: usize) -> anyhow::Result<Vec<u8>> {
    let mut report = report.clone();
    let known = report.findings.len();
    report.findings.truncate(listed);
    report.findings_left_out += (known - report.findings.len()) as u64;
    let mut line = serde_json::to_vec(&report)?;
    line.push(b'\n');
    Ok(line)
}

/// The ladder that is asked for, in text; where a picture is, too, that is written.
fn ladder(
    arguments: &Arguments,
    input: &mut Rereadable,
    analysis: &Analysis,
) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(number) = arguments.ladder() else {
        return Ok(None);
    };
    let findings = &analysis.report.findings;
    let Some(finding) = findings.get(number - 1) else {
        match findings.len() {
            0 => bail!("there is no finding that --ladder could draw"),
            1 => bail!("--ladder {number}: there is 1 finding"),
            there => bail!("--ladder {number}: there are {there} findings"),
        }
    };
    let span = analysis.spans.get(finding.span);
    let span = span.context("the connection of the finding is not known")?;
    let ladder = pass::draw(input, arguments, span, title(finding))?;
    if let Some(path) = arguments.svg() {
        output::picture(path, &ladder.svg())?;
    }
    let mut text = Vec::new();
    ladder.write_text(&mut text, is_coloured() && io::stdout().is_terminal())?;
    Ok(Some(text))
}

/// What a ladder shows.
fn title(finding: &Finding) -> String {
    let Finding { number, frame, .. } = finding;
    let kind = finding.kind.as_str();
    let reset = match finding.reset_frame {
        Some(reset) => format!("; the reset is frame {reset}"),
        None => String::new(),
    };
    format!("Finding {number}: frame {frame} is a {kind} ACK{reset}")
}

/// Writes the packets that are asked for; says how many, if they are.
fn write(
    arguments: &Arguments,
    input: &mut Rereadable,
    analysis: &Analysis,
) -> anyhow::Result<Option<String>> {
    let Some(path) = arguments.write() else {
        return Ok(None);
    };
    let packets = output::packets(input, analysis, path)?;
    let left_out = match analysis.report.findings_left_out {
        0 => String::new(),
        findings => format!("; not those of {} beyond", count(findings, "finding")),
    };
    Ok(Some(format!(
        "\nwritten      {} of {} to {}{left_out}\n",
        count(packets, "packet"),
        count(analysis.spans.len() as u64, "connection"),
        shown(path.as_os_str())
    )))
}

/// An error that says its cause itself, so that it is not said again.
fn in_one(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}

/// As errors name a capture.
fn named(file: &Path) -> String {
    if is_stdin(file) {
        "standard input".to_owned()
    } else {
        shown(file.as_os_str())
    }
}

/// A name that controls no terminal.
fn shown(name: &OsStr) -> String {
    printable(&name.to_string_lossy())
}

/// Text without control characters.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
