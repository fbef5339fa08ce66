//! `cargo xtask fuzz`: libFuzzer on the targets in `fuzz/`, each for a while.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    apt::{self, Tool},
    machine::Here,
    process::{Clock, quietly, visibly},
    program::Program,
    workspace,
};

const TARGETS: [&str; 4] = ["wire", "close", "traffic", "capture"];

const CARGO_FUZZ: Program = Program {
    name: "cargo-fuzz",
    version: "0.13.2",
    why: "it builds and runs the fuzz targets",
};

/// What is committed of each target, and what runs have found.
const CORPUS: &str = "fuzz/corpus";
const FOUND: &str = "target/fuzz-corpus";

/// libFuzzer is C++.
const TOOLS: [Tool; 1] = [("c++", "g++")];

/// Options of `cargo xtask fuzz`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Runs only this one [default: all, one after another]
    #[arg(value_name = "TARGET", value_parser = TARGETS)]
    target: Option<String>,
    /// How long each runs
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Makes the committed corpus the fewest inputs that cover what it and all runs here cover
    #[arg(long)]
    keep: bool,
}

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let targets = match &arguments.target {
        Some(target) => vec![target.as_str()],
        None => TARGETS.to_vec(),
    };
    apt::tools(&Here, &TOOLS, "libFuzzer is built with it")?;
    let cargo_fuzz = CARGO_FUZZ.ensure(&Here)?;
    visibly(&mut cargo(&cargo_fuzz, "build"))?;
    for target in targets {
        fuzz(&cargo_fuzz, target, arguments.seconds)?;
        if arguments.keep {
            keep(&cargo_fuzz, target)?;
        }
    }
    Ok(())
}

/// A cargo-fuzz command. Nothing here is unsafe, so that no sanitizer is needed, and with none a
/// stable rustc will do; overflows and broken assertions do panic.
fn cargo(cargo_fuzz: &Path, verb: &str) -> Command {
    let mut command = Command::new(cargo_fuzz);
    command.current_dir(workspace::root()).args([
        "fuzz",
        verb,
        "--sanitizer=none",
        "--features=libfuzzer",
        "--debug-assertions",
    ]);
    command
}

