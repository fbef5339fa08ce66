//! The files of a package, where they will be.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use super::{Source, create, notices, pages::Places, printed};
use crate::{process::quietly, workspace};

/// Who makes it: nobody in person, and mail reaches nobody.
const MAINTAINER: &str = "lastack developers <developers@lastack.invalid>";

/// Shells, and where they look for the completions of a program that was packaged.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/lastack"),
    ("zsh", "usr/share/zsh/vendor-completions/_lastack"),
    ("fish", "usr/share/fish/vendor_completions.d/lastack.fish"),
];

/// Files of the checkout that are packaged as they are.
const COPIED: [(&str, &str); 2] = [
    (
        "systemd/lastack@.service",
        "usr/lib/systemd/system/lastack@.service",
    ),
    (
        "packaging/prometheus.yml",
        "usr/share/lastack/prometheus/prometheus.yml",
    ),
];

/// What `lastack@wan` begins with, of which the administrator has a copy in /etc/lastack.
const CONFIGURATION: &str = "usr/share/lastack/wan.toml";

/// What the unit says by flags: `check` and `run` with the file alone are then about the same instance.
const AS_THE_UNIT: [(&str, &str); 2] = [
    ("\n#pin = false\n", "\npin = true\n"),
    ("\n#instance = \"default\"\n", "\ninstance = \"wan\"\n"),
];

/// Rules, dashboard, manifests and recipe, each in a directory of its own.
const FLEET: (&str, &str) = ("fleet", "usr/share/lastack");

const DOCUMENTS: &str = "usr/share/doc/lastack";
/// Pages beside those of docs/, with the same way to these.
const PAGES: [&str; 4] = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
];

