//! The stream of counters on standard output, as text or as JSON lines.

mod queue;

use std::{io, path::Path, time::SystemTime};

use clap::ValueEnum;
use filter_common::Reason;
use log::warn;
use serde_json::{Map, Value, json};

use self::queue::Queue;
use crate::{
    commands::run::OptionChanges,
    datapath::{Attachment, Condition, InterfaceCounters, Loss},
    one_sided::Suspicion,
    report::Event,
};

/// How things are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Writes to standard output until that is closed; the filter goes on without it.
///
/// Nothing here waits for a reader: a thread writes what is queued, and lines for which there is no
/// room are left out and counted. Dropping it waits for the reader for a moment.
#[derive(Debug)]
pub struct Stream {
    output: Output,
    queue: Queue,
}

impl Stream {
    /// A stream of the given kind.
    #[must_use]
    pub fn new(output: Output) -> Self {
        let notice = move |lines: u64| {
            let line = || line_of("lost_lines", json!({"lines": lines})) + "\n";
            (output == Output::Json).then(line)
        };
        Self {
            output,
            queue: Queue::new(io::stdout(), Box::new(notice)),
        }
    }

    /// Says what serves an interface.
    pub fn attached(&mut self, attachment: &Attachment) {
        let hooks: Vec<_> = attachment
            .attached
            .iter()
            .map(|attached| json!({"hook": attached.hook.as_str(), "program_id": attached.program_id}))
            .collect();
        self.event(
            "attached",
            json!({
                "iface": attachment.interface,
                "ifindex": attachment.index,
                "hooks": hooks,
                "note": attachment.note,
            }),
        );
    }

    /// Says what a process of that version has left pinned in `directory` and this one goes on with.
    pub fn taken_over(&mut self, flows: u64, version: &str, directory: &Path) {
        self.event(
            "taken_over",
            json!({"flows": flows, "version": version, "dir": directory.display().to_string()}),
        );
    }

    /// Says what is wrong with an interface that is served all the same.
    pub fn warning(&mut self, interface: &str, message: &str) {
        self.event("warning", json!({"iface": interface, "message": message}));
    }

    /// Says that an interface is waited for.
    pub fn waiting(&mut self, interface: &str) {
        self.event("waiting", json!({"iface": interface}));
    }

    /// Says that an interface is not served any more.
    pub fn lost(&mut self, interface: &str, loss: &Loss) {
        let mut value = json!({"iface": interface, "reason": loss.as_str()});
        if let Loss::Renamed(name) = loss {
            value["name"] = name.as_str().into();
        }
        self.event("lost", value);
    }

    /// Says why an interface cannot be served for now.
    pub fn failed(&mut self, interface: &str, error: &str) {
        self.event("failed", json!({"iface": interface, "error": error}));
    }

    /// Says what a served interface lets through now.
    pub fn link(&mut self, interface: &str, Condition { state, mtu }: Condition) {
        self.event(
            "link",
            json!({"iface": interface, "state": state.as_str(), "mtu": mtu}),
        );
    }

    /// Says that most closes of an interface are seen from one side.
    pub fn one_sided(&mut self, suspicion: &Suspicion) {
        let Suspicion {
            interface,
            one_sided,
            closes,
        } = suspicion;
        self.event(
            "one_sided",
            json!({"iface": interface, "one_sided_closes": one_sided, "closes": closes}),
        );
    }

    /// Says that a packet was dropped, or that a server reset a closing flow.
    pub fn report(&mut self, event: &Event) {
        match self.output {
            Output::Text => self.line(&event_text(event)),
            Output::Json => match serde_json::to_value(event) {
                Ok(value) => self.json("event", value),
                Err(error) => warn!("an event is left out: {error}"),
            },
        }
    }

    /// Says that other settings are at work, and which need a restart to change.
    pub fn reloaded(&mut self, changes: &OptionChanges) {
        let applied = changes.applied.iter();
        let applied: Map<_, _> = applied
            .map(|change| {
                let values = json!({"old": change.old, "new": change.new});
                (change.option.to_owned(), values)
            })
            .collect();
        let fixed = changes.needs_restart.iter();
        let fixed: Vec<_> = fixed.map(|change| change.option).collect();
        self.event(
            "reloaded",
            json!({"changes": applied, "needs_restart": fixed}),
        );
    }

    /// Says why the settings stay as they were.
    pub fn reload_failed(&mut self, error: &str) {
        self.event("reload_failed", json!({"error": error}));
    }

    /// Says that nothing is attached any more, or that what is `pinned` goes on.
    pub fn ended(&mut self, pinned: bool) {
        self.event(if pinned { "left" } else { "detached" }, json!({}));
    }

    /// Says what was counted since the start.
    pub fn counters(&mut self, interfaces: &[InterfaceCounters]) {
        for counters in interfaces {
            match self.output {
                Output::Text => self.line(&text(counters)),
                Output::Json => self.json("counters", object(counters)),
            }
        }
    }

    /// What happened, which people read in the log.
    fn event(&mut self, kind: &str, value: Value) {
        if self.output == Output::Json {
            self.json(kind, value);
        }
    }

    fn json(&mut self, kind: &str, value: Value) {
        self.line(&line_of(kind, value));
    }

    fn line(&mut self, line: &str) {
        self.queue.push(line);
    }
}

fn event_text(event: &Event) -> String {
    format!(
        "{} {}: {}: client {}, server {}, seq {}, ack {}",
        event.time,
        event.iface,
        event.reason.replace('_', " "),
        event.client_socket(),
        event.server_socket(),
        event.seq,
        event.ack,
    )
}

/// An object of a kind, with the time: its own, or now.
fn line_of(kind: &str, mut value: Value) -> String {
    value["type"] = kind.into();
    if value.get("time").is_none() {
        value["time"] = humantime::format_rfc3339_millis(SystemTime::now())
            .to_string()
            .into();
    }
    value.to_string()
}

fn text(
    InterfaceCounters {
        interface,
        counters,
    }: &InterfaceCounters,
) -> String {
    let resets = counters.of(Reason::ResetAfterSpuriousAck)
        + counters.of(Reason::ResetAfterClose)
        + counters.of(Reason::ResetOther);
    let suppressed = counters.of(Reason::ResetAfterSpuriousAckSuppressed)
        + counters.of(Reason::ResetAfterCloseSuppressed);
    format!(
        "{} {interface}: closed {}, spurious ACKs dropped {}, observed {}, re-ACKs passed {}, \
         server resets passed {resets}, suppressed {suppressed}",
        humantime::format_rfc3339_seconds(SystemTime::now()),
        counters.of(Reason::FirstAck),
        counters.dropped_acks(),
        counters.observed_acks(),
        counters.of(Reason::ElicitedAck),
    )
}

fn object(
    InterfaceCounters {
        interface,
        counters,
    }: &InterfaceCounters,
) -> Value {
    let packets: Map<_, _> = Reason::ALL
        .into_iter()
        .filter(|reason| reason.is_counted())
        .map(|reason| (reason.as_str().to_owned(), counters.of(reason).into()))
        .collect();
    json!({
        "iface": interface,
        "spurious_acks_dropped": counters.dropped_acks(),
        "spurious_acks_observed": counters.observed_acks(),
        "packets": packets,
    })
}
