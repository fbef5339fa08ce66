//! Which Rust toolchains can build for the BPF target.
//!
//! aya-build takes either a prebuilt core of that target, or a nightly that builds core from
//! rust-src. Which one follows from the channel alone: a nightly always builds core.

use std::path::{Path, PathBuf};

use crate::{linker, machine::Machine};

/// The BPF target of the machines that this project supports.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// The name under which a system rustc is linked into rustup.
pub(crate) const LINKED: &str = "lastack-bpf";

/// What `rustc -vV` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rustc {
    pub(crate) line: String,
    pub(crate) version: (u32, u32),
    pub(crate) nightly: bool,
    pub(crate) llvm: u32,
}

impl Rustc {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.trim())
        };
        let release = value("release")?;
        Some(Self {
            line: text.lines().next()?.to_owned(),
            version: version(release)?,
            nightly: release.ends_with("-nightly"),
            llvm: value("LLVM version")?.split('.').next()?.parse().ok()?,
        })
    }

    /// Why this rustc cannot serve, if so.
    pub(crate) fn unfit(&self) -> Option<String> {
        let (major, minor) = needed();
        if self.version < (major, minor) {
            let (has_major, has_minor) = self.version;
            return Some(format!(
                "it is Rust {has_major}.{has_minor}, {major}.{minor} is needed"
            ));
        }
        let newest = *linker::LLVMS.end();
        (self.llvm > newest).then(|| {
            format!(
                "its LLVM is {}, bpf-linker {} reads up to {newest}",
                self.llvm,
                linker::VERSION
            )
        })
    }
}

/// The workspace's rust-version.
pub(crate) fn needed() -> (u32, u32) {
    version(env!("CARGO_PKG_RUST_VERSION")).unwrap_or_default()
}

/// Major and minor of "1.96.0", "1.96.0+dfsg1-1", "1.97.0-nightly" or "1.95".
pub(crate) fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Where core for the BPF target comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    Prebuilt,
    Source,
}

impl Core {
    /// The core that aya-build would take from this toolchain.
    pub(crate) fn of(machine: &dyn Machine, sysroot: &Path, rustc: &Rustc) -> Option<Self> {
        if rustc.nightly {
            has_source(machine, sysroot).then_some(Self::Source)
        } else {
            has_prebuilt(machine, sysroot).then_some(Self::Prebuilt)
        }
    }
}

fn has_source(machine: &dyn Machine, sysroot: &Path) -> bool {
    machine.exists(&sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml"))
}

fn has_prebuilt(machine: &dyn Machine, sysroot: &Path) -> bool {
    machine
        .names_in(&sysroot.join("lib/rustlib").join(TARGET).join("lib"))
        .iter()
        .any(|name| {
            name.strip_suffix(".rlib")
                .is_some_and(|name| name.starts_with("libcore-"))
        })
}

/// A toolchain that can build the packet programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its name in rustup; none where there is no rustup.
    pub(crate) toolchain: Option<String>,
    pub(crate) sysroot: PathBuf,
    pub(crate) rustc: Rustc,
    pub(crate) core: Core,
    /// Rustup does not know it yet.
    pub(crate) to_link: bool,
}

/// All that can serve, the best first: the one named, a nightly with rust-src, what rustup has
/// with a prebuilt core, the system's.
pub(crate) fn candidates(machine: &dyn Machine, named: Option<&str>) -> Vec<Candidate> {
    if machine.program("rustup").is_none() {
        let sysroot = machine.ask("rustc", &["--print", "sysroot"]);
        return sysroot
            .and_then(|sysroot| candidate(machine, None, Path::new(sysroot.trim())))
            .into_iter()
            .collect();
    }
    let mut found: Vec<_> = installed(machine)
        .iter()
        .filter_map(|(name, sysroot)| candidate(machine, Some(name), sysroot))
        .collect();
    let system = Path::new("/usr");
    if found.iter().all(|known| known.sysroot != system)
        && let Some(system) = candidate(machine, Some(LINKED), system)
    {
        found.push(Candidate {
            to_link: true,
            ..system
        });
    }
    found.sort_by_key(|candidate| {
        let name = candidate.toolchain.as_deref().unwrap_or_default();
        match candidate.core {
            _ if Some(name) == named => 0,
            Core::Source if is_nightly(name) => 1,
            Core::Source => 2,
            Core::Prebuilt if !candidate.to_link => 3,
            Core::Prebuilt => 4,
        }
    });
    found
}

