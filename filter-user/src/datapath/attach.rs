//! Puts the programs on the hooks of one interface.

mod adopt;
mod hold;

use std::{io, os::fd::AsFd as _, panic::resume_unwind, path::PathBuf, thread};

use aya::{
    Ebpf,
    programs::{
        LinkOrder, Program, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode as AyaMode,
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions},
        xdp::XdpLink,
    },
};
use filter_common::wire::Link;
use log::debug;

use super::{
    DatapathError,
    clsact::{self, Clsact},
    driver::driver,
    error::kernel_answer,
    hook::{Hook, tc_name, uses_tcx, xdp_name},
    interface::Interface,
    kernel,
    mark::Mark,
    pins::Pins,
    unpin::unpin,
};
use crate::settings::{Ingress, Settings, XdpMode};

/// The priority in clsact before which there is none. Of programs that share it, the one that came
/// last runs first.
const CLSACT_FIRST: u16 = 1;
/// The priority in clsact behind which nobody puts anything: filters that are given none
/// start at 49152 and go down.
const CLSACT_LAST: u16 = 65_000;

/// How many hooks an interface is served by: one in each direction.
const HOOKS: usize = 2;

/// One program on one hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The hook.
    pub hook: Hook,
    /// The kernel's id of the program.
    pub program_id: u32,
}

/// Everything that is attached to one interface; what it owns goes when it is dropped, unless it
/// is pinned.
#[derive(Debug)]
pub(super) struct Links {
    /// Why this ingress hook and no better one.
    pub(super) note: Option<String>,
    /// Arriving packets first.
    held: Vec<Held>,
    /// After the links: it goes only when it is empty.
    clsact: Option<Clsact>,
}

/// One program on its hook.
#[derive(Debug)]
struct Held {
    hook: Hook,
    program: &'static str,
    program_id: u32,
    link: HeldLink,
    /// Where it is pinned.
    pin: Option<PathBuf>,
}

#[derive(Debug)]
enum HeldLink {
    Xdp(XdpLink),
    /// A TCX link, or a filter in clsact.
    Tc(SchedClassifierLink),
}

impl Links {
    /// Attaches to both directions of `interface`, or to none.
    pub(super) fn attach(
        ebpf: &mut Ebpf,
        interface: &Interface,
        settings: &Settings,
        (pins, mark): (Option<&Pins>, Mark),
    ) -> Result<Self, DatapathError> {
        let mut attaching = Attaching {
            ebpf,
            interface,
            settings,
            pins,
            mark,
            links: Self::none(),
        };
        match attaching.attach() {
            Ok(()) => Ok(attaching.links),
            Err(error) => {
                // What went wrong first is what has to be said.
                drop(attaching.links.detach());
                Err(error)
            }
        }
    }

    fn none() -> Self {
        Self {
            note: None,
            held: Vec::new(),
            clsact: None,
        }
    }

    /// The programs, arriving packets first.
    pub(super) fn attached(&self) -> Vec<Attached> {
        let attached = |held: &Held| Attached {
            hook: held.hook,
            program_id: held.program_id,
        };
        self.held.iter().map(attached).collect()
    }

    /// Takes everything off; gives the first error, but tries all.
    pub(super) fn detach(mut self) -> io::Result<()> {
        let mut first = Ok(());
        for held in self.held.drain(..) {
            let done = held.detach();
            if first.is_ok() {
                first = done;
            }
        }
        first.and(self.clsact.take().map_or(Ok(()), Clsact::remove))
    }
}

impl Held {
    fn detach(self) -> io::Result<()> {
        use aya::programs::Link as _;
        let unpinned = self.pin.map_or(Ok(()), |pin| unpin(&pin));
        let detached = match self.link {
            HeldLink::Xdp(link) => link.detach(),
            HeldLink::Tc(link) => link.detach(),
        };
        for done in [unpinned, detached.map_err(kernel_answer)] {
            if let Err(error) = done
                && !Interface::is_gone(&error)
            {
                return Err(error);
            }
        }
        Ok(())
    }
}

/// What attaches to one interface.
struct Attaching<'a> {
    ebpf: &'a mut Ebpf,
    interface: &'a Interface,
    settings: &'a Settings,
    pins: Option<&'a Pins>,
    mark: Mark,
    links: Links,
}

