//! Options of every command that is about attaching.

use clap::Args;

use crate::settings::{Ingress, TcMode, XdpMode};

/// Which hooks are taken.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Attaching {
    /// What sees arriving packets; auto takes native XDP where it can be had, else TC
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        env = "LASTACK_INGRESS",
        hide_env_values = true
    )]
    pub(super) ingress: Ingress,
    /// How XDP is attached; generic only if asked for
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        env = "LASTACK_XDP_MODE",
        hide_env_values = true
    )]
    pub(super) xdp_mode: XdpMode,
    /// How TC is attached; auto takes TCX where the kernel has it (6.6), else clsact
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        env = "LASTACK_TC_MODE",
        hide_env_values = true
    )]
    pub(super) tc_mode: TcMode,
}

/// Options that cannot be used together.
pub(crate) struct Contradiction {
    /// Their long names.
    pub(crate) options: [&'static str; 2],
    /// Why not.
    pub(crate) message: &'static str,
}

impl Attaching {
    /// Which of them contradict each other.
    pub(super) fn contradiction(self) -> Option<Contradiction> {
        (self.ingress == Ingress::Tc && self.xdp_mode != XdpMode::Auto).then_some(Contradiction {
            options: ["xdp-mode", "ingress"],
            message: "--xdp-mode cannot be used with --ingress tc, which attaches no XDP",
        })
    }
}
