//! Control packets of MQTT as the `mqtt` object of EVE: read by the event writer from the packets' bytes,
//! which a record carries (MQTT 5.0 and 3.1.1, sections 2 and 3). Names are those that Suricata's
//! readers know, texts are cut where Suricata cuts them and say so. A packet that is cut short ends its
//! object where its bytes end. Passwords are not shown.

use std::fmt;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::text::{Bytes, Text};
use crate::app::Field;
use crate::app::record::{Record, Value};

/// Bytes of a text that are shown.
const TEXT_MAX: usize = 1024;
/// Topics and codes of a packet that are shown.
const LIST_MAX: usize = 128;
/// Properties of a packet that are shown.
const PROPERTIES_MAX: usize = 64;
/// The version with properties.
const VERSION_5: u8 = 5;

const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBCOMP: u8 = 7;
const SUBSCRIBE: u8 = 8;
const SUBACK: u8 = 9;
const UNSUBSCRIBE: u8 = 10;
const UNSUBACK: u8 = 11;
const PINGRESP: u8 = 13;
const DISCONNECT: u8 = 14;

/// By type.
const NAMES: [&str; 16] = [
    "",
    "connect",
    "connack",
    "publish",
    "puback",
    "pubrec",
    "pubrel",
    "pubcomp",
    "subscribe",
    "suback",
    "unsubscribe",
    "unsuback",
    "pingreq",
    "pingresp",
    "disconnect",
    "auth",
];

/// All packets of a transaction, each under its type.
pub struct Packets<'a>(pub Record<'a>);

impl Serialize for Packets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut seen = 0u16;
        for part in self.0.parts() {
            let (Field::MqttMessage, Value::Bytes(&[version, first, a, b, c, d, ref body @ ..])) =
                (part.field, part.value)
            else {
                continue;
            };
            let kind = first >> 4;
            let name = NAMES.get(usize::from(kind)).copied().unwrap_or("");
            if !name.is_empty() && seen >> kind & 1 == 0 {
                seen |= 1 << kind;
                let packet = Packet {
                    version,
                    first,
                    size: u32::from_be_bytes([a, b, c, d]) as usize,
                    body,
                };
                map.serialize_entry(name, &packet)?;
            }
        }
        map.end()
    }
}

/// A packet without its length.
#[derive(Clone, Copy)]
struct Packet<'a> {
    version: u8,
    first: u8,
    /// Bytes of the body on the wire.
    size: usize,
    /// Those that are at hand; none of a packet that was too long to be read.
    body: &'a [u8],
}

impl Serialize for Packet<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("qos", &(self.first >> 1 & 3))?;
        map.serialize_entry("retain", &(self.first & 1 != 0))?;
        map.serialize_entry("dup", &(self.first & 8 != 0))?;
        if self.body.is_empty() && self.size > 0 {
            map.serialize_entry("truncated", &true)?;
            map.serialize_entry("skipped_length", &(self.size + self.head()))?;
            return map.end();
        }
        let mut at = Cursor(self.body);
        match self.first >> 4 {
            CONNECT => self.connect(&mut map, &mut at)?,
            CONNACK => {
                self.number(
                    &mut map,
                    "session_present",
                    at.u8().map(|flags| flags & 1 != 0),
                )?;
                self.number(&mut map, "return_code", at.u8())?;
                self.properties(&mut map, &mut at)?;
            }
            PUBLISH => {
                self.text(&mut map, "topic", at.text())?;
                if self.first & 6 != 0 {
                    self.number(&mut map, "message_id", at.u16())?;
                }
                let properties = self.take_properties(&mut at);
                let missing = self.size.saturating_sub(self.body.len());
                self.text(
                    &mut map,
                    "message",
                    Some(Part::new(at.0, at.0.len() + missing)),
                )?;
                self.show(&mut map, properties)?;
            }
            kind @ SUBSCRIBE..=UNSUBACK => self.subscription(kind, &mut map, &mut at)?,
            kind @ (4..=PUBCOMP | DISCONNECT | 15) => {
                if kind <= PUBCOMP {
                    self.number(&mut map, "message_id", at.u16())?;
                }
                if self.version == VERSION_5 || kind == 15 {
                    // A code of 0 need not be written (sections 3.4.2.1, 3.14.2.1).
                    let code = at.u8().or((kind != 15).then_some(0));
                    self.number(&mut map, "reason_code", code)?;
                    self.properties(&mut map, &mut at)?;
                }
            }
            12..=PINGRESP | 0 | 16.. => {}
        }
        map.end()
    }
}