/// Runs one target on the committed corpus and on what earlier runs have found.
fn fuzz(cargo_fuzz: &Path, target: &str, seconds: u32) -> Result<()> {
    let found = workspace::root().join(FOUND).join(target);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let mut command = cargo(cargo_fuzz, "run");
    command
        .arg(target)
        // The first is where libFuzzer writes to.
        .arg(&found)
        .arg(workspace::root().join(CORPUS).join(target))
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg("-print_final_stats=1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    eprintln!("fuzzing {target} for {seconds} s");
    let clock = Clock::start();
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", cargo_fuzz.display()))?;
    let log = String::from_utf8_lossy(&output.stderr);
    let elapsed = clock.seconds();
    if !output.status.success() {
        bail!(
            "{target}, after {elapsed} s: {}",
            crash(cargo_fuzz, target, &log)
        );
    }
    let figures = Figures::parse(&log)
        .with_context(|| format!("libFuzzer said nothing of what it did with {target}"))?;
    println!(
        "{target}: {} executions in {elapsed} s, {} edges covered, {} inputs kept",
        figures.executions, figures.edges, figures.inputs
    );
    Ok(())
}

/// Has libFuzzer choose the fewest, and puts them in place of the committed ones.
fn keep(cargo_fuzz: &Path, target: &str) -> Result<()> {
    let below = |directory: &str| workspace::root().join(directory).join(target);
    let [corpus, found, fewest] = [CORPUS, FOUND, "target/fuzz-fewest"].map(below);
    if fewest.exists() {
        // Of a run that did not get far.
        fs::remove_dir_all(&fewest)
            .with_context(|| format!("cannot empty {}", fewest.display()))?;
    }
    fs::create_dir_all(&fewest).with_context(|| format!("cannot make {}", fewest.display()))?;
    let mut merge = cargo(cargo_fuzz, "run");
    merge.arg(target).args([&fewest, &corpus, &found]);
    merge.args(["--", "-merge=1"]);
    quietly(&mut merge, &format!("cargo fuzz run {target} -- -merge=1"))?;
    replace(&corpus, &fewest).with_context(|| format!("cannot replace {}", corpus.display()))?;
    let count = fs::read_dir(&corpus)?.count();
    println!("{target}: {count} inputs are in {CORPUS} now");
    Ok(())
}

/// Puts what is in a directory, which may be on another file system, in place of another, which is
/// whole until that is there.
fn replace(old: &Path, new: &Path) -> io::Result<()> {
    let beside = |word: &str| old.with_extension(word);
    let (next, before) = (beside("next"), beside("before"));
    if next.exists() {
        fs::remove_dir_all(&next)?;
    }
    fs::create_dir_all(&next)?;
    for file in fs::read_dir(new)? {
        let file = file?;
        fs::copy(file.path(), next.join(file.file_name()))?;
    }
    fs::rename(old, &before)?;
    // Better the old one than none.
    fs::rename(&next, old).inspect_err(|_| drop(fs::rename(&before, old)))?;
    fs::remove_dir_all(&before)?;
    fs::remove_dir_all(new)
}

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
struct Figures {
    executions: u64,
    edges: u64,
    inputs: u64,
}

impl Figures {
    /// From "#1024 DONE cov: 1 ft: 2 corp: 3/4b …", the last such line.
    fn parse(log: &str) -> Option<Self> {
        let line = log.lines().rev().find(|line| line.contains("DONE "))?;
        let mut words = line.split_whitespace();
        let executions = words.next()?.strip_prefix('#')?.parse().ok()?;
        let after = |name: &str| {
            let mut words = line.split_whitespace().skip_while(|word| *word != name);
            words.nth(1)?.split('/').next()?.parse().ok()
        };
        Some(Self {
            executions,
            edges: after("cov:")?,
            inputs: after("corp:")?,
        })
    }
}

/// What broke, which input did it, and how to see it again; or the end of the log.
fn crash(cargo_fuzz: &Path, target: &str, log: &str) -> String {
    let artefact = log
        .lines()
        .find_map(|line| line.split_once("Test unit written to "))
        .map(|(_, path)| path.trim());
    let Some(artefact) = artefact else {
        let lines: Vec<_> = log.lines().collect();
        return lines[lines.len().saturating_sub(15)..].join("\n    ");
    };
    let what = log
        .lines()
        .skip_while(|line| !line.contains(" panicked at "))
        .nth(1)
        .unwrap_or("it did not end well");
    format!(
        "{what}\n  input: {artefact}\n  again: {} fuzz run --sanitizer=none \
         --features=libfuzzer --debug-assertions {target} {artefact}",
        cargo_fuzz.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libfuzzers_last_line_is_parsed() {
        let log = "#2\tINITED cov: 5 ft: 6 corp: 1/1b\n\
                   #524288\tDONE   cov: 735 ft: 2211 corp: 310/14Kb lim: 261 exec/s: 9 rss: 44Mb\n\
                   Done 524288 runs in 61 second(s)\n";
        let figures = Figures {
            executions: 524_288,
            edges: 735,
            inputs: 310,
        };
        assert_eq!(Figures::parse(log), Some(figures));
        assert_eq!(Figures::parse("error: could not compile"), None);
    }

    #[test]
    fn a_crash_names_its_input_and_what_to_type() {
        let log = "thread '<unnamed>' panicked at fuzz/fuzz_targets/wire.rs:7:9:\n\
                   Ok(x), but etherparse: y\n\
                   artifact_prefix='/c/fuzz/artifacts/wire/'; Test unit written to /c/fuzz/artifacts/wire/crash-1\n";
        let text = crash(Path::new("/bin/cargo-fuzz"), "wire", log);
        assert!(text.starts_with("Ok(x), but etherparse: y\n"), "{text}");
        assert!(
            text.ends_with("wire /c/fuzz/artifacts/wire/crash-1"),
            "{text}"
        );
        assert!(text.contains("again: /bin/cargo-fuzz fuzz run"), "{text}");
        let text = crash(Path::new("/bin/cargo-fuzz"), "wire", "error: no\nspace");
        assert_eq!(text, "error: no\n    space");
    }

    #[test]
    fn a_corpus_is_replaced_from_another_file_system_or_stays() {
        // Memory; where it is the same file system, less is shown.
        let name = format!("lastack-xtask-{}", std::process::id());
        let [here, there] = [std::env::temp_dir(), "/dev/shm".into()].map(|it| it.join(&name));
        let (old, new) = (here.join("wire"), there.join("wire"));
        for (directory, file) in [(&old, "old"), (&new, "new")] {
            fs::create_dir_all(directory).unwrap();
            fs::write(directory.join(file), file).unwrap();
        }
        let missing = replace(&old, &there.join("none"));
        let stayed = old.join("old").exists();
        let replaced = replace(&old, &new);
        let content = fs::read_to_string(old.join("new")).ok();
        let entries = fs::read_dir(&here).map_or(0, Iterator::count);
        for directory in [&here, &there] {
            fs::remove_dir_all(directory).ok();
        }
        assert!(missing.is_err() && stayed);
        replaced.unwrap();
        assert_eq!(content.as_deref(), Some("new"));
        assert_eq!(entries, 1, "nothing stays beside it");
    }
}
