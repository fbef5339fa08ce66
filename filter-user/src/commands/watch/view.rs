//! The picture of a [`Model`].
//!
//! Colours are the terminal's own: its foreground and background, bold, dim and reversed, and red
//! and green, which are readable on dark and light ones. None of it is told by colour alone.

mod columns;
mod header;
mod lists;
mod rates;

use std::time::Duration;

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Clear, Padding, Paragraph},
};

use serde_json::Value;

use super::model::Model;
use crate::{commands::table::is_coloured, report::Timestamp};

/// The least that is drawn on.
const WIDTH: u16 = 60;
const HEIGHT: u16 = 18;
/// From here on hosts and events stand side by side.
const WIDE: u16 = 150;

/// A part of the screen that can be scrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Interfaces,
    Hosts,
    Events,
}

impl Section {
    /// All of them, from top to bottom.
    pub(super) const ALL: [Self; 3] = [Self::Interfaces, Self::Hosts, Self::Events];

    /// The one that follows.
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Interfaces => Self::Hosts,
            Self::Hosts => Self::Events,
            Self::Events => Self::Interfaces,
        }
    }
}

/// How it is looked at.
pub(super) struct View {
    name: String,
    /// Which section the arrows scroll.
    pub(super) focus: Section,
    /// Whether the keys are explained.
    pub(super) is_helping: bool,
    /// How long the instance has not answered, if that is too long.
    pub(super) silence: Option<Duration>,
    /// The first line of each section that is shown.
    offsets: [usize; Section::ALL.len()],
    palette: Palette,
}

#[derive(Clone, Copy)]
struct Palette {
    good: Style,
    bad: Style,
}

const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

impl Palette {
    const fn new(is_coloured: bool) -> Self {
        if is_coloured {
            Self {
                good: Style::new().fg(Color::Green),
                bad: Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            }
        } else {
            Self {
                good: Style::new(),
                bad: BOLD,
            }
        }
    }
}

impl View {
    /// The view of the instance with a name.
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            focus: Section::Hosts,
            is_helping: false,
            silence: None,
            offsets: [0; Section::ALL.len()],
            palette: Palette::new(is_coloured()),
        }
    }

    /// Moves the lines of the section that has the focus.
    pub(super) fn scroll(&mut self, lines: isize) {
        let offset = &mut self.offsets[self.focus as usize];
        *offset = offset.saturating_add_signed(lines);
    }

    /// Draws all of it.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, model: &Model, is_paused: bool) {
        let area = frame.area();
        if area.width < WIDTH || area.height < HEIGHT {
            return too_small(frame, area);
        }
        let interfaces = model
            .snapshot
            .as_ref()
            .map_or(1, |snapshot| snapshot.status.interfaces.len());
        let why = why(model, area.width);
        let lines = why.as_ref().map_or(0, |(_, lines)| *lines);
        let [header, gone, rates, rest, footer] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(lines),
            Constraint::Length(rates::HEIGHT),
            Constraint::Fill(1),
            Constraint::Length(1),
        ])
        .areas(area);
        let rest_of_lists = rest;
        let most = (rest.height / 3).max(3);
        let wanted = u16::try_from(interfaces.max(1) + 2).unwrap_or(most);
        let [interfaces, rest] =
            Layout::vertical([Constraint::Length(wanted.min(most)), Constraint::Fill(1)])
                .areas(rest);
        let halves = [Constraint::Fill(1), Constraint::Fill(1)];
        let [hosts, events] = if !has_events(model) {
            // A line that says how to get them.
            Layout::vertical([Constraint::Fill(1), Constraint::Length(2)]).areas(rest)
        } else if area.width < WIDE {
            Layout::vertical(halves).areas(rest)
        } else {
            Layout::horizontal(halves).spacing(2).areas(rest)
        };
        self.header(frame, header, model, is_paused);
        // Before the first answer nothing is known, not even that there is nothing.
        if model.snapshot.is_some() {
            self.rates(frame, rates, model);
            self.interfaces(frame, interfaces, model);
            self.hosts(frame, hosts, model);
            self.events(frame, events, model);
        }
        if let Some((why, _)) = why {
            // What it was, not what it is.
            frame
                .buffer_mut()
                .set_style(rates.union(rest_of_lists), DIM);
            frame.render_widget(why, gone);
        }
        footer_line(frame, footer, is_paused);
        if self.is_helping {
            help(frame, area);
        }
    }
}

