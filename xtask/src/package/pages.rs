//! Pages of the checkout, whose links lead to where things are in a package.

use std::{
    ffi::OsStr,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Where what is packaged is in a tree.
pub(super) struct Places<'a> {
    pub(super) top: &'a Path,
    /// Files, and directories with all that is in them: as a checkout calls them, and as the tree does.
    pub(super) places: Vec<(PathBuf, PathBuf)>,
}

impl Places<'_> {
    /// The text of a page of the checkout that is packaged at `to`. A link to what is not packaged becomes its text.
    pub(super) fn page(&self, text: &str, from: &Path, to: &Path) -> Result<String> {
        let mut pieces = text.split("](");
        let mut page = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (link, rest) = piece.split_once(')').context("a link without an end")?;
            if link.starts_with('#') || link.contains("://") {
                page.push_str("](");
                page.push_str(piece);
                continue;
            }
            let (file, anchor) = link.split_at(link.find('#').unwrap_or(link.len()));
            let target = normal(&from.with_file_name(file));
            if let Some(place) = self.of(&target) {
                let place = relative(to, &place).display().to_string();
                page.extend(["](", &place, anchor, ")"]);
            } else {
                let start = page.rfind('[').context("a link without a start")?;
                page.remove(start);
            }
            page.push_str(rest);
        }
        Ok(page)
    }

    /// Where a file or directory of the checkout is packaged.
    fn of(&self, target: &Path) -> Option<PathBuf> {
        self.places.iter().find_map(|(from, to)| {
            let rest = target.strip_prefix(from).ok()?;
            // Joined to nothing it would end in a slash.
            let place: PathBuf = to.iter().chain(rest).collect();
            self.top.join(&place).exists().then_some(place)
        })
    }
}

/// Without `..` in it.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            normal.pop();
        } else {
            normal.push(component);
        }
    }
    normal
}

/// The way from one file to another.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let from = from.parent().unwrap_or(from);
    let common = from.iter().zip(to).take_while(|(one, other)| one == other);
    let common = common.count();
    let up = from.iter().skip(common).map(|_| OsStr::new(".."));
    up.chain(to.iter().skip(common)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Places;

    #[test]
    fn a_link_leads_to_where_its_target_is_packaged_and_what_is_not_is_text() {
        let places = Places {
            top: Path::new(env!("CARGO_MANIFEST_DIR")),
            places: [
                ("docs", "src/package"),
                ("systemd/a@.service", "Cargo.toml"),
            ]
            .map(|(from, to)| (from.into(), to.into()))
            .into(),
        };
        let page =
            "[a](../systemd/a@.service), [b](../no.rs), [`c`](pages.rs#d) [e](#f) [g](https://h/i)";
        let page = places.page(page, Path::new("docs/x.md"), Path::new("src/package/x.md"));
        assert_eq!(
            page.unwrap(),
            "[a](../../Cargo.toml), b, [`c`](pages.rs#d) [e](#f) [g](https://h/i)"
        );
    }
}
