//! What can go wrong with the packet programs, in words for whoever has to mend it.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use aya::{
    EbpfError,
    maps::MapError,
    pin::PinError,
    programs::{ProgramError, tc::TcError, xdp::XdpError},
    sys::SyscallError,
    util::KernelVersion,
};
use caps::Capability;
use thiserror::Error;

use super::kernel::{FLOOR, NO_MEMLOCK};
use crate::remedy::{answer, told};

/// An error of [`Datapath`](super::Datapath); each is one line that says what to do.
#[derive(Debug, Error)]
pub enum DatapathError {
    /// Capabilities are missing.
    #[error(
        "not allowed to load packet programs: {0} missing; run as root, or grant these capabilities"
    )]
    Capabilities(String),
    /// The kernel lets packet programs interrupt one another.
    #[error(
        "this kernel is a real-time one (PREEMPT_RT), on which packet programs interrupt one another; boot another kernel"
    )]
    Realtime,
    /// The kernel is one that nothing was tried on.
    #[error(
        "Linux {0} is older than {FLOOR}, the oldest that lastack supports; boot {FLOOR} or a newer one"
    )]
    Old(KernelVersion),
    /// Maps and programs do not fit into the limit on locked memory, in octets.
    #[error(
        "Linux before {NO_MEMLOCK} accounts maps and programs to the limit on locked memory, and the {} KiB of this process are too few; grant CAP_SYS_RESOURCE, or raise it: `ulimit -l unlimited`, in a unit LimitMEMLOCK=infinity",
        .0 / 1024
    )]
    LockedMemory(u64),
    /// There is no such interface.
    #[error("no interface is called {0}; `ip link` lists those that there are")]
    NoInterface(String),
    /// Nothing is known of what its packets begin with.
    #[error(
        "{interface} has link type {link_type}; only Ethernet and interfaces that carry bare IP (tun, ppp, wireguard) can be served"
    )]
    LinkType {
        /// Its name.
        interface: String,
        /// Its `ARPHRD_*` number.
        link_type: u16,
    },
    /// It is served already.
    #[error("{0} is named twice")]
    Twice(String),
    /// More interfaces than can be counted apart.
    #[error(
        "{0} cannot be counted apart from the interfaces that are served already; leave one out"
    )]
    TooManyInterfaces(String),
    /// XDP was asked for and packets begin with IP.
    #[error("{0} has no Ethernet header, and XDP needs one; use `--ingress tc`")]
    XdpWithoutEthernet(String),
    /// XDP was asked for and there is another program.
    #[error("{0} has an XDP program already; take that off, or use `--ingress tc`")]
    XdpBusy(String),
    /// XDP was asked for and the driver has none.
    #[error(
        "XDP cannot be attached to {interface} (driver {driver}) in {mode} mode ({error}); use `--ingress tc`"
    )]
    Xdp {
        /// The interface.
        interface: String,
        /// Its driver's name, or `unknown`.
        driver: String,
        /// `native` or `generic`.
        mode: &'static str,
        /// The kernel's answer.
        error: io::Error,
    },
    /// The kernel refused a program at a TC hook.
    #[error("cannot attach to the {hook} hook of {interface}: {}", answer(error))]
    Tc {
        /// The interface.
        interface: String,
        /// The hook.
        hook: &'static str,
        /// The kernel's answer.
        error: io::Error,
    },
    /// The kernel did not take a program: its verifier refused it, or something was short or forbidden.
    #[error("{}", refusal(program, error))]
    Refused {
        /// The program.
        program: &'static str,
        /// The kernel's answer.
        error: io::Error,
    },
    /// Maps or programs could not be made.
    #[error("cannot load the packet programs: {}", load_failure(.0))]
    Load(EbpfError),
    /// The object in this binary is not the one that it was built for.
    #[error("the embedded object has no {0}; this binary was built wrongly")]
    Missing(&'static str),
    /// A map could not be read or written.
    #[error("cannot access the map {map}: {}", told(error))]
    Map {
        /// Its name.
        map: &'static str,
        /// The kernel's answer.
        error: MapError,
    },
    /// What is to be pinned cannot be.
    #[error(
        "{0} is not in a BPF file system; `mount -t bpf -o mode=700 bpf /sys/fs/bpf` makes one, `--pin-dir` names another"
    )]
    NoBpfFileSystem(PathBuf),
    /// Others than its owner could change what is pinned, or its owner is another.
    #[error(
        "{directory} belongs to user {owner} and has mode {mode:o}, so that others may change what is pinned there; make it this user's alone (`chown`, `chmod 700`), or remove it (`rm -r {directory}`), and mount the file system with `-o mode=700`"
    )]
    Exposed {
        /// Where.
        directory: PathBuf,
        /// Whose.
        owner: u32,
        /// Its permissions.
        mode: u32,
    },
    /// Where something is to be pinned is a symbolic link, or a file.
    #[error(
        "{0} is a symbolic link or a file where a directory of pins has to be, so it is not looked at; remove it (`rm {0}`)"
    )]
    NotDirectory(PathBuf),
    /// Something else is pinned there.
    #[error(
        "{directory} holds {}, which is not of lastack; choose another place (`--pin-dir`, `--instance`), or remove that", .entry.display()
    )]
    Foreign {
        /// Where.
        directory: PathBuf,
        /// What.
        entry: OsString,
    },
    /// Everything was taken off and removed, but for what somebody else has there.
    #[error(
        "everything is off, but {directory} stays, for it holds {}, which is not of lastack; if nobody needs that, `rm -r {directory}`", .entry.display()
    )]
    Stays {
        /// Where.
        directory: PathBuf,
        /// What.
        entry: OsString,
    },
    /// Everything was taken off and removed, but for the directory.
    #[error("everything is off, but cannot remove {directory}: {}", answer(error))]
    StaysEmpty {
        /// Which.
        directory: PathBuf,
        /// The kernel's answer.
        error: io::Error,
    },
    /// A pin could not be removed.
    #[error("cannot remove {path}: {}", answer(error))]
    Unpin {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        error: io::Error,
    },
    /// Another process has what is pinned.
    #[error(
        "another process works with what is pinned in {0}; end that (`fuser {0}` tells which it is), or give this instance another name (`--instance NAME`)"
    )]
    PinsBusy(PathBuf),
    /// Something is wrong with what is pinned.
    #[error("cannot pin in {directory}: {}", answer_of_place(directory, error))]
    Pins {
        /// Where.
        directory: PathBuf,
        /// The kernel's answer.
        error: io::Error,
    },
    /// What is pinned there is no instance.
    #[error(
        "{0} holds what no lastack can read; take off what it attached (`bpftool net` lists it) and remove the directory"
    )]
    NotOurs(PathBuf),
    /// What is pinned there is of another layout.
    #[error(
        "what is pinned in {directory} is of lastack {version} and its layout {theirs}, this one has {ours}; `lastack detach` of that version, or of this, takes it off"
    )]
    Layout {
        /// Where.
        directory: PathBuf,
        /// Of what pinned it.
        version: String,
        /// Its layout.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// What is pinned there has tables of other sizes.
    #[error(
        "{map} in {directory} has {now} entries where this lastack has {ours}; `lastack detach` first, and start again"
    )]
    Size {
        /// Where.
        directory: PathBuf,
        /// Which.
        map: &'static str,
        /// How many it has.
        now: u32,
        /// How many it would have.
        ours: u32,
    },
    /// What is pinned there serves other interfaces.
    #[error(
        "what is pinned in {0} serves another network namespace; give this instance another name (`--instance NAME`), or, if that namespace is gone, remove the directory"
    )]
    OtherNamespace(PathBuf),
    /// An instance of that name works without a process.
    #[error(
        "an instance that is pinned in {0} is at work; `--pin` takes it over, `lastack detach` takes it off"
    )]
    LeftBehind(PathBuf),
    /// A setting cannot change while the tables stay.
    #[error(
        "{option} is {now} and cannot become {asked} while closing connections are kept; {remedy}"
    )]
    Fixed {
        /// The setting.
        option: &'static str,
        /// What it is.
        now: String,
        /// What it was to be.
        asked: String,
        /// What to do instead.
        remedy: &'static str,
    },
    /// Programs cannot be replaced while they run.
    #[error(
        "cannot replace the programs, for nothing can be pinned: start with CAP_SYS_ADMIN, or with `--pin`; or restart"
    )]
    CannotReplace,
    /// The machine did not answer a question about itself.
    #[error("cannot find out {what}: {}", answer(error))]
    System {
        /// The question.
        what: &'static str,
        /// The kernel's answer.
        error: io::Error,
    },
    /// The system gives no thread to load a program with.
    #[error("cannot start a thread: {0}; allow this process more tasks and memory")]
    Thread(io::Error),
    /// Something stayed attached.
    #[error("could not take everything off {interface}: {}", answer(error))]
    Detach {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        error: io::Error,
    },
}

