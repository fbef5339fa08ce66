//! What one might put on a gateway instead of lastack: rules for nftables, and the parts that
//! they are made of.

use std::{
    fmt,
    io::{self, Write as _},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Serialize, Serializer};

/// A table of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Nothing but a rule that has the kernel track connections.
    Conntrack,
    /// Remembers the close in conntrack's mark.
    CtMark,
    /// Remembers the close in sets, with its sequence numbers; no conntrack.
    Sets,
}

impl Rules {
    /// For tables and messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Conntrack => "conntrack",
            Self::CtMark => "nft, ct mark",
            Self::Sets => "nft, sets",
        }
    }

    const fn table(self) -> &'static str {
        match self {
            Self::Conntrack => "lastack_conntrack",
            Self::CtMark => "lastack_ct_mark",
            Self::Sets => "lastack_sets",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Conntrack => {
                "table inet lastack_conntrack {
                    chain forward {
                        type filter hook forward priority filter; policy accept;
                        ct state new,established accept
                    }
                }"
            }
            Self::CtMark => include_str!("rivals/ct-mark.nft"),
            Self::Sets => include_str!("rivals/sets.nft"),
        }
    }

    /// Whether conntrack has to be on.
    pub(crate) const fn needs_conntrack(self) -> bool {
        !matches!(self, Self::Sets)
    }

    /// Loads them into the calling thread's network namespace. `servers`: the interfaces that
    /// lead to the servers.
    pub(crate) fn load(self, servers: &[&str]) -> Result<Loaded> {
        let define = format!("servers={{ {} }}", servers.join(", "));
        nft(&["--define", &define, "--file", "-"], self.text())
            .with_context(|| format!("cannot load the rules \"{}\"", self.name()))?;
        Ok(Loaded { rules: self })
    }
}

impl Serialize for Rules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Rules in the kernel.
pub(crate) struct Loaded {
    rules: Rules,
}

impl Loaded {
    /// Takes them out of the calling thread's network namespace.
    pub(crate) fn unload(self) -> Result<()> {
        nft(&["delete", "table", "inet", self.rules.table()], "")
            .with_context(|| format!("cannot unload the rules \"{}\"", self.rules.name()))
    }
}

fn nft(arguments: &[&str], input: &str) -> Result<()> {
    let mut command = Command::new("nft");
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let spawned = command.spawn();
    if spawned
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    {
        bail!("there is no nft here; install it (Debian: apt-get install nftables)");
    }
    let mut process = spawned.context("cannot run nft")?;
    if let Some(mut stdin) = process.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = process.wait_with_output()?;
    ensure!(
        output.status.success(),
        "nft: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_makes_the_table_that_is_deleted() {
        for rules in [Rules::Conntrack, Rules::CtMark, Rules::Sets] {
            let begins = format!("table inet {} {{", rules.table());
            assert!(rules.text().contains(&begins), "{rules}");
            assert_eq!(rules.text().contains("ct "), rules.needs_conntrack());
        }
    }
}
