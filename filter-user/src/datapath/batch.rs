//! Reads hash maps many elements at a time (`BPF_MAP_LOOKUP_BATCH`, kernel 5.6).
//!
//! The kernel goes from bucket to bucket, so the reading ends, and gives each key once, whatever
//! comes and goes meanwhile. Going from key to key begins anew where the key is removed that it
//! stands on.

#![expect(unsafe_code, reason = "aya has no BPF_MAP_LOOKUP_BATCH")]

use std::{
    io,
    mem::{MaybeUninit, zeroed},
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{Pod, maps::MapData};
use aya_obj::generated::{bpf_attr, bpf_cmd};
use nix::{errno::Errno, libc};

/// Elements that are read at once. A bucket with more than that would be an error; the kernel has
/// as many buckets as elements.
const ELEMENTS: u32 = 1024;

/// Hands every element of a hash map, LRU or not, to `see`: its key and its values, which are
/// `values_each`, one, or in a map that has them per CPU one for each that there may be.
///
/// # Errors
///
/// The kernel's answer.
pub(super) fn for_each<K: Pod, V: Pod>(
    map: &MapData,
    values_each: usize,
    mut see: impl FnMut(&K, &[V]),
) -> io::Result<()> {
    // The kernel pads values per CPU to that.
    const { assert!(size_of::<V>().is_multiple_of(8)) };
    let mut keys = buffer::<K>(1);
    let mut values = buffer::<V>(values_each);
    let mut bucket: u32 = 0;
    loop {
        // SAFETY: plain data, all of it valid.
        let mut attr: bpf_attr = unsafe { zeroed() };
        // SAFETY: the variant of the union that the command reads.
        let batch = unsafe { &mut attr.batch };
        batch.in_batch = &raw const bucket as u64;
        batch.out_batch = &raw mut bucket as u64;
        batch.keys = keys.as_mut_ptr() as u64;
        batch.values = values.as_mut_ptr() as u64;
        batch.count = ELEMENTS;
        batch.map_fd = map.fd().as_fd().as_raw_fd().cast_unsigned();
        // SAFETY: the buffers have room for as many keys and values of these sizes, which aya has
        // compared with the map's.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                bpf_cmd::BPF_MAP_LOOKUP_BATCH as libc::c_long,
                &raw mut attr,
                size_of::<bpf_attr>(),
            )
        };
        let answer = Errno::result(result);
        let is_over = match answer {
            Ok(_) => false,
            Err(Errno::ENOENT) => true,
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        // SAFETY: as above; the kernel says how many it has written.
        let count = unsafe { attr.batch.count } as usize;
        for (key, values) in keys
            .iter()
            .zip(values.chunks_exact(values_each))
            .take(count)
        {
            // SAFETY: written by the kernel; both are plain data, and MaybeUninit has the layout of
            // what it holds.
            unsafe {
                let values = std::slice::from_raw_parts(values.as_ptr().cast(), values.len());
                see(key.assume_init_ref(), values);
            }
        }
        if is_over {
            return Ok(());
        }
    }
}

fn buffer<T>(each: usize) -> Vec<MaybeUninit<T>> {
    let mut buffer = Vec::new();
    buffer.resize_with(ELEMENTS as usize * each, MaybeUninit::uninit);
    buffer
}
