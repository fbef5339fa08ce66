//! Other settings for an instance that is at work.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use log::{info, warn};

use super::{Arguments, OptionChange, OptionChanges};
use crate::{cli, datapath::Datapath, stream::Stream};

/// What an instance was asked to do, first and last.
pub(super) struct Asked<'a> {
    at_start: &'a Arguments,
    since: Option<Box<Arguments>>,
    is_in_force: Arc<AtomicBool>,
}

impl<'a> Asked<'a> {
    /// What it was started with.
    pub(super) fn at_start(arguments: &'a Arguments) -> Self {
        Self {
            at_start: arguments,
            since: None,
            is_in_force: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Whether what was last asked is what is in force, but for what needs a restart.
    pub(super) fn is_in_force(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_in_force)
    }

    /// What is in force, but for what needs a restart.
    pub(super) fn now(&self) -> &Arguments {
        self.since.as_deref().unwrap_or(self.at_start)
    }

    /// Reads the options again and applies what can be applied; if anything is wrong, nothing. Gives
    /// whether other programs are at work now.
    pub(super) fn reload(&mut self, datapath: &mut Datapath, stream: &mut Stream) -> bool {
        let applied = self.apply(datapath);
        self.is_in_force.store(applied.is_ok(), Ordering::Relaxed);
        match applied {
            Ok((changes, has_replaced)) => {
                for change in &changes.needs_restart {
                    warn!("{}", postponed(change));
                }
                info!("reloaded: {}", Listed(&changes));
                stream.reloaded(&changes);
                has_replaced
            }
            Err(error) => {
                warn!("not reloaded, going on as before: {error:#}");
                stream.reload_failed(&format!("{error:#}"));
                false
            }
        }
    }

    /// The changes, and whether programs were replaced.
    fn apply(&mut self, datapath: &mut Datapath) -> anyhow::Result<(OptionChanges, bool)> {
        let new = cli::reread()?;
        let changes = OptionChanges {
            applied: self.now().changes(&new).applied,
            needs_restart: self.at_start.changes(&new).needs_restart,
        };
        let settings = datapath.settings().changed_to(&new.settings());
        let needs_others = settings != *datapath.settings();
        if needs_others {
            datapath.reload(&settings)?;
        }
        self.since = Some(Box::new(new));
        Ok((changes, needs_others))
    }
}

/// What is said of an option that cannot change while an instance runs.
fn postponed(change: &OptionChange) -> String {
    format!(
        "{} is {} now, and {} is at work; that takes effect with the next start",
        change.option,
        value(&change.new),
        value(&change.old)
    )
}

/// A value for people.
fn value(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

/// Changes as one line.
struct Listed<'a>(&'a OptionChanges);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.applied.is_empty() {
            return f.write_str("nothing to change");
        }
        for (number, change) in self.0.applied.iter().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            let (old, new) = (value(&change.old), value(&change.new));
            write!(f, "{separator}{} {old} -> {new}", change.option)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_to_wait_is_told_with_both_values() {
        let change = |option, old: &str, new: &str| {
            postponed(&OptionChange {
                option,
                old: old.to_owned(),
                new: new.to_owned(),
            })
        };
        assert_eq!(
            change("max-flows", "65536", "5"),
            "max-flows is 5 now, and 65536 is at work; that takes effect with the next start"
        );
        assert!(change("config", "a.toml", "").starts_with("config is none now, and a.toml is"));
    }
}
