//! Judges which hook would see arriving packets.

use filter_common::wire::Link as Header;

use super::{facts::Facts, report::Finding};
use crate::{
    commands::instances::{called, is_ours},
    datapath::{DatapathError, Hook},
    probe::programs::Program,
    settings::{Ingress, Settings, XdpMode},
};

/// With a larger one a frame does not fit in a page of 4096 octets beside what drivers keep free
/// for XDP in front of it and behind.
const LARGEST_SINGLE_BUFFER_MTU: u32 = 3498;

pub(super) fn judge(facts: &Facts, settings: &Settings) -> Finding {
    let tc = facts.tc(Hook::TcxIngress, Hook::ClsactIngress);
    match (settings.ingress, facts.header) {
        (Ingress::Tc, _) => Finding::ok("ingress", format!("{tc}, as asked")),
        (Ingress::Auto, Header::Ip) => {
            Finding::ok("ingress", format!("{tc}, since it has no Ethernet header"))
        }
        (Ingress::Xdp, Header::Ip) => Finding::refused(
            "ingress",
            &DatapathError::XdpWithoutEthernet(facts.link.name.clone()),
        ),
        (Ingress::Auto | Ingress::Xdp, Header::Ethernet) => {
            let asked = settings.ingress == Ingress::Xdp || settings.xdp_mode != XdpMode::Auto;
            xdp(facts, tc, asked, settings.xdp_mode)
        }
    }
}

/// `asked`: XDP and nothing else will do.
fn xdp(facts: &Facts, tc: &str, asked: bool, mode: XdpMode) -> Finding {
    if let Some(program) = &facts.xdp {
        return taken(facts, tc, asked, program);
    }
    if mode == XdpMode::Generic {
        return Finding::ok("ingress", "xdp-generic, as asked");
    }
    let driver = facts.driver();
    let features = match &facts.xdp_features {
        Ok(Some(features)) => Ok(features),
        Ok(None) => Err("kernels before 6.3 do not tell".to_owned()),
        Err(error) => Err(format!("that cannot be seen: {error}")),
    };
    let features = match features {
        Ok(features) => features,
        Err(untold) => return untold_xdp(&driver, tc, asked, &untold),
    };
    if !features.native {
        let message = format!("{driver} has no native XDP");
        if asked {
            return Finding::error("ingress", message, "use `--ingress tc`");
        }
        return Finding::ok("ingress", format!("{tc}, since {message}"));
    }
    if !features.multi_buffer && facts.link.mtu > LARGEST_SINGLE_BUFFER_MTU {
        let message = format!(
            "MTU {} may be too large for XDP of {driver}",
            facts.link.mtu
        );
        if asked {
            return Finding::warning("ingress", message, "use `--ingress auto`");
        }
        return Finding::ok("ingress", format!("xdp-native or else {tc}: {message}"));
    }
    Finding::ok("ingress", format!("xdp-native, which {driver} has"))
}

fn untold_xdp(driver: &str, tc: &str, asked: bool, untold: &str) -> Finding {
    if asked {
        let message = format!("xdp-native, if {driver} has it: {untold}");
        return Finding::warning("ingress", message, "`--ingress auto` takes what there is");
    }
    let message = format!("xdp-native if {driver} has it, else {tc}: {untold}");
    Finding::ok("ingress", message)
}

