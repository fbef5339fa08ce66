//! `lastack status`: what instances do.

use std::{fmt::Write as _, time::SystemTime};

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use super::{asking::Asking, figures::Figures, table::span};
use crate::{
    control,
    report::{InterfaceStatus, Status},
};

/// Shows what is attached where, and what it has counted
///
/// Without --instance, of every instance in this network namespace. With --output json, one
/// object a line for each.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    asking: Asking,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let asking = &arguments.asking;
    let instances = match asking.instance {
        Some(_) => vec![asking.choose()?],
        None => control::instances(&asking.pin_dir)?,
    };
    let mut failed = Vec::new();
    for (index, mut instance) in instances.into_iter().enumerate() {
        match instance.status() {
            Ok(status) => {
                let is_read = asking.print(&status, |status| {
                    let gap = if index == 0 { "" } else { "\n" };
                    format!("{gap}{}", text(status, SystemTime::now()))
                })?;
                if !is_read {
                    return Ok(());
                }
            }
            // Those of the others are shown all the same.
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        bail!(failed.join("; "))
    }
}

fn text(status: &Status, now: SystemTime) -> String {
    let mut lines = Lines::new(status);
    let mode = ["mode", "role", "closer", "rst-guard"];
    lines.line("mode", &settings(status, &mode));
    lines.line("limits", &settings(status, &["window", "budget"]));
    lines.line("scope", &scope(status));
    lines.line("pinned", &pinned(status));
    lines.line("flows", &flows(status));
    if status.settings.get("events") == Some(&Value::Bool(true)) || status.events_lost > 0 {
        lines.line("events", &format!("on, {} lost", status.events_lost));
    }
    for interface in &status.interfaces {
        for (index, line) in interface_lines(interface).iter().enumerate() {
            let name = if index == 0 { &interface.iface } else { "" };
            lines.line(name, line);
        }
    }
    format!("{}\n{}", heading(status, now), lines.text)
}

/// Lines that begin with a name, in a column that holds the longest.
struct Lines {
    width: usize,
    text: String,
}

impl Lines {
    fn new(status: &Status) -> Self {
        let names = status.interfaces.iter().map(|it| it.iface.chars().count());
        let width = names.fold("limits".len(), usize::max);
        Self {
            width,
            text: String::new(),
        }
    }

    fn line(&mut self, name: &str, text: &str) {
        let width = self.width;
        // A string takes all that is written to it.
        writeln!(self.text, "  {name:width$}  {text}").ok();
    }
}

fn heading(status: &Status, now: SystemTime) -> String {
    let Status {
        instance,
        pid,
        version,
        ..
    } = status;
    let age = span(status.age(now));
    match pid {
        Some(pid) => format!("{instance}: runs for {age}, process {pid}, lastack {version}"),
        None => format!("{instance}: pinned, without a process, for {age}, lastack {version}"),
    }
}

/// The values of options, behind their names but for the mode.
fn settings(status: &Status, names: &[&str]) -> String {
    let said = names.iter().filter_map(|&name| {
        let value = plain(status.settings.get(name)?);
        Some(match name {
            "mode" => value,
            name => format!("{name} {value}"),
        })
    });
    said.collect::<Vec<_>>().join(", ")
}

fn scope(status: &Status) -> String {
    let list = |option: &str, all: &str| match status.settings.get(option) {
        Some(Value::Array(values)) if !values.is_empty() => {
            let values: Vec<_> = values.iter().map(plain).collect();
            format!("{option} {}", values.join(","))
        }
        _ => all.to_owned(),
    };
    format!(
        "{}, {}",
        list("client", "all clients"),
        list("port", "all ports")
    )
}

fn pinned(status: &Status) -> String {
    match &status.pinned {
        Some(directory) => format!("in {}", directory.display()),
        None => "no: it is taken off when its process ends".to_owned(),
    }
}

fn flows(status: &Status) -> String {
    let capacity = status.flows_capacity;
    match status.flows {
        Some(flows) => format!("{flows} of {capacity}"),
        None => format!("not counted, room for {capacity}"),
    }
}

