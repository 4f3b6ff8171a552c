//! TFTP (RFC 1350): the requests on its port. A request is a transaction; what follows runs on
//! other ports and is not read.

use super::output::Output;
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Tftp,
    probe,
    over: &[Transport::Udp],
    fields: &[],
    events: &[],
};

const PORT: u16 = 69;

fn probe(probe: &Probe<'_>) -> Guess {
    match probe.server_port == PORT && is_request(probe.bytes) {
        true => Guess::Yes,
        false => Guess::No,
    }
}

/// Whether a datagram asks to read or write: opcode, name, mode (section 5).
fn is_request(bytes: &[u8]) -> bool {
    let [0, 1 | 2, rest @ ..] = bytes else {
        return false;
    };
    let mut texts = rest.split(|b| *b == 0);
    let (name, mode) = (texts.next(), texts.next());
    let known: [&[u8]; 3] = [b"netascii", b"octet", b"mail"];
    name.is_some_and(|name| !name.is_empty())
        && mode.is_some_and(|mode| known.iter().any(|k| mode.eq_ignore_ascii_case(k)))
}

/// Keeps nothing from one datagram to the next.
#[derive(Debug, Default)]
pub struct Tftp;

impl Parse for Tftp {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        if is_request(input.bytes) {
            let tx = out.open();
            out.complete(tx);
        }
        Ok(Taken::all(input.bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run};
    use super::*;
    use crate::packet::Direction::ToServer;

    #[test]
    fn requests_are_told_from_other_datagrams() {
        let place = Place {
            transport: Transport::Udp,
            server_port: PORT,
        };
        let read = b"\0\x01rfc1350.txt\0octet\0";
        assert_eq!(run(place, &[(ToServer, read)]).0, AppProtocol::Tftp);
        let other = b"\0\x01rfc1350.txt\0other\0";
        assert_ne!(run(place, &[(ToServer, other)]).0, AppProtocol::Tftp);
    }
}
