//! Where faults are played: a network with traffic, and lastack doing something of which one call
//! goes wrong.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, ExitStatus},
};

use filter_user::lab::{client::Client, namespace::Namespace, topology::WAN};
use nix::sys::signal::Signal;

use super::{
    instance::{
        self, Instance,
        bpffs::BpfFileSystem,
        cure::{self, CONNECTIONS},
        file::OwnFile,
        hooks, lastack, output, tool,
        traffic::Directory,
        wait_until,
        wiring::Network,
    },
    strace::{self, Fault, Trace, traced},
    traffic::{Loss, Traffic},
};

/// How lastack attaches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    options: &'static [&'static str],
    pub(crate) is_pinned: bool,
    /// A veth sets its queues up anew when an XDP program comes or goes, and the kernel deactivates an
    /// interface while a clsact qdisc does: what is under way is lost.
    pub(crate) interrupts: bool,
}

pub(crate) const XDP: Way = Way {
    name: "XDP and TCX",
    options: &["--ingress", "xdp"],
    is_pinned: false,
    interrupts: true,
};
pub(crate) const CLSACT: Way = Way {
    name: "clsact",
    options: &["--ingress", "tc", "--tc-mode", "clsact"],
    is_pinned: false,
    interrupts: true,
};
pub(crate) const PINNED: Way = Way {
    name: "pinned TCX",
    options: &["--ingress", "tc", "--pin"],
    is_pinned: true,
    interrupts: false,
};
pub(crate) const PINNED_CLSACT: Way = Way {
    name: "pinned clsact",
    options: &["--ingress", "tc", "--tc-mode", "clsact", "--pin"],
    is_pinned: true,
    interrupts: true,
};

impl Way {
    /// Whether all that it attaches are links, which go with the process.
    pub(crate) fn has_links(self) -> bool {
        !self.options.contains(&"clsact")
    }
}

/// What it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// It starts and is ended by SIGTERM.
    Start,
    /// It reads other settings in between.
    Reload,
    /// It takes over what an earlier process has pinned, and is ended by SIGTERM.
    Takeover,
    /// It starts, and `lastack detach` has it take everything off.
    Detach,
    /// `lastack detach` takes off what has no process.
    DetachLeft,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    /// Whether it said that it had attached.
    pub(crate) has_attached: bool,
    /// What it said on standard error.
    pub(crate) said: String,
    pub(crate) trace: Trace,
}

pub(crate) struct Stage {
    way: Way,
    /// Dropped before the network.
    traffic: Traffic,
    client: Client,
    network: Network,
    file_system: BpfFileSystem,
    file: OwnFile,
    directory: Directory,
    /// What is on the hooks without lastack.
    empty: Vec<String>,
}

impl Stage {
    pub(crate) fn new(way: Way) -> Self {
        let mut network = Network::new();
        let client = network.client();
        let traffic = Traffic::start(&mut network.topology);
        let empty = hooks(&network.topology.gateway, WAN);
        Self {
            way,
            network,
            client,
            traffic,
            file_system: BpfFileSystem::new(),
            file: OwnFile::new(""),
            directory: Directory::new(),
            empty,
        }
    }

    /// Has lastack do it, while one of the calls with these names goes wrong, or none.
    pub(crate) fn perform(&self, deed: Deed, calls: &[&str], fault: Option<&Fault>) -> Outcome {
        if matches!(deed, Deed::Takeover | Deed::DetachLeft) {
            let (status, _) = self.start().stop(Signal::SIGTERM);
            assert!(status.success(), "{status}");
        }
        let trace = strace::file(&self.directory.0, "trace");
        let command = match deed {
            Deed::DetachLeft => self.detaching(),
            Deed::Start | Deed::Reload | Deed::Takeover | Deed::Detach => self.running(),
        };
        let mut command = traced(&command, calls, fault, &trace);
        let said = self.directory.0.join("said");
        command.stderr(File::create(&said).unwrap());
        if deed == Deed::DetachLeft {
            return self.detach_left(command, &said, &trace);
        }
        self.file.write("");
        let instance = Instance::spawn(self.gateway(), command);
        let process = instance.id();
        let has_attached = instance
            .next_line()
            .is_some_and(|line| line["type"] == "attached");
        if has_attached {
            match deed {
                Deed::Reload => {
                    self.change_settings();
                    instance.signal(Signal::SIGHUP);
                    while let Some(line) = instance.next_line() {
                        if line["type"].as_str().unwrap().starts_with("reload") {
                            break;
                        }
                    }
                    instance.signal(Signal::SIGTERM);
                }
                Deed::Detach => drop(output(self.gateway(), self.detaching())),
                Deed::Start | Deed::Takeover | Deed::DetachLeft => {
                    instance.signal(Signal::SIGTERM);
                }
            }
        }
        // It ends in time.
        while instance.next_line().is_some() {}
        let (status, _) = instance.end();
        Outcome {
            status,
            has_attached,
            said: read(&said),
            trace: Trace::read(&trace, process),
        }
    }

