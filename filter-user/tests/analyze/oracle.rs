//! What there is to find in a capture, by tshark's fields and the rules' own words.
//!
//! No code of the filter or of the analysis: of each close there are lists of what was said, and
//! each question is answered by looking through them.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use crate::{
    expected::{Figures, Finding},
    tshark::Row,
};

const FIN: u16 = 0x01;
const SYN: u16 = 0x02;
const RST: u16 = 0x04;
const ACK: u16 = 0x10;

const MILLISECOND: i64 = 1_000_000;
const WINDOW: i64 = 500 * MILLISECOND;
const BUDGET: usize = 3;

impl Row {
    fn has(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    fn finishes(&self) -> bool {
        self.flags & (FIN | SYN | RST | ACK) == FIN | ACK
    }

    fn end(&self) -> u32 {
        let controls = u32::from(self.has(FIN)) + u32::from(self.has(SYN));
        self.seq.wrapping_add(self.len).wrapping_add(controls)
    }

    fn is_pure_ack(&self) -> bool {
        self.flags == ACK && self.len == 0
    }

    /// Whether its sender sends it twice only if it has to.
    fn bears(&self) -> bool {
        self.len > 0 || self.has(FIN | SYN)
    }

    fn is_twin(&self, other: &Self) -> bool {
        let said = |row: &Self| (row.seq, row.ack, row.flags, row.len, row.window, row.id);
        said(self) == said(other) && self.options == other.options
    }
}

/// Everything there is to find; `packets` of them are in the capture.
pub(crate) fn figures(packets: u64, rows: &[Row]) -> Figures {
    let mut figures = Figures {
        packets,
        segments: rows.len().try_into().unwrap(),
        ..Figures::default()
    };
    let times = rows.iter().map(|row| row.time);
    let later = times.clone().skip(1);
    figures.time_backwards = times.zip(later).filter(|(a, b)| b < a).count() as u64;
    let mut pairs: BTreeMap<[SocketAddr; 2], Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let mut ends = [row.source, row.destination];
        ends.sort();
        pairs.entry(ends).or_default().push(row);
    }
    let mut all = Vec::new();
    for rows in pairs.values() {
        for connection in connections(rows) {
            figures.connections += 1;
            all.extend(closes(connection));
        }
    }
    for close in without_copies(&all, &mut figures) {
        judge(&close, &mut figures);
    }
    figures.findings.sort_by_key(|finding| finding.frame);
    figures
}

/// How many frames come behind a client's RST. The analysis looks at them, too, where the close had
/// findings; there they may be copies, and nothing else.
pub(crate) fn behind_client_resets(rows: &[Row]) -> u64 {
    let mut has_closed: Vec<(SocketAddr, SocketAddr)> = Vec::new();
    let mut has_reset: Vec<(SocketAddr, SocketAddr)> = Vec::new();
    let mut behind = 0;
    for row in rows {
        let (from, to) = (row.source, row.destination);
        if has_reset.contains(&(from, to)) || has_reset.contains(&(to, from)) {
            behind += 1;
        } else if row.has(RST) && has_closed.contains(&(from, to)) {
            has_reset.push((from, to));
        } else if row.finishes() && !has_closed.contains(&(to, from)) {
            has_closed.push((from, to));
        }
    }
    behind
}

/// The connections between two ends: a SYN with a new number begins another, if anything but SYNs
/// was there before.
fn connections<'a, 'b>(rows: &'a [&'b Row]) -> Vec<&'a [&'b Row]> {
    let mut starts = vec![0];
    for (at, row) in rows.iter().enumerate().skip(1) {
        let known = &rows[starts[starts.len() - 1]..at];
        let mut syns = known
            .iter()
            .filter(|known| known.has(SYN) && known.source == row.source);
        let is_repeated = syns.any(|known| known.seq == row.seq);
        let has_opened = known.iter().any(|known| !known.has(SYN));
        if row.has(SYN) && !row.has(ACK) && !is_repeated && has_opened {
            starts.push(at);
        }
    }
    pieces(rows, &starts)
}

