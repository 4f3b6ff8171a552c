//! IPv6 (RFC 8200): header, extension headers, and the accessors of their fields.
//!
//! Extension headers are walked in whatever order they come, as receivers do; each kind's second
//! appearance is noted and skipped. A fragment header that does not fragment (RFC 6946) is noted
//! and walked through; a real fragment is left to flow.

use super::{Anomaly, V6, Walk};
use crate::packet::flag;
use crate::reason::Reason;

/// Bytes of the fixed header.
const HEADER: usize = 40;
/// Extension headers of one packet that are followed; more is [`Anomaly::TooManyLayers`].
const EXTENSIONS_MAX: usize = 256;

/// Next header numbers of extension headers.
pub mod next_header {
    /// Hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// Routing.
    pub const ROUTING: u8 = 43;
    /// Fragment.
    pub const FRAGMENT: u8 = 44;
    /// Authentication.
    pub const AUTHENTICATION: u8 = 51;
    /// Nothing follows.
    pub const NONE: u8 = 59;
    /// Destination options.
    pub const DESTINATION: u8 = 60;
    /// Mobility.
    pub const MOBILITY: u8 = 135;
    /// Host identity protocol.
    pub const HIP: u8 = 139;
    /// Multihoming shim.
    pub const SHIM6: u8 = 140;
}

/// Decodes an IPv6 header at `at` and what it carries.
pub(super) fn decode(walk: &mut Walk, at: usize) {
    if !walk.enter() {
        return;
    }
    let bytes = walk.from(at);
    let bytes = bytes.get(..usize::from(u16::MAX)).unwrap_or(bytes);
    let head = match check(bytes) {
        Ok(head) => head,
        Err(anomaly) => {
            walk.failed = true;
            return walk.fail(anomaly);
        }
    };
    let Ok(l3) = u16::try_from(at) else {
        return walk.fail(Anomaly::TooManyLayers);
    };
    walk.context.l3 = l3;
    walk.context.set(flag::IPV6);
    let end = at + HEADER + usize::from(u16::from_be_bytes([head[4], head[5]]));
    let Some(addresses) = head.last_chunk::<32>() else {
        return;
    };
    let next = head[6];
    if matches!(next, 6 | 17 | 58) {
        return walk.transport(next, at + HEADER, end, addresses);
    }
    extensions(walk, next, at + HEADER, end, addresses);
}

#[inline]
fn check(bytes: &[u8]) -> Result<&[u8; HEADER], Anomaly> {
    let Some(head) = bytes.first_chunk::<HEADER>() else {
        return Err(Anomaly::Ipv6PacketTooSmall);
    };
    if head[0] >> 4 != 6 {
        Err(Anomaly::Ipv6WrongIpVersion)
    } else if bytes.len() < HEADER + usize::from(u16::from_be_bytes([head[4], head[5]])) {
        Err(Anomaly::Ipv6TruncPacket)
    } else {
        Ok(head)
    }
}

/// What the walk through extension headers has met.
#[derive(Default)]
struct Met {
    hop_by_hop: bool,
    destination: u8,
    routing: bool,
    fragment: bool,
    authentication: bool,
}

/// Walks the extension headers from `at` to `end` and decodes what follows them.
fn extensions(walk: &mut Walk, first: u8, at: usize, end: usize, addresses: V6) {
    let mut met = Met::default();
    let (mut next, mut at) = (first, at);
    for count in 0..EXTENSIONS_MAX {
        let header = walk.bytes.get(at..end).unwrap_or(&[]);
        if next == next_header::NONE {
            if !header.is_empty() {
                walk.note(Anomaly::Ipv6DataAfterNoneHeader);
            }
            walk.context.protocol = next;
            return walk.flow(next, None, addresses);
        }
        if header.len() < 2 && (count > 0 || is_extension(next)) {
            walk.context.protocol = next;
            walk.fail(Anomaly::Ipv6TruncExthdr);
            return walk.flow(next, None, addresses);
        }
        let Some(length) = extension_length(next, header) else {
            return walk.transport(next, at, end, addresses);
        };
        let Some(this) = header.get(..length) else {
            walk.context.protocol = next;
            walk.fail(Anomaly::Ipv6TruncExthdr);
            return walk.flow(next, None, addresses);
        };
        match next {
            next_header::ROUTING => routing(walk, &mut met, this),
            next_header::HOP_BY_HOP | next_header::DESTINATION => {
                options(walk, &mut met, next, this);
            }
            next_header::AUTHENTICATION => authentication(walk, &mut met, this),
            next_header::FRAGMENT if fragment(walk, &mut met, this, header.len()) => {
                walk.context.set(flag::FRAGMENT);
                walk.context.protocol = this.first().copied().unwrap_or(0);
                walk.payload(at + length, at + length);
                return walk.flow(walk.context.protocol, Some((0, 0)), addresses);
            }
            _ => {}
        }
        next = this.first().copied().unwrap_or(next_header::NONE);
        at += length;
    }
    walk.fail(Anomaly::TooManyLayers);
    walk.flow(next, None, addresses);
}

