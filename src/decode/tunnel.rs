//! Packets in packets: IP in IP (RFC 2003, RFC 2473, RFC 4213), GRE (RFC 2784, RFC 2890, RFC 1701;
//! version 1 of RFC 2637) with ERSPAN, VXLAN (RFC 7348), Geneve (RFC 8926), Teredo (RFC 4380).
//!
//! A tunnel's carrier stays a packet of its own; what it carries becomes a view (stage.rs).

use super::{Anomaly, Decoder, LinkType, TunnelKind, Walk, be16, be32};

/// Source route entries of one GRE header that are followed.
const ROUTES_MAX: usize = 64;

/// EtherTypes in GRE and Geneve headers.
mod kind {
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const ERSPAN_3: u16 = 0x22eb;
    pub const BRIDGE: u16 = 0x6558;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    pub const PPP: u16 = 0x880b;
    pub const ERSPAN: u16 = 0x88be;
    pub const PROVIDER_BRIDGE: u16 = 0x88a8;
    pub const QINQ: u16 = 0x9100;
}

/// IP in IP. The outer packet has a flow without ports.
pub(super) fn ip_in_ip(
    walk: &mut Walk,
    at: usize,
    end: usize,
    outer_v6: bool,
    inner: LinkType,
) -> Option<(u16, u16)> {
    // Inside IPv6 the version is looked at before anything else, with events of its own.
    if outer_v6 {
        let bytes = walk.bytes.get(at..end).unwrap_or(&[]);
        let version = bytes.first().map_or(0, |first| first >> 4);
        let wrong = match inner {
            LinkType::Ipv4 if bytes.len() < 20 => Some(Anomaly::Ipv6Ipv4InIpv6TooSmall),
            LinkType::Ipv4 if version != 4 => Some(Anomaly::Ipv6Ipv4InIpv6WrongVersion),
            LinkType::Ipv6 if bytes.len() < 40 => Some(Anomaly::Ipv6Ipv6InIpv6TooSmall),
            LinkType::Ipv6 if version != 6 => Some(Anomaly::Ipv6Ipv6InIpv6WrongVersion),
            _ => None,
        };
        if let Some(anomaly) = wrong {
            walk.fail(anomaly);
            return None;
        }
    }
    walk.carry(at, end, inner, TunnelKind::Certain);
    Some((0, 0))
}

/// GRE. Its carrier has no flow: the inner packet has.
pub(super) fn decode_gre(walk: &mut Walk, at: usize, end: usize) -> Option<(u16, u16)> {
    let bytes = walk.bytes.get(at..end).unwrap_or(&[]);
    let Some(&[flags, version, k0, k1]) = bytes.first_chunk::<4>() else {
        walk.fail(Anomaly::GrePacketTooSmall);
        return None;
    };
    if !walk.enter() {
        return None;
    }
    let carried = u16::from_be_bytes([k0, k1]);
    let length = match version & 7 {
        0 => gre_0(flags, version, bytes),
        1 => gre_1(flags, version, carried, bytes),
        _ => Err(Anomaly::GreWrongVersion),
    };
    let start = match length {
        Ok(length) => at + length,
        Err(anomaly) => {
            walk.fail(anomaly);
            return None;
        }
    };
    let link = match carried {
        kind::IPV4 => LinkType::Ipv4,
        kind::IPV6 => LinkType::Ipv6,
        kind::VLAN => LinkType::Vlan,
        kind::ARP => LinkType::Arp,
        kind::BRIDGE => LinkType::Ethernet,
        // PPTP: a payload length of 0 is an acknowledgement alone.
        kind::PPP if version & 7 == 1 && be16(bytes, 4) == Some(0) => return None,
        kind::PPP => LinkType::Ppp,
        // Type I has no header and no sequence number; type II has both.
        kind::ERSPAN if flags & 0x10 == 0 => LinkType::Ethernet,
        // Type III is followed on request: Suricata does not, and mirrors are seen at both ends.
        kind::ERSPAN_3 if !walk.decoder.erspan_third => return None,
        kind::ERSPAN | kind::ERSPAN_3 => {
            erspan(walk, start, end, carried == kind::ERSPAN_3);
            return None;
        }
        _ => return None,
    };
    walk.carry(start, end, link, TunnelKind::Certain);
    None
}