impl DatapathError {
    /// That `capabilities` are missing.
    pub(crate) fn missing(capabilities: &[Capability]) -> Self {
        let names: Vec<_> = capabilities.iter().map(ToString::to_string).collect();
        Self::Capabilities(names.join(", "))
    }
}

/// Why nothing can be pinned in a directory, and what to do.
fn answer_of_place(directory: &Path, error: &io::Error) -> String {
    if error.raw_os_error() != Some(nix::libc::EROFS) {
        return answer(error);
    }
    let place = directory.parent().unwrap_or(directory).display();
    format!(
        "{error}; of a service ProtectKernelTunables= in its unit does that: a drop-in with \
         `ExecStartPre=+mkdir -p -m 700 {place}` and `ReadWritePaths=-{place}` lets it pin there; else mount \
         it again so that it can be written to"
    )
}

/// That the kernel did not take a program; of the verifier there is more to read.
fn refusal(program: &str, error: &io::Error) -> String {
    use nix::libc::{E2BIG, EACCES, EINVAL};
    if matches!(error.raw_os_error(), Some(EINVAL | EACCES | E2BIG)) {
        return format!(
            "this kernel refuses the program {program} ({error}); `RUST_LOG=debug` shows its \
             verifier's log"
        );
    }
    format!("cannot load the program {program}: {}", answer(error))
}

