//! Entry points, and the one place where a [`Verdict`] becomes an action of XDP or TC.
//!
//! To pass is to let the next program decide (`TC_ACT_UNSPEC`, which is `TCX_NEXT`), never
//! to end the chain.

#![expect(
    clippy::needless_pass_by_value,
    reason = "the entry points' shape is that of the attributes"
)]

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use filter_common::{Verdict, wire::Link};

use crate::{
    filter::{Hook, filter},
    packet::{Buffer, MultiBufferFrame, SingleBufferFrame},
};

/// XDP on arriving frames of one buffer each.
#[xdp]
fn lastack_xdp(context: XdpContext) -> u32 {
    xdp_action(filter(&SingleBufferFrame::new(&context), Hook::Ingress))
}

/// XDP on arriving frames of one or more buffers (kernel 5.18).
#[xdp(frags)]
fn lastack_xdp_mb(context: XdpContext) -> u32 {
    xdp_action(filter(&MultiBufferFrame::new(&context), Hook::Ingress))
}

/// TC on arriving packets.
#[classifier]
fn lastack_ingress(context: TcContext) -> i32 {
    tc_action(filter(
        &Buffer::new(&context, Link::Ethernet),
        Hook::Ingress,
    ))
}

/// TC on leaving packets.
#[classifier]
fn lastack_egress(context: TcContext) -> i32 {
    tc_action(filter(&Buffer::new(&context, Link::Ethernet), Hook::Egress))
}

/// The same, arriving, on an interface without an Ethernet header.
#[classifier]
fn lastack_ingress_ip(context: TcContext) -> i32 {
    tc_action(filter(&Buffer::new(&context, Link::Ip), Hook::Ingress))
}

/// The same, leaving, on an interface without an Ethernet header.
#[classifier]
fn lastack_egress_ip(context: TcContext) -> i32 {
    tc_action(filter(&Buffer::new(&context, Link::Ip), Hook::Egress))
}

#[inline(always)]
fn xdp_action(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Pass => xdp_action::XDP_PASS,
        Verdict::Drop => xdp_action::XDP_DROP,
    }
}

#[inline(always)]
fn tc_action(verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Pass => TC_ACT_UNSPEC,
        Verdict::Drop => TC_ACT_SHOT,
    }
}