impl<'a> Packet<'a> {
    /// Bytes of the fixed header: its first byte, and the length in groups of seven bits (section 1.5.5).
    fn head(&self) -> usize {
        2 + [7, 14, 21]
            .iter()
            .filter(|bits| self.size >> **bits > 0)
            .count()
    }

    fn connect<M: SerializeMap>(&self, map: &mut M, at: &mut Cursor<'a>) -> Result<(), M::Error> {
        self.text(map, "protocol_string", at.text())?;
        self.number(map, "protocol_version", at.u8())?;
        let Some(flags) = at.u8() else {
            return Ok(());
        };
        map.serialize_entry("flags", &Flags(flags))?;
        // How long the connection is kept alive.
        at.u16();
        let properties = self.take_properties(at);
        self.text(map, "client_id", at.text())?;
        if flags & 4 != 0 {
            let properties = self.take_properties(at);
            let (topic, message) = (at.text(), at.text());
            let will = Will {
                packet: self,
                topic,
                message,
                properties,
            };
            map.serialize_entry("will", &will)?;
        }
        if flags & 0x80 != 0 {
            self.text(map, "username", at.text())?;
        }
        self.show(map, properties)
    }

    fn subscription<M: SerializeMap>(
        &self,
        kind: u8,
        map: &mut M,
        at: &mut Cursor<'a>,
    ) -> Result<(), M::Error> {
        self.number(map, "message_id", at.u16())?;
        let properties = self.take_properties(at);
        match kind {
            SUBSCRIBE => {
                map.serialize_entry("topics", &Topics(*at, true))?;
                self.show(map, properties)?;
            }
            UNSUBSCRIBE => map.serialize_entry("topics", &Topics(*at, false))?,
            SUBACK => map.serialize_entry("qos_granted", codes(at.0))?,
            _ if at.0.is_empty() => {}
            _ => map.serialize_entry("reason_codes", codes(at.0))?,
        }
        Ok(())
    }

    fn number<M: SerializeMap, T: Serialize>(
        &self,
        map: &mut M,
        key: &str,
        number: Option<T>,
    ) -> Result<(), M::Error> {
        match number {
            Some(number) => map.serialize_entry(key, &number),
            None => Ok(()),
        }
    }

    fn text<M: SerializeMap>(
        &self,
        map: &mut M,
        key: &str,
        text: Option<Part<'_>>,
    ) -> Result<(), M::Error> {
        match text {
            Some(part) => map.serialize_entry(key, &Text(part)),
            None => Ok(()),
        }
    }

    /// The properties that stand here, which version 5 has (section 2.2.2).
    fn take_properties(&self, at: &mut Cursor<'a>) -> Option<&'a [u8]> {
        if self.version != VERSION_5 {
            return None;
        }
        let length = at.variable()? as usize;
        let length = length.min(at.0.len());
        at.take(length).filter(|properties| !properties.is_empty())
    }

    fn properties<M: SerializeMap>(
        &self,
        map: &mut M,
        at: &mut Cursor<'a>,
    ) -> Result<(), M::Error> {
        let properties = self.take_properties(at);
        self.show(map, properties)
    }

    fn show<M: SerializeMap>(
        &self,
        map: &mut M,
        properties: Option<&[u8]>,
    ) -> Result<(), M::Error> {
        match properties {
            Some(properties) => map.serialize_entry("properties", &Properties(properties)),
            None => Ok(()),
        }
    }
}

/// A text, or its beginning and how much more there is.
#[derive(Clone, Copy)]
struct Part<'a> {
    bytes: &'a [u8],
    /// Bytes of all of it.
    size: usize,
}

impl<'a> Part<'a> {
    /// A text of that size, of which these bytes are at hand.
    fn new(bytes: &'a [u8], size: usize) -> Part<'a> {
        Part { bytes, size }.within(TEXT_MAX)
    }

    /// No more bytes of it than these.
    fn within(self, most: usize) -> Part<'a> {
        Part {
            bytes: self.bytes.get(..most).unwrap_or(self.bytes),
            ..self
        }
    }
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Bytes(self.bytes).fmt(f)?;
        match self.size.saturating_sub(self.bytes.len()) {
            0 => Ok(()),
            1 => f.write_str("[truncated 1 additional byte]"),
            more => write!(f, "[truncated {more} additional bytes]"),
        }
    }
}

fn codes(bytes: &[u8]) -> &[u8] {
    bytes.get(..LIST_MAX).unwrap_or(bytes)
}

