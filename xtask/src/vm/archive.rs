//! Where Debian's kernels come from: the host's own apt, or one with other suites and a state of its
//! own, so that the host's stays as it is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    apt::Apt,
    machine::{Call, Machine},
    process::quietly,
};

/// What the packages' names begin with.
pub(super) const PACKAGE: &str = "linux-image-";
/// How the names end of those that have every module.
pub(super) const FLAVOUR: &str = "-amd64";

/// Suites beside the host's, from the oldest kernel to the newest, by the label of the archive that
/// has them.
const SUITES: [(&str, &str); 2] = [
    ("Debian", "bullseye trixie trixie-backports sid"),
    ("Debian-Security", "bullseye-security trixie-security"),
];
/// Debian's keys, by which their lists are verified.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const KEYRING_PACKAGE: &str = "debian-archive-keyring";
/// How long their lists pass for new.
const FRESH: Duration = Duration::from_hours(24);

/// An apt that has kernels.
pub(super) struct Archive<'m> {
    machine: &'m dyn Machine,
    /// What makes it another than the host's.
    options: Vec<String>,
}

impl<'m> Archive<'m> {
    /// The host's own.
    pub(super) fn host(machine: &'m dyn Machine) -> Self {
        Self {
            machine,
            options: Vec::new(),
        }
    }

    /// One with the other suites of the archives from which the host has its Debian; its state is in
    /// `directory`.
    pub(super) fn suites(machine: &'m dyn Machine, directory: &Path) -> Result<Self> {
        let targets = machine.ask(
            "apt-get",
            &["indextargets", "--format", "$(LABEL)|$(REPO_URI)"],
        );
        let sources = sources(&targets.unwrap_or_default()).context(
            "the lists of this system's apt name no archive of Debian's, so there are no kernels but its own",
        )?;
        if !machine.exists(Path::new(KEYRING)) {
            Apt::new(machine).install(&[KEYRING_PACKAGE], "it has the keys of Debian's suites")?;
        }
        let path = |name: &str| directory.join(name);
        for name in ["parts", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(path(name)).with_context(|| path(name).display().to_string())?;
        }
        let file = path("parts/debian.sources");
        let is_same = fs::read_to_string(&file).is_ok_and(|before| before == sources);
        fs::write(&file, sources).with_context(|| file.display().to_string())?;
        let archive = Self {
            machine,
            options: options(directory),
        };
        let stamp = path("refreshed");
        if !is_same || !is_fresh(&stamp) {
            archive.refresh(&stamp)?;
        }
        Ok(archive)
    }

    fn refresh(&self, stamp: &PathBuf) -> Result<()> {
        self.machine.say("reading the lists of Debian's suites");
        let update = [
            "-o",
            "Acquire::Retries=2",
            "-o",
            "APT::Update::Error-Mode=any",
            "update",
        ];
        let done = self.machine.change(&self.call("apt-get", &update));
        if let Err(error) = &done {
            // What apt has found all the same may do.
            let why = reason(&format!("{error:#}"));
            if self.releases().is_empty() {
                bail!("the lists of Debian's suites cannot be had: {why}");
            }
            self.machine.say(&format!(
                "not all lists of Debian's suites can be had: {why}"
            ));
            return Ok(());
        }
        fs::write(stamp, "").with_context(|| stamp.display().to_string())
    }

    /// The releases that it has, of every flavour.
    pub(super) fn releases(&self) -> Vec<String> {
        let names = format!("^{PACKAGE}[0-9].*{FLAVOUR}$");
        let found = self.ask("apt-cache", &["search", "--names-only", &names]);
        let packages = found.lines().filter_map(|line| line.split(' ').next());
        let releases = packages.filter_map(|package| package.strip_prefix(PACKAGE));
        releases.map(str::to_owned).collect()
    }

    /// Whether it has that package.
    pub(super) fn has(&self, package: &str) -> bool {
        !self.ask("apt-cache", &["show", package]).is_empty()
    }

    /// The packages that this one needs.
    pub(super) fn dependencies(&self, package: &str) -> Vec<String> {
        let depends = self.ask("apt-cache", &["depends", package]);
        let dependencies = depends
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "));
        dependencies.map(str::to_owned).collect()
    }

