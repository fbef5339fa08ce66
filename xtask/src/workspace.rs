//! Where this checkout is, and its cargo.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The crates that are built for the host. Cargo chooses the features of dependencies by what is
/// selected, so that verbs which select alike share what they build.
pub(crate) const HOST: [&str; 2] = ["--workspace", "--exclude=filter-ebpf"];

/// The workspace's root.
///
/// Cargo says where the checkout is now; what was compiled in may have moved since.
pub(crate) fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest
        .parent()
        .map_or_else(|| manifest.clone(), Path::to_owned)
}

/// The cargo that runs this verb.
pub(crate) fn cargo_program() -> String {
    env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// A cargo command in the workspace's root.
pub(crate) fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(cargo_program());
    command.args(arguments).current_dir(root());
    command
}

/// The executable with this name, if a line of cargo's messages tells of it.
pub(crate) fn executable(line: &str, name: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let named = message["target"]["name"] == name;
    named.then(|| message["executable"].as_str().map(PathBuf::from))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let lastack = |line: &str| executable(line, "lastack");
        let line = r#"{"reason":"compiler-artifact","target":{"name":"lastack"},"executable":"/t/release/lastack"}"#;
        assert_eq!(lastack(line), Some("/t/release/lastack".into()));
        assert_eq!(lastack(&line.replace("\"lastack\"", "\"anyhow\"")), None);
        assert_eq!(
            lastack(r#"{"target":{"name":"lastack"},"executable":null}"#),
            None
        );
        assert_eq!(lastack("not json"), None);
    }
}
