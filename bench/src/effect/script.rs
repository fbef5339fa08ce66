//! Closes written by hand: who sends what and when, and what the gateway should make of it.

use std::time::Duration;

use filter_common::Flags;

/// Where a segment enters the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// From the client's network.
    Client,
    /// From the uplink by which the client's segments leave.
    Server,
    /// From the gateway's other uplink.
    OtherUplink,
}

/// What should become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Somebody needs it.
    Forwarded,
    /// Nothing has asked for it, and it says nothing new.
    Stopped,
}

/// What is in front of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Options {
    None,
    Timestamps,
    /// Multipath TCP's Data Sequence Signal with a Data ACK: RFC 8684, section 3.3.
    DataAck,
}

impl Options {
    pub(super) const fn octets(self) -> &'static [u8] {
        match self {
            Self::None => &[],
            Self::Timestamps => &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
            Self::DataAck => &[30, 8, 0x20, 0x01, 0, 0, 0, 9],
        }
    }
}

/// A segment; numbers count from the sender's first SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// How long nothing is sent before it.
    pub(super) after: Duration,
    pub(super) from: By,
    pub(super) flags: Flags,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) payload: usize,
    pub(super) options: Options,
    pub(super) due: Due,
}

/// A connection.
pub(super) struct Script {
    pub(super) name: &'static str,
    pub(super) steps: Vec<Step>,
}

const ACK: Flags = Flags::ACK;
const FIN: Flags = Flags::FIN.with(Flags::ACK);
/// Data that its sender pushes.
const DATA: Flags = Flags::ACK.with(Flags::PSH);

/// Octets of the client's request and of the server's response.
const REQUEST: u32 = 100;
const RESPONSE: u32 = 1000;
/// The number of the client's FIN, and the one that follows it.
const CLIENT_FIN: u32 = 1 + REQUEST;
const FC: u32 = CLIENT_FIN + 1;
/// The number of the server's FIN, and the one that follows it.
const SERVER_FIN: u32 = 1 + RESPONSE;
const FS: u32 = SERVER_FIN + 1;

/// Of the client with the fault: when it acknowledges once more.
const DELAYED_ACK: Duration = Duration::from_millis(200);

const fn segment(from: By, flags: Flags, seq: u32, ack: u32) -> Step {
    Step {
        after: Duration::ZERO,
        from,
        flags,
        seq,
        ack,
        payload: 0,
        options: Options::None,
        due: Due::Forwarded,
    }
}

const fn client(flags: Flags, seq: u32, ack: u32) -> Step {
    segment(By::Client, flags, seq, ack)
}

const fn server(flags: Flags, seq: u32, ack: u32) -> Step {
    segment(By::Server, flags, seq, ack)
}

impl Step {
    const fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    const fn by_the_other_uplink(self) -> Self {
        Self {
            from: By::OtherUplink,
            ..self
        }
    }

    const fn with(self, payload: u32) -> Self {
        Self {
            payload: payload as usize,
            ..self
        }
    }

    const fn having(self, options: Options) -> Self {
        Self { options, ..self }
    }
}

const LAST_ACK: Step = client(ACK, FC, FS);
const SERVERS_FIN: Step = server(FIN, SERVER_FIN, FC);
const ONE_TOO_MANY: Step = Step {
    due: Due::Stopped,
    ..LAST_ACK.after(DELAYED_ACK)
};

/// Up to where only the server's FIN is missing.
fn half_closed() -> Vec<Step> {
    vec![
        client(Flags::SYN, 0, 0),
        server(Flags::SYN.with(ACK), 0, 1),
        client(ACK, 1, 1),
        client(DATA, 1, 1).with(REQUEST),
        client(FIN, CLIENT_FIN, 1),
        server(ACK, 1, FC),
        server(DATA, 1, FC).with(RESPONSE),
    ]
}

fn closed_and(steps: &[Step]) -> Vec<Step> {
    let close = [SERVERS_FIN, LAST_ACK];
    [half_closed(), close.to_vec(), steps.to_vec()].concat()
}

