//! Debian's kernels: which one is meant, and where it is unpacked.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
};

use anyhow::{Context as _, Error, Result, bail};

use crate::{
    apt::Apt,
    machine::{Call, Machine},
    process::quietly,
};

/// What the packages' names begin with.
const PACKAGE: &str = "linux-image-";
/// How the names end of those that have every module.
const FLAVOUR: &str = "-amd64";

/// Which kernel is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The newest.
    #[default]
    Newest,
    /// The newest whose version begins so.
    Version(String),
    /// This package, or the one that it stands for.
    Package(String),
}

impl FromStr for Wanted {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.starts_with(PACKAGE) {
            Ok(Self::Package(text.to_owned()))
        } else if text.starts_with(|first: char| first.is_ascii_digit()) {
            Ok(Self::Version(text.to_owned()))
        } else {
            bail!("neither a version, such as 6.1, nor a package, such as {PACKAGE}6.1.0-50-amd64")
        }
    }
}

/// A kernel that is unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// What `uname -r` says there.
    pub(super) release: String,
    /// The directory with what is in its package, from the root on.
    pub(super) root: PathBuf,
}

impl Kernel {
    pub(super) fn image(&self) -> PathBuf {
        self.root.join(format!("boot/vmlinuz-{}", self.release))
    }

    pub(super) fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }
}

/// The wanted kernel, from those that are kept below `directory` or else from Debian.
pub(super) fn ensure(machine: &dyn Machine, wanted: &Wanted, directory: &Path) -> Result<Kernel> {
    let kept = machine.names_in(directory);
    let release = match wanted {
        Wanted::Package(package) => package.strip_prefix(PACKAGE).map(str::to_owned),
        Wanted::Version(_) => choose(wanted, &kept),
        Wanted::Newest => choose(wanted, &listed(machine)),
    };
    if let Some(release) = release.filter(|release| kept.contains(release)) {
        let root = directory.join(&release);
        return Ok(Kernel { release, root });
    }
    let package = package(machine, wanted)?;
    let release = package.strip_prefix(PACKAGE).map(str::to_owned);
    if let Some(release) = release.filter(|release| kept.contains(release)) {
        let root = directory.join(&release);
        return Ok(Kernel { release, root });
    }
    machine.say(&format!("downloading {package}"));
    unpack(machine, &package, directory)
        .with_context(|| format!("the kernel of the package {package} cannot be had"))
}

/// Whether apt's lists have it.
pub(super) fn is_listed(machine: &dyn Machine, wanted: &Wanted) -> bool {
    choose(wanted, &listed(machine)).is_some()
}

/// The releases that apt's lists have, of every flavour.
fn listed(machine: &dyn Machine) -> Vec<String> {
    let names = format!("^{PACKAGE}[0-9].*{FLAVOUR}$");
    let found = machine.ask("apt-cache", &["search", "--names-only", &names]);
    let found = found.unwrap_or_default();
    let packages = found.lines().filter_map(|line| line.split(' ').next());
    let releases = packages.filter_map(|package| package.strip_prefix(PACKAGE));
    releases.map(str::to_owned).collect()
}

/// The name of the package that has the wanted kernel itself.
fn package(machine: &dyn Machine, wanted: &Wanted) -> Result<String> {
    let apt = Apt::new(machine);
    if let Wanted::Package(package) = wanted {
        if apt.available(package)?.is_none() {
            bail!("this system's apt has no package {package}");
        }
        let depends = machine.ask("apt-cache", &["depends", package]);
        return Ok(stands_for(&depends.unwrap_or_default()).unwrap_or_else(|| package.clone()));
    }
    apt.refresh(&format!("{PACKAGE}amd64"))?;
    let releases = listed(machine);
    match choose(wanted, &releases) {
        Some(release) => Ok(format!("{PACKAGE}{release}")),
        None => bail!("{}", unknown(wanted, &releases)),
    }
}