struct Flags(u8);

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(5))?;
        for (key, bit) in [
            ("username", 0x80),
            ("password", 0x40),
            ("will_retain", 0x20),
            ("will", 4),
            ("clean_session", 2),
        ] {
            map.serialize_entry(key, &(self.0 & bit != 0))?;
        }
        map.end()
    }
}

struct Will<'a> {
    packet: &'a Packet<'a>,
    topic: Option<Part<'a>>,
    message: Option<Part<'a>>,
    properties: Option<&'a [u8]>,
}

impl Serialize for Will<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.packet.text(&mut map, "topic", self.topic)?;
        self.packet.text(&mut map, "message", self.message)?;
        self.packet.show(&mut map, self.properties)?;
        map.end()
    }
}

/// Topics, each with the quality of service that is asked for if `true`.
struct Topics<'a>(Cursor<'a>, bool);

impl Serialize for Topics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut at = self.0;
        // All topics of a subscription together are as long as one text may be.
        let mut room = TEXT_MAX;
        for _ in 0..LIST_MAX {
            let Some(topic) = at.text() else {
                break;
            };
            if !self.1 {
                list.serialize_element(&Text(topic))?;
                continue;
            }
            let qos = at.u8().unwrap_or(0);
            list.serialize_element(&Topic(topic.within(room), qos))?;
            let Some(left) = room.checked_sub(topic.bytes.len()) else {
                break;
            };
            room = left;
        }
        list.end()
    }
}

struct Topic<'a>(Part<'a>, u8);

impl Serialize for Topic<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("topic", &Text(self.0))?;
        map.serialize_entry("qos", &self.1)?;
        map.end()
    }
}

/// How a property is written on the wire (section 1.5).
#[derive(Clone, Copy)]
enum Form {
    Byte,
    Word,
    Long,
    Variable,
    Text,
}

/// Section 2.2.2.2: identifier, name, form.
const PROPERTIES: [(u8, &str, Form); 26] = [
    (1, "payload_format_indicator", Form::Byte),
    (2, "message_expiry_interval", Form::Long),
    (3, "content_type", Form::Text),
    (8, "response_topic", Form::Text),
    (9, "correlation_data", Form::Text),
    (11, "subscription_identifier", Form::Variable),
    (17, "session_expiry_interval", Form::Long),
    (18, "assigned_client_identifier", Form::Text),
    (19, "server_keep_alive", Form::Word),
    (21, "authentication_method", Form::Text),
    (22, "authentication_data", Form::Text),
    (23, "request_problem_information", Form::Byte),
    (24, "will_delay_interval", Form::Long),
    (25, "request_response_information", Form::Byte),
    (26, "response_information", Form::Text),
    (28, "server_reference", Form::Text),
    (31, "reason_string", Form::Text),
    (33, "receive_maximum", Form::Word),
    (34, "topic_alias_maximum", Form::Word),
    (35, "topic_alias", Form::Word),
    (36, "maximum_qos", Form::Byte),
    (37, "retain_available", Form::Byte),
    (39, "maximum_packet_size", Form::Long),
    (40, "wildcard_subscription_available", Form::Byte),
    (41, "subscription_identifier_available", Form::Byte),
    (42, "shared_subscription_available", Form::Byte),
];
/// A pair of a name and a value of the user's own.
const USER_PROPERTY: u8 = 38;

struct Properties<'a>(&'a [u8]);

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut at = Cursor(self.0);
        for _ in 0..PROPERTIES_MAX {
            let Some(identifier) = at.u8() else {
                break;
            };
            if identifier == USER_PROPERTY {
                let (Some(name), Some(value)) = (at.text(), at.text()) else {
                    break;
                };
                map.serialize_entry(&Text(name), &Text(value))?;
                continue;
            }
            let known = PROPERTIES.iter().find(|(known, ..)| *known == identifier);
            let Some((_, name, form)) = known else {
                break;
            };
            let number = match form {
                Form::Text => {
                    let Some(text) = at.text() else { break };
                    map.serialize_entry(name, &Text(text))?;
                    continue;
                }
                Form::Byte => at.u8().map(u32::from),
                Form::Word => at.u16().map(u32::from),
                Form::Long => at.u32(),
                Form::Variable => at.variable(),
            };
            let Some(number) = number else {
                break;
            };
            map.serialize_entry(name, &number)?;
        }
        map.end()
    }
}

