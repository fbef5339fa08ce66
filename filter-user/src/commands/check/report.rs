//! What the checks found, and how it is shown.

use std::{env, io};

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::datapath::DatapathError;

/// Of the text on a terminal, in columns.
const WIDTH: u16 = 100;
/// A terminal that says that it is narrower does not know, as a serial line, or leaves no room
/// to wrap in.
const LEAST_WIDTH: u16 = 60;

/// What one check comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it should be, or as it need not be.
    Ok,
    /// It runs, and may not see or do all; or this cannot be told.
    Warning,
    /// `lastack run` would fail.
    Error,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    const fn color(self) -> Color {
        match self {
            Self::Ok => Color::Green,
            Self::Warning => Color::Yellow,
            Self::Error => Color::Red,
        }
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// Of the check.
    pub(super) name: &'static str,
    /// Of the interface; none of the machine.
    pub(super) iface: Option<String>,
    pub(super) status: Status,
    /// What is so.
    pub(super) message: String,
    /// What to do about it.
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            iface: None,
            status: Status::Ok,
            message: message.into(),
            remedy: None,
        }
    }

    pub(super) fn warning(
        name: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Warning,
            remedy: Some(remedy.into()),
            ..Self::ok(name, message)
        }
    }

    /// What `lastack run` would say; behind a semicolon it says what to do.
    pub(super) fn refused(name: &'static str, error: &DatapathError) -> Self {
        let text = error.to_string();
        let (message, remedy) = match text.rsplit_once("; ") {
            Some((message, remedy)) => (message.to_owned(), Some(remedy.to_owned())),
            None => (text, None),
        };
        Self {
            status: Status::Error,
            remedy,
            ..Self::ok(name, message)
        }
    }

    pub(super) fn error(
        name: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            status: Status::Error,
            ..Self::warning(name, message, remedy)
        }
    }

    /// That `what` does not show.
    pub(super) fn unseen(name: &'static str, what: &str, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::PermissionDenied {
            let message = format!("{what} cannot be seen without root");
            return Self::warning(name, message, "check as root");
        }
        let message = format!("{what} cannot be seen: {error}");
        Self::warning(name, message, "see to it by other means")
    }

    /// The same of one interface.
    pub(super) fn on(mut self, interface: &str) -> Self {
        self.iface = Some(interface.to_owned());
        self
    }
}

/// All that was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) checks: Vec<Finding>,
    /// Whether none is an error.
    ok: bool,
}

impl Report {
    pub(super) fn new(checks: Vec<Finding>) -> Self {
        let ok = checks.iter().all(|check| check.status != Status::Error);
        Self { checks, ok }
    }

    pub(super) fn errors(&self) -> usize {
        let errors = self.checks.iter();
        errors.filter(|check| check.status == Status::Error).count()
    }

    pub(super) fn write_json(&self, mut output: impl io::Write) -> io::Result<()> {
        serde_json::to_writer(&mut output, self)?;
        writeln!(output)
    }

    /// A line for each check; on a terminal, long ones are wrapped.
    pub(super) fn write_text(&self, mut output: impl io::Write) -> io::Result<()> {
        writeln!(output, "{}", self.table().trim_fmt())
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if let Some(width) = table.width().filter(|&width| width >= LEAST_WIDTH) {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(width.min(WIDTH));
        }
        if env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            table.force_no_tty();
        }
        for check in &self.checks {
            let text = match &check.remedy {
                Some(remedy) => format!("{}; {remedy}", check.message),
                None => check.message.clone(),
            };
            table.add_row([
                Cell::new(check.status.as_str()).fg(check.status.color()),
                Cell::new(check.iface.as_deref().unwrap_or("machine")),
                Cell::new(check.name),
                Cell::new(text),
            ]);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(report: &Report) -> String {
        let mut text = Vec::new();
        report.write_text(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn text_is_a_line_a_check_with_the_status_first_and_the_remedy_last() {
        let report = Report::new(vec![
            Finding::ok("kernel", "6.18.0"),
            Finding::warning("lro", "LRO is on", "`ethtool -K wan0 lro off`").on("wan0"),
            Finding::refused("interface", &DatapathError::NoInterface("nope0".to_owned()))
                .on("nope0"),
        ]);
        assert_eq!(
            text(&report),
            "ok       machine  kernel     6.18.0\n\
             warning  wan0     lro        LRO is on; `ethtool -K wan0 lro off`\n\
             error    nope0    interface  no interface is called nope0; `ip link` lists those \
             that there are\n"
        );
    }

    #[test]
    fn json_has_every_field_of_every_check_and_whether_all_is_well() {
        let json = |report: &Report| {
            let mut json = Vec::new();
            report.write_json(&mut json).unwrap();
            String::from_utf8(json).unwrap()
        };
        let warning = Finding::warning("lro", "LRO is on", "off with it").on("wan0");
        assert_eq!(
            json(&Report::new(vec![Finding::ok("kernel", "6.18.0"), warning])),
            concat!(
                r#"{"checks":[{"name":"kernel","iface":null,"status":"ok","message":"6.18.0","#,
                r#""remedy":null},{"name":"lro","iface":"wan0","status":"warning","#,
                r#""message":"LRO is on","remedy":"off with it"}],"ok":true}"#,
                "\n"
            )
        );
        let error = Finding::refused("preemption", &DatapathError::Realtime);
        assert!(json(&Report::new(vec![error])).ends_with("\"ok\":false}\n"));
    }

    #[test]
    fn what_cannot_be_seen_without_rights_is_a_warning() {
        let denied = io::ErrorKind::PermissionDenied.into();
        let finding = Finding::unseen("flowtable", "flowtables", &denied);
        assert_eq!(finding.status, Status::Warning);
        assert_eq!(finding.remedy.as_deref(), Some("check as root"));
    }
}
