//! What is logged where standard error is the journal, and where it is not.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
};

use filter_user::lab::topology::{Topology, WAN};
use nix::sys::signal::Signal;

use crate::{
    directory::Directory,
    instance::{Instance, run},
};

/// The log of an instance that starts and stops and of one that fails, where `JOURNAL_STREAM` is
/// what `stream` makes of device and inode of standard error.
fn log(stream: impl Fn(u64, u64) -> String) -> Vec<String> {
    let topology = Topology::new().unwrap();
    let directory = Directory::new();
    let path = directory.join("log");
    let file = File::create(&path).unwrap();
    let there = file.metadata().unwrap();
    let command = |interface| {
        let mut command = run(&[interface], &["--metrics-addr", "off"]);
        command
            .env("RUST_LOG", "info")
            .env("JOURNAL_STREAM", stream(there.dev(), there.ino()))
            .stderr(file.try_clone().unwrap());
        command
    };
    let instance = Instance::spawn(&topology.gateway, command(WAN)).attached_to(&[WAN]);
    assert!(instance.stop(Signal::SIGTERM).0.success());
    let failed = topology.gateway.spawn(command("nope0")).unwrap().wait();
    assert_eq!(failed.unwrap().code(), Some(1));
    let log = fs::read_to_string(path).unwrap();
    log.lines().map(str::to_owned).collect()
}

#[test]
fn lines_for_the_journal_begin_with_their_level() {
    let log = log(|device, inode| format!("{device}:{inode}"));
    let has = |line: &str| log.iter().any(|there| there == line);
    assert!(
        has("<6>wan0: attached to xdp-native and tcx-egress"),
        "{log:#?}"
    );
    assert!(has("<6>SIGTERM: detaching"), "{log:#?}");
    let last = log.last().unwrap();
    assert!(
        last.starts_with("<3>lastack: ") && last.contains("nope0"),
        "{log:#?}"
    );
    assert!(log.iter().all(|line| line.starts_with('<')), "{log:#?}");
}

#[test]
fn lines_for_anybody_else_have_the_time_even_where_the_journal_takes_those_of_others() {
    for stream in [
        |device, inode| format!("{device}:{}", inode + 1),
        |device, inode| format!("{}:{inode}", device + 1),
    ] {
        let log = log(stream);
        let (last, others) = log.split_last().unwrap();
        assert!(
            last.starts_with("lastack: ") && last.contains("nope0"),
            "{log:#?}"
        );
        assert!(!others.is_empty());
        for line in others {
            assert!(
                line.starts_with("[20") && line.contains("Z INFO "),
                "{log:#?}"
            );
        }
    }
}
