//! A message of BitTorrent's distributed hash table as the `bittorrent_dht` object of EVE (BEP 5).

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::text::{Address, HexBytes, Text};
use crate::app::Field;
use crate::app::bencode::Value;
use crate::app::bittorrent_dht::{Kind, NODES, PEER_V6, error, message};
use crate::app::record::Record;

/// Nodes and peers of a message that are told.
const LISTED_MAX: usize = 128;

/// The object; bytes that are no message give an empty one.
pub struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    /// That of a transaction.
    pub fn of(record: Record<'a>) -> Message<'a> {
        let message = record.bytes(Field::BittorrentDhtMessage);
        Message(message.unwrap_or(&[]))
    }
}

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let Some((value, kind)) = message(self.0) else {
            map.serialize_entry("transaction_id", "")?;
            return map.end();
        };
        put_hex(&mut map, "transaction_id", value.get(b"t"))?;
        put_hex(&mut map, "client_version", value.get(b"v"))?;
        match kind {
            Kind::Query => {
                let name = value.get(b"q").and_then(Value::text).unwrap_or(&[]);
                let name = std::str::from_utf8(name).unwrap_or("");
                map.serialize_entry("request_type", name)?;
                map.serialize_entry("request", &Request(value.get(b"a")))?;
            }
            Kind::Response => map.serialize_entry("response", &Response(value.get(b"r")))?,
            Kind::Error => map.serialize_entry("error", &Failure(value.get(b"e")))?,
        }
        map.end()
    }
}

/// A text in hexadecimal, where there is one.
fn put_hex<M: SerializeMap>(
    map: &mut M,
    key: &'static str,
    value: Option<Value<'_>>,
) -> Result<(), M::Error> {
    match value.and_then(Value::text) {
        Some(bytes) => map.serialize_entry(key, &Text(HexBytes(bytes))),
        None => Ok(()),
    }
}

struct Request<'a>(Option<Value<'a>>);

impl Serialize for Request<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let get = |key: &[u8]| self.0.and_then(|value| value.get(key));
        let mut map = serializer.serialize_map(None)?;
        for key in ["id", "target", "info_hash", "token"] {
            put_hex(&mut map, key, get(key.as_bytes()))?;
        }
        for key in ["implied_port", "port"] {
            if let Some(number) = get(key.as_bytes()).and_then(Value::number) {
                map.serialize_entry(key, &number)?;
            }
        }
        map.end()
    }
}

struct Response<'a>(Option<Value<'a>>);

impl Serialize for Response<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let get = |key: &[u8]| self.0.and_then(|value| value.get(key));
        let mut map = serializer.serialize_map(None)?;
        put_hex(&mut map, "id", get(b"id"))?;
        for (key, size) in ["nodes", "nodes6"].into_iter().zip(NODES) {
            let bytes = get(key.as_bytes()).and_then(Value::text).unwrap_or(&[]);
            if bytes.len() >= size {
                map.serialize_entry(key, &Nodes(bytes, size))?;
            }
        }
        if let Some(values) = get(b"values").filter(|values| values.items().next().is_some()) {
            map.serialize_entry("values", &Peers(values))?;
        }
        put_hex(&mut map, "token", get(b"token"))?;
        map.end()
    }
}

struct Nodes<'a>(&'a [u8], usize);

impl Serialize for Nodes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nodes = self.0.chunks_exact(self.1).take(LISTED_MAX);
        serializer.collect_seq(nodes.filter_map(|node| {
            let (id, rest) = node.split_at_checked(20)?;
            let (ip, port) = rest.split_at_checked(rest.len() - 2)?;
            Some(End {
                id: Some(id),
                ip,
                port,
            })
        }))
    }
}

struct Peers<'a>(Value<'a>);

impl Serialize for Peers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let peers = self.0.items().take(LISTED_MAX);
        serializer.collect_seq(peers.filter_map(|peer| {
            let bytes = peer.text()?;
            let length = if bytes.len() < PEER_V6 { 4 } else { 16 };
            let (ip, rest) = bytes.split_at_checked(length)?;
            Some(End {
                id: None,
                ip,
                port: rest.get(..2)?,
            })
        }))
    }
}

/// A node, or a peer, which has no name.
struct End<'a> {
    id: Option<&'a [u8]>,
    ip: &'a [u8],
    port: &'a [u8],
}

impl Serialize for End<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(id) = self.id {
            map.serialize_entry("id", &Text(HexBytes(id)))?;
        }
        match (self.ip.try_into(), self.ip.try_into()) {
            (Ok(v4), _) => map.serialize_entry("ip", &Text(Address::V4(v4)))?,
            (_, Ok(v6)) => map.serialize_entry("ip", &Text(Address::V6(v6)))?,
            _ => {}
        }
        let port = self.port.try_into().map_or(0, u16::from_be_bytes);
        map.serialize_entry("port", &port)?;
        map.end()
    }
}

struct Failure<'a>(Option<Value<'a>>);

impl Serialize for Failure<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (number, text) = self.0.and_then(error).unwrap_or_default();
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("num", &number)?;
        map.serialize_entry("msg", text)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(bytes: &[u8]) -> serde_json::Value {
        serde_json::to_value(Message(bytes)).unwrap()
    }

    #[test]
    fn queries_answers_and_errors_have_their_objects() {
        assert_eq!(
            shown(b"d1:ad2:id2:ab4:porti6881e5:token1:te1:q13:announce_peer1:t2:aa1:v2:UT1:y1:qe"),
            json!({"transaction_id": "6161", "client_version": "5554",
                "request_type": "announce_peer",
                "request": {"id": "6162", "token": "74", "port": 6881}})
        );
        let mut answer = b"d1:rd2:id1:x5:nodes26:01234567890123456789".to_vec();
        answer.extend([10, 0, 0, 1, 0x1a, 0xe1]);
        answer.extend(b"6:valuesl6:\x0a\x00\x00\x02\x00\x50ee1:t1:t1:y1:re");
        assert_eq!(
            shown(&answer)["response"],
            json!({"id": "78",
                "nodes": [{"id": "3031323334353637383930313233343536373839",
                    "ip": "10.0.0.1", "port": 6881}],
                "values": [{"ip": "10.0.0.2", "port": 80}]})
        );
        assert_eq!(
            shown(b"d1:eli203e4:Oopse1:t1:t1:y1:ee")["error"],
            json!({"num": 203, "msg": "Oops"})
        );
        assert_eq!(shown(b"d1:rde"), json!({"transaction_id": ""}));
    }
}