/// Whether the instance tells of events.
fn has_events(model: &Model) -> bool {
    let snapshot = model.snapshot.as_ref();
    snapshot.is_none_or(|it| it.status.settings.get("events") == Some(&Value::Bool(true)))
}

/// Why there is no instance, where there is none, and how many lines that takes.
fn why(model: &Model, width: u16) -> Option<(Paragraph<'static>, u16)> {
    const MOST: usize = 4;
    let gone = model.gone.as_ref()?;
    let width = usize::from(width.saturating_sub(2));
    let lines = textwrap::wrap(&gone.why, width).into_iter().take(MOST);
    let lines = lines.map(|line| Line::raw(format!(" {line}")));
    let lines: Vec<_> = lines.collect();
    let height = u16::try_from(lines.len()).ok()?;
    Some((Paragraph::new(lines), height))
}

fn too_small(frame: &mut Frame<'_>, area: Rect) {
    let text = format!(
        "The terminal has {} columns and {} lines; this view needs {WIDTH} and {HEIGHT}. q quits.",
        area.width, area.height
    );
    let text = Paragraph::new(text).wrap(ratatui::widgets::Wrap { trim: true });
    frame.render_widget(text, area);
}

fn footer_line(frame: &mut Frame<'_>, area: Rect, is_paused: bool) {
    let keys = [
        ("q", "quit"),
        ("?", "help"),
        ("p", if is_paused { "go on" } else { "pause" }),
        ("Tab", "choose"),
        ("↑↓", "scroll"),
        ("r", "restart rates"),
    ];
    let mut line = Line::default();
    for (key, does) in keys {
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        let key = Span::styled(format!(" {key} "), reversed);
        let does = Span::raw(format!(" {does}"));
        // Those for which there is room whole; the help has all.
        if line.width() + key.width() + does.width() > usize::from(area.width) {
            break;
        }
        line.push_span(key);
        line.push_span(does);
        line.push_span("  ");
    }
    frame.render_widget(line, area);
}

/// What the keys do, and what the words mean.
const HELP: [&str; 17] = [
    "q, Esc, Ctrl-C   quit",
    "p, Space         pause: keep the picture, or go on",
    "Tab, Shift-Tab   choose what the arrows scroll",
    "↑ ↓ k j          scroll by a line, PgUp PgDn by ten,",
    "                 Home End to either end",
    "r                forget the rates so far",
    "Ctrl-L           draw all anew",
    "",
    "closes      connections that both sides have closed",
    "dropped     spurious ACKs that went no further",
    "observed    those that were passed, in monitor mode",
    "resets      that servers sent on such connections;",
    "            suppressed only with --rst-guard",
    "redundant   ACKs of a repeated FIN that an earlier ACK",
    "            had answered: no fault of the client",
    "",
    "any key closes this",
];

fn help(frame: &mut Frame<'_>, area: Rect) {
    let height = u16::try_from(HELP.len() + 2).unwrap_or(u16::MAX);
    let area = area.centered(
        Constraint::Length(58.min(area.width)),
        Constraint::Length(height.min(area.height)),
    );
    let block = Block::bordered()
        .title(Line::styled(" Help ", BOLD))
        .padding(Padding::horizontal(1));
    frame.render_widget(Clear, area);
    let text = Paragraph::new(HELP.map(Line::raw).to_vec());
    frame.render_widget(text.block(block), area);
}

/// A rule with a title, and what belongs to its right end.
fn rule(title: &str, right: String, has_focus: bool) -> Block<'_> {
    let mut style = BOLD.remove_modifier(Modifier::DIM);
    if has_focus {
        style = style.add_modifier(Modifier::REVERSED);
    }
    Block::new()
        .borders(Borders::TOP)
        .border_style(DIM)
        .title(Line::styled(format!(" {title} "), style))
        .title(Line::styled(right, DIM).alignment(Alignment::Right))
}

/// A text in no more than `width` columns, with its end cut off if it must be.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain(['…']).collect()
}

/// The same with its middle left out, for addresses: both what is before it and the port tell.
fn shorten(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let head = text.chars().take(kept / 2);
    let tail = text.chars().skip(length - (kept - kept / 2));
    head.chain(['…']).chain(tail).collect()
}

/// The time of day of an instant, in UTC, in so many columns: up to seconds in 8.
fn clock(instant: Timestamp, columns: usize) -> String {
    // Of RFC 3339: what follows the date.
    let text = instant.to_string();
    text.chars().skip(11).take(columns).collect()
}

#[cfg(test)]
mod tests;
