//! SDP (RFC 8866, section 5): the description of a call that SIP carries, line by line. Lines
//! before the first `m=` tell of the session, those behind it of a medium.

use super::field::Field;
use super::lines::without_end;
use super::output::{Output, TxId};
use crate::packet::Direction;
use memchr::memchr;
use std::io::Write;
use std::net::IpAddr;

/// Lines of a description.
const LINES_MAX: usize = 512;

/// Reads a description, if the body is one.
pub(super) fn read(body: &[u8], tx: TxId, direction: Direction, out: &mut Output<'_>) {
    let mut rest = body;
    let mut in_media = false;
    for _ in 0..LINES_MAX {
        if rest.is_empty() {
            return;
        }
        let end = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        rest = after;
        let [kind @ b'a'..=b'z', b'=', value @ ..] = without_end(line) else {
            return;
        };
        in_media |= *kind == b'm';
        if let Some(field) = field_of(*kind, in_media) {
            give(field, *kind, value, tx, direction, out);
        }
    }
}

fn field_of(kind: u8, in_media: bool) -> Option<Field> {
    Some(match (kind, in_media) {
        (b'o', false) => Field::SdpOrigin,
        (b's', false) => Field::SdpSessionName,
        (b'i', false) => Field::SdpSessionInfo,
        (b'u', false) => Field::SdpUri,
        (b'e', false) => Field::SdpEmail,
        (b'p', false) => Field::SdpPhoneNumber,
        (b'c', false) => Field::SdpConnectionData,
        (b'b', false) => Field::SdpBandwidth,
        (b't', false) => Field::SdpTime,
        (b'r', false) => Field::SdpRepeatTime,
        (b'z', false) => Field::SdpTimezone,
        (b'k', false) => Field::SdpEncryptionKey,
        (b'a', false) => Field::SdpAttribute,
        (b'b', true) => Field::SdpMediaBandwidth,
        (b'a', true) => Field::SdpMediaAttribute,
        (b'm', true) => Field::SdpMediaMedia,
        (b'i', true) => Field::SdpMediaMediaInfo,
        (b'c', true) => Field::SdpMediaConnectionData,
        (b'k', true) => Field::SdpMediaEncryptionKey,
        _ => return None,
    })
}

fn give(
    field: Field,
    kind: u8,
    value: &[u8],
    tx: TxId,
    direction: Direction,
    out: &mut Output<'_>,
) {
    if !out.wants(field) || (value.is_empty() && matches!(kind, b's' | b'o')) {
        return;
    }
    if !matches!(kind, b'o' | b'c' | b't' | b'r' | b'z' | b'm') {
        out.field(tx, field, direction, value);
        return;
    }
    // Words with one blank between them.
    out.shared.scratch.clear();
    let words = value.split(|b| matches!(b, b' ' | b'\t'));
    for (place, word) in words.filter(|word| !word.is_empty()).enumerate() {
        if place > 0 {
            out.shared.scratch.push(b' ');
        }
        if kind == b'c' && place == 2 {
            push_address(word, &mut out.shared.scratch);
        } else {
            out.shared.scratch.extend_from_slice(word);
        }
    }
    out.field_of_scratch(tx, field, direction);
}

/// An address in its usual form, with what follows its slash.
fn push_address(word: &[u8], to: &mut Vec<u8>) {
    let slash = memchr(b'/', word).unwrap_or(word.len());
    let (address, rest) = word.split_at_checked(slash).unwrap_or((word, &[]));
    let known = std::str::from_utf8(address).ok();
    match known.and_then(|text| text.parse::<IpAddr>().ok()) {
        // Writing to a vector with room does not fail.
        Some(address) => write!(to, "{address}").unwrap_or_default(),
        None => to.extend_from_slice(address),
    }
    to.extend_from_slice(rest);
}
