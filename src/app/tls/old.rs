//! SSL 2 (the draft of 1995, RFC 6101 appendix E): its record head of two or three bytes, the
//! hellos, and where its encryption begins.

use super::{Output, SSL_2, Tls, event, state};
use crate::app::field::{Field, Progress};
use crate::app::protocol::{Broken, Guess, Probe, Taken};
use crate::packet::Direction;

/// The port where a hello that offers SSL 3 in the old form is taken for one.
const PORT: u16 = 443;
/// Bytes of a client's hello before its lists.
const HELLO: usize = 6;

/// Types of messages.
mod kind {
    pub const ERROR: u8 = 0;
    pub const CLIENT_HELLO: u8 = 1;
    pub const CLIENT_MASTER_KEY: u8 = 2;
    pub const CLIENT_FINISHED: u8 = 3;
    pub const SERVER_HELLO: u8 = 4;
    pub const SERVER_VERIFY: u8 = 5;
    pub const SERVER_FINISHED: u8 = 6;
    pub const REQUEST_CERTIFICATE: u8 = 7;
    pub const CLIENT_CERTIFICATE: u8 = 8;
}

/// What has been seen of an SSL 2 flow.
#[derive(Debug, Default)]
pub struct Old {
    client_hello: bool,
    server_hello: bool,
    no_session: bool,
    master_key: bool,
}

/// Whether the first bytes are an old hello.
pub fn probe(probe: &Probe<'_>) -> Guess {
    if probe.direction != Direction::ToServer {
        return Guess::No;
    }
    match probe.bytes {
        [first, ..] if first & 0x80 == 0 => Guess::No,
        [_, _, kind, ..] if *kind != kind::CLIENT_HELLO => Guess::No,
        [_, _, _, 0, 2, ..] => Guess::Yes,
        [_, _, _, 3, 0..=4, ..] if probe.server_port == PORT => Guess::Yes,
        [_, _, _, _, _, ..] => Guess::No,
        _ => Guess::More,
    }
}

/// Whether a record begins like an old one: no type of SSL 3 has one of the upper bits set. A head of
/// three bytes, which could as well be text, is `padded`; hellos have none.
pub fn is_head(bytes: &[u8], padded: bool) -> bool {
    let bits = if padded { 0xc0 } else { 0x80 };
    bytes.first().is_some_and(|first| first & bits != 0)
}

impl Tls {
    /// One old record at the start of `bytes`; a count of 0 says that more are needed.
    pub(super) fn old_record(
        &mut self,
        bytes: &[u8],
        direction: Direction,
        out: &mut Output<'_>,
    ) -> Result<Taken, Broken> {
        let [first, second, ..] = bytes else {
            return Ok(Taken::until(0, 2));
        };
        let (head, mask) = if first & 0x80 != 0 {
            (2, 0x7f)
        } else {
            (3, 0x3f)
        };
        let length = usize::from(first & mask) << 8 | usize::from(*second);
        if length == 0 {
            self.event(out, direction, event::SSL2_HEADER);
            self.event(out, direction, event::SSL_RECORD);
            return Err(Broken);
        }
        let Some(body) = bytes.get(head..head + length) else {
            return Ok(Taken::until(0, head + length));
        };
        let end = head + length;
        for (field, range) in [
            (Field::FrameTlsSsl2Hdr, 0..head + 1),
            (Field::FrameTlsSsl2Pdu, 0..end),
        ] {
            out.frame(field, direction, bytes.get(range).unwrap_or(&[]));
        }
        self.side(direction).version = SSL_2;
        if let Some((kind, body)) = body.split_first() {
            self.old_message(*kind, body, direction, out)?;
        }
        self.tell_version(direction, out);
        Ok(Taken::all(head + length))
    }

    fn old_message(
        &mut self,
        kind: u8,
        body: &[u8],
        direction: Direction,
        out: &mut Output<'_>,
    ) -> Result<(), Broken> {
        let state = match kind {
            kind::ERROR => {
                self.event(out, direction, event::ERROR_MESSAGE);
                return Ok(());
            }
            kind::CLIENT_HELLO => {
                let Some(hello) = body.get(..HELLO) else {
                    self.event(out, direction, event::SSL_RECORD);
                    return Err(Broken);
                };
                self.side(direction).version = u16::from(hello[0]) << 8 | u16::from(hello[1]);
                self.old.client_hello = true;
                self.old.no_session = hello[4..] == [0, 0];
                out.progress(self.tx, direction, Progress::Head);
                state::CLIENT_HELLO
            }
            kind::SERVER_HELLO => {
                self.old.server_hello = true;
                out.progress(self.tx, direction, Progress::Head);
                state::SERVER_HELLO
            }
            kind::CLIENT_MASTER_KEY => {
                self.old.master_key = true;
                return Ok(());
            }
            kind::CLIENT_CERTIFICATE if direction == Direction::ToServer => state::CLIENT_KEYX,
            kind::CLIENT_FINISHED
            | kind::SERVER_VERIFY
            | kind::SERVER_FINISHED
            | kind::REQUEST_CERTIFICATE
            | kind::CLIENT_CERTIFICATE => 0,
            _ => return Ok(()),
        };
        if !matches!(kind, kind::CLIENT_HELLO | kind::SERVER_HELLO) {
            self.old_encryption(direction, out);
        }
        if state != 0 {
            out.number(self.tx, Field::SslState, direction, state);
        }
        Ok(())
    }

    /// Both hellos are there: from here on this side is encrypted.
    fn old_encryption(&mut self, direction: Direction, out: &mut Output<'_>) {
        let old = &self.old;
        let begun = direction == Direction::ToClient || old.no_session || old.master_key;
        if old.client_hello && old.server_hello && begun {
            self.data(direction, out);
        }
    }
}