    /// Has the next reload replace the programs.
    pub(crate) fn change_settings(&self) {
        self.file.write("budget = 5\nevents = true\n");
    }

    fn detach_left(&self, command: Command, said: &Path, trace: &Path) -> Outcome {
        let mut detaching = self.gateway().spawn(command).unwrap();
        let process = detaching.id();
        Outcome {
            status: detaching.wait().unwrap(),
            has_attached: false,
            said: read(said),
            trace: Trace::read(trace, process),
        }
    }

    /// How many programs of ours are on the hook for what arrives, and on that for what leaves.
    pub(crate) fn served(&self) -> [usize; 2] {
        of_ours(&hooks(self.gateway(), WAN))
    }

    pub(crate) fn gateway(&self) -> &Namespace {
        &self.network.topology.gateway
    }

    /// Whether the hooks are as they were without lastack, and nothing is pinned. A clsact qdisc
    /// without filters does nothing, and nobody can tell whose it is.
    pub(crate) fn is_empty(&self) -> bool {
        let mut hooks = hooks(self.gateway(), WAN);
        hooks.retain(|hook| !hook.starts_with("qdisc clsact"));
        hooks == self.empty && self.pinned().is_empty()
    }

    /// Whether not even a clsact qdisc has stayed.
    pub(crate) fn is_as_before(&self) -> bool {
        hooks(self.gateway(), WAN) == self.empty && self.pinned().is_empty()
    }

    /// Removes a clsact qdisc that stayed.
    fn remove_qdisc(&self) {
        let gateway = self.gateway();
        if tool(gateway, "tc", &["qdisc", "show", "dev", WAN]).contains("clsact") {
            tool(gateway, "tc", &["qdisc", "del", "dev", WAN, "clsact"]);
        }
    }

    /// What is pinned of the instance.
    pub(crate) fn pinned(&self) -> Vec<String> {
        let mut pinned = self.file_system.list("");
        // The kernel has two files in each.
        pinned.retain(|name| name != "maps.debug" && name != "progs.debug");
        if pinned == ["default"] {
            return self.file_system.list("default");
        }
        pinned
    }

    /// The next start with the same options attaches once, filters, and what it put on can be taken
    /// off. `cures`: the client with the fault says so.
    pub(crate) fn assert_next_works(&mut self, cures: bool) {
        let instance = self.start();
        assert_eq!(self.served(), [1, 1], "{:?}", self.way.name);
        if cures {
            self.assert_cured();
        }
        let detached = output(self.gateway(), self.detaching());
        assert!(detached.status.success(), "{detached:?}");
        let (status, _) = instance.end();
        assert!(status.success(), "{status}");
        wait_until("nothing is left", || self.is_empty());
        if !self.way.has_links() {
            self.remove_qdisc();
        }
    }

    /// The client with the fault is not reset.
    pub(crate) fn assert_cured(&mut self) {
        let outcomes = cure::run(&mut self.client);
        assert_eq!(outcomes.len(), usize::from(CONNECTIONS));
        for outcome in outcomes {
            let is_cured = outcome.seen.resets == 0 && !outcome.read_error;
            assert!(is_cured && outcome.intact, "{outcome:?}");
        }
    }

    /// Ends the traffic, and gives what was lost of it.
    pub(crate) fn end(self) -> Loss {
        self.traffic.end()
    }

    fn start(&self) -> Instance {
        Instance::spawn(self.gateway(), self.running()).attached_to(&[WAN])
    }

    /// `lastack run` as this stage has it.
    pub(crate) fn running(&self) -> Command {
        self.file.write("");
        let mut command = instance::run(&[WAN], self.way.options);
        command
            .args(["--config", self.file.as_str(), "--metrics-addr", "off"])
            .args(["--instance", "default", "--pin-dir"])
            .arg(self.file_system.path());
        command
    }

    fn detaching(&self) -> Command {
        let mut command = lastack(&["detach", "--pin-dir"]);
        command.arg(self.file_system.path());
        command
    }
}

/// How many programs are among what is on the hooks of [`WAN`], all of them ours: arriving, leaving.
/// Not by their names, which they have not where the kernel is thought to take none.
pub(crate) fn of_ours(hooks: &[String]) -> [usize; 2] {
    let count = |words: &[&str]| {
        let is_one = |hook: &&String| hook.contains(WAN) || hook.starts_with("tcx");
        let is_asked = |hook: &&String| words.iter().any(|word| hook.contains(word));
        hooks.iter().filter(is_one).filter(is_asked).count()
    };
    [
        count(&["driver id", "clsact/ingress", "tcx Ingress: "]),
        count(&["clsact/egress", "tcx Egress: "]),
    ]
}

/// `command` with its environment, as the arguments of `wrapper`.
pub(crate) fn wrapped(mut wrapper: Command, command: &Command) -> Command {
    wrapper.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapper.env(name, value),
            None => wrapper.env_remove(name),
        };
    }
    wrapper
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}
