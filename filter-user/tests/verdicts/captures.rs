//! Golden captures through the kernel: at each frame the verdict and the counters that
//! `lastack analyze` has given.
//!
//! The client's frames go through the program at egress, the server's through the one at ingress.
//! What the analysis takes for copies, or leaves out, is not replayed.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    thread,
    time::Duration,
};

use analysis::{
    Analyzer, Filter, Judged, Judgement, Options,
    capture::{Capture, Packet, Time, link},
};
use filter_common::{
    Closer, Direction, Flags, Mode, Reason,
    wire::{self, Link, Version},
};
use filter_user::{counters::Counters, settings::Settings};

use crate::{
    kernel::{Kernel, Program, least_octets},
    row::assert_counted,
};

/// A frame, and what the analysis says of it.
struct Replayed {
    number: u64,
    time: Time,
    link: Link,
    octets: Vec<u8>,
    direction: Direction,
    reason: Reason,
}

#[test]
fn golden_captures_are_judged_by_the_kernel_in_monitor_mode_as_by_the_analysis() {
    let settings = Settings {
        mode: Mode::Monitor,
        ..Settings::default()
    };
    replay_all(&settings, Program::Ingress, || Monitored);
}

#[test]
fn golden_captures_are_enforced_by_the_kernel_as_the_analysis_says() {
    let settings = Settings {
        rst_guard: true,
        ..Settings::default()
    };
    replay_all(&settings, Program::Xdp, Enforced::default);
}

/// What the kernel counts for what the analysis says.
trait Expected {
    fn reason(&mut self, analyzed: Reason) -> Reason;
}

/// The analysis judges as in monitor mode.
struct Monitored;

impl Expected for Monitored {
    fn reason(&mut self, analyzed: Reason) -> Reason {
        analyzed
    }
}

/// With R1 and R2 at work.
#[derive(Default)]
struct Enforced {
    /// R1 has let an ACK pass that nothing asked for, since the last answer.
    is_provoked: bool,
}

impl Expected for Enforced {
    fn reason(&mut self, analyzed: Reason) -> Reason {
        let is_in = |reasons: &[Reason]| reasons.contains(&analyzed);
        if is_in(&[
            Reason::WindowOver,
            Reason::BudgetSpent,
            Reason::OtherOptions,
        ]) {
            self.is_provoked = true;
        } else if is_in(&[Reason::FlowCreated, Reason::FirstAck, Reason::ElicitedAck]) {
            self.is_provoked = false;
        }
        if analyzed == Reason::SpuriousAckObserved {
            Reason::SpuriousAckDropped
        } else if analyzed == Reason::RedundantAckObserved {
            Reason::RedundantAckDropped
        } else if !is_in(&[Reason::ResetAfterSpuriousAck, Reason::ResetAfterClose]) {
            analyzed
        } else if self.is_provoked {
            // It came, since this was recorded without the filter.
            Reason::ResetAfterSpuriousAckSuppressed
        } else {
            Reason::ResetAfterCloseSuppressed
        }
    }
}

/// Has the kernel judge every capture; arriving Ethernet frames go through `arriving`.
fn replay_all<E: Expected>(settings: &Settings, arriving: Program, expected: fn() -> E) {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures");
    let files = fs::read_dir(directory).expect("captures are there");
    let mut files: Vec<_> = files
        .map(|file| file.expect("it can be listed").path())
        .collect();
    files.sort();
    let captures: Vec<_> = files
        .into_iter()
        .zip(1..)
        .map(|(file, number)| (analyzed(&file, settings, number), file))
        .collect();
    let is_late = |frames: &[Replayed]| {
        let mut frames = frames.iter();
        frames.any(|frame| frame.reason == Reason::WindowOver)
    };
    for lateness in [false, true] {
        let settings = Settings {
            // A stalled machine does not end it where nothing is to be late.
            window: if lateness {
                settings.window
            } else {
                Duration::from_mins(10)
            },
            closed_timeout: Duration::from_mins(20),
            max_flows: 1024,
            ..settings.clone()
        };
        let mut replay = Replay::new(&settings, arriving, lateness);
        for (frames, file) in captures
            .iter()
            .filter(|(frames, _)| is_late(frames) == lateness)
        {
            let name = file.file_name().expect("it is a file").display();
            replay.capture(&name.to_string(), frames, expected());
        }
        let drops = [
            Reason::SpuriousAckDropped,
            Reason::ResetAfterCloseSuppressed,
        ];
        for reason in drops.into_iter().filter(|_| !lateness) {
            let enforces = settings.mode == Mode::Enforce;
            assert_eq!(replay.counts[reason as usize] > 0, enforces, "{reason:?}");
        }
    }
}

