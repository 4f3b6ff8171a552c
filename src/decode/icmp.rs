//! ICMPv4 (RFC 792, RFC 950, RFC 1256) and ICMPv6 (RFC 4443 and its kin): types, codes, the
//! packet that an error quotes, and the accessors of their fields.
//!
//! An error's tuple is that of the packet it quotes, so that it meets that packet's flow; it may
//! look a flow up and never creates one (flow's part). Everything else: see tuple.rs.

use super::{Addresses, Anomaly, Walk, be16, be32, checksum};
use crate::packet::flag;

/// Bytes before what an error quotes, in both versions.
const HEADER: usize = 8;

/// Decodes the ICMPv4 message at `at..end`; gives type and answering type as ports.
pub(super) fn decode_v4(walk: &mut Walk, at: usize, end: usize) -> Option<(u16, u16)> {
    let message = walk.bytes.get(at..end).unwrap_or(&[]);
    let Some(&[kind, code, _, _, fifth, sixth, ..]) = message.first_chunk::<HEADER>() else {
        walk.fail(Anomaly::Icmpv4PacketTooSmall);
        return None;
    };
    if walk.decoder.checksums && !checksum::is_right(message) {
        walk.bad_checksum(Anomaly::Icmpv4CsumInvalid);
    }
    let codes = match kind {
        0 | 4 | 8 | 12 | 13 | 14 | 15 | 16 | 17 | 18 => 0,
        3 => 15,
        5 => 3,
        11 => 1,
        // Router advertisement: any code (mobile IP has its own).
        9 => u8::MAX,
        _ => {
            walk.note(Anomaly::Icmpv4UnknownType);
            u8::MAX
        }
    };
    if code > codes {
        walk.note(Anomaly::Icmpv4UnknownCode);
    } else if matches!(kind, 3 | 4 | 5 | 11 | 12) && (message.len() > HEADER || kind == 4) {
        quote_v4(walk, message.get(HEADER..).unwrap_or(&[]));
    }
    let extra = match kind {
        13 | 14 => 12,
        // Number of addresses, and their size in words.
        9 => usize::from(fifth) * usize::from(sixth) * 4,
        _ => 0,
    };
    let header = if message.len() < HEADER + extra {
        walk.note(Anomaly::Icmpv4Ipv4TruncPacket);
        HEADER
    } else {
        HEADER + extra
    };
    walk.context.set(flag::TRANSPORT);
    walk.payload(at + header, end);
    let answer = counterpart_v4(kind).unwrap_or(0);
    Some((u16::from(kind), u16::from(answer)))
}

/// The type that answers an ICMPv4 type, or that it answers.
pub fn counterpart_v4(kind: u8) -> Option<u8> {
    pair(kind, &[(8, 0), (13, 14), (15, 16), (10, 9), (17, 18)])
}

/// The type that answers an ICMPv6 type, or that it answers.
pub fn counterpart_v6(kind: u8) -> Option<u8> {
    const PAIRS: [(u8, u8); 10] = [
        (128, 129),
        (135, 136),
        (133, 134),
        (130, 131),
        (139, 140),
        (144, 145),
        (146, 147),
        (148, 149),
        (151, 152),
        (157, 158),
    ];
    pair(kind, &PAIRS)
}

fn pair(kind: u8, pairs: &[(u8, u8)]) -> Option<u8> {
    pairs.iter().find_map(|&(a, b)| match kind {
        _ if kind == a => Some(b),
        _ if kind == b => Some(a),
        _ => None,
    })
}

/// Reads the quoted IPv4 header and what follows it.
fn quote_v4(walk: &mut Walk, quoted: &[u8]) {
    let Some(head) = quoted.first_chunk::<20>() else {
        return walk.invalid(Anomaly::Icmpv4Ipv4TruncPacket);
    };
    if head[0] >> 4 != 4 {
        return walk.invalid(Anomaly::Icmpv4Ipv4UnknownVer);
    }
    let header = (usize::from(head[0] & 0x0f) * 4).max(20);
    // Only a datagram's first fragment has ports.
    let first = u16::from_be_bytes([head[6], head[7]]) & 0x1fff == 0;
    let behind = quoted.get(header..).filter(|_| first).unwrap_or(&[]);
    let addresses = head.last_chunk::<8>();
    if let (Some(addresses), Some(ports)) = (addresses, quoted_ports(head[9], behind, false)) {
        quote(walk, addresses, head[9], ports);
    }
}

/// Reads the quoted IPv6 header and what follows it.
fn quote_v6(walk: &mut Walk, quoted: &[u8]) {
    let Some(head) = quoted.first_chunk::<40>() else {
        return walk.invalid(Anomaly::Icmpv6Ipv6TruncPacket);
    };
    if head[0] >> 4 != 6 {
        return walk.invalid(Anomaly::Icmpv6Ipv6UnknownVersion);
    }
    let behind = quoted.get(40..).unwrap_or(&[]);
    let addresses = head.last_chunk::<32>();
    if let (Some(addresses), Some(ports)) = (addresses, quoted_ports(head[6], behind, true)) {
        quote(walk, addresses, head[6], ports);
    }
}

/// What stands for ports in a quoted packet; `None` if too little of it is there.
fn quoted_ports(protocol: u8, behind: &[u8], v6: bool) -> Option<(u16, u16)> {
    let kind = behind.first().copied().unwrap_or(0);
    let answer = match protocol {
        6 | 17 | 132 => return be16(behind, 0).zip(be16(behind, 2)),
        1 if !v6 && behind.len() >= HEADER => counterpart_v4(kind),
        58 if v6 && behind.len() >= HEADER => counterpart_v6(kind),
        _ => return None,
    };
    Some((u16::from(kind), u16::from(answer.unwrap_or(0))))
}

