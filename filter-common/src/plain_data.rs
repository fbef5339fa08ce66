//! That aya may hand to the kernel, and take from it, what lives in BPF maps.

#![expect(unsafe_code, reason = "what is in a BPF map is plain data")]

use aya::Pod;

use crate::{
    flow::Flow,
    policy::Configuration,
    record::{EventQuota, EventRecord, HostRecord},
    segment::FlowKey,
};

// SAFETY: repr(C), words only, no padding.
unsafe impl Pod for FlowKey {}
// SAFETY: repr(C), integers only, no padding.
unsafe impl Pod for Flow {}
// SAFETY: likewise.
unsafe impl Pod for Configuration {}
// SAFETY: likewise.
unsafe impl Pod for HostRecord {}
// SAFETY: likewise.
unsafe impl Pod for EventRecord {}
// SAFETY: likewise.
unsafe impl Pod for EventQuota {}
