//! What the measurements' reports share: tables, and the Markdown files that keep them.

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result};
use comfy_table::{CellAlignment, Table, TableStyle};

use crate::statistics::Summary;

/// The first columns are words, the others figures.
pub(crate) fn table(style: TableStyle, header: Vec<&str>, words: usize) -> Table {
    let mut table = Table::new();
    table.load_style(style);
    if env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        table.force_no_tty();
    }
    table.set_header(header);
    for column in table.column_iter_mut().skip(words) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Median and quartiles.
pub(crate) fn spread(summary: &Summary) -> String {
    format!(
        "{:.1} [{:.1} {:.1}]",
        summary.median, summary.lower_quartile, summary.upper_quartile
    )
}

pub(crate) const fn yes_or_no(met: bool) -> &'static str {
    if met { "yes" } else { "no" }
}

/// Puts text into a file, between the lines `<!-- NAME -->` and `<!-- end of NAME -->`.
pub(crate) fn put_into(file: &Path, name: &str, text: &str) -> Result<()> {
    let there =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let replaced = replaced(&there, name, text)
        .with_context(|| format!("{} has no marks for the {name}", file.display()))?;
    fs::write(file, replaced).with_context(|| format!("cannot write {}", file.display()))
}

fn replaced(there: &str, name: &str, text: &str) -> Option<String> {
    let begin = format!("<!-- {name} -->\n");
    let end = format!("<!-- end of {name} -->\n");
    let (head, rest) = there.split_once(&begin)?;
    let (_, tail) = rest.split_once(&end)?;
    Some(format!("{head}{begin}\n{text}\n{end}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_between_the_marks_of_its_name() {
        let there = "<!-- a -->\n<!-- end of a -->\n<!-- b -->\nold\n<!-- end of b -->\n";
        assert_eq!(
            replaced(there, "b", "new").as_deref(),
            Some("<!-- a -->\n<!-- end of a -->\n<!-- b -->\n\nnew\n<!-- end of b -->\n")
        );
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let there = "head\n<!-- figures -->\nold\n<!-- end of figures -->\ntail\n";
        let now = replaced(there, "figures", "new\n").unwrap();
        assert_eq!(
            now,
            "head\n<!-- figures -->\n\nnew\n\n<!-- end of figures -->\ntail\n"
        );
        assert_eq!(replaced(&now, "figures", "new\n").unwrap(), now);
        assert_eq!(replaced("no marks", "figures", "new"), None);
    }
}