fn candidate(machine: &dyn Machine, toolchain: Option<&str>, sysroot: &Path) -> Option<Candidate> {
    if !has_source(machine, sysroot) && !has_prebuilt(machine, sysroot) {
        return None;
    }
    let rustc = rustc_of(machine, sysroot)?;
    let core = Core::of(machine, sysroot, &rustc)?;
    rustc.unfit().is_none().then(|| Candidate {
        toolchain: toolchain.map(str::to_owned),
        sysroot: sysroot.to_owned(),
        rustc,
        core,
        to_link: false,
    })
}

/// The rustc of a sysroot.
pub(crate) fn rustc_of(machine: &dyn Machine, sysroot: &Path) -> Option<Rustc> {
    let rustc = machine.ask(&sysroot.join("bin/rustc").to_string_lossy(), &["-vV"])?;
    Rustc::parse(&rustc)
}

/// Rustup's toolchains, with their sysroots.
pub(crate) fn installed(machine: &dyn Machine) -> Vec<(String, PathBuf)> {
    let list = machine
        .ask("rustup", &["toolchain", "list", "-v"])
        .unwrap_or_default();
    list.lines().filter_map(parse_listed).collect()
}

/// "nightly" itself, not a dated one: that is what aya-build and the install commands name.
pub(crate) fn is_nightly(name: &str) -> bool {
    name.strip_prefix("nightly")
        .is_some_and(|rest| rest.is_empty() || !rest.starts_with("-2"))
}

/// "NAME [(active, default)] PATH", with a space or, in older rustups, a tab between them.
fn parse_listed(line: &str) -> Option<(String, PathBuf)> {
    let (name, rest) = line.split_once(char::is_whitespace)?;
    let rest = rest.trim();
    let path = match rest.strip_prefix('(') {
        Some(rest) => rest.split_once(')')?.1.trim(),
        None => rest,
    };
    path.starts_with('/')
        .then(|| (name.to_owned(), path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
        binary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";

    #[test]
    fn rustc_is_parsed() {
        let rustc = Rustc::parse(DEBIAN).unwrap();
        assert_eq!(rustc.version, (1, 96));
        assert_eq!(rustc.llvm, 22);
        assert!(!rustc.nightly);
        assert_eq!(rustc.unfit(), None);
        let nightly = DEBIAN.replace("1.96.0\n", "1.97.0-nightly\n");
        assert!(Rustc::parse(&nightly).unwrap().nightly);
        assert_eq!(Rustc::parse("error: no such command"), None);
    }

    #[test]
    fn an_old_rustc_and_a_new_llvm_do_not_serve() {
        let old = Rustc::parse(&DEBIAN.replace("release: 1.96", "release: 1.85")).unwrap();
        assert_eq!(old.unfit().unwrap(), "it is Rust 1.85, 1.95 is needed");
        let new = Rustc::parse(&DEBIAN.replace("22.1.8", "24.0.0")).unwrap();
        assert!(new.unfit().unwrap().contains("its LLVM is 24"));
    }

    #[test]
    fn rustups_list_is_parsed() {
        let path =
            |line| parse_listed(line).map(|(name, path)| format!("{name} {}", path.display()));
        assert_eq!(
            path("stable-x (active, default) /r/t/stable-x").unwrap(),
            "stable-x /r/t/stable-x"
        );
        assert_eq!(path("mine /opt/my rust").unwrap(), "mine /opt/my rust");
        assert_eq!(path("nightly-x (default)\t/r/n").unwrap(), "nightly-x /r/n");
        assert_eq!(path("no installed toolchains"), None);
    }

    #[test]
    fn a_dated_nightly_is_not_the_nightly() {
        assert!(is_nightly("nightly"));
        assert!(is_nightly("nightly-x86_64-unknown-linux-gnu"));
        assert!(!is_nightly("nightly-2026-05-20-x86_64-unknown-linux-gnu"));
        assert!(!is_nightly("stable"));
    }
}
