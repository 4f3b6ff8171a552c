//! DNS over HTTP/2 (RFC 8484): the question in the path of a GET, messages in bodies. Their fields
//! are those of DNS, in the transaction of the stream.

use super::fields::first;
use super::{Output, TxId, event};
use crate::app::dns;
use crate::app::field::Field;
use crate::app::output::SCRATCH_SIZE;
use crate::app::protocol::AppProtocol;
use crate::app::reader::push;
use crate::packet::Direction;

/// Longest message.
pub const MESSAGE_MAX: usize = 0xffff;
/// The type of messages.
const TYPE: &[u8] = b"application/dns-message";
/// What a question stands behind.
const PATH: &[u8] = b"/dns-query?dns=";

/// Whether the body is a message.
pub fn is_message(list: &[u8]) -> bool {
    first(list, "content-type") == Some(TYPE)
}

/// Writes the question of a path, if there is one.
pub fn question(direction: Direction, list: &[u8], out: &mut Vec<u8>) -> bool {
    if direction != Direction::ToServer || first(list, "accept") != Some(TYPE) {
        return false;
    }
    let path = first(list, ":path").and_then(|path| path.strip_prefix(PATH));
    path.is_some_and(|text| decode(text, out))
}

/// Reads the message that a body was.
pub fn message(tx: TxId, direction: Direction, out: &mut Output<'_>) {
    let mut message = std::mem::take(&mut out.shared.scratch2);
    message.clear();
    let bytes = out.value(tx, Field::DohMessage, direction);
    message.extend_from_slice(bytes.unwrap_or(&[]));
    read(tx, direction, &message, out);
    out.shared.scratch2 = message;
}

/// Reads a message; the first buffer of the lane is where its names are made.
pub fn read(tx: TxId, direction: Direction, message: &[u8], out: &mut Output<'_>) {
    if dns::read_carried(message, direction, tx, out) {
        out.rename(tx, AppProtocol::Doh2);
    }
}

/// The body is longer than a message can be.
pub fn too_long(tx: TxId, direction: Direction, out: &mut Output<'_>) {
    let place = match direction {
        Direction::ToServer => event::DNS_REQUEST_LONG,
        Direction::ToClient => event::DNS_RESPONSE_LONG,
    };
    super::event(tx, direction, place, out);
}

/// Base64 of either alphabet without padding (RFC 4648 4 and 5); false if it is none.
fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let (mut bits, mut count) = (0u32, 0);
    for byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            if !push(out, &[(bits >> count) as u8], SCRATCH_SIZE) {
                return false;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_both_alphabets() {
        let mut out = Vec::new();
        assert!(decode(b"AAABAAAB-_+/", &mut out));
        assert_eq!(out, b"\0\0\x01\0\0\x01\xfb\xff\xbf");
        assert!(!decode(b"AA==", &mut out));
    }
}
