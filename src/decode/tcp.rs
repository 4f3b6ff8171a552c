//! TCP headers (RFC 9293) with their options, and the accessors of their fields.

use super::{Addresses, Anomaly, Walk, be16, be32};
use crate::packet::flag;

/// Bytes of a header without options.
const HEADER: usize = 20;

/// Flag bits, as the header has them.
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// Acknowledgement number is valid.
    pub const ACK: u8 = 0x10;
    /// Urgent pointer is valid.
    pub const URG: u8 = 0x20;
    /// ECN echo.
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced.
    pub const CWR: u8 = 0x80;
}

/// Option kinds.
pub mod option {
    /// End of the list.
    pub const END: u8 = 0;
    /// Padding byte.
    pub const NOP: u8 = 1;
    /// Maximum segment size.
    pub const MSS: u8 = 2;
    /// Window scale.
    pub const WINDOW_SCALE: u8 = 3;
    /// Selective acknowledgement permitted.
    pub const SACK_PERMITTED: u8 = 4;
    /// Selective acknowledgement.
    pub const SACK: u8 = 5;
    /// Timestamps.
    pub const TIMESTAMPS: u8 = 8;
    /// MD5 signature (RFC 2385).
    pub const MD5: u8 = 19;
    /// Authentication (RFC 5925).
    pub const AO: u8 = 29;
    /// Fast open (RFC 7413).
    pub const FAST_OPEN: u8 = 34;
    /// Experiments, fast open's early form among them.
    pub const EXPERIMENT_1: u8 = 253;
    /// Experiments.
    pub const EXPERIMENT_2: u8 = 254;
}

/// Experiment id of fast open (RFC 7413 appendix).
const FAST_OPEN_MAGIC: u16 = 0xf989;

/// Decodes the segment at `at..end`; gives its ports.
#[inline]
pub(super) fn decode<A: Addresses>(
    walk: &mut Walk,
    at: usize,
    end: usize,
    addresses: A,
) -> Option<(u16, u16)> {
    let segment = walk.bytes.get(at..end).unwrap_or(&[]);
    let Some(head) = segment.first_chunk::<HEADER>() else {
        walk.fail(Anomaly::TcpPacketTooSmall);
        return None;
    };
    let header = usize::from(head[12] >> 4) * 4;
    if segment.len() < header {
        walk.fail(Anomaly::TcpHlenTooSmall);
        return None;
    }
    if header < HEADER {
        walk.fail(Anomaly::TcpInvalidOptlen);
        return None;
    }
    // The one option nearly every segment has, as every system lays it out (RFC 7323 appendix A).
    let plain = header == HEADER
        || (header == HEADER + 12 && segment.get(HEADER..HEADER + 4) == Some(&[1, 1, 8, 10]));
    if !plain {
        options(walk, segment.get(HEADER..header).unwrap_or(&[]));
    }
    walk.verify(addresses, 6, segment, Anomaly::TcpCsumInvalid);
    walk.context.set(flag::TRANSPORT);
    walk.payload(at + header, end);
    Some((
        u16::from_be_bytes([head[0], head[1]]),
        u16::from_be_bytes([head[2], head[3]]),
    ))
}

/// Notes what is wrong with options, at most 40 bytes.
#[inline(never)]
fn options(walk: &mut Walk, options: &[u8]) {
    each_fault(options, |anomaly, is_invalid| match is_invalid {
        true => walk.invalid(anomaly),
        false => walk.note(anomaly),
    });
}

/// Whether nothing is wrong with options.
pub(super) fn options_are_right(options: &[u8]) -> bool {
    let mut right = true;
    each_fault(options, |_, _| right = false);
    right
}

/// Tells what is wrong with options, and whether that makes the segment invalid. A length that
/// leaves the header ends the walk; the segment goes on, since receivers keep it and what came
/// before.
#[inline(always)]
fn each_fault(options: &[u8], mut told: impl FnMut(Anomaly, bool)) {
    let mut seen = 0u32;
    let mut rest = options;
    while let Some((&kind, tail)) = rest.split_first() {
        if kind == option::END {
            break;
        }
        if kind == option::NOP {
            rest = tail;
            continue;
        }
        let Some(&length) = tail.first() else {
            break;
        };
        let Some((this, behind)) = rest
            .split_at_checked(usize::from(length))
            .filter(|_| length >= 2)
        else {
            return told(Anomaly::TcpOptInvalidLen, true);
        };
        match check(kind, this) {
            Checked::Nothing => {}
            Checked::BadLength => told(Anomaly::TcpOptInvalidLen, false),
            Checked::Invalid => told(Anomaly::TcpOptInvalidLen, true),
            Checked::Once(kind) => {
                let bit = 1u32 << (kind & 31);
                if seen & bit != 0 {
                    told(Anomaly::TcpOptDuplicate, false);
                }
                seen |= bit;
            }
        }
        rest = behind;
    }
}

enum Checked {
    Nothing,
    BadLength,
    Invalid,
    /// Well formed, and may stand once. Kinds below 35, so that their low 5 bits differ.
    Once(u8),
}

fn check(kind: u8, this: &[u8]) -> Checked {
    let length = this.len();
    let fits = match kind {
        option::MSS => length == 4,
        option::WINDOW_SCALE => length == 3,
        option::SACK_PERMITTED => length == 2,
        option::TIMESTAMPS => length == 10,
        // An empty one is useless, and common.
        option::SACK if length == 2 => return Checked::Nothing,
        option::SACK => matches!(length, 10 | 18 | 26 | 34),
        // Fast open's low 5 bits are those of 2, hence its own number here.
        option::FAST_OPEN if length <= 18 && length.is_multiple_of(2) => return Checked::Once(31),
        option::FAST_OPEN => false,
        option::EXPERIMENT_1 | option::EXPERIMENT_2 if length == 4 || length == 12 => {
            return if be16(this, 2) == Some(FAST_OPEN_MAGIC) {
                Checked::Once(31)
            } else {
                Checked::Nothing
            };
        }
        option::EXPERIMENT_1 | option::EXPERIMENT_2 => false,
        option::MD5 if length != 18 => return Checked::Invalid,
        option::AO if length < 4 => return Checked::Invalid,
        _ => return Checked::Nothing,
    };
    if fits {
        Checked::Once(kind)
    } else {
        Checked::BadLength
    }
}

