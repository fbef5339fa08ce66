//! Judges the machine and its kernel.

use caps::Capability;

use super::report::Finding;
use crate::{
    datapath::{
        DatapathError,
        kernel::{FLOOR, MULTI_BUFFER, NO_MEMLOCK, TCX},
    },
    probe::machine::Machine,
};

pub(super) fn judge(machine: &Machine) -> Vec<Finding> {
    let memlock = machine
        .version
        .filter(|&version| NO_MEMLOCK.is_after(version));
    [
        Some(kernel(machine)),
        Some(preemption(machine.realtime)),
        Some(capabilities(&machine.missing)),
        memlock.map(|_| memory(machine.may_lock_memory)),
        Some(programs(machine)),
        Some(jit(machine)),
        Some(btf(machine.btf)),
        Some(bpffs(machine.bpffs)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn kernel(machine: &Machine) -> Finding {
    let name = format!("{} on {}", machine.release, std::env::consts::ARCH);
    let Some(version) = machine.version else {
        return Finding::warning(
            "kernel",
            format!("{name}, whose version cannot be told"),
            format!("see that it is {FLOOR} or newer"),
        );
    };
    if FLOOR.is_after(version) {
        return Finding::refused("kernel", &DatapathError::Old(version));
    }
    let mut lacks = Vec::new();
    if MULTI_BUFFER.is_after(version) {
        lacks.push(format!("XDP of frames in several buffers ({MULTI_BUFFER})"));
    }
    if TCX.is_after(version) {
        lacks.push(format!(
            "TCX ({TCX}): clsact filters serve, and outlive a `kill -9`"
        ));
    }
    if lacks.is_empty() {
        return Finding::ok("kernel", name);
    }
    Finding::ok("kernel", format!("{name}, without {}", lacks.join(" and ")))
}

fn preemption(realtime: bool) -> Finding {
    if realtime {
        return Finding::refused("preemption", &DatapathError::Realtime);
    }
    Finding::ok("preemption", "not a real-time kernel")
}

fn capabilities(missing: &[Capability]) -> Finding {
    if missing.is_empty() {
        let needed = "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are there";
        return Finding::ok("capabilities", needed);
    }
    Finding::refused("capabilities", &DatapathError::missing(missing))
}

fn memory(may_lock: bool) -> Finding {
    if may_lock {
        return Finding::ok("memlock", "maps can be locked in memory");
    }
    Finding::warning(
        "memlock",
        format!(
            "kernels before {NO_MEMLOCK} account maps to RLIMIT_MEMLOCK, which cannot be raised from here"
        ),
        "grant CAP_SYS_RESOURCE, or `ulimit -l unlimited`",
    )
}

fn programs(machine: &Machine) -> Finding {
    match &machine.verified {
        Some(Ok(_)) => Finding::ok("programs", "the kernel's verifier accepts them"),
        Some(Err(error)) => Finding::refused("programs", error),
        None => Finding::warning(
            "programs",
            "whether the kernel's verifier accepts them was not tried, for want of capabilities",
            "check as root",
        ),
    }
}

/// What became of the programs says more than the setting, which an architecture without a JIT
/// has not, and which shows in the first network namespace only.
fn jit(machine: &Machine) -> Finding {
    let jitted = match machine.verified {
        Some(Ok(jitted)) => Some(jitted),
        Some(Err(_)) | None => machine.jit,
    };
    match jitted {
        Some(true) => Finding::ok("jit", "programs become machine code"),
        Some(false) => Finding::warning(
            "jit",
            "programs are interpreted, which makes every packet slower",
            "`sysctl -w net.core.bpf_jit_enable=1`",
        ),
        None => Finding::warning(
            "jit",
            "whether programs become machine code cannot be seen from here",
            "check as root",
        ),
    }
}

fn btf(there: bool) -> Finding {
    let message = if there {
        "the kernel has type information; not needed"
    } else {
        "the kernel has no type information; not needed"
    };
    Finding::ok("btf", message)
}

fn bpffs(mounted: bool) -> Finding {
    let message = if mounted {
        "mounted at /sys/fs/bpf; only pinning needs it"
    } else {
        "not mounted at /sys/fs/bpf; only pinning needs it"
    };
    Finding::ok("bpffs", message)
}

#[cfg(test)]
mod tests {
    use std::io;

    use aya::util::KernelVersion;

    use super::{super::report::Status, *};

    fn machine() -> Machine {
        Machine {
            release: "6.18.1".to_owned(),
            version: Some(KernelVersion::new(6, 18, 1)),
            realtime: false,
            missing: Vec::new(),
            may_lock_memory: false,
            btf: true,
            bpffs: true,
            jit: None,
            verified: Some(Ok(true)),
        }
    }

    fn of(machine: &Machine, name: &str) -> Option<Finding> {
        judge(machine).into_iter().find(|found| found.name == name)
    }

    #[test]
    fn a_machine_with_everything_is_ok_throughout() {
        let found = judge(&machine());
        let names: Vec<_> = found.iter().map(|found| found.name).collect();
        assert_eq!(
            names,
            [
                "kernel",
                "preemption",
                "capabilities",
                "programs",
                "jit",
                "btf",
                "bpffs"
            ]
        );
        assert!(found.iter().all(|found| found.status == Status::Ok));
    }

    #[test]
    fn older_kernels_lack_what_is_named_and_the_oldest_are_an_error() {
        let of = |major, minor| {
            kernel(&Machine {
                version: Some(KernelVersion::new(major, minor, 0)),
                release: format!("{major}.{minor}.0"),
                ..machine()
            })
        };
        for (major, minor, tcx, multi_buffer) in [
            (5, 10, false, false),
            (5, 18, false, true),
            (6, 6, true, true),
        ] {
            let found = of(major, minor);
            assert_eq!(found.status, Status::Ok);
            assert_eq!(!found.message.contains("TCX"), tcx, "{found:?}");
            assert_eq!(!found.message.contains("5.18)"), multi_buffer, "{found:?}");
        }
        let older = of(5, 9);
        assert_eq!(older.status, Status::Error);
        assert_eq!(older.remedy.as_deref(), Some("boot 5.10 or a newer one"));
    }

    #[test]
    fn the_limit_on_locked_memory_counts_before_kernel_5_11_only() {
        let mut old = machine();
        old.version = Some(KernelVersion::new(5, 10, 0));
        assert_eq!(of(&old, "memlock").unwrap().status, Status::Warning);
        old.may_lock_memory = true;
        assert_eq!(of(&old, "memlock").unwrap().status, Status::Ok);
        old.version = Some(KernelVersion::new(5, 11, 0));
        assert_eq!(of(&old, "memlock"), None);
    }

    #[test]
    fn a_real_time_kernel_and_missing_capabilities_are_errors_in_run_s_words() {
        let mut bad = machine();
        bad.realtime = true;
        bad.missing = vec![Capability::CAP_BPF];
        bad.verified = None;
        let preemption = of(&bad, "preemption").unwrap();
        assert_eq!(preemption.status, Status::Error);
        assert_eq!(preemption.remedy.as_deref(), Some("boot another kernel"));
        let capabilities = of(&bad, "capabilities").unwrap();
        assert_eq!(capabilities.status, Status::Error);
        assert!(capabilities.message.contains("CAP_BPF missing"));
        assert!(capabilities.remedy.unwrap().starts_with("run as root"));
        // Not seen is no error by itself.
        assert_eq!(of(&bad, "programs").unwrap().status, Status::Warning);
        assert_eq!(of(&bad, "jit").unwrap().status, Status::Warning);
    }

    #[test]
    fn a_program_that_the_verifier_refuses_is_an_error_that_names_it() {
        let mut bad = machine();
        bad.verified = Some(Err(DatapathError::Refused {
            program: "lastack_egress",
            error: io::Error::from_raw_os_error(nix::libc::EACCES),
        }));
        let programs = of(&bad, "programs").unwrap();
        assert_eq!(programs.status, Status::Error);
        assert!(programs.message.contains("lastack_egress"));
        assert!(programs.remedy.unwrap().contains("RUST_LOG=debug"));
    }

    #[test]
    fn interpreted_programs_are_a_warning_with_the_setting() {
        let mut slow = machine();
        slow.verified = Some(Ok(false));
        slow.jit = Some(true);
        let jit = of(&slow, "jit").unwrap();
        assert_eq!(jit.status, Status::Warning);
        assert!(jit.remedy.unwrap().contains("net.core.bpf_jit_enable=1"));
        slow.verified = None;
        assert_eq!(of(&slow, "jit").unwrap().status, Status::Ok);
    }
}
