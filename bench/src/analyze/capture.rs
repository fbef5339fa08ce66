//! Captures in a file: classic pcap, as `tcpdump -w` writes it.

use std::io::{self, Write};

use super::traffic::Traffic;

/// Microseconds, in this machine's byte order.
const MAGIC: u32 = 0xa1b2_c3d4;
const VERSION: [u16; 2] = [2, 4];
const SNAPLEN: u32 = 0x4_0000;
const ETHERNET: u32 = 1;

/// Writes so many packets.
pub(super) fn write(
    output: &mut impl Write,
    traffic: &mut Traffic,
    packets: u64,
) -> io::Result<()> {
    output.write_all(&MAGIC.to_ne_bytes())?;
    for part in VERSION {
        output.write_all(&part.to_ne_bytes())?;
    }
    // Two that are always 0: time zone and accuracy.
    for part in [0, 0, SNAPLEN, ETHERNET] {
        output.write_all(&part.to_ne_bytes())?;
    }
    for _ in 0..packets {
        let Some(packet) = traffic.packet() else {
            break;
        };
        let microseconds = packet.time / 1000;
        for part in [
            microseconds / 1_000_000,
            microseconds % 1_000_000,
            packet.frame.len() as u64,
            packet.wire_len as u64,
        ] {
            let part = u32::try_from(part).map_err(io::Error::other)?;
            output.write_all(&part.to_ne_bytes())?;
        }
        output.write_all(packet.frame)?;
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use analysis::{Analyzer, Filter, Options, capture::Capture};
    use filter_common::Closer;

    use super::*;
    use crate::analyze::traffic::Made;

    #[test]
    fn what_is_made_is_what_is_found() {
        let mut file = Vec::new();
        let mut traffic = Traffic::new(7, 100);
        write(&mut file, &mut traffic, 20_000).unwrap();
        let made = traffic.made();
        let mut capture = Capture::open(io::Cursor::new(file)).unwrap();
        let mut analyzer = Analyzer::new(&Options {
            window: Duration::from_millis(500),
            budget: 3,
            closer: Closer::Client,
            half_closed_lifetime: Duration::from_hours(1),
            one_sided_lifetime: Duration::from_mins(1),
            closed_lifetime: Duration::from_mins(4),
            filter: Filter::default(),
            most_findings: 20,
        });
        while let Some(packet) = capture.next().unwrap() {
            analyzer.packet(&packet);
        }
        let report = analyzer.finish().report;
        assert_eq!(report.packets, 20_000);
        assert!(report.skipped.is_empty(), "{:?}", report.skipped);
        assert!(made.spurious_acks > 10, "{made:?}");
        let found = Made {
            spurious_acks: report.spurious_acks,
            resets: report.resets_after_spurious_ack,
            elicited_acks: report.reacks_elicited,
        };
        assert_eq!(found, made);
        assert_eq!((report.redundant_acks, report.copies), (0, 0));
        assert!(report.crossing_closes > 10, "{report:?}");
    }
}
