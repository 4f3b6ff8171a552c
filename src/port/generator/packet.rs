//! Puts frames together: Ethernet with VLAN tags, IPv4 and IPv6 (also in fragments), TCP, UDP,
//! ICMP. RFC 791, 8200, 9293, 768, 792, 4443.

use std::net::IpAddr;

use crate::port::checksum;

/// Shortest frame on the wire without its FCS; shorter ones are padded.
const FRAME_MIN: usize = 60;

/// TCP flag bits.
pub mod tcp_flag {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 2;
    /// Reset.
    pub const RST: u8 = 4;
    /// Push.
    pub const PSH: u8 = 8;
    /// Acknowledgement field is valid.
    pub const ACK: u8 = 16;
}

/// Everything below the transport header, for one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Ethernet source.
    pub src_mac: [u8; 6],
    /// Ethernet destination.
    pub dst_mac: [u8; 6],
    /// VLAN ids, outermost first.
    pub vlans: Vec<u16>,
    /// Source address; same family as `dst`.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// IPv4 identification, IPv6 fragment identification.
    pub id: u32,
}

impl Envelope {
    /// The way back.
    pub fn reversed(&self) -> Envelope {
        Envelope {
            src_mac: self.dst_mac,
            dst_mac: self.src_mac,
            vlans: self.vlans.clone(),
            src: self.dst,
            dst: self.src,
            id: self.id,
        }
    }

    /// Both addresses, as the pseudo header has them.
    fn addrs(&self) -> Vec<u8> {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => [src.octets(), dst.octets()].concat(),
            (src, dst) => [v6(src), v6(dst)].concat(),
        }
    }

    fn is_v6(&self) -> bool {
        self.src.is_ipv6()
    }

    /// Sum for the transport checksum.
    fn pseudo(&self, protocol: u8, length: usize) -> u32 {
        checksum::pseudo(&self.addrs(), protocol, length as u32)
    }

    fn link(&self) -> Vec<u8> {
        let mut frame = [self.dst_mac, self.src_mac].concat();
        for (depth, vlan) in self.vlans.iter().enumerate() {
            // The outer of two tags is a service tag (IEEE 802.1ad).
            let outer = depth == 0 && self.vlans.len() > 1;
            let tag: u16 = if outer { 0x88a8 } else { 0x8100 };
            frame.extend(tag.to_be_bytes());
            frame.extend(vlan.to_be_bytes());
        }
        let kind: u16 = if self.is_v6() { 0x86dd } else { 0x0800 };
        frame.extend(kind.to_be_bytes());
        frame
    }

    /// The frame of a whole IP packet around `transport`.
    pub fn frame(&self, protocol: u8, transport: &[u8]) -> Vec<u8> {
        let mut frame = self.link();
        if self.is_v6() {
            self.ipv6(&mut frame, protocol, transport.len());
        } else {
            self.ipv4(&mut frame, protocol, transport.len(), 0x4000);
        }
        frame.extend(transport);
        pad(frame)
    }

    /// The frames of an IP packet in fragments of at most `size` bytes (rounded down to 8).
    pub fn fragments(&self, protocol: u8, transport: &[u8], size: usize) -> Vec<Vec<u8>> {
        const MORE_V4: u16 = 0x2000;
        let size = (size & !7).max(8);
        let count = transport.len().div_ceil(size);
        let piece = |(number, bytes): (usize, &[u8])| {
            let more = number + 1 < count;
            let at = number * size;
            let mut frame = self.link();
            if self.is_v6() {
                const FRAGMENT: u8 = 44;
                self.ipv6(&mut frame, FRAGMENT, bytes.len() + 8);
                frame.extend([protocol, 0]);
                frame.extend((at as u16 | u16::from(more)).to_be_bytes());
                frame.extend(self.id.to_be_bytes());
            } else {
                let field = (at / 8) as u16 | if more { MORE_V4 } else { 0 };
                self.ipv4(&mut frame, protocol, bytes.len(), field);
            }
            frame.extend(bytes);
            pad(frame)
        };
        transport.chunks(size).enumerate().map(piece).collect()
    }

    fn ipv4(&self, frame: &mut Vec<u8>, protocol: u8, length: usize, fragment: u16) {
        let start = frame.len();
        frame.extend([0x45, 0]);
        frame.extend((20 + length as u16).to_be_bytes());
        frame.extend((self.id as u16).to_be_bytes());
        frame.extend(fragment.to_be_bytes());
        frame.extend([64, protocol, 0, 0]);
        frame.extend(self.addrs());
        let sum = checksum::of(&frame[start..]);
        frame[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
    }

    fn ipv6(&self, frame: &mut Vec<u8>, next: u8, length: usize) {
        frame.extend([0x60, 0, 0, 0]);
        frame.extend((length as u16).to_be_bytes());
        frame.extend([next, 64]);
        frame.extend(self.addrs());
    }
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn pad(mut frame: Vec<u8>) -> Vec<u8> {
    if frame.len() < FRAME_MIN {
        frame.resize(FRAME_MIN, 0);
    }
    frame
}

/// A TCP header's variable part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flag bits, see [`tcp_flag`].
    pub flags: u8,
    /// Window.
    pub window: u16,
    /// Time stamp option, value and echo (RFC 7323).
    pub stamps: Option<(u32, u32)>,
}

