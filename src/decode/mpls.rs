//! MPLS label stacks (RFC 3032, RFC 4448) and the network service header (RFC 8300).

use super::ethernet::{Layer, Next};
use super::{Anomaly, Walk, be32};

/// Labels of one stack that are followed; more is [`Anomaly::TooManyLayers`].
const LABELS_MAX: usize = 32;

/// Base and service path header of NSH, bytes.
const NSH_HEADER: usize = 8;

/// Decodes a label stack at `at` and guesses what it carries, since MPLS does not say.
pub(super) fn decode(walk: &mut Walk, at: usize) -> Next {
    if !walk.enter() {
        return None;
    }
    let mut at = at;
    for _ in 0..LABELS_MAX {
        let Some(entry) = be32(walk.from(at), 0) else {
            walk.failed = true;
            walk.fail(Anomaly::MplsHeaderTooSmall);
            return None;
        };
        at += 4;
        if entry & 0x100 != 0 {
            return bottom(walk, entry >> 12, at);
        }
    }
    walk.fail(Anomaly::TooManyLayers);
    None
}

/// What stands behind the bottom label.
fn bottom(walk: &mut Walk, label: u32, at: usize) -> Next {
    let bad = match label {
        0 => return Some((Layer::Ipv4, at)),
        2 => return Some((Layer::Ipv6, at)),
        1 => Anomaly::MplsBadLabelRouterAlert,
        3 => Anomaly::MplsBadLabelImplicitNull,
        4..15 => Anomaly::MplsBadLabelReserved,
        _ => return guess(walk, at),
    };
    walk.note(bad);
    None
}

/// First nibble: 4 and 6 are IP, 0 is a pseudo-wire control word before Ethernet.
fn guess(walk: &mut Walk, at: usize) -> Next {
    let Some(word) = be32(walk.from(at), 0) else {
        walk.failed = true;
        walk.fail(Anomaly::MplsPacketTooSmall);
        return None;
    };
    match word >> 28 {
        4 => Some((Layer::Ipv4, at)),
        6 => Some((Layer::Ipv6, at)),
        0 => Some((Layer::Ethernet, at + 4)),
        _ => {
            walk.invalid(Anomaly::MplsUnknownPayloadType);
            None
        }
    }
}

/// Decodes a network service header at `at`.
pub(super) fn decode_nsh(walk: &mut Walk, at: usize) -> Next {
    let bytes = walk.from(at);
    let Some(first) = be32(bytes, 0).filter(|_| bytes.len() >= NSH_HEADER) else {
        walk.failed = true;
        walk.fail(Anomaly::NshHeaderTooSmall);
        return None;
    };
    if !walk.enter() {
        return None;
    }
    if first >> 30 != 0 {
        walk.note(Anomaly::NshUnsupportedVersion);
        return None;
    }
    // Version 2 bits, O, reserved, TTL 6, length 6 (words), 4 reserved, type 4, next protocol 8.
    let length = ((first >> 16) as usize & 0x3f) * 4;
    let metadata = first >> 8 & 0xf;
    let too_long = length >= bytes.len();
    if too_long || length < NSH_HEADER || (metadata == 1 && length != 24) {
        walk.failed = true;
        walk.fail(Anomaly::NshBadHeaderLength);
        return None;
    }
    match (metadata, first & 0xff) {
        (0 | 15, _) => walk.note(Anomaly::NshReservedType),
        (1 | 2, 1) => return Some((Layer::Ipv4, at + length)),
        (1 | 2, 2) => return Some((Layer::Ipv6, at + length)),
        (1 | 2, 3) => return Some((Layer::Ethernet, at + length)),
        (1 | 2, 5) => return Some((Layer::Mpls, at + length)),
        (1 | 2, _) => walk.note(Anomaly::NshUnknownPayload),
        _ => walk.note(Anomaly::NshUnsupportedType),
    }
    None
}
