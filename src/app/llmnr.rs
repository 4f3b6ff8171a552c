//! LLMNR (RFC 4795): the messages of dns.rs on a port of their own.

use super::dns::{EVENTS, Variant, looks_whole, read_message};
use super::field::Field;
use super::output::Output;
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};

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
    if probe.server_port == VARIANT.port {
        looks_whole(probe.bytes)
    } else {
        Guess::No
    }
}

/// Keeps nothing from one datagram to the next.
#[derive(Debug, Default)]
pub struct Llmnr;

impl Parse for Llmnr {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        read_message(&VARIANT, input.bytes, input.direction, out);
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
