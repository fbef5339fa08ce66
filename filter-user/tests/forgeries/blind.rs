//! Guesses, in the middle of a long download whose client has half-closed.

use filter_common::{Closer, Reason};
use filter_user::{
    lab::server::resets_sent,
    settings::{Ingress, Role, Settings},
};

use super::{
    Scene,
    download::Download,
    drops,
    forger::{
        CLIENT_ACK, CLIENT_BARE_FIN, CLIENT_DATA, CLIENT_FIN, CLIENT_LAST_DATA, CLIENT_RST,
        CLIENT_SYN, Forger, Kind, Knows, Numbers, ORDINARY_TTL, SERVER_ACK, SERVER_DATA,
        SERVER_FIN, SERVER_LAST_DATA, SERVER_RST, SERVER_RST_ACK, SERVER_SYN, SERVER_SYN_ACK,
        VOLLEY, thrown_away,
    },
    instance::wait_until,
    patient,
    witness::{Witness, dropped_by_xdp},
};

/// One attack.
struct Attack {
    is_ipv4: bool,
    /// What is sent.
    kinds: &'static [Kind],
    /// What the forger knows of the true numbers.
    knows: fn(Numbers) -> Knows,
    guesses: u64,
    /// Of the download in bytes.
    length: u32,
}

/// A short one.
const BLIND: Attack = Attack {
    is_ipv4: true,
    kinds: &VOLLEY,
    knows: |_| Knows::Nothing,
    guesses: 40_000,
    length: 8 << 20,
};

/// What does not make the filter forget the close.
const HARMLESS: [Kind; 9] = [
    CLIENT_ACK,
    CLIENT_DATA,
    CLIENT_BARE_FIN,
    SERVER_ACK,
    SERVER_DATA,
    SERVER_RST,
    SERVER_RST_ACK,
    SERVER_FIN,
    SERVER_LAST_DATA,
];

impl Attack {
    /// Whatever is sent in both names, each segment of the download goes through, and all of it
    /// arrives. How many segments the filter dropped: they were forged ones.
    fn harms_no_segment_in(&self, scene: &Scene) -> u64 {
        let (topology, host) = (&scene.topology, &scene.host);
        let thrown = || thrown_away(&topology.server) + thrown_away(&host.namespace);
        let by_xdp = || dropped_by_xdp(&topology.gateway, scene.interface());
        let before = (scene.counters(), thrown(), by_xdp());
        let witness = Witness::start(topology, host);
        let download = Download::start(host, self.is_ipv4, self.length);
        let mut forger = Forger::new(topology, host, download.client, download.server);
        let knows = (self.knows)(download.numbers);
        forger.guess(self.kinds, knows, self.guesses, |sent| {
            download.allow(sent, self.guesses);
        });
        download.finish();
        let counters = scene.counters().since(&before.0);
        let (arrived, by_xdp) = (thrown() - before.1, by_xdp() - before.2);
        let seen = witness.nothing_was_lost();
        // Else it was no attack, or no download.
        let guesses = self.guesses;
        assert!(arrived > guesses / 2, "{arrived} of {guesses} got anywhere");
        let least = usize::try_from(self.length / 1500).unwrap();
        assert!(seen > least, "{seen} segments");
        let dropped = drops(&counters);
        if scene.settings.ingress != Ingress::Tc {
            // What leaves by the interface is TC's.
            let arriving = match scene.settings.role {
                Role::Wan => dropped - counters.dropped_acks(),
                Role::Lan => counters.dropped_acks(),
            };
            assert_eq!(by_xdp, arriving, "by the driver's count");
        }
        dropped
    }
}

#[test]
fn a_million_blind_guesses_cost_a_half_closed_download_no_segment() {
    let attack = Attack {
        guesses: 1_000_000,
        length: 128 << 20,
        ..BLIND
    };
    assert_eq!(attack.harms_no_segment_in(&Scene::new(patient())), 0);
}

#[test]
fn nor_do_they_with_the_reset_guard_and_either_closer_on_any_side_and_hook() {
    let scene = |closer, role, ingress| {
        Scene::new(Settings {
            rst_guard: true,
            closer,
            role,
            ingress,
            ..patient()
        })
    };
    for scene in [
        scene(Closer::Client, Role::Wan, Ingress::Auto),
        scene(Closer::Either, Role::Wan, Ingress::Tc),
        scene(Closer::Client, Role::Lan, Ingress::Auto),
        scene(Closer::Either, Role::Lan, Ingress::Auto),
    ] {
        for (is_ipv4, kinds) in [(true, &VOLLEY[..]), (false, &HARMLESS)] {
            let attack = Attack {
                is_ipv4,
                kinds,
                ..BLIND
            };
            assert_eq!(attack.harms_no_segment_in(&scene), 0);
        }
    }
}

#[test]
fn who_knows_one_number_of_the_close_has_but_his_own_segments_dropped() {
    for (closer, is_ipv4) in [(Closer::Client, true), (Closer::Either, false)] {
        let scene = Scene::new(Settings {
            rst_guard: true,
            closer,
            ..patient()
        });
        let clients = Attack {
            is_ipv4,
            knows: |numbers| Knows::Clients(numbers.client),
            ..BLIND
        };
        let servers = Attack {
            knows: |numbers| Knows::Servers(numbers.server),
            ..clients
        };
        // Else it would show nothing.
        assert!(clients.harms_no_segment_in(&scene) > 0, "a false close");
        servers.harms_no_segment_in(&scene);
    }
}

/// Whether the client's spurious ACK is still dropped at the end of a connection, when 500 such
/// segments with random numbers were sent meanwhile.
fn is_cured_after(scene: &Scene, kind: Kind) -> bool {
    let (topology, host) = (&scene.topology, &scene.host);
    let download = Download::start(host, true, 1 << 20);
    let numbers = download.numbers;
    let mut forger = Forger::new(topology, host, download.client, download.server);
    forger.guess(&[kind], Knows::Nothing, 500, |_| ());
    download.finish();
    let (resets, before) = (resets_sent(&topology.server).unwrap(), scene.counters());
    forger.send_one(CLIENT_ACK, numbers, ORDINARY_TTL);
    let mut cured = false;
    wait_until("the ACK is dropped, or answered", || {
        let now = scene.counters().since(&before);
        cured = now.of(Reason::SpuriousAckDropped) > 0;
        cured || resets_sent(&topology.server).unwrap() > resets
    });
    cured
}

#[test]
fn a_blind_guess_costs_no_more_than_the_cure_and_only_by_what_opens_or_ends_a_connection() {
    let costly = [
        CLIENT_SYN,
        CLIENT_RST,
        CLIENT_FIN,
        CLIENT_LAST_DATA,
        SERVER_SYN,
        SERVER_SYN_ACK,
    ];
    let scene = Scene::new(patient());
    for kind in costly {
        assert!(!is_cured_after(&scene, kind), "{kind:?}");
    }
    for kind in HARMLESS {
        assert!(is_cured_after(&scene, kind), "{kind:?}");
    }
}
