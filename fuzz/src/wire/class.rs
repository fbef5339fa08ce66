//! What two parsers can say of one frame: the same, or one of a closed list of differences.

macro_rules! classes {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// How the parsers' answers to a frame relate. Whatever is none of these is a fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Class {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Class {
            /// All of them, in the order of their discriminants.
            pub const ALL: [Self; [$(stringify!($name)),+].len()] = [$(Self::$name),+];
        }
    };
}

classes! {
    /// Both find a TCP segment, with the same facts.
    Segment,
    /// Both find neither IP nor ARP.
    OtherType,
    /// Both find ARP, or a protocol above IP that is not TCP.
    OtherProtocol,
    /// Both find a fragment: one of TCP, or of another protocol.
    Fragment,
    /// Both find that the frame or the datagram ends before its headers do.
    Truncated,
    /// Both find that a header contradicts itself or another.
    BadHeader,
    /// Both find a header behind IPv6 that neither looks through: mobility, host identity,
    /// shim6, experimental.
    UnknownExtension,

    /// Both give up, for different faults of one frame. We ask for the protocol and for
    /// fragments first, since a packet that is no TCP segment is none of our business, and for
    /// the datagram's length last, once we know that a flow may be concerned.
    AnotherFault,

    /// We look through two tags: a customer's within a provider's. They look through three.
    ThirdTag,
    /// The type 0x9100, which some vendors used for double tags before 802.1ad, is no tag to us, as
    /// it is none to Linux.
    VendorTag,
    /// They have no PPPoE. Of what a session carries both say the same, or one of these.
    Session,
    /// They have no PPPoE. What is not a session's data behind a whole header carries no TCP.
    NoSession,
    /// They look into unencrypted MACsec. On a macsec interface the kernel has removed it; on the
    /// one below it passes.
    Macsec,
    /// They look through an authentication header behind IPv4. We do not: its protocol is not
    /// TCP, and it passes.
    AuthenticationV4,
    /// A routing header with segments left: the destination address is not the connection's.
    SegmentsLeft,
    /// We stop at the seventh extension header: RFC 8200, section 4.1, has six.
    ManyExtensions,
    /// We stop behind 512 octets of extension headers: no host needs more, and the kernel's
    /// verifier wants a bound.
    LongExtensions,
    /// Hop-by-hop options elsewhere than first: they refuse them. We look through them: a host
    /// should discard that packet (RFC 8200, section 4), so it matters to no connection.
    LateHopByHop,
    /// An authentication header of 8 octets has no room for its sequence number (RFC 4302,
    /// section 2). They refuse it; we look through it, for the same reason.
    ShortAuthentication,
    /// What comes behind a fragment header is of the whole packet, not of this one: we name TCP only
    /// where the fragment header itself does. They walk on.
    BehindFragment,
    /// IPv6 with a payload length of 0, no more than 65535 octets long: they take all that is
    /// there, we take it for a contradiction.
    ZeroLength,
    /// IPv4 with a total length of 0, more than 65535 octets long: a super-packet (BIG TCP) to
    /// us, a contradiction to them. Of IPv6's super-packets both think alike.
    BigTcpV4,
}
