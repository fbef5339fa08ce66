//! Which steps are drawn each, and which are put together.

use std::{fmt, time::Duration};

use filter_common::{Direction, Flags};

use super::{Emphasis, Step};

/// So many steps that could be put together are rather drawn each.
const FEW: usize = 3;

/// One row of a ladder.
#[derive(Debug)]
pub(super) enum Row<'a> {
    /// A step for itself.
    Step(&'a Step),
    /// Many.
    Transfer(Transfer),
}

/// Steps that are put together.
#[derive(Debug, Default)]
pub(super) struct Transfer {
    /// When it begins.
    pub(super) at: Duration,
    /// The number of the first frame.
    pub(super) frame: Option<u64>,
    from_server: Data,
    from_client: Data,
    /// Without payload.
    acks: u64,
    others: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Data {
    segments: u64,
    octets: u64,
}

/// Puts runs of ordinary steps together. The first of each kind from each side is none of these:
/// the ACK that ends the handshake, the request, its ACK, and the response.
pub(super) fn rows(steps: &[Step]) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    let mut run: Vec<&Step> = Vec::new();
    let mut seen = Vec::new();
    for step in steps {
        let kind = (step.direction, step.payload > 0);
        if is_ordinary(step) && seen.contains(&kind) {
            run.push(step);
            continue;
        }
        if is_ordinary(step) {
            seen.push(kind);
        }
        end(&mut run, &mut rows);
        rows.push(Row::Step(step));
    }
    end(&mut run, &mut rows);
    rows
}

fn end<'a>(run: &mut Vec<&'a Step>, rows: &mut Vec<Row<'a>>) {
    if run.len() > FEW {
        rows.push(Row::Transfer(Transfer::new(run)));
        run.clear();
    } else {
        rows.extend(run.drain(..).map(Row::Step));
    }
}

fn is_ordinary(step: &Step) -> bool {
    const NOTABLE: Flags = Flags::SYN.with(Flags::FIN).with(Flags::RST);
    !step.is_close
        && step.note.is_none()
        && step.emphasis == Emphasis::None
        && step.arrives
        && !step.flags.any(NOTABLE)
}

impl Transfer {
    fn new(steps: &[&Step]) -> Self {
        let mut transfer = Self::default();
        for step in steps {
            let data = match step.direction {
                Direction::FromClient => &mut transfer.from_client,
                Direction::FromServer => &mut transfer.from_server,
            };
            if step.payload > 0 {
                data.segments += 1;
                data.octets += u64::from(step.payload);
            } else if step.flags.any(Flags::ACK) {
                transfer.acks += 1;
            } else {
                transfer.others += 1;
            }
        }
        if let Some(first) = steps.first() {
            transfer.at = first.at;
            transfer.frame = first.frame;
        }
        transfer
    }
}

impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (data, side) in [(self.from_server, "server"), (self.from_client, "client")] {
            if data.segments > 0 {
                let segments = counted(data.segments, "segment");
                let octets = counted(data.octets, "octet");
                parts.push(format!("{segments}, {octets} from the {side}"));
            }
        }
        if self.acks > 0 {
            parts.push(counted(self.acks, "ACK"));
        }
        if self.others > 0 {
            parts.push(counted(self.others, "other"));
        }
        write!(f, "... {}", parts.join(", "))
    }
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::{
        super::samples::{ACK, PSH_ACK, step},
        *,
    };

    fn data(frame: u64, direction: Direction) -> Step {
        step(frame, frame, direction, PSH_ACK, (1, 1), 100)
    }

    fn ack(frame: u64) -> Step {
        step(frame, frame, Direction::FromClient, ACK, (1, 1), 0)
    }

    fn shown(steps: &[Step]) -> Vec<String> {
        let show = |row: &Row<'_>| match row {
            Row::Step(step) => step.frame.unwrap().to_string(),
            Row::Transfer(transfer) => format!("{} {transfer}", transfer.frame.unwrap()),
        };
        rows(steps).iter().map(show).collect()
    }

    #[test]
    fn runs_are_put_together_and_the_first_of_each_kind_is_not() {
        let mut steps = vec![ack(1), data(2, Direction::FromClient)];
        steps.extend((3..10).map(|frame| data(frame, Direction::FromServer)));
        steps.extend((10..14).map(ack));
        assert_eq!(
            shown(&steps),
            [
                "1",
                "2",
                "3",
                "4 ... 6 segments, 600 octets from the server, 4 ACKs"
            ]
        );
    }

    #[test]
    fn a_few_are_drawn_each() {
        let mut steps: Vec<_> = (1..5).map(ack).collect();
        assert_eq!(shown(&steps), ["1", "2", "3", "4"]);
        steps.push(ack(5));
        assert_eq!(shown(&steps), ["1", "2 ... 4 ACKs"]);
    }

    #[test]
    fn what_is_special_ends_a_run_and_is_drawn() {
        let specials: [fn(&mut Step); 7] = [
            |step| step.is_close = true,
            |step| step.note = Some("look".to_owned()),
            |step| step.emphasis = Emphasis::Fault,
            |step| step.arrives = false,
            |step| step.flags = Flags::SYN,
            |step| step.flags = Flags::FIN.with(Flags::ACK),
            |step| step.flags = Flags::RST,
        ];
        for (number, make_special) in specials.into_iter().enumerate() {
            let mut steps: Vec<_> = (1..12).map(ack).collect();
            make_special(&mut steps[5]);
            assert_eq!(
                shown(&steps),
                ["1", "2 ... 4 ACKs", "6", "7 ... 5 ACKs"],
                "{number}"
            );
        }
    }

    #[test]
    fn both_sides_and_what_is_neither_are_told() {
        let mut steps = vec![ack(1), data(2, Direction::FromClient)];
        steps.push(data(3, Direction::FromServer));
        steps.push(data(4, Direction::FromServer));
        steps.push(data(5, Direction::FromClient));
        steps.push(ack(6));
        steps.push(ack(7));
        steps[6].flags = Flags::PSH;
        let rows = rows(&steps);
        let Some(Row::Transfer(transfer)) = rows.last() else {
            panic!("{rows:?}");
        };
        assert_eq!(
            transfer.to_string(),
            "... 1 segment, 100 octets from the server, \
             1 segment, 100 octets from the client, 1 ACK, 1 other"
        );
        assert_eq!((transfer.frame, transfer.at), (Some(4), steps[3].at));
    }

    #[test]
    fn an_empty_ladder_has_no_rows() {
        assert!(rows(&[]).is_empty());
    }
}
