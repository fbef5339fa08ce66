//! `lastack analyze` on captures that were recorded in the lab: what it finds is what was done
//! there, and what another program finds in them.
//!
//! The captures are in filter-user/tests/captures and were recorded by `cargo xtask record`, which
//! says of each what is in it. Needs tshark; the traffic that is made up needs root and tcpdump.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod expected;
mod golden;
mod oracle;
mod tshark;
mod witness;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The file of a golden capture.
fn capture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/captures")
        .join(file)
}

/// What `lastack analyze` prints of a file.
fn analyze(file: &Path) -> Value {
    let mut lastack = Command::new(env!("CARGO_BIN_EXE_lastack"));
    lastack.args(["analyze", "--output", "json"]).arg(file);
    lastack.env_remove("RUST_LOG");
    let output = lastack.output().unwrap();
    let file = file.display();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{file}: {}: {said}", output.status);
    assert_eq!(said, "", "{file}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let printed = String::from_utf8_lossy(&output.stdout);
        panic!("{file}: {error}: {printed}");
    })
}