/// A TCP header that decode accepted (`flag::TRANSPORT`, protocol 6).
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    head: &'a [u8; HEADER],
    whole: &'a [u8],
}

impl<'a> Tcp<'a> {
    /// The header at `l4`; `None` if it is cut short.
    #[inline]
    pub fn at(bytes: &'a [u8], l4: u16) -> Option<Tcp<'a>> {
        let bytes = bytes.get(usize::from(l4)..)?;
        let head = bytes.first_chunk::<HEADER>()?;
        let whole = bytes.get(..usize::from(head[12] >> 4) * 4)?;
        Some(Tcp { head, whole })
    }

    /// The header's bytes, options included.
    pub fn header(self) -> &'a [u8] {
        self.whole
    }

    /// Source port.
    pub fn src_port(self) -> u16 {
        u16::from_be_bytes([self.head[0], self.head[1]])
    }

    /// Destination port.
    pub fn dst_port(self) -> u16 {
        u16::from_be_bytes([self.head[2], self.head[3]])
    }

    /// Sequence number.
    pub fn seq(self) -> u32 {
        u32::from_be_bytes([self.head[4], self.head[5], self.head[6], self.head[7]])
    }

    /// Acknowledgement number.
    pub fn ack(self) -> u32 {
        u32::from_be_bytes([self.head[8], self.head[9], self.head[10], self.head[11]])
    }

    /// The eight flag bits ([`flags`]).
    pub fn flags(self) -> u8 {
        self.head[13]
    }

    /// Window, unscaled.
    pub fn window(self) -> u16 {
        u16::from_be_bytes([self.head[14], self.head[15]])
    }

    /// Checksum.
    pub fn checksum(self) -> u16 {
        u16::from_be_bytes([self.head[16], self.head[17]])
    }

    /// Urgent pointer.
    pub fn urgent(self) -> u16 {
        u16::from_be_bytes([self.head[18], self.head[19]])
    }

    /// The options in their order, padding and end of the list left out.
    pub fn options(self) -> Options<'a> {
        Options(self.whole.get(HEADER..).unwrap_or(&[]))
    }

    /// The options that matter to a connection; of one that stands twice, the first.
    pub fn known(self) -> Known<'a> {
        let mut known = Known::default();
        let raw = self.whole.get(HEADER..).unwrap_or(&[]);
        if raw.len() == 12 && raw.first_chunk() == Some(&[1, 1, 8, 10]) {
            known.timestamps = be32(raw, 4).zip(be32(raw, 8));
            return known;
        }
        for (kind, data) in self.options() {
            known.take(kind, data);
        }
        known
    }
}

/// Options of a TCP header in their order: kind and data. An impossible length ends them.
#[derive(Clone, Debug)]
pub struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        loop {
            let whole = self.0;
            let (&kind, tail) = whole.split_first()?;
            if kind == option::END {
                self.0 = &[];
                return None;
            }
            if kind == option::NOP {
                self.0 = tail;
                continue;
            }
            self.0 = &[];
            let length = usize::from(*tail.first()?);
            let data = whole.get(2..length)?;
            self.0 = whole.get(length..)?;
            return Some((kind, data));
        }
    }
}

/// The options that matter to a connection, those with a wrong length left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Known<'a> {
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale as sent; receivers take more than 14 as 14, Suricata as 0.
    pub window_scale: Option<u8>,
    /// Selective acknowledgement is permitted.
    pub sack_permitted: bool,
    /// Timestamp value and echo.
    pub timestamps: Option<(u32, u32)>,
    /// Selective acknowledgement edges, pairs of big-endian numbers of 4 bytes.
    pub sack: Option<&'a [u8]>,
    /// Fast open, with its cookie (empty: a request for one).
    pub fast_open: Option<&'a [u8]>,
    /// MD5 signature or authentication option: the payload cannot be forged without its key.
    pub signed: bool,
}

impl<'a> Known<'a> {
    fn take(&mut self, kind: u8, data: &'a [u8]) {
        match (kind, data.len()) {
            (option::MSS, 2) => self.mss = self.mss.or(be16(data, 0)),
            (option::WINDOW_SCALE, 1) => {
                self.window_scale = self.window_scale.or(data.first().copied());
            }
            (option::SACK_PERMITTED, 0) => self.sack_permitted = true,
            (option::TIMESTAMPS, 8) => {
                self.timestamps = self.timestamps.or(be32(data, 0).zip(be32(data, 4)));
            }
            (option::SACK, 8 | 16 | 24 | 32) => self.sack = self.sack.or(Some(data)),
            (option::FAST_OPEN, length) if length <= 16 && length.is_multiple_of(2) => {
                self.fast_open = self.fast_open.or(Some(data));
            }
            (option::EXPERIMENT_1 | option::EXPERIMENT_2, 2 | 10)
                if be16(data, 0) == Some(FAST_OPEN_MAGIC) =>
            {
                self.fast_open = self.fast_open.or(data.get(2..));
            }
            (option::MD5, 16) => self.signed = true,
            (option::AO, 2..) => self.signed = true,
            _ => {}
        }
    }
}