/// Makes the tree anew at `top`.
pub(super) fn make(top: &Path, built: &Path, source: &Source) -> Result<()> {
    if top.exists() {
        fs::remove_dir_all(top).with_context(|| format!("cannot remove {}", top.display()))?;
    }
    let program = top.join("usr/bin/lastack");
    copy(built, &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    // Symbols are for whoever has the sources, and builds it with them.
    quietly(Command::new("strip").arg(&program), "strip")?;
    let root = workspace::root();
    for (from, to) in COPIED {
        copy(&root.join(from), &top.join(to))?;
    }
    let configuration = configuration()?;
    put(&top.join(CONFIGURATION), configuration.as_bytes(), 0o644)?;
    copy_all(&root.join(FLEET.0), &top.join(FLEET.1))?;
    let pages = top.join("usr/share/man/man1");
    create(&pages)?;
    printed(Command::new(&program).args(["man", "--dir"]).arg(&pages))?;
    for page in files(&pages, "1")? {
        compress(&pages.join(page))?;
    }
    for (shell, to) in COMPLETIONS {
        let script = printed(Command::new(&program).args(["completions", shell]))?;
        put(&top.join(to), script.as_bytes(), 0o644)?;
    }
    for (name, text) in [
        ("changelog", fs::read_to_string(root.join("CHANGELOG.md"))?),
        ("changelog.Debian", debian_changelog(source)?),
        ("third-party.txt", notices::third_party()?),
    ] {
        let path = top.join(DOCUMENTS).join(name);
        put(&path, text.as_bytes(), 0o644)?;
        compress(&path)?;
    }
    documents(top)
}

/// Documents, once there is all that they lead to.
fn documents(top: &Path) -> Result<()> {
    let root = workspace::root();
    let documents = top.join(DOCUMENTS);
    let of = |extension| -> Result<Vec<_>> {
        let names = files(&root.join("docs"), extension)?;
        Ok(names.iter().map(|name| format!("docs/{name}")).collect())
    };
    let pages = [PAGES.map(str::to_owned).into(), of("md")?].concat();
    for path in pages.iter().chain(&of("svg")?).chain(&of("txt")?) {
        copy(&root.join(path), &documents.join(path))?;
    }
    for path in pages {
        page(top, &path, &format!("{DOCUMENTS}/{path}"))?;
    }
    Ok(())
}

/// Writes a page of the checkout.
fn page(top: &Path, from: &str, to: &str) -> Result<()> {
    let text = fs::read_to_string(workspace::root().join(from));
    let text = text.with_context(|| format!("cannot read {from}"))?;
    let mut places: Vec<_> = COPIED.map(|(from, to)| (from.into(), to.into())).into();
    for (from, to) in [FLEET, ("filter-user/lastack.toml", CONFIGURATION)] {
        places.push((from.into(), to.into()));
    }
    for path in PAGES.into_iter().chain(["docs"]) {
        places.push((path.into(), Path::new(DOCUMENTS).join(path)));
    }
    let text = Places { top, places }.page(&text, from.as_ref(), to.as_ref());
    let text = text.with_context(|| format!("cannot package {from}"))?;
    put(&top.join(to), text.as_bytes(), 0o644)
}

/// What only the Debian package has.
pub(super) fn add_what_debian_reads(top: &Path) -> Result<()> {
    copy(
        &workspace::root().join("packaging/debian/lintian-overrides"),
        &top.join("usr/share/lintian/overrides/lastack"),
    )
}

/// What only the tarball has: no package manager knows it.
pub(super) fn add_what_unpacks_alone(top: &Path) -> Result<()> {
    let root = workspace::root();
    for (from, to) in [
        ("packaging/INSTALL", "INSTALL"),
        ("LICENSE-APACHE", "LICENSE-APACHE"),
        ("LICENSE-MIT", "LICENSE-MIT"),
    ] {
        copy(&root.join(from), &top.join(to))?;
    }
    let configuration = configuration()?;
    put(
        &top.join("etc/lastack/wan.toml"),
        configuration.as_bytes(),
        0o644,
    )?;
    page(top, "README.md", "README.md")
}

/// The example of a configuration, for `lastack@wan`.
fn configuration() -> Result<String> {
    let path = workspace::root().join("filter-user/lastack.toml");
    let text = fs::read_to_string(&path);
    let mut text = text.with_context(|| format!("cannot read {}", path.display()))?;
    for (default, unit) in AS_THE_UNIT {
        if !text.contains(default) {
            bail!("{} has no line {}", path.display(), default.trim());
        }
        text = text.replacen(default, unit, 1);
    }
    Ok(text)
}

/// What Debian wants of each revision.
fn debian_changelog(source: &Source) -> Result<String> {
    let Source {
        version,
        revision,
        changed,
    } = source;
    let mut date = Command::new("date");
    date.args(["--utc", "--rfc-email", "--date"]);
    let date = printed(date.arg(format!("@{changed}")).env("LC_ALL", "C"))?;
    Ok(format!(
        "lastack ({version}-{revision}) stable; urgency=medium\n\n  \
         * What changed in lastack is in changelog.gz.\n\n \
         -- {MAINTAINER}  {}\n",
        date.trim()
    ))
}

/// The names of a directory's files with this extension, in order; none if there is no directory.
fn files(directory: &Path, extension: &str) -> Result<Vec<String>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if Path::new(&name)
            .extension()
            .is_some_and(|it| it == extension)
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    put(to, &content, 0o644)
}

/// Copies a directory with all that is in it.
fn copy_all(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        let copy_of = if path.is_dir() { copy_all } else { copy };
        copy_of(&path, &to.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

/// Writes a file whose permissions are nobody's umask.
fn put(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    if let Some(parent) = path.parent() {
        create(parent)?;
    }
    fs::write(path, content)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Puts a compressed file in the place of a file, without its name and time in it.
fn compress(path: &Path) -> Result<()> {
    let mut gzip = Command::new("gzip");
    quietly(
        gzip.args(["--best", "--no-name", "--force"]).arg(path),
        "gzip",
    )
}