    /// Downloads packages into a directory.
    pub(super) fn download(&self, packages: &[String], into: &Path) -> Result<()> {
        let packages: Vec<_> = packages.iter().map(String::as_str).collect();
        let call = self.call("apt-get", &[&["download"], packages.as_slice()].concat());
        let mut download = Command::new(&call.program);
        download.args(&call.arguments).current_dir(into);
        let shown = format!("apt-get download {}", packages.join(" "));
        quietly(&mut download, &shown)
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let call = self.call(program, arguments);
        let arguments: Vec<_> = call.arguments.iter().map(String::as_str).collect();
        self.machine.ask(program, &arguments).unwrap_or_default()
    }

    fn call(&self, program: &str, arguments: &[&str]) -> Call {
        let options = self.options.iter().map(String::as_str);
        let arguments: Vec<_> = options.chain(arguments.iter().copied()).collect();
        Call::new(program, &arguments)
    }
}

/// The file of sources, with the addresses from which the host has what is labelled so; nothing where
/// it has nothing of Debian's.
fn sources(targets: &str) -> Option<String> {
    let sources = SUITES.iter().filter_map(|(label, suites)| {
        let mut targets = targets.lines().filter_map(|line| line.split_once('|'));
        let (_, uri) = targets.find(|(of, _)| of == label)?;
        Some(format!(
            "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nArchitectures: amd64\nSigned-By: {KEYRING}\n"
        ))
    });
    let sources: Vec<_> = sources.collect();
    (!sources.is_empty()).then(|| sources.join("\n"))
}

/// What makes apt look there, and nowhere else, and load no list that nobody reads.
fn options(directory: &Path) -> Vec<String> {
    let at = |name: &str| directory.join(name).display().to_string();
    [
        "Dir::Etc::SourceList=/dev/null".to_owned(),
        format!("Dir::Etc::SourceParts={}", at("parts")),
        format!("Dir::State::Lists={}", at("lists")),
        format!("Dir::Cache={}", at("cache")),
        "Acquire::Languages=none".to_owned(),
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
    ]
    .into_iter()
    .flat_map(|option| ["-o".to_owned(), option])
    .collect()
}

fn is_fresh(stamp: &Path) -> bool {
    let modified = fs::metadata(stamp).and_then(|stamp| stamp.modified());
    modified.is_ok_and(|then| {
        let age = SystemTime::now().duration_since(then);
        age.is_ok_and(|age| age < FRESH)
    })
}

/// The first thing that apt calls an error, of all that it prints.
fn reason(printed: &str) -> String {
    let mut lines = printed.lines().map(str::trim);
    let error = lines.find_map(|line| line.strip_prefix("E: "));
    let first = || printed.lines().next().unwrap_or_default();
    error.unwrap_or_else(first).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_come_from_where_the_host_has_its_debian() {
        let targets = "Elsewhere|http://elsewhere/\nDebian-Security|http://one/security/\n\
            Debian|http://one/debian/\nDebian|http://two/debian/\n";
        let sources = sources(targets).unwrap();
        let uris: Vec<_> = sources
            .lines()
            .filter_map(|line| line.strip_prefix("URIs: "))
            .collect();
        assert_eq!(uris, ["http://one/debian/", "http://one/security/"]);
        assert_eq!(
            sources.matches("Signed-By: /usr/share/keyrings/").count(),
            2
        );
        assert!(sources.contains("Suites: bullseye trixie trixie-backports sid\n"));
        assert_eq!(super::sources("Ubuntu|http://three/\n"), None);
        assert_eq!(super::sources(""), None);
    }

    #[test]
    fn apt_looks_nowhere_else() {
        let options = options(Path::new("/t/apt")).join(" ");
        for option in [
            "-o Dir::Etc::SourceList=/dev/null",
            "-o Dir::Etc::SourceParts=/t/apt/parts",
            "-o Dir::State::Lists=/t/apt/lists",
            "-o Dir::Cache=/t/apt/cache",
        ] {
            assert!(options.contains(option), "{options}");
        }
        // Signatures are verified as everywhere.
        assert!(!options.to_lowercase().contains("unauthenticated"));
    }

    #[test]
    fn of_all_that_apt_prints_its_error_is_shown() {
        let printed = "`apt-get update` failed (exit status 100)\n    Err:1 sid InRelease\n    \
            E: The repository 'x sid InRelease' is not signed.\n    E: Another.";
        assert_eq!(
            reason(printed),
            "The repository 'x sid InRelease' is not signed."
        );
        assert_eq!(reason("cannot start apt-get"), "cannot start apt-get");
    }
}
