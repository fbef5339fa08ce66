//! The clsact qdisc, for kernels without TCX.
//!
//! One that is there is used and left; one that we made goes when we go, unless somebody
//! else has put a filter into it since.

use std::io;

use aya::programs::tc::{self, TcError};
use log::warn;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcHandle, TcMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::interface::Interface;

const CLSACT: TcHandle = TcHandle {
    major: 0xffff,
    minor: 0,
};
const PARENT: TcHandle = TcHandle {
    major: 0xffff,
    minor: 0xfff1,
};
const INGRESS: TcHandle = TcHandle {
    major: 0xffff,
    minor: 0xfff2,
};
const EGRESS: TcHandle = TcHandle {
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

    /// Removes it, unless somebody else uses it.
    pub(super) fn remove(mut self) -> io::Result<()> {
        self.interface
            .take()
            .map_or(Ok(()), |interface| remove(&interface))
    }
}

impl Drop for Clsact {
    fn drop(&mut self) {
        if let Some(interface) = self.interface.take()
            && let Err(error) = remove(&interface)
        {
            warn!("the clsact qdisc of {} stays: {error}", interface.name);
        }
    }
}

fn remove(interface: &Interface) -> io::Result<()> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    for side in [INGRESS, EGRESS] {
        let filters =
            RouteNetlinkMessage::GetTrafficFilter(message(interface, side, TcHandle::UNSPEC));
        if !request(&socket, filters, NLM_F_DUMP)?.is_empty() {
            return Ok(());
        }
    }
    let qdisc = RouteNetlinkMessage::DelQueueDiscipline(message(interface, PARENT, CLSACT));
    request(&socket, qdisc, NLM_F_ACK).map(drop)
}

fn message(interface: &Interface, parent: TcHandle, handle: TcHandle) -> TcMessage {
    let mut message = TcMessage::with_index(interface.index.cast_signed());
    message.header.parent = parent;
    message.header.handle = handle;
    message
}

/// Sends a request; gives what comes until its end.
fn request(
    socket: &Socket,
    payload: RouteNetlinkMessage,
    flags: u16,
) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(payload));
    message.finalize();
    let mut buffer = vec![0; message.buffer_len()];
    message.serialize(&mut buffer);
    socket.send(&buffer, 0)?;
    let mut answers = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            let length = (answer.header.length as usize).next_multiple_of(4);
            match answer.payload {
                NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                NetlinkPayload::Noop | NetlinkPayload::Overrun(_) | _ => {}
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}
