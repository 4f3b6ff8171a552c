//! A TCP segment as the tracker reads it: numbers, flags and the four options that matter to a
//! middlebox. Checksums, malformed options and their anomalies are decode's. RFC 9293 section 3.1,
//! RFC 7323 (scale, timestamps), RFC 7413 (Fast Open), RFC 2385 and 5925 (signatures).

use super::record::SeqNum;
use crate::packet::Context;

/// No more data from the sender.
pub const FIN: u8 = 1;
/// Synchronise sequence numbers.
pub const SYN: u8 = 2;
/// Reset the connection.
pub const RST: u8 = 4;
/// Push.
pub const PSH: u8 = 8;
/// `ack` is valid.
pub const ACK: u8 = 16;
/// `urgent` is valid.
pub const URG: u8 = 32;

/// Largest shift of a window (RFC 7323 section 2.3).
pub const SCALE_MAX: u8 = 14;
const HEADER_LENGTH: usize = 20;
/// Position of the flags in the header.
const FLAGS: usize = 13;
/// Options fit forty bytes, and each takes one at least.
const OPTIONS_MAX: usize = 40;

mod kind {
    pub const END: u8 = 0;
    pub const NOP: u8 = 1;
    pub const SCALE: u8 = 3;
    pub const TIMESTAMPS: u8 = 8;
    pub const MD5: u8 = 19;
    pub const AUTHENTICATION: u8 = 29;
    pub const FAST_OPEN: u8 = 34;
    pub const EXPERIMENT: u8 = 254;
    /// The experimental number under which Fast Open was tried (RFC 7413 section 4.1.1).
    pub const FAST_OPEN_MAGIC: [u8; 2] = [0xf9, 0x89];
}

/// What the tracker needs of a segment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Segment {
    /// Sequence number of its first byte (of the SYN, if it has one).
    pub seq: SeqNum,
    /// Acknowledgement number.
    pub ack: SeqNum,
    /// Window, unscaled.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Flags.
    pub flags: u8,
    /// Payload bytes.
    pub length: u32,
    /// Timestamp value and echo.
    pub timestamp: Option<(u32, u32)>,
    /// Window scale.
    pub scale: Option<u8>,
    /// It has a TCP MD5 or authentication option.
    pub is_signed: bool,
    /// It has a Fast Open option.
    pub has_fast_open: bool,
}

#[inline(always)]
fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..at + 2)?
        .try_into()
        .ok()
        .map(u16::from_be_bytes)
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)?
        .try_into()
        .ok()
        .map(u32::from_be_bytes)
}

/// Whether the segment of a context whose transport header is TCP is a SYN, without the rest of it.
#[inline]
pub fn has_syn(context: &Context, bytes: &[u8]) -> bool {
    let flags = bytes.get(usize::from(context.l4) + FLAGS);
    flags.is_some_and(|flags| flags & SYN != 0)
}

impl Segment {
    /// Reads the segment of a context whose transport header is TCP; `bytes` are its span's.
    /// `None` if the header does not lie in the bytes.
    pub fn read(context: &Context, bytes: &[u8]) -> Option<Segment> {
        let header = bytes.get(usize::from(context.l4)..usize::from(context.payload))?;
        let mut segment = Segment {
            seq: SeqNum(word(header, 4)?),
            ack: SeqNum(word(header, 8)?),
            flags: *header.get(FLAGS)?,
            window: half(header, 14)?,
            urgent: half(header, 18)?,
            length: u32::from(context.payload_length),
            ..Segment::default()
        };
        let options = header.get(HEADER_LENGTH..)?;
        match options {
            [] => {}
            // What nearly every segment of a connection with timestamps has (RFC 7323 appendix A).
            [kind::NOP, kind::NOP, kind::TIMESTAMPS, 10, body @ ..] if body.len() == 8 => {
                segment.timestamp = word(body, 0).zip(word(body, 4));
            }
            options => segment.read_options(options),
        }
        Some(segment)
    }

