//! The clsact qdisc, for kernels without TCX.
//!
//! One that is there is used and left; one that we made goes when we go, unless somebody
//! else has put a filter into it since.

use std::{collections::HashSet, io};

use aya::programs::{
    Link as _, TcAttachType,
    tc::{self, SchedClassifierLink, TcError},
};
use log::warn;
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
};

use super::{error::kernel_answer, interface::Interface, netlink::request};

const CLSACT: TcHandle = TcHandle {
    major: 0xffff,
    minor: 0,
};
const PARENT: TcHandle = TcHandle {
    major: 0xffff,
    minor: 0xfff1,
};
/// The parent of filters on arriving packets.
pub(crate) const INGRESS: TcHandle = TcHandle {
    major: 0xffff,
    minor: 0xfff2,
};
/// The parent of filters on leaving packets.
pub(crate) const EGRESS: TcHandle = TcHandle {
    major: 0xffff,
    minor: 0xfff3,
};

/// A qdisc that we made.
#[derive(Debug)]
pub(super) struct Clsact {
    interface: Option<Interface>,
}

impl Clsact {
    /// Sees to it that there is one; gives it if it is ours.
    pub(super) fn ensure(interface: &Interface) -> io::Result<Option<Self>> {
        let error = match tc::qdisc_add_clsact(&interface.name) {
            Ok(()) => {
                return Ok(Some(Self {
                    interface: Some(interface.clone()),
                }));
            }
            Err(TcError::AlreadyAttached) => return Ok(None),
            Err(TcError::IoError(error)) => error,
            Err(TcError::NetlinkError(error)) => match error.raw_os_error() {
                Some(nix::libc::EEXIST) => return Ok(None),
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::other(error.to_string()),
            },
            Err(error) => io::Error::other(error.to_string()),
        };
        Err(error)
    }

    /// One that an earlier process made.
    pub(super) fn of_before(interface: &Interface) -> Self {
        Self {
            interface: Some(interface.clone()),
        }
    }

    /// Leaves it alone: it is gone already, and what is there now is somebody else's; or it is to
    /// stay behind this process.
    pub(super) fn forget(mut self) {
        self.interface = None;
    }

    /// Removes it, unless somebody else uses it.
    pub(super) fn remove(mut self) -> io::Result<()> {
        self.interface
            .take()
            .map_or(Ok(()), |interface| remove(interface.index))
    }
}

impl Drop for Clsact {
    fn drop(&mut self) {
        if let Some(interface) = self.interface.take()
            && let Err(error) = remove(interface.index)
        {
            warn!("the clsact qdisc of {} stays: {error}", interface.name);
        }
    }
}

/// Removes the qdisc of the interface with that index, unless somebody uses it.
pub(super) fn remove(index: u32) -> io::Result<()> {
    match remove_if_empty(index) {
        Err(error) if Interface::is_gone(&error) => Ok(()),
        done => done,
    }
}

/// Whether a program is a filter on this side of an interface.
pub(super) fn has(interface: &Interface, side: TcAttachType, program: u32) -> io::Result<bool> {
    let side = if side == TcAttachType::Ingress {
        INGRESS
    } else {
        EGRESS
    };
    match filters(interface.index, side) {
        Ok(filters) => Ok(filters.iter().any(|filter| runs(filter, program))),
        Err(error) if Interface::is_gone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn runs(filter: &RouteNetlinkMessage, program: u32) -> bool {
    let RouteNetlinkMessage::NewTrafficFilter(filter) = filter else {
        return false;
    };
    let id = TcOption::Bpf(TcFilterBpfOption::ProgId(program));
    filter.attributes.iter().any(
        |attribute| matches!(attribute, TcAttribute::Options(options) if options.contains(&id)),
    )
}

/// A filter of ours. An instance gives all of its filters the same handle, by which they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) side: TcAttachType,
    pub(super) program_id: u32,
    pub(super) handle: u32,
    priority: u16,
}

impl Marked {
    /// It, on its interface; dropping that takes it off.
    pub(super) fn link(&self, interface: &str) -> io::Result<SchedClassifierLink> {
        let handle = tc::TcHandle::from(self.handle);
        SchedClassifierLink::attached(interface, self.side, self.priority, handle, None)
    }

    /// Takes it off.
    pub(super) fn remove(&self, interface: &str) -> io::Result<()> {
        self.link(interface)?.detach().map_err(kernel_answer)
    }
}

/// The interfaces that have the qdisc, by their indices.
pub(super) fn interfaces() -> io::Result<HashSet<u32>> {
    let all = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
    let qdiscs = request(all, NLM_F_DUMP)?.into_iter();
    let of_clsact = qdiscs.filter_map(|qdisc| {
        let RouteNetlinkMessage::NewQueueDiscipline(qdisc) = qdisc else {
            return None;
        };
        (qdisc.header.parent == PARENT).then(|| qdisc.header.index.cast_unsigned())
    });
    Ok(of_clsact.collect())
}

/// The filters of ours with this handle on the interface with that index, arriving packets first.
pub(super) fn marked(index: u32, handle: u32) -> io::Result<Vec<Marked>> {
    let mut filters = ours(index)?;
    filters.retain(|filter| filter.handle == handle);
    Ok(filters)
}

/// All filters of ours there.
pub(super) fn ours(index: u32) -> io::Result<Vec<Marked>> {
    let mut found = Vec::new();
    for (parent, side) in [
        (INGRESS, TcAttachType::Ingress),
        (EGRESS, TcAttachType::Egress),
    ] {
        let filters = match filters(index, parent) {
            Err(error) if Interface::is_gone(&error) => Vec::new(),
            filters => filters?,
        };
        let ours = filters.iter().filter_map(|filter| {
            let RouteNetlinkMessage::NewTrafficFilter(filter) = filter else {
                return None;
            };
            Some(Marked {
                side,
                program_id: our_program(filter)?,
                handle: filter.header.handle.into(),
                priority: u16::try_from(filter.header.info >> 16).ok()?,
            })
        });
        found.extend(ours);
    }
    Ok(found)
}

/// The number of the program that a filter runs, if that is one of ours by its name.
fn our_program(filter: &TcMessage) -> Option<u32> {
    let (mut id, mut is_ours) = (None, false);
    for attribute in &filter.attributes {
        let TcAttribute::Options(options) = attribute else {
            continue;
        };
        for option in options {
            if let TcOption::Bpf(TcFilterBpfOption::ProgId(program)) = option {
                id = Some(*program);
            } else if let TcOption::Bpf(TcFilterBpfOption::ProgName(name)) = option {
                is_ours = name.starts_with("lastack_");
            }
        }
    }
    id.filter(|_| is_ours)
}

fn remove_if_empty(index: u32) -> io::Result<()> {
    for side in [INGRESS, EGRESS] {
        if !filters(index, side)?.is_empty() {
            return Ok(());
        }
    }
    let qdisc = RouteNetlinkMessage::DelQueueDiscipline(message(index, PARENT, CLSACT));
    request(qdisc, NLM_F_ACK).map(drop)
}

/// What is there on one side of an interface, by its index.
pub(crate) fn filters(index: u32, side: TcHandle) -> io::Result<Vec<RouteNetlinkMessage>> {
    let filters = message(index, side, TcHandle::UNSPEC);
    request(RouteNetlinkMessage::GetTrafficFilter(filters), NLM_F_DUMP)
}

fn message(index: u32, parent: TcHandle, handle: TcHandle) -> TcMessage {
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.parent = parent;
    message.header.handle = handle;
    message
}
