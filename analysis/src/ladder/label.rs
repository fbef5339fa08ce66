//! What is written at a step: control bits and numbers as Wireshark writes them, and times.

use std::{borrow::Cow, iter, time::Duration};

use filter_common::Flags;

use super::Step;

/// In the order of their bits.
const NAMES: [(Flags, &str); 9] = [
    (Flags::FIN, "FIN"),
    (Flags::SYN, "SYN"),
    (Flags::RST, "RST"),
    (Flags::PSH, "PSH"),
    (Flags::ACK, "ACK"),
    (Flags::URG, "URG"),
    (Flags::ECE, "ECE"),
    (Flags::CWR, "CWR"),
    (Flags::AE, "AE"),
];

/// A step's control bits, its numbers and its length, where it has one.
pub(super) fn label(step: &Step) -> String {
    let names = NAMES.iter().filter(|(flag, _)| step.flags.any(*flag));
    let names: Vec<_> = names.map(|(_, name)| *name).collect();
    let control = match names.as_slice() {
        [] => "[<None>]".to_owned(),
        names => format!("[{}]", names.join(", ")),
    };
    let numbers = [
        ("Seq", Some(step.seq)),
        ("Ack", step.ack),
        ("Len", Some(step.payload).filter(|payload| *payload > 0)),
    ];
    let numbers = numbers.iter().filter_map(|(name, number)| {
        let number = (*number)?;
        Some(format!("{name}={number}"))
    });
    let parts: Vec<_> = iter::once(control).chain(numbers).collect();
    parts.join(" ")
}

/// In seconds.
pub(super) fn time(at: Duration) -> String {
    format!("{}.{:06}", at.as_secs(), at.subsec_micros())
}

/// Without what steers a terminal or is not allowed in XML.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmful = |character: char| {
        character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
    };
    if text.contains(is_harmful) {
        text.replace(is_harmful, "\u{fffd}").into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use filter_common::Direction;

    use super::{super::samples::step, *};

    #[test]
    fn bits_and_numbers_are_as_wireshark_writes_them() {
        let all = Flags::from_header(0x1ff);
        for (flags, payload, expected) in [
            (Flags::SYN, 0, "[SYN] Seq=7"),
            (Flags::FIN.with(Flags::ACK), 0, "[FIN, ACK] Seq=7 Ack=9"),
            (
                Flags::PSH.with(Flags::ACK),
                12,
                "[PSH, ACK] Seq=7 Ack=9 Len=12",
            ),
            (
                all,
                0,
                "[FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE] Seq=7 Ack=9",
            ),
            (Flags::from_header(0), 3, "[<None>] Seq=7 Len=3"),
        ] {
            let mut step = step(1, 0, Direction::FromClient, flags, (7, 9), payload);
            step.ack = step.ack.filter(|_| flags.any(Flags::ACK));
            assert_eq!(label(&step), expected);
        }
    }

    #[test]
    fn times_have_microseconds() {
        assert_eq!(time(Duration::from_nanos(1_000_999)), "0.001000");
        assert_eq!(time(Duration::from_millis(86_400_250)), "86400.250000");
    }

    #[test]
    fn what_steers_a_terminal_or_breaks_xml_is_replaced() {
        assert_eq!(harmless("a\x1b[31m\u{202e}\n\u{0}\u{ffff}é"), "a�[31m����é");
        assert!(matches!(harmless("plain"), Cow::Borrowed("plain")));
    }
}
