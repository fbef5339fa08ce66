//! Programs that cargo builds from their crates: each of one version, kept outside the checkout.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{
    machine::{Call, Machine},
    workspace,
};

/// Settings of their build. They run for seconds: to optimise them takes longer than it spares.
const QUICKLY: [&str; 4] = [
    "profile.release.codegen-units=16",
    "profile.release.debug=false",
    "profile.release.lto=false",
    "profile.release.opt-level=0",
];

/// A program that some verb runs.
#[derive(Debug)]
pub(crate) struct Program {
    /// Also the crate's.
    pub(crate) name: &'static str,
    /// The one that is known to serve.
    pub(crate) version: &'static str,
    pub(crate) why: &'static str,
}

impl Program {
    /// Where it is: on `PATH`, or where it is kept, which it is installed in if need be.
    pub(crate) fn ensure(&self, machine: &dyn Machine) -> Result<PathBuf> {
        let Self { name, version, .. } = self;
        let root = cache(machine).join(format!("{name}-{version}"));
        let kept = root.join("bin").join(name);
        if let Some(found) = machine.program(name) {
            return Ok(found);
        }
        if machine.exists(&kept) {
            return Ok(kept);
        }
        machine.say(&format!(
            "installing {name} {version} (about a minute): {}",
            self.why
        ));
        machine.change(&install(name, version, &[], &root))?;
        Ok(kept)
    }
}

/// Builds a crate's program into the directory `bin` of `root`.
pub(crate) fn install(name: &str, version: &str, options: &[&str], root: &Path) -> Call {
    let mut arguments = vec!["install", name, "--version", version, "--locked"];
    arguments.extend(QUICKLY.iter().flat_map(|setting| ["--config", setting]));
    arguments.extend(options);
    let root = root.to_string_lossy();
    arguments.extend(["--root", &root]);
    Call::new(&workspace::cargo_program(), &arguments)
}

/// Where programs are kept: outside the checkout, so that a fresh clone or a `cargo clean` does
/// not cost another build.
pub(crate) fn cache(machine: &dyn Machine) -> PathBuf {
    machine
        .variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&machine.variable("HOME")?).join(".cache")))
        .filter(|cache| cache.is_absolute())
        .unwrap_or_else(|| workspace::root().join("target"))
        .join("lastack")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::fake::Fake;

    const PROGRAM: Program = Program {
        name: "cargo-some",
        version: "1.2.3",
        why: "the test wants it",
    };

    #[test]
    fn it_is_taken_from_path_or_installed_apart() {
        let there = Fake::user().program("cargo-some");
        assert_eq!(
            PROGRAM.ensure(&there).unwrap(),
            Path::new("/bin/cargo-some")
        );
        assert!(there.changes().is_empty());
        let bare = Fake::user();
        let installed = PROGRAM.ensure(&bare).unwrap();
        let [change] = &bare.changes()[..] else {
            panic!("{:?}", bare.changes())
        };
        let root = installed.ancestors().nth(2).unwrap().to_string_lossy();
        let of_this_version = "install cargo-some --version 1.2.3 --locked ";
        assert!(change.contains(of_this_version), "{change}");
        let end = format!(" --root {root}");
        assert!(change.ends_with(&end), "{change}");
        let kept = Fake::user().file(&installed.to_string_lossy());
        assert_eq!(PROGRAM.ensure(&kept).unwrap(), installed);
        assert!(kept.changes().is_empty());
    }
}
