//! The kernel modules that lead the guest to the host's root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::kernel::Kernel;
use crate::machine::Machine;

/// The host's root over 9p, and memory over it. What else is needed, the kernel loads from there.
const WANTED: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/// A module as the kernel takes it.
pub(super) struct Module {
    pub(super) name: String,
    pub(super) content: Vec<u8>,
}

/// The modules in the order in which they can be loaded.
pub(super) fn read(machine: &dyn Machine, kernel: &Kernel) -> Result<Vec<Module>> {
    let modprobe = super::program(machine, "modprobe")?;
    let root = kernel.root.to_string_lossy();
    let fixed = ["--dirname", &root, "--set-version", &kernel.release];
    let depends = ["--show-depends", "--all"];
    let arguments = [&fixed[..], &depends, &WANTED].concat();
    let shown = machine.ask(&modprobe, &arguments).with_context(|| {
        format!(
            "the kernel {} lacks one of the modules {}",
            kernel.release,
            WANTED.join(", ")
        )
    })?;
    in_order(&shown).iter().map(|file| load(file)).collect()
}

/// The files that `modprobe --show-depends` names, each once.
fn in_order(shown: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in shown.lines() {
        // What is built in has a line of another kind; parameters may follow the file.
        let file = line
            .strip_prefix("insmod ")
            .and_then(|rest| rest.split(' ').next());
        let file = file.map(PathBuf::from);
        files.extend(file.filter(|file| !files.contains(file)));
    }
    files
}

fn load(file: &Path) -> Result<Module> {
    let name = file.file_name().context("a module without a name")?;
    let name = name.to_string_lossy();
    let content = match name.rsplit('.').next() {
        Some("ko") => fs::read(file).with_context(|| file.display().to_string())?,
        Some("xz") => unpacked("xz", file)?,
        Some("zst") => unpacked("zstd", file)?,
        _ => bail!("{}: compressed in an unknown way", file.display()),
    };
    let name = name.split('.').next().unwrap_or(&name).to_owned();
    Ok(Module { name, content })
}

/// busybox loads modules only as they are.
fn unpacked(program: &str, file: &Path) -> Result<Vec<u8>> {
    let output = Command::new(program)
        .args(["--decompress", "--stdout"])
        .arg(file)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {program}, to unpack {}", file.display()))?;
    if !output.status.success() {
        bail!("{program} cannot unpack {}", file.display());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_comes_once_and_after_what_it_needs() {
        let shown = "insmod /m/9pnet.ko.xz \ninsmod /m/9p.ko.xz debug=1\n\
            insmod /m/9pnet.ko.xz \ninsmod /m/9pnet_virtio.ko.xz \nbuiltin virtio_pci\n";
        assert_eq!(
            in_order(shown),
            ["/m/9pnet.ko.xz", "/m/9p.ko.xz", "/m/9pnet_virtio.ko.xz"].map(PathBuf::from)
        );
    }

    #[test]
    fn an_unknown_compression_is_an_error() {
        let error = load(Path::new("/m/9p.ko.lz5")).err().unwrap().to_string();
        assert_eq!(error, "/m/9p.ko.lz5: compressed in an unknown way");
    }
}