fn is_extension(next: u8) -> bool {
    extension_length(next, &[0, 0]).is_some()
}

/// Length of an extension header in bytes; `None` if `next` is none of them.
fn extension_length(next: u8, header: &[u8]) -> Option<usize> {
    let units = usize::from(header.get(1).copied().unwrap_or(0));
    match next {
        next_header::HOP_BY_HOP
        | next_header::ROUTING
        | next_header::DESTINATION
        | next_header::MOBILITY
        | next_header::HIP
        | next_header::SHIM6 => Some((units + 1) * 8),
        next_header::FRAGMENT => Some(8),
        // In words of 4 bytes less two; the fixed part has 12 (RFC 4302 section 2.2).
        next_header::AUTHENTICATION => Some(12 + units.saturating_sub(1) * 4),
        _ => None,
    }
}

fn routing(walk: &mut Walk, met: &mut Met, this: &[u8]) {
    if met.routing {
        return walk.note(Anomaly::Ipv6ExthdrDuplRh);
    }
    met.routing = true;
    if this.get(2) == Some(&0) {
        walk.note(Anomaly::Ipv6RhType0);
        walk.refuse(Reason::DecodeSourceRoute);
    }
    // With segments left, checksums are over the last destination (RFC 8200 section 8.1).
    if this.get(3) != Some(&0) {
        walk.unsummed = true;
    }
}

fn authentication(walk: &mut Walk, met: &mut Met, this: &[u8]) {
    if this.get(2..4) != Some(&[0, 0]) {
        walk.note(Anomaly::Ipv6ExthdrAhResNotNull);
    }
    if met.authentication {
        walk.note(Anomaly::Ipv6ExthdrDuplAh);
    }
    met.authentication = true;
}

/// Reads a fragment header; true if the packet is a fragment. `room`: bytes from this header to
/// the packet's end.
fn fragment(walk: &mut Walk, met: &mut Met, this: &[u8], room: usize) -> bool {
    if this.get(1) != Some(&0) {
        walk.note(Anomaly::Ipv6FhNonZeroReservedField);
    }
    if met.fragment {
        // What follows is read as if whole; a receiver may wait for more. Inline it never gets it.
        walk.note(Anomaly::Ipv6ExthdrDuplFh);
        walk.refuse(Reason::DecodeIpInvalid);
        return false;
    }
    met.fragment = true;
    let offset = super::be16(this, 2).unwrap_or(0);
    if offset & 0xfff9 == 0 {
        walk.note(Anomaly::Ipv6ExthdrUselessFh);
        return false;
    }
    if offset & 1 != 0 && !room.is_multiple_of(8) {
        walk.note(Anomaly::Ipv6FragInvalidLength);
    }
    true
}

/// Walks the options of a hop-by-hop or destination header, at most 2,046 bytes. Of the former
/// one header is read and of the latter two.
fn options(walk: &mut Walk, met: &mut Met, next: u8, this: &[u8]) {
    let hop_by_hop = next == next_header::HOP_BY_HOP;
    if hop_by_hop && met.hop_by_hop {
        return walk.note(Anomaly::Ipv6ExthdrDuplHh);
    }
    if !hop_by_hop && met.destination == 2 {
        return walk.note(Anomaly::Ipv6ExthdrDuplDh);
    }
    let (unknown, only_padding) = if hop_by_hop {
        met.hop_by_hop = true;
        (
            Anomaly::Ipv6HopoptsUnknownOpt,
            Anomaly::Ipv6HopoptsOnlyPadding,
        )
    } else {
        met.destination += 1;
        (
            Anomaly::Ipv6DstoptsUnknownOpt,
            Anomaly::Ipv6DstoptsOnlyPadding,
        )
    };
    let (mut padding, mut others) = (false, false);
    let mut rest = this.get(2..).unwrap_or(&[]);
    while let Some((&kind, tail)) = rest.split_first() {
        if kind == 0 {
            padding = true;
            rest = tail;
            continue;
        }
        let length = tail.first().map_or(0, |&length| usize::from(length));
        let Some(behind) = rest.get(2 + length..) else {
            walk.fail(Anomaly::Ipv6ExthdrInvalidOptlen);
            break;
        };
        // PadN, router alert, jumbo payload, home address: the lengths they need.
        let needed = match kind {
            1 => {
                padding = true;
                if length == 0 {
                    walk.note(Anomaly::Ipv6ZeroLenPadn);
                }
                0
            }
            5 => 2,
            0xc2 => 4,
            0xc9 => {
                walk.unsummed = true;
                16
            }
            _ => {
                walk.note(unknown);
                0
            }
        };
        if length < needed {
            walk.fail(Anomaly::Ipv6ExthdrInvalidOptlen);
            break;
        }
        others |= kind != 1 && kind != 0xc2;
        rest = behind;
    }
    if padding && !others {
        walk.note(only_padding);
    }
}

