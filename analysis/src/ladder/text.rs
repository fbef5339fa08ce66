//! A ladder in text.
//!
//! ASCII, so that it comes through a log, an e-mail and a serial console as it is; two columns less
//! than a terminal has, so that it can be quoted.

use std::io;

use anstyle::{AnsiColor, Style};
use filter_common::Direction;

use super::{
    Emphasis, Ladder, Step,
    label::{harmless, label, time},
    rows::{Row, Transfer, rows},
};

/// Of all, in columns.
const WIDTH: usize = 78;
/// Between two columns, and beside what is put together.
const GAP: usize = 2;
/// Of a note, from its side.
const INDENT: usize = 3;

/// Writes a ladder.
pub(super) fn write(
    ladder: &Ladder,
    output: &mut impl io::Write,
    coloured: bool,
) -> io::Result<()> {
    for line in textwrap::wrap(&harmless(&ladder.title), WIDTH) {
        writeln!(output, "{}", line.trim_end())?;
    }
    writeln!(output)?;
    Page::new(ladder, output, coloured).write(ladder)
}

/// Where what is written.
struct Page<'a, W> {
    output: &'a mut W,
    coloured: bool,
    /// Of the numbers of frames; none where no step has one.
    frame: Option<usize>,
    time: usize,
    /// Between the two sides.
    inner: usize,
}

impl<'a, W: io::Write> Page<'a, W> {
    const FRAME: &'static str = "frame";
    const TIME: &'static str = "seconds";

    fn new(ladder: &Ladder, output: &'a mut W, coloured: bool) -> Self {
        let frames = ladder.steps.iter().filter_map(|step| step.frame);
        let most = frames.max().map(|most| most.to_string().len());
        let frame = most.map(|most| most.max(Self::FRAME.len()));
        let latest = ladder.steps.iter().map(|step| step.at).max();
        let time = time(latest.unwrap_or_default()).len().max(Self::TIME.len());
        let before = frame.map_or(0, |frame| frame + GAP) + time + GAP;
        Self {
            output,
            coloured,
            frame,
            time,
            inner: WIDTH.saturating_sub(before + 2),
        }
    }

