//! Capabilities: what a running instance keeps of them, and when it uses them.
//!
//! A process that may change the packet path for as long as it runs is worth attacking. So once
//! everything is attached, [`give_up`] lets go of all but three for good, and even these are in
//! the *effective* set, the one that the kernel asks, only within [`raised`].
//!
//! Capabilities belong to a thread, and a new thread gets those of the one that starts it. Hence:
//!
//! - `give_up` is called by the only thread, before any other is started.
//! - What needs a capability happens in `raised`, on any thread; threads that it starts have it,
//!   too, so they must end with it. Reading maps, and files that their owner may read, need none.
//! - Where nothing was given up (as in `demo` and `check`), `raised` changes nothing.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, ensure};
use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};
use log::{debug, warn};
use nix::sys::prctl;

/// What loading, attaching and detaching need.
const NEEDED: [Capability; 3] = [
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_PERFMON,
];

/// Gives up for good what is not needed, and takes what is out of the effective set.
///
/// `reads` is whether maps can be read as things are then. Before Linux 5.19,
/// `kernel.unprivileged_bpf_disabled` takes that from whoever has not CAP_BPF, which then stays:
/// <https://git.kernel.org/torvalds/c/c8644cd0efe719608ddcb341bcf087d4bc0bf6b8>
///
/// # Errors
///
/// Where the kernel refuses, or the process has other threads.
pub fn give_up(reads: impl FnOnce() -> bool) -> anyhow::Result<()> {
    ensure!(is_alone(), "there are threads that would keep them");
    let kept = kept(&caps::read(None, CapSet::Permitted)?);
    prctl::set_no_new_privs().context("no_new_privs")?;
    // Lowering it is privileged itself. What was never had need not be lowered.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::runtime::thread_all_supported() {
            if !kept.contains(&capability) {
                caps::drop(None, CapSet::Bounding, capability)?;
            }
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::clear(None, CapSet::Effective)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    if !reads() {
        debug!("the kernel wants CAP_BPF of those who read maps");
        let bpf = [Capability::CAP_BPF, Capability::CAP_SYS_ADMIN];
        let bpf = bpf.into_iter().filter(|bpf| kept.contains(bpf)).collect();
        caps::set(None, CapSet::Effective, &bpf)?;
    }
    Ok(())
}

/// Does a job with the capabilities that [`give_up`] has kept; afterwards the thread is as it was.
pub fn raised<T>(job: impl FnOnce() -> T) -> T {
    let _lowered_at_last = match Raised::new() {
        Ok(raised) => Some(raised),
        // What it cannot do then says so itself.
        Err(error) => {
            warn!("cannot raise capabilities: {error}");
            None
        }
    };
    job()
}

/// Whether this is the only thread. Ones that have ended are there for a moment longer.
fn is_alone() -> bool {
    const LOOKS: u32 = 100;
    (0..LOOKS).any(|look| {
        if look != 0 {
            thread::sleep(Duration::from_millis(1));
        }
        fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
    })
}

/// Of those that are permitted.
fn kept(permitted: &CapsHashSet) -> CapsHashSet {
    let mut kept: CapsHashSet = NEEDED
        .into_iter()
        .filter(|needed| permitted.contains(needed))
        .collect();
    // It holds what was split off it, and some grant only that.
    if kept.len() < NEEDED.len() && permitted.contains(&Capability::CAP_SYS_ADMIN) {
        kept.insert(Capability::CAP_SYS_ADMIN);
    }
    kept
}

/// A thread whose capabilities are raised, until this is dropped: also by a panic.
struct Raised {
    before: CapsHashSet,
}

impl Raised {
    fn new() -> Result<Self, CapsError> {
        let before = caps::read(None, CapSet::Effective)?;
        let raised = kept(&caps::read(None, CapSet::Permitted)?);
        caps::set(None, CapSet::Effective, &(&before | &raised))?;
        Ok(Self { before })
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        if let Err(error) = caps::set(None, CapSet::Effective, &self.before) {
            warn!("cannot lower capabilities: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic;

    use super::*;

    fn effective() -> CapsHashSet {
        caps::read(None, CapSet::Effective).unwrap()
    }

    /// On a thread of its own, whose capabilities nobody else has.
    fn lowered(job: impl FnOnce() + Send) {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                caps::clear(None, CapSet::Effective).unwrap();
                job();
            });
            thread.join().unwrap();
        });
    }

    #[test]
    fn capabilities_are_raised_for_a_job_and_its_threads_alone() {
        let expected = kept(&caps::read(None, CapSet::Permitted).unwrap());
        lowered(|| {
            let (here, in_thread) = raised(|| {
                let in_thread = thread::scope(|scope| scope.spawn(effective).join().unwrap());
                (effective(), in_thread)
            });
            assert_eq!((&here, &in_thread), (&expected, &expected));
            assert_eq!(effective(), CapsHashSet::new());
        });
    }

    #[test]
    fn a_job_within_a_job_leaves_them_raised() {
        let expected = kept(&caps::read(None, CapSet::Permitted).unwrap());
        lowered(|| {
            raised(|| {
                raised(|| ());
                assert_eq!(effective(), expected);
            });
            assert!(effective().is_empty());
        });
    }

    #[test]
    fn a_job_that_panics_leaves_them_lowered() {
        lowered(|| {
            panic::catch_unwind(|| raised(|| panic!("as asked"))).unwrap_err();
            assert!(effective().is_empty());
        });
    }

    #[test]
    fn sys_admin_is_kept_only_where_it_stands_for_others() {
        let all: CapsHashSet = caps::all();
        assert_eq!(kept(&all), NEEDED.into_iter().collect());
        let old = [Capability::CAP_SYS_ADMIN, Capability::CAP_NET_ADMIN];
        let old: CapsHashSet = old.into_iter().collect();
        assert_eq!(kept(&old), old);
    }
}