fn interface_lines(interface: &InterfaceStatus) -> Vec<String> {
    let lost = match interface.losses {
        0 => String::new(),
        1 => "; lost once so far".to_owned(),
        losses => format!("; lost {losses} times so far"),
    };
    let mut lines = Vec::new();
    if interface.hooks.is_empty() {
        let trouble = interface.trouble.as_deref();
        let trouble = trouble.unwrap_or("there is no such interface");
        lines.push(format!("NOT SERVED: {trouble}{lost}"));
    } else {
        let hooks = interface.hooks.iter();
        let hooks: Vec<_> = hooks
            .map(|hook| format!("{} (program {})", hook.hook, hook.program_id))
            .collect();
        lines.push(format!("{}{lost}", hooks.join(", ")));
    }
    if let Some(note) = &interface.note {
        lines.push(format!("no native XDP: {note}"));
    }
    let figures = Figures::of(interface);
    lines.push(format!(
        "closes {}, spurious ACKs dropped {}, observed {}",
        figures.closes, figures.dropped, figures.observed
    ));
    lines.push(format!(
        "re-ACKs passed {}, resets passed {}, suppressed {}",
        figures.answers,
        figures.resets(),
        figures.suppressed
    ));
    lines
}

/// A value without JSON's quotation marks.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::{
        control::by_option,
        report::{HookStatus, Timestamp},
        settings::Settings,
    };

    fn status(now: SystemTime) -> Status {
        let served = InterfaceStatus {
            iface: "wan0".to_owned(),
            ifindex: Some(4),
            hooks: ["tcx-ingress", "tcx-egress"]
                .into_iter()
                .zip(123..)
                .map(|(hook, program_id)| HookStatus {
                    hook: hook.to_owned(),
                    program_id,
                })
                .collect(),
            note: Some("the driver has none".to_owned()),
            trouble: None,
            losses: 0,
            spurious_acks_dropped: 7,
            spurious_acks_observed: 0,
            packets: BTreeMap::from([("first_ack".to_owned(), 9), ("reset_other".to_owned(), 1)]),
        };
        let unserved = InterfaceStatus {
            iface: "uplink-two".to_owned(),
            ifindex: None,
            hooks: Vec::new(),
            note: None,
            losses: 2,
            ..served.clone()
        };
        Status {
            instance: "default".parse().unwrap(),
            pid: Some(1234),
            version: "0.1.0".to_owned(),
            since: Timestamp(now - Duration::from_hours(1)),
            age_seconds: Some(70.0),
            pinned: None,
            settings: by_option(&Settings {
                clients: vec!["10.0.0.0/8".parse().unwrap()],
                ..Settings::default()
            }),
            interfaces: vec![served, unserved],
            flows: Some(12),
            flows_capacity: 65_536,
            events_lost: 0,
        }
    }

    #[test]
    fn text_tells_all_that_matters_in_eighty_columns() {
        let now = SystemTime::now();
        let text = text(&status(now), now);
        assert_eq!(
            text,
            "default: runs for 1m 10s, process 1234, lastack 0.1.0\n\
            \x20 mode        enforce, role wan, closer client, rst-guard off\n\
            \x20 limits      window 500ms, budget 3\n\
            \x20 scope       client 10.0.0.0/8, all ports\n\
            \x20 pinned      no: it is taken off when its process ends\n\
            \x20 flows       12 of 65536\n\
            \x20 wan0        tcx-ingress (program 123), tcx-egress (program 124)\n\
            \x20             no native XDP: the driver has none\n\
            \x20             closes 9, spurious ACKs dropped 7, observed 0\n\
            \x20             re-ACKs passed 0, resets passed 1, suppressed 0\n\
            \x20 uplink-two  NOT SERVED: there is no such interface; lost 2 times so far\n\
            \x20             closes 9, spurious ACKs dropped 7, observed 0\n\
            \x20             re-ACKs passed 0, resets passed 1, suppressed 0\n"
        );
    }

    #[test]
    fn a_pinned_instance_has_no_process() {
        let now = SystemTime::now();
        let status = Status {
            pid: None,
            pinned: Some("/sys/fs/bpf/lastack/default".into()),
            ..status(now)
        };
        let text = text(&status, now);
        assert!(text.starts_with("default: pinned, without a process, for 1m 10s"));
        assert!(text.contains("in /sys/fs/bpf/lastack/default"), "{text}");
    }
}
