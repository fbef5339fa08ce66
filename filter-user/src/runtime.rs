//! The runtime of the commands that wait for several things at once.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use tokio::runtime::{Builder, Runtime};

/// More than a runtime opens: 6 with tokio 1.54.
const DESCRIPTORS: usize = 8;

/// A runtime of this thread alone.
///
/// # Errors
///
/// Where this process may not open what it takes.
pub(crate) fn of_this_thread() -> io::Result<Runtime> {
    // tokio panics where it gets no sockets for its signals.
    let stderr = io::stderr();
    let room: io::Result<Vec<OwnedFd>> = (0..DESCRIPTORS)
        .map(|_| stderr.as_fd().try_clone_to_owned())
        .collect();
    drop(room?);
    Builder::new_current_thread().enable_all().build()
}
