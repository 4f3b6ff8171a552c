//! IPv4 (RFC 791): the header with its options, and the accessors of its fields.
//!
//! Fragments are left to flow. Their tuple has addresses and protocol; see fragment.rs.

use super::{Anomaly, Walk, checksum};
use crate::packet::flag;
use crate::reason::Reason;

/// Bytes of a header without options.
const HEADER: usize = 20;

/// Option types, with copy and class bits.
pub mod option {
    /// End of the list.
    pub const END: u8 = 0;
    /// Padding byte.
    pub const NOP: u8 = 1;
    /// Record route.
    pub const RR: u8 = 7;
    /// Quick start.
    pub const QS: u8 = 25;
    /// Timestamps.
    pub const TS: u8 = 68;
    /// Security.
    pub const SEC: u8 = 130;
    /// Loose source route.
    pub const LSRR: u8 = 131;
    /// Extended security.
    pub const ESEC: u8 = 133;
    /// Commercial security.
    pub const CIPSO: u8 = 134;
    /// Stream id.
    pub const SID: u8 = 136;
    /// Strict source route.
    pub const SSRR: u8 = 137;
    /// Router alert.
    pub const RTRALT: u8 = 148;
}

/// Decodes an IPv4 header at `at` and what it carries.
#[inline]
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
    let header = usize::from(head[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if header > HEADER && !options(walk, bytes.get(HEADER..header).unwrap_or(&[])) {
        walk.failed = true;
        return;
    }
    let Ok(l3) = u16::try_from(at) else {
        return walk.fail(Anomaly::TooManyLayers);
    };
    walk.context.l3 = l3;
    walk.context.set(flag::IPV4);
    if walk.decoder.checksums && !walk.header_unsummed {
        let right = if header == HEADER {
            checksum::header_is_right(head)
        } else {
            checksum::is_right(bytes.get(..header).unwrap_or(&[]))
        };
        if !right {
            walk.bad_checksum(Anomaly::Ipv4CsumInvalid);
        }
    }
    let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *head;
    let addresses = &[s0, s1, s2, s3, d0, d1, d2, d3];
    let protocol = head[9];
    // More fragments, or an offset.
    if u16::from_be_bytes([head[6], head[7]]) & 0x3fff != 0 {
        walk.context.set(flag::FRAGMENT);
        walk.context.protocol = protocol;
        walk.payload(at + header, at + header);
        return walk.flow(protocol, Some((0, 0)), addresses);
    }
    walk.transport(protocol, at + header, at + total, addresses);
}

/// Checks lengths and version; the order of checks is Suricata's, as one event is noted.
#[inline]
fn check(bytes: &[u8]) -> Result<&[u8; HEADER], Anomaly> {
    let Some(head) = bytes.first_chunk::<HEADER>() else {
        return Err(Anomaly::Ipv4PacketTooSmall);
    };
    let header = usize::from(head[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if head[0] >> 4 != 4 {
        Err(Anomaly::Ipv4WrongIpVersion)
    } else if header < HEADER {
        Err(Anomaly::Ipv4HlenTooSmall)
    } else if total < header {
        Err(Anomaly::Ipv4IplenSmallerThanHlen)
    } else if bytes.len() < total {
        Err(Anomaly::Ipv4TruncPacket)
    } else {
        Ok(head)
    }
}

/// Walks the options of a header, at most 40 bytes; false if a length makes the header unreadable.
#[cold]
fn options(walk: &mut Walk, options: &[u8]) -> bool {
    if !options.len().is_multiple_of(8) {
        walk.note(Anomaly::Ipv4OptPadRequired);
    }
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
            walk.note(Anomaly::Ipv4OptEolRequired);
            break;
        };
        let Some((this, behind)) = rest
            .split_at_checked(usize::from(length))
            .filter(|_| length >= 2)
        else {
            walk.fail(Anomaly::Ipv4OptInvalidLen);
            return false;
        };
        match known_bit(kind) {
            None => walk.note(Anomaly::Ipv4OptInvalid),
            Some(bit) if seen & bit != 0 => walk.note(Anomaly::Ipv4OptDuplicate),
            Some(bit) => match validate(kind, this) {
                Ok(()) => seen |= bit,
                Err(anomaly) => walk.invalid(anomaly),
            },
        }
        if matches!(kind, option::LSRR | option::SSRR) {
            walk.refuse(Reason::DecodeSourceRoute);
        }
        rest = behind;
    }
    true
}

/// A bit for each option type that is known.
fn known_bit(kind: u8) -> Option<u32> {
    const KNOWN: [u8; 10] = [
        option::RR,
        option::QS,
        option::TS,
        option::SEC,
        option::LSRR,
        option::ESEC,
        option::CIPSO,
        option::SID,
        option::SSRR,
        option::RTRALT,
    ];
    KNOWN
        .iter()
        .position(|&known| known == kind)
        .map(|place| 1 << place)
}

/// Checks one option, type and length bytes included.
fn validate(kind: u8, this: &[u8]) -> Result<(), Anomaly> {
    let length = this.len();
    let fits = match kind {
        option::QS => length >= 8,
        option::SEC | option::ESEC | option::RR | option::LSRR | option::SSRR => length >= 3,
        option::SID | option::RTRALT => length == 4,
        option::TS => length >= 5,
        option::CIPSO => length >= 10,
        _ => true,
    };
    if !fits {
        return Err(Anomaly::Ipv4OptInvalidLen);
    }
    // Pointers count from 1, from the option's first byte; one past the end means full.
    let pointer = usize::from(this.get(2).copied().unwrap_or(0));
    let sound = match kind {
        option::RR | option::LSRR | option::SSRR => {
            pointer >= 4 && pointer.is_multiple_of(4) && pointer <= length + 1
        }
        option::TS => {
            let with_address = matches!(this.get(3).copied().unwrap_or(0) & 0x0f, 1 | 3);
            let record = if with_address { 8 } else { 4 };
            pointer >= 5 && (pointer - 5).is_multiple_of(record) && pointer <= length + 1
        }
        option::CIPSO => cipso_tags(this.get(6..).unwrap_or(&[])),
        _ => true,
    };
    if sound {
        Ok(())
    } else {
        Err(Anomaly::Ipv4OptMalformed)
    }
}

/// Whether CIPSO tags (FIPS 188) are well formed: known type, a length of at least 4 that fits,
/// and a zero alignment byte in all but type 7.
fn cipso_tags(tags: &[u8]) -> bool {
    let mut rest = tags;
    while !rest.is_empty() {
        let (Some(&kind), Some(&length)) = (rest.first(), rest.get(1)) else {
            return false;
        };
        let aligned = kind == 7 || rest.get(2) == Some(&0);
        if length < 4 || !matches!(kind, 1 | 2 | 5 | 6 | 7) || !aligned {
            return false;
        }
        match rest.get(usize::from(length)..) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    true
}

/// An IPv4 header that decode accepted (`flag::IPV4`).
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a> {
    head: &'a [u8; HEADER],
    whole: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// The header at `l3`; `None` if it is cut short.
    #[inline]
    pub fn at(bytes: &'a [u8], l3: u16) -> Option<Ipv4<'a>> {
        let bytes = bytes.get(usize::from(l3)..)?;
        let head = bytes.first_chunk::<HEADER>()?;
        let whole = bytes.get(..usize::from(head[0] & 0x0f) * 4)?;
        Some(Ipv4 { head, whole })
    }

    /// The header's bytes, options included.
    pub fn header(self) -> &'a [u8] {
        self.whole
    }

    /// Type of service: DSCP and ECN.
    pub fn tos(self) -> u8 {
        self.head[1]
    }

    /// Total length, header included.
    pub fn total_length(self) -> u16 {
        u16::from_be_bytes([self.head[2], self.head[3]])
    }

    /// Identification.
    pub fn id(self) -> u16 {
        u16::from_be_bytes([self.head[4], self.head[5]])
    }

    /// The three flag bits: 4 reserved, 2 don't fragment, 1 more fragments.
    pub fn flags(self) -> u8 {
        self.head[6] >> 5
    }

    /// Fragment offset in units of 8 bytes, as the header has it.
    pub fn fragment_offset(self) -> u16 {
        u16::from_be_bytes([self.head[6], self.head[7]]) & 0x1fff
    }

    /// Time to live.
    pub fn ttl(self) -> u8 {
        self.head[8]
    }

    /// Protocol number.
    pub fn protocol(self) -> u8 {
        self.head[9]
    }

    /// Header checksum.
    pub fn checksum(self) -> u16 {
        u16::from_be_bytes([self.head[10], self.head[11]])
    }

    /// Source address.
    pub fn src(self) -> [u8; 4] {
        [self.head[12], self.head[13], self.head[14], self.head[15]]
    }

    /// Destination address.
    pub fn dst(self) -> [u8; 4] {
        [self.head[16], self.head[17], self.head[18], self.head[19]]
    }

    /// Source and destination as they stand, for a pseudo-header.
    pub fn addresses(self) -> &'a [u8] {
        self.head.get(12..).unwrap_or(&[])
    }

    /// The options: type and data (type and length bytes left out). Padding bytes are given, the
    /// end of the list is given and ends it, as does an impossible length.
    pub fn options(self) -> Options<'a> {
        Options(self.whole.get(HEADER..).unwrap_or(&[]))
    }
}

/// Options of an IPv4 header in their order.
#[derive(Clone, Debug)]
pub struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&kind, tail) = self.0.split_first()?;
        match kind {
            option::END => self.0 = &[],
            option::NOP => self.0 = tail,
            _ => {
                let whole = self.0;
                self.0 = &[];
                let length = usize::from(*tail.first()?);
                let data = whole.get(2..length)?;
                self.0 = whole.get(length..)?;
                return Some((kind, data));
            }
        }
        Some((kind, &[]))
    }
}
