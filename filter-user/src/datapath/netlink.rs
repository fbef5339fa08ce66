//! Questions to the kernel over netlink, in the calling thread's network namespace.

use std::io;

use netlink_packet_core::{
    NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Asks about links, routes and qdiscs; as [`ask`], which gives the answers one by one.
pub(crate) fn request(
    payload: RouteNetlinkMessage,
    flags: u16,
) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut answers = Vec::new();
    ask(NETLINK_ROUTE, payload, flags, |answer| answers.push(answer))?;
    Ok(answers)
}

/// Sends a request with `flags`, which make the kernel say where its answer ends
/// (`NLM_F_ACK`, `NLM_F_DUMP`); hands over what comes until then.
pub(crate) fn ask<T: NetlinkSerializable + NetlinkDeserializable>(
    protocol: isize,
    payload: T,
    flags: u16,
    mut each: impl FnMut(T),
) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(payload));
    message.finalize();
    let mut buffer = vec![0; message.buffer_len()];
    message.serialize(&mut buffer);
    let socket = Socket::new(protocol)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&buffer, 0)?;
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let answer = NetlinkMessage::<T>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            let length = (answer.header.length as usize).next_multiple_of(4);
            match answer.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(inner) => each(inner),
                NetlinkPayload::Noop | NetlinkPayload::Overrun(_) | _ => {}
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}
