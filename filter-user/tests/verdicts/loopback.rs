//! A loopback interface of its own, to send frames on whose headers are not in a socket
//! buffer's first buffer, which a test run does not make.

#![expect(unsafe_code, reason = "no crate here sends with a virtio header")]

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use nix::{
    libc,
    sched::{CloneFlags, unshare},
};

/// A new network namespace's, which always has this index.
const LOOPBACK: i32 = 1;
/// All that the loopback's own header needs; every other one is behind it.
const LINEAR: u16 = 14;
/// With less than a page the kernel does not split the buffer.
const SPLIT_FROM: usize = 8192;

/// A socket that sends whole frames on the loopback interface.
pub(crate) struct Loopback(OwnedFd);

impl Loopback {
    /// Moves the calling thread to a new network namespace and takes its loopback up.
    pub(crate) fn in_new_namespace() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests have to run as root");
        // SAFETY: plain numbers.
        let socket = checked(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) });
        // SAFETY: it was just opened, and nobody else has it.
        let loopback = Self(unsafe { OwnedFd::from_raw_fd(socket) });
        loopback.take_up();
        loopback.expect_header();
        loopback
    }

    fn take_up(&self) {
        // SAFETY: zeroes are a valid ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (target, octet) in request.ifr_name.iter_mut().zip(*b"lo") {
            *target = libc::c_char::from_ne_bytes([octet]);
        }
        request.ifr_ifru.ifru_flags =
            libc::c_short::try_from(libc::IFF_UP).expect("one of the first flags");
        // SAFETY: the request is of the type that it wants.
        checked(unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) });
    }

    /// Has a `struct virtio_net_hdr` before each frame, which says where to split it.
    fn expect_header(&self) {
        let on: libc::c_int = 1;
        // SAFETY: the option is an int.
        checked(unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_VNET_HDR,
                (&raw const on).cast(),
                length_of::<libc::c_int>(),
            )
        });
    }

    /// Sends a frame, padded, in a socket buffer that is split behind its link header.
    pub(crate) fn send_split(&self, frame: &[u8]) {
        // struct virtio_net_hdr: flags, gso_type, hdr_len, and six octets of offloads.
        let [low, high] = LINEAR.to_ne_bytes();
        let mut message = vec![0, 0, low, high, 0, 0, 0, 0, 0, 0];
        message.extend(frame);
        message.resize(SPLIT_FROM, 0);
        // SAFETY: zeroes are a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).expect("a small number");
        address.sll_ifindex = LOOPBACK;
        // SAFETY: both are as long as said.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                message.as_ptr().cast(),
                message.len(),
                0,
                (&raw const address).cast(),
                length_of::<libc::sockaddr_ll>(),
            )
        };
        // What the filter drops is reported as if the queue had been full.
        let full = io::Error::last_os_error().raw_os_error() == Some(libc::ENOBUFS);
        assert!(
            sent >= 0 || full,
            "cannot send: {}",
            io::Error::last_os_error()
        );
    }
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("a small number")
}

fn checked(result: libc::c_int) -> libc::c_int {
    assert!(result >= 0, "{}", io::Error::last_os_error());
    result
}