impl Attaching<'_> {
    fn attach(&mut self) -> Result<(), DatapathError> {
        use TcAttachType::{Egress, Ingress as Arriving};
        let Self {
            interface,
            settings,
            ..
        } = *self;
        let arriving = match (settings.ingress, interface.link) {
            (Ingress::Xdp, Link::Ip) => {
                return Err(DatapathError::XdpWithoutEthernet(interface.name.clone()));
            }
            (Ingress::Auto | Ingress::Xdp, Link::Ethernet) => xdp_name(),
            (Ingress::Auto | Ingress::Tc, _) => tc_name(Arriving, interface.link),
        };
        load(self.ebpf, &[arriving, tc_name(Egress, interface.link)])?;
        match settings.ingress {
            Ingress::Auto if interface.link == Link::Ip => {
                self.links.note = Some("it has no Ethernet header".to_owned());
                self.attach_tc(Arriving)?;
            }
            Ingress::Xdp => self.attach_xdp()?,
            Ingress::Tc => self.attach_tc(Arriving)?,
            Ingress::Auto => {
                if let Err(error) = self.attach_xdp() {
                    let why = (settings.xdp_mode == XdpMode::Auto).then(|| why_no_xdp(&error));
                    self.links.note = Some(why.flatten().ok_or(error)?);
                    self.attach_tc(Arriving)?;
                }
            }
        }
        self.attach_tc(Egress)
    }

    fn attach_xdp(&mut self) -> Result<(), DatapathError> {
        let interface = self.interface;
        let (mode, hook, name) = match self.settings.xdp_mode {
            XdpMode::Auto | XdpMode::Native => (AyaMode::Driver, Hook::XdpNative, "native"),
            XdpMode::Generic => (AyaMode::Skb, Hook::XdpGeneric, "generic"),
        };
        let program: &mut Xdp = typed(self.ebpf, xdp_name())?;
        let attach = |program: &mut Xdp| {
            let id = program.attach_to_if_index(interface.index, mode)?;
            program.take_link(id)
        };
        let link = attach(program).map_err(|error| {
            let error = kernel_answer(error);
            match error.raw_os_error() {
                Some(nix::libc::EBUSY | nix::libc::EEXIST) => {
                    DatapathError::XdpBusy(interface.name.clone())
                }
                _ => DatapathError::Xdp {
                    interface: interface.name.clone(),
                    driver: driver(&interface.name).unwrap_or_else(|| "unknown".to_owned()),
                    mode: name,
                    error,
                },
            }
        })?;
        let program_id = program_id(program.info())?;
        self.hold(hook, xdp_name(), program_id, HeldLink::Xdp(link))
    }

    fn attach_tc(&mut self, side: TcAttachType) -> Result<(), DatapathError> {
        let interface = self.interface;
        let tcx = uses_tcx(self.settings.tc_mode);
        let name = tc_name(side, interface.link);
        let hook = match (side, tcx) {
            (TcAttachType::Ingress, true) => Hook::TcxIngress,
            (TcAttachType::Ingress, false) => Hook::ClsactIngress,
            (_, true) => Hook::TcxEgress,
            (_, false) => Hook::ClsactEgress,
        };
        let failed = |error| DatapathError::Tc {
            interface: interface.name.clone(),
            hook: hook.as_str(),
            error,
        };
        if !tcx {
            self.prepare_clsact().map_err(failed)?;
        }
        load(self.ebpf, &[name])?;
        let program: &mut SchedClassifier = typed(self.ebpf, name)?;
        let link = if tcx {
            attach_tcx(program, interface, side)
        } else {
            let handle = self.mark.handle(self.links.clsact.is_some());
            attach_filter(program, interface, side, handle)
        };
        let link = link.map_err(failed)?;
        let program_id = program_id(program.info())?;
        self.hold(hook, name, program_id, HeldLink::Tc(link))
    }

    /// Sees to it that there is clsact, with no filters of this mark beside those that it gets now:
    /// of an earlier process that was killed, or of this one, which could not take them off.
    fn prepare_clsact(&mut self) -> io::Result<()> {
        let links = &mut self.links;
        if links.held.iter().any(|held| !held.hook.is_link()) {
            return Ok(());
        }
        let interface = self.interface;
        links.clsact = Clsact::ensure(interface)?;
        for (handle, made) in self.mark.handles() {
            for filter in clsact::marked(interface.index, handle)? {
                filter.remove(&interface.name)?;
                if made && links.clsact.is_none() {
                    links.clsact = Some(Clsact::of_before(interface));
                }
            }
        }
        Ok(())
    }

    /// Keeps a link, and pins it where links are to be pinned. A filter in clsact stays by itself.
    fn hold(
        &mut self,
        hook: Hook,
        program: &'static str,
        program_id: u32,
        link: HeldLink,
    ) -> Result<(), DatapathError> {
        let pin = self.pins.filter(|_| hook.is_link());
        let pin = pin.map(|pins| (pins, pins.link(hook, self.interface.index)));
        let link = match &pin {
            Some((pins, path)) => link.pin(path).map_err(|error| pins.failed(error))?,
            None => link,
        };
        self.links.held.push(Held {
            hook,
            program,
            program_id,
            link,
            pin: pin.map(|(_, path)| path),
        });
        Ok(())
    }
}

