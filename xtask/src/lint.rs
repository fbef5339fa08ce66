//! `cargo xtask lint`: format, clippy for the host and for the BPF target, documentation,
//! footprint of the packet programs.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{
    apt::Apt,
    conf::Conf,
    footprint,
    machine::{Call, Here, Machine},
    process::visibly,
    setup,
    toolchain::{Core, TARGET},
    workspace,
};

/// The verb.
pub(crate) fn run() -> Result<()> {
    visibly(&mut workspace::cargo(["fmt", "--all", "--check"]))?;
    let conf = setup::ensure()?;
    let host = ["--workspace", "--exclude=filter-ebpf"];
    visibly(workspace::cargo(["clippy"]).args(host).args([
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    visibly(
        workspace::cargo(["clippy", "--package=fuzz", "--bins"])
            .args(["--features=libfuzzer", "--", "-D", "warnings"])
            // Nothing is linked, so that libFuzzer need not be built.
            .env("CUSTOM_LIBFUZZER_PATH", "/dev/null"),
    )?;
    ensure_clippy(&conf)?;
    let on_bpf = ["--package=filter-ebpf", "--target", TARGET];
    visibly(
        bpf_cargo(&conf, "clippy")
            .args(on_bpf)
            .args(["--bins", "--", "-D", "warnings"]),
    )?;
    visibly(
        workspace::cargo(["doc", "--no-deps"])
            .args(host)
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    visibly(
        bpf_cargo(&conf, "doc")
            .arg("--no-deps")
            .args(on_bpf)
            .env("RUSTDOCFLAGS", bpf_flags("-D warnings")),
    )?;
    footprint::check(&conf)
}

/// A cargo subcommand of the toolchain that builds the packet programs, as aya-build calls it.
fn bpf_cargo(conf: &Conf, subcommand: &str) -> Command {
    let root = workspace::root();
    let mut command = match &conf.toolchain {
        Some(name) => {
            let mut rustup = Command::new("rustup");
            rustup.args(["run", name, "cargo"]);
            rustup
        }
        None => Command::new("cargo"),
    };
    command
        .arg(subcommand)
        .current_dir(&root)
        // Another rustc, other flags: in the host's directory each would undo the other's work.
        .arg("--target-dir")
        .arg(root.join("target/bpf-lint"))
        .env("RUSTFLAGS", bpf_flags(""))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    match conf.core {
        Core::Prebuilt => command.env("RUSTC_BOOTSTRAP", "aya_ebpf"),
        Core::Source => command.args(["-Z", "build-std=core"]),
    };
    command
}

fn bpf_flags(more: &str) -> String {
    format!(
        "--cfg=bpf_target_arch=\"{}\" {more}",
        std::env::consts::ARCH
    )
}

/// Clippy is a component, or a package, of its own.
fn ensure_clippy(conf: &Conf) -> Result<()> {
    if Here.exists(&conf.sysroot.join("bin/cargo-clippy")) {
        return Ok(());
    }
    let why = "it checks the packet programs";
    let apt = Apt::new(&Here);
    let package = (conf.sysroot.as_os_str() == "/usr").then(|| setup::debian_clippy(&apt));
    if let Some(Some(package)) = package {
        return apt.install(&[package], why);
    }
    let toolchain = conf
        .toolchain
        .as_deref()
        .context("the rustc on PATH has no clippy; install it with the same package manager")?;
    Here.say(&format!("installing clippy for {toolchain}: {why}"));
    Here.change(&Call::new(
        "rustup",
        &["component", "add", "clippy", "--toolchain", toolchain],
    ))
    .with_context(|| format!("the toolchain {toolchain} has no clippy"))
}