/// Why maps or programs could not be made.
fn load_failure(error: &EbpfError) -> String {
    if let EbpfError::MapError(MapError::PinError {
        name: Some(name),
        error,
    }) = error
    {
        return format!("map `{name}` cannot be pinned: {}", told(error));
    }
    told(error)
}

/// The kernel's answer within an error of aya's.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "aya's errors without an answer of the kernel are all the same here"
)]
pub(crate) fn kernel_answer(error: ProgramError) -> io::Error {
    match error {
        ProgramError::LoadError { io_error, .. }
        | ProgramError::SyscallError(SyscallError { io_error, .. })
        | ProgramError::TcError(TcError::IoError(io_error)) => io_error,
        ProgramError::XdpError(XdpError::NetlinkError(error))
        | ProgramError::TcError(TcError::NetlinkError(error))
        | ProgramError::NetlinkError(error) => error.raw_os_error().map_or_else(
            || io::Error::other(error.to_string()),
            io::Error::from_raw_os_error,
        ),
        other => io::Error::other(other.to_string()),
    }
}

/// The kernel's answer within an error of aya's about a pin.
pub(super) fn pin_answer(error: PinError) -> io::Error {
    match error {
        PinError::SyscallError(SyscallError { io_error, .. }) => io_error,
        other @ (PinError::NoFd { .. } | PinError::InvalidPinPath { .. }) => {
            io::Error::other(other.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;

    #[test]
    fn the_verifier_s_log_is_named_only_where_the_verifier_has_answered() {
        let said = |number| {
            let program = "lastack_egress";
            let error = io::Error::from_raw_os_error(number);
            DatapathError::Refused { program, error }.to_string()
        };
        for number in [libc::EINVAL, libc::EACCES, libc::E2BIG] {
            let said = said(number);
            assert!(
                said.contains("refuses the program lastack_egress"),
                "{said}"
            );
            assert!(said.contains("RUST_LOG=debug"), "{said}");
        }
        for (number, remedy) in [
            (libc::ENOMEM, "free some memory"),
            (libc::EPERM, "security module"),
            (libc::EMFILE, "more open files"),
            (libc::EIO, "lastack check"),
        ] {
            let said = said(number);
            assert!(said.contains(remedy), "{said}");
            assert!(said.contains("program lastack_egress: "), "{said}");
            assert!(!said.contains("RUST_LOG"), "{said}");
        }
    }
}
