//! Ladders as an SVG document.

#[cfg(test)]
mod tests;

use std::{iter, time::Duration};

use filter_common::{Direction, Flags};
use svg::{
    Document,
    node::element::{Description, Group, Line, Polygon, Rectangle, Style, Text, Title},
};

use super::{
    Emphasis, Ladder, Step,
    label::{harmless, label, time},
    rows::{Row, Transfer, rows},
};

const WIDTH: f64 = 900.0;
const MARGIN: f64 = 20.0;
/// Where the numbers of frames end, and the times.
const FRAME: f64 = 72.0;
const TIME: f64 = 172.0;
/// The two sides.
const CLIENT: f64 = 208.0;
const SERVER: f64 = WIDTH - 82.0;
/// Of a row with one line of text.
const ROW: f64 = 36.0;
/// Of a further one.
const LINE: f64 = 16.0;
/// Of a title.
const TITLE: f64 = 20.0;
/// Between two ladders.
const BETWEEN: f64 = 28.0;
/// How much later the other side gets it.
const SLANT: f64 = 8.0;
/// Of a line of text between the two sides, in characters.
const CHARACTERS: usize = 80;
/// Of a line of a title.
const TITLE_CHARACTERS: usize = 80;
/// Of an endpoint that has room in the middle of its side.
const SHORT: usize = 21;