    /// As [`Segment::read`], for a plain segment: ACK and perhaps PSH, and no signature. `None` for
    /// all others.
    #[inline(always)]
    pub fn read_plain(context: &Context, bytes: &[u8]) -> Option<Segment> {
        let header = bytes.get(usize::from(context.l4)..usize::from(context.payload))?;
        let (fixed, options) = header.split_first_chunk::<HEADER_LENGTH>()?;
        let flags = fixed[FLAGS];
        if flags & (FIN | SYN | RST | ACK | URG) != ACK {
            return None;
        }
        let timestamp = match options {
            [] => None,
            [kind::NOP, kind::NOP, kind::TIMESTAMPS, 10, body @ ..] if body.len() == 8 => {
                word(body, 0).zip(word(body, 4))
            }
            options => {
                let mut read = Segment::default();
                read.read_options(options);
                if read.is_signed {
                    return None;
                }
                read.timestamp
            }
        };
        Some(Segment {
            seq: SeqNum(word(fixed, 4)?),
            ack: SeqNum(word(fixed, 8)?),
            window: half(fixed, 14)?,
            urgent: half(fixed, 18)?,
            flags,
            length: u32::from(context.payload_length),
            timestamp,
            ..Segment::default()
        })
    }

    fn read_options(&mut self, mut options: &[u8]) {
        for _ in 0..OPTIONS_MAX {
            let (kind, rest) = match options {
                [] | [kind::END, ..] => return,
                [kind::NOP, rest @ ..] => {
                    options = rest;
                    continue;
                }
                [kind, rest @ ..] => (*kind, rest),
            };
            let Some(length) = rest.first().map(|l| usize::from(*l)).filter(|l| *l >= 2) else {
                return;
            };
            let Some(body) = rest.get(1..length - 1) else {
                return;
            };
            self.read_option(kind, body);
            options = rest.get(length - 1..).unwrap_or(&[]);
        }
    }

    fn read_option(&mut self, kind: u8, body: &[u8]) {
        match (kind, body) {
            (kind::SCALE, [shift]) => self.scale = Some((*shift).min(SCALE_MAX)),
            (kind::TIMESTAMPS, body) if body.len() == 8 => {
                self.timestamp = word(body, 0).zip(word(body, 4));
            }
            (kind::MD5, body) if body.len() == 16 => self.is_signed = true,
            (kind::AUTHENTICATION, body) if body.len() >= 2 => self.is_signed = true,
            (kind::FAST_OPEN, _) => self.has_fast_open = true,
            (kind::EXPERIMENT, body) if body.starts_with(&kind::FAST_OPEN_MAGIC) => {
                self.has_fast_open = true;
            }
            _ => {}
        }
    }

    /// Whether all of `flags` are set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// SYN without ACK.
    pub fn is_syn(&self) -> bool {
        self.flags & (SYN | ACK) == SYN
    }

    /// SYN with ACK.
    pub fn is_syn_ack(&self) -> bool {
        self.has(SYN | ACK)
    }

    /// Sequence number of the first payload byte.
    pub fn data_seq(&self) -> SeqNum {
        self.seq.plus(u32::from(self.has(SYN)))
    }

    /// Sequence number after the last payload byte.
    pub fn end(&self) -> SeqNum {
        self.data_seq().plus(self.length)
    }

    /// No flag of the handshake or of the end, and ACK: an ordinary segment.
    pub fn is_ordinary(&self) -> bool {
        self.flags & (SYN | FIN | RST | ACK) == ACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &[u8], length: u16) -> Option<Segment> {
        let context = Context {
            payload: header.len() as u16,
            payload_length: length,
            ..Context::default()
        };
        Segment::read(&context, header)
    }

    #[test]
    fn numbers_flags_and_options_are_read() {
        let mut header = vec![
            0, 80, 4, 0, 0, 0, 0, 9, 0, 0, 0, 7, 0x90, 0x12, 1, 2, 0, 0, 0, 5,
        ];
        header.extend([1, 3, 3, 15, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 34, 2]);
        let segment = read(&header, 3).expect("whole header");
        assert_eq!((segment.seq, segment.ack), (SeqNum(9), SeqNum(7)));
        assert_eq!((segment.window, segment.urgent), (0x102, 5));
        assert!(segment.is_syn_ack() && segment.has_fast_open && !segment.is_signed);
        assert_eq!(segment.scale, Some(14));
        assert_eq!(segment.timestamp, Some((1, 2)));
        assert_eq!(
            (segment.data_seq(), segment.end()),
            (SeqNum(10), SeqNum(13))
        );
    }

    #[test]
    fn broken_options_end_the_walk_and_short_headers_are_refused() {
        assert!(read(&[0; 19], 0).is_none());
        for tail in [&[3u8, 0][..], &[3, 1], &[8, 10, 1], &[19, 18, 0], &[255]] {
            let mut header = vec![0u8; 20];
            header.extend(tail);
            let segment = read(&header, 0).expect("the fixed part is whole");
            assert_eq!(
                (segment.scale, segment.timestamp, segment.is_signed),
                (None, None, false)
            );
        }
    }
}
