//! What is claimed of the figures, and the test by which a difference is told from chance.

use super::row::Row;

/// A difference that chance gives less often than this is held for one. There are some fifty
/// comparisons in a run: one run in 200 raises a false alarm.
const SIGNIFICANCE: f64 = 1e-4;

/// A claim, and where it does not hold.
pub(super) struct Claim {
    pub(super) text: &'static str,
    /// One line for each place.
    pub(super) broken: Vec<String>,
}

/// All claims, checked.
pub(super) fn check(rows: &[Row]) -> Vec<Claim> {
    let each = |text, breaks: &dyn Fn(&Row, &Row) -> Option<String>| {
        let broken = rows.iter().filter_map(|row| {
            let off = rows.iter().find(|off| {
                (off.clients, off.loss_percent, off.filter)
                    == (row.clients, row.loss_percent, "off")
            })?;
            let at = format!(
                "{} client, {} %, {}",
                row.clients, row.loss_percent, row.filter
            );
            breaks(row, off).map(|how| format!("{at}: {how}"))
        });
        Claim {
            text,
            broken: broken.collect(),
        }
    };
    vec![
        each(
            "Whatever an application read is what was sent.",
            &|row, _| (row.corrupted > 0).then(|| format!("{} read else", row.corrupted)),
        ),
        each(
            "No more connections fail with the filter than without (Fisher, p < 0.0001).",
            &|row, off| {
                let (with, without) = (
                    row.connections - row.complete,
                    off.connections - off.complete,
                );
                let p = fisher((with, row.connections), (without, off.connections));
                (p < SIGNIFICANCE).then(|| format!("{with}, and {without} without"))
            },
        ),
        each(
            "The gateway keeps nothing but pure ACKs that repeat one which it has forwarded, and \
             bare RSTs behind a completed close; and the filter counted each.",
            &|row, _| {
                let is_so = row.others_kept == 0
                    && row.acks_kept == row.acks_dropped
                    && row.resets_kept == row.resets_dropped;
                (!is_so).then(|| {
                    format!(
                        "kept {} ACKs, {} RSTs, {} others; the filter counted {} and {}",
                        row.acks_kept,
                        row.resets_kept,
                        row.others_kept,
                        row.acks_dropped,
                        row.resets_dropped
                    )
                })
            },
        ),
        each(
            "No ACK is kept that the server has asked for since the last one that was forwarded.",
            &|row, _| {
                let asked = row.acks_kept_though_asked;
                (asked > 0).then(|| format!("{asked} were"))
            },
        ),
        each("No socket of the server is left in LAST-ACK.", &|row, _| {
            let left = row.left_in_last_ack;
            (left > 0).then(|| format!("{left} left"))
        }),
        each(
            "Fewer than one server in 20 is in LAST-ACK for longer, as an ACK that was dropped would have reached it before those that were forwarded.",
            &|row, _| {
                let longer = row.servers_waiting_longer;
                (longer * 20 >= row.connections)
                    .then(|| format!("{longer}, by up to {:.0} ms", row.longest_wait_ms))
            },
        ),
        each(
            "No more connections are reset with the filter than without (Fisher, p < 0.0001).",
            &|row, off| {
                let (with, without) = (row.connections_reset, off.connections_reset);
                let p = fisher((with, row.connections), (without, off.connections));
                (p < SIGNIFICANCE).then(|| format!("{with}, and {without} without"))
            },
        ),
        each(
            "With R1 and R2 no reset reaches a client that may heed it, and every byte is read.",
            &|row, _| {
                let lost = row.bytes_expected - row.bytes_read;
                (row.filter == "R1+R2" && (row.resets > 0 || lost > 0))
                    .then(|| format!("{} resets, {lost} bytes lost", row.resets))
            },
        ),
        each(
            "Without the filter the client with the fault is reset, and less often with R1 \
             (Fisher, p < 0.0001).",
            &|row, off| {
                let (with, without) = (row.connections_reset, off.connections_reset);
                let p = fisher((without, off.connections), (with, row.connections));
                (row.clients == "with the fault" && row.filter == "R1" && p >= SIGNIFICANCE)
                    .then(|| format!("{with}, and {without} without"))
            },
        ),
    ]
}

/// How often chance gives so many hits or more on the first side, where both are alike: Fisher's
/// exact test, one-sided. Sides are (hits, trials).
fn fisher((first, of_first): (u64, u64), (second, of_second): (u64, u64)) -> f64 {
    let hits = first + second;
    let all = ln_choose(of_first + of_second, hits);
    (first..=hits.min(of_first))
        .filter(|first| hits - first <= of_second)
        .map(|first| (ln_choose(of_first, first) + ln_choose(of_second, hits - first) - all).exp())
        .sum()
}

/// The logarithm of the number of ways to choose `part` of `whole`.
fn ln_choose(whole: u64, part: u64) -> f64 {
    (1..=part)
        .map(|step| as_float(whole - part + step).ln() - as_float(step).ln())
        .sum()
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    type Break<'a> = &'a dyn Fn(&mut [Row; 3]);

    #[test]
    fn fishers_test_gives_the_tea_ladys_odds() {
        assert!((fisher((4, 4), (0, 4)) - 1.0 / 70.0).abs() < 1e-12);
        assert!((fisher((3, 4), (1, 4)) - 17.0 / 70.0).abs() < 1e-12);
        assert!((fisher((0, 400), (0, 400)) - 1.0).abs() < 1e-12);
        assert!(fisher((20, 400), (0, 400)) < SIGNIFICANCE);
    }

    #[test]
    fn every_claim_can_break() {
        let sound = |clients, filter| Row {
            clients,
            filter,
            connections: 400,
            complete: 400,
            ..Row::default()
        };
        let off = Row {
            connections_reset: 300,
            ..sound("with the fault", "off")
        };
        let r1 = sound("with the fault", "R1");
        let both = sound("with the fault", "R1+R2");
        let rows = [off, r1, both];
        assert!(check(&rows).iter().all(|claim| claim.broken.is_empty()));
        let breaks: [(usize, Break<'_>); 10] = [
            (0, &|rows| rows[1].corrupted = 1),
            (1, &|rows| rows[1].complete = 370),
            (2, &|rows| rows[1].others_kept = 1),
            (2, &|rows| rows[1].acks_kept = 1),
            (3, &|rows| rows[1].acks_kept_though_asked = 1),
            (4, &|rows| rows[1].left_in_last_ack = 1),
            (5, &|rows| rows[1].servers_waiting_longer = 20),
            (7, &|rows| rows[2].resets = 1),
            (7, &|rows| rows[2].bytes_expected = 1),
            (8, &|rows| rows[1].connections_reset = 290),
        ];
        for (claim, break_it) in breaks {
            let mut rows = rows.clone();
            break_it(&mut rows);
            let broken = check(&rows);
            let broken: Vec<_> = (0..broken.len())
                .filter(|&n| !broken[n].broken.is_empty())
                .collect();
            assert_eq!(broken, [claim]);
        }
        let mut rows = rows;
        rows[0].connections_reset = 0;
        rows[1].connections_reset = 300;
        assert!(!check(&rows)[6].broken.is_empty());
    }
}