/// Captures that follow one another through one set of programs.
struct Replay {
    kernel: Kernel,
    arriving: Program,
    /// Whether as much time passes between frames as when they were captured.
    is_paced: bool,
    counts: [u64; Reason::COUNT + 1],
}

impl Replay {
    fn new(settings: &Settings, arriving: Program, is_paced: bool) -> Self {
        let mut kernel = Kernel::load(settings);
        let programs = [
            Program::Egress,
            arriving,
            Program::EgressIp,
            Program::IngressIp,
        ];
        // That takes time, which must not pass between two frames.
        for program in programs {
            kernel.verify(program);
        }
        Self {
            kernel,
            arriving,
            is_paced,
            counts: [0; _],
        }
    }

    fn capture(&mut self, name: &str, frames: &[Replayed], mut expected: impl Expected) {
        let mut last = frames.first().map_or(Time(0), |frame| frame.time);
        for frame in frames {
            if self.is_paced {
                thread::sleep(frame.time.since(last));
            }
            last = frame.time;
            let program = match (frame.link, frame.direction) {
                (Link::Ethernet, Direction::FromClient) => Program::Egress,
                (Link::Ethernet, Direction::FromServer) => self.arriving,
                (Link::Ip, Direction::FromClient) => Program::EgressIp,
                (Link::Ip, Direction::FromServer) => Program::IngressIp,
            };
            let mut octets = frame.octets.clone();
            if !program.is_xdp() && frame.link == Link::Ethernet {
                octets.resize(octets.len().max(least_octets(&octets)), 0);
            }
            let verdict = self.kernel.run(program, &octets);
            let reason = expected.reason(frame.reason);
            if reason.is_counted() {
                self.counts[reason as usize] += 1;
            }
            let at = format!("{name}: frame {}, by {}", frame.number, program.name());
            let counts = Counters::from(self.counts);
            assert_counted(&self.kernel.counters(), &counts, &at);
            assert_eq!(verdict, reason.verdict(), "{at}: the verdict");
        }
    }
}

/// What the analysis says of the frames that it judges, which are moved to a network of their own:
/// most captures have the same addresses.
fn analyzed(file: &Path, settings: &Settings, network: u8) -> Vec<Replayed> {
    let mut analyzer = Analyzer::new(&Options {
        window: settings.window,
        budget: settings.budget,
        closer: Closer::Client,
        half_closed_lifetime: settings.half_closed_timeout,
        one_sided_lifetime: settings.one_sided_timeout,
        closed_lifetime: settings.closed_timeout,
        filter: Filter::default(),
        most_findings: 100,
    });
    let input = File::open(file).expect("it can be read");
    let mut capture = Capture::open(input).expect("it is a capture");
    let mut judged: Vec<(Judgement, Replayed)> = Vec::new();
    // Those whose close has begun.
    let mut closing: HashSet<SocketAddr> = HashSet::new();
    while let Some(packet) = capture.next().expect("it is whole") {
        let Judged::Segment(judgement) = analyzer.packet(&packet) else {
            continue;
        };
        let ends = [judgement.source(), judgement.destination()];
        let reason = if judgement.direction.is_some() {
            closing.extend(ends);
            judgement.reason
        } else if judgement.segment.flags.any(Flags::SYN) && closing.remove(&ends[0]) {
            // By then the analysis has begun with another connection.
            closing.remove(&ends[1]);
            Reason::Syn
        } else {
            judgement.reason
        };
        let (octets, link) = moved(&packet, network);
        let frame = Replayed {
            number: packet.number,
            time: packet.time,
            link,
            octets,
            direction: Direction::FromClient,
            reason,
        };
        judged.push((judgement, frame));
    }
    // Who the client is of a connection that has not begun to close is known later.
    let mut directions: HashMap<SocketAddr, Direction> = HashMap::new();
    let mut frames: Vec<_> = judged
        .into_iter()
        .rev()
        .filter_map(|(judgement, frame)| {
            if let Some(direction) = judgement.direction {
                directions.insert(judgement.source(), direction);
            }
            let direction = *directions.get(&judgement.source())?;
            Some(Replayed { direction, ..frame })
        })
        .collect();
    frames.reverse();
    frames
}

/// A packet from its Ethernet or IP header on, with both addresses in another network.
fn moved(packet: &Packet<'_>, network: u8) -> (Vec<u8>, Link) {
    let (view, link) = link::view(packet).expect("it was judged");
    let located = wire::locate(&view, link, Direction::FromClient, 0).expect("it was judged");
    // Nobody looks at what was not captured.
    let mut octets = view.data().to_vec();
    octets.resize(octets.len() + packet.wire_len - packet.data.len(), 0);
    let addresses = match located.version {
        Version::V4 => [12, 16],
        Version::V6 => [8, 24],
    };
    for address in addresses {
        octets[located.network + address + 1] ^= network;
    }
    (octets, link)
}
