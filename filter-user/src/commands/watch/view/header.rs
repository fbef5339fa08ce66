//! Which instance it is, and how full its table.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Modifier,
    text::{Line, Span},
    widgets::LineGauge,
};
use serde_json::Value;

use super::{super::model::Model, BOLD, DIM, View, clock};
use crate::{commands::table::span, report::Status};

impl View {
    pub(super) fn header(&self, frame: &mut Frame<'_>, area: Rect, model: &Model, is_paused: bool) {
        let [first, second] =
            Layout::vertical([Constraint::Length(1), Constraint::Length(1)]).areas(area);
        let title = Span::styled(format!(" lastack {} ", self.name), BOLD);
        let reversed =
            |text: String| Span::styled(text, self.palette.bad.add_modifier(Modifier::REVERSED));
        let mut line = vec![title];
        if let Some(gone) = &model.gone {
            // Like all times of day here.
            let since = clock(gone.since, 8);
            line.push(reversed(format!(" gone since {since} UTC ")));
            line.push(Span::raw(" looking for it again"));
        }
        let Some(snapshot) = &model.snapshot else {
            if model.gone.is_none() {
                line.push(Span::raw(" waiting for its first answer"));
            }
            return frame.render_widget(Line::from(line), first);
        };
        let status = &snapshot.status;
        if model.gone.is_none() {
            if let Some(silence) = self.silence {
                line.push(reversed(format!(" no answer for {} ", span(silence))));
                line.push(Span::raw(" "));
            }
            if is_paused {
                line.push(reversed(" PAUSED ".to_owned()));
                line.push(Span::raw(" "));
            }
            line.push(Span::raw(does(status)));
            let age = span(status.age(snapshot.time.0));
            line.push(Span::styled(
                match status.pid {
                    Some(pid) => format!("  up {age}, process {pid}"),
                    None => format!("  pinned for {age}, no process"),
                },
                DIM,
            ));
        }
        frame.render_widget(Line::from(line), first);
        gauge(frame, second, status);
    }
}

/// How it is set, in the order of what changes most.
fn does(status: &Status) -> String {
    let option = |name: &str| status.settings.get(name).and_then(Value::as_str);
    let mut said = format!(
        "{}, {}",
        option("mode").unwrap_or_default(),
        option("role").unwrap_or_default()
    );
    if status.settings.get("rst-guard") == Some(&Value::Bool(true)) {
        said += ", rst-guard";
    }
    let is_scoped = |name: &str| {
        let list = status.settings.get(name).and_then(Value::as_array);
        list.is_some_and(|list| !list.is_empty())
    };
    if is_scoped("client") || is_scoped("port") {
        said += ", scoped";
    }
    said
}

#[expect(clippy::cast_precision_loss, reason = "a share, drawn in some columns")]
fn gauge(frame: &mut Frame<'_>, area: Rect, status: &Status) {
    let capacity = status.flows_capacity;
    let (label, share) = match status.flows {
        Some(flows) => (
            format!(" flows {flows} of {capacity}"),
            (flows as f64 / capacity.max(1) as f64).clamp(0.0, 1.0),
        ),
        None => (format!(" flows not counted, room for {capacity}"), 0.0),
    };
    let gauge = LineGauge::default()
        .ratio(share)
        .label(label)
        .filled_symbol("━")
        .unfilled_symbol("─")
        .filled_style(BOLD)
        .unfilled_style(DIM);
    frame.render_widget(gauge, area);
}
