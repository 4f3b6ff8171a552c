//! TFTP (RFC 1350): the requests on its port. A request is a transaction; what follows runs on
//! other ports and is not read.

use super::field::Field;
use super::output::{Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use crate::packet::Direction;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Tftp,
    probe,
    over: &[Transport::Udp],
    fields: &[],
    events: &[],
};

const PORT: u16 = 69;
/// Bytes of a name that are told.
const TEXT_MAX: usize = 1024;

/// Who speaks to the port says the opcode (section 5), whether the rest reads or not: what is wrong
/// with a request is what rules look for.
fn probe(probe: &Probe<'_>) -> Guess {
    match (probe.server_port, probe.bytes) {
        (PORT, [0, _, _, _, ..]) => Guess::Yes,
        _ => Guess::No,
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
            tell(input, tx, out);
            out.complete(tx);
        } else if input.direction == Direction::ToServer {
            out.broken();
        }
        Ok(Taken::all(input.bytes.len()))
    }
}

/// Tells events what is asked for.
fn tell(input: &Input<'_>, tx: TxId, out: &mut Output<'_>) {
    let direction = input.direction;
    let [_, opcode, rest @ ..] = input.bytes else {
        return;
    };
    out.number_for_events(tx, Field::TftpPacket, direction, u64::from(*opcode));
    let texts = rest.split(|byte| *byte == 0);
    for (field, text) in [Field::TftpFile, Field::TftpMode].into_iter().zip(texts) {
        out.shared.scratch.clear();
        let text = text.get(..TEXT_MAX).unwrap_or(text);
        out.shared.scratch.extend_from_slice(text);
        if field == Field::TftpMode {
            out.shared.scratch.make_ascii_lowercase();
        }
        out.scratch_for_events(tx, field, direction);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, for_events, run};
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
        let write = b"\0\x02a\0OCTET\0";
        let told = [
            "tx 0 ToServer -tftp.packet 2",
            "tx 0 ToServer -tftp.file \"a\"",
            "tx 0 ToServer -tftp.mode \"octet\"",
        ];
        assert_eq!(for_events(place, &[(ToServer, write)]), told);
        // A mode that nobody knows is no transaction, and TFTP all the same.
        let other = b"\0\x01rfc1350.txt\0other\0";
        assert_eq!(
            run(place, &[(ToServer, other)]),
            (AppProtocol::Tftp, vec![])
        );
        assert_ne!(
            run(place, &[(ToServer, b"\x01\0a\0octet\0")]).0,
            AppProtocol::Tftp
        );
    }
}
