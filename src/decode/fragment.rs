//! What a reassembler needs to know of a fragment (RFC 791 section 3.2, RFC 8200 section 4.5).
//!
//! Decode marks fragments (`flag::FRAGMENT`); flow/defrag.rs puts them together.

use super::be32;
use super::ipv4::Ipv4;
use super::ipv6::{Ipv6, next_header};
use crate::packet::{Context, flag};

/// A fragment of an IP datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment<'a> {
    /// Identification; 16 bits in IPv4.
    pub id: u32,
    /// Where its data belongs in the datagram's data, bytes.
    pub offset: u32,
    /// Whether more fragments follow.
    pub more: bool,
    /// Its part of the datagram's data.
    pub data: &'a [u8],
    /// The header to put before the whole datagram: the IPv4 header with options, or the IPv6
    /// header and the extension headers before the fragment header.
    pub header: &'a [u8],
    /// Protocol of the data: the IPv4 protocol, or the fragment header's next header.
    pub protocol: u8,
    /// IPv6: the byte in `header` that names the fragment header, and must name `protocol` in the
    /// datagram. IPv4: the byte that holds the protocol (9).
    pub protocol_at: usize,
}

/// The fragment in a context that has `flag::FRAGMENT`; `None` for all others.
pub fn fragment<'a>(context: &Context, bytes: &'a [u8]) -> Option<Fragment<'a>> {
    if !context.has(flag::FRAGMENT) {
        return None;
    }
    if context.has(flag::IPV4) {
        return of_ipv4(bytes, context.l3);
    }
    of_ipv6(bytes, context.l3)
}

fn of_ipv4(bytes: &[u8], l3: u16) -> Option<Fragment<'_>> {
    let ip = Ipv4::at(bytes, l3)?;
    let start = usize::from(l3) + ip.header().len();
    let end = usize::from(l3) + usize::from(ip.total_length());
    Some(Fragment {
        id: u32::from(ip.id()),
        offset: u32::from(ip.fragment_offset()) * 8,
        more: ip.flags() & 1 != 0,
        data: bytes.get(start..end)?,
        header: ip.header(),
        protocol: ip.protocol(),
        protocol_at: 9,
    })
}

fn of_ipv6(bytes: &[u8], l3: u16) -> Option<Fragment<'_>> {
    let ip = Ipv6::at(bytes, l3)?;
    let whole = bytes.get(usize::from(l3)..)?;
    let mut protocol_at = 6;
    for extension in ip.extensions() {
        if extension.kind != next_header::FRAGMENT {
            protocol_at = extension.start;
            continue;
        }
        let position = super::be16(extension.bytes, 2)?;
        if position & 0xfff9 == 0 {
            // Atomic: the data starts elsewhere.
            protocol_at = extension.start;
            continue;
        }
        let end = 40 + usize::from(ip.payload_length());
        return Some(Fragment {
            id: be32(extension.bytes, 4)?,
            offset: u32::from(position & 0xfff8),
            more: position & 1 != 0,
            data: whole.get(extension.end..end)?,
            header: whole.get(..extension.start)?,
            protocol: extension.bytes.first().copied()?,
            protocol_at,
        });
    }
    None
}
