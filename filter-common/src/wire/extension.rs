//! IPv6 extension headers.

use super::{Frame, Header as _, IPV6, MOST_NETWORK_OFFSET, PROTOCOL_TCP};
use crate::verdict::Reason;

/// RFC 8200, section 4.1, has an order in which each appears once, one of them twice.
const MOST_EXTENSION_HEADERS: usize = 6;
/// No host needs more for those; it bounds the offset for the kernel's verifier.
const MOST_EXTENSION_OCTETS: usize = 512;
const MOST_TRANSPORT_OFFSET: usize = MOST_NETWORK_OFFSET + IPV6 + MOST_EXTENSION_OCTETS;

/// Walks the extension headers (RFC 8200, section 4) from `offset` on; gives the offset of the
/// TCP header behind them.
#[inline(always)]
pub(super) fn skip<F: Frame + ?Sized>(
    frame: &F,
    first: u8,
    offset: usize,
) -> Result<usize, Reason> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;
    let (mut next, mut skipped) = (first, 0_usize);
    for _ in 0..MOST_EXTENSION_HEADERS {
        if !matches!(
            next,
            HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION
        ) {
            break;
        }
        let extension = frame
            .header::<8>(offset.wrapping_add(skipped))
            .ok_or(Reason::Truncated)?;
        let length = match next {
            // An atomic fragment (RFC 6946) is whole.
            FRAGMENT if extension.be16(2) & 0xfff9 != 0 => {
                return Err(match extension.byte(0) {
                    PROTOCOL_TCP => Reason::Fragment,
                    _ => Reason::NotTcp,
                });
            }
            FRAGMENT => 8,
            // With segments left the destination is not the connection's.
            ROUTING if extension.byte(3) != 0 => return Err(Reason::ExtensionHeader),
            AUTHENTICATION => usize::from(extension.byte(1))
                .wrapping_add(2)
                .wrapping_mul(4),
            _ => usize::from(extension.byte(1))
                .wrapping_add(1)
                .wrapping_mul(8),
        };
        next = extension.byte(0);
        skipped = skipped.wrapping_add(length);
        if skipped > MOST_EXTENSION_OCTETS {
            return Err(Reason::ExtensionHeader);
        }
    }
    if next != PROTOCOL_TCP {
        return Err(not_tcp(next));
    }
    let transport = frame.forgotten(offset.wrapping_add(skipped));
    if transport > MOST_TRANSPORT_OFFSET {
        return Err(Reason::ExtensionHeader);
    }
    Ok(transport)
}

/// Tells an extension header that we do not walk (too many, mobility, host identity, shim6,
/// experimental) from a protocol above IP.
#[inline(always)]
const fn not_tcp(next: u8) -> Reason {
    match next {
        0 | 43 | 44 | 51 | 60 | 135 | 139 | 140 | 253 | 254 => Reason::ExtensionHeader,
        _ => Reason::NotTcp,
    }
}
