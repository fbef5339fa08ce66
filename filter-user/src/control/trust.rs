//! Who may ask, and who is believed.
//!
//! Users of other user namespaces are nobody's friends here: the kernel translates their numbers.

use std::fs;

use caps::Capability;
use nix::{sys::socket::UnixCredentials, unistd::geteuid};

/// Whether a process of this user may ask, or be asked: root, and whoever we are.
pub(super) fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

/// Whether the process that listens is an instance: of a trusted user, or one that root has
/// started as another user with the capabilities that an instance keeps.
///
/// Only root can look at the latter. A local user's process has no such capabilities, except in a
/// user namespace of its own, or after it has executed a program of root's; hence the same user
/// namespace is asked for, and that the process has still the user that listened.
pub(super) fn is_instance(peer: &UnixCredentials) -> bool {
    is_trusted(peer.uid()) || is_privileged(peer).unwrap_or(false)
}

fn is_privileged(peer: &UnixCredentials) -> Option<bool> {
    // Of another PID namespace.
    if peer.pid() <= 0 {
        return None;
    }
    let process = format!("/proc/{}", peer.pid());
    let users = |process: &str| fs::read_link(format!("{process}/ns/user")).ok();
    if users(&process)? != users("/proc/self")? {
        return Some(false);
    }
    let status = fs::read_to_string(format!("{process}/status")).ok()?;
    Some(keeps_capabilities(&status, peer.uid())?)
}

/// Whether `/proc/PID/status` tells of this user alone, and of an instance's capabilities.
fn keeps_capabilities(status: &str, uid: u32) -> Option<bool> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let is_user = |text: &str| text.parse() == Ok(uid);
    let are_users = field("Uid:")?.split_ascii_whitespace().all(is_user);
    let permitted = u64::from_str_radix(field("CapPrm:")?.trim(), 16).ok()?;
    let has = |capability: Capability| permitted & capability.bitmask() != 0;
    let is_for_bpf = has(Capability::CAP_BPF) || has(Capability::CAP_SYS_ADMIN);
    Some(are_users && has(Capability::CAP_NET_ADMIN) && is_for_bpf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_of_an_instance_count_and_only_with_the_user_that_listened() {
        let status = |uids: &str, permitted: u64| {
            format!("Name:\tlastack\nUid:\t{uids}\nCapInh:\tffff\nCapPrm:\t{permitted:016x}\n")
        };
        let net_admin = Capability::CAP_NET_ADMIN.bitmask();
        let both = net_admin | Capability::CAP_BPF.bitmask();
        let (same, setuid) = ("7\t7\t7\t7", "7\t0\t0\t0");
        for (uids, permitted, is) in [
            (same, both, true),
            (same, net_admin | Capability::CAP_SYS_ADMIN.bitmask(), true),
            (same, net_admin, false),
            (same, Capability::CAP_BPF.bitmask(), false),
            (same, 0, false),
            (setuid, both, false),
        ] {
            let told = keeps_capabilities(&status(uids, permitted), 7);
            assert_eq!(told, Some(is), "{uids} {permitted:x}");
        }
        assert_eq!(keeps_capabilities("", 7), None);
    }
}
