//! A file that carries frames, such as a TAP device, as smoltcp's network card, with the fault's timers on its wire.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::AsFd as _,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use smoltcp::{
    phy::{self, Device, DeviceCapabilities, Medium},
    time::Instant,
};

use super::{
    fault::DelayedAcks,
    recording::{self, Recording},
};

/// An Ethernet frame without its checksum.
const MTU: usize = 1514;

/// The network card of the client in user space.
pub(super) struct Card<'a> {
    file: &'a File,
    /// What adds the fault, and counts.
    pub(super) delayed_acks: DelayedAcks,
    /// What keeps the frames of one connection, if any is kept.
    pub(super) recording: Option<Recording>,
    /// smoltcp's tokens cannot fail: the first error is kept for the caller.
    failure: Option<io::Error>,
}

impl<'a> Card<'a> {
    pub(super) fn new(file: &'a File, delayed_acks: DelayedAcks) -> Self {
        Self {
            file,
            delayed_acks,
            recording: None,
            failure: None,
        }
    }

    /// Sends the ACKs whose delayed-ACK timer has fired.
    pub(super) fn fire(&mut self, now: Instant) -> io::Result<()> {
        let recording = &mut self.recording;
        let send = |frame: &[u8]| send(self.file, recording.as_mut(), frame);
        match self.delayed_acks.fire(now, send) {
            // It stays due.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            done => done,
        }
    }

    /// What went wrong since the last call.
    pub(super) fn check(&mut self) -> io::Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Waits until a frame has arrived, for at most `timeout`.
    pub(super) fn wait(&self, timeout: Duration) -> io::Result<()> {
        // Rounded up, lest the last millisecond be spent in a busy loop.
        let timeout = PollTimeout::try_from(timeout.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        match poll(
            &mut [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)],
            timeout,
        ) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Device for Card<'_> {
    type RxToken<'t>
        = RxToken
    where
        Self: 't;
    type TxToken<'t>
        = TxToken<'t>
    where
        Self: 't;

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }

    fn receive(&mut self, now: Instant) -> Option<(RxToken, TxToken<'_>)> {
        let mut frame = vec![0; MTU];
        match self.file.read(&mut frame) {
            Ok(length) => frame.truncate(length),
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.failure.get_or_insert(error);
                }
                return None;
            }
        }
        self.delayed_acks.received(&frame);
        if let Some(recording) = &mut self.recording {
            recording.keep(recording::now(), &frame);
        }
        Some((
            RxToken(frame),
            TxToken {
                file: self.file,
                delayed_acks: &mut self.delayed_acks,
                recording: self.recording.as_mut(),
                failure: &mut self.failure,
                now,
            },
        ))
    }

    fn transmit(&mut self, now: Instant) -> Option<TxToken<'_>> {
        Some(TxToken {
            file: self.file,
            delayed_acks: &mut self.delayed_acks,
            recording: self.recording.as_mut(),
            failure: &mut self.failure,
            now,
        })
    }
}

/// Puts a frame on the wire.
fn send(mut file: &File, recording: Option<&mut Recording>, frame: &[u8]) -> io::Result<()> {
    let at = recording.is_some().then(recording::now);
    file.write(frame).map(drop)?;
    if let Some((recording, at)) = recording.zip(at) {
        recording.keep(at, frame);
    }
    Ok(())
}

/// A frame that arrived.
pub(super) struct RxToken(Vec<u8>);

impl phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

/// Permission to send a frame.
pub(super) struct TxToken<'t> {
    file: &'t File,
    delayed_acks: &'t mut DelayedAcks,
    recording: Option<&'t mut Recording>,
    failure: &'t mut Option<io::Error>,
    now: Instant,
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = vec![0; length];
        let result = write(&mut frame);
        match send(self.file, self.recording, &frame) {
            Ok(()) => self.delayed_acks.sent(&frame, self.now),
            // A full queue loses frames, as any card's; TCP copes.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                self.failure.get_or_insert(error);
            }
        }
        result
    }
}
