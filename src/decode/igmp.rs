//! IGMP (RFC 3376 and its elders, RFC 3488): lengths are checked; it has no flow.

use super::{Anomaly, Walk, be16, checksum};
use crate::packet::flag;

/// Bytes that all versions have.
const HEADER: usize = 8;
/// Bytes of a version 3 query, and of one group record, before their sources.
const QUERY: usize = 12;
const RECORD: usize = 8;

/// Decodes the message at `at..end`.
pub(super) fn decode(walk: &mut Walk, at: usize, end: usize) -> Option<(u16, u16)> {
    let message = walk.bytes.get(at..end).unwrap_or(&[]);
    let Some(&kind) = message.first().filter(|_| message.len() >= HEADER) else {
        walk.invalid(Anomaly::IgmpPacketTooSmall);
        return None;
    };
    let header = match kind {
        0x11 if message.len() >= QUERY => {
            let sources = usize::from(be16(message, 10).unwrap_or(0));
            let length = QUERY + sources * 4;
            if length > message.len() {
                Err(Anomaly::IgmpV3PacketTooSmall)
            } else {
                Ok(length)
            }
        }
        0x22 => records(message),
        _ => Ok(HEADER),
    };
    match header {
        Ok(header) => {
            if walk.decoder.checksums && !checksum::is_right(message) {
                walk.context.set(flag::CHECKSUM_BAD);
            }
            walk.context.set(flag::TRANSPORT);
            walk.payload(at + header, end);
        }
        Err(anomaly) => walk.invalid(anomaly),
    }
    None
}

/// Length of a version 3 report; each record consumes eight bytes at least.
fn records(message: &[u8]) -> Result<usize, Anomaly> {
    let count = be16(message, 6).unwrap_or(0);
    let mut length = HEADER;
    for _ in 0..count {
        let record = message.get(length..).unwrap_or(&[]);
        let Some(&[_, auxiliary, high, low, ..]) = record.first_chunk::<RECORD>() else {
            return Err(Anomaly::IgmpV3PacketTooSmall);
        };
        let sources = usize::from(u16::from_be_bytes([high, low]));
        length += RECORD + (usize::from(auxiliary) + sources) * 4;
        if length > message.len() {
            return Err(Anomaly::IgmpMalformed);
        }
    }
    Ok(length)
}
