//! `cargo xtask footprint`: how large the packet programs are, and were.
//!
//! docs/footprint.txt keeps it, so that a change that costs an instruction is seen in its diff.
//! The figures follow from the compiler and, but for those of the object, from the kernel's
//! verifier: with others than the file names there is nothing to compare.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    conf::Conf,
    linker,
    machine::{Here, Machine},
    process::in_words,
    setup,
    workspace::{self, HOST},
};

const FILE: &str = "docs/footprint.txt";

const HEAD: &str = "\
# How large the packet programs are. `cargo xtask lint` compares this with what is built;
# `cargo xtask footprint --accept` writes it anew. Instructions are those of the object, by
# section, then those that the verifier leaves; stack is in octets, function by function;
# verified is how many instructions the verifier went through.
";

/// Options of `cargo xtask footprint`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Writes the figures to docs/footprint.txt
    #[arg(long)]
    accept: bool,
}

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let conf = setup::ensure()?;
    if !arguments.accept {
        return check(&conf);
    }
    if !Here.is_root() {
        bail!("only root can ask the kernel for its part of {FILE}: run this as root");
    }
    let path = workspace::root().join(FILE);
    fs::write(&path, format!("{HEAD}\n{}", built(&conf)?))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Compares what is built with what is kept.
pub(crate) fn check(conf: &Conf) -> Result<()> {
    let path = workspace::root().join(FILE);
    let kept =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let Comparison { notes, difference } = compare(&kept, &built(conf)?);
    for note in notes {
        eprintln!("{note}");
    }
    match difference {
        Some(difference) => bail!(
            "the packet programs are not as large as {FILE} says (-: there, +: built):\n{difference}\
             `cargo xtask footprint --accept` accepts that"
        ),
        None => Ok(()),
    }
}

/// The figures of what is built here, below the tools that built it.
fn built(conf: &Conf) -> Result<String> {
    let mut bench = Command::new(build()?);
    bench
        .arg("footprint")
        .args((!Here.is_root()).then_some("--object-only"));
    let output = bench
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", bench.get_program().display()))?;
    if !output.status.success() {
        bail!("the size of the packet programs cannot be told");
    }
    Ok(format!(
        "[built by {}, bpf-linker {}]\n\n{}",
        conf.rustc,
        linker::VERSION,
        String::from_utf8(output.stdout)?
    ))
}

/// Builds what measures them. With all other programs and the examples, for which dev-dependencies
/// count, it takes what the tests are built with, and leaves it to them.
fn build() -> Result<PathBuf> {
    let output = workspace::cargo(["build", "--quiet", "--bins", "--examples"])
        .args(HOST)
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!(
            "what measures the packet programs was not built: cargo failed ({})",
            in_words(output.status)
        );
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| workspace::executable(line, "bench"))
        .context("cargo built no program bench")
}

/// What came of a comparison.
#[derive(Debug, Default, PartialEq, Eq)]
struct Comparison {
    /// What could not be compared, and why.
    notes: Vec<String>,
    difference: Option<String>,
}

/// Compares only what the same tools have made.
fn compare(kept: &str, built: &str) -> Comparison {
    let (kept, built) = (parts(kept), parts(built));
    let mut comparison = Comparison::default();
    let note = |text: String| format!("{FILE}: {text}");
    let tools = |parts: &[Part<'_>]| parts.first().map(|part| part.title.to_owned());
    if tools(&kept) != tools(&built) {
        comparison.notes.push(note(format!(
            "nothing to compare: it is of what was {}, and this was {}",
            tools(&kept).unwrap_or_default(),
            tools(&built).unwrap_or_default()
        )));
        return comparison;
    }
    let mut difference = String::new();
    for kept in kept.iter().skip(1) {
        if let Some(built) = built.iter().find(|built| built.title == kept.title) {
            difference += &changes(&kept.lines, &built.lines);
        } else if let Some(other) = built.iter().find(|part| part.title.starts_with("kernel ")) {
            comparison.notes.push(note(format!(
                "not compared: the part of {}, for this is {}",
                kept.title, other.title
            )));
        } else {
            comparison.notes.push(note(format!(
                "not compared: the part of {}, which only root can ask",
                kept.title
            )));
        }
    }
    comparison.difference = (!difference.is_empty()).then_some(difference);
    comparison
}

/// The lines below a title in brackets.
struct Part<'t> {
    title: &'t str,
    lines: Vec<&'t str>,
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    let lines = text.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let title = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        match (title, parts.last_mut()) {
            (Some(title), _) => parts.push(Part {
                title,
                lines: Vec::new(),
            }),
            (None, Some(part)) => part.lines.push(line),
            (None, None) => {}
        }
    }
    parts
}

