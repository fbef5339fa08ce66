//! Two cores at once, on the same flow and on different ones.

use std::{sync::Barrier, thread};

use anyhow::{Context as _, Result, bail};
use filter_common::Direction;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use serde::Serialize;

use super::{
    cases::{self, CLIENT_FIN, LAST_ACK, SERVER_FIN, client_word, octets},
    frames::{Frame, V4},
    kernel::{Kernel, Program},
    reference::{Reference, Step},
};
use crate::statistics::Summary;

/// One kind of packet, on one core and on two.
#[derive(Debug, Serialize)]
pub(super) struct Cores {
    path: &'static str,
    program: &'static str,
    /// Nanoseconds a packet above the empty program, one core alone.
    alone: Summary,
    /// The same, both cores at once, each.
    together: Summary,
}

impl Cores {
    pub(super) fn row(&self) -> (&'static str, &'static str, Summary, Summary) {
        (self.path, self.program, self.alone, self.together)
    }
}

/// What a core sends: a program of an object, and a frame.
struct Work<'a> {
    empty: &'a Reference,
    ours: &'a aya::Ebpf,
    name: &'static str,
    reference: &'static str,
    frame: Vec<u8>,
}

/// The clients of two flows.
const PORTS: [u16; 2] = [49_200, 49_201];

/// All of them; nothing where there is only one core.
pub(super) fn cores(rounds: u32, repeat: u32) -> Result<Vec<Cores>> {
    let Some(cores) = two()? else {
        return Ok(Vec::new());
    };
    let port = |client_port, direction, segment| {
        let frame = Frame {
            client_port,
            ..Frame::new(direction, V4, segment)
        };
        frame.octets()
    };
    let fin = PORTS.map(|client_port| port(client_port, Direction::FromServer, SERVER_FIN));
    let mut kernel = Kernel::load(&cases::settings())?;
    for client_port in PORTS {
        let frame = port(client_port, Direction::FromClient, CLIENT_FIN);
        kernel.run(Program::Egress, &frame, 1)?;
    }
    let mut rows = Vec::new();
    let ordinary = octets(Direction::FromClient, V4, LAST_ACK);
    let mut elsewhere = ordinary.clone();
    Step::through_all(client_word(&V4)).advance(&mut elsewhere, 1);
    for (path, program, frames) in [
        (
            "pure ACK, ordinary, same flow",
            Program::Egress,
            [&ordinary, &ordinary],
        ),
        (
            "pure ACK, ordinary, different flows",
            Program::Egress,
            [&ordinary, &elsewhere],
        ),
        (
            "server's FIN repeated, same flow",
            Program::Ingress,
            [&fin[0], &fin[0]],
        ),
        (
            "server's FIN repeated, different flows",
            Program::Ingress,
            [&fin[0], &fin[1]],
        ),
    ] {
        let mut empty = Reference::load(program, Step::NONE)?;
        empty.lead_to_empty(program)?;
        let ebpf = kernel.ebpf();
        let work = frames.map(|frame| Work {
            empty: &empty,
            ours: ebpf,
            name: program.name(),
            reference: "empty",
            frame: frame.clone(),
        });
        rows.push(measure(path, program, &work, cores, rounds, repeat)?);
    }
    rows.push(creating(cores, rounds, repeat)?);
    Ok(rows)
}

/// FINs, each of another flow.
fn creating(cores: [usize; 2], rounds: u32, repeat: u32) -> Result<Cores> {
    let mut kernel = Kernel::load(&cases::settings())?;
    let program = Program::Egress;
    let step = Step::through_all(client_word(&V4));
    let mut empty = Reference::load(program, step)?;
    empty.lead_to_empty(program)?;
    let mut driver = Reference::load(program, step)?;
    driver.lead_to(&kernel.descriptor(program)?)?;
    let mut work = [0, u32::MAX / 2].map(|steps| {
        let mut frame = octets(Direction::FromClient, V4, CLIENT_FIN);
        step.advance(&mut frame, steps);
        Work {
            empty: &empty,
            ours: &driver.ebpf,
            name: "step",
            reference: "step",
            frame,
        }
    });
    let path = "client's FIN, new flow, table full";
    let mut samples = Samples::default();
    for _ in 0..rounds {
        samples.round(program, &work, cores, repeat, |frame| {
            step.advance(frame, repeat);
        })?;
        for work in &mut work {
            step.advance(&mut work.frame, repeat.wrapping_mul(2));
        }
    }
    samples.row(path, program)
}

fn measure(
    path: &'static str,
    program: Program,
    work: &[Work<'_>; 2],
    cores: [usize; 2],
    rounds: u32,
    repeat: u32,
) -> Result<Cores> {
    let mut samples = Samples::default();
    for _ in 0..rounds {
        samples.round(program, work, cores, repeat, |_| ())?;
    }
    samples.row(path, program)
}

#[derive(Default)]
struct Samples {
    alone: Vec<f64>,
    together: Vec<f64>,
}

impl Samples {
    /// `next` changes a frame between the run alone and the one together.
    fn round(
        &mut self,
        program: Program,
        work: &[Work<'_>; 2],
        cores: [usize; 2],
        repeat: u32,
        next: impl Fn(&mut Vec<u8>),
    ) -> Result<()> {
        let [first, _] = work;
        self.alone.extend(run(
            program,
            &[(first, first.frame.clone(), cores[0])],
            repeat,
        )?);
        let both = [0, 1].map(|core| {
            let mut frame = work[core].frame.clone();
            next(&mut frame);
            (&work[core], frame, cores[core])
        });
        self.together.extend(run(program, &both, repeat)?);
        Ok(())
    }

    fn row(self, path: &'static str, program: Program) -> Result<Cores> {
        let none = "nothing was measured";
        Ok(Cores {
            path,
            program: program.name(),
            alone: Summary::of(self.alone).context(none)?,
            together: Summary::of(self.together).context(none)?,
        })
    }
}

/// Nanoseconds a packet above the empty program, of each core; all begin together.
fn run(
    program: Program,
    on_cores: &[(&Work<'_>, Vec<u8>, usize)],
    repeat: u32,
) -> Result<Vec<f64>> {
    let barrier = Barrier::new(on_cores.len());
    thread::scope(|scope| {
        let threads: Vec<_> = on_cores
            .iter()
            .map(|(work, frame, core)| {
                let barrier = &barrier;
                scope.spawn(move || -> Result<f64> {
                    let pinned = pin(*core);
                    barrier.wait();
                    pinned?;
                    // An error waits for the other core, which waits for this one.
                    let empty = program.run(&work.empty.ebpf, work.reference, frame, repeat);
                    barrier.wait();
                    let ours = program.run(work.ours, work.name, frame, repeat)?;
                    Ok(ours.time - empty?.time)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(measured) => measured,
                Err(_) => bail!("a thread panicked"),
            })
            .collect()
    })
}

fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set).context("cannot pin a thread to a core")
}

/// Two cores that this process may use.
fn two() -> Result<Option<[usize; 2]>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    let mut cores = (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false));
    Ok(cores.next().zip(cores.next()).map(|(a, b)| [a, b]))
}
