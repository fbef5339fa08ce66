//! Debian and Ubuntu packages: the only thing that is ever done as root.

use std::cell::Cell;

use anyhow::{Context as _, Result, bail};

use crate::machine::{Call, Machine};

/// Installs packages; refreshes apt's lists before the first.
pub(crate) struct Apt<'m> {
    machine: &'m dyn Machine,
    refreshed: Cell<bool>,
}

impl<'m> Apt<'m> {
    pub(crate) fn new(machine: &'m dyn Machine) -> Self {
        Self {
            machine,
            refreshed: Cell::new(false),
        }
    }

    /// Installs packages that this system's apt has.
    pub(crate) fn install(&self, packages: &[&str], why: &str) -> Result<()> {
        let list = packages.join(" ");
        self.refresh(&list)?;
        if let Some(unknown) = packages
            .iter()
            .find(|&&package| self.version(package).is_none())
        {
            bail!("this system's apt has no package {unknown}");
        }
        self.machine.say(&format!("installing {list}: {why}"));
        let arguments = ["install", "--yes", "--no-remove", "--no-install-recommends"];
        self.as_root(&[&arguments, packages].concat())
            .with_context(|| format!("cannot install {list}; as root: apt-get install {list}"))
    }

    /// The version that would be installed; None if apt has no such package.
    pub(crate) fn available(&self, package: &str) -> Result<Option<String>> {
        self.refresh(package)?;
        Ok(self.version(package))
    }

    /// Whether the package is installed already.
    pub(crate) fn has(&self, package: &str) -> bool {
        let asked = self
            .machine
            .ask("dpkg-query", &["--show", "--showformat=${Status}", package]);
        asked.is_some_and(|status| status.ends_with(" installed"))
    }

    fn version(&self, package: &str) -> Option<String> {
        parse_candidate(&self.machine.ask("apt-cache", &["policy", package])?)
    }

    /// Refreshes the lists of packages, once. Fails where packages cannot be installed at all,
    /// and names the wanted one.
    pub(crate) fn refresh(&self, wanted: &str) -> Result<()> {
        if self.machine.program("apt-get").is_none() {
            bail!("there is no apt-get here; install what your system calls {wanted}");
        }
        if !self.machine.is_root() && self.machine.program("sudo").is_none() {
            bail!("that needs root, and there is no sudo; as root: apt-get install {wanted}");
        }
        if !self.refreshed.replace(true) {
            let how = if self.machine.is_root() {
                ""
            } else {
                ", as root through sudo"
            };
            self.machine
                .say(&format!("refreshing apt's package lists{how}"));
            // The lists that are there may do: installing tells.
            if let Err(error) = self.as_root(&["update"]) {
                self.machine.say(&format!(
                    "going on with the lists that are there: {error:#}"
                ));
            }
        }
        Ok(())
    }

    fn as_root(&self, arguments: &[&str]) -> Result<()> {
        let wait = ["-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=2"];
        let arguments = [&wait, arguments].concat();
        let call = if self.machine.is_root() {
            Call::new("apt-get", &arguments).with("DEBIAN_FRONTEND", "noninteractive")
        } else {
            let sudo = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
            Call::new("sudo", &[&sudo, arguments.as_slice()].concat())
        };
        self.machine.change(&call)
    }
}

/// The candidate of `apt-cache policy`.
fn parse_candidate(policy: &str) -> Option<String> {
    let candidate = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (candidate != "(none)").then(|| candidate.to_owned())
}

/// A program that a verb runs, and the package that has it.
pub(crate) type Tool = (&'static str, &'static str);

/// Installs the packages of those programs that are not there.
pub(crate) fn tools(machine: &dyn Machine, tools: &[Tool], why: &str) -> Result<Vec<&'static str>> {
    let missing = tools
        .iter()
        .filter(|(program, _)| machine.program(program).is_none());
    let mut missing: Vec<_> = missing.map(|(_, package)| *package).collect();
    // A package may have several of them, which then are neighbours.
    missing.dedup();
    if !missing.is_empty() {
        Apt::new(machine).install(&missing, why)?;
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::fake::Fake;

    #[test]
    fn the_candidate_is_parsed() {
        let policy =
            "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1\n  Version table:\n";
        assert_eq!(parse_candidate(policy).unwrap(), "1.96.0+dfsg1-1");
        assert_eq!(parse_candidate("x:\n  Candidate: (none)\n"), None);
        assert_eq!(parse_candidate(""), None);
    }

    #[test]
    fn only_missing_programs_are_installed() {
        let machine = Fake::root()
            .program("apt-get")
            .program("curl")
            .answer("apt-cache policy nftables", "Candidate: 1");
        let wanted = [
            ("curl", "curl"),
            ("nft", "nftables"),
            ("xtables", "nftables"),
        ];
        let tools = tools(&machine, &wanted, "tests").unwrap();
        assert_eq!(tools, ["nftables"]);
        assert_eq!(
            machine.said(),
            [
                "refreshing apt's package lists",
                "installing nftables: tests"
            ]
        );
    }

    #[test]
    fn an_ordinary_user_installs_through_sudo_only() {
        let machine = Fake::user()
            .program("apt-get")
            .program("sudo")
            .answer("apt-cache policy curl", "Candidate: 1");
        tools(&machine, &[("curl", "curl")], "tests").unwrap();
        assert!(
            machine
                .changes()
                .iter()
                .all(|call| call.starts_with("sudo env "))
        );
        assert_eq!(machine.changes().len(), 2);
    }

    #[test]
    fn where_packages_cannot_be_installed_the_command_is_named() {
        let no_sudo = Fake::user().program("apt-get");
        let error = tools(&no_sudo, &[("curl", "curl")], "tests").unwrap_err();
        assert_eq!(
            error.to_string(),
            "that needs root, and there is no sudo; as root: apt-get install curl"
        );
        let error = tools(&Fake::root(), &[("curl", "curl")], "tests").unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no apt-get here; install what your system calls curl"
        );
    }
}
