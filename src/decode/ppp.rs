//! PPP (RFC 1661, RFC 1662) and PPPoE (RFC 2516), down to the IP header they carry.

use super::ethernet::{Layer, Next};
use super::{Anomaly, Walk, be16};

/// PPPoE session header up to the PPP protocol.
const SESSION_HEADER: usize = 6;

/// Decodes a PPP frame at `at`, with or without address and control bytes, with one or two bytes
/// of protocol (compressed protocol field, RFC 1661 section 6.5).
pub(super) fn decode(walk: &mut Walk, at: usize) -> Next {
    let bytes = walk.from(at);
    let protocol_at = if bytes.first() == Some(&0xff) { 2 } else { 0 };
    let protocol = match bytes.get(protocol_at) {
        Some(&short) if short & 1 != 0 => Some((u16::from(short), 1)),
        _ => be16(bytes, protocol_at).map(|long| (long, 2)),
    };
    let Some((protocol, width)) = protocol else {
        walk.failed = true;
        walk.fail(Anomaly::PppPacketTooSmall);
        return None;
    };
    if !walk.enter() {
        return None;
    }
    carried(walk, protocol, width == 1, at + protocol_at + width)
}

/// Decodes a PPPoE session header at `at`. Its length field is not believed, as the IP header
/// behind it has its own; 0 means that nothing follows.
pub(super) fn session(walk: &mut Walk, at: usize) -> Next {
    let bytes = walk.from(at);
    let (Some(length), Some(&first)) = (be16(bytes, 4), bytes.get(SESSION_HEADER)) else {
        walk.failed = true;
        walk.fail(Anomaly::PppoePacketTooSmall);
        return None;
    };
    if length == 0 {
        return None;
    }
    if first & 1 != 0 {
        // Here the short form means what the long one does; in plain PPP less of it is known.
        return carried(walk, u16::from(first), false, at + SESSION_HEADER + 1);
    }
    let Some(protocol) = be16(bytes, SESSION_HEADER) else {
        walk.failed = true;
        walk.fail(Anomaly::PppoePacketTooSmall);
        return None;
    };
    carried(walk, protocol, false, at + SESSION_HEADER + 2)
}

/// What a PPP protocol number announces at `at`. `short`: it came in one byte of plain PPP.
fn carried(walk: &mut Walk, protocol: u16, short: bool, at: usize) -> Next {
    let room = walk.from(at).len();
    let (layer, needed, too_small) = match protocol {
        0x0021 => (Layer::Ipv4, 20, Anomaly::PppIp4PacketTooSmall),
        0x0057 => (Layer::Ipv6, 40, Anomaly::PppIp6PacketTooSmall),
        // Van Jacobson, uncompressed: an IPv4 header whose protocol field is a slot number.
        0x002f => (Layer::Ipv4, 20, Anomaly::PppVjuPacketTooSmall),
        _ => {
            if short || known_unsupported(protocol) {
                walk.note(Anomaly::PppUnsupProto);
            } else if !control(protocol) {
                walk.invalid(Anomaly::PppWrongType);
            }
            return None;
        }
    };
    if room < needed {
        walk.failed = true;
        walk.fail(if short && protocol == 0x0021 {
            Anomaly::PppVjuPacketTooSmall
        } else {
            too_small
        });
        return None;
    }
    if protocol == 0x002f {
        if walk.from(at).first().is_none_or(|first| first >> 4 != 4) {
            walk.failed = true;
            return None;
        }
        walk.header_unsummed = true;
    }
    Some((layer, at))
}

/// Protocols of a link's own control, which carry nothing to inspect.
fn control(protocol: u16) -> bool {
    matches!(
        protocol,
        0x8021 | 0x8057 | 0xc021 | 0xc023 | 0xc223 | 0x80fd | 0xc025 | 0xc029 | 0x00fd | 0x8207
    )
}

/// Network protocols that are assigned and not decoded.
fn known_unsupported(protocol: u16) -> bool {
    matches!(
        protocol,
        0x0023
            | 0x0025
            | 0x0027
            | 0x0029
            | 0x002b
            | 0x002d
            | 0x0031
            | 0x0033
            | 0x0035
            | 0x0201
            | 0x0231
            | 0x0233
            | 0x0281
            | 0x0283
            | 0x8023
            | 0x8025
            | 0x8027
            | 0x8029
            | 0x802b
            | 0x8033
            | 0x8035
            | 0x8281
    )
}

/// Checks a PPPoE discovery header at `at`; it carries no packet.
pub(super) fn discovery(walk: &mut Walk, at: usize) {
    let bytes = walk.from(at);
    let (Some(&code), Some(length)) = (bytes.get(1), be16(bytes, 4)) else {
        walk.failed = true;
        return walk.fail(Anomaly::PppoePacketTooSmall);
    };
    // PADI, PADO, PADR, PADS, PADT.
    if !matches!(code, 0x09 | 0x07 | 0x19 | 0x65 | 0xa7) {
        walk.invalid(Anomaly::PppoeWrongCode);
    } else if usize::from(length) > bytes.len() - SESSION_HEADER {
        walk.invalid(Anomaly::PppoeMalformedTags);
    }
}
