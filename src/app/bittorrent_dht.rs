//! BitTorrent's distributed hash table (BEP 5): messages of it are told and counted as
//! transactions; their contents are not read.

use super::output::{AppEvent, Output};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::BittorrentDht,
    probe,
    over: &[Transport::Udp],
    fields: &[],
    events: &["malformed_packet"],
};

const MALFORMED: AppEvent = AppEvent::of(AppProtocol::BittorrentDht, 0);
/// What a query begins with: a dictionary with the arguments, the first being the node's name.
const QUERY: &[u8] = b"d1:ad2:id20:";

fn probe(probe: &Probe<'_>) -> Guess {
    match probe.bytes.starts_with(QUERY) {
        true => Guess::Yes,
        false => Guess::No,
    }
}

/// Keeps nothing from one datagram to the next.
#[derive(Debug, Default)]
pub struct BittorrentDht;

impl Parse for BittorrentDht {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        if input.bytes.is_empty() {
            return Ok(Taken::all(0));
        }
        let tx = out.open_one_way(input.direction);
        // A dictionary ends with `e` (BEP 3).
        if !input.bytes.starts_with(b"d1:") || !input.bytes.ends_with(b"e") {
            out.event(tx, input.direction, MALFORMED);
        }
        out.complete(tx);
        Ok(Taken::all(input.bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run};
    use super::*;
    use crate::packet::Direction::{ToClient, ToServer};

    #[test]
    fn a_query_tells_the_protocol() {
        let place = Place {
            transport: Transport::Udp,
            server_port: 6881,
        };
        let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
        let (protocol, lines) = run(place, &[(ToServer, ping), (ToClient, b"d1:rx")]);
        assert_eq!(protocol, AppProtocol::BittorrentDht);
        let event =
            "tx 1 ToClient app-layer-event Some((\"bittorrent-dht\", \"malformed_packet\"))";
        assert_eq!(lines, [event]);
    }
}
