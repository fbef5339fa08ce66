//! Netlink messages of a short header and attributes: those of generic netlink and of netfilter.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable as _, NLA_F_NESTED, NetlinkDeserializable, NetlinkHeader,
    NetlinkSerializable, NlasIterator,
};

/// Length of `struct genlmsghdr` and of `struct nfgenmsg`.
const HEADER: usize = 4;

/// A message whose attributes are not looked into.
#[derive(Debug)]
pub(super) struct Message {
    kind: u16,
    header: [u8; HEADER],
    attributes: Vec<u8>,
}

impl Message {
    /// A message of the type `kind` without attributes.
    pub(super) fn new(kind: u16, header: [u8; HEADER]) -> Self {
        Self {
            kind,
            header,
            attributes: Vec::new(),
        }
    }

    /// The same with one attribute more.
    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let attribute = DefaultNla::new(kind, value.to_vec());
        let start = self.attributes.len();
        self.attributes.resize(start + attribute.buffer_len(), 0);
        if let Some(room) = self.attributes.get_mut(start..) {
            attribute.emit(room);
        }
        self
    }

    /// The same with an attribute that holds another.
    pub(super) fn with_nested(self, kind: u16, inner: u16, value: &[u8]) -> Self {
        self.with(kind | NLA_F_NESTED, &nest(&[(inner, value)]))
    }

    /// Its type.
    pub(super) fn kind(&self) -> u16 {
        self.kind
    }

    /// The value of the first attribute of that kind.
    pub(super) fn value(&self, kind: u16) -> Option<&[u8]> {
        value(&self.attributes, kind)
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        HEADER + self.attributes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let (header, attributes) = buffer.split_at_mut(HEADER);
        header.copy_from_slice(&self.header);
        attributes.copy_from_slice(&self.attributes);
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let (start, attributes) = payload
            .split_first_chunk()
            .ok_or_else(|| DecodeError::from("shorter than its header"))?;
        Ok(Self {
            kind: header.message_type,
            header: *start,
            attributes: attributes.to_vec(),
        })
    }
}

/// Attributes as another's value.
pub(super) fn nest(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let empty = Message::new(0, [0; HEADER]);
    let add = |message: Message, &(kind, value): &(u16, &[u8])| message.with(kind, value);
    attributes.iter().fold(empty, add).attributes
}

/// Types and values of the attributes within `bytes`, up to the first that is damaged.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const START: usize = 4;

    NlasIterator::new(bytes)
        .map_while(Result::ok)
        .map(|attribute| {
            let (kind, end) = (attribute.kind(), attribute.length().into());
            let value = attribute.into_inner().get(START..end);
            (kind, value.unwrap_or_default())
        })
}

/// The value of the first attribute of that kind within `bytes`.
pub(super) fn value(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|&(found, _)| found == kind)
        .map(|(_, value)| value)
}

/// A string, which the kernel ends with a 0.
pub(super) fn text(value: &[u8]) -> String {
    let text = value.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_again_and_damaged_ones_end_the_search() {
        let message = Message::new(7, [1, 2, 0, 0])
            .with(3, b"wan0\0")
            .with_nested(4, 1, &9_u32.to_ne_bytes());
        let mut buffer = vec![0; message.buffer_len()];
        message.serialize(&mut buffer);
        let mut header = NetlinkHeader::default();
        header.message_type = 7;
        let read = Message::deserialize(&header, &buffer).unwrap();
        assert_eq!((read.kind, read.header), (7, [1, 2, 0, 0]));
        assert_eq!(read.value(3).map(text).as_deref(), Some("wan0"));
        let nested = read.value(4).unwrap();
        assert_eq!(value(nested, 1), Some(&9_u32.to_ne_bytes()[..]));
        assert_eq!(read.value(5), None);

        let cut = &buffer[HEADER..buffer.len() - 2];
        assert_eq!(value(cut, 3).map(text).as_deref(), Some("wan0"));
        assert_eq!(value(cut, 4), None);
        assert!(Message::deserialize(&header, &[0; 3]).is_err());
    }
}