/// What begins with a FIN, whose sender is the client, up to a RST of this client.
fn closes<'a, 'b>(rows: &'a [&'b Row]) -> Vec<&'a [&'b Row]> {
    let mut closes = Vec::new();
    let mut rest = rows;
    while let Some(start) = rest.iter().position(|row| row.finishes()) {
        let client = rest[start].source;
        let gives_up = |row: &&Row| row.source == client && row.has(RST);
        let length = rest[start..].iter().position(gives_up);
        let end = length.map_or(rest.len(), |length| start + length + 1);
        closes.push(&rest[start..end]);
        rest = &rest[end..];
    }
    closes
}

fn pieces<'a, 'b>(rows: &'a [&'b Row], starts: &[usize]) -> Vec<&'a [&'b Row]> {
    let ends = starts.iter().skip(1).copied().chain([rows.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| &rows[*start..end])
        .collect()
}

/// Closes without the frames that were captured before.
fn without_copies<'a>(closes: &[&[&'a Row]], figures: &mut Figures) -> Vec<Vec<&'a Row>> {
    let mut seen: Vec<Seen<'_>> = closes.iter().map(|_| Seen::default()).collect();
    let rows = closes.iter().zip(0..);
    let mut rows: Vec<_> = rows
        .flat_map(|(rows, close)| rows.iter().map(move |row| (*row, close)))
        .collect();
    rows.sort_by_key(|(row, _)| row.frame);
    // Of the whole capture so far: of how many frames there might be copies, and of how many there
    // are.
    let (mut frames, mut copies) = (0, 0);
    for (row, close) in rows {
        let is_mirrored = frames >= 4 && 2 * copies >= frames;
        let count = if seen[close].is_copy(row, is_mirrored) {
            figures.copies += 1;
            &mut copies
        } else {
            &mut frames
        };
        *count += usize::from(row.bears());
    }
    seen.into_iter().map(|seen| seen.kept).collect()
}

/// The frames of a close.
#[derive(Default)]
struct Seen<'a> {
    kept: Vec<&'a Row>,
    /// Of these, those that may have copies.
    remembered: Vec<&'a Row>,
    /// Those that were captured before, and how many hops away.
    copies: Vec<(&'a Row, u8)>,
    /// What each side has acknowledged.
    acked: HashMap<SocketAddr, u32>,
}

impl<'a> Seen<'a> {
    /// `is_mirrored`: the whole capture seems to be.
    fn is_copy(&mut self, row: &'a Row, is_mirrored: bool) -> bool {
        let is_of_side = |other: &&&Row| other.source == row.source;
        let copies = self
            .copies
            .iter()
            .filter(|(copy, _)| copy.source == row.source);
        let bearing = self.kept.iter().filter(is_of_side);
        let bearing = bearing.filter(|row| row.bears()).count();
        let doubled = copies.clone().filter(|(copy, _)| copy.bears()).count();
        let is_mirrored = if bearing > 0 {
            2 * doubled >= bearing
        } else {
            is_mirrored
        };
        // What is long ago was sent again.
        let recent = self.remembered.iter().filter(is_of_side).rev().take(64);
        let twin = recent
            .filter(|other| (row.time - other.time).abs() <= 2000 * MILLISECOND)
            .find(|other| {
                let is_soon = (row.time - other.time).abs() <= 5 * MILLISECOND;
                let way = other.hops.abs_diff(row.hops);
                let is_copy = match (row.id, way) {
                    (1.., _) => true,
                    (0, 0) => is_soon && (row.bears() || is_mirrored),
                    (0, _) => row.bears() || copies.clone().any(|(_, known)| *known == way),
                };
                other.is_twin(row) && is_copy
            });
        let way = twin.map(|twin| twin.hops.abs_diff(row.hops));
        match way {
            Some(way) => self.copies.push((row, way)),
            None => self.keep(row),
        }
        way.is_some()
    }

    /// What acknowledges less than its sender has already, and nothing else, matters to nobody,
    /// however often it comes.
    fn keep(&mut self, row: &'a Row) {
        self.kept.push(row);
        if row.has(ACK) {
            let acked = self.acked.entry(row.source).or_insert(row.ack);
            let is_late = row.ack.wrapping_sub(*acked).cast_signed() < 0;
            if is_late && !row.bears() {
                return;
            }
            if !is_late || row.finishes() {
                *acked = row.ack;
            }
        }
        self.remembered.push(row);
    }
}

