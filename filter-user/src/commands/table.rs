//! Tables for people, and how quantities are written in them.

use std::{env, time::Duration};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// A table without lines; numbers, which are the columns named in `numbers`, to the right. Not
/// wrapped: who looks for an address finds it whole.
pub(super) fn table<const N: usize>(head: [&str; N], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    if !is_coloured() {
        table.force_no_tty();
    }
    table.set_header(head.map(Cell::new));
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if numbers.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Unless whoever looks at it wants none; a terminal is needed besides.
pub(super) fn is_coloured() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A time as people say it, in at most two units: `812ms`, `3s`, `4m 10s`, `2h 5m`, `3d 4h`.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if seconds == 0 => format!("{}ms", span.subsec_millis()),
        () if minutes == 0 => format!("{seconds}s"),
        () if hours == 0 => format!("{minutes}m {}s", seconds % 60),
        () if days == 0 => format!("{hours}h {}m", minutes % 60),
        () => format!("{days}d {}h", hours % 24),
    }
}

/// The same of seconds; those that are none, or too many, are none.
pub(super) fn seconds(seconds: f64) -> String {
    span(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// A short time, as precise as it is of use.
pub(super) fn delay(seconds: f64) -> String {
    let milliseconds = seconds * 1e3;
    match () {
        () if milliseconds < 10.0 => format!("{milliseconds:.2}ms"),
        () if milliseconds < 999.5 => format!("{milliseconds:.0}ms"),
        () if seconds < 60.0 => format!("{seconds:.1}s"),
        () => self::seconds(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_at_most_two_units() {
        for (milliseconds, text) in [
            (0, "0ms"),
            (812, "812ms"),
            (3_999, "3s"),
            (250_000, "4m 10s"),
            (7_500_000, "2h 5m"),
            (273_600_000, "3d 4h"),
        ] {
            assert_eq!(span(Duration::from_millis(milliseconds)), text);
        }
        assert_eq!(seconds(-1.0), "0ms");
        assert_eq!(seconds(f64::NAN), "0ms");
    }

    #[test]
    fn delays_have_three_digits_or_so() {
        for (seconds, text) in [
            (0.000_05, "0.05ms"),
            (0.2, "200ms"),
            (0.9996, "1.0s"),
            (12.34, "12.3s"),
            (250.0, "4m 10s"),
        ] {
            assert_eq!(delay(seconds), text);
        }
    }

    #[test]
    fn numbers_stand_to_the_right() {
        let mut table = table(["name", "n"], &[1]);
        table.add_row(["a", "5"]).add_row(["long", "1234"]);
        assert_eq!(table.trim_fmt(), "name     n\na        5\nlong  1234");
    }
}
