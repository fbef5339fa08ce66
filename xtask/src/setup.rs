//! `cargo xtask setup`: finds what builds the packet programs, installs it if there is none.

#[cfg(test)]
pub(crate) mod fake;

use std::fs;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    apt::Apt,
    conf::{self, Conf},
    linker,
    machine::{Call, Here, Machine},
    toolchain::{self, Candidate, TARGET, candidates, installed, is_nightly, rustc_of, version},
    workspace,
};

/// A nightly that is known to serve, for when the newest one does not.
const KNOWN_NIGHTLY: &str = "nightly-2026-05-20";

/// Debian's packages of a Rust with a core for the BPF target; the first is kept up to date in
/// its stable releases.
const DEBIAN: [[&str; 3]; 2] = [
    ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"],
    ["rustc", "cargo", "libstd-rust-dev-bpf"],
];

/// The verb.
pub(crate) fn run() -> Result<()> {
    let conf = ensure()?;
    println!("the packet programs are built by {}", conf.rustc);
    println!("and linked by bpf-linker in {}", conf.linker.display());
    Ok(())
}

/// What the other verbs start with.
pub(crate) fn ensure() -> Result<Conf> {
    let path = Conf::path(&workspace::root());
    let text = fs::read_to_string(&path).unwrap_or_default();
    if let Some(conf) = Conf::parse(&text)
        && conf.holds(&Here)
    {
        return Ok(conf);
    }
    let conf = choose(&Here, conf::value(&text, "toolchain"))?;
    conf.write(&path)?;
    Ok(conf)
}

/// Tries what is there, the best first, then what can be installed.
fn choose(machine: &dyn Machine, named: Option<&str>) -> Result<Conf> {
    let apt = Apt::new(machine);
    let mut tried = Vec::new();
    let mut failures = Vec::new();
    let ways: [(&str, Way); 4] = [
        ("what is installed", |_, _| Ok(())),
        ("rustup's nightly", |machine, _| nightly(machine)),
        ("an older nightly", |machine, _| known_nightly(machine)),
        ("Debian's Rust", debian),
    ];
    for (name, way) in ways {
        if let Err(error) = way(machine, &apt) {
            failures.push(format!("{name}: {error:#}"));
            continue;
        }
        for candidate in candidates(machine, named) {
            if tried.contains(&candidate.sysroot) {
                continue;
            }
            match finish(machine, &apt, &candidate) {
                Ok(conf) => return Ok(conf),
                Err(error) => failures.push(format!("{}: {error:#}", candidate.rustc.line)),
            }
            tried.push(candidate.sysroot);
        }
    }
    bail!(
        "nothing here can build the packet programs, and it could not be installed:\n  - {}\n\
         What is needed is either of\n  \
         rustup toolchain install nightly --component rust-src --profile minimal\n  \
         apt-get install {}    (as root, on Debian)\n\
         Then run this again.",
        failures.join("\n  - "),
        DEBIAN[0].join(" "),
    )
}

type Way = fn(&dyn Machine, &Apt<'_>) -> Result<()>;

fn finish(machine: &dyn Machine, apt: &Apt<'_>, candidate: &Candidate) -> Result<Conf> {
    let linker = linker::find_or_install(machine, apt, candidate.rustc.llvm)?;
    if candidate.to_link {
        let sysroot = candidate.sysroot.to_string_lossy();
        machine.say(&format!(
            "linking the Rust in {sysroot} into rustup as {}: it has a core for the BPF target",
            toolchain::LINKED
        ));
        machine.change(&Call::new(
            "rustup",
            &["toolchain", "link", toolchain::LINKED, &sysroot],
        ))?;
    }
    Ok(Conf {
        toolchain: candidate.toolchain.clone(),
        sysroot: candidate.sysroot.clone(),
        core: candidate.core,
        rustc: candidate.rustc.line.clone(),
        linker,
    })
}

/// Adds rust-src to the nightly, or installs one; leaves rustup itself as it is.
fn nightly(machine: &dyn Machine) -> Result<()> {
    let known = installed(machine)
        .into_iter()
        .find(|(name, _)| is_nightly(name))
        .and_then(|(_, sysroot)| rustc_of(machine, &sysroot))
        .is_some_and(|rustc| rustc.unfit().is_none());
    if known {
        let call = Call::new(
            "rustup",
            &["component", "add", "rust-src", "--toolchain", "nightly"],
        );
        return rustup(machine, "rust-src for the nightly", &call);
    }
    rustup(
        machine,
        "a nightly Rust with rust-src",
        &install_nightly("nightly"),
    )
}

/// Only where the newest nightly is there, but too new for the linker.
fn known_nightly(machine: &dyn Machine) -> Result<()> {
    let newest = installed(machine)
        .into_iter()
        .find(|(name, _)| is_nightly(name));
    let unfit = newest
        .and_then(|(_, sysroot)| rustc_of(machine, &sysroot))
        .and_then(|rustc| rustc.unfit())
        .context("not tried: it would serve no better")?;
    machine.say(&format!("the newest nightly does not serve: {unfit}"));
    rustup(machine, KNOWN_NIGHTLY, &install_nightly(KNOWN_NIGHTLY))
}

fn install_nightly(name: &str) -> Call {
    let install = ["toolchain", "install", name, "--component", "rust-src"];
    Call::new(
        "rustup",
        &[&install[..], &["--profile", "minimal", "--no-self-update"]].concat(),
    )
}

fn rustup(machine: &dyn Machine, what: &str, call: &Call) -> Result<()> {
    if machine.program("rustup").is_none() {
        bail!("there is no rustup");
    }
    machine.say(&format!(
        "installing {what}: it builds the core library for the BPF target"
    ));
    machine.change(call).inspect_err(|_| {
        machine.say("rustup could not; looking for another way");
    })
}

fn debian(_: &dyn Machine, apt: &Apt<'_>) -> Result<()> {
    let mut why_not = anyhow!("this system's apt has no Rust with a core for the BPF target");
    for family in DEBIAN {
        let [rustc, _, core] = family;
        let Some(found) = apt.available(rustc)? else {
            continue;
        };
        if apt.available(core)?.is_none() {
            continue;
        }
        let needed = toolchain::needed();
        if version(&found).is_none_or(|found| found < needed) {
            why_not = anyhow!(
                "its {rustc} is {found}, {}.{} is needed",
                needed.0,
                needed.1
            );
            continue;
        }
        return apt.install(&family, &format!("a Rust with a core library for {TARGET}"));
    }
    Err(why_not)
}

/// The package with the clippy of Debian's Rust.
pub(crate) fn debian_clippy(apt: &Apt<'_>) -> Option<&'static str> {
    let [web, plain] = DEBIAN;
    if apt.has(web[0]) {
        Some("rust-web-clippy")
    } else {
        apt.has(plain[0]).then_some("rust-clippy")
    }
}

#[cfg(test)]
mod tests;
