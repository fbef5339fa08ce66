//! Builds the packet programs for the BPF target, so that the binary embeds them.
//!
//! Which toolchain and linker do that is found once by `cargo xtask setup` and kept in
//! `target/ebpf-build.conf`; without that file the default nightly is tried.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use aya_build::{Package, Toolchain};

fn main() -> anyhow::Result<()> {
    let manifest =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("no manifest directory")?);
    let root = manifest.parent().context("the workspace has a root")?;
    let conf = root.join("target/ebpf-build.conf");
    println!("cargo:rerun-if-changed={}", conf.display());
    println!(
        "cargo:rerun-if-changed={}",
        root.join("filter-common/src").display()
    );
    let conf = fs::read_to_string(&conf).unwrap_or_default();
    let value = |key: &str| {
        conf.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    };
    if let Some(directory) = value("linker-directory") {
        prepend_to_path(Path::new(directory))?;
    }
    if value("prebuilt-core") == Some("yes") {
        // SAFETY: a build script has one thread here.
        unsafe { env::set_var("RUSTC_BOOTSTRAP", "aya_ebpf") };
    }
    let toolchain = value("toolchain").map_or_else(Toolchain::default, Toolchain::Custom);
    let ebpf = root.join("filter-ebpf");
    let ebpf = ebpf
        .to_str()
        .ok_or_else(|| anyhow!("{} is not UTF-8", ebpf.display()))?;
    let package = Package {
        name: "filter-ebpf",
        root_dir: ebpf,
        ..Package::default()
    };
    aya_build::build_ebpf([package], toolchain).context(
        "the packet programs could not be built; `cargo xtask setup` installs what that needs",
    )
}

fn prepend_to_path(directory: &Path) -> anyhow::Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(
        [directory.to_owned()]
            .into_iter()
            .chain(env::split_paths(&path)),
    )?;
    // SAFETY: a build script has one thread here.
    unsafe { env::set_var("PATH", path) };
    Ok(())
}
