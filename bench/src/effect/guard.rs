//! What stands guard on a gateway.

use anyhow::Result;
use filter_user::{
    datapath::Datapath,
    lab::{
        namespace::Namespace,
        topology::{WAN, WAN2},
    },
    settings::Settings,
};
use serde::{Serialize, Serializer};

use crate::rivals::Rules;

/// One of those that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    Nothing,
    /// R1, on the one uplink.
    Lastack,
    /// R1 and R2, on the one uplink.
    LastackAndR2,
    /// R1, on both uplinks.
    LastackOnBoth,
    CtMark,
    Sets,
}

impl Guard {
    /// Where there is one uplink.
    pub(super) const ONE_UPLINK: [Self; 5] = [
        Self::Nothing,
        Self::Lastack,
        Self::LastackAndR2,
        Self::CtMark,
        Self::Sets,
    ];
    /// Where there are two. No script has a RST, so R2 would change nothing.
    pub(super) const TWO_UPLINKS: [Self; 5] = [
        Self::Nothing,
        Self::Lastack,
        Self::LastackOnBoth,
        Self::CtMark,
        Self::Sets,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Lastack => "lastack",
            Self::LastackAndR2 => "lastack, --rst-guard",
            Self::LastackOnBoth => "lastack on both",
            Self::CtMark => Rules::CtMark.name(),
            Self::Sets => Rules::Sets.name(),
        }
    }

    /// Puts it on a gateway; it is there as long as both what this gives and the namespace are.
    pub(super) fn post(
        self,
        gateway: &Namespace,
        uplinks: &'static [&str],
    ) -> Result<Option<Datapath>> {
        let rules = match self {
            Self::Nothing => return Ok(None),
            Self::Lastack => return lastack(gateway, false, &[WAN]).map(Some),
            Self::LastackAndR2 => return lastack(gateway, true, &[WAN]).map(Some),
            Self::LastackOnBoth => return lastack(gateway, false, &[WAN, WAN2]).map(Some),
            Self::CtMark => Rules::CtMark,
            Self::Sets => Rules::Sets,
        };
        gateway.run(move || rules.load(uplinks))?;
        Ok(None)
    }
}

impl Serialize for Guard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

fn lastack(gateway: &Namespace, rst_guard: bool, interfaces: &'static [&str]) -> Result<Datapath> {
    gateway.run(move || {
        let settings = Settings {
            rst_guard,
            ..Settings::default()
        };
        let mut datapath = Datapath::load(&settings)?;
        for interface in interfaces {
            datapath.attach(interface)?;
        }
        Ok(datapath)
    })
}
