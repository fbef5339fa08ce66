//! What holds over any trace and any state.

use std::collections::HashMap;

use filter_common::{
    ClientHalf, Direction, Flags, Flow, Mode, Moment, Policy, Reason, Segment, SeqNum, ServerHalf,
    Ticks, Verdict, decide, segment::Options,
};
use proptest::{prelude::*, sample::select};

use crate::{
    connection::{
        Connection, ENFORCE, FC, FIN_ACK, FS, before, client_fin, last_ack, reset, segment,
        server_fin,
    },
    oracle::{self, Seen},
};

/// Near the numbers of the close, or elsewhere.
fn number(around: SeqNum) -> impl Strategy<Value = SeqNum> {
    prop_oneof![
        6 => Just(around),
        2 => Just(before(around, 1)),
        1 => Just(before(around, 2)),
        1 => Just(around.plus(1)),
        1 => any::<u32>().prop_map(SeqNum),
    ]
}

fn flags() -> impl Strategy<Value = Flags> {
    prop_oneof![
        8 => Just(Flags::ACK),
        2 => Just(FIN_ACK),
        1 => select(vec![Flags::SYN, Flags::RST, Flags::FIN, Flags::ACK.with(Flags::PSH)]),
        1 => (0..0x1000_u16).prop_map(Flags::from_header),
    ]
}

fn noise(seq: SeqNum, ack: SeqNum) -> impl Strategy<Value = Segment> {
    let payload = prop_oneof![4 => Just(0), 1 => 1..3_u32, 1 => any::<u32>()];
    let options = prop_oneof![6 => Just(Options::Plain), 1 => Just(Options::Other)];
    (flags(), number(seq), number(ack), payload, options).prop_map(
        |(flags, seq, ack, payload, options)| Segment {
            seq,
            ack,
            flags,
            payload,
            options,
        },
    )
}

fn step() -> impl Strategy<Value = (Direction, Segment)> {
    use Direction::{FromClient, FromServer};
    prop_oneof![
        3 => Just((FromClient, client_fin())),
        5 => Just((FromServer, server_fin())),
        10 => Just((FromClient, last_ack())),
        2 => Just((FromServer, reset())),
        2 => Just((FromServer, segment(Flags::ACK, FS, FC))),
        4 => noise(FC, FS).prop_map(|segment| (FromClient, segment)),
        3 => noise(FS, FC).prop_map(|segment| (FromServer, segment)),
    ]
}

