//! What the running kernel has, by its version.

use std::{
    fmt::{self, Display, Formatter},
    io,
};

use aya::{EbpfError, maps::MapError, programs::ProgramError, util::KernelVersion};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::{DatapathError, error::kernel_answer};

/// The first kernel of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Series(u8, u8);

/// The oldest that is supported: the oldest of those that `cargo xtask vm` runs.
pub(crate) const FLOOR: Series = Series(5, 10);
/// From it on maps and programs are not accounted to RLIMIT_MEMLOCK.
pub(crate) const NO_MEMLOCK: Series = Series(5, 11);
/// From it on XDP takes frames of several buffers and copies from them.
pub(crate) const MULTI_BUFFER: Series = Series(5, 18);
/// From it on there is TCX.
pub(crate) const TCX: Series = Series(6, 6);

impl Series {
    /// Whether that kernel is older.
    pub(crate) fn is_after(self, version: KernelVersion) -> bool {
        version < KernelVersion::new(self.0, self.1, 0)
    }

    /// Whether the running kernel is of this series or a newer one, as far as it tells.
    pub(super) fn is_reached(self) -> bool {
        KernelVersion::current().is_ok_and(|current| !self.is_after(current))
    }
}

impl Display for Series {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Refuses a kernel that nothing was tried on.
pub(super) fn check_floor() -> Result<(), DatapathError> {
    // One that does not tell its version may be new enough.
    KernelVersion::current().map_or(Ok(()), above_floor)
}

fn above_floor(version: KernelVersion) -> Result<(), DatapathError> {
    if FLOOR.is_after(version) {
        return Err(DatapathError::Old(version));
    }
    Ok(())
}

/// That maps could not be made.
pub(super) fn not_loaded(error: EbpfError) -> DatapathError {
    if let EbpfError::MapError(MapError::CreateError { io_error, .. }) = &error
        && let Some(limit) = limit_behind(io_error)
    {
        return DatapathError::LockedMemory(limit);
    }
    DatapathError::Load(error)
}

/// That the kernel does not take a program.
pub(super) fn refused(program: &'static str, error: ProgramError) -> DatapathError {
    let error = kernel_answer(error);
    limit_behind(&error).map_or(
        DatapathError::Refused { program, error },
        DatapathError::LockedMemory,
    )
}

/// The limit on locked memory, if that is what the kernel's answer is about: it says no more than
/// `EPERM`.
fn limit_behind(error: &io::Error) -> Option<u64> {
    if error.raw_os_error() != Some(nix::libc::EPERM) || NO_MEMLOCK.is_reached() {
        return None;
    }
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (limit != RLIM_INFINITY).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_begins_with_its_first_kernel() {
        assert!(FLOOR.is_after(KernelVersion::new(5, 9, 255)));
        assert!(!FLOOR.is_after(KernelVersion::new(5, 10, 0)));
        assert!(!FLOOR.is_after(KernelVersion::new(6, 0, 0)));
        assert!(FLOOR.is_after(KernelVersion::new(4, 19, 0)));
        assert_eq!(FLOOR.to_string(), "5.10");
    }

    #[test]
    fn a_kernel_before_the_floor_is_refused_and_the_floor_is_taken() {
        let refused = above_floor(KernelVersion::new(5, 9, 16)).unwrap_err();
        let says = "Linux 5.9.16 is older than 5.10, the oldest that lastack supports; \
                    boot 5.10 or a newer one";
        assert!(refused.to_string().contains(says), "{refused}");
        assert!(above_floor(KernelVersion::new(5, 10, 0)).is_ok());
    }
}