/// What was said in a close so far.
#[derive(Default)]
struct Said<'a> {
    /// The server's FINs that acknowledge the client's.
    fins: Vec<&'a Row>,
    /// What the server has said, from the first of them on, that has to be answered.
    asked: Vec<&'a Row>,
    /// The client's answers, and how much had been asked until then.
    answers: Vec<(&'a Row, usize)>,
    /// ACKs that nothing had asked for, and the findings that they are.
    unasked: Vec<(&'a Row, usize)>,
    /// Resets of neither.
    resets_after_answers: Vec<&'a Row>,
    has_crossed: bool,
}

/// One close, and those that follow it under the same addresses.
fn judge(rows: &[&Row], figures: &mut Figures) {
    let Some((fin, rest)) = rows.split_first() else {
        return;
    };
    if is_renumbered(rows) {
        figures.renumbered_connections += 1;
        return;
    }
    let mut said = Said::default();
    for (at, &row) in rest.iter().enumerate() {
        let is_clients = row.source == fin.source;
        if is_clients && row.finishes() && row.end() != fin.end() {
            figures.connections += u64::from(!said.answers.is_empty());
            return judge(&rest[at..], figures);
        }
        if is_clients && row.flags == RST {
            unserved(fin, &rest[..at], row, figures);
        }
        if is_clients {
            said.by_client(fin, row, figures);
        } else {
            said.by_server(fin, row, figures);
        }
    }
}

/// A reset of the side that closed first, and keeps nothing of the connection: the other side has
/// acknowledged its FIN, has sent its own, and has then acknowledged the former once more, though
/// nothing has asked for that.
fn unserved(fin: &Row, rows: &[&Row], reset: &Row, figures: &mut Figures) {
    let Some((ack, before)) = rows.split_last() else {
        return;
    };
    let is_others = |row: &&&Row| row.source != fin.source;
    // One that has given up has nothing left to acknowledge.
    if before.iter().filter(is_others).any(|row| row.has(RST)) {
        return;
    }
    let Some(second) = before.iter().filter(is_others).find(|row| row.finishes()) else {
        return;
    };
    // Its first FIN, or an ACK in the window of the other side.
    let is_answer = |row: &Row| {
        let is_bare = !row.has(FIN | SYN | RST) && row.seq == second.end();
        row.source != fin.source
            && row.ack == fin.end()
            && (row.frame == second.frame || row.frame > second.frame && is_bare)
    };
    let Some(answer) = before.iter().rposition(|row| is_answer(row)) else {
        return;
    };
    let asks = |row: &Row| row.len > 0 || row.has(FIN) || row.seq != fin.end();
    let since = before[answer..].iter().filter(|row| !is_others(row));
    let is_asked = since.filter(|row| !row.has(RST)).any(|row| asks(row));
    let is_drawn = ack.ack == fin.end() && ack.ack == reset.seq;
    if !is_asked && is_drawn && ack.source != fin.source && ack.is_pure_ack() {
        figures.spurious_acks += 1;
        figures.resets_after_spurious_ack += 1;
        figures.findings.push(Finding {
            client: ack.source.to_string(),
            frame: ack.frame,
            kind: "spurious".to_owned(),
            reason: "closer".to_owned(),
            reset_frame: Some(reset.frame),
        });
    }
}

/// Whether two FINs of one direction are one, with other numbers.
fn is_renumbered(rows: &[&Row]) -> bool {
    let fins: Vec<_> = rows.iter().filter(|row| row.finishes()).collect();
    fins.iter().any(|a| {
        fins.iter().any(|b| {
            let is_same = a.source == b.source && a.id == b.id && a.hops > b.hops;
            is_same && (a.seq, a.ack) != (b.seq, b.ack)
        })
    })
}

impl<'a> Said<'a> {
    fn by_client(&mut self, fin: &Row, row: &'a Row, figures: &mut Figures) {
        let Some(server_fin) = self.fins.last() else {
            return;
        };
        let acknowledges = row.has(ACK) && !row.has(SYN | RST | FIN);
        if !acknowledges || row.ack != server_fin.end() {
            return;
        }
        let answered = self.answers.last().map_or(0, |(_, asked)| *asked);
        if self.asked.len() > answered {
            if row.seq == fin.end() {
                let is_first = self.answers.is_empty();
                figures.closed += u64::from(is_first);
                figures.reacks_elicited += u64::from(!is_first);
                self.answers.push((row, self.asked.len()));
            }
            return;
        }
        if row.is_pure_ack() {
            let (kind, reason) = self.class(fin, row, figures);
            match kind {
                "redundant" => figures.redundant_acks += 1,
                _ => figures.spurious_acks += 1,
            }
            self.unasked.push((row, figures.findings.len()));
            figures.findings.push(Finding {
                client: row.source.to_string(),
                frame: row.frame,
                kind: kind.to_owned(),
                reason: reason.to_owned(),
                reset_frame: None,
            });
        }
    }

    /// What an ACK is that nothing has asked for, and what R1 makes of it.
    fn class(&self, fin: &Row, row: &Row, figures: &Figures) -> (&'static str, &'static str) {
        let (answer, asked) = self.answers.last().unwrap();
        let reason = |finding: &usize| figures.findings[*finding].reason.as_str();
        let is_dropped =
            |finding: &usize| matches!(reason(finding), "spurious_ack" | "redundant_ack");
        let dropped = self
            .unasked
            .iter()
            .filter(|(_, finding)| is_dropped(finding));
        // Each thing that was asked might have had an answer of its own.
        let is_redundant = |finding: &usize| figures.findings[*finding].kind == "redundant";
        let redundant = self.unasked.iter();
        let redundant = redundant.filter(|(_, finding)| is_redundant(finding));
        let is_redundant = redundant.count() + self.answers.len() < *asked;
        let passed = self
            .unasked
            .iter()
            .filter(|(_, finding)| !is_dropped(finding));
        let last = passed
            .map(|(row, _)| row)
            .chain([answer])
            .max_by_key(|row| row.frame);
        let kind = if is_redundant {
            "redundant"
        } else {
            "spurious"
        };
        let reason = if row.kinds.iter().any(|kind| !matches!(kind, 0 | 1 | 8)) {
            "options"
        } else if row.seq != fin.end() && row.seq.wrapping_add(1) != fin.end() {
            "sequence"
        } else if row.time - last.unwrap().time > WINDOW {
            "window"
        } else if dropped.count() >= BUDGET {
            "budget"
        } else if is_redundant {
            "redundant_ack"
        } else {
            "spurious_ack"
        };
        (kind, reason)
    }

    fn by_server(&mut self, fin: &Row, row: &'a Row, figures: &mut Figures) {
        if row.has(RST) {
            return self.reset(row, figures);
        }
        if row.has(SYN) {
            return;
        }
        if row.finishes() {
            if row.ack == fin.end() {
                self.fins.push(row);
            } else if row.ack.wrapping_sub(fin.end()).cast_signed() < 0 && !self.has_crossed {
                self.has_crossed = true;
                figures.crossing_closes += 1;
            }
        }
        if let Some(server_fin) = self.fins.last()
            && (row.has(FIN) || row.len > 0 || row.seq != server_fin.end())
        {
            self.asked.push(row);
        }
    }

    /// A reset tells the number that drew it. The oldest ACK of the last second that it may be of drew
    /// it.
    fn reset(&mut self, row: &'a Row, figures: &mut Figures) {
        let mut waiting = self.unasked.iter().filter(|(ack, finding)| {
            let is_free = figures.findings[*finding].reset_frame.is_none();
            is_free && (ack.ack == row.seq || row.has(ACK))
        });
        // What is longer ago is rather left without, if there is a later one.
        let last = waiting.clone().next_back();
        let waiting = waiting
            .find(|(ack, _)| row.time - ack.time <= 1000 * MILLISECOND)
            .or(last);
        if let Some((_, finding)) = waiting {
            figures.findings[*finding].reset_frame = Some(row.frame);
            figures.resets_after_spurious_ack += 1;
            return;
        }
        let is_drawn = row.flags == RST && self.fins.last().is_some_and(|fin| fin.end() == row.seq);
        // The first answer frees the server's socket and draws none.
        let has_answered = self.answers.iter().skip(1).any(|(answer, _)| {
            let mut resets = self.resets_after_answers.iter();
            resets.all(|reset| reset.frame < answer.frame)
        });
        if is_drawn && has_answered {
            self.resets_after_answers.push(row);
            figures.resets_after_elicited_ack += 1;
        } else {
            figures.resets_other += 1;
        }
    }
}
