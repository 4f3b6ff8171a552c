//! ARP for IPv4 over Ethernet (RFC 826), and the accessors of its fields.

use super::{Anomaly, Walk};
use crate::packet::flag;

/// Bytes of an ARP header up to its addresses, and with those of Ethernet and IPv4.
const HEADER_MIN: usize = 8;
const HEADER: usize = 28;

/// Decodes an ARP header at `at`. ARP has no flow.
pub(super) fn decode(walk: &mut Walk, at: usize) {
    let bytes = walk.from(at);
    let Some(&[h0, h1, p0, p1, hardware_size, protocol_size, o0, o1]) =
        bytes.first_chunk::<HEADER_MIN>()
    else {
        walk.failed = true;
        return walk.fail(Anomaly::ArpPacketTooSmall);
    };
    if !walk.enter() {
        return;
    }
    let wrong = if u16::from_be_bytes([h0, h1]) != 1 {
        Some(Anomaly::ArpUnsupportedHardware)
    } else if u16::from_be_bytes([p0, p1]) != 0x0800 {
        Some(Anomaly::ArpUnsupportedProtocol)
    } else if bytes.len() < HEADER {
        Some(Anomaly::ArpInvalidPacket)
    } else if hardware_size != 6 {
        Some(Anomaly::ArpInvalidHardwareSize)
    } else if protocol_size != 4 {
        Some(Anomaly::ArpInvalidProtocolSize)
    } else if !(1..=4).contains(&u16::from_be_bytes([o0, o1])) {
        Some(Anomaly::ArpUnsupportedOpcode)
    } else {
        None
    };
    if let Some(anomaly) = wrong {
        walk.failed = true;
        return walk.fail(anomaly);
    }
    if let Ok(l3) = u16::try_from(at) {
        walk.context.l3 = l3;
        walk.context.set(flag::ARP);
    }
}

/// A decoded ARP header.
#[derive(Clone, Copy, Debug)]
pub struct Arp<'a>(&'a [u8; HEADER]);

impl<'a> Arp<'a> {
    /// The header at `l3`; `None` if it is cut short.
    pub fn at(bytes: &'a [u8], l3: u16) -> Option<Arp<'a>> {
        bytes.get(usize::from(l3)..)?.first_chunk().map(Arp)
    }

    /// The header's bytes.
    pub fn header(self) -> &'a [u8] {
        self.0
    }

    /// 1 request, 2 reply, 3 and 4 their reverse.
    pub fn operation(self) -> u16 {
        u16::from_be_bytes([self.0[6], self.0[7]])
    }

    /// Sender's hardware address.
    pub fn sender_mac(self) -> [u8; 6] {
        self.field(8)
    }

    /// Sender's protocol address.
    pub fn sender_ip(self) -> [u8; 4] {
        self.field(14)
    }

    /// Target's hardware address.
    pub fn target_mac(self) -> [u8; 6] {
        self.field(18)
    }

    /// Target's protocol address.
    pub fn target_ip(self) -> [u8; 4] {
        self.field(24)
    }

    fn field<const N: usize>(self, at: usize) -> [u8; N] {
        self.0
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .unwrap_or([0; N])
    }
}
