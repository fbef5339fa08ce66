//! All access to packets.
//!
//! A frame is read in place. Where its headers are not in the first buffer, they are copied
//! once into a scratch buffer and read there.

#![expect(
    unsafe_code,
    reason = "packets are read in place, and by helpers of the kernel"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "no offset and no length in a frame needs more than 32 bits"
)]

use crate::maps;
use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, xdp_md},
    helpers::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};
use filter_common::wire::{Frame, Header, Link, MOST_OPTION_OCTETS, OptionOctets};

/// Octets of a frame that are copied when its headers cannot be read in place: tags, an
/// IPv6 header, some extension headers and the longest TCP header. A power of two.
pub(crate) const SCRATCH_OCTETS: usize = 256;

/// Room for them, and for as much again as any header has: an offset below `SCRATCH_OCTETS` is
/// all that the verifier is shown of one.
pub(crate) type Scratch = [u8; SCRATCH_OCTETS + 64];

/// One packet at a hook.
pub(crate) trait Packet {
    /// Its first buffer.
    fn in_place(&self) -> InPlace<'_, Self>
    where
        Self: Sized;

    /// What it begins with.
    fn link(&self) -> Link {
        Link::Ethernet
    }

    /// Octets on the wire.
    fn len(&self) -> usize;

    /// The interface's index.
    fn interface(&self) -> u32;

    /// Copies `length` octets at `offset` to `target`; false where the kernel cannot.
    fn copy(&self, offset: u32, target: *mut u8, length: u32) -> bool;
}

/// An XDP frame of one buffer.
pub(crate) struct SingleBufferFrame<'a>(&'a XdpContext);

impl<'a> SingleBufferFrame<'a> {
    #[inline(always)]
    pub(crate) fn new(context: &'a XdpContext) -> Self {
        Self(context)
    }
}

impl Packet for SingleBufferFrame<'_> {
    #[inline(always)]
    fn in_place(&self) -> InPlace<'_, Self> {
        InPlace {
            packet: self,
            start: self.0.data(),
            end: self.0.data_end(),
        }
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.0.data_end() - self.0.data()
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        xdp_interface(self.0)
    }

    #[inline(always)]
    fn copy(&self, offset: u32, target: *mut u8, length: u32) -> bool {
        // There is no helper for it before 5.18, which is where this program runs. Timestamps
        // with their padding are what a pure ACK carries, if anything.
        const TIMESTAMPS_PADDED: usize = 12;
        let first = self.0.data() + offset as usize;
        if length as usize != TIMESTAMPS_PADDED || first + TIMESTAMPS_PADDED > self.0.data_end() {
            return false;
        }
        // SAFETY: checked, and `target` has room for `length` octets.
        unsafe {
            target
                .cast::<[u8; TIMESTAMPS_PADDED]>()
                .write(At(first).read(0));
        }
        true
    }
}

/// An XDP frame of one or more buffers.
pub(crate) struct MultiBufferFrame<'a>(&'a XdpContext);

impl<'a> MultiBufferFrame<'a> {
    #[inline(always)]
    pub(crate) fn new(context: &'a XdpContext) -> Self {
        Self(context)
    }
}

impl Packet for MultiBufferFrame<'_> {
    #[inline(always)]
    fn in_place(&self) -> InPlace<'_, Self> {
        InPlace {
            packet: self,
            start: self.0.data(),
            end: self.0.data_end(),
        }
    }

    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: the context is the program's own.
        let length = unsafe { bpf_xdp_get_buff_len(self.0.as_ptr().cast::<xdp_md>()) };
        length as usize
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        xdp_interface(self.0)
    }

    #[inline(always)]
    fn copy(&self, offset: u32, target: *mut u8, length: u32) -> bool {
        let context = self.0.as_ptr().cast::<xdp_md>();
        // SAFETY: `target` has room for `length` octets.
        unsafe { bpf_xdp_load_bytes(context, offset, target.cast(), length) == 0 }
    }
}

#[inline(always)]
fn xdp_interface(context: &XdpContext) -> u32 {
    // SAFETY: the context is the program's own.
    unsafe { (*context.ctx).ingress_ifindex }
}

/// A socket buffer.
pub(crate) struct Buffer<'a> {
    context: &'a TcContext,
    link: Link,
}

impl<'a> Buffer<'a> {
    #[inline(always)]
    pub(crate) fn new(context: &'a TcContext, link: Link) -> Self {
        Self { context, link }
    }
}