/// A later connection of the same ports, 50 ms after the first. Its numbers are as far behind
/// the first one's as RFC 6528 has them go in that time: one in 4 microseconds. Its SYNs are its
/// first two segments.
fn reused() -> [Step; 6] {
    const PAUSE: Duration = Duration::from_millis(50);
    const CLIENT: u32 = 12_500;
    const SERVER: u32 = 12_500;
    [
        client(Flags::SYN, CLIENT, 0).after(PAUSE),
        server(Flags::SYN.with(ACK), SERVER, CLIENT + 1),
        client(ACK, CLIENT + 1, SERVER + 1),
        client(DATA, CLIENT + 1, SERVER + 1).with(REQUEST),
        server(DATA, SERVER + 1, CLIENT + 1 + REQUEST).with(RESPONSE),
        client(ACK, CLIENT + 1 + REQUEST, SERVER + 1 + RESPONSE),
    ]
}

/// All of them.
pub(super) fn scripts() -> Vec<Script> {
    let script = |name, steps| Script { name, steps };
    let with_timestamps: Vec<_> = closed_and(&[ONE_TOO_MANY])
        .iter()
        .map(|step| step.having(Options::Timestamps))
        .collect();
    // As Linux repeats it, behind its first.
    let [first, second, third] =
        [200, 400, 800].map(|wait| LAST_ACK.after(Duration::from_millis(wait)));
    vec![
        script("one ACK too many", closed_and(&[ONE_TOO_MANY])),
        script("the same, Timestamps", with_timestamps),
        script(
            "the ACK of the response crosses the server's FIN",
            [
                half_closed(),
                vec![
                    SERVERS_FIN,
                    client(ACK, FC, SERVER_FIN),
                    LAST_ACK,
                    ONE_TOO_MANY,
                ],
            ]
            .concat(),
        ),
        script(
            "a lost segment is asked for by duplicate ACKs",
            [
                half_closed(),
                vec![
                    server(DATA, 1 + RESPONSE, FC).with(RESPONSE),
                    server(FIN, SERVER_FIN + RESPONSE, FC),
                    client(ACK, FC, 1),
                    client(ACK, FC, 1),
                    server(DATA, 1, FC).with(RESPONSE),
                    client(ACK, FC, FS + RESPONSE),
                    Step {
                        ack: FS + RESPONSE,
                        ..ONE_TOO_MANY
                    },
                ],
            ]
            .concat(),
        ),
        script(
            "the server repeats its FIN",
            closed_and(&[SERVERS_FIN.after(DELAYED_ACK), LAST_ACK, ONE_TOO_MANY]),
        ),
        script(
            "the server's FIN comes by the gateway's other uplink",
            [
                half_closed(),
                vec![SERVERS_FIN.by_the_other_uplink(), LAST_ACK, ONE_TOO_MANY],
            ]
            .concat(),
        ),
        script(
            "its repetition comes by the other uplink",
            closed_and(&[
                SERVERS_FIN.by_the_other_uplink().after(DELAYED_ACK),
                LAST_ACK,
            ]),
        ),
        script(
            "its repetitions, three, come past the gateway",
            closed_and(&[first, second, third]),
        ),
        script(
            "Multipath TCP: a bare ACK with a Data ACK",
            closed_and(&[LAST_ACK
                .having(Options::DataAck)
                .after(Duration::from_millis(20))]),
        ),
        script("the ports are used again", closed_and(&reused())),
        script(
            "the same, its SYNs go past the gateway",
            closed_and(&{
                let [_, _, rest @ ..] = reused();
                rest
            }),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_stopped_repeats_an_ack_that_was_not_asked_for() {
        for script in scripts() {
            for (number, step) in script.steps.iter().enumerate() {
                let before = script.steps[..number].iter().rev();
                let repeated = before
                    .take_while(|before| before.from == By::Client)
                    .any(|before| (before.seq, before.ack) == (step.seq, step.ack));
                if step.due == Due::Stopped {
                    assert!(repeated, "{}, {number}", script.name);
                }
            }
        }
    }

    #[test]
    fn a_close_is_acknowledged_to_its_end() {
        for script in scripts() {
            let fins = script
                .steps
                .iter()
                .filter(|step| step.flags.any(Flags::FIN));
            let ends: Vec<_> = fins.map(|fin| fin.seq + 1).collect();
            let acknowledged = |end| script.steps.iter().any(|step| step.ack == end);
            assert!(ends.len() >= 2, "{}", script.name);
            assert!(ends.into_iter().all(acknowledged), "{}", script.name);
        }
    }
}
