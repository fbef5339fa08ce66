//! What one exploration lets happen, and what must hold in it.

use filter_common::{Closer, Mode, Policy, Ticks};

use crate::{
    client::Unasked,
    packet::{ELSEWHERE, FC, FS, Packet},
};

/// What the client does in TIME-WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// Answers what RFC 9293 has it answer; sends nothing else unless [`Limits::unasked`]
    /// lets a timer run.
    Standard,
    /// uIP: answers everything but a RST with an ACK.
    Uip,
}

/// The gateway's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// None.
    Off,
    /// It runs with these.
    On {
        /// Whether it drops.
        mode: Mode,
        /// R2.
        rst_guard: bool,
        /// R1.5.
        budget: u8,
    },
}

/// The gateway's interfaces that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// One, to the servers.
    One,
    /// Two: each packet goes through both, as through a bridge and its port.
    Both,
    /// Two: each packet takes any of them.
    Either,
}

/// How often each adversity may strike in one run. What is not limited here (the order of
/// events, who is slow) is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Packets lost, on any of the four links.
    pub losses: u8,
    /// Packets duplicated, likewise.
    pub copies: u8,
    /// Retransmissions while the original or its acknowledgment is on the way.
    pub early: u8,
    /// ACKs that a faulty client sends without being asked.
    pub unasked: u8,
    /// Server's packets that reach the client by another way.
    pub unseen_server: u8,
    /// Client's packets that reach the server by another way.
    pub unseen_client: u8,
    /// Steps of the clock: one ends the window, two a Closed flow's lifetime, three any.
    pub ticks: u8,
    /// Packets that an attacker injects in front of the gateway, on either side.
    pub forgeries: u8,
    /// Flows that give way to others in the full table.
    pub evictions: u8,
    /// New flows that the table does not take.
    pub refusals: u8,
    /// Ends of an application or a machine, the server's.
    pub server_aborts: u8,
    /// The same, the client's.
    pub client_aborts: u8,
    /// Later connections on the same ports.
    pub reuses: u8,
    /// ACKs that the client of a later connection sends after the first.
    pub later: u8,
}

/// What must hold, besides what always must.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// No RST that the client accepts after the close.
    pub cure: bool,
    /// The server is never driven to give up, and both ends always get to the end.
    pub liveness: bool,
    /// What the server waits for is not dropped: the gateway sees both directions.
    pub sees_both: bool,
    /// Every run ends as it might have ended without the filter.
    pub same_outcomes: bool,
    /// Nothing at all is dropped.
    pub no_drop: bool,
}

/// One exploration.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Its name.
    pub name: &'static str,
    /// What strikes, in words.
    pub about: &'static str,
    /// The filter.
    pub filter: Filter,
    /// Which closes it serves.
    pub closer: Closer,
    /// The client's stack.
    pub stack: Stack,
    /// What it may send unasked.
    pub unasks: &'static [Unasked],
    /// Whether the server has data to send behind the client's FIN.
    pub data: bool,
    /// Whether it may merge data and FIN when it retransmits.
    pub merges: bool,
    /// Whether the client may leave ACKs of data to a later segment.
    pub delays: bool,
    /// Whether copies of the connection's SYN and SYN-ACK are still on the way.
    pub handshake: bool,
    /// Whether the server may close first, or at the same time.
    pub closes_first: bool,
    /// Whether it then forgets the connection at once, without a TIME-WAIT.
    pub forgets: bool,
    /// On which links packets overtake one another.
    pub reorders: [bool; LINKS],
    /// On which links packets may be duplicated.
    pub copies_on: [bool; LINKS],
    /// Whether the way from server to gateway is short: what the server sent before the
    /// first ACK passed is there before it passes.
    pub server_is_near: bool,
    /// The most packets on one link.
    pub room: usize,
    /// How many CPUs of the gateway are, for each direction, between look-up and store (two
    /// for both together); 0: each packet is decided at once.
    pub hooks: usize,
    /// How often a retransmission may be in vain before an endpoint gives up.
    pub timeouts: u8,
    /// Which interfaces packets go through. More than one only without `hooks`.
    pub interfaces: Interfaces,
    /// What the attacker sends, as a server and as a client.
    pub forgeries: (&'static [Packet], &'static [Packet]),
    /// Whether the attacker's numbers are right: endpoints then cannot tell.
    pub on_path: bool,
    /// Whether a later connection has the client's and the server's numbers go on where
    /// this one's end.
    pub same_numbers: (bool, bool),
    /// How often what strikes.
    pub limits: Limits,
    /// What must hold.
    pub claims: Claims,
}

impl Setup {
    /// No adversity, R1 only.
    pub const PLAIN: Self = Self {
        name: "plain",
        about: "",
        filter: Filter::On {
            mode: Mode::Enforce,
            rst_guard: false,
            budget: 3,
        },
        closer: Closer::Client,
        stack: Stack::Standard,
        unasks: &[Unasked::Again],
        data: true,
        merges: false,
        delays: false,
        handshake: false,
        closes_first: false,
        forgets: false,
        reorders: [true; LINKS],
        copies_on: [true; LINKS],
        server_is_near: false,
        room: 3,
        hooks: 0,
        interfaces: Interfaces::One,
        timeouts: 8,
        forgeries: (&[], &[]),
        on_path: false,
        same_numbers: (false, false),
        limits: Limits {
            losses: 0,
            copies: 0,
            early: 0,
            unasked: 0,
            unseen_server: 0,
            unseen_client: 0,
            ticks: 0,
            forgeries: 0,
            evictions: 0,
            refusals: 0,
            server_aborts: 0,
            client_aborts: 0,
            reuses: 0,
            later: 0,
        },
        claims: Claims {
            cure: false,
            liveness: true,
            sees_both: true,
            same_outcomes: false,
            no_drop: false,
        },
    };

    /// The server's first octet: its data, or its FIN if it has none.
    #[must_use]
    pub fn server_start(&self) -> i8 {
        FS - 1 - i8::from(self.data)
    }

    /// SND.NXT of a later connection's client after its SYN.
    #[must_use]
    pub const fn later_client(&self) -> i8 {
        if self.same_numbers.0 { FC } else { ELSEWHERE }
    }

    /// The same of its server.
    #[must_use]
    pub const fn later_server(&self) -> i8 {
        if self.same_numbers.1 { FS } else { ELSEWHERE }
    }

    /// What the machine gets; `None` if there is no filter.
    #[must_use]
    pub const fn policy(&self) -> Option<Policy> {
        match self.filter {
            Filter::Off => None,
            Filter::On {
                mode,
                rst_guard,
                budget,
            } => Some(Policy {
                mode,
                closer: self.closer,
                rst_guard,
                window: WINDOW,
                budget,
                half_closed_lifetime: HALF_CLOSED_LIFETIME,
                one_sided_lifetime: ONE_SIDED_LIFETIME,
                closed_lifetime: CLOSED_LIFETIME,
            }),
        }
    }
}

/// Client to gateway, gateway to server, server to gateway, gateway to client.
pub const LINKS: usize = 4;

/// R1.4: over with the first step of the clock.
pub const WINDOW: Ticks = Ticks(0);
/// Over with the second step.
pub const CLOSED_LIFETIME: Ticks = Ticks(1);
/// Over with the third step.
pub const HALF_CLOSED_LIFETIME: Ticks = Ticks(2);
/// Over with the first step.
pub const ONE_SIDED_LIFETIME: Ticks = Ticks(0);