/// Its own background in both schemes, so that it can be read wherever it is shown.
const STYLE: &str = r#"
text { font: 13px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.side { font-weight: 600; }
.number { font-size: 12px; font-variant-numeric: tabular-nums; fill: #59636e; }
.label { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
.note { font-size: 12px; font-style: italic; fill: #59636e; }
.paper { fill: #ffffff; stroke: #d0d7de; }
.life { stroke: #818b98; stroke-width: 1.5; }
.gap { stroke-dasharray: 2 5; }
.shaft { stroke: #0969da; stroke-width: 1.5; }
.head { fill: #0969da; }
.fault.shaft, .reset.shaft { stroke: #cf222e; stroke-width: 3; }
.fault.shaft { stroke-dasharray: 9 4; }
.fault.end { stroke-dasharray: none; }
.fault.head, .reset.head { fill: #cf222e; }
text.fault, text.reset { fill: #cf222e; font-weight: 700; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.number, .note { fill: #9198a1; }
.paper { fill: #0d1117; stroke: #30363d; }
.life { stroke: #656c76; }
.shaft { stroke: #58a6ff; }
.head { fill: #58a6ff; }
.fault.shaft, .reset.shaft { stroke: #ff7b72; }
.fault.head, .reset.head, text.fault, text.reset { fill: #ff7b72; }
}
"#;

/// Draws some, one below the other.
pub(super) fn draw(ladders: &[Ladder]) -> String {
    let mut y = MARGIN;
    let mut drawn = Vec::new();
    for ladder in ladders {
        if !drawn.is_empty() {
            y += BETWEEN;
        }
        let (group, bottom) = draw_one(ladder, y);
        drawn.push(group);
        y = bottom;
    }
    let height = y + MARGIN;
    let titles: Vec<_> = ladders
        .iter()
        .map(|ladder| harmless(&ladder.title))
        .collect();
    let paper = Rectangle::new()
        .set("class", "paper")
        .set("x", 0.5)
        .set("y", 0.5)
        .set("width", WIDTH - 1.0)
        .set("height", height - 1.0)
        .set("rx", 6);
    let document = Document::new()
        .set("viewBox", (0, 0, WIDTH, height))
        .set("width", WIDTH)
        .set("height", height)
        .set("role", "img")
        .add(Title::new(titles.join("; ")))
        .add(Description::new().add(svg::node::Text::new(describe(ladders))))
        .add(Style::new(STYLE))
        .add(paper);
    let mut text = drawn.into_iter().fold(document, Document::add).to_string();
    text.push('\n');
    text
}

/// In words, for who cannot see it.
fn describe(ladders: &[Ladder]) -> String {
    let words: Vec<_> = ladders.iter().flat_map(describe_one).collect();
    words.join("\n")
}

fn describe_one(ladder: &Ladder) -> impl Iterator<Item = String> {
    let Ladder {
        title,
        client,
        server,
        steps,
    } = ladder;
    let head = format!(
        "{}: {} TCP segments between the client {client} and the server {server}.",
        harmless(title),
        steps.len()
    );
    let is_notable = |step: &&Step| {
        step.note.is_some()
            || step.emphasis != Emphasis::None
            || step.flags.any(Flags::SYN.with(Flags::FIN))
    };
    let notable = steps.iter().filter(is_notable);
    iter::once(head).chain(notable.map(describe_step))
}

fn describe_step(step: &Step) -> String {
    let (at, label) = (time(step.at), label(step));
    let sender = match step.direction {
        Direction::FromClient => "client",
        Direction::FromServer => "server",
    };
    let fate = if step.arrives {
        ""
    } else {
        ", does not arrive"
    };
    let note = step.note.as_deref().map(harmless);
    let note = note.map(|note| format!("; {note}")).unwrap_or_default();
    format!("At {at} s, from the {sender}: {label}{fate}{note}.")
}

/// With its top at `top`; says where it ends.
fn draw_one(ladder: &Ladder, top: f64) -> (Group, f64) {
    let mut group = Group::new();
    let mut y = top;
    for line in textwrap::wrap(&harmless(&ladder.title), TITLE_CHARACTERS) {
        y += TITLE;
        group = group.add(text("title", line.trim_end(), MARGIN, y, "start"));
    }
    y += 30.0;
    let ends = [
        ("client", ladder.client, CLIENT, (MARGIN, "start")),
        ("server", ladder.server, SERVER, (WIDTH - MARGIN, "end")),
    ];
    for (side, end, x, at_margin) in ends {
        let end = end.to_string();
        let (end_x, anchor) = if end.len() <= SHORT {
            (x, "middle")
        } else {
            at_margin
        };
        group = group.add(text("side", side, x, y, "middle")).add(text(
            "number",
            &end,
            end_x,
            y + 18.0,
            anchor,
        ));
    }
    y += 44.0;
    if ladder.steps.iter().any(|step| step.frame.is_some()) {
        group = group.add(text("number", "frame", FRAME, y, "end"));
    }
    group = group
        .add(text("number", "seconds", TIME, y, "end"))
        .add(lives("life", y - 16.0, y));
    for row in rows(&ladder.steps) {
        let (row, bottom) = match row {
            Row::Step(step) => draw_step(step, y),
            Row::Transfer(transfer) => draw_transfer(&transfer, y),
        };
        group = group.add(row);
        y = bottom;
    }
    let bottom = y + 12.0;
    (group.add(lives("life", y, bottom)), bottom)
}

fn draw_step(step: &Step, top: f64) -> (Group, f64) {
    let class = match step.emphasis {
        Emphasis::None => "",
        Emphasis::Fault => " fault",
        Emphasis::Reset => " reset",
    };
    let label = label(step);
    let note = step.note.as_deref().map(harmless);
    // The label is above the arrow, the note below.
    let mut y = top + ROW - 26.0;
    let mut group = Group::new();
    for line in textwrap::wrap(&label, CHARACTERS) {
        y += LINE;
        let class = format!("label{class}");
        group = group.add(text(&class, &line, middle(), y - 6.0, "middle"));
    }
    group = group
        .add(numbers(step.frame, step.at, y))
        .add(arrow(step, class, y));
    let mut bottom = y + 10.0;
    for line in note
        .iter()
        .flat_map(|note| textwrap::wrap(note, CHARACTERS))
    {
        bottom += LINE;
        let class = format!("note{class}");
        group = group.add(text(&class, &line, middle(), bottom - 4.0, "middle"));
    }
    let lives = lives("life", top, bottom);
    (Group::new().add(lives).add(group), bottom)
}

fn draw_transfer(transfer: &Transfer, top: f64) -> (Group, f64) {
    let mut y = top + 22.0;
    let mut group = Group::new().add(numbers(transfer.frame, transfer.at, y));
    for line in textwrap::wrap(&transfer.to_string(), CHARACTERS) {
        group = group.add(text("note", &line, middle(), y, "middle"));
        y += LINE;
    }
    let bottom = y - 6.0;
    (group.add(lives("life gap", top, bottom)), bottom)
}

/// At the left.
fn numbers(frame: Option<u64>, at: Duration, y: f64) -> Group {
    let time = Group::new().add(text("number", &time(at), TIME, y, "end"));
    match frame {
        Some(frame) => time.add(text("number", &frame.to_string(), FRAME, y, "end")),
        None => time,
    }
}

/// From one side to the other; one that does not arrive ends on the way, in a cross.
fn arrow(step: &Step, class: &str, y: f64) -> Group {
    const HEAD: (f64, f64) = (11.0, 4.5);
    const CROSS: f64 = 6.0;
    const WAY: f64 = 0.7;
    let (from, to) = match step.direction {
        Direction::FromClient => (CLIENT, SERVER),
        Direction::FromServer => (SERVER, CLIENT),
    };
    let shaft = format!("shaft{class}");
    if !step.arrives {
        let (x, y_end) = (from + (to - from) * WAY, y + SLANT * WAY);
        let stroke = format!("{shaft} end");
        return Group::new()
            .add(line(&shaft, (from, y), (x, y_end)))
            .add(line(
                &stroke,
                (x - CROSS, y_end - CROSS),
                (x + CROSS, y_end + CROSS),
            ))
            .add(line(
                &stroke,
                (x - CROSS, y_end + CROSS),
                (x + CROSS, y_end - CROSS),
            ));
    }
    let back = (from - to).signum() * HEAD.0;
    let end = y + SLANT;
    // The shaft ends within the head, which would else be blunt.
    let neck = to + back * 0.7;
    let points = format!(
        "{},{} {},{} {},{}",
        rounded(to),
        rounded(end),
        rounded(to + back),
        rounded(end - HEAD.1),
        rounded(to + back),
        rounded(end + HEAD.1)
    );
    Group::new().add(line(&shaft, (from, y), (neck, end))).add(
        Polygon::new()
            .set("class", format!("head{class}"))
            .set("points", points),
    )
}

/// Both sides' lines.
fn lives(class: &str, top: f64, bottom: f64) -> Group {
    [CLIENT, SERVER].into_iter().fold(Group::new(), |group, x| {
        group.add(line(class, (x, top), (x, bottom)))
    })
}

fn line(class: &str, from: (f64, f64), to: (f64, f64)) -> Line {
    Line::new()
        .set("class", class)
        .set("x1", rounded(from.0))
        .set("y1", rounded(from.1))
        .set("x2", rounded(to.0))
        .set("y2", rounded(to.1))
}

fn text(class: &str, content: &str, x: f64, y: f64, anchor: &str) -> Text {
    Text::new(content)
        .set("class", class)
        .set("x", rounded(x))
        .set("y", rounded(y))
        .set("text-anchor", anchor)
}

fn middle() -> f64 {
    CLIENT.midpoint(SERVER)
}

fn rounded(pixels: f64) -> f64 {
    (pixels * 10.0).round() / 10.0
}
