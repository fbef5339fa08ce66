//! The file that `--config` names. Needs root, curl, bpftool, tc and ip.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod errors;
mod example;
#[path = "../instance/mod.rs"]
mod instance;
mod precedence;