/// An IPv6 header that decode accepted (`flag::IPV6`).
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a> {
    head: &'a [u8; HEADER],
    whole: &'a [u8],
}

impl<'a> Ipv6<'a> {
    /// The header at `l3`; `None` if it is cut short.
    #[inline]
    pub fn at(bytes: &'a [u8], l3: u16) -> Option<Ipv6<'a>> {
        let bytes = bytes.get(usize::from(l3)..)?;
        let head = bytes.first_chunk::<HEADER>()?;
        let length = HEADER + usize::from(u16::from_be_bytes([head[4], head[5]]));
        let whole = bytes.get(..length.min(bytes.len()))?;
        Some(Ipv6 { head, whole })
    }

    /// The fixed header's bytes.
    pub fn header(self) -> &'a [u8] {
        self.head
    }

    /// The header with its extension headers, up to the upper layer (`ipv6.hdr`).
    pub fn header_with_extensions(self) -> &'a [u8] {
        let mut end = HEADER;
        for extension in self.extensions() {
            end = extension.end;
        }
        self.whole.get(..end).unwrap_or(self.head)
    }

    /// Traffic class.
    pub fn traffic_class(self) -> u8 {
        self.head[0] << 4 | self.head[1] >> 4
    }

    /// Flow label, 20 bits.
    pub fn flow_label(self) -> u32 {
        u32::from_be_bytes([0, self.head[1] & 0x0f, self.head[2], self.head[3]])
    }

    /// Payload length, extension headers included.
    pub fn payload_length(self) -> u16 {
        u16::from_be_bytes([self.head[4], self.head[5]])
    }

    /// Next header number.
    pub fn next_header(self) -> u8 {
        self.head[6]
    }

    /// Hop limit.
    pub fn hop_limit(self) -> u8 {
        self.head[7]
    }

    /// Source address.
    pub fn src(self) -> [u8; 16] {
        self.address(8)
    }

    /// Destination address.
    pub fn dst(self) -> [u8; 16] {
        self.address(24)
    }

    /// Source and destination as they stand, for a pseudo-header.
    pub fn addresses(self) -> &'a [u8] {
        self.head.get(8..).unwrap_or(&[])
    }

    /// The extension headers in their order; a fragment that is not the first ends the list
    /// behind its fragment header.
    pub fn extensions(self) -> Extensions<'a> {
        Extensions {
            whole: self.whole,
            next: self.head[6],
            at: HEADER,
            left: EXTENSIONS_MAX,
        }
    }

    fn address(self, at: usize) -> [u8; 16] {
        self.head
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .unwrap_or([0; 16])
    }
}

/// One extension header; positions count from the IPv6 header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extension<'a> {
    /// Its next header number.
    pub kind: u8,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Where it starts.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// Extension headers of a packet in their order.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    whole: &'a [u8],
    next: u8,
    at: usize,
    left: usize,
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        self.left = self.left.checked_sub(1)?;
        let header = self.whole.get(self.at..).filter(|rest| rest.len() >= 2)?;
        let length = extension_length(self.next, header)?;
        let bytes = header.get(..length)?;
        let this = Extension {
            kind: self.next,
            bytes,
            start: self.at,
            end: self.at + length,
        };
        self.at += length;
        self.next = bytes.first().copied()?;
        let offset = super::be16(bytes, 2).unwrap_or(0);
        if this.kind == next_header::FRAGMENT && offset & 0xfff8 != 0 {
            self.left = 0;
        }
        Some(this)
    }
}