fn trace() -> impl Strategy<Value = Vec<(Direction, Segment, u64)>> {
    let pause = prop_oneof![4 => Just(0_u64), 2 => 1..400_u64, 1 => 499..502_u64];
    proptest::collection::vec((step(), pause), 1..40).prop_map(|steps| {
        steps
            .into_iter()
            .map(|((direction, segment), pause)| (direction, segment, pause))
            .collect()
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    (
        any::<bool>(),
        any::<bool>(),
        0..5_u8,
        select(vec![0, 1, 500, 10_000]),
    )
        .prop_map(|(enforce, rst_guard, budget, window)| Policy {
            mode: if enforce {
                Mode::Enforce
            } else {
                Mode::Monitor
            },
            rst_guard,
            budget,
            window: Ticks(window),
            ..ENFORCE
        })
}

fn flow() -> impl Strategy<Value = Option<Flow>> {
    let numbers = (number(FC), number(FS), number(FS));
    let counters = (
        any::<u16>(),
        any::<u16>(),
        any::<bool>(),
        any::<u8>(),
        any::<u8>(),
    );
    let rest = (any::<u8>(), 0..=1_u8, 0..=1_u8, any::<u64>(), any::<u64>());
    proptest::option::weighted(
        0.9,
        (numbers, counters, rest).prop_map(
            |(
                (fc, acked, fs),
                (answered, elicited, same, drops, owed),
                (provoked, finished, crossed, a, b),
            )| Flow {
                client: ClientHalf {
                    fin_end: fc,
                    acked,
                    answered: if same { elicited } else { answered },
                    finished,
                    reserved: 0,
                    drops,
                    owed,
                    provoked,
                    link: 0,
                    at: Moment::of(Ticks(a)),
                },
                server: ServerHalf {
                    fin_end: fs,
                    elicited,
                    crossed,
                    reserved: 0,
                    at: Moment::of(Ticks(b)),
                },
            },
        ),
    )
}

fn any_policy() -> impl Strategy<Value = Policy> {
    (policy(), any::<[u64; 4]>(), any::<u8>()).prop_map(
        |(policy, [window, half, one_sided, closed], budget)| Policy {
            window: Ticks(window),
            half_closed_lifetime: Ticks(half),
            one_sided_lifetime: Ticks(one_sided),
            closed_lifetime: Ticks(closed),
            budget,
            ..policy
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    /// The state machine drops (or, in monitor mode, counts) exactly what the rules say.
    #[test]
    fn what_is_dropped_is_what_a_look_back_over_the_trace_says(
        policy in policy(),
        trace in trace(),
    ) {
        let mut connection = Connection::new(policy);
        let mut history = Vec::new();
        for (direction, segment, pause) in trace {
            connection.wait(pause);
            let now = connection.now;
            let expected = match direction {
                Direction::FromClient => oracle::is_unasked(&history, &segment, now, &policy),
                Direction::FromServer => oracle::is_guarded(&history, &segment, &policy),
            };
            let reason = connection.see(direction, &segment);
            let counted = reason.verdict() == Verdict::Drop
                || matches!(reason, Reason::SpuriousAckObserved | Reason::RedundantAckObserved);
            prop_assert_eq!(counted, expected, "{:?} {:?} after {:?}", reason, segment, history);
            history.push(Seen { direction, segment, now, reason });
        }
    }

    #[test]
    fn only_a_pure_ack_of_an_armed_flow_or_a_guarded_reset_is_ever_dropped(
        flow in flow(),
        from_client: bool,
        client in noise(FC, FS),
        server in noise(FS, FC),
        now: u64,
        policy in any_policy(),
    ) {
        let (direction, segment) = if from_client {
            (Direction::FromClient, client)
        } else {
            (Direction::FromServer, server)
        };
        // That it comes back at all shows that no state, time or segment makes it panic.
        let decision = decide(flow, direction, &segment, Ticks(now), &policy);
        if decision.reason.verdict() == Verdict::Drop {
            prop_assert_eq!(policy.mode, Mode::Enforce);
            prop_assert!(!segment.flags.any(Flags::SYN.with(Flags::FIN)));
            let flow = flow.expect("without a flow nothing is dropped");
            prop_assert_eq!(flow.client.acked, flow.server.fin_end);
            prop_assert!(flow.server.elicited != 0 && flow.client.answered != 0);
            if from_client {
                prop_assert_eq!(segment.flags, Flags::ACK);
                prop_assert_eq!(segment.payload, 0);
                prop_assert_eq!(segment.options, Options::Plain);
                prop_assert_eq!(segment.ack, flow.server.fin_end);
                prop_assert!(flow.client.drops < policy.budget);
                prop_assert_eq!(flow.client.answered, flow.server.elicited);
            } else {
                prop_assert!(policy.rst_guard);
                prop_assert_eq!(segment.flags, Flags::RST);
                prop_assert_eq!(segment.seq, flow.server.fin_end);
            }
        }
    }

    /// Budget and window bound the harm, whatever comes by.
    #[test]
    fn drops_of_one_flow_stay_within_budget_and_window(policy in policy(), trace in trace()) {
        let mut connection = Connection::new(policy);
        let mut drops = 0_u32;
        let mut forwarded = None;
        for (direction, segment, pause) in trace {
            connection.wait(pause);
            let reason = connection.see(direction, &segment);
            let acknowledges = direction == Direction::FromClient && segment.flags.any(Flags::ACK);
            match (reason, reason.verdict()) {
                (Reason::FlowCreated, _) => drops = 0,
                (_, Verdict::Drop) if acknowledges => {
                    drops += 1;
                    let last: Ticks = forwarded.expect("an ACK was let through before");
                    prop_assert!(connection.now.since(Moment::of(last)) <= policy.window);
                }
                (_, Verdict::Pass) if acknowledges => forwarded = Some(connection.now),
                _ => {}
            }
            prop_assert!(drops <= u32::from(policy.budget));
        }
    }

    /// In monitor mode the same segments change the same state, but for what the server is
    /// known to have been sent, and none is dropped.
    #[test]
    fn monitor_drops_nothing_and_keeps_the_same_state(policy in policy(), trace in trace()) {
        let mut enforce = Connection::new(Policy { mode: Mode::Enforce, ..policy });
        let mut monitor = Connection::new(Policy { mode: Mode::Monitor, ..policy });
        let names = HashMap::from([
            (Reason::SpuriousAckDropped, Reason::SpuriousAckObserved),
            (Reason::RedundantAckDropped, Reason::RedundantAckObserved),
            (Reason::ResetAfterSpuriousAckSuppressed, Reason::ResetAfterSpuriousAck),
            (Reason::ResetAfterCloseSuppressed, Reason::ResetAfterClose),
            // The one that was observed, not dropped, drew it.
            (Reason::ResetAfterClose, Reason::ResetAfterSpuriousAck),
        ]);
        for (direction, segment, pause) in trace {
            enforce.wait(pause);
            monitor.wait(pause);
            let enforced = enforce.see(direction, &segment);
            let observed = monitor.see(direction, &segment);
            prop_assert_eq!(observed.verdict(), Verdict::Pass);
            let unprovoked = |flow: Flow| Flow {
                client: ClientHalf { provoked: 0, ..flow.client },
                ..flow
            };
            prop_assert_eq!(enforce.flow.map(unprovoked), monitor.flow.map(unprovoked));
            let is_reset = matches!(
                observed,
                Reason::ResetAfterSpuriousAck | Reason::ResetAfterClose
            );
            let expected = names.get(&enforced).copied().unwrap_or(enforced);
            prop_assert!(observed == enforced || observed == expected || is_reset);
        }
    }
}