/// Writes the quoted packet's tuple. The error goes from that packet's receiver (or from a router
/// before it) to its sender, so it is marked as going the other way.
fn quote<A: Addresses>(walk: &mut Walk, addresses: A, protocol: u8, ports: (u16, u16)) {
    walk.write_tuple(protocol, ports, addresses);
    walk.context.flags ^= flag::REVERSED;
    walk.context.set(flag::ICMP_ERROR);
}

/// Decodes the ICMPv6 message at `at..end`; gives type and answering type as ports.
pub(super) fn decode_v6<A: Addresses>(
    walk: &mut Walk,
    at: usize,
    end: usize,
    addresses: A,
) -> Option<(u16, u16)> {
    let message = walk.bytes.get(at..end).unwrap_or(&[]);
    let Some(&[kind, code, ..]) = message.first_chunk::<HEADER>() else {
        walk.fail(Anomaly::Icmpv6PacketTooSmall);
        return None;
    };
    walk.verify(addresses, 58, message, Anomaly::Icmpv6CsumInvalid);
    if !code_is_known(kind, code) {
        walk.note(Anomaly::Icmpv6UnknownCode);
    } else if matches!(kind, 1..=4) {
        quote_v6(walk, message.get(HEADER..).unwrap_or(&[]));
    }
    if let Some(anomaly) = type_is_odd(kind) {
        walk.note(anomaly);
    }
    let hop_limit = usize::from(walk.context.l3) + 7;
    if matches!(kind, 130..=132) && walk.bytes.get(hop_limit) != Some(&1) {
        walk.note(Anomaly::Icmpv6MldMessageWithInvalidHl);
    }
    // Errors and echoes have a second word of header; the rest start their body behind the first.
    let long = matches!(kind, 1..=4 | 128 | 129) && code_is_known(kind, code);
    walk.context.set(flag::TRANSPORT);
    walk.payload(at + if long { HEADER } else { 4 }, end);
    let answer = counterpart_v6(kind).unwrap_or(0);
    Some((u16::from(kind), u16::from(answer)))
}

/// Whether a type has this code; types that do not say have all.
fn code_is_known(kind: u8, code: u8) -> bool {
    match kind {
        1 => code <= 6,
        3 => code <= 1,
        4 => code <= 2,
        138 => code <= 2 || code == 255,
        139 | 140 => code <= 2,
        155 => code <= 3 || (128..=132).contains(&code),
        2 | 128..=137 | 141..=149 | 154 | 156..=159 => code == 0,
        _ => true,
    }
}

/// What is odd about a type, by IANA's ranges.
fn type_is_odd(kind: u8) -> Option<Anomaly> {
    match kind {
        1..=4 | 128..=159 => None,
        100 | 101 | 200 | 201 => Some(Anomaly::Icmpv6ExperimentationType),
        0 | 127 => Some(Anomaly::Icmpv6UnknownType),
        _ => Some(Anomaly::Icmpv6UnassignedType),
    }
}

/// An ICMP header that decode accepted (`flag::TRANSPORT`, protocol 1 or 58).
#[derive(Clone, Copy, Debug)]
pub struct Icmp<'a> {
    message: &'a [u8],
    head: &'a [u8; HEADER],
}

impl<'a> Icmp<'a> {
    /// The message at `l4`, to the end of the bytes; `None` if its header is cut short.
    pub fn at(bytes: &'a [u8], l4: u16) -> Option<Icmp<'a>> {
        let message = bytes.get(usize::from(l4)..)?;
        let head = message.first_chunk()?;
        Some(Icmp { message, head })
    }

    /// The first eight bytes.
    pub fn header(self) -> &'a [u8] {
        self.head
    }

    /// Type.
    pub fn kind(self) -> u8 {
        self.head[0]
    }

    /// Code.
    pub fn code(self) -> u8 {
        self.head[1]
    }

    /// Checksum.
    pub fn checksum(self) -> u16 {
        u16::from_be_bytes([self.head[2], self.head[3]])
    }

    /// Identifier of the ICMPv4 types that have one.
    pub fn id_v4(self) -> Option<u16> {
        matches!(self.kind(), 0 | 8 | 13..=18).then(|| be16(self.head, 4))?
    }

    /// Sequence number of the ICMPv4 types that have one.
    pub fn seq_v4(self) -> Option<u16> {
        self.id_v4().and(be16(self.head, 6))
    }

    /// Identifier of an ICMPv6 echo.
    pub fn id_v6(self) -> Option<u16> {
        matches!(self.kind(), 128 | 129).then(|| be16(self.head, 4))?
    }

    /// Sequence number of an ICMPv6 echo.
    pub fn seq_v6(self) -> Option<u16> {
        self.id_v6().and(be16(self.head, 6))
    }

    /// The MTU that an ICMPv6 "packet too big" tells.
    pub fn mtu_v6(self) -> Option<u32> {
        (self.kind() == 2).then(|| be32(self.head, 4))?
    }

    /// What an error quotes: from the quoted IP header on.
    pub fn quoted(self) -> &'a [u8] {
        self.message.get(HEADER..).unwrap_or(&[])
    }
}

/// Whether an ICMP type is an error, which quotes a packet and creates no flow.
pub fn is_error(v6: bool, kind: u8) -> bool {
    if v6 {
        kind < 128
    } else {
        matches!(kind, 3 | 4 | 5 | 11 | 12)
    }
}
