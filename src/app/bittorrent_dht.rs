//! BitTorrent's distributed hash table (BEP 5, BEP 32): a transaction for each message. What makes one
//! malformed stands here; what it says, events read from the message itself.

use super::bencode::{self, Value};
use super::output::{AppEvent, Output};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::{Field, Progress};

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
/// What messages of a flow begin with; others are not looked at.
const STARTS: [&[u8]; 4] = [b"d1:ad", b"d1:rd", b"d2:ip", b"d1:el"];

/// Bytes of a node of IPv4, of IPv6 in a list: its name, address and port.
pub const NODES: [usize; 2] = [26, 38];
/// Bytes from which on a peer is one of IPv6.
pub const PEER_V6: usize = 18;
const PEER_V4: usize = 6;

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
        let (bytes, direction) = (input.bytes, input.direction);
        let begins = STARTS.iter().any(|start| bytes.starts_with(start));
        if bytes.len() > STARTS[0].len() && begins {
            let tx = out.open_one_way(direction);
            match message(bytes) {
                Some(_) if !out.wants(Field::BittorrentDhtMessage) => {}
                Some(_) => out.field(tx, Field::BittorrentDhtMessage, direction, bytes),
                None => {
                    out.event(tx, direction, MALFORMED);
                    out.broken();
                }
            }
            out.progress(tx, direction, Progress::Head);
            out.complete(tx);
        }
        Ok(Taken::all(bytes.len()))
    }
}

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A query.
    Query,
    /// The answer of one.
    Response,
    /// An error.
    Error,
}

/// A message, and what it is; `None`: it is malformed.
pub fn message(bytes: &[u8]) -> Option<(Value<'_>, Kind)> {
    let value = bencode::read(bytes)?;
    let Value::Dictionary(_) = value else {
        return None;
    };
    for (key, value) in value.pairs() {
        match key {
            b"y" | b"q" => std::str::from_utf8(value.text()?).ok().map(|_| ())?,
            b"t" | b"v" => value.text().map(|_| ())?,
            b"a" => request(value)?,
            b"r" => response(value)?,
            b"e" => error(value).map(|_| ())?,
            _ => {}
        }
    }
    value.get(b"t")?;
    let kind = match value.get(b"y")?.text()? {
        b"q" => {
            value.get(b"q")?;
            value.get(b"a")?;
            Kind::Query
        }
        b"r" => value.get(b"r").map(|_| Kind::Response)?,
        b"e" => value.get(b"e").map(|_| Kind::Error)?,
        _ => return None,
    };
    Some((value, kind))
}

fn dictionary(value: Value<'_>) -> Option<()> {
    matches!(value, Value::Dictionary(_)).then_some(())
}

fn request(value: Value<'_>) -> Option<()> {
    dictionary(value)?;
    for (key, value) in value.pairs() {
        match key {
            b"id" | b"target" | b"info_hash" | b"token" => value.text().map(|_| ())?,
            b"implied_port" => u8::try_from(value.number()?).ok().map(|_| ())?,
            b"port" => u16::try_from(value.number()?).ok().map(|_| ())?,
            _ => {}
        }
    }
    value.get(b"id").map(|_| ())
}

fn response(value: Value<'_>) -> Option<()> {
    dictionary(value)?;
    for (key, value) in value.pairs() {
        match key {
            b"id" | b"nodes" | b"nodes6" | b"token" => value.text().map(|_| ())?,
            b"values" => {
                for peer in value.items() {
                    let length = peer.text()?.len();
                    (length >= PEER_V4).then_some(())?;
                }
            }
            _ => {}
        }
    }
    value.get(b"id").map(|_| ())
}

/// Number and text of an error.
pub fn error(value: Value<'_>) -> Option<(u16, &str)> {
    let Value::List(_) = value else {
        return None;
    };
    let (mut number, mut text) = (None, None);
    for item in value.items() {
        match item {
            Value::Number(found) => number = Some(u16::try_from(found).ok()?),
            Value::Text(found) => text = Some(std::str::from_utf8(found).ok()?),
            _ => {}
        }
    }
    Some((number?, text?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run};
    use super::*;
    use crate::packet::Direction::{ToClient, ToServer};

    #[test]
    fn a_query_tells_the_protocol_and_odd_answers_are_events() {
        let place = Place {
            transport: Transport::Udp,
            server_port: 6881,
        };
        let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
        let pong = b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re";
        let talk: [(_, &[u8]); 4] = [
            (ToServer, ping),
            (ToClient, pong),
            (ToClient, b"d1:rde1:y1:re"),
            (ToClient, b"no message of the table"),
        ];
        let (protocol, lines) = run(place, &talk);
        assert_eq!(protocol, AppProtocol::BittorrentDht);
        let event =
            "tx 2 ToClient app-layer-event Some((\"bittorrent-dht\", \"malformed_packet\"))";
        assert_eq!(lines, [event]);
    }

    #[test]
    fn what_a_message_must_have() {
        let kind = |bytes: &[u8]| message(bytes).map(|(_, kind)| kind);
        let whole: &[u8] = b"d1:eli201e5:Errore1:t2:aa1:y1:ee";
        assert_eq!(kind(whole), Some(Kind::Error));
        assert_eq!(
            kind(b"d1:rd2:id1:x6:valuesl6:abcdefee1:t1:a1:y1:re"),
            Some(Kind::Response)
        );
        for odd in [
            &b"d1:eli70000e5:Errore1:t2:aa1:y1:ee"[..],
            b"d1:eli201ee1:t2:aa1:y1:ee",
            b"d1:eli201e5:Errore1:y1:ee",
            b"d1:ad2:id1:xe1:t1:a1:y1:qe",
            b"d1:ad2:id1:x4:porti-1ee1:q4:ping1:t1:a1:y1:qe",
            b"d1:rd2:id1:x6:valuesl3:abcee1:t1:a1:y1:re",
            b"d1:rd2:id1:xe1:t1:a1:y1:ze",
        ] {
            assert_eq!(kind(odd), None, "{:?}", String::from_utf8_lossy(odd));
        }
    }
}
