//! IMAP (RFC 9051): its greeting, or a client that asks for capabilities, tells it. It is not read.

use super::lines::starts_with;
use super::output::Output;
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use crate::packet::Direction::{ToClient, ToServer};
use memchr::memchr;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Imap,
    probe,
    over: &[Transport::Tcp],
    fields: &[],
    events: &[],
};

/// What a server may begin with.
const GREETINGS: [&[u8]; 7] = [
    b"* ok ",
    b"* no ",
    b"* bad ",
    b"* list ",
    b"* esearch ",
    b"* status ",
    b"* flags ",
];
/// Bytes of the tag before a command.
const TAG_MAX: usize = 6;

fn probe(probe: &Probe<'_>) -> Guess {
    let bytes = probe.bytes;
    match probe.direction {
        ToClient => {
            if GREETINGS.iter().any(|word| starts_with(bytes, word)) {
                return Guess::Yes;
            }
            match GREETINGS.iter().any(|word| starts_with(word, bytes)) {
                true => Guess::More,
                false => Guess::No,
            }
        }
        ToServer => {
            let word = b"capability";
            let seen = bytes.get(..bytes.len().min(TAG_MAX + 1)).unwrap_or(bytes);
            let Some(blank) = memchr(b' ', seen) else {
                let tag = seen.len() <= TAG_MAX && seen.iter().all(u8::is_ascii_alphanumeric);
                return if tag { Guess::More } else { Guess::No };
            };
            let command = bytes.get(blank + 1..).unwrap_or(&[]);
            if starts_with(command, word) {
                Guess::Yes
            } else if starts_with(word, command) {
                Guess::More
            } else {
                Guess::No
            }
        }
    }
}

/// Reads nothing.
#[derive(Debug, Default)]
pub struct Imap;

impl Parse for Imap {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        out.done();
        Ok(Taken::all(input.bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, same_for_every_cut};
    use super::*;
    use crate::packet::Direction;

    const PLACE: Place = Place {
        transport: Transport::Tcp,
        server_port: 143,
    };

    #[test]
    fn either_side_tells() {
        let told = |talk: &[(Direction, &[u8])]| same_for_every_cut(PLACE, talk).0;
        assert_eq!(told(&[(ToClient, b"* OK ready\r\n")]), AppProtocol::Imap);
        let asked: (Direction, &[u8]) = (ToServer, b"a001 CAPABILITY\r\n");
        assert_eq!(told(&[asked]), AppProtocol::Imap);
        assert_ne!(told(&[(ToClient, b"* Hi\r\n")]), AppProtocol::Imap);
    }
}
