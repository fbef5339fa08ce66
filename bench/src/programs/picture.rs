//! The differences and their targets as a picture.

use svg::{
    Document,
    node::element::{Circle, Group, Line, Rectangle, Style, Text},
};

use super::{
    cases::LARGEST,
    kernel::Program,
    report::{Figure, Report},
};

const WIDTH: f64 = 900.0;
const LEFT: f64 = 350.0;
const RIGHT: f64 = WIDTH - 30.0;
const TOP: f64 = 78.0;
const ROW: f64 = 22.0;
/// Nanoseconds at both ends of the axis, which is logarithmic.
const AXIS: (f64, f64) = (0.5, 1000.0);
const MARKS: [f64; 11] = [
    0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0,
];

/// Its own background in both schemes, so that it can be read wherever it is shown.
const STYLE: &str = "
text { font: 12px sans-serif; fill: #1f2328; }
.paper { fill: #ffffff; stroke: #d0d7de; }
.grid { stroke: #d8dee4; }
.target { stroke: #cf222e; stroke-width: 3; }
.xdp { fill: #0969da; } .xdp_mb { fill: #1b7c83; } .ingress { fill: #bc4c00; } .egress { fill: #8250df; }
line.xdp { stroke: #0969da; } line.xdp_mb { stroke: #1b7c83; } line.ingress { stroke: #bc4c00; } line.egress { stroke: #8250df; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.paper { fill: #0d1117; stroke: #30363d; }
.grid { stroke: #30363d; }
.target { stroke: #ff7b72; }
.xdp { fill: #58a6ff; } .xdp_mb { fill: #39c5cf; } .ingress { fill: #f0883e; } .egress { fill: #bc8cff; }
line.xdp { stroke: #58a6ff; } line.xdp_mb { stroke: #39c5cf; } line.ingress { stroke: #f0883e; } line.egress { stroke: #bc8cff; }
}
";

/// One row a path: a dot a program, its quartiles, and the target.
pub(super) fn draw(report: &Report) -> String {
    let mut rows: Vec<(String, Vec<&Figure>)> = Vec::new();
    for figure in report.figures.iter().filter(|figure| is_drawn(figure)) {
        let label = label(figure);
        match rows.last_mut() {
            Some((last, figures)) if *last == label => figures.push(figure),
            _ => rows.push((label, vec![figure])),
        }
    }
    let bottom = (0..rows.len()).fold(TOP, |bottom, _| bottom + ROW);
    let height = bottom + 50.0;
    let mut document = Document::new()
        .set("viewBox", (0, 0, WIDTH, height))
        .set("role", "img")
        .set(
            "aria-label",
            "Nanoseconds above an empty program, by path and program, and the targets",
        )
        .add(Style::new(STYLE))
        .add(
            Rectangle::new()
                .set("class", "paper")
                .set("x", 0.5)
                .set("y", 0.5)
                .set("width", WIDTH - 1.0)
                .set("height", height - 1.0)
                .set("rx", 6),
        )
        .add(text(
            "Nanoseconds above an empty program of the same hook: median and quartiles",
            20.0,
            24.0,
            "start",
        ))
        .add(legend());
    for mark in MARKS {
        let x = position(mark);
        document = document
            .add(line("grid", (x, TOP - 8.0), (x, bottom)))
            .add(text(&mark.to_string(), x, bottom + 16.0, "middle"));
    }
    let mut y = TOP;
    for (label, figures) in &rows {
        document = document.add(row(label, figures, y));
        y += ROW;
    }
    let machine = &report.machine;
    let caption = format!(
        "{}, Linux {}, {}",
        machine.date, machine.kernel, machine.cpu
    );
    document
        .add(text(&caption, 20.0, bottom + 38.0, "start"))
        .to_string()
}

/// Of what closing flows cost: the largest table, and IPv4.
fn is_drawn(figure: &Figure) -> bool {
    !figure.is_fill || (figure.max_flows == LARGEST && !figure.path.contains("IPv6"))
}

fn label(figure: &Figure) -> String {
    if figure.is_fill {
        format!("{} closing: {}", figure.flows, figure.path)
    } else if figure.settings == "default" {
        figure.path.to_owned()
    } else {
        format!("{}: {}", figure.settings, figure.path)
    }
}

fn row(label: &str, figures: &[&Figure], y: f64) -> Group {
    let mut row = Group::new().add(text(label, LEFT - 14.0, y + 4.0, "end"));
    if let Some(target) = figures.first().and_then(|figure| figure.target) {
        let x = position(target);
        row = row.add(line("target", (x, y - 9.0), (x, y + 9.0)));
    }
    for figure in figures {
        let class = class(figure.program);
        // One below the other, so that equal ones are all seen.
        let y = y + Program::ALL
            .into_iter()
            .zip([-6.0, -2.0, 2.0, 6.0])
            .find(|(program, _)| program.name() == figure.program)
            .map_or(0.0, |(_, shift)| shift);
        let ends = [figure.above.lower_quartile, figure.above.upper_quartile].map(position);
        row = row.add(line(class, (ends[0], y), (ends[1], y))).add(dot(
            class,
            position(figure.above.median),
            y,
        ));
    }
    row
}

fn legend() -> Group {
    let mut legend = Group::new();
    let mut x = 26.0;
    for program in Program::ALL {
        legend = legend.add(dot(class(program.name()), x, 46.0)).add(text(
            program.name(),
            x + 9.0,
            50.0,
            "start",
        ));
        x += 130.0;
    }
    legend
        .add(line("target", (x, 38.0), (x, 54.0)))
        .add(text("target", x + 9.0, 50.0, "start"))
}

fn class(program: &'static str) -> &'static str {
    program.trim_start_matches("lastack_")
}

fn dot(class: &str, x: f64, y: f64) -> Circle {
    Circle::new()
        .set("class", class)
        .set("cx", rounded(x))
        .set("cy", y)
        .set("r", 3)
}

fn line(class: &str, from: (f64, f64), to: (f64, f64)) -> Line {
    Line::new()
        .set("class", class)
        .set("x1", rounded(from.0))
        .set("y1", from.1)
        .set("x2", rounded(to.0))
        .set("y2", to.1)
}

fn text(content: &str, x: f64, y: f64, anchor: &str) -> Text {
    Text::new(content)
        .set("x", rounded(x))
        .set("y", y)
        .set("text-anchor", anchor)
}

/// Where a figure is on the axis; what is beyond an end is at the end.
fn position(nanoseconds: f64) -> f64 {
    let (least, most) = AXIS;
    let share = (nanoseconds.clamp(least, most) / least).ln() / (most / least).ln();
    LEFT + share * (RIGHT - LEFT)
}

fn rounded(pixels: f64) -> f64 {
    (pixels * 10.0).round() / 10.0
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the ends are given as they are")]
mod tests {
    use super::*;

    #[test]
    fn the_axis_grows_from_end_to_end_and_stops_there() {
        assert_eq!(position(AXIS.0), LEFT);
        assert_eq!(position(AXIS.1), RIGHT);
        assert_eq!(position(-3.0), LEFT);
        assert_eq!(position(1e9), RIGHT);
        assert!(position(6.0) < position(6.1));
    }
}