/// What is left of the bytes.
#[derive(Clone, Copy)]
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).and_then(|bytes| bytes.first().copied())
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A number of up to four bytes of seven bits (section 1.5.5).
    fn variable(&mut self) -> Option<u32> {
        let mut number = 0;
        for place in 0..4 {
            let byte = self.u8()?;
            number |= u32::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// Bytes behind their length; what is there of them.
    fn text(&mut self) -> Option<Part<'a>> {
        let length = usize::from(self.u16()?);
        let bytes = self.take(length.min(self.0.len()))?;
        Some(Part::new(bytes, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn shown_of(version: u8, first: u8, body: &[u8]) -> Json {
        serde_json::to_value(Packet {
            version,
            first,
            size: body.len(),
            body,
        })
        .unwrap()
    }

    #[test]
    fn what_is_too_long_says_how_much_is_missing() {
        let passed = Packet {
            version: 4,
            first: 0x30,
            size: 200,
            body: &[],
        };
        let told = json!({"qos": 0, "retain": false, "dup": false, "truncated": true,
            "skipped_length": 203});
        assert_eq!(serde_json::to_value(passed).unwrap(), told);
        // A message of which the record has a part.
        let mut body = b"\0\x01t".to_vec();
        body.resize(3 + 2000, b'm');
        let publish = Packet {
            version: 4,
            first: 0x30,
            size: 3 + 5000,
            body: &body,
        };
        let message = serde_json::to_value(publish).unwrap()["message"].clone();
        let expected = format!("{}[truncated 3976 additional bytes]", "m".repeat(TEXT_MAX));
        assert_eq!(message, expected);
        // Topics stop where they are as long as one text.
        let mut topics = vec![0, 1];
        for length in [1000u16, 25, 7] {
            topics.extend(length.to_be_bytes());
            topics.extend(std::iter::repeat_n(b't', usize::from(length)));
            topics.push(0x2d);
        }
        let list =
            shown_of(5, 0x82, &[&topics[..2], &[0], &topics[2..]].concat())["topics"].clone();
        assert_eq!(list.as_array().unwrap().len(), 2);
        let cut = format!("{}[truncated 1 additional byte]", "t".repeat(24));
        assert_eq!(list[1], json!({"topic": cut, "qos": 0x2d}));
    }

    #[test]
    fn a_code_that_is_left_out_is_0() {
        assert_eq!(shown_of(5, 0x40, b"\0\x07")["reason_code"], 0);
        assert_eq!(shown_of(5, 0xe0, b"")["reason_code"], 0);
        assert!(shown_of(4, 0x40, b"\0\x07").get("reason_code").is_none());
        assert!(shown_of(4, 0xe0, b"").get("reason_code").is_none());
    }

    #[test]
    fn a_connect_of_version_5_with_a_will() {
        let body =
            b"\0\x04MQTT\x05\xc6\0\x3c\x05\x11\0\0\0\x0a\0\x02id\x00\0\x01t\0\x02hi\0\x01u\0\x01p";
        let flags = json!({"username": true, "password": true, "will_retain": false, "will": true,
            "clean_session": true});
        let expected = json!({"qos": 0, "retain": false, "dup": false, "protocol_string": "MQTT",
            "protocol_version": 5, "flags": flags, "client_id": "id",
            "will": {"topic": "t", "message": "hi"}, "username": "u",
            "properties": {"session_expiry_interval": 10}});
        assert_eq!(shown_of(5, 0x10, body), expected);
        for length in 0..body.len() {
            shown_of(5, 0x10, &body[..length]);
        }
    }

    #[test]
    fn publications_and_subscriptions() {
        let head = json!({"qos": 1, "retain": true, "dup": false});
        let with = |mut more: Json| {
            let mut value = head.clone();
            let all = value.as_object_mut().unwrap();
            all.append(more.as_object_mut().unwrap());
            value
        };
        let publish = shown_of(4, 0x33, b"\0\x01t\0\x07text");
        let more = json!({"topic": "t", "message_id": 7, "message": "text"});
        assert_eq!(publish, with(more));
        let subscribe = shown_of(4, 0x83, b"\0\x08\0\x01a\x01\0\x01b\0");
        let topics = json!([{"topic": "a", "qos": 1}, {"topic": "b", "qos": 0}]);
        assert_eq!(subscribe, with(json!({"message_id": 8, "topics": topics})));
        let suback = shown_of(4, 0x93, b"\0\x08\x01\x80");
        assert_eq!(
            suback,
            with(json!({"message_id": 8, "qos_granted": [1, 128]}))
        );
        let puback = shown_of(5, 0x43, b"\0\x07\x10\x04\x26\0\0\0");
        assert_eq!(puback["reason_code"], 16);
        for first in 0..=255 {
            shown_of(5, first, b"\0\x07\x10\x04\x26\0\0\0");
            shown_of(3, first, b"");
        }
    }
}