/// Header length of GRE version 0. Bits that later standards retired end the walk: a receiver may
/// ignore them and go on where we would not, so inline they are refused.
fn gre_0(flags: u8, version: u8, bytes: &[u8]) -> Result<usize, Anomaly> {
    if flags & 0x07 != 0 {
        return Err(Anomaly::GreVersion0Recur);
    }
    if version & 0x78 != 0 {
        return Err(Anomaly::GreVersion0Flags);
    }
    let mut length = 4;
    for (bits, field) in [(0x20, 4), (0x10, 4), (0xc0, 4)] {
        if flags & bits != 0 {
            length += field;
        }
    }
    if length > bytes.len() {
        return Err(Anomaly::GreVersion0HdrTooBig);
    }
    if flags & 0x40 == 0 {
        return Ok(length);
    }
    for _ in 0..ROUTES_MAX {
        let entry = bytes.get(length..).and_then(|rest| rest.first_chunk::<4>());
        let Some(&[family_high, family_low, _, entry_length]) = entry else {
            return Err(Anomaly::GreVersion0MalformedSreHdr);
        };
        length += 4;
        if family_high == 0 && family_low == 0 && entry_length == 0 {
            return Ok(length);
        }
        length += usize::from(entry_length);
        if length > bytes.len() {
            break;
        }
    }
    Err(Anomaly::GreVersion0MalformedSreHdr)
}

/// Header length of GRE version 1, which carries PPP alone (RFC 2637 section 4.1).
fn gre_1(flags: u8, version: u8, carried: u16, bytes: &[u8]) -> Result<usize, Anomaly> {
    let wrong = [
        (flags & 0x80 != 0, Anomaly::GreVersion1Chksum),
        (flags & 0x40 != 0, Anomaly::GreVersion1Route),
        (flags & 0x08 != 0, Anomaly::GreVersion1Ssr),
        (flags & 0x07 != 0, Anomaly::GreVersion1Recur),
        (version & 0x78 != 0, Anomaly::GreVersion1Flags),
        (carried != kind::PPP, Anomaly::GreVersion1WrongProtocol),
        (flags & 0x20 == 0, Anomaly::GreVersion1NoKey),
    ];
    if let Some((_, anomaly)) = wrong.into_iter().find(|(is_so, _)| *is_so) {
        return Err(anomaly);
    }
    let sequence = if flags & 0x10 != 0 { 4 } else { 0 };
    let acknowledgement = if version & 0x80 != 0 { 4 } else { 0 };
    let length = 8 + sequence + acknowledgement;
    if length > bytes.len() {
        return Err(Anomaly::GreVersion1HdrTooBig);
    }
    Ok(length)
}

/// ERSPAN types II and III (draft-foschiano-erspan): version, VLAN, session; then Ethernet.
fn erspan(walk: &mut Walk, at: usize, end: usize, third: bool) {
    let bytes = walk.bytes.get(at..end).unwrap_or(&[]);
    let needed = if third { 12 } else { 8 };
    let Some(first) = be16(bytes, 0).filter(|_| bytes.len() >= needed) else {
        return walk.note(Anomaly::ErspanHeaderTooSmall);
    };
    let expected = if third { 2 } else { 1 };
    if first >> 12 != expected {
        return walk.note(Anomaly::ErspanUnsupportedVersion);
    }
    // Type III: the lowest bit says that 8 bytes of the platform follow.
    let platform = third && bytes.get(11).is_some_and(|last| last & 1 != 0);
    let length = if platform { needed + 8 } else { needed };
    if bytes.len() < length {
        return walk.note(Anomaly::ErspanHeaderTooSmall);
    }
    let vlan = first & 0x0fff;
    walk.carry_with(
        at + length,
        end,
        LinkType::Ethernet,
        TunnelKind::Certain,
        0,
        vlan,
    );
}

/// Whether ports are those of a configured tunnel.
#[inline]
pub(super) fn is_port(decoder: &Decoder, src_port: u16, dst_port: u16) -> bool {
    decoder.vxlan_ports.has(dst_port)
        || decoder.geneve_ports.has(src_port)
        || decoder.geneve_ports.has(dst_port)
}

