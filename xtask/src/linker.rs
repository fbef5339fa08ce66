//! bpf-linker: found, or built against an LLVM that reads what the chosen rustc writes.
//!
//! LLVM reads the bitcode of its own and of older releases, so a linker serves a rustc whose
//! LLVM is not newer than its own.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    apt::Apt,
    machine::{Call, Machine},
    program::{self, cache},
    toolchain::version,
    workspace,
};

pub(crate) const VERSION: &str = "0.13.0";

/// The LLVM majors that this bpf-linker can be built with.
pub(crate) const LLVMS: RangeInclusive<u32> = 21..=23;

/// The directory of a bpf-linker for a rustc with this LLVM; installs one if there is none.
pub(crate) fn find_or_install(machine: &dyn Machine, apt: &Apt<'_>, llvm: u32) -> Result<PathBuf> {
    if let Some(directory) = find(machine, llvm) {
        return Ok(directory);
    }
    let fitting = llvm.max(*LLVMS.start())..=*LLVMS.end();
    for major in fitting.clone() {
        if let Some(prefix) = llvm_prefix(machine, major) {
            return build(machine, major, &prefix);
        }
    }
    let mut tried = Vec::new();
    for major in fitting {
        let package = format!("llvm-{major}-dev");
        match apt.available(&package) {
            Ok(None) => tried.push(format!("this system's apt has no package {package}")),
            Err(error) => {
                tried.push(format!("{error:#}"));
                break;
            }
            Ok(Some(_)) => {
                apt.install(&[&package], "bpf-linker is built against it")?;
                let prefix = llvm_prefix(machine, major).with_context(|| {
                    format!("{package} is installed, but llvm-config-{major} is not found")
                })?;
                return build(machine, major, &prefix);
            }
        }
    }
    prebuilt(machine, llvm).map_err(|error| {
        anyhow!(
            "no bpf-linker for LLVM {llvm} ({}; {error:#}); put one on PATH \
             (`cargo binstall bpf-linker@{VERSION}`) or name an LLVM {llvm} by LLVM_PREFIX",
            tried.join("; ")
        )
    })
}

fn find(machine: &dyn Machine, llvm: u32) -> Option<PathBuf> {
    let own = LLVMS
        .filter(|&major| major >= llvm)
        .map(|major| format!("llvm-{major}"));
    own.chain(["prebuilt".to_owned()])
        .map(|kind| kept_in(machine, &kind).join("bin/bpf-linker"))
        .filter(|linker| machine.exists(linker))
        .chain(machine.program("bpf-linker"))
        .find(|linker| serves(machine, linker, llvm))
        .and_then(|linker| linker.parent().map(Path::to_owned))
}

/// Whether this linker runs, is new enough and reads what that LLVM writes.
fn serves(machine: &dyn Machine, linker: &Path, llvm: u32) -> bool {
    let linker = linker.to_string_lossy();
    let new_enough = machine
        .ask(&linker, &["--version"])
        .and_then(|text| version(text.trim().strip_prefix("bpf-linker ")?))
        .is_some_and(|found| Some(found) >= version(VERSION));
    // bpf-linker does not tell its LLVM, but LLVM does when it is handed this option; it ends
    // before it looks for the input.
    let probe = [
        "--llvm-args=--version",
        "-o",
        "/nonexistent/out",
        "/nonexistent/in",
    ];
    new_enough
        && machine
            .ask(&linker, &probe)
            .and_then(|text| parse_llvm(&text))
            .is_some_and(|found| found >= llvm)
}

/// The major of "… LLVM version 22.1.8".
fn parse_llvm(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("LLVM version ")?;
    version.split('.').next()?.trim().parse().ok()
}

fn kept_in(machine: &dyn Machine, kind: &str) -> PathBuf {
    cache(machine).join(format!("bpf-linker-{VERSION}-{kind}"))
}

/// Where an LLVM of this major has the library that bpf-linker links to.
fn llvm_prefix(machine: &dyn Machine, major: u32) -> Option<PathBuf> {
    let named = machine
        .variable("LLVM_PREFIX")
        .map(|prefix| format!("{prefix}/bin/llvm-config"));
    let configs = [
        format!("/usr/lib/llvm-{major}/bin/llvm-config"),
        format!("llvm-config-{major}"),
        "llvm-config".to_owned(),
    ];
    named.into_iter().chain(configs).find_map(|config| {
        let found = machine.ask(&config, &["--version"])?;
        let prefix = PathBuf::from(machine.ask(&config, &["--prefix"])?.trim());
        let library = ["lib", "lib64"].map(|lib| prefix.join(lib).join("libLLVM.so"));
        let fits = found.trim().split('.').next() == Some(major.to_string().as_str());
        (fits && library.iter().any(|library| machine.exists(library))).then_some(prefix)
    })
}

