//! POP3 (RFC 1939) on its port: told, and followed as far as STLS (RFC 2595 section 4), behind
//! which TLS is spoken.

use super::lines::{Discard, starts_with, take_line, without_end};
use super::output::Output;
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use crate::packet::Direction::{ToClient, ToServer};

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Pop3,
    probe,
    over: &[Transport::Tcp],
    fields: &[],
    events: &[],
};

const PORT: u16 = 110;
/// Bytes of a line that are looked at.
const LINE_MAX: usize = 512;
/// What a client may begin with.
const COMMANDS: [&[u8]; 6] = [b"user ", b"apop ", b"auth", b"capa", b"stls", b"quit"];

fn probe(probe: &Probe<'_>) -> Guess {
    if probe.server_port != PORT {
        return Guess::No;
    }
    let words: &[&[u8]] = match probe.direction {
        ToServer => &COMMANDS,
        ToClient => &[b"+ok", b"-err"],
    };
    if words.iter().any(|word| starts_with(probe.bytes, word)) {
        return Guess::Yes;
    }
    match words.iter().any(|word| starts_with(word, probe.bytes)) {
        true => Guess::More,
        false => Guess::No,
    }
}

/// Follows commands up to TLS.
#[derive(Debug, Default)]
pub struct Pop3 {
    /// The client has asked for TLS.
    asked: bool,
    discard: Discard,
}

impl Parse for Pop3 {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let way = input.direction.index();
        if input.gap > 0 {
            self.discard.begin(way);
        }
        let mut at = 0;
        // Each round takes a byte at least, or leaves.
        while let Some(rest) = input.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if let Some(passed) = self.discard.take(way, rest) {
                at += passed;
                continue;
            }
            let Some(line) = take_line(rest, LINE_MAX) else {
                break;
            };
            at += line.len();
            if !line.ends_with(b"\n") {
                self.discard.begin(way);
            }
            if input.direction == ToServer {
                self.asked = without_end(line).eq_ignore_ascii_case(b"stls");
            } else if std::mem::take(&mut self.asked) && starts_with(line, b"+ok") {
                out.change_protocol(AppProtocol::Tls);
                break;
            }
        }
        Ok(Taken::all(at))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, same_for_every_cut};
    use super::*;
    use crate::packet::Direction;

    #[test]
    fn tls_follows_stls() {
        let place = Place {
            transport: Transport::Tcp,
            server_port: PORT,
        };
        let talk: &[(Direction, &[u8])] = &[
            (ToClient, b"+OK ready\r\n"),
            (ToServer, b"CAPA\r\n"),
            (ToClient, b"+OK\r\nSTLS\r\n.\r\n"),
        ];
        assert_eq!(same_for_every_cut(place, talk).0, AppProtocol::Pop3);
        let more: [(Direction, &[u8]); 2] = [(ToServer, b"STLS\r\n"), (ToClient, b"+OK go\r\n")];
        let talk = [talk, &more].concat();
        assert_eq!(same_for_every_cut(place, &talk).0, AppProtocol::Tls);
    }
}
