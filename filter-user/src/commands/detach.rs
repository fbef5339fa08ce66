//! `lastack detach`: takes an instance off.

use anyhow::bail;
use clap::Args;

use super::asking::Asking;
use crate::{
    control,
    report::{AllDetached, Detached},
};

/// Takes off what an instance has attached and pinned, and ends it
///
/// Returns when that is done.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    asking: Asking,
    /// Takes off every instance of this network namespace, and what killed ones left, if there is any
    #[arg(long, conflicts_with = "instance")]
    all: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.all {
        let (detached, failed) = control::detach_all(&arguments.asking.pin_dir)?;
        arguments.asking.print(&detached, text_of_all)?;
        if !failed.is_empty() {
            bail!(failed.join("; "));
        }
        return Ok(());
    }
    let detached = arguments.asking.detach()?;
    arguments.asking.print(&detached, text)?;
    Ok(())
}

fn text(detached: &Detached) -> String {
    let Detached {
        instance,
        pid,
        interfaces,
        unpinned,
    } = detached;
    let mut done = vec![match interfaces.as_slice() {
        [] => format!("{instance}: was attached to nothing"),
        interfaces => format!("{instance}: detached from {}", interfaces.join(", ")),
    }];
    if pid.is_none() && unpinned.is_none() {
        done.push("a process that was killed had left filters there".to_owned());
    }
    if let Some(directory) = unpinned {
        done.push(format!("removed {}", directory.display()));
    }
    if let Some(pid) = pid {
        done.push(format!("process {pid} ends"));
    }
    done.join("; ") + "\n"
}

/// Nothing where there was none.
fn text_of_all(detached: &AllDetached) -> String {
    let instances: String = detached.instances.iter().map(text).collect();
    let left = match detached.left.as_slice() {
        [] => String::new(),
        left => format!(
            "detached from {} what killed processes had left there\n",
            left.join(", ")
        ),
    };
    instances + &left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_was_done() {
        let mut detached = Detached {
            instance: "default".parse().unwrap(),
            pid: Some(12),
            interfaces: vec!["wan0".to_owned(), "lan0".to_owned()],
            unpinned: None,
        };
        assert_eq!(
            text(&detached),
            "default: detached from wan0, lan0; process 12 ends\n"
        );
        detached.pid = None;
        assert_eq!(
            text(&detached),
            "default: detached from wan0, lan0; a process that was killed had left filters there\n"
        );
        detached.interfaces.clear();
        detached.unpinned = Some("/sys/fs/bpf/lastack/default".into());
        assert_eq!(
            text(&detached),
            "default: was attached to nothing; removed /sys/fs/bpf/lastack/default\n"
        );
    }
}
