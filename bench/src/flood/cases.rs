//! Which floods there are, and what they are sent at.

use filter_user::{
    lab::flood::{Kind, trial::Entry},
    settings::Role,
};

/// A flood, and the instance that it is sent at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) kind: Option<Kind>,
    pub(super) role: Role,
    pub(super) entry: Entry,
    pub(super) sources: u32,
    /// Of `lastack run`.
    pub(super) options: &'static [&'static str],
    /// Room in its table, where it is not the one that was asked for.
    pub(super) max_flows: Option<u32>,
}

/// Everything at the hooks of `wan0`.
const PLAIN: Case = Case {
    name: "none",
    kind: None,
    role: Role::Wan,
    entry: Entry::Hook,
    sources: 1,
    options: &[],
    max_flows: None,
};

/// The lab's client, without the strangers.
const SCOPE: &[&str] = &["--client", "10.0.0.0/24,fd00::/64"];
const EITHER: &[&str] = &["--closer", "either"];
const ONE_SIDED_SHORTER: &[&str] = &["--one-sided-timeout", "1s"];
const SHORTER: &[&str] = &["--half-closed-timeout", "1s", "--closed-timeout", "1s"];

pub(super) const CASES: [Case; 19] = [
    PLAIN,
    of("client-fins", Kind::ClientFins),
    Case {
        entry: Entry::Lan,
        ..of("client-fins-forwarded", Kind::ClientFins)
    },
    Case {
        options: ONE_SIDED_SHORTER,
        ..of("client-fins-short-lives", Kind::ClientFins)
    },
    of("server-fins", Kind::ServerFins),
    Case {
        options: EITHER,
        ..of("server-fins-either", Kind::ServerFins)
    },
    of("syns", Kind::Syns),
    of("acks", Kind::Acks),
    of("closes", Kind::Closes),
    Case {
        options: EITHER,
        ..of("closes-either", Kind::Closes)
    },
    of("spurious-acks", Kind::SpuriousAcks),
    of("mixture", Kind::Mixture),
    Case {
        sources: 2,
        ..of("mixture-2-sources", Kind::Mixture)
    },
    Case {
        role: Role::Lan,
        ..of("closes-role-lan", Kind::Closes)
    },
    Case {
        options: SCOPE,
        ..of("closes-out-of-scope", Kind::Closes)
    },
    Case {
        options: &["--port", "8080"],
        ..of("closes-other-port", Kind::Closes)
    },
    Case {
        options: SHORTER,
        ..of("closes-short-lives", Kind::Closes)
    },
    Case {
        max_flows: Some(1 << 18),
        ..of("closes-262144", Kind::Closes)
    },
    Case {
        max_flows: Some(1 << 20),
        ..of("closes-1048576", Kind::Closes)
    },
];

const fn of(name: &'static str, kind: Kind) -> Case {
    Case {
        name,
        kind: Some(kind),
        ..PLAIN
    }
}
