//! The hooks of an interface, and which program is for which.

use aya::programs::TcAttachType;
use filter_common::wire::Link;
use serde::{Deserialize, Serialize};

use super::kernel::{MULTI_BUFFER, TCX};
use crate::settings::TcMode;

/// A hook that a program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// XDP in the driver.
    XdpNative,
    /// XDP behind the driver.
    XdpGeneric,
    /// TCX, arriving packets.
    TcxIngress,
    /// TCX, leaving packets.
    TcxEgress,
    /// The clsact qdisc, arriving packets.
    ClsactIngress,
    /// The clsact qdisc, leaving packets.
    ClsactEgress,
}

impl Hook {
    /// Its name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
            Self::TcxIngress => "tcx-ingress",
            Self::TcxEgress => "tcx-egress",
            Self::ClsactIngress => "clsact-ingress",
            Self::ClsactEgress => "clsact-egress",
        }
    }

    /// All of them.
    const ALL: [Self; 6] = [
        Self::XdpNative,
        Self::XdpGeneric,
        Self::TcxIngress,
        Self::TcxEgress,
        Self::ClsactIngress,
        Self::ClsactEgress,
    ];

    /// The hook that is called this.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.as_str() == name)
    }

    /// Where a filter in clsact is that sees this direction.
    pub(super) fn of_filter(side: TcAttachType) -> Self {
        if side == TcAttachType::Ingress {
            Self::ClsactIngress
        } else {
            Self::ClsactEgress
        }
    }

    /// Whether what is attached there is a link, which the kernel takes off when nobody holds it.
    pub(super) const fn is_link(self) -> bool {
        !matches!(self, Self::ClsactIngress | Self::ClsactEgress)
    }

    /// Which direction it sees.
    pub(super) const fn side(self) -> TcAttachType {
        match self {
            Self::XdpNative | Self::XdpGeneric | Self::TcxIngress | Self::ClsactIngress => {
                TcAttachType::Ingress
            }
            Self::TcxEgress | Self::ClsactEgress => TcAttachType::Egress,
        }
    }

    /// The program for it.
    pub(super) fn program(self, link: Link) -> &'static str {
        match self {
            Self::XdpNative | Self::XdpGeneric => xdp_name(),
            Self::TcxIngress | Self::TcxEgress | Self::ClsactIngress | Self::ClsactEgress => {
                tc_name(self.side(), link)
            }
        }
    }
}

/// Whether TC is attached by links rather than by filters in clsact.
pub(crate) fn uses_tcx(mode: TcMode) -> bool {
    match mode {
        TcMode::Auto => TCX.is_reached(),
        TcMode::Tcx => true,
        TcMode::Clsact => false,
    }
}

/// The TC program for one side of an interface.
pub(super) fn tc_name(side: TcAttachType, link: Link) -> &'static str {
    match (side, link) {
        (TcAttachType::Ingress, Link::Ethernet) => "lastack_ingress",
        (TcAttachType::Ingress, Link::Ip) => "lastack_ingress_ip",
        (_, Link::Ethernet) => "lastack_egress",
        (_, Link::Ip) => "lastack_egress_ip",
    }
}

/// The XDP program for this kernel.
pub(super) fn xdp_name() -> &'static str {
    if MULTI_BUFFER.is_reached() {
        "lastack_xdp_mb"
    } else {
        "lastack_xdp"
    }
}
