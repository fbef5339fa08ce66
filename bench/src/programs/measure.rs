//! One case in one round: the program, and beside it an empty one, driven alike.

use anyhow::{Result, anyhow, ensure};
use filter_common::{
    Direction, Flow, FlowKey, Reason,
    wire::{self, Link},
};

use super::{
    cases::{Case, Style},
    kernel::{Kernel, Program, Ran},
    reference::{Reference, Step},
};

/// Flows of a restored case, as many as [`Step::in_a_circle`] goes through.
const CIRCLE: u32 = 256;
/// How often each of them has its turn before it is put back: below the largest budget.
const TURNS: u32 = 250;
/// Flows that are made in an empty table: fewer than it has room for.
const ROOM: u32 = 60_000;

/// Nanoseconds a run in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) empty: f64,
    pub(super) program: f64,
}

/// A case that is ready to be measured.
pub(super) struct Measured<'a> {
    pub(super) case: &'a Case,
    frame: Vec<u8>,
    empty: Reference,
    /// For a stepped case: leads to the program.
    driver: Option<Reference>,
    /// For a restored case: what is put back.
    flows: Vec<(FlowKey, Flow)>,
}

impl<'a> Measured<'a> {
    /// Lets the frames go before that the case asks for.
    pub(super) fn new(case: &'a Case, kernel: &mut Kernel) -> Result<Self> {
        let step = match case.style {
            Style::Stepped(step)
            | Style::SteppedFromEmpty(step)
            | Style::Restored(step)
            | Style::Revisited { step, .. } => Some(step),
            Style::Same => None,
        };
        let mut empty = Reference::load(case.program, step.unwrap_or(Step::NONE))?;
        empty.lead_to_empty(case.program)?;
        let driver = match step {
            Some(step) => {
                let mut driver = Reference::load(case.program, step)?;
                driver.lead_to(&kernel.descriptor(case.program)?)?;
                Some(driver)
            }
            None => None,
        };
        let mut flows = Vec::new();
        for before in &case.before {
            let program = kernel.towards(before.direction);
            if let Style::Restored(_) = case.style {
                let mut driver = Reference::load(program, before.circle)?;
                driver.lead_to(&kernel.descriptor(program)?)?;
                program.run(&driver.ebpf, "step", &before.frame, CIRCLE)?;
            } else {
                kernel.run(program, &before.frame, 1)?;
            }
        }
        if let Style::Restored(step) = case.style {
            let direction = case.program.direction(kernel.role);
            let mut frame = case.frame.clone();
            for _ in 0..CIRCLE {
                let key = key(&frame, direction)?;
                flows.push((key, kernel.flow(&key)?));
                step.advance(&mut frame, 1);
            }
        }
        Ok(Self {
            case,
            frame: case.frame.clone(),
            empty,
            driver,
            flows,
        })
    }

    /// Measures `repeat` runs. What did not take the way that the case names is an error.
    pub(super) fn round(&mut self, kernel: &mut Kernel, repeat: u32) -> Result<Sample> {
        let Case { program, style, .. } = *self.case;
        let repeat = match style {
            Style::SteppedFromEmpty(_) => repeat.min(ROOM),
            Style::Revisited { flows, .. } => flows,
            Style::Restored(_) => CIRCLE * TURNS,
            Style::Same | Style::Stepped(_) => repeat,
        };
        let before = kernel.counters()?;
        let (empty, ran) = match style {
            Style::Same => {
                let empty = program.run(&self.empty.ebpf, "empty", &self.frame, repeat)?;
                (empty.time, kernel.run(program, &self.frame, repeat)?)
            }
            Style::Stepped(step) => self.step(program, step, repeat)?,
            Style::SteppedFromEmpty(step) => {
                kernel.clear()?;
                self.step(program, step, repeat)?
            }
            Style::Revisited { step, .. } => {
                self.frame.clone_from(&self.case.frame);
                self.step(program, step, repeat)?
            }
            Style::Restored(step) => {
                for (key, flow) in &self.flows {
                    kernel.set_flow(key, flow)?;
                }
                self.step(program, step, repeat)?
            }
        };
        let after = kernel.counters()?;
        let counted = |reason: Reason| after.of(reason) - before.of(reason);
        let all: u64 = Reason::ALL.into_iter().map(counted).sum();
        let expected: u64 = self.case.reasons.iter().copied().map(counted).sum();
        let due = if self.case.reasons.is_empty() {
            0
        } else {
            u64::from(repeat)
        };
        ensure!(
            all == due && expected == due,
            "{} by {}: {expected} of {repeat} runs were counted as they should be, {all} in all",
            self.case.path,
            program.name(),
        );
        ensure!(
            ran.verdict == self.case.verdict,
            "{} by {}: {:?}",
            self.case.path,
            program.name(),
            ran.verdict
        );
        Ok(Sample {
            empty,
            program: ran.time,
        })
    }

    /// Each run another flow's packet, and each round goes on where the last one ended.
    fn step(&mut self, program: Program, step: Step, repeat: u32) -> Result<(f64, Ran)> {
        let driver = self.driver.as_ref().unwrap_or(&self.empty);
        let empty = program.run(&self.empty.ebpf, "step", &self.frame, repeat)?;
        let ran = program.run(&driver.ebpf, "step", &self.frame, repeat)?;
        step.advance(&mut self.frame, repeat);
        Ok((empty.time, ran))
    }
}

fn key(frame: &[u8], direction: Direction) -> Result<FlowKey> {
    let key = wire::locate(frame, Link::Ethernet, direction, 0)
        .and_then(|located| wire::key(frame, &located, direction));
    key.map_err(|reason| anyhow!("the frame is refused: {}", reason.as_str()))
}
