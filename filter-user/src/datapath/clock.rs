//! The packet programs' clock.

use std::{io, time::Duration};

use aya::{Ebpf, EbpfLoader, TestRun as _, TestRunOptions, programs::SchedClassifier};
use filter_common::Ticks;
use nix::time::{ClockId, clock_getres, clock_gettime};

use super::{DatapathError, attach::typed, error::kernel_answer, kernel};

/// An object with one program, which tells the time.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lastack-clock"));

const PROGRAM: &str = "lastack_clock";

/// Asks the kernel for the time as the packet programs have it: user space sees no jiffies.
pub struct Clock {
    ebpf: Ebpf,
    tick: Duration,
}

impl Clock {
    /// Loads it. Needs CAP_BPF and CAP_NET_ADMIN, as the packet programs do; it can be asked
    /// without.
    ///
    /// # Errors
    ///
    /// Where the kernel does not take its program.
    pub fn load() -> Result<Self, DatapathError> {
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .load(OBJECT)
            .map_err(kernel::not_loaded)?;
        let program: &mut SchedClassifier = typed(&mut ebpf, PROGRAM)?;
        program
            .load()
            .map_err(|error| kernel::refused(PROGRAM, error))?;
        Ok(Self {
            ebpf,
            tick: tick()?,
        })
    }

    /// What time it is.
    ///
    /// # Errors
    ///
    /// Where the kernel does not run its program.
    pub fn now(&self) -> Result<Ticks, DatapathError> {
        let failed = |error| DatapathError::System {
            what: "the packet programs' time",
            error,
        };
        let program = self.ebpf.program(PROGRAM);
        let program: &SchedClassifier = program
            .and_then(|program| program.try_into().ok())
            .ok_or(DatapathError::Missing(PROGRAM))?;
        // An Ethernet header is the least.
        let mut frame = [0; 64];
        let options = TestRunOptions {
            data_in: Some(&[0; 64]),
            data_out: Some(&mut frame),
            ..TestRunOptions::default()
        };
        let result = program
            .test_run(options)
            .map_err(|error| failed(kernel_answer(error)))?;
        match frame.first_chunk() {
            Some(ticks) if result.return_value == u32::MAX => Ok(Ticks(u64::from_ne_bytes(*ticks))),
            _ => Err(failed(io::Error::other("its program could not tell it"))),
        }
    }

    /// How long so many ticks are.
    #[must_use]
    pub fn span(&self, ticks: Ticks) -> Duration {
        let nanoseconds = self.tick.as_nanos().saturating_mul(ticks.0.into());
        Duration::from_nanos_u128(nanoseconds.min(Duration::MAX.as_nanos()))
    }
}

/// The length of a jiffy. The coarse clocks advance with it, and their resolution is it:
/// <https://github.com/torvalds/linux/blob/v6.18/kernel/time/posix-timers.c>
/// (`posix_get_coarse_res`).
pub(super) fn tick() -> Result<Duration, DatapathError> {
    clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)
        .map(Duration::from)
        .map_err(|error| DatapathError::System {
            what: "the length of a jiffy",
            error: error.into(),
        })
}

/// What time it is by the clock that nobody sets, and that goes on while the machine sleeps.
pub(crate) fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use std::{thread::sleep, time::Instant};

    use super::*;

    #[test]
    fn it_goes_as_fast_as_every_other_clock() {
        let clock = Clock::load().unwrap();
        let before = Instant::now();
        let first = clock.now().unwrap();
        let then = Instant::now();
        sleep(Duration::from_millis(300));
        let since = then.elapsed();
        let second = clock.now().unwrap();
        let in_all = before.elapsed();
        let span = clock.span(Ticks(second.0 - first.0));
        let slack = clock.tick * 2;
        assert!(span + slack >= since, "{span:?} for {since:?} at least");
        assert!(span <= in_all + slack, "{span:?} for {in_all:?} at most");
    }
}
