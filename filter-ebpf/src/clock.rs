//! The programs' clock, for user space: nothing else tells the kernel's jiffies on every kernel.

#![no_std]
#![no_main]

mod runtime;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::bpf_jiffies64,
    macros::classifier,
    programs::TcContext,
};

/// Writes the jiffies over the first octets of the packet. It is never attached, only run.
#[classifier]
#[expect(unsafe_code, reason = "a helper of the kernel")]
#[expect(
    clippy::needless_pass_by_value,
    reason = "the entry point's shape is that of the attribute"
)]
fn lastack_clock(context: TcContext) -> i32 {
    // SAFETY: takes nothing and cannot fail.
    let now = unsafe { bpf_jiffies64() };
    match context.store(0, &now, 0) {
        Ok(()) => TC_ACT_UNSPEC,
        Err(_) => TC_ACT_SHOT,
    }
}
