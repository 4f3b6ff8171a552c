//! LLMNR (RFC 4795): the messages of dns.rs on a port of their own.

use super::dns::{EVENTS, Variant, looks_whole, read_message};
use super::field::Field;
use super::output::Output;
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use crate::packet::Direction;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Llmnr,
    probe,
    over: &[Transport::Udp],
    fields: &[
        Field::LlmnrQueriesRrname,
        Field::LlmnrAnswersRrname,
        Field::LlmnrAuthoritiesRrname,
        Field::LlmnrAdditionalsRrname,
        Field::LlmnrResponseRrname,
    ],
    events: EVENTS,
};

const VARIANT: Variant = Variant {
    protocol: AppProtocol::Llmnr,
    port: 5355,
    queries: &[Field::LlmnrQueriesRrname],
    answers: &[Field::LlmnrAnswersRrname],
    authorities: Field::LlmnrAuthoritiesRrname,
    additionals: Field::LlmnrAdditionalsRrname,
    response: Field::LlmnrResponseRrname,
};

fn probe(probe: &Probe<'_>) -> Guess {
    // Who asks many is answered from another host, in a flow of its own (RFC 4795 section 2.1).
    let port = VARIANT.port;
    if probe.server_port == port || (probe.client_port == port && is_response(probe.bytes)) {
        looks_whole(probe.bytes)
    } else {
        Guess::No
    }
}

/// The header's first flag.
fn is_response(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

/// Keeps nothing from one datagram to the next.
#[derive(Debug, Default)]
pub struct Llmnr;

impl Parse for Llmnr {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let direction = match is_response(input.bytes) {
            true => Direction::ToClient,
            false => Direction::ToServer,
        };
        read_message(&VARIANT, input.bytes, direction, out);
        Ok(Taken::all(input.bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run};
    use super::*;
    use crate::packet::Direction::ToServer;

    const PLACE: Place = Place {
        transport: Transport::Udp,
        server_port: 5355,
    };

    #[test]
    fn a_question_is_a_transaction() {
        let message = b"\0\x01\0\0\0\x01\0\0\0\0\0\0\x04wpad\0\0\x01\0\x01";
        let (protocol, lines) = run(PLACE, &[(ToServer, message)]);
        assert_eq!(protocol, AppProtocol::Llmnr);
        assert_eq!(lines, ["tx 0 ToServer llmnr.queries.rrname \"wpad\""]);
    }
}
