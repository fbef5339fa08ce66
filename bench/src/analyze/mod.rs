//! `cargo xtask bench analyze`: how fast `lastack analyze` is, and how much memory it takes, beside
//! tshark and capinfos.

mod capture;
mod conversation;
mod frame;
mod program;
mod report;
mod traffic;

use std::{
    fs::{self, File},
    io::{self, BufWriter, IsTerminal as _, Seek as _, Write as _},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use nix::sys::statvfs::statvfs;
use serde_json::Value;

use self::{
    program::{Program, Run},
    report::{Measured, Report, Size},
    traffic::{Made, Traffic},
};
use crate::{document::Shown, machine::Machine};

/// Measures how fast captures are analysed, and in how much memory, beside tshark and capinfos
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many packets the larger capture has; the other one has a tenth
    #[arg(long, value_name = "N", default_value_t = 10_000_000,
          value_parser = clap::value_parser!(u64).range(100_000..=100_000_000))]
    packets: u64,

    /// How often each program reads each capture, by turns
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// How many conversations go on at once
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    conversations: u32,

    /// Decides what they are
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Where the captures are, for as long as it takes [default: TMPDIR or /tmp]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// lastack's binary; cargo xtask bench builds it
    #[arg(long, value_name = "FILE", env = "LASTACK_BINARY")]
    lastack: PathBuf,

    #[command(flatten)]
    shown: Shown,
}

/// Octets of a packet in these captures, on average and its record included, rounded up.
const OCTETS: u64 = 140;
/// What is to be left free where they are, and of memory beside what tshark takes.
const SPARE: u64 = 1 << 30;

/// Runs it. Fails also if what is claimed does not hold.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let directory = directory(arguments)?;
    let mut sizes = Vec::new();
    for packets in [arguments.packets / 10, arguments.packets] {
        say(&format!("making {packets} packets"));
        let (file, traffic) = make(arguments, packets, &directory)?;
        let is_feasible = is_feasible(sizes.last(), packets)?;
        sizes.push(measure(arguments, packets, &file, &traffic, is_feasible)?);
    }
    let report = Report {
        machine: Machine::here()?,
        rounds: arguments.rounds,
        conversations: arguments.conversations,
        seed: arguments.seed,
        tshark: Program::Tshark.version()?,
        floor: Run::of(&mut Command::new("true"))?.peak,
        sizes,
    };
    say("");
    arguments.shown.show(&report)?;
    let broken = report.broken();
    ensure!(broken.is_empty(), "{}", broken.join("; "));
    Ok(())
}

/// Where the captures are; they have room there.
fn directory(arguments: &Arguments) -> Result<PathBuf> {
    let directory = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    let shown = directory.display();
    let space = statvfs(&directory).with_context(|| format!("cannot look at {shown}"))?;
    #[expect(
        clippy::useless_conversion,
        reason = "these have 32 bits on some machines"
    )]
    let free = u64::from(space.blocks_available()) * u64::from(space.fragment_size());
    let wanted = arguments.packets * OCTETS + SPARE;
    if free < wanted {
        bail!(
            "{shown} has {} MiB free, and {} are needed: choose another by --dir, or fewer --packets",
            free >> 20,
            wanted >> 20
        );
    }
    Ok(directory)
}

/// A capture without a name, so that nothing is left of it, however this ends. All of it is in the
/// page cache.
fn make(arguments: &Arguments, packets: u64, directory: &Path) -> Result<(File, Traffic)> {
    let conversations = usize::try_from(arguments.conversations)?;
    let mut traffic = Traffic::new(arguments.seed, conversations);
    let shown = directory.display();
    let mut file = tempfile::tempfile_in(directory)
        .with_context(|| format!("cannot make a file in {shown}"))?;
    capture::write(&mut BufWriter::new(&file), &mut traffic, packets)
        .with_context(|| format!("cannot write to {shown}"))?;
    file.rewind()?;
    io::copy(&mut file, &mut io::sink())?;
    Ok((file, traffic))
}

/// By which another process opens it.
fn path(file: &File) -> PathBuf {
    format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd()).into()
}

/// Whether tshark has the memory for so many packets, by what it took for fewer.
fn is_feasible(smaller: Option<&Size>, packets: u64) -> Result<bool> {
    let Some(smaller) = smaller else {
        return Ok(true);
    };
    let peak = smaller.of(Program::is_tshark).map_or(0, Measured::peak);
    let wanted = peak * (packets / smaller.packets) + SPARE;
    Ok(available_memory()? > wanted)
}

/// Octets that can be had without swapping.
fn available_memory() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kibibytes.context("/proc/meminfo does not tell what is available")? << 10)
}

fn measure(
    arguments: &Arguments,
    packets: u64,
    file: &File,
    traffic: &Traffic,
    with_tshark: bool,
) -> Result<Size> {
    let path = path(file);
    check(arguments, packets, &path, traffic.made())?;
    let mut programs = vec![
        Measured::new(Program::Lastack(arguments.lastack.clone())),
        Measured::new(Program::Capinfos),
    ];
    if with_tshark {
        programs.push(Measured::new(Program::Tshark));
    }
    for round in 1..=arguments.rounds {
        for Measured { program, runs } in &mut programs {
            say(&format!(
                "{packets} packets, round {round}: {}",
                program.name()
            ));
            runs.push(Run::of(&mut program.command(&path))?);
        }
    }
    Ok(Size {
        packets,
        seconds: traffic.duration().as_secs(),
        octets: file.metadata()?.len(),
        programs,
    })
}

/// What is fast has to be right: lastack finds what was made, no more and no less.
fn check(arguments: &Arguments, packets: u64, file: &Path, made: Made) -> Result<()> {
    let mut command = Program::Lastack(arguments.lastack.clone()).command(file);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command
        .args(["--output", "json", "--findings", "0"])
        .output()?;
    ensure!(
        output.status.success(),
        "lastack analyze failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let figure = |name: &str| report[name].as_u64();
    let found = [
        ("packets", packets),
        ("spurious_acks", made.spurious_acks),
        ("resets_after_spurious_ack", made.resets),
        ("reacks_elicited", made.elicited_acks),
        ("redundant_acks", 0),
    ];
    for (name, expected) in found {
        let found = figure(name);
        ensure!(
            found == Some(expected),
            "lastack analyze found {found:?} {name}, and {expected} were made"
        );
    }
    Ok(())
}

/// What it is at, on a terminal only.
fn say(what: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
        drop(io::stderr().flush());
    }
}
