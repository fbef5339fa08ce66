//! Everything that the filter can answer.

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It goes on its way, through other programs and the stack.
    Pass,
    /// It goes no further.
    Drop,
}

/// What is counted for each client that shows the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// An ACK that nothing asked for.
    SpuriousAck,
    /// An ACK whose cause an earlier one had answered.
    RedundantAck,
    /// A reset that such an ACK drew.
    Reset,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// Why a packet got its verdict: one list for counters, metrics, logs and tests.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $name,)+
        }

        impl Reason {
            /// All of them, in the order of their discriminants.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$name),+];

            /// Its name in metrics, logs and JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

reasons! {
    /// Not TCP. Not counted.
    NotTcp = "not_tcp",
    /// TCP, but of no closing flow. Not counted.
    NoFlow = "no_flow",
    /// A client's FIN that makes no flow, since its client or port is not in scope. Not counted.
    OutOfScope = "out_of_scope",

    /// Neither IPv4, IPv6 nor ARP behind at most two VLAN tags and PPPoE; TCP may be in it.
    EtherType = "ethertype",
    /// A fragment that holds TCP.
    Fragment = "fragment",
    /// The packet ends before its headers do, or before its IP header says.
    Truncated = "truncated",
    /// Lengths in the headers contradict one another.
    BadHeader = "bad_header",
    /// An IPv6 extension header that is unknown, or too many of them.
    ExtensionHeader = "extension_header",

    /// A FIN made a flow.
    FlowCreated = "flow_created",
    /// The flow table did not take a new flow.
    FlowNotStored = "flow_not_stored",
    /// A flow was found that had outlived its lifetime; it was forgotten.
    FlowExpired = "flow_expired",
    /// A SYN: the flow was forgotten.
    Syn = "syn",
    /// The client's RST: the flow was forgotten.
    ClientReset = "client_reset",

    /// The client's FIN behind the server's, which it does not acknowledge.
    ClientFin = "client_fin",
    /// The client's FIN again.
    ClientFinRepeated = "client_fin_repeated",
    /// A client's segment before both sides' FINs.
    HalfClosed = "half_closed",
    /// The client's ACK of the server's FIN: the flow is Closed.
    FirstAck = "first_ack",
    /// An ACK that the server asked for after the close.
    ElicitedAck = "elicited",
    /// It acknowledges less than the server's FIN.
    StaleAck = "stale",
    /// Its sequence or acknowledgment number is none of the close's.
    OtherSequence = "sequence",
    /// It carries flags or payload that a pure ACK has not.
    NotPure = "not_pure",
    /// Would be a pure ACK, but carries options that may matter.
    OtherOptions = "options",
    /// As the last answer, but by another interface: the same packet on its way through two,
    /// or another uplink.
    OtherLink = "other_link",
    /// A pure ACK that nothing asked for, later than `window`.
    WindowOver = "window",
    /// A pure ACK that nothing asked for, after `budget` drops.
    BudgetSpent = "budget",

    /// R1: a pure ACK that nothing asked for; dropped.
    SpuriousAckDropped = "spurious_ack_dropped",
    /// The same in monitor mode; passed.
    SpuriousAckObserved = "spurious_ack_observed",
    /// R1: a pure ACK whose cause an earlier one had answered already; dropped.
    RedundantAckDropped = "redundant_ack_dropped",
    /// The same in monitor mode; passed.
    RedundantAckObserved = "redundant_ack_observed",

    /// A server's segment before its FIN that counts.
    ServerData = "server_data",
    /// The server's FIN that counts, for the first time.
    ServerFin = "server_fin",
    /// A server's segment from then on that asks for an ACK.
    ServerElicits = "server_elicits",
    /// A server's segment from then on that asks for nothing.
    ServerQuiet = "server_quiet",
    /// The server's RST after an ACK that nothing had asked for.
    ResetAfterSpuriousAck = "reset_after_spurious_ack",
    /// The server's RST after the close, without such an ACK.
    ResetAfterClose = "reset_after_close",
    /// Any other RST of the server.
    ResetOther = "reset_other",
    /// R2: as [`ResetAfterSpuriousAck`](Self::ResetAfterSpuriousAck); dropped.
    ResetAfterSpuriousAckSuppressed = "reset_after_spurious_ack_suppressed",
    /// R2: as [`ResetAfterClose`](Self::ResetAfterClose); dropped.
    ResetAfterCloseSuppressed = "reset_after_close_suppressed",
}

/// What is counted for each interface: packets by [`Reason`], and flows at [`SETTLED`].
pub type Tallies = [u64; Reason::COUNT + 1];
/// Where [settled](crate::Flow::is_settled_by) flows are counted, for the interface of the FIN that
/// made them.
pub const SETTLED: usize = Reason::COUNT;

impl Reason {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The verdict that it stands for.
    #[inline(always)]
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::SpuriousAckDropped
            | Self::RedundantAckDropped
            | Self::ResetAfterSpuriousAckSuppressed
            | Self::ResetAfterCloseSuppressed => Verdict::Drop,
            Self::NotTcp
            | Self::NoFlow
            | Self::OutOfScope
            | Self::EtherType
            | Self::Fragment
            | Self::Truncated
            | Self::BadHeader
            | Self::ExtensionHeader
            | Self::FlowCreated
            | Self::FlowNotStored
            | Self::FlowExpired
            | Self::Syn
            | Self::ClientReset
            | Self::ClientFin
            | Self::ClientFinRepeated
            | Self::HalfClosed
            | Self::FirstAck
            | Self::ElicitedAck
            | Self::StaleAck
            | Self::OtherSequence
            | Self::NotPure
            | Self::OtherOptions
            | Self::OtherLink
            | Self::WindowOver
            | Self::BudgetSpent
            | Self::SpuriousAckObserved
            | Self::RedundantAckObserved
            | Self::ServerData
            | Self::ServerFin
            | Self::ServerElicits
            | Self::ServerQuiet
            | Self::ResetAfterSpuriousAck
            | Self::ResetAfterClose
            | Self::ResetOther => Verdict::Pass,
        }
    }

    /// What it tells of the client, if anything.
    #[inline(always)]
    #[must_use]
    pub fn fault(self) -> Option<Fault> {
        if matches!(self, Self::SpuriousAckDropped | Self::SpuriousAckObserved) {
            Some(Fault::SpuriousAck)
        } else if matches!(self, Self::RedundantAckDropped | Self::RedundantAckObserved) {
            Some(Fault::RedundantAck)
        } else if matches!(
            self,
            Self::ResetAfterSpuriousAck | Self::ResetAfterSpuriousAckSuppressed
        ) {
            Some(Fault::Reset)
        } else {
            None
        }
    }

    /// Whether it is reported where each drop and each reset is: drops that monitor mode only
    /// counts included, and every RST of a server to a closing flow.
    #[inline(always)]
    #[must_use]
    pub const fn is_event(self) -> bool {
        matches!(
            self,
            Self::SpuriousAckDropped
                | Self::SpuriousAckObserved
                | Self::RedundantAckDropped
                | Self::RedundantAckObserved
                | Self::ResetAfterSpuriousAck
                | Self::ResetAfterClose
                | Self::ResetOther
                | Self::ResetAfterSpuriousAckSuppressed
                | Self::ResetAfterCloseSuppressed
        )
    }

    /// The reason with this discriminant, if there is one.
    #[must_use]
    pub fn from_discriminant(discriminant: u8) -> Option<Self> {
        Self::ALL.get(usize::from(discriminant)).copied()
    }

    /// Whether it is counted: an ordinary packet costs no counter.
    #[inline(always)]
    #[must_use]
    pub const fn is_counted(self) -> bool {
        !matches!(self, Self::NotTcp | Self::NoFlow | Self::OutOfScope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discriminants_index_the_list_and_names_are_unique() {
        let mut names = std::collections::HashSet::new();
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            assert!(names.insert(reason.as_str()), "{} twice", reason.as_str());
        }
    }
}
