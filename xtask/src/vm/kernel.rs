//! Kernels: which one is meant, and where it is unpacked.

use std::{
    fmt::{self, Display, Formatter},
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, Error, Result, bail};

use super::archive::{Archive, FLAVOUR, PACKAGE};
use crate::{
    apt::Apt,
    machine::{Call, Machine},
};

/// Which kernel is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The one that runs here, without a virtual machine.
    Host,
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
        match text {
            "host" => Ok(Self::Host),
            "newest" => Ok(Self::Newest),
            _ if text.starts_with(PACKAGE) => Ok(Self::Package(text.to_owned())),
            _ if text.starts_with(|first: char| first.is_ascii_digit()) => {
                Ok(Self::Version(text.to_owned()))
            }
            _ => bail!(
                "neither a version, such as 6.1, nor newest, nor host, nor a package, such as \
                 {PACKAGE}6.1.0-50-amd64"
            ),
        }
    }
}

impl Display for Wanted {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Newest => "newest",
            Self::Version(name) | Self::Package(name) => name,
        })
    }
}

/// A kernel that is unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// What `uname -r` says there.
    pub(super) release: String,
    /// The directory with what is in its packages, from the root on.
    pub(super) root: PathBuf,
}

impl Kernel {
    pub(super) fn image(&self) -> PathBuf {
        let image = self.root.join(format!("boot/vmlinuz-{}", self.release));
        if image.exists() {
            image
        } else {
            // Where newer packages have it, whose scripts would copy it.
            self.modules().join("vmlinuz")
        }
    }

    pub(super) fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }
}

/// Where a kernel may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// From what the host's apt has.
    Host,
    /// From every suite of Debian.
    All,
}

/// The wanted kernel, from those that are kept below `directory`, or else from Debian.
pub(super) fn ensure(
    machine: &dyn Machine,
    wanted: &Wanted,
    scope: Scope,
    directory: &Path,
) -> Result<Kernel> {
    let kept = machine.names_in(&directory.join("kernels"));
    let known = match wanted {
        Wanted::Package(package) => package.strip_prefix(PACKAGE).map(str::to_owned),
        Wanted::Version(_) => choose(wanted, &kept),
        Wanted::Newest if scope == Scope::Host => {
            choose(wanted, &Archive::host(machine).releases())
        }
        Wanted::Newest | Wanted::Host => None,
    };
    if let Some(kernel) = known.and_then(|release| find(release, &kept, directory)) {
        return Ok(kernel);
    }
    let (archive, package) = locate(machine, wanted, scope, directory)?;
    let release = package.strip_prefix(PACKAGE).map(str::to_owned);
    if let Some(kernel) = release.and_then(|release| find(release, &kept, directory)) {
        return Ok(kernel);
    }
    machine.say(&format!("downloading {package}"));
    unpack(machine, &archive, &package, directory)
        .with_context(|| format!("the kernel of the package {package} cannot be had"))
}

fn find(release: String, kept: &[String], directory: &Path) -> Option<Kernel> {
    let root = directory.join("kernels").join(&release);
    kept.contains(&release).then_some(Kernel { release, root })
}

/// Whether the lists of the host's apt have it.
pub(super) fn is_listed(machine: &dyn Machine, wanted: &Wanted) -> bool {
    choose(wanted, &Archive::host(machine).releases()).is_some()
}

/// The package that has the wanted kernel, and who has the package.
fn locate<'m>(
    machine: &'m dyn Machine,
    wanted: &Wanted,
    scope: Scope,
    directory: &Path,
) -> Result<(Archive<'m>, String)> {
    let suites = || Archive::suites(machine, &directory.join("apt"));
    let host = Archive::host(machine);
    if let Wanted::Package(package) = wanted {
        let mut archive = host;
        if !archive.has(package) && scope == Scope::All {
            archive = suites()?;
        }
        if !archive.has(package) {
            bail!("Debian has no package {package} for this system's apt");
        }
        let stands_for = stands_for(&archive.dependencies(package));
        return Ok((archive, stands_for.unwrap_or_else(|| package.clone())));
    }
    let mut releases = host.releases();
    if releases.is_empty() || scope == Scope::Host {
        Apt::new(machine).refresh(&format!("{PACKAGE}amd64"))?;
        releases = host.releases();
    }
    let here = choose(wanted, &releases);
    if scope == Scope::All && (*wanted == Wanted::Newest || here.is_none()) {
        let suites = suites()?;
        let others = suites.releases();
        releases.extend(others.iter().cloned());
        if let Some(release) = choose(wanted, &releases)
            && others.contains(&release)
        {
            return Ok((suites, format!("{PACKAGE}{release}")));
        }
    }
    match choose(wanted, &releases) {
        Some(release) => Ok((host, format!("{PACKAGE}{release}"))),
        None => bail!("{}", unknown(wanted, &releases)),
    }
}

/// The newest release that is wanted, among those with every module: neither "cloud" nor "rt".
fn choose(wanted: &Wanted, releases: &[String]) -> Option<String> {
    let start = match wanted {
        Wanted::Newest => Vec::new(),
        Wanted::Version(version) => numbers(version),
        Wanted::Package(_) | Wanted::Host => return None,
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
        Wanted::Host | Wanted::Newest | Wanted::Package(_) => String::new(),
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
        return format!("apt has no kernel{version} for amd64: is this system Debian's?");
    }
    let has = series.join(", ");
    format!("Debian has no kernel{version}; it has {has}")
}

