//! Frames byte by byte, right or wrong in any field: what no honest stack would send.

/// FIN.
pub const FIN: u8 = 1;
/// SYN.
pub const SYN: u8 = 2;
/// RST.
pub const RST: u8 = 4;
/// PSH.
pub const PSH: u8 = 8;
/// ACK.
pub const ACK: u8 = 16;
/// URG.
pub const URG: u8 = 32;
const TCP: u8 = 6;

/// An address of either family.
pub type Address = std::net::IpAddr;

/// RFC 1071.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    let mut sum: u64 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn octets(address: Address) -> Vec<u8> {
    match address {
        Address::V4(v4) => v4.octets().to_vec(),
        Address::V6(v6) => v6.octets().to_vec(),
    }
}

fn pseudo(src: Address, dst: Address, protocol: u8, length: usize) -> Vec<u8> {
    let mut bytes = [octets(src), octets(dst)].concat();
    bytes.extend((length as u32).to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes
}

/// An IP header and what is below it.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Link addresses: destination, then source.
    pub link: [[u8; 6]; 2],
    /// Source.
    pub src: Address,
    /// Destination.
    pub dst: Address,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Identification.
    pub id: u32,
    /// IPv4: the word of flags and offset. IPv6 makes a fragment header of it, unless it is 0 or
    /// "don't fragment".
    pub fragment: u16,
    /// IPv4 options, in whole words; IPv6: one destination options header of these bytes.
    pub options: Vec<u8>,
    /// Added to the IPv4 header's checksum.
    pub spoil: u16,
    /// Added to the total (payload) length.
    pub length_more: i32,
    /// Instead of 4 or 6.
    pub version: Option<u8>,
    /// Instead of the IPv4 header's length in words.
    pub words: Option<u8>,
    /// Bytes behind the packet, in the frame.
    pub trailer: Vec<u8>,
}

/// IPv4: more fragments.
pub const MORE: u16 = 0x2000;
/// IPv4: don't fragment.
pub const DONT: u16 = 0x4000;

impl Packet {
    /// An honest one.
    pub fn new(link: [[u8; 6]; 2], src: Address, dst: Address) -> Packet {
        Packet {
            link,
            src,
            dst,
            ttl: 64,
            id: 0,
            fragment: DONT,
            options: Vec::new(),
            spoil: 0,
            length_more: 0,
            version: None,
            words: None,
            trailer: Vec::new(),
        }
    }

    /// The frame around a payload.
    pub fn frame(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = self.link.concat();
        match self.src.is_ipv6() {
            true => self.v6(&mut frame, protocol, payload),
            false => self.v4(&mut frame, protocol, payload),
        }
        frame.extend(payload);
        frame.extend(&self.trailer);
        frame
    }

    fn v4(&self, frame: &mut Vec<u8>, protocol: u8, payload: &[u8]) {
        let words = 5 + self.options.len() / 4;
        let total = (words * 4 + payload.len()) as i32 + self.length_more;
        let mut header = vec![
            self.version.unwrap_or(4) << 4 | self.words.unwrap_or(words as u8),
            0,
        ];
        header.extend((total as u16).to_be_bytes());
        header.extend((self.id as u16).to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, protocol, 0, 0]);
        header.extend(octets(self.src));
        header.extend(octets(self.dst));
        header.extend(&self.options);
        let sum = checksum(&[&header]).wrapping_add(self.spoil);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        frame.extend([8, 0]);
        frame.extend(header);
    }

    fn v6(&self, frame: &mut Vec<u8>, protocol: u8, payload: &[u8]) {
        const FRAGMENT: u8 = 44;
        const DESTINATION: u8 = 60;
        let mut next = protocol;
        let mut headers = Vec::new();
        if self.fragment & !DONT != 0 {
            headers.extend([next, 0]);
            let field = (self.fragment & 0x1fff) << 3 | self.fragment >> 13 & 1;
            headers.extend(field.to_be_bytes());
            headers.extend(self.id.to_be_bytes());
            next = FRAGMENT;
        }
        if !self.options.is_empty() {
            let mut options = vec![next, (self.options.len() / 8) as u8];
            options.extend(&self.options);
            headers.splice(0..0, options);
            next = DESTINATION;
        }
        let length = (headers.len() + payload.len()) as i32 + self.length_more;
        frame.extend([0x86, 0xdd, self.version.unwrap_or(6) << 4, 0, 0, 0]);
        frame.extend((length as u16).to_be_bytes());
        frame.extend([next, self.ttl]);
        frame.extend(octets(self.src));
        frame.extend(octets(self.dst));
        frame.extend(headers);
    }
}

