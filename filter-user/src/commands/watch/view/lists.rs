//! Interfaces, clients with the fault, and the last events.

use super::{
    super::model::Model, DIM, Section, View, columns::EventColumns, fit, has_events, rule, shorten,
};
use crate::{
    commands::{figures::Figures, table::span},
    report::{Host, InterfaceStatus},
};
use ratatui::{
    Frame,
    layout::{Constraint, Rect},
    text::{Line, Text},
    widgets::{Cell, Paragraph, Row, Table},
};

/// Of a column of numbers.
const NUMBER: Constraint = Constraint::Length(9);

impl View {
    pub(super) fn interfaces(&mut self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let snapshot = model.snapshot.as_ref();
        let interfaces = snapshot.map_or(&[][..], |snapshot| &snapshot.status.interfaces);
        let name = interfaces.iter().map(|it| it.iface.chars().count()).max();
        let name = name.unwrap_or(0).clamp(10, 24);
        let width = usize::from(area.width).saturating_sub(name + 3 + 4 * 10);
        let (good, bad) = (self.palette.good, self.palette.bad);
        let row = |interface: &InterfaceStatus| {
            let figures = Figures::of(interface);
            let mut resets = number(figures.resets());
            if figures.resets_after_spurious > 0 {
                resets = resets.style(bad);
            }
            let (hooks, style) = hooks(interface);
            let style = if style { good } else { bad };
            Row::new([
                Cell::from(format!(" {}", fit(&interface.iface, name))),
                number(figures.closes),
                number(figures.dropped),
                number(figures.observed),
                resets,
                Cell::from(format!(" {}", fit(&hooks, width))).style(style),
            ])
        };
        let rows = interfaces.iter().map(row).collect();
        let head = ["closes", "dropped", "observed", "resets"];
        let head = [Cell::from(" name")]
            .into_iter()
            .chain(head.map(|title| Cell::from(Text::raw(title).right_aligned())))
            .chain([Cell::from(" served by")]);
        let widths = [
            Constraint::Length(u16::try_from(name + 1).unwrap_or(u16::MAX)),
            NUMBER,
            NUMBER,
            NUMBER,
            NUMBER,
            Constraint::Fill(1),
        ];
        let list = List {
            section: Section::Interfaces,
            title: "Interfaces",
            note: String::new(),
            head: Row::new(head),
            widths: widths.to_vec(),
            rows,
            empty: "none",
        };
        self.list(frame, area, list);
    }

    pub(super) fn hosts(&mut self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let snapshot = model.snapshot.as_ref();
        // The longest address needs 40.
        let client = area.width.saturating_sub(3 * 10 + 13).min(40);
        let rows = snapshot.iter().flat_map(|snapshot| {
            let hosts = snapshot.hosts.hosts.iter();
            hosts.map(|host| host_row(host, snapshot.time.0, client.into()))
        });
        let rows: Vec<_> = rows.collect();
        let total = snapshot.map_or(0, |snapshot| snapshot.hosts.total);
        let more = total.saturating_sub(rows.len() as u64);
        let head = ["spurious", "redundant", "resets", "last seen"];
        let head = [Cell::from(" client")]
            .into_iter()
            .chain(head.map(|title| Cell::from(Text::raw(title).right_aligned())));
        let list = List {
            section: Section::Hosts,
            title: "Clients with the fault",
            note: if more == 0 {
                String::new()
            } else {
                format!(" {more} more: lastack hosts")
            },
            head: Row::new(head),
            widths: vec![
                Constraint::Length(client),
                NUMBER,
                NUMBER,
                NUMBER,
                Constraint::Length(12),
            ],
            rows,
            empty: "none has sent a spurious ACK",
        };
        self.list(frame, area, list);
    }

    pub(super) fn events(&mut self, frame: &mut Frame<'_>, area: Rect, model: &Model) {
        let columns = EventColumns::of(model, area.width.into());
        let list = List {
            section: Section::Events,
            title: "Last events",
            note: match model.events_skipped {
                0 => String::new(),
                skipped => format!(" {skipped} left out"),
            },
            head: columns.row([" time", "client", "server", "iface", "what"].map(str::to_owned)),
            widths: columns.constraints(),
            rows: model.events.iter().map(|it| columns.event(it)).collect(),
            empty: if has_events(model) {
                "none since this view was opened"
            } else {
                "off: start the instance with --events to see each drop and each reset here"
            },
        };
        self.list(frame, area, list);
    }

    /// Draws the lines of a list that fit from its offset on, which is kept in bounds.
    fn list(&mut self, frame: &mut Frame<'_>, area: Rect, list: List<'_>) {
        let visible = usize::from(area.height.saturating_sub(2));
        let all = list.rows.len();
        let offset = &mut self.offsets[list.section as usize];
        *offset = (*offset).min(all.saturating_sub(visible));
        let (offset, end) = (*offset, (*offset + visible).min(all));
        let position = if end - offset < all {
            format!(" {}-{end} of {all}", offset + 1)
        } else {
            String::new()
        };
        let block = rule(
            list.title,
            format!("{position}{}", list.note),
            self.focus == list.section,
        );
        if all == 0 {
            let empty = Paragraph::new(Line::styled(format!(" {}", list.empty), DIM));
            return frame.render_widget(empty.block(block), area);
        }
        let rows = list.rows.into_iter().skip(offset).take(visible);
        let table = Table::new(rows, list.widths)
            .header(list.head.style(DIM))
            .column_spacing(1)
            .block(block);
        frame.render_widget(table, area);
    }
}

struct List<'a> {
    section: Section,
    title: &'static str,
    /// At the right end of the rule.
    note: String,
    head: Row<'a>,
    widths: Vec<Constraint>,
    rows: Vec<Row<'a>>,
    /// What is said where there are no rows.
    empty: &'static str,
}

fn number<'a>(number: u64) -> Cell<'a> {
    Cell::from(Text::raw(number.to_string()).right_aligned())
}

/// The hooks that serve it, or why it is not served; and whether it is.
fn hooks(interface: &InterfaceStatus) -> (String, bool) {
    if interface.hooks.is_empty() {
        let why = interface.trouble.as_deref().unwrap_or("not there");
        return (format!("not served: {why}"), false);
    }
    let hooks: Vec<_> = interface.hooks.iter().map(|it| it.hook.as_str()).collect();
    (hooks.join(", "), true)
}

fn host_row<'a>(host: &Host, now: std::time::SystemTime, width: usize) -> Row<'a> {
    let ago = now.duration_since(host.last_seen.0).unwrap_or_default();
    Row::new([
        Cell::from(format!(
            " {}",
            shorten(&host.client.to_string(), width.saturating_sub(1))
        )),
        number(host.spurious_acks),
        number(host.redundant_acks),
        number(host.resets),
        Cell::from(Text::raw(format!("{} ago", span(ago))).right_aligned()),
    ])
}