/// Only the lines that differ: each as it is kept, then as it is built.
fn changes(kept: &[&str], built: &[&str]) -> String {
    let name = |line: &str| line.split(':').next().map(str::to_owned);
    let changed =
        kept.iter().filter_map(
            |line| match built.iter().find(|built| name(built) == name(line)) {
                Some(same) if same == line => None,
                Some(other) => Some(format!("    -{line}\n    +{other}\n")),
                None => Some(format!("    -{line}\n")),
            },
        );
    let came = built
        .iter()
        .filter(|line| kept.iter().all(|kept| name(kept) != name(line)))
        .map(|line| format!("    +{line}\n"));
    changed.chain(came).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: &str = "# head\n\n[built by rustc 1, linker 2]\n\n[object]\nxdp: 10 instructions\n\
        maps: 1\n\n[kernel 6.18 x86_64]\nxdp, default: 9 instructions\n";

    fn difference(kept: &str, built: &str) -> Option<String> {
        compare(kept, built).difference
    }

    #[test]
    fn what_is_the_same_differs_in_nothing() {
        assert_eq!(compare(KEPT, KEPT), Comparison::default());
        let without_head = KEPT.trim_start_matches("# head\n\n");
        assert_eq!(compare(KEPT, without_head), Comparison::default());
    }

    #[test]
    fn one_more_instruction_is_shown_beside_what_it_was() {
        assert_eq!(
            difference(KEPT, &KEPT.replace("10", "11")).unwrap(),
            "    -xdp: 10 instructions\n    +xdp: 11 instructions\n"
        );
        assert!(difference(KEPT, &KEPT.replace(": 9", ": 8")).is_some());
    }

    #[test]
    fn a_program_that_came_or_went_differs() {
        let more = KEPT.replace("maps: 1\n", "maps: 1\nnew: 5\n");
        assert_eq!(difference(KEPT, &more).unwrap(), "    +new: 5\n");
        assert_eq!(difference(&more, KEPT).unwrap(), "    -new: 5\n");
    }

    #[test]
    fn another_kernel_leaves_the_object_to_compare() {
        let other = KEPT.replace("6.18", "6.12").replace(": 9", ": 7");
        let comparison = compare(KEPT, &other);
        assert_eq!(comparison.difference, None);
        assert_eq!(comparison.notes.len(), 1, "{:?}", comparison.notes);
        assert!(comparison.notes[0].contains("kernel 6.12"));
        assert!(difference(KEPT, &other.replace("10", "11")).is_some());
    }

    #[test]
    fn without_root_the_object_is_compared_and_it_says_so() {
        let (object, _) = KEPT.split_once("\n[kernel").unwrap();
        let comparison = compare(KEPT, object);
        assert_eq!(comparison.difference, None);
        assert!(
            comparison.notes[0].contains("only root"),
            "{:?}",
            comparison.notes
        );
        assert!(difference(KEPT, &object.replace("10", "11")).is_some());
    }

    #[test]
    fn another_compiler_leaves_nothing_to_compare() {
        let other = KEPT.replace("rustc 1", "rustc 3").replace("10", "12");
        let comparison = compare(KEPT, &other);
        assert_eq!(comparison.difference, None);
        assert_eq!(comparison.notes.len(), 1);
        assert!(comparison.notes[0].contains("rustc 3"));
    }
}