/// A TCP segment.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    /// Source and destination port.
    pub ports: [u16; 2],
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags.
    pub flags: u8,
    /// Window.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options; padded to whole words with NOPs.
    pub options: Vec<u8>,
    /// Instead of the data offset in words.
    pub words: Option<u8>,
    /// Added to the checksum.
    pub spoil: u16,
    /// Payload.
    pub data: Vec<u8>,
}

impl Segment {
    /// Its bytes, for the pseudo header of these addresses.
    pub fn bytes(&self, src: Address, dst: Address) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 1);
        let mut bytes = [self.ports[0].to_be_bytes(), self.ports[1].to_be_bytes()].concat();
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        let words = self.words.unwrap_or(5 + (options.len() / 4) as u8);
        bytes.extend([words << 4, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.urgent.to_be_bytes());
        bytes.extend(options);
        bytes.extend(&self.data);
        let sum = checksum(&[&pseudo(src, dst, TCP, bytes.len()), &bytes]);
        bytes[16..18].copy_from_slice(&sum.wrapping_add(self.spoil).to_be_bytes());
        bytes
    }

    /// The frame around it.
    pub fn frame(&self, packet: &Packet) -> Vec<u8> {
        packet.frame(TCP, &self.bytes(packet.src, packet.dst))
    }

    /// Reads a frame back: addresses and segment. `None` if it holds no whole TCP segment.
    pub fn read(frame: &[u8]) -> Option<(Address, Address, Segment)> {
        let word = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
        let long = |at: usize| Some(u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?));
        let (src, dst, at, end): (Address, Address, usize, usize) = match word(12)? {
            0x0800 if frame.get(23) == Some(&TCP) => {
                let header = usize::from(*frame.get(14)? & 15) * 4;
                let v4 = |at: usize| -> Option<Address> {
                    Some(<[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?.into())
                };
                (v4(26)?, v4(30)?, 14 + header, 14 + usize::from(word(16)?))
            }
            0x86dd if frame.get(20) == Some(&TCP) => {
                let v6 = |at: usize| -> Option<Address> {
                    Some(<[u8; 16]>::try_from(frame.get(at..at + 16)?).ok()?.into())
                };
                (v6(22)?, v6(38)?, 54, 54 + usize::from(word(18)?))
            }
            _ => return None,
        };
        let words = frame.get(at + 12)? >> 4;
        let data = at + usize::from(words) * 4;
        let segment = Segment {
            ports: [word(at)?, word(at + 2)?],
            seq: long(at + 4)?,
            ack: long(at + 8)?,
            flags: *frame.get(at + 13)?,
            window: word(at + 14)?,
            urgent: word(at + 18)?,
            options: frame.get(at + 20..data)?.to_vec(),
            words: Some(words),
            spoil: 0,
            data: frame.get(data..end)?.to_vec(),
        };
        Some((src, dst, segment))
    }

    /// Timestamp value of its options, if any.
    pub fn timestamp(&self) -> Option<u32> {
        let mut options = self.options.as_slice();
        loop {
            options = match options {
                [8, 10, a, b, c, d, ..] => return Some(u32::from_be_bytes([*a, *b, *c, *d])),
                [1, rest @ ..] => rest,
                [0, ..] | [] | [_] => return None,
                [_, length, ..] => options.get(usize::from(*length).max(2)..)?,
            };
        }
    }
}
