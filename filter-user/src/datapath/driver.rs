//! The name of an interface's driver.

#![expect(unsafe_code, reason = "no crate here has the ioctl ETHTOOL_GDRVINFO")]

use std::{ffi::CStr, mem, os::fd::AsRawFd as _};

use nix::{
    libc,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

/// `SIOCETHTOOL`, `ETHTOOL_GDRVINFO`.
/// <https://github.com/torvalds/linux/blob/v6.18/include/uapi/linux/sockios.h>
const SIOCETHTOOL: libc::c_ulong = 0x8946;
/// <https://github.com/torvalds/linux/blob/v6.18/include/uapi/linux/ethtool.h>
const ETHTOOL_GDRVINFO: u32 = 3;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    /// Versions, addresses and counts.
    rest: [u8; 160],
}

/// The driver's name, such as `virtio_net`, as the driver gives it; none where it gives none,
/// or no interface of the calling thread's network namespace is called `interface`.
///
/// Not from `/sys/class/net`, which shows the namespace that it was mounted in.
pub(crate) fn driver(interface: &str) -> Option<String> {
    let mut info = DriverInfo {
        command: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        rest: [0; 160],
    };
    // SAFETY: it is plain data, and zeros are a value of each field.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // The last octet stays 0.
    let room = request.ifr_name.len() - 1;
    if interface.len() > room {
        return None;
    }
    for (to, &from) in request.ifr_name.iter_mut().zip(interface.as_bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .ok()?;
    // SAFETY: the request's name ends with a 0 and its data is an `ethtool_drvinfo`, which the
    // kernel fills; both outlive the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if done < 0 {
        return None;
    }
    let name = CStr::from_bytes_until_nul(&info.driver)
        .ok()?
        .to_str()
        .ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_kernel_s() {
        // cmd, driver, version, fw_version, bus_info, erom_version, reserved2, five counts.
        let lengths = [4, 32, 32, 32, 32, 32, 12, 4, 4, 4, 4, 4];
        assert_eq!(size_of::<DriverInfo>(), lengths.iter().sum::<usize>());
    }

    #[test]
    fn an_interface_that_is_not_there_has_no_driver() {
        assert_eq!(driver("nope0"), None);
        assert_eq!(driver("a name that is longer than any"), None);
        assert_eq!(driver(""), None);
    }
}
