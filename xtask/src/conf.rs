//! `target/ebpf-build.conf`: what builds the packet programs. Written by setup, read by
//! filter-user's build script, so it lies in the workspace's own `target` even where
//! CARGO_TARGET_DIR names another directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    machine::Machine,
    toolchain::{Core, Rustc},
};

/// What was found once and is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conf {
    /// The rustup toolchain; none where rustup is absent and the rustc on PATH is used.
    pub(crate) toolchain: Option<String>,
    pub(crate) sysroot: PathBuf,
    pub(crate) core: Core,
    /// First line of `rustc -vV`: another rustc calls for another look.
    pub(crate) rustc: String,
    /// Where bpf-linker is.
    pub(crate) linker: PathBuf,
}

impl Conf {
    pub(crate) fn path(root: &Path) -> PathBuf {
        root.join("target/ebpf-build.conf")
    }

    /// None if there is no file, or not all of it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(Self {
            toolchain: value(text, "toolchain").map(str::to_owned),
            sysroot: value(text, "sysroot")?.into(),
            core: match value(text, "prebuilt-core")? {
                "yes" => Core::Prebuilt,
                _ => Core::Source,
            },
            rustc: value(text, "rustc")?.to_owned(),
            linker: value(text, "linker-directory")?.into(),
        })
    }

    fn text(&self) -> String {
        let toolchain = self
            .toolchain
            .as_ref()
            .map(|name| format!("toolchain={name}\n"));
        format!(
            "{}linker-directory={}\nprebuilt-core={}\nsysroot={}\nrustc={}\n",
            toolchain.unwrap_or_default(),
            self.linker.display(),
            if self.core == Core::Prebuilt {
                "yes"
            } else {
                "no"
            },
            self.sysroot.display(),
            self.rustc,
        )
    }

    /// Whether all that it names is still there and the same.
    pub(crate) fn holds(&self, machine: &dyn Machine) -> bool {
        let asked = match &self.toolchain {
            Some(name) => machine.ask("rustup", &["run", name, "rustc", "-vV"]),
            None => machine.ask("rustc", &["-vV"]),
        };
        let linker = self.linker.join("bpf-linker");
        asked
            .as_deref()
            .and_then(Rustc::parse)
            .is_some_and(|rustc| {
                rustc.line == self.rustc
                    && Core::of(machine, &self.sysroot, &rustc) == Some(self.core)
            })
            && machine
                .ask(&linker.to_string_lossy(), &["--version"])
                .is_some()
    }

    /// Writes it, unless it is there already: a newer file would have the programs rebuilt.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = self.text();
        if fs::read_to_string(path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        let directory = path.parent().context("the configuration has a directory")?;
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(path, text))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A line `key=value`.
pub(crate) fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for toolchain in [Some("nightly".to_owned()), None] {
            let conf = Conf {
                toolchain,
                sysroot: "/some where".into(),
                core: Core::Source,
                rustc: "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)".into(),
                linker: "/cache/bin".into(),
            };
            assert_eq!(Conf::parse(&conf.text()), Some(conf));
        }
    }

    #[test]
    fn a_file_without_all_keys_is_no_fast_path() {
        assert_eq!(Conf::parse("toolchain=mine\nprebuilt-core=yes\n"), None);
        assert_eq!(value("toolchain=mine\n", "toolchain"), Some("mine"));
    }
}
