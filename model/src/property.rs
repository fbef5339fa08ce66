//! What is checked, under the names that docs/why-it-is-safe.md uses.

/// A property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// Only a pure ACK of the client and, with R2, a bare RST of the server is dropped.
    SafetyKind,
    /// No ACK is dropped that the server waits for: each has been preceded by one that was
    /// forwarded after the server had sent what it answers.
    SafetyNeeded,
    /// Nothing is dropped before the server's FIN acknowledged the client's (an ACK, where either
    /// may close first: before both FINs), and the client's acknowledgment of it was forwarded.
    SafetyClose,
    /// Nothing is dropped whose numbers are not those of the close.
    SafetyNumbers,
    /// Nothing is dropped after a SYN or the client's RST.
    Disarm,
    /// Nothing is dropped after the lifetime of a closed flow.
    Lifetime,
    /// No RST reaches the client's connection after the close.
    Cure,
    /// Both ends finish; no filter drives a server to give up.
    Liveness,
    /// Not more than `budget` ACKs are dropped (and as many more as updates were lost).
    Budget,
    /// None later than `window` after the last forwarded ACK.
    Window,
    /// With a correct client each run ends as it might have without the filter.
    NonInterference,
    /// Without state, nothing is dropped.
    FailOpen,
    /// In monitor mode, and R2 without being asked for, nothing is dropped.
    Mode,
}

impl Property {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SafetyKind => "safety: only pure ACKs and bare RSTs",
            Self::SafetyNeeded => "safety: nothing the server waits for",
            Self::SafetyClose => "safety: nothing before the close",
            Self::SafetyNumbers => "safety: only the close's numbers",
            Self::Disarm => "disarm: nothing after SYN or client's RST",
            Self::Lifetime => "disarm: nothing after the lifetime",
            Self::Cure => "cure: no reset at the client",
            Self::Liveness => "liveness: both ends finish",
            Self::Budget => "bounded harm: budget",
            Self::Window => "bounded harm: window",
            Self::NonInterference => "non-interference: no new outcome",
            Self::FailOpen => "fail-open: no state, no drop",
            Self::Mode => "mode: what is off drops nothing",
        }
    }
}
