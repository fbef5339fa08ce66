//! The hooks that an instance takes on this kernel.

use aya::util::KernelVersion;

/// Whether TC means TCX here, rather than clsact.
pub(crate) fn has_tcx() -> bool {
    KernelVersion::current().unwrap() >= KernelVersion::new(6, 6, 0)
}

/// Those where XDP is had.
pub(crate) fn xdp() -> [&'static str; 2] {
    let [_, egress] = tc();
    ["xdp-native", egress]
}

/// Those where XDP is not had, or not wanted.
pub(crate) fn tc() -> [&'static str; 2] {
    if has_tcx() {
        ["tcx-ingress", "tcx-egress"]
    } else {
        ["clsact-ingress", "clsact-egress"]
    }
}
