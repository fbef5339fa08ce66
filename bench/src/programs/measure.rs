//! One case in one round: the program, and beside it an empty one, driven alike.

use anyhow::{Result, ensure};
use filter_common::{Flow, Reason, Verdict};

use super::{
    cases::{Case, Style},
    kernel::{Kernel, Program, Ran},
    reference::{Reference, Step},
};

/// Runs after which a flow is put back: below the largest budget.
const RESTORE_AFTER: u32 = 250;
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
    /// For a restored case: as the flow is put back.
    flow: Option<Flow>,
}

impl<'a> Measured<'a> {
    /// Lets the frames go before that the case asks for.
    pub(super) fn new(case: &'a Case, kernel: &mut Kernel) -> Result<Self> {
        for (direction, frame) in &case.before {
            let program = kernel.towards(*direction);
            kernel.run(program, frame, 1)?;
        }
        let step = match case.style {
            Style::Stepped(step)
            | Style::SteppedFromEmpty(step)
            | Style::Revisited { step, .. } => Some(step),
            Style::Same | Style::Restored(_) => None,
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
        let flow = match case.style {
            Style::Restored(key) => Some(kernel.flow(&key)?),
            Style::Same
            | Style::Stepped(_)
            | Style::SteppedFromEmpty(_)
            | Style::Revisited { .. } => None,
        };
        Ok(Self {
            case,
            frame: case.frame.clone(),
            empty,
            driver,
            flow,
        })
    }

    /// Measures `repeat` runs. What did not take the way that the case names is an error.
    pub(super) fn round(&mut self, kernel: &mut Kernel, repeat: u32) -> Result<Sample> {
        let Case { program, style, .. } = *self.case;
        let repeat = match style {
            Style::SteppedFromEmpty(_) => repeat.min(ROOM),
            Style::Revisited { flows, .. } => flows,
            Style::Restored(_) => repeat.next_multiple_of(RESTORE_AFTER),
            Style::Same | Style::Stepped(_) => repeat,
        };
        let before = kernel.counters()?;
        let (empty, ran) = match style {
            Style::Same => {
                let empty = program.run(&self.empty.ebpf, "empty", &self.frame, repeat)?;
                (empty.call, kernel.run(program, &self.frame, repeat)?)
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
            Style::Restored(_) => self.restored(kernel, repeat)?,
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
            program: ran.call,
        })
    }

    /// Each run another flow's packet, and each round goes on where the last one ended.
    fn step(&mut self, program: Program, step: Step, repeat: u32) -> Result<(f64, Ran)> {
        let driver = self.driver.as_ref().unwrap_or(&self.empty);
        let empty = program.run(&self.empty.ebpf, "step", &self.frame, repeat)?;
        let ran = program.run(&driver.ebpf, "step", &self.frame, repeat)?;
        step.advance(&mut self.frame, repeat);
        Ok((empty.call, ran))
    }

    /// The kernel's own figures, since so few runs do not outweigh the preparation of a call.
    fn restored(&mut self, kernel: &mut Kernel, repeat: u32) -> Result<(f64, Ran)> {
        let Case { program, .. } = *self.case;
        let mut last = None;
        let (mut empty, mut ours) = (0.0, 0.0);
        for _ in 0..repeat / RESTORE_AFTER {
            if let (Style::Restored(key), Some(flow)) = (self.case.style, &self.flow) {
                kernel.set_flow(&key, flow)?;
            }
            let reference = program.run(&self.empty.ebpf, "empty", &self.frame, RESTORE_AFTER)?;
            let ran = kernel.run(program, &self.frame, RESTORE_AFTER)?;
            empty += reference.run;
            ours += ran.run;
            last = Some(ran.verdict);
        }
        let batches = f64::from(repeat / RESTORE_AFTER);
        let ran = Ran {
            verdict: last.unwrap_or(Verdict::Pass),
            call: ours / batches,
            run: ours / batches,
        };
        Ok((empty / batches, ran))
    }
}