/// Looks for a tunnel in a UDP payload.
#[inline]
pub(super) fn decode_udp(walk: &mut Walk, at: usize, end: usize, src_port: u16, dst_port: u16) {
    let decoder = walk.decoder;
    if is_port(decoder, src_port, dst_port) {
        if decoder.vxlan_ports.has(dst_port) {
            if vxlan(walk, at, end) {
                return;
            }
        } else if geneve(walk, at, end) {
            return;
        }
    }
    let teredo = decoder.teredo
        && (decoder.teredo_ports.is_empty()
            || decoder.teredo_ports.has(src_port)
            || decoder.teredo_ports.has(dst_port));
    // A first nibble of 6, or an origin indication before it.
    if teredo && end - at >= 40 {
        match walk.bytes.get(at) {
            Some(0x60..=0x6f) => teredo_packet(walk, at, end),
            Some(0) if walk.bytes.get(at + 1) == Some(&0) && end - at >= 48 => {
                teredo_packet(walk, at + 8, end);
            }
            _ => {}
        }
    }
}

/// Nothing in Teredo proves that it is: the length must fit, the hop limit not be 0, and a
/// hop-by-hop header have room. The inner packet must then decode without fault.
fn teredo_packet(walk: &mut Walk, at: usize, end: usize) {
    let Some(head) = walk
        .bytes
        .get(at..end)
        .and_then(|inner| inner.first_chunk::<8>())
    else {
        return;
    };
    let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
    let bogus = head[7] == 0 || (head[6] == 0 && length < 8);
    if head[0] >> 4 == 6 && !bogus && end - at == 40 + length {
        walk.carry(at, end, LinkType::Ipv6, TunnelKind::Teredo);
    }
}

/// VXLAN: flags (network id valid, all else reserved and 0), network id, Ethernet. False if it
/// is none. Extensions (group policy) use reserved bits: only the first flag is asked for where the
/// settings say so.
fn vxlan(walk: &mut Walk, at: usize, end: usize) -> bool {
    const VALID: u32 = 0x0800_0000;
    let bytes = walk.bytes.get(at..end).unwrap_or(&[]);
    let (Some(flags), Some(network), Some(carried)) =
        (be32(bytes, 0), be32(bytes, 4), be16(bytes, 20))
    else {
        return false;
    };
    let reserved = flags & !VALID | network & 0xff;
    let strict = walk.decoder.vxlan_strict;
    if !walk.enter() || flags & VALID == 0 || strict && reserved != 0 {
        return false;
    }
    match carried {
        kind::IPV4 | kind::IPV6 | kind::ARP | kind::VLAN | kind::PROVIDER_BRIDGE | kind::QINQ => {
            let network = network >> 8;
            walk.carry_with(
                at + 8,
                end,
                LinkType::Ethernet,
                TunnelKind::Port,
                network,
                0,
            );
        }
        _ => walk.invalid(Anomaly::VxlanUnknownPayloadType),
    }
    true
}

/// Geneve: version 0, options whose lengths add up, network id. False if it is none.
fn geneve(walk: &mut Walk, at: usize, end: usize) -> bool {
    let bytes = walk.bytes.get(at..end).unwrap_or(&[]);
    let (Some(first), Some(network)) = (be32(bytes, 0), be32(bytes, 4)) else {
        return false;
    };
    if !walk.enter() {
        return false;
    }
    let length = 8 + (first >> 24 & 0x3f) as usize * 4;
    let reserved = first & 0xc03f_0000;
    let Some(options) = bytes.get(8..length) else {
        return false;
    };
    if reserved != 0 || network & 0xff != 0 || !geneve_options(options) {
        return false;
    }
    let link = match first as u16 {
        kind::IPV4 => LinkType::Ipv4,
        kind::IPV6 => LinkType::Ipv6,
        kind::BRIDGE => LinkType::Ethernet,
        kind::ARP => return true,
        _ => {
            walk.invalid(Anomaly::GeneveUnknownPayloadType);
            return true;
        }
    };
    walk.carry_with(at + length, end, link, TunnelKind::Port, network >> 8, 0);
    true
}

/// Whether the lengths of Geneve options, at most 63, add up to the header's.
fn geneve_options(options: &[u8]) -> bool {
    let mut rest = options;
    while let Some(&[_, _, _, length]) = rest.first_chunk::<4>() {
        match rest.get(4 + usize::from(length & 0x1f) * 4..) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    rest.is_empty()
}