/// The kernel's package, of what one needs that stands for it.
fn stands_for(dependencies: &[String]) -> Option<String> {
    let mut packages = dependencies.iter();
    packages
        .find(|package| package.starts_with(PACKAGE))
        .cloned()
}

/// The package, and those that have parts of the kernel, as newer ones do: they are called after the
/// same release.
fn parts(archive: &Archive<'_>, package: &str) -> Vec<String> {
    let release = package.strip_prefix(PACKAGE).unwrap_or(package);
    let parts = archive.dependencies(package).into_iter();
    let parts = parts.filter(|part| part.starts_with("linux-") && part.ends_with(release));
    std::iter::once(package.to_owned()).chain(parts).collect()
}

/// Downloads a package, and unpacks it as if at the root of `kernels/RELEASE`.
fn unpack(
    machine: &dyn Machine,
    archive: &Archive<'_>,
    package: &str,
    directory: &Path,
) -> Result<Kernel> {
    let partial = directory.join("unpacking");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    let root = partial.join("root");
    fs::create_dir_all(&root)?;
    fs::create_dir_all(directory.join("kernels"))?;
    archive.download(&parts(archive, package), &partial)?;
    for name in machine.names_in(&partial) {
        if name != "root" {
            let (file, root) = (partial.join(name), root.to_string_lossy());
            let arguments = ["--extract", &file.to_string_lossy(), &root];
            machine.change(&Call::new("dpkg-deb", &arguments))?;
        }
    }
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
    let kept = directory.join("kernels").join(&release);
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
        let error = "oldest".parse::<Wanted>().unwrap_err().to_string();
        assert!(error.starts_with("neither a version"), "{error}");
        assert_eq!("newest".parse::<Wanted>().unwrap(), Wanted::Newest);
        assert_eq!("host".parse::<Wanted>().unwrap(), Wanted::Host);
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

    const HOST: Scope = Scope::Host;

    #[test]
    fn a_kept_kernel_is_taken_without_a_download() {
        let machine = Fake::user()
            .file("/vm/kernels/6.12.117+deb12-amd64")
            .answer(SEARCH, &found());
        let kept = Path::new("/vm");
        for wanted in [
            Wanted::Newest,
            Wanted::Version("6.12".to_owned()),
            Wanted::Package("linux-image-6.12.117+deb12-amd64".to_owned()),
        ] {
            let kernel = ensure(&machine, &wanted, HOST, kept).unwrap();
            assert_eq!(kernel.release, "6.12.117+deb12-amd64");
            assert_eq!(kernel.root, Path::new("/vm/kernels/6.12.117+deb12-amd64"));
        }
        assert!(machine.changes().is_empty());
    }

    #[test]
    fn an_older_kernel_that_is_kept_does_not_pass_for_the_newest() {
        let machine = Fake::user()
            .file("/vm/kernels/6.1.0-50-amd64")
            .answer(SEARCH, &found());
        // That it must be downloaded is an error here, where nobody may.
        let error = ensure(&machine, &Wanted::Newest, HOST, Path::new("/vm")).unwrap_err();
        assert!(
            error.to_string().starts_with("there is no apt-get"),
            "{error}"
        );
    }

    #[test]
    fn a_kernel_that_debian_has_not_is_named_beside_those_that_it_has() {
        let machine = Fake::root().program("apt-get").answer(SEARCH, &found());
        let wanted = Wanted::Version("7".to_owned());
        let error = ensure(&machine, &wanted, HOST, Path::new("/vm")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Debian has no kernel 7; it has 5.10, 6.1, 6.12"
        );
        let wanted = Wanted::Package("linux-image-7.0.0-amd64".to_owned());
        let error = ensure(&machine, &wanted, HOST, Path::new("/vm")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Debian has no package linux-image-7.0.0-amd64 for this system's apt"
        );
    }

    #[test]
    fn a_package_that_stands_for_the_newest_leads_to_the_kernel() {
        let owned = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let meta = owned(&["linux-image-6.1.0-56-amd64"]);
        assert_eq!(stands_for(&meta).unwrap(), "linux-image-6.1.0-56-amd64");
        assert_eq!(stands_for(&owned(&["kmod", "linux-initramfs-tool"])), None);
    }

    #[test]
    fn a_kernel_in_several_packages_is_all_of_them() {
        let machine = Fake::user().answer(
            "apt-cache depends linux-image-7.3.4-amd64",
            "linux-image-7.3.4-amd64\n  PreDepends: linux-base\n |Depends: dracut\n  \
             Depends: linux-base-7.3.4-amd64\n  Depends: linux-binary-7.3.4-amd64\n  \
             Depends: linux-modules-7.3.4-amd64\n  Recommends: apparmor\n",
        );
        let parts = parts(&Archive::host(&machine), "linux-image-7.3.4-amd64");
        assert_eq!(
            parts,
            ["image", "base", "binary", "modules"].map(|part| format!("linux-{part}-7.3.4-amd64"))
        );
    }
}