impl Packet for Buffer<'_> {
    #[inline(always)]
    fn in_place(&self) -> InPlace<'_, Self> {
        InPlace {
            packet: self,
            start: self.context.data(),
            end: self.context.data_end(),
        }
    }

    #[inline(always)]
    fn link(&self) -> Link {
        self.link
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.context.len() as usize
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the context is the program's own.
        unsafe { (*self.context.as_ptr().cast::<__sk_buff>()).ifindex }
    }

    #[inline(always)]
    fn copy(&self, offset: u32, target: *mut u8, length: u32) -> bool {
        // SAFETY: `target` has room for `length` octets.
        unsafe { bpf_skb_load_bytes(self.context.as_ptr(), offset, target.cast(), length) == 0 }
    }
}

/// The first buffer of a packet, read in place.
pub(crate) struct InPlace<'a, P> {
    packet: &'a P,
    start: usize,
    end: usize,
}

impl<P: Packet> InPlace<'_, P> {
    /// Whether the packet goes on behind its first buffer.
    #[inline(always)]
    pub(crate) fn is_partial(&self) -> bool {
        self.end - self.start < self.packet.len()
    }
}

impl<P: Packet> Frame for InPlace<'_, P> {
    type Header<'a>
        = At
    where
        Self: 'a;

    #[inline(always)]
    fn len(&self) -> usize {
        self.packet.len()
    }

    #[inline(always)]
    fn header<const N: usize>(&self, offset: usize) -> Option<At> {
        let first = self.start + offset;
        if first + N > self.end {
            return None;
        }
        Some(At(first))
    }

    #[inline(always)]
    fn forgotten(&self, offset: usize) -> usize {
        maps::forgotten(offset)
    }

    #[inline(always)]
    fn peek(&self, offset: usize) -> Option<u32> {
        self.header::<4>(offset).map(|header| header.word(0))
    }

    #[inline(always)]
    fn options(&self, offset: usize, length: usize, options: &mut OptionOctets) -> bool {
        copy_options(self.packet, offset, length, options)
    }
}

/// The first octets of a packet, copied.
pub(crate) struct Copied<'a, P> {
    packet: &'a P,
    scratch: *const u8,
    length: usize,
}

impl<'a, P: Packet> Copied<'a, P> {
    /// Copies them; nothing where the kernel cannot.
    #[inline(always)]
    pub(crate) fn new(packet: &'a P, scratch: *mut Scratch) -> Option<Self> {
        let length = packet.len().min(SCRATCH_OCTETS);
        if length == 0 || !packet.copy(0, scratch.cast(), from_one_to::<SCRATCH_OCTETS>(length)) {
            return None;
        }
        Some(Self {
            packet,
            scratch: scratch.cast_const().cast(),
            length,
        })
    }
}

impl<P: Packet> Frame for Copied<'_, P> {
    type Header<'a>
        = At
    where
        Self: 'a;

    #[inline(always)]
    fn len(&self) -> usize {
        self.packet.len()
    }

    #[inline(always)]
    fn header<const N: usize>(&self, offset: usize) -> Option<At> {
        if offset + N > self.length {
            return None;
        }
        let offset = core::hint::black_box(offset) & (SCRATCH_OCTETS - 1);
        Some(At(self.scratch as usize + offset))
    }

    #[inline(always)]
    fn forgotten(&self, offset: usize) -> usize {
        maps::forgotten(offset)
    }

    #[inline(always)]
    fn options(&self, offset: usize, length: usize, options: &mut OptionOctets) -> bool {
        copy_options(self.packet, offset, length, options)
    }
}

#[inline(always)]
fn copy_options<P: Packet>(
    packet: &P,
    offset: usize,
    length: usize,
    options: &mut OptionOctets,
) -> bool {
    if length == 0 || length > MOST_OPTION_OCTETS {
        return false;
    }
    let length = from_one_to::<{ size_of::<OptionOctets>() }>(length);
    packet.copy(offset as u32, options.as_mut_ptr(), length)
}

/// Gives a length back that is from 1 to `MOST`, a power of two, in a way that every verifier
/// sees. Such as 6.1's do not learn a bound from a comparison if the compiler has put what is
/// compared on the stack before.
#[inline(always)]
fn from_one_to<const MOST: usize>(length: usize) -> u32 {
    (core::hint::black_box(length - 1) & (MOST - 1)) as u32 + 1
}

/// A header at an address that was checked.
pub(crate) struct At(usize);

impl At {
    /// Reads in place with the width of `T`, as C programs do. The machine that runs this
    /// is the kernel's: it loads from any address, or its verifier refuses the program.
    #[inline(always)]
    fn read<T: Copy>(&self, at: usize) -> T {
        // SAFETY: within the octets that `header` checked.
        unsafe { *((self.0 + at) as *const T) }
    }
}

impl Header for At {
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.read(at)
    }

    #[inline(always)]
    fn be16(&self, at: usize) -> u16 {
        u16::from_be(self.read(at))
    }

    #[inline(always)]
    fn word(&self, at: usize) -> u32 {
        self.read(at)
    }
}
