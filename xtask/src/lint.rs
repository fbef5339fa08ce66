//! `cargo xtask lint`: format, clippy for the host and for the BPF target, dependencies,
//! documentation, packages of crates, footprint of the packet programs.

use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    apt::Apt,
    conf::Conf,
    crates, footprint,
    machine::{Call, Here, Machine},
    process::visibly,
    program::Program,
    setup,
    toolchain::{Core, TARGET},
    workspace::{self, HOST},
};

const CARGO_DENY: Program = Program {
    name: "cargo-deny",
    version: "0.20.2",
    why: "it checks dependencies",
};

/// Options of `cargo xtask lint`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Looks, too, for dependencies with a published fault, in a database that it fetches
    #[arg(long)]
    advisories: bool,
}

/// The verb.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    visibly(&mut workspace::cargo(["fmt", "--all", "--check"]))?;
    let conf = setup::ensure()?;
    visibly(
        workspace::cargo(["clippy"])
            .args(HOST)
            .args(["--all-targets", "--features=fuzz/libfuzzer"])
            .args(["--", "-D", "warnings"])
            // Nothing is linked, so that libFuzzer need not be built.
            .env("CUSTOM_LIBFUZZER_PATH", "/dev/null"),
    )?;
    check_dependencies(arguments)?;
    ensure_clippy(&conf)?;
    let on_bpf = [
        "--package=filter-ebpf",
        "--features=programs",
        "--target",
        TARGET,
    ];
    visibly(
        bpf_cargo(&conf, "clippy")
            .args(on_bpf)
            .args(["--", "-D", "warnings"]),
    )?;
    visibly(
        workspace::cargo(["doc", "--no-deps", "--lib"])
            .args(HOST)
            .args(["--bin=bench", "--bin=lastack", "--bin=xtask"])
            // With examples it takes dev-dependencies into account, as clippy did above.
            .arg("--examples")
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    visibly(
        bpf_cargo(&conf, "doc")
            .arg("--no-deps")
            .args(on_bpf)
            .env("RUSTDOCFLAGS", bpf_flags("-D warnings")),
    )?;
    crates::run(&crates::Arguments::default())?;
    footprint::check(&conf)
}

/// What deny.toml says of them.
fn check_dependencies(arguments: &Arguments) -> Result<()> {
    let mut deny = Command::new(CARGO_DENY.ensure(&Here)?);
    deny.current_dir(workspace::root())
        // What is allowed and not there is a warning.
        .args(["check", "--deny=warnings", "bans", "licenses", "sources"])
        .args(arguments.advisories.then_some("advisories"));
    visibly(&mut deny)
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
