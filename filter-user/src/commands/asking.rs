//! Options of every command that asks an instance, and how what it says is printed.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::is_read;
use crate::{
    control::{self, Instance},
    instance::InstanceName,
    report::Detached,
    stream::Output,
};

/// Whom to ask, and how to print what it says.
#[derive(Clone, Debug, Args)]
pub(super) struct Asking {
    /// Which instance; without it, the only one of this network namespace
    #[arg(
        long,
        value_name = "NAME",
        env = "LASTACK_INSTANCE",
        hide_env_values = true
    )]
    pub(super) instance: Option<InstanceName>,
    /// Where instances are pinned
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/sys/fs/bpf/lastack",
        env = "LASTACK_PIN_DIR",
        hide_env_values = true
    )]
    pub(super) pin_dir: PathBuf,
    /// How it is printed; json is one object
    #[arg(
        long,
        value_enum,
        default_value = "text",
        env = "LASTACK_OUTPUT",
        hide_env_values = true
    )]
    pub(super) output: Output,
}

impl Asking {
    /// The instance that is meant.
    pub(super) fn choose(&self) -> anyhow::Result<Instance> {
        control::choose(self.instance.as_ref(), &self.pin_dir)
    }

    /// Takes off what is meant.
    pub(super) fn detach(&self) -> anyhow::Result<Detached> {
        control::detach(self.instance.as_ref(), &self.pin_dir)
    }

    /// Prints what `text` makes of it, or its JSON; tells whether anybody reads it.
    pub(super) fn print<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<bool> {
        let text = match self.output {
            Output::Text => text(value),
            Output::Json => serde_json::to_string(value)? + "\n",
        };
        let mut output = io::stdout().lock();
        let written = output.write_all(text.as_bytes());
        is_read(written.and_then(|()| output.flush())).context("cannot write what it says")
    }
}
