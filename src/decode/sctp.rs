//! SCTP (RFC 9260) with its chunks, and ESP (RFC 4303), of which only the header can be read.

use super::{Anomaly, Walk, be16, be32, checksum};
use crate::packet::flag;

/// Bytes of the common header.
const HEADER: usize = 12;
/// Chunks of a packet, and DATA chunks, beyond which an anomaly is noted.
const CHUNKS_EXPECTED_MAX: usize = 16;
/// Bytes of a DATA chunk before user data.
const DATA_HEADER: usize = 16;
/// Bytes of an ESP header.
const ESP_HEADER: usize = 8;

/// Chunk types.
pub mod chunk {
    /// User data.
    pub const DATA: u8 = 0;
    /// Start of an association.
    pub const INIT: u8 = 1;
    /// Answer to it.
    pub const INIT_ACK: u8 = 2;
    /// Abort.
    pub const ABORT: u8 = 6;
    /// Shutdown.
    pub const SHUTDOWN: u8 = 7;
}

/// Decodes the packet at `at..end`; gives its ports. The payload is the user data of the first
/// DATA chunk, which is what `content` inspects (all chunks: [`Sctp::chunks`]).
pub(super) fn decode(walk: &mut Walk, at: usize, end: usize) -> Option<(u16, u16)> {
    let packet = walk.bytes.get(at..end).unwrap_or(&[]);
    let Some(head) = packet.first_chunk::<HEADER>() else {
        walk.fail(Anomaly::SctpPacketTooSmall);
        return None;
    };
    let ports = (
        u16::from_be_bytes([head[0], head[1]]),
        u16::from_be_bytes([head[2], head[3]]),
    );
    let chunks = packet.get(HEADER..).unwrap_or(&[]);
    let data = match check(walk, head, chunks) {
        Ok(data) => data,
        Err(anomaly) => {
            walk.fail(anomaly);
            return None;
        }
    };
    if walk.decoder.checksums {
        let front = head.get(..8).unwrap_or(&[]);
        let told = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        if checksum::crc32c(&[front, &[0; 4], chunks]) != told {
            walk.note(Anomaly::SctpCsumInvalid);
        }
    }
    walk.context.set(flag::TRANSPORT);
    let (start, length) = data.unwrap_or((0, 0));
    walk.payload(at + HEADER + start, at + HEADER + start + length);
    Some(ports)
}

/// Checks the chunks; gives position and length of the first user data behind the header. At most
/// a quarter of the packet's bytes are looked at, one header a chunk.
fn check(
    walk: &mut Walk,
    head: &[u8; HEADER],
    chunks: &[u8],
) -> Result<Option<(usize, usize)>, Anomaly> {
    let tag_is_zero = head.get(4..8) == Some(&[0; 4]);
    let (mut count, mut data_count, mut has_init) = (0, 0, false);
    let mut first_data = None;
    let mut at = 0;
    while at < chunks.len() {
        let this = chunks.get(at..).unwrap_or(&[]);
        let Some(&[kind, _, high, low]) = this.first_chunk::<4>() else {
            return Err(Anomaly::SctpChunkTooSmall);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < 4 || length > this.len() {
            return Err(Anomaly::SctpChunkLenInvalid);
        }
        if count == CHUNKS_EXPECTED_MAX {
            walk.note(Anomaly::SctpTooManyChunks);
        }
        count += 1;
        match kind {
            chunk::INIT => {
                has_init = true;
                if !tag_is_zero {
                    walk.note(Anomaly::SctpInitWithNonZeroVtag);
                }
            }
            chunk::INIT_ACK => has_init = true,
            chunk::DATA => {
                if length >= DATA_HEADER {
                    if data_count == CHUNKS_EXPECTED_MAX {
                        walk.note(Anomaly::SctpTooManyDataChunks);
                    }
                    data_count += 1;
                    first_data = first_data.or(Some((at + DATA_HEADER, length - DATA_HEADER)));
                }
                if tag_is_zero {
                    walk.note(Anomaly::SctpDataWithZeroVtag);
                }
            }
            _ => {}
        }
        at += length.next_multiple_of(4);
    }
    if has_init && count > 1 {
        walk.note(Anomaly::SctpInitChunkBundled);
    }
    Ok(first_data)
}

/// Decodes the ESP header at `at..end`; gives the halves of its security parameter index as ports.
pub(super) fn decode_esp(walk: &mut Walk, at: usize, end: usize) -> Option<(u16, u16)> {
    let packet = walk.bytes.get(at..end).unwrap_or(&[]);
    if packet.len() < ESP_HEADER {
        walk.fail(Anomaly::EspPacketTooSmall);
        return None;
    }
    if !walk.enter() {
        return None;
    }
    walk.context.set(flag::TRANSPORT);
    walk.payload(at + ESP_HEADER, end);
    be16(packet, 0).zip(be16(packet, 2))
}

/// An SCTP packet that decode accepted (`flag::TRANSPORT`, protocol 132).
#[derive(Clone, Copy, Debug)]
pub struct Sctp<'a> {
    head: &'a [u8; HEADER],
    packet: &'a [u8],
}

impl<'a> Sctp<'a> {
    /// The packet from `l4` to `end` (where its IP packet ends); `None` if it is cut short.
    pub fn at(bytes: &'a [u8], l4: u16, end: usize) -> Option<Sctp<'a>> {
        let packet = bytes.get(usize::from(l4)..end)?;
        let head = packet.first_chunk()?;
        Some(Sctp { head, packet })
    }

    /// The common header's bytes.
    pub fn header(self) -> &'a [u8] {
        self.head
    }

    /// Common header and all chunks (`sctp.hdr`).
    pub fn whole(self) -> &'a [u8] {
        self.packet
    }

    /// Verification tag.
    pub fn verification_tag(self) -> u32 {
        be32(self.head, 4).unwrap_or(0)
    }

    /// The chunks in their order; an impossible length ends them.
    pub fn chunks(self) -> Chunks<'a> {
        Chunks(self.packet.get(HEADER..).unwrap_or(&[]))
    }
}

/// One chunk of an SCTP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk<'a> {
    /// Type ([`chunk`]).
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Its bytes, header included, padding not.
    pub bytes: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// User data of a DATA chunk, the rest of any other.
    pub fn data(self) -> &'a [u8] {
        let header = if self.kind == chunk::DATA {
            DATA_HEADER
        } else {
            4
        };
        self.bytes.get(header..).unwrap_or(&[])
    }
}

/// Chunks of an SCTP packet in their order.
#[derive(Clone, Debug)]
pub struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let this = self.0;
        self.0 = &[];
        let &[kind, flags, high, low] = this.first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let bytes = this.get(..length).filter(|_| length >= 4)?;
        self.0 = this.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Chunk { kind, flags, bytes })
    }
}

/// Security parameter index and sequence number of an ESP header.
pub fn esp(bytes: &[u8], l4: u16) -> Option<(u32, u32)> {
    let header = bytes.get(usize::from(l4)..)?;
    be32(header, 0).zip(be32(header, 4))
}
