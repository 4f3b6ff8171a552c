//! UDP (RFC 768), and which datagrams are tunnels.

use super::{Addresses, Anomaly, Walk, tunnel};
use crate::packet::flag;

/// Bytes of a header.
const HEADER: usize = 8;

/// Decodes the datagram at `at..end`; gives its ports.
#[inline]
pub(super) fn decode<A: Addresses>(
    walk: &mut Walk,
    at: usize,
    end: usize,
    addresses: A,
) -> Option<(u16, u16)> {
    let datagram = walk.bytes.get(at..end).unwrap_or(&[]);
    let Some(head) = datagram.first_chunk::<HEADER>() else {
        walk.fail(Anomaly::UdpHlenTooSmall);
        return None;
    };
    let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
    let Some(datagram) = datagram.get(..length) else {
        walk.fail(Anomaly::UdpPacketTooSmall);
        return None;
    };
    if length < HEADER {
        walk.fail(Anomaly::UdpLenInvalid);
        return None;
    }
    let src_port = u16::from_be_bytes([head[0], head[1]]);
    let dst_port = u16::from_be_bytes([head[2], head[3]]);
    let tunnel_port = tunnel::is_port(walk.decoder, src_port, dst_port);
    // No checksum: fine in IPv4, and in IPv6 for tunnels (RFC 6935 section 5).
    let unsummed = head[6] == 0 && head[7] == 0 && (!A::V6 || tunnel_port);
    if !unsummed {
        walk.verify(addresses, 17, datagram, Anomaly::UdpCsumInvalid);
    }
    walk.context.set(flag::TRANSPORT);
    walk.payload(at + HEADER, at + length);
    tunnel::decode_udp(walk, at + HEADER, at + length, src_port, dst_port);
    Some((src_port, dst_port))
}

/// A UDP header that decode accepted (`flag::TRANSPORT`, protocol 17).
#[derive(Clone, Copy, Debug)]
pub struct Udp<'a>(&'a [u8; HEADER]);

impl<'a> Udp<'a> {
    /// The header at `l4`; `None` if it is cut short.
    #[inline]
    pub fn at(bytes: &'a [u8], l4: u16) -> Option<Udp<'a>> {
        bytes.get(usize::from(l4)..)?.first_chunk().map(Udp)
    }

    /// The header's bytes.
    pub fn header(self) -> &'a [u8] {
        self.0
    }

    /// Source port.
    pub fn src_port(self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    /// Destination port.
    pub fn dst_port(self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }

    /// Length, header included.
    pub fn length(self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }

    /// Checksum; 0 is none.
    pub fn checksum(self) -> u16 {
        u16::from_be_bytes([self.0[6], self.0[7]])
    }
}
