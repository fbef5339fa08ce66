//! What the unit takes away, taken away without systemd: system calls, and writable files.

#![expect(
    unsafe_code,
    reason = "a filter of system calls is put on between fork and exec"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env::consts::ARCH,
    io,
    os::unix::process::CommandExt as _,
    process::Command,
};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use syscalls::Sysno;

use crate::{
    privilege::{Limited, assert_works},
    unit::setting,
};

/// As namespaces of systemd look with what the unit says of files.
const MOUNTS: &str = "
mount -o remount,bind,ro /
mount -t bpf bpf /sys/fs/bpf
mkdir -m 0700 /sys/fs/bpf/lastack
mount --bind /sys/fs/bpf/lastack /sys/fs/bpf/lastack
mount -o remount,bind,ro /sys/fs/bpf
mount -o remount,bind,ro /sys
mount -t proc -o subset=pid,hidepid=invisible proc /proc
for file in / /sys /sys/fs/bpf; do test ! -w $file; done
test -w /sys/fs/bpf/lastack
test ! -e /proc/sys
exec \"$0\" \"$@\"
";

#[test]
fn it_works_with_the_system_calls_of_the_unit() {
    let filter = filter(&allowed());
    let limited = Limited::root();
    assert_works(
        |interfaces, options| {
            let mut command = limited.run(interfaces, options);
            // SAFETY: two system calls, and nothing else.
            unsafe {
                command.pre_exec(move || {
                    seccompiler::apply_filter(&filter).map_err(|_| io::Error::last_os_error())
                });
            }
            command
        },
        &[],
    );
}

#[test]
fn it_works_with_the_files_of_the_unit() {
    for on in [
        "ProtectKernelTunables=yes",
        "ProtectSystem=strict",
        "ProcSubset=pid",
    ] {
        let (name, value) = on.split_once('=').unwrap();
        assert_eq!(setting(name), [value]);
    }
    assert_eq!(setting("ReadWritePaths"), ["-/sys/fs/bpf/lastack"]);
    let limited = Limited::root();
    assert_works(
        |interfaces, options| {
            let inner = limited.run(interfaces, options);
            let mut outer = Command::new("unshare");
            outer.args(["--mount", "--propagation", "private", "sh", "-euc", MOUNTS]);
            outer.arg(inner.get_program()).args(inner.get_args());
            let values = inner.get_envs();
            outer.envs(values.filter_map(|(name, value)| Some((name, value?))));
            outer
        },
        &["--pin"],
    );
}

/// The system calls that the unit allows.
fn allowed() -> BTreeSet<String> {
    let sets = sets();
    let mut allowed = BTreeSet::new();
    for line in setting("SystemCallFilter") {
        let (denied, words) = match line.strip_prefix('~') {
            Some(words) => (true, words),
            None => (false, line),
        };
        let mut calls = BTreeSet::new();
        for word in words.split(' ') {
            expand(word, &sets, &mut calls);
        }
        if denied {
            allowed.retain(|call| !calls.contains(call));
        } else {
            allowed.append(&mut calls);
        }
    }
    // As systemd does, or nothing could be started.
    expand("@default", &sets, &mut allowed);
    allowed
}

fn expand(word: &str, sets: &BTreeMap<String, Vec<String>>, calls: &mut BTreeSet<String>) {
    if word.starts_with('@') {
        for word in &sets[word] {
            expand(word, sets, calls);
        }
    } else {
        calls.insert(word.to_owned());
    }
}

/// systemd's sets: calls, and other sets.
fn sets() -> BTreeMap<String, Vec<String>> {
    let mut analyze = Command::new("systemd-analyze");
    let output = analyze.args(["--no-pager", "syscall-filter"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let mut sets: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        let word = line.trim_start();
        if line.starts_with('@') {
            line.clone_into(&mut name);
        } else if !word.is_empty() && !word.starts_with('#') {
            sets.entry(name.clone()).or_default().push(word.to_owned());
        }
    }
    sets
}

/// All but these fail with the error number of the unit. What this machine does not have is left
/// out.
fn filter(allowed: &BTreeSet<String>) -> BpfProgram {
    assert_eq!(setting("SystemCallErrorNumber"), ["EPERM"]);
    let numbers = allowed.iter().filter_map(|call| call.parse::<Sysno>().ok());
    let numbers = numbers.map(|number| (number.id().into(), Vec::new()));
    let filter = SeccompFilter::new(
        numbers.collect(),
        SeccompAction::Errno(nix::libc::EPERM.unsigned_abs()),
        SeccompAction::Allow,
        ARCH.try_into().unwrap(),
    );
    filter.unwrap().try_into().unwrap()
}
