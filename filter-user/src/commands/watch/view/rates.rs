//! How much is counted in a second, now and before.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::{RenderDirection, Sparkline},
};

use super::{
    super::model::{Model, Rates},
    DIM, View, rule,
};
use crate::commands::figures::Figures;

/// With the rule above.
pub(super) const HEIGHT: u16 = 6;
const _: () = assert!(HEIGHT as usize == 1 + ROWS.len());

/// One of them: its name, its rate, its count, and whether it is bad if there is any.
type Row = (&'static str, fn(&Rates) -> f64, fn(&Figures) -> u64, bool);

const ROWS: [Row; 5] = [
    ("closes", |rates| rates.closes, |all| all.closes, false),
    (
        "ACKs dropped",
        |rates| rates.dropped,
        |all| all.dropped,
        false,
    ),
    (
        "ACKs observed",
        |rates| rates.observed,
        |all| all.observed,
        false,
    ),
    ("resets passed", |rates| rates.resets, Figures::resets, true),
    (
        "resets suppressed",
        |rates| rates.suppressed,
        |all| all.suppressed,
        false,
    ),
];

const NAME: u16 = 18;
const RATE: u16 = 11;
const TOTAL: u16 = 14;

impl View {
    pub(super) fn rates(&self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let block = rule("Rates", " now, before, total ".to_owned(), false);
        let inner = block.inner(area);
        frame.render_widget(block, area);
        let figures = model
            .snapshot
            .as_ref()
            .map(|snapshot| Figures::sum(&snapshot.status))
            .unwrap_or_default();
        let lines: [Rect; ROWS.len()] =
            Layout::vertical([Constraint::Length(1); ROWS.len()]).areas(inner);
        for (line, (name, rate, total, is_bad)) in lines.into_iter().zip(ROWS) {
            let [left, spark, right] = Layout::horizontal([
                Constraint::Length(1 + NAME + RATE),
                Constraint::Fill(1),
                Constraint::Length(TOTAL),
            ])
            .spacing(1)
            .areas(line);
            let now = model.rates.back().map(rate);
            let style = match now {
                Some(now) if is_bad && now > 0.0 => self.palette.bad,
                _ => Style::new(),
            };
            let text = now.map_or_else(|| "-".to_owned(), per_second);
            let (name_width, rate_width) = (usize::from(NAME), usize::from(RATE));
            frame.render_widget(
                Line::from_iter([
                    Span::raw(format!(" {name:name_width$}")),
                    Span::styled(format!("{text:>rate_width$}"), style),
                ]),
                left,
            );
            // The latest to the right, as one reads.
            let bars = model.rates.iter().rev().map(|rates| height(rate(rates)));
            let sparkline = Sparkline::default()
                .direction(RenderDirection::RightToLeft)
                .data(bars.take(spark.width.into()))
                .style(style);
            frame.render_widget(sparkline, spark);
            let total = Line::styled(total(&figures).to_string(), DIM);
            frame.render_widget(total.right_aligned(), right);
        }
    }
}

fn per_second(rate: f64) -> String {
    if rate >= 1000.0 {
        format!("{rate:.0}/s")
    } else {
        format!("{rate:.1}/s")
    }
}

/// In thousandths, as bars are drawn from whole numbers.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "no rate is below 0, or near 2^53"
)]
fn height(rate: f64) -> u64 {
    (rate * 1000.0) as u64
}
