//! What the measurements' reports share: tables, and the Markdown files that keep them.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, TableStyle, presets};
use serde::Serialize;

use crate::statistics::Summary;

/// Where a report goes.
#[derive(Debug, Args)]
pub(crate) struct Shown {
    /// How the figures are shown
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,

    /// Puts the tables into this Markdown file, between its marks
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Tables
    Text,
    /// One JSON object
    Json,
}

/// What was measured, in tables.
pub(crate) trait Report: Serialize {
    /// The name of its marks in a Markdown file.
    const MARKS: &'static str;

    /// When, where and how it was measured.
    fn sentence(&self) -> String;

    /// Its tables.
    fn sections(&self, style: TableStyle) -> Vec<Section>;
}

/// A table with its heading, if it has one, and what has to be said of it.
pub(crate) struct Section {
    pub(crate) title: Option<&'static str>,
    pub(crate) note: &'static str,
    pub(crate) table: Table,
}

impl Shown {
    /// Shows a report as it was asked for.
    pub(crate) fn show(&self, report: &impl Report) -> Result<()> {
        if let Some(file) = &self.markdown {
            put_into(file, report)?;
        }
        let mut output = io::stdout().lock();
        match self.output {
            Output::Text => {
                write!(
                    output,
                    "{}",
                    text(report, presets::UTF8_HORIZONTAL_ONLY, "")
                )?;
            }
            Output::Json => {
                serde_json::to_writer_pretty(&mut output, report)?;
                writeln!(output)?;
            }
        }
        Ok(())
    }
}

/// Paragraphs, each behind a blank line but the first; `heading` is what headings begin with.
fn text<R: Report>(report: &R, style: TableStyle, heading: &str) -> String {
    let mut paragraphs = vec![report.sentence()];
    for Section { title, note, table } in report.sections(style) {
        paragraphs.extend(title.map(|title| format!("{heading}{title}")));
        paragraphs.push(note.to_owned());
        paragraphs.push(table.to_string());
    }
    paragraphs.join("\n\n") + "\n"
}

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

/// Puts a report into a file, between the lines `<!-- NAME -->` and `<!-- end of NAME -->`.
fn put_into<R: Report>(file: &Path, report: &R) -> Result<()> {
    let name = R::MARKS;
    let text = text(report, presets::ASCII_MARKDOWN, "### ");
    let there =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let replaced = replaced(&there, name, &text)
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
