//! What `fleet/` has for those who have many gateways: rules, dashboard, manifests, and the recipe of a
//! container, each given to the program that it is for. Needs root, promtool, prometheus, podman, and what
//! `cargo xtask test` installs into target/fleet.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod container;
mod dashboard;
#[path = "../instance/mod.rs"]
mod instance;
mod manifests;
mod pod;
mod rules;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A file or directory of the checkout.
fn checkout(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join(path)
}

/// A program of those that are installed for these tests alone.
fn installed(program: &str) -> PathBuf {
    checkout("target/fleet/bin").join(program)
}

/// Runs a program to its end; gives what it prints, with what it says on standard error if it fails.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{command:?}: {error}; `cargo xtask test` installs it");
    });
    let text = String::from_utf8(output.stdout).unwrap();
    if output.status.success() {
        return Ok(text);
    }
    Err(text + &String::from_utf8_lossy(&output.stderr))
}
