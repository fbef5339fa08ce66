//! The packages, made of the program that these tests are built with.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::OnceLock,
};

/// A directory with the Debian package of this revision, and the tarball.
pub(crate) fn revision(number: usize) -> &'static Path {
    static MADE: OnceLock<[PathBuf; 2]> = OnceLock::new();
    let made = MADE.get_or_init(|| [make("1"), make("2")]);
    &made[number - 1]
}

fn make(revision: &str) -> PathBuf {
    let directory = own(&format!("revision-{revision}"));
    package(revision, &directory);
    directory
}

/// A directory of this run alone. Those of runs that have ended are removed.
fn own(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for entry in fs::read_dir(place).unwrap() {
        let there = entry.unwrap().path();
        let end = there.to_str().and_then(|path| path.rsplit_once("-of-"));
        if let Some((_, process)) = end
            && !Path::new("/proc").join(process).exists()
        {
            fs::remove_dir_all(&there).ok();
        }
    }
    place.join(format!("{name}-of-{}", process::id()))
}

/// Makes both packages in a directory, and nothing else is in it afterwards.
pub(crate) fn package(revision: &str, directory: &Path) {
    if directory.exists() {
        fs::remove_dir_all(directory).unwrap();
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["xtask", "package", "--revision", revision, "--binary"])
        .arg(env!("CARGO_BIN_EXE_lastack"))
        .arg("--dir")
        .arg(directory)
        // The checkout may be somebody else's, of whom git says nothing to root.
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
    // What cargo says of this test is not so of the other program.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_") && name != "CARGO_HOME" {
            cargo.env_remove(name);
        }
    }
    let output = cargo.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn packages_that_are_made_twice_have_the_same_bytes() {
    let directory = own("again");
    package("1", &directory);
    let [once, again] = [revision(1), &directory].map(files);
    assert_eq!(once.len(), 2, "{once:?}");
    for (once, again) in once.iter().zip(&again) {
        assert_eq!(once.file_name(), again.file_name());
        assert!(
            fs::read(once).unwrap() == fs::read(again).unwrap(),
            "{once:?}"
        );
    }
}

/// All files below a directory.
fn walk(directory: &Path) -> Vec<PathBuf> {
    let below = |path: PathBuf| {
        if path.is_dir() {
            walk(&path)
        } else {
            vec![path]
        }
    };
    files(directory).into_iter().flat_map(below).collect()
}

#[test]
fn what_documents_and_rules_lead_to_is_in_the_packages() {
    for package in files(revision(1)) {
        let is_deb = package.extension().unwrap() == "deb";
        let kind = package.extension().unwrap().to_string_lossy();
        let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tree-{kind}"));
        fs::remove_dir_all(&tree).ok();
        fs::create_dir_all(&tree).unwrap();
        let mut unpack = Command::new(if is_deb { "dpkg-deb" } else { "tar" });
        if is_deb {
            unpack.arg("--extract").args([&package, &tree]);
        } else {
            unpack.arg("--strip-components=1").arg("--directory");
            unpack
                .arg(&tree)
                .arg("--extract")
                .arg("--file")
                .arg(&package);
        }
        assert!(unpack.status().unwrap().success(), "{unpack:?}");

        let pages = walk(&tree).into_iter();
        let pages: Vec<_> = pages
            .filter(|path| path.extension().is_some_and(|it| it == "md"))
            .collect();
        assert!(pages.len() > 10, "{pages:?}");
        let mut seen = 0;
        for page in pages {
            let text = fs::read_to_string(&page).unwrap();
            let links = text.split("](").skip(1);
            for link in links.filter_map(|rest| rest.split(')').next()) {
                let file = link.split('#').next().unwrap();
                if link.contains("://") || file.is_empty() {
                    continue;
                }
                let target = page.with_file_name(file);
                let found = target.canonicalize();
                let found = found.unwrap_or_else(|_| panic!("{}: {link}", page.display()));
                assert!(found.starts_with(&tree), "{}: {link}", page.display());
                seen += 1;
            }
        }
        assert!(seen > 60, "{seen} links");

        let rules = tree.join("usr/share/lastack/prometheus/lastack.rules.yaml");
        let rules = fs::read_to_string(rules).unwrap();
        let runbooks = rules.split("runbook: /").skip(1);
        for runbook in runbooks.map(|rest| rest.split('#').next().unwrap()) {
            assert!(tree.join(runbook).exists(), "{runbook}");
        }
        fs::remove_dir_all(&tree).unwrap();
    }
}

#[test]
fn lintian_finds_neither_errors_nor_warnings() {
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on", "error,warning", "--allow-root", "--no-cfg"]);
    let deb = files(revision(1))
        .into_iter()
        .find(|file| file.extension().unwrap() == "deb");
    let output = lintian.arg(deb.unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