/// The newest release that is wanted, among those with every module: neither "cloud" nor "rt".
fn choose(wanted: &Wanted, releases: &[String]) -> Option<String> {
    let start = match wanted {
        Wanted::Newest => Vec::new(),
        Wanted::Version(version) => numbers(version),
        Wanted::Package(_) => return None,
    };
    releases
        .iter()
        .filter(|release| is_ordinary(release) && numbers(release).starts_with(&start))
        .max_by_key(|release| numbers(release))
        .cloned()
}

/// Whether that is a kernel, and not a package that stands for the newest of a series, nor one
/// of another flavour.
fn is_ordinary(release: &str) -> bool {
    release.strip_suffix(FLAVOUR).is_some_and(|version| {
        version.split('.').count() > 2 && !version.ends_with("-cloud") && !version.ends_with("-rt")
    })
}

/// The numbers of a version, by which versions are ordered.
fn numbers(version: &str) -> Vec<u64> {
    let version = version.strip_suffix(FLAVOUR).unwrap_or(version);
    version
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

fn unknown(wanted: &Wanted, releases: &[String]) -> String {
    let version = match wanted {
        Wanted::Version(version) => format!(" {version}"),
        Wanted::Newest | Wanted::Package(_) => String::new(),
    };
    let mut series: Vec<_> = releases
        .iter()
        .filter(|release| is_ordinary(release))
        .map(|release| numbers(release).into_iter().take(2).collect::<Vec<_>>())
        .collect();
    series.sort_unstable();
    series.dedup();
    let series: Vec<_> = series
        .iter()
        .map(|numbers| {
            let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
            numbers.join(".")
        })
        .collect();
    if series.is_empty() {
        return format!("this system's apt has no kernel{version} for amd64: is it Debian's?");
    }
    let has = series.join(", ");
    format!("this system's apt has no kernel{version}; it has {has}")
}

/// The kernel's package, of what `apt-cache depends` says of one that stands for it.
fn stands_for(depends: &str) -> Option<String> {
    let dependencies = depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    dependencies
        .filter(|package| package.starts_with(PACKAGE))
        .map(str::to_owned)
        .next()
}

/// Downloads a package, and unpacks it as if at the root of `directory/RELEASE`.
fn unpack(machine: &dyn Machine, package: &str, directory: &Path) -> Result<Kernel> {
    let partial = directory.with_file_name("unpacking");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    let root = partial.join("root");
    fs::create_dir_all(&root)?;
    fs::create_dir_all(directory)?;
    let mut download = Command::new("apt-get");
    download.args(["download", package]).current_dir(&partial);
    quietly(&mut download, &format!("apt-get download {package}"))?;
    let names = machine.names_in(&partial);
    let archive = names.iter().find(|&name| name != "root");
    let archive = partial.join(archive.context("apt-get has downloaded no package")?);
    machine.change(&Call::new(
        "dpkg-deb",
        &[
            "--extract",
            &archive.to_string_lossy(),
            &root.to_string_lossy(),
        ],
    ))?;
    if !root.join("lib/modules").exists() {
        // Newer packages name the directory as it is without the link in the root.
        std::os::unix::fs::symlink("usr/lib", root.join("lib"))?;
    }
    let releases = machine.names_in(&root.join("lib/modules"));
    let release = releases
        .into_iter()
        .next()
        .context("the package has no modules")?;
    let depmod = super::program(machine, "depmod")?;
    machine.change(&Call::new(
        &depmod,
        &["--basedir", &root.to_string_lossy(), &release],
    ))?;
    // Complete at once or not at all.
    let kept = directory.join(&release);
    fs::rename(&root, &kept)?;
    fs::remove_dir_all(&partial)?;
    Ok(Kernel {
        release,
        root: kept,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::fake::Fake;

    const RELEASES: [&str; 8] = [
        "6.1.0-50-amd64",
        "6.12-amd64",
        "6.12.117+deb12-amd64",
        "6.12.99+deb12-amd64",
        "6.12.118+deb12-cloud-amd64",
        "6.12.118+deb12-rt-amd64",
        "6.1.0-9-amd64",
        "5.10.0-36-amd64",
    ];

    fn chosen(wanted: &str) -> Option<String> {
        choose(&wanted.parse().unwrap(), &RELEASES.map(str::to_owned))
    }

    #[test]
    fn the_newest_is_the_highest_by_number_and_of_the_ordinary_flavour() {
        let newest = choose(&Wanted::Newest, &RELEASES.map(str::to_owned));
        assert_eq!(newest.unwrap(), "6.12.117+deb12-amd64");
        assert_eq!(choose(&Wanted::Newest, &[]), None);
    }

    #[test]
    fn a_version_means_the_newest_that_begins_with_its_numbers() {
        assert_eq!(chosen("6.1").unwrap(), "6.1.0-50-amd64");
        assert_eq!(chosen("6.1.0-9").unwrap(), "6.1.0-9-amd64");
        assert_eq!(chosen("5").unwrap(), "5.10.0-36-amd64");
        assert_eq!(chosen("6.2"), None);
    }

    #[test]
    fn what_is_neither_version_nor_package_is_refused() {
        let error = "newest".parse::<Wanted>().unwrap_err().to_string();
        assert!(error.starts_with("neither a version"), "{error}");
        assert_eq!(
            "linux-image-amd64".parse::<Wanted>().unwrap(),
            Wanted::Package("linux-image-amd64".to_owned())
        );
    }

    const SEARCH: &str = "apt-cache search --names-only ^linux-image-[0-9].*-amd64$";

    fn found() -> String {
        RELEASES
            .map(|release| format!("linux-image-{release} - Linux for 64-bit PCs\n"))
            .concat()
    }

    #[test]
    fn a_kept_kernel_is_taken_without_a_download() {
        let machine = Fake::user()
            .file("/vm/6.12.117+deb12-amd64")
            .answer(SEARCH, &found());
        let kept = Path::new("/vm");
        for wanted in [
            Wanted::Newest,
            Wanted::Version("6.12".to_owned()),
            Wanted::Package("linux-image-6.12.117+deb12-amd64".to_owned()),
        ] {
            let kernel = ensure(&machine, &wanted, kept).unwrap();
            assert_eq!(kernel.release, "6.12.117+deb12-amd64");
            assert_eq!(
                kernel.image(),
                Path::new("/vm/6.12.117+deb12-amd64/boot/vmlinuz-6.12.117+deb12-amd64")
            );
        }
        assert!(machine.changes().is_empty());
    }

    #[test]
    fn an_older_kernel_that_is_kept_does_not_pass_for_the_newest() {
        let machine = Fake::user()
            .file("/vm/6.1.0-50-amd64")
            .answer(SEARCH, &found());
        // That it must be downloaded is an error here, where nobody may.
        let error = ensure(&machine, &Wanted::Newest, Path::new("/vm")).unwrap_err();
        assert!(
            error.to_string().starts_with("there is no apt-get"),
            "{error}"
        );
    }

    #[test]
    fn a_kernel_that_debian_has_not_is_named_beside_those_that_it_has() {
        let machine = Fake::root().program("apt-get").answer(SEARCH, &found());
        let wanted = Wanted::Version("7".to_owned());
        let error = ensure(&machine, &wanted, Path::new("/vm")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this system's apt has no kernel 7; it has 5.10, 6.1, 6.12"
        );
        let wanted = Wanted::Package("linux-image-7.0.0-amd64".to_owned());
        let error = ensure(&machine, &wanted, Path::new("/vm")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this system's apt has no package linux-image-7.0.0-amd64"
        );
    }

    #[test]
    fn a_package_that_stands_for_the_newest_leads_to_the_kernel() {
        let depends = "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n";
        assert_eq!(stands_for(depends).unwrap(), "linux-image-6.1.0-56-amd64");
        let depends =
            "linux-image-6.1.0-56-amd64\n  Depends: kmod\n |Depends: linux-initramfs-tool\n";
        assert_eq!(stands_for(depends), None);
    }
}