fn taken(facts: &Facts, tc: &str, asked: bool, program: &Program) -> Finding {
    let name = &facts.link.name;
    if asked {
        return Finding::refused("ingress", &DatapathError::XdpBusy(name.clone()));
    }
    if is_ours(program.name.as_deref()) {
        return Finding::ok("ingress", format!("{tc}, since another lastack has XDP"));
    }
    let message = format!(
        "{tc}, since {} has XDP: what that drops or redirects is not seen",
        called(program)
    );
    let remedy = format!("see that it passes TCP, or `ip link set dev {name} xdp off`");
    Finding::warning("ingress", message, remedy)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{super::report::Status, *};
    use crate::probe::features::XdpFeatures;

    fn program(name: &str) -> Program {
        Program {
            id: 7,
            name: Some(name.to_owned()),
        }
    }

    /// The ingress line: its status, message and remedy.
    fn ingress_of(facts: &Facts, ingress: Ingress, xdp_mode: XdpMode) -> (Status, String) {
        let settings = Settings {
            ingress,
            xdp_mode,
            ..Settings::default()
        };
        let found = judge(facts, &settings);
        let remedy = found.remedy.map(|remedy| format!("; {remedy}"));
        (found.status, found.message + &remedy.unwrap_or_default())
    }

    #[track_caller]
    fn assert_ingress(facts: &Facts, auto: (Status, &str), xdp: (Status, &str)) {
        let (status, text) = ingress_of(facts, Ingress::Auto, XdpMode::Auto);
        assert_eq!((status, text.as_str()), auto);
        let (status, text) = ingress_of(facts, Ingress::Xdp, XdpMode::Auto);
        assert_eq!((status, text.as_str()), xdp);
        // --xdp-mode native alone asks for XDP, too.
        if facts.header == Header::Ethernet {
            let (status, text) = ingress_of(facts, Ingress::Auto, XdpMode::Native);
            assert_eq!((status, text.as_str()), xdp);
        }
        let (status, text) = ingress_of(facts, Ingress::Tc, XdpMode::Auto);
        assert_eq!(
            (status, text.as_str()),
            (Status::Ok, "tcx-ingress, as asked")
        );
    }

    #[test]
    fn a_driver_without_xdp_leaves_tc_and_is_named_where_xdp_is_asked_for() {
        let mut facts = Facts::sample();
        facts.driver = Some("r8169".to_owned());
        facts.xdp_features = Ok(Some(XdpFeatures {
            native: false,
            multi_buffer: false,
        }));
        assert_ingress(
            &facts,
            (
                Status::Ok,
                "tcx-ingress, since driver r8169 has no native XDP",
            ),
            (
                Status::Error,
                "driver r8169 has no native XDP; use `--ingress tc`",
            ),
        );
        let generic = ingress_of(&facts, Ingress::Xdp, XdpMode::Generic);
        assert_eq!(generic, (Status::Ok, "xdp-generic, as asked".to_owned()));
    }

    #[test]
    fn a_kernel_that_does_not_tell_of_xdp_is_no_trouble_unless_xdp_is_asked_for() {
        let mut facts = Facts::sample();
        facts.xdp_features = Ok(None);
        assert_ingress(
            &facts,
            (
                Status::Ok,
                "xdp-native if driver ice has it, else tcx-ingress: kernels before 6.3 do not tell",
            ),
            (
                Status::Warning,
                "xdp-native, if driver ice has it: kernels before 6.3 do not tell; \
                 `--ingress auto` takes what there is",
            ),
        );
        facts.xdp_features = Err(io::Error::other("no reason"));
        let (status, text) = ingress_of(&facts, Ingress::Auto, XdpMode::Auto);
        assert_eq!(status, Status::Ok);
        assert!(
            text.ends_with("tcx-ingress: that cannot be seen: no reason"),
            "{text}"
        );
    }

    #[test]
    fn jumbo_frames_need_a_driver_that_takes_several_buffers() {
        let mut facts = Facts::sample();
        facts.link.mtu = 9000;
        let status = |facts: &Facts| ingress_of(facts, Ingress::Xdp, XdpMode::Auto).0;
        assert_eq!(status(&facts), Status::Ok);
        facts.xdp_features = Ok(Some(XdpFeatures {
            native: true,
            multi_buffer: false,
        }));
        let large = "MTU 9000 may be too large for XDP of driver ice";
        assert_ingress(
            &facts,
            (
                Status::Ok,
                &format!("xdp-native or else tcx-ingress: {large}"),
            ),
            (Status::Warning, &format!("{large}; use `--ingress auto`")),
        );
        facts.link.mtu = LARGEST_SINGLE_BUFFER_MTU;
        assert_eq!(status(&facts), Status::Ok);
    }

    #[test]
    fn an_interface_without_an_ethernet_header_is_served_by_tc_only() {
        let mut facts = Facts::sample();
        facts.header = Header::Ip;
        assert_ingress(
            &facts,
            (Status::Ok, "tcx-ingress, since it has no Ethernet header"),
            (
                Status::Error,
                "wan0 has no Ethernet header, and XDP needs one; use `--ingress tc`",
            ),
        );
    }

    #[test]
    fn another_xdp_program_leaves_tc_and_may_hide_packets() {
        let mut facts = Facts::sample();
        facts.xdp = Some(program("xdp_fwd"));
        let busy = "wan0 has an XDP program already; take that off, or use `--ingress tc`";
        assert_ingress(
            &facts,
            (
                Status::Warning,
                "tcx-ingress, since xdp_fwd (id 7) has XDP: what that drops or redirects is not \
                 seen; see that it passes TCP, or `ip link set dev wan0 xdp off`",
            ),
            (Status::Error, busy),
        );
        facts.xdp = Some(program("lastack_xdp_mb"));
        assert_ingress(
            &facts,
            (Status::Ok, "tcx-ingress, since another lastack has XDP"),
            (Status::Error, busy),
        );
    }
}