    fn write(mut self, ladder: &Ladder) -> io::Result<()> {
        let [client, server] = [ladder.client, ladder.server].map(|end| end.to_string());
        let inner = self.inner + 2;
        let apart = |left: &str, right: &str| {
            let between = inner.saturating_sub(left.len() + right.len());
            format!("{left}{:between$}{right}", "")
        };
        self.line(Self::FRAME, Self::TIME, &apart("client", "server"))?;
        if client.len() + GAP + server.len() <= inner {
            self.line("", "", &apart(&client, &server))?;
        } else {
            self.line("", "", &client)?;
            self.line("", "", &apart("|", &server))?;
        }
        for row in rows(&ladder.steps) {
            match row {
                Row::Step(step) => self.step(step)?,
                Row::Transfer(transfer) => self.transfer(&transfer)?,
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> io::Result<()> {
        let frame = number(step.frame);
        let time = time(step.at);
        let label = label(step);
        let style = style(step.emphasis);
        let inner = self.inner;
        let with_label = arrow(step, &label, inner);
        // Its own line where it is too long for the arrow's.
        let below = with_label.is_none().then_some(label);
        let arrow = with_label.or_else(|| arrow(step, "", inner));
        self.between(&frame, &time, '|', style, &arrow.unwrap_or_default())?;
        let note = step.note.as_deref().map(harmless);
        for text in below.as_deref().into_iter().chain(note.as_deref()) {
            let lines = textwrap::wrap(text, self.inner.saturating_sub(2 * INDENT));
            let longest = lines.iter().map(|line| line.chars().count()).max();
            let indent = match step.direction {
                Direction::FromClient => INDENT,
                Direction::FromServer => self
                    .inner
                    .saturating_sub(INDENT + longest.unwrap_or_default()),
            };
            for line in lines {
                let line = format!("{:indent$}{line}", "");
                self.between("", "", '|', style, &line)?;
            }
        }
        Ok(())
    }

    fn transfer(&mut self, transfer: &Transfer) -> io::Result<()> {
        let text = transfer.to_string();
        let lines = textwrap::wrap(&text, self.inner.saturating_sub(2 * GAP));
        let (mut frame, mut time) = (number(transfer.frame), time(transfer.at));
        for line in lines {
            let line = format!("{:GAP$}{line}", "");
            self.between(&frame, &time, ':', Style::new(), &line)?;
            frame.clear();
            time.clear();
        }
        Ok(())
    }

    /// A line with `text` between the two sides.
    fn between(
        &mut self,
        frame: &str,
        time: &str,
        side: char,
        style: Style,
        text: &str,
    ) -> io::Result<()> {
        let padding = self.inner.saturating_sub(text.chars().count());
        let style = if self.coloured { style } else { Style::new() };
        let text = format!("{side}{style}{text}{style:#}{:padding$}{side}", "");
        self.line(frame, time, &text)
    }

    fn line(&mut self, frame: &str, time: &str, text: &str) -> io::Result<()> {
        if let Some(width) = self.frame {
            write!(self.output, "{frame:>width$}{:GAP$}", "")?;
        }
        let width = self.time;
        writeln!(self.output, "{time:>width$}{:GAP$}{text}", "")
    }
}

/// From one side to the other, the label near its sender; none where it has no room. One that does
/// not arrive ends on the way, in an `x`. What is emphasised has a double shaft.
fn arrow(step: &Step, label: &str, inner: usize) -> Option<String> {
    const TAIL: usize = 2;
    const LEAST: usize = 3;
    let shaft = match step.emphasis {
        Emphasis::None => "-",
        Emphasis::Fault | Emphasis::Reset => "=",
    };
    let tail = shaft.repeat(TAIL);
    let label = match label {
        "" => String::new(),
        label => format!(" {label} "),
    };
    let used = TAIL + label.len();
    let length = if step.arrives {
        inner
    } else {
        (inner * 2 / 3).max(used + LEAST)
    };
    if length > inner || length < used + LEAST {
        return None;
    }
    let rest = shaft.repeat(length - used - 1);
    let blank = " ".repeat(inner - length);
    Some(match (step.direction, step.arrives) {
        (Direction::FromClient, true) => format!("{tail}{label}{rest}>"),
        (Direction::FromClient, false) => format!("{tail}{label}{rest}x"),
        (Direction::FromServer, true) => format!("<{rest}{label}{tail}"),
        (Direction::FromServer, false) => format!("{blank}x{rest}{label}{tail}"),
    })
}

fn style(emphasis: Emphasis) -> Style {
    match emphasis {
        Emphasis::None => Style::new(),
        Emphasis::Fault => AnsiColor::Red.on_default(),
        Emphasis::Reset => AnsiColor::Red.on_default().bold(),
    }
}

fn number(frame: Option<u64>) -> String {
    frame.map(|frame| frame.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{
        super::samples::{cure, extreme, fault},
        *,
    };

    fn text(ladder: &Ladder, coloured: bool) -> String {
        let mut text = Vec::new();
        ladder.write_text(&mut text, coloured).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[track_caller]
    fn assert_is_as_reviewed(name: &str, text: &str) {
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, text);
        });
    }

    #[test]
    fn the_fault_is_as_reviewed() {
        assert_is_as_reviewed("fault", &text(&fault(), false));
    }

    #[test]
    fn what_does_not_arrive_ends_on_the_way() {
        assert_is_as_reviewed("cure", &text(&cure(), false));
    }

    #[test]
    fn the_longest_of_everything_fits_and_steers_no_terminal() {
        let text = text(&extreme(), false);
        assert!(text.lines().all(|line| line.chars().count() <= 78));
        assert!(!text.contains('\x1b'));
        assert_is_as_reviewed("extreme", &text);
    }

    #[test]
    fn colour_is_all_that_colour_adds() {
        let plain = text(&fault(), false);
        let coloured = text(&fault(), true);
        let red = AnsiColor::Red.on_default();
        let without = [red.bold(), red]
            .iter()
            .fold(coloured.clone(), |text, style| {
                text.replace(&style.to_string(), "")
                    .replace(&format!("{style:#}"), "")
            });
        assert_eq!(without, plain);
        let of = |style: Style| coloured.matches(&style.to_string()).count();
        // The arrow and the note of each; what is bold is red, too.
        assert_eq!((of(red.bold()), of(red)), (2, 4));
    }

    #[test]
    fn without_numbers_of_frames_there_is_no_column_for_them() {
        let mut ladder = fault();
        for step in &mut ladder.steps {
            step.frame = None;
        }
        let text = text(&ladder, false);
        assert!(text.contains("\n seconds  client "), "{text}");
        assert!(text.contains("\n0.000312  |<-"), "{text}");
    }

    #[test]
    fn a_ladder_without_steps_has_its_two_sides() {
        let mut ladder = fault();
        ladder.steps.clear();
        let text = text(&ladder, false);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.ends_with("203.0.113.2:80\n"), "{text}");
    }
}
