//! Takes a pinned link off and removes its pin.

#![expect(
    unsafe_code,
    reason = "aya does not detach a pinned link whatever its type"
)]

use std::{
    ffi::CString,
    fs, io,
    mem::zeroed,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::{bpf_attr, bpf_cmd};
use log::debug;
use nix::{errno::Errno, libc};

/// Takes the link off that is pinned at `path`, if there is one, and removes the pin.
///
/// Removing the pin alone would do, but the kernel takes the link off some time later then.
pub(super) fn unpin(path: &Path) -> io::Result<()> {
    if let Err(error) = open(path).and_then(|link| detach(&link)) {
        debug!("{}: {error}", path.display());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// `BPF_OBJ_GET`. Not aya's, which gives no descriptor.
fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: plain data, all of it valid.
    let mut attr: bpf_attr = unsafe { zeroed() };
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    let fd = call(bpf_cmd::BPF_OBJ_GET, &mut attr)?;
    // SAFETY: the kernel has just given it, to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `BPF_LINK_DETACH`.
fn detach(link: &OwnedFd) -> io::Result<()> {
    // SAFETY: plain data, all of it valid.
    let mut attr: bpf_attr = unsafe { zeroed() };
    attr.link_detach.link_fd = link.as_raw_fd().cast_unsigned();
    call(bpf_cmd::BPF_LINK_DETACH, &mut attr).map(drop)
}

fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<RawFd> {
    // SAFETY: the caller has set what the command reads, and what that points to is alive.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            &raw mut *attr,
            size_of::<bpf_attr>(),
        )
    };
    let answer = Errno::result(answer)?;
    RawFd::try_from(answer).map_err(io::Error::other)
}
