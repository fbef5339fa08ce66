//! Word from the kernel that interfaces, or filters on them, may have changed.

#![expect(
    unsafe_code,
    reason = "registering a descriptor is a promise to keep it open"
)]

use std::io;

use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use rtnetlink::MulticastGroup;
use tokio::io::{Interest, unix::AsyncFd};

use super::hook::uses_tcx;
use crate::settings::Settings;

/// Says that something changed, not what: the kernel drops messages where nobody reads them in
/// time, so that who wants to know the state has to look at it in any case.
///
/// For the network namespace in which it was opened.
#[derive(Debug)]
pub struct Changes(AsyncFd<Socket>);

impl Changes {
    /// Listens from now on for what concerns an instance with `settings`.
    ///
    /// # Errors
    ///
    /// Where the kernel gives no such socket.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn listen(settings: &Settings) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        // The kernel sends nothing to a socket without an address.
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        socket.add_membership(MulticastGroup::Link as u32)?;
        // Links can only be detached by force, which nobody is told of.
        if !uses_tcx(settings.tc_mode) {
            socket.add_membership(MulticastGroup::Tc as u32)?;
        }
        // SAFETY: the socket owns its descriptor and gives the same one for as long as it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(Self(socket?))
    }

    /// Waits until something has changed since [`clear`](Self::clear).
    pub async fn wait(&self) {
        // An error is something to look after as well.
        drop(self.0.readable().await);
    }

    /// Forgets what has changed so far.
    pub fn clear(&self) {
        /// More than the socket holds, but an end.
        const MOST: u32 = 100_000;
        for _ in 0..MOST {
            let mut message = [0];
            let read = self.0.try_io(Interest::READABLE, |socket| {
                socket.recv(&mut message.as_mut_slice(), 0)
            });
            if read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return;
            }
        }
    }
}
