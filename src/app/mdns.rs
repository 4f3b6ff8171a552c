//! Multicast DNS (RFC 6762): the messages of dns.rs on a port of their own.

use super::dns::{EVENTS, Variant, looks_whole, read_message};
use super::field::Field;
use super::output::Output;
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use crate::packet::Direction;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Mdns,
    probe,
    over: &[Transport::Udp],
    fields: &[
        Field::MdnsQueriesRrname,
        Field::MdnsAnswersRrname,
        Field::MdnsAuthoritiesRrname,
        Field::MdnsAdditionalsRrname,
        Field::MdnsResponseRrname,
    ],
    events: EVENTS,
};

const VARIANT: Variant = Variant {
    protocol: AppProtocol::Mdns,
    port: 5353,
    queries: &[Field::MdnsQueriesRrname],
    answers: &[Field::MdnsAnswersRrname],
    authorities: Field::MdnsAuthoritiesRrname,
    additionals: Field::MdnsAdditionalsRrname,
    response: Field::MdnsResponseRrname,
};

fn probe(probe: &Probe<'_>) -> Guess {
    // Who asks from another port is answered there, in a flow of its own (RFC 6762 section 6.7).
    let port = VARIANT.port;
    if probe.server_port == port || probe.client_port == port {
        looks_whole(probe.bytes)
    } else {
        Guess::No
    }
}

/// Its messages have no sides: all are to_server for rules.
#[derive(Debug, Default)]
pub struct Mdns;

impl Parse for Mdns {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        read_message(&VARIANT, input.bytes, Direction::ToServer, out);
        Ok(Taken::all(input.bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::Limits;
    use super::super::testing::{Place, run};
    use super::*;
    use crate::packet::Direction::ToServer;

    const PLACE: Place = Place {
        transport: Transport::Udp,
        server_port: 5353,
    };

    #[test]
    fn answers_are_seen_to_server() {
        // One answer: host.local is 10.0.0.1.
        let message = b"\0\0\x84\0\0\0\0\x01\0\0\0\0\
            \x04host\x05local\0\0\x01\x80\x01\0\0\0\x78\0\x04\x0a\0\0\x01";
        let (protocol, lines) = run(PLACE, &[(ToServer, message)]);
        assert_eq!(protocol, AppProtocol::Mdns);
        assert_eq!(
            lines,
            [
                "tx 0 ToServer mdns.answers.rrname \"host.local\"",
                "tx 0 ToServer mdns.response.rrname \"host.local\"",
            ]
        );
    }

    #[test]
    fn an_answer_to_another_port_is_told_by_its_own() {
        let limits = Limits::default();
        let bytes =
            b"\0\x07\x84\0\0\0\0\x01\0\0\0\0\x01a\0\0\x01\0\x01\0\0\0\x0a\0\x04\x0a\0\0\x01";
        let told = |client_port, server_port| {
            probe(&Probe {
                transport: Transport::Udp,
                direction: ToServer,
                bytes,
                client_port,
                server_port,
                limits: &limits,
            })
        };
        assert_eq!(told(5353, 40_000), Guess::Yes);
        assert_eq!(told(40_000, 5354), Guess::No);
    }
}