fn build(machine: &dyn Machine, llvm: u32, prefix: &Path) -> Result<PathBuf> {
    let root = kept_in(machine, &format!("llvm-{llvm}"));
    machine.say(&format!(
        "installing bpf-linker {VERSION} for LLVM {llvm} (about a minute): rustc links the packet programs with it"
    ));
    let feature = format!("llvm-{llvm}");
    let options = ["--force", "--no-default-features", "--features", &feature];
    let install = program::install("bpf-linker", VERSION, &options, &root);
    machine
        .change(&install.with("LLVM_PREFIX", &prefix.to_string_lossy()))
        .context("cannot build bpf-linker")?;
    checked(machine, &root, llvm)
}

/// The authors' own build, with an LLVM inside; needs neither root nor an LLVM here.
fn prebuilt(machine: &dyn Machine, llvm: u32) -> Result<PathBuf> {
    if machine.program("cargo-binstall").is_none() {
        machine.say("installing cargo-binstall (some minutes): it fetches a bpf-linker with its LLVM inside");
        let install = ["install", "cargo-binstall", "--locked"];
        machine.change(&Call::new(&workspace::cargo_program(), &install))?;
    }
    let root = kept_in(machine, "prebuilt");
    machine.say(&format!(
        "installing bpf-linker {VERSION}, prebuilt: rustc links the packet programs with it"
    ));
    let package = format!("bpf-linker@{VERSION}");
    let root_option = root.to_string_lossy();
    let options = [
        "--no-confirm",
        "--disable-strategies",
        "compile",
        "--root",
        &root_option,
    ];
    let arguments = [&["binstall"], &options[..], &[&package]].concat();
    machine.change(&Call::new(&workspace::cargo_program(), &arguments))?;
    checked(machine, &root, llvm)
}

fn checked(machine: &dyn Machine, root: &Path, llvm: u32) -> Result<PathBuf> {
    let directory = root.join("bin");
    if serves(machine, &directory.join("bpf-linker"), llvm) {
        return Ok(directory);
    }
    bail!(
        "the bpf-linker just installed in {} does not run, or its LLVM is older than {llvm}",
        directory.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::fake::{Fake, LINKER_PROBE};

    #[test]
    fn llvms_version_is_parsed() {
        assert_eq!(
            parse_llvm("Debian LLVM version 22.1.8\n  Optimized build.\n"),
            Some(22)
        );
        assert_eq!(
            parse_llvm("LLVM (http://llvm.org/):\n  LLVM version 23.0.0-rust\n"),
            Some(23)
        );
        assert_eq!(parse_llvm("bpf-linker 0.13.0"), None);
    }

    fn on_path(version: &str, llvm: &str) -> Fake {
        let linker = "/bin/bpf-linker";
        Fake::user()
            .program("bpf-linker")
            .answer(&format!("{linker} --version"), version)
            .answer(
                &format!("{linker} {LINKER_PROBE}"),
                &format!("LLVM version {llvm}.1.0"),
            )
    }

    #[test]
    fn one_on_path_is_taken_if_it_reads_that_llvm() {
        assert_eq!(
            find(&on_path("bpf-linker 0.13.0", "22"), 22),
            Some("/bin".into())
        );
        assert_eq!(
            find(&on_path("bpf-linker 0.14.1", "23"), 22),
            Some("/bin".into())
        );
        assert_eq!(find(&on_path("bpf-linker 0.13.0", "21"), 22), None);
        assert_eq!(find(&on_path("bpf-linker 0.9.14", "22"), 22), None);
    }

    #[test]
    fn the_feature_follows_the_llvm_that_is_there() {
        let machine = Fake::user()
            .answer("llvm-config-22 --version", "22.1.8")
            .answer("llvm-config-22 --prefix", "/usr/lib/llvm-22")
            .file("/usr/lib/llvm-22/lib/libLLVM.so");
        assert_eq!(llvm_prefix(&machine, 21), None);
        assert_eq!(llvm_prefix(&machine, 22), Some("/usr/lib/llvm-22".into()));
        // The fake installs nothing, so what was "built" does not run.
        let error = find_or_install(&machine, &Apt::new(&machine), 21).unwrap_err();
        assert!(error.to_string().contains("does not run"), "{error}");
        let [change] = &machine.changes()[..] else {
            panic!("{:?}", machine.changes())
        };
        assert!(
            change.contains("--no-default-features --features llvm-22"),
            "{change}"
        );
    }

    #[test]
    fn without_an_llvm_the_missing_package_and_the_command_are_named() {
        let machine = Fake::user().failing("install cargo-binstall");
        let error = find_or_install(&machine, &Apt::new(&machine), 23)
            .unwrap_err()
            .to_string();
        assert!(error.contains("llvm-23-dev"), "{error}");
        assert!(
            error.contains("cargo binstall bpf-linker@0.13.0"),
            "{error}"
        );
    }
}
