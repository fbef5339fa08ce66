//! `bench footprint`: how large the packet programs are, as text that `cargo xtask lint`
//! compares with what is committed. Nothing here is measured by a clock.

use std::{fs, io, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result, bail};
use aya::programs::{Program, ProgramError, SchedClassifier, Xdp};
use clap::Args;
use filter_common::Mode;
use filter_user::{
    datapath::{Datapath, OBJECT, TELLING_OBJECT},
    settings::{Closer, LogDecisions, Role, Settings},
};
use ipnet::IpNet;
use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::dup,
};
use object::{Object as _, ObjectSection as _, SectionKind};

/// Octets of an instruction.
const INSTRUCTION: u64 = 8;

const PROGRAMS: [&str; 6] = [
    "lastack_xdp",
    "lastack_xdp_mb",
    "lastack_ingress",
    "lastack_egress",
    "lastack_ingress_ip",
    "lastack_egress_ip",
];

/// Prints how large the programs are: instructions, stack, the verifier's work
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Leaves out what only the kernel can tell, and only to root
    #[arg(long)]
    object_only: bool,
}

/// Prints it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    println!("[object]");
    for (name, object) in [("", OBJECT), ("telling, ", TELLING_OBJECT)] {
        for (section, instructions) in sections(object)? {
            println!("{name}{section}: {instructions} instructions");
        }
    }
    if arguments.object_only {
        return Ok(());
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let version: Vec<_> = release.split('.').take(2).collect();
    println!();
    println!("[kernel {} {}]", version.join("."), std::env::consts::ARCH);
    for (name, settings) in settings() {
        let mut datapath = Datapath::load(&settings)?;
        for program in PROGRAMS {
            let loaded = datapath.object().program_mut(program);
            let loaded = loaded.with_context(|| format!("the object has no {program}"))?;
            let Verified { stack, processed } =
                verify(loaded).with_context(|| format!("{program}, {name}"))?;
            println!(
                "{program}, {name}: {} instructions, stack {stack}, {processed} verified",
                translated(loaded)?
            );
        }
    }
    Ok(())
}

/// What rules code in or out.
fn settings() -> [(&'static str, Settings); 8] {
    let default = Settings {
        max_flows: 1,
        ..Settings::default()
    };
    [
        ("default", default.clone()),
        (
            "role lan",
            Settings {
                role: Role::Lan,
                ..default.clone()
            },
        ),
        (
            "monitor",
            Settings {
                mode: Mode::Monitor,
                ..default.clone()
            },
        ),
        (
            "rst-guard",
            Settings {
                rst_guard: true,
                ..default.clone()
            },
        ),
        (
            "closer either",
            Settings {
                closer: Closer::Either,
                rst_guard: true,
                ..default.clone()
            },
        ),
        (
            "scope",
            Settings {
                clients: vec![IpNet::default()],
                ports: vec![80],
                ..default.clone()
            },
        ),
        (
            "events",
            Settings {
                events: true,
                ..default.clone()
            },
        ),
        (
            "log-decisions",
            Settings {
                log_decisions: LogDecisions::All,
                ..default
            },
        ),
    ]
}

/// Instructions of an object's sections with code: one a type of program, and what they call.
fn sections(object: &[u8]) -> Result<Vec<(String, u64)>> {
    let object = object::File::parse(object).context("cannot read the embedded object")?;
    object
        .sections()
        .filter(|section| section.kind() == SectionKind::Text && section.size() > 0)
        .map(|section| Ok((section.name()?.to_owned(), section.size() / INSTRUCTION)))
        .collect()
}

/// What the verifier tells.
struct Verified {
    /// Octets of each function, joined by "+".
    stack: String,
    processed: u64,
}

/// Has a program verified for the log of it.
///
/// Aya hands that out only of a program that was refused. So no descriptor is left for this one,
/// which is what the kernel asks for last.
fn verify(program: &mut Program) -> Result<Verified> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let free = dup(io::stdin())?.as_raw_fd();
    setrlimit(Resource::RLIMIT_NOFILE, free.try_into()?, hard)?;
    let refused = load(program);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    match refused {
        Err(ProgramError::LoadError { verifier_log, .. }) => {
            parse(&verifier_log.to_string()).context("the verifier's log does not tell")
        }
        Err(error) => Err(error.into()),
        Ok(()) => bail!("there was a descriptor left"),
    }
}

/// The last lines of a verifier's log.
fn parse(log: &str) -> Option<Verified> {
    let stack = log
        .lines()
        .find_map(|line| line.strip_prefix("stack depth "))?;
    let processed = log
        .lines()
        .find_map(|line| line.strip_prefix("processed "))?;
    Some(Verified {
        stack: stack.trim().to_owned(),
        processed: processed.split(' ').next()?.parse().ok()?,
    })
}

/// Instructions of a program as the verifier leaves it.
fn translated(program: &mut Program) -> Result<u64> {
    load(program)?;
    let octets = program.info()?.size_translated();
    Ok(u64::from(octets.context("the kernel does not tell a program's size")?) / INSTRUCTION)
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    if let Ok(xdp) = <&mut Xdp>::try_from(&mut *program) {
        return xdp.load();
    }
    <&mut SchedClassifier>::try_from(program)?.load()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "0: R1=ctx() R10=fp0\n0: (b7) r0 = 0\n1: (95) exit\n\
        verification time 12 usec\nstack depth 96+0+160\n\
        processed 2345 insns (limit 1000000) max_states_per_insn 4 total_states 99 \
        peak_states 99 mark_read 0\n";

    #[test]
    fn the_verifiers_figures_are_found_behind_its_trace() {
        let Verified { stack, processed } = parse(LOG).unwrap();
        assert_eq!((stack.as_str(), processed), ("96+0+160", 2345));
    }

    #[test]
    fn a_log_without_them_tells_nothing() {
        assert!(parse("0: (95) exit\n").is_none());
    }

    #[test]
    fn every_section_with_programs_is_counted() {
        let sections = sections(OBJECT).unwrap();
        for name in ["xdp", "xdp.frags", "classifier"] {
            assert!(
                sections.iter().any(|(section, _)| section == name),
                "{name}"
            );
        }
    }
}
