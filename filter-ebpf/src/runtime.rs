//! What every object needs.

#![expect(unsafe_code, reason = "the kernel finds the licence by its section")]

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: the verifier admits no loop that does not end.
    loop {}
}