impl Tcp {
    /// Header and payload, with the checksum for `envelope`.
    pub fn segment(&self, envelope: &Envelope, payload: &[u8]) -> Vec<u8> {
        const PROTOCOL: u8 = 6;
        let mut options = Vec::new();
        if self.flags & tcp_flag::SYN != 0 {
            // MSS 1,460 (RFC 9293 3.7.1), SACK permitted, window scale 7.
            options.extend([2, 4, 0x05, 0xb4, 4, 2, 1, 3, 3, 7, 1, 1]);
        }
        if let Some((value, echo)) = self.stamps {
            options.extend([1, 1, 8, 10]);
            options.extend(value.to_be_bytes());
            options.extend(echo.to_be_bytes());
        }
        let mut segment = Vec::with_capacity(20 + options.len() + payload.len());
        segment.extend(self.src_port.to_be_bytes());
        segment.extend(self.dst_port.to_be_bytes());
        segment.extend(self.seq.to_be_bytes());
        segment.extend(self.ack.to_be_bytes());
        segment.extend([((20 + options.len()) as u8 / 4) << 4, self.flags]);
        segment.extend(self.window.to_be_bytes());
        segment.extend([0; 4]);
        segment.extend(options);
        segment.extend(payload);
        let sum = checksum::add(envelope.pseudo(PROTOCOL, segment.len()), &segment);
        segment[16..18].copy_from_slice(&checksum::finish(sum).to_be_bytes());
        segment
    }

    /// The whole frame.
    pub fn frame(&self, envelope: &Envelope, payload: &[u8]) -> Vec<u8> {
        envelope.frame(6, &self.segment(envelope, payload))
    }
}

/// A UDP datagram with its checksum for `envelope`.
pub fn udp(envelope: &Envelope, src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    const PROTOCOL: u8 = 17;
    let mut datagram = Vec::with_capacity(8 + payload.len());
    datagram.extend(src_port.to_be_bytes());
    datagram.extend(dst_port.to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0; 2]);
    datagram.extend(payload);
    let sum = checksum::add(envelope.pseudo(PROTOCOL, datagram.len()), &datagram);
    // A sum of zero is sent as all ones: zero means "no checksum" (RFC 768).
    let sum = match checksum::finish(sum) {
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// An ICMP or ICMPv6 echo message and its protocol number.
pub fn echo(envelope: &Envelope, reply: bool, id: u16, seq: u16, payload: &[u8]) -> (u8, Vec<u8>) {
    let (protocol, kind) = match (envelope.is_v6(), reply) {
        (false, false) => (1, 8),
        (false, true) => (1, 0),
        (true, false) => (58, 128),
        (true, true) => (58, 129),
    };
    let mut message = vec![kind, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend(seq.to_be_bytes());
    message.extend(payload);
    let start = match envelope.is_v6() {
        true => envelope.pseudo(protocol, message.len()),
        false => 0,
    };
    let sum = checksum::finish(checksum::add(start, &message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    (protocol, message)
}