/// Last at egress, where packets are as they leave, and first at ingress.
fn attach_tcx(
    program: &mut SchedClassifier,
    interface: &Interface,
    side: TcAttachType,
) -> io::Result<SchedClassifierLink> {
    let order = if side == TcAttachType::Ingress {
        LinkOrder::first()
    } else {
        LinkOrder::last()
    };
    attach_as(program, interface, side, TcAttachOptions::TcxOrder(order))
}

/// The same in clsact, with this handle; 0: with any.
fn attach_filter(
    program: &mut SchedClassifier,
    interface: &Interface,
    side: TcAttachType,
    handle: u32,
) -> io::Result<SchedClassifierLink> {
    let mut attach = |priority| {
        let options = NlOptions {
            priority,
            handle: handle.into(),
            ..NlOptions::default()
        };
        attach_as(program, interface, side, TcAttachOptions::Netlink(options))
    };
    if side != TcAttachType::Ingress {
        return attach(CLSACT_LAST);
    }
    match attach(CLSACT_FIRST).map_err(|error| (error.raw_os_error(), error)) {
        // Filters of another kind or for one protocol have it. Without a priority the kernel puts
        // ours before all others that were given none.
        Err((Some(nix::libc::EINVAL | nix::libc::EEXIST), _)) => attach(0),
        done => done.map_err(|(_, error)| error),
    }
}

fn attach_as(
    program: &mut SchedClassifier,
    interface: &Interface,
    side: TcAttachType,
    options: TcAttachOptions,
) -> io::Result<SchedClassifierLink> {
    let attached = program.attach_with_options(&interface.name, side, options);
    let link = attached.and_then(|id| program.take_link(id));
    link.map_err(kernel_answer).map_err(|error| {
        // The C library's if_nametoindex says so, too, where it can open no socket.
        let unnamed = error.raw_os_error() == Some(nix::libc::ENOENT);
        let full = unnamed.then(|| io::stderr().as_fd().try_clone_to_owned().err());
        full.flatten().unwrap_or(error)
    })
}

/// Why native XDP cannot be had here, if the error says that rather than that something is
/// wrong.
fn why_no_xdp(error: &DatapathError) -> Option<String> {
    use nix::libc::{EINVAL, EOPNOTSUPP, ERANGE};
    if let DatapathError::Xdp { driver, error, .. } = error {
        // Drivers differ in how they refuse a large MTU.
        return matches!(error.raw_os_error(), Some(EOPNOTSUPP | EINVAL | ERANGE))
            .then(|| format!("its driver ({driver}) takes none now: {error}"));
    }
    matches!(error, DatapathError::XdpBusy(_)).then(|| "it has an XDP program already".to_owned())
}

/// Has the kernel verify those of these programs that it did not verify before. Side by side,
/// since that is most of the time that a start takes.
pub(super) fn load(ebpf: &mut Ebpf, names: &[&'static str]) -> Result<(), DatapathError> {
    thread::scope(|scope| {
        let mut loading = Vec::new();
        for (there, program) in ebpf.programs_mut() {
            if let Some(&name) = names.iter().find(|&&name| name == there)
                && program.fd().is_err()
            {
                let thread = thread::Builder::new().spawn_scoped(scope, || load_one(program));
                loading.push((name, thread.map_err(DatapathError::Thread)?));
            }
        }
        for (name, thread) in loading {
            thread
                .join()
                .unwrap_or_else(|panic| resume_unwind(panic))
                .map_err(|error| refused(name, error))?;
        }
        Ok(())
    })
}

fn load_one(program: &mut Program) -> Result<(), ProgramError> {
    if let Program::Xdp(xdp) = program {
        return xdp.load();
    }
    let classifier: &mut SchedClassifier = program.try_into()?;
    classifier.load()
}

pub(super) fn typed<'a, T>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut T, DatapathError>
where
    &'a mut T: TryFrom<&'a mut Program>,
{
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or(DatapathError::Missing(name))
}

fn refused(program: &'static str, error: ProgramError) -> DatapathError {
    debug!("{program}: {error}");
    kernel::refused(program, error)
}

fn program_id(
    info: Result<aya::programs::ProgramInfo, ProgramError>,
) -> Result<u32, DatapathError> {
    info.map(|info| info.id())
        .map_err(|error| DatapathError::System {
            what: "the id of a program",
            error: kernel_answer(error),
        })
}
