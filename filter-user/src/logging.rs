//! The log: on standard error, for people or for systemd's journal.

use std::{
    env,
    io::{self, Write},
    os::fd::AsFd,
};

use env_logger::Env;
use log::{Level, LevelFilter};
use nix::sys::stat::fstat;

use crate::remedy::remedy;

/// Starts the log; `RUST_LOG` chooses. The programs' own log is at level debug and only there if
/// it was asked for.
///
/// Where standard error is the journal, lines begin with their level as it takes it, and without
/// a time, which it has itself.
pub(crate) fn start() {
    let mut builder = env_logger::Builder::new();
    // What aya::sys::bpf warns of is the limit on locked memory, whatever the kernel has refused;
    // where that is the reason, the error says so. aya::bpf warns, with pages of type
    // information, where the kernel does not take that; nothing here needs it.
    for module in ["aya::sys::bpf", "aya::bpf"] {
        builder.filter_module(module, LevelFilter::Error);
    }
    let default = "warn,filter_user=info,lastack_ebpf=debug";
    builder.parse_env(Env::default().default_filter_or(default));
    if is_journal() {
        builder.format(|log, record| prefix(log, record.level(), &record.args().to_string()));
    } else {
        builder.format_target(false).format_timestamp_millis();
    }
    builder.init();
}

/// Says of what the process ends, whatever `RUST_LOG` is.
pub(crate) fn failure(error: &anyhow::Error) {
    let mut line = format!("lastack: {error:#}");
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    if let Some(remedy) = causes.find_map(remedy)
        && !line.contains("; ")
    {
        line.push_str("; ");
        line.push_str(remedy);
    }
    let mut stderr = io::stderr();
    // Not eprintln, which panics where nobody reads it.
    if is_journal() {
        prefix(&mut stderr, Level::Error, &line).ok();
    } else {
        writeln!(stderr, "{line}").ok();
    }
}

/// Whether standard error is what systemd connects with the journal.
fn is_journal() -> bool {
    let stream = env::var("JOURNAL_STREAM");
    stream.is_ok_and(|stream| is_stream(&stream, io::stderr()))
}

/// Whether `JOURNAL_STREAM`, "device:inode", is this file. It is inherited also by what writes
/// elsewhere: systemd.exec(5).
fn is_stream(stream: &str, file: impl AsFd) -> bool {
    let Some((device, inode)) = stream.split_once(':') else {
        return false;
    };
    fstat(file)
        .is_ok_and(|file| device.parse() == Ok(file.st_dev) && inode.parse() == Ok(file.st_ino))
}

/// Writes lines as sd-daemon(3) has them: each with the level of syslog in front.
fn prefix(mut to: impl Write, level: Level, text: &str) -> io::Result<()> {
    let level = match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    text.lines()
        .try_for_each(|line| writeln!(to, "<{level}>{line}"))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::MetadataExt as _};

    use super::*;

    #[test]
    fn the_journal_is_known_by_device_and_inode_both() {
        let null = File::open("/dev/null").unwrap();
        let there = null.metadata().unwrap();
        let (device, inode) = (there.dev(), there.ino());
        assert!(is_stream(&format!("{device}:{inode}"), &null));
        for wrong in [
            format!("{device}:{}", inode + 1),
            format!("{}:{inode}", device + 1),
            format!("{device}"),
            ":".to_owned(),
            String::new(),
        ] {
            assert!(!is_stream(&wrong, &null), "{wrong}");
        }
    }

    #[test]
    fn every_line_has_its_level() {
        let mut written = Vec::new();
        prefix(&mut written, Level::Warn, "one\ntwo").unwrap();
        prefix(&mut written, Level::Error, "three").unwrap();
        assert_eq!(written, b"<4>one\n<4>two\n<3>three\n");
    }
}
