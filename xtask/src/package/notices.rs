//! The licences of what is linked into the program: they ask that their texts be passed on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::printed;
use crate::workspace;

const HEAD: &str = "\
Libraries that the program lastack contains, their licences, and the texts of these.

Besides them it contains the standard library of Rust (https://www.rust-lang.org), MIT OR Apache-2.0.
In the tarball it also contains the GNU C Library (https://www.gnu.org/software/libc), LGPL-2.1-or-later;
whoever wants another one in it builds lastack from its source, which is free.
";

/// Repeated, it is between two texts.
const RULE: &str = "=";

/// The text that says all of it.
pub(super) fn third_party() -> Result<String> {
    let places = places()?;
    let mut text = HEAD.to_owned();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, licence) in linked()? {
        text.extend(["\n", &name, ": ", &licence]);
        let place = places.get(&name);
        let place = place.with_context(|| format!("cargo does not say where {name} is"))?;
        for licence in licences(place)? {
            texts.entry(licence).or_default().insert(name.clone());
        }
    }
    text += "\n";
    // By whose they are, not by what they say.
    let mut texts: Vec<_> = texts.into_iter().map(|(text, of)| (of, text)).collect();
    texts.sort();
    for (of, licence) in texts {
        let of: Vec<_> = of.into_iter().collect();
        text.extend([
            "\n",
            &RULE.repeat(78),
            "\n",
            &of.join(", "),
            "\n\n",
            &licence,
            "\n",
        ]);
    }
    Ok(text)
}

/// The libraries, "name version", and their licences in SPDX's terms.
fn linked() -> Result<BTreeMap<String, String>> {
    let tree = printed(&mut workspace::cargo([
        "tree",
        "--locked",
        "--package=filter-user",
        "--package=filter-ebpf",
        "--features=filter-ebpf/programs",
        "--edges=normal,no-proc-macro",
        "--target",
        env!("HOST_TARGET"),
        "--prefix=none",
        "--format={p}\t{l}",
    ]))?;
    Ok(parse(&tree))
}

/// Lines of `cargo tree`; members of the workspace are followed by their path.
fn parse(tree: &str) -> BTreeMap<String, String> {
    let libraries = tree.lines().filter_map(|line| {
        let (package, licence) = line.split_once('\t')?;
        let (name, version) = package.split_once(" v")?;
        let is_ours = version.contains('/');
        let version = version.split(' ').next()?;
        let licence = licence.trim_end_matches(" (*)");
        (!is_ours).then(|| (format!("{name} {version}"), licence.to_owned()))
    });
    libraries.collect()
}

/// The directories of all packages.
fn places() -> Result<BTreeMap<String, PathBuf>> {
    let metadata = printed(&mut workspace::cargo([
        "metadata",
        "--format-version=1",
        "--locked",
        "--all-features",
        "--filter-platform",
        env!("HOST_TARGET"),
    ]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let places = packages.filter_map(|package| {
        let text = |key: &str| package[key].as_str();
        let name = format!("{} {}", text("name")?, text("version")?);
        Some((name, Path::new(text("manifest_path")?).parent()?.to_owned()))
    });
    Ok(places.collect())
}

/// The texts in a package's directory.
fn licences(place: &Path) -> Result<BTreeSet<String>> {
    const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

    let mut texts = BTreeSet::new();
    let entries =
        fs::read_dir(place).with_context(|| format!("cannot read {}", place.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if entry.path().is_file() && NAMES.iter().any(|start| name.starts_with(start)) {
            let text = fs::read(entry.path())?;
            texts.insert(String::from_utf8_lossy(&text).trim().to_owned());
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_from_members_and_each_is_there_once() {
        let tree = "filter-user v0.1.0 (/some/where)\tMIT OR Apache-2.0\n\
                    aya v0.14.0\tMIT OR Apache-2.0\n\
                    log v0.4.35\tMIT\n\
                    aya v0.14.0\tMIT OR Apache-2.0 (*)\n\
                    \n\
                    filter-ebpf v0.1.0 (/some/where)\tMIT\n";
        let libraries: Vec<_> = parse(tree).into_iter().collect();
        assert_eq!(
            libraries,
            [
                ("aya 0.14.0".to_owned(), "MIT OR Apache-2.0".to_owned()),
                ("log 0.4.35".to_owned(), "MIT".to_owned()),
            ]
        );
    }
}
