//! Options of every command that is about attaching.

use clap::{Args, error::ErrorKind};

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

impl Attaching {
    /// Ends the process, as wrong usage does, where the options of `command` contradict each
    /// other.
    pub(super) fn refuse_contradiction(self, mut command: clap::Command) {
        if self.ingress == Ingress::Tc && self.xdp_mode != XdpMode::Auto {
            command
                .error(
                    ErrorKind::ArgumentConflict,
                    "--xdp-mode cannot be used with --ingress tc, which attaches no XDP",
                )
                .exit();
        }
    }
}
