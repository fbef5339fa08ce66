//! How quantities and paragraphs are written.

use std::time::SystemTime;

use analysis::capture::Time;
use indicatif::HumanCount;
use textwrap::{Options, WordSeparator, WordSplitter};

/// Of the text, in columns.
pub(super) const WIDTH: usize = 80;

/// So many of it: "1 reset", "1,234 resets".
pub(in super::super) fn count(number: u64, one: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {one}{ending}", HumanCount(number))
}

/// A paragraph; options and addresses stay whole. Lines behind the first are indented by `hang`.
pub(super) fn paragraph(text: &str, hang: &str) -> String {
    let options = Options::new(WIDTH)
        .subsequent_indent(hang)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .break_words(false);
    textwrap::fill(text, options)
}

/// A date and a time of day, UTC: `2026-11-27 15:00:00.123`.
pub(super) fn date(time: Time) -> String {
    let text = humantime::format_rfc3339_millis(SystemTime::from(time)).to_string();
    text.replace('T', " ").trim_end_matches('Z').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_does_not_break_options() {
        let text = format!("{} --half-closed-timeout", "word ".repeat(14).trim_end());
        let text = paragraph(&text, "  ");
        assert_eq!(text.lines().nth(1), Some("  --half-closed-timeout"));
    }

    #[test]
    fn a_date_is_as_people_write_it() {
        assert_eq!(date(Time(1_500_000_000)), "1970-01-01 00:00:01.500");
    }
}
