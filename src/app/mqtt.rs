//! MQTT 3.1, 3.1.1 and 5 (OASIS). A control packet opens a transaction, which those that answer it
//! join: CONNECT and CONNACK, PUBLISH and its acknowledgements, subscriptions.

use super::field::Field;
use super::heap::Heap;
use super::lines;
use super::output::{AppEvent, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::record::MESSAGE_MAX;
use super::settings::Number;
use super::table::{Table, tx_of, tx_words};
use crate::packet::Direction::{self, ToClient};

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Mqtt,
    probe,
    over: &[Transport::Tcp],
    fields: &[
        Field::MqttType,
        Field::MqttFlags,
        Field::MqttQos,
        Field::MqttProtocolVersion,
        Field::MqttReasonCode,
        Field::MqttConnackReturnCode,
        Field::MqttConnackSessionPresent,
        Field::MqttConnectFlags,
        Field::MqttConnectProtocolString,
        Field::MqttConnectClientid,
        Field::MqttConnectWilltopic,
        Field::MqttConnectWillmessage,
        Field::MqttConnectUsername,
        Field::MqttConnectPassword,
        Field::MqttPublishTopic,
        Field::MqttPublishMessage,
        Field::MqttSubscribeTopic,
        Field::MqttUnsubscribeTopic,
        Field::FrameMqttPdu,
        Field::FrameMqttHeader,
        Field::FrameMqttData,
    ],
    events: &[
        "missing_connect",
        "missing_publish",
        "missing_subscribe",
        "missing_unsubscribe",
        "double_connect",
        "unintroduced_message",
        "invalid_qos_level",
        "missing_msg_id",
        "unassigned_msg_type",
        "too_many_transactions",
        "malformed_traffic",
        "too_many_messages",
    ],
};

/// Places in the list of events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Odd {
    MissingConnect = 0,
    MissingPublish = 1,
    MissingSubscribe = 2,
    MissingUnsubscribe = 3,
    DoubleConnect = 4,
    Unintroduced = 5,
    InvalidQos = 6,
    Unassigned = 8,
    TooMany = 9,
    Malformed = 10,
    ManyMessages = 11,
}

const PORT: u16 = 1883;
/// Bytes of a packet that is read.
const PACKET_MAX: usize = 128 << 10;
/// Bytes before what the frame of data shows; the length of a long packet takes more.
const SHORT_HEAD: usize = 2;
/// Topics of a subscription, where the settings give no number.
const TOPICS_MAX: u32 = 4096;
/// Codes of an answer to a subscription.
const CODES_MAX: usize = 100;
/// What stands for the identifier of a connection.
const CONNECTION: u32 = u32::MAX;

/// Types of control packets (MQTT 5 section 2.1.2).
mod kind {
    pub const CONNECT: u8 = 1;
    pub const CONNACK: u8 = 2;
    pub const PUBLISH: u8 = 3;
    pub const PUBACK: u8 = 4;
    pub const PUBREC: u8 = 5;
    pub const PUBREL: u8 = 6;
    pub const PUBCOMP: u8 = 7;
    pub const SUBSCRIBE: u8 = 8;
    pub const SUBACK: u8 = 9;
    pub const UNSUBSCRIBE: u8 = 10;
    pub const UNSUBACK: u8 = 11;
    pub const PINGREQ: u8 = 12;
    pub const PINGRESP: u8 = 13;
    pub const DISCONNECT: u8 = 14;
    pub const AUTH: u8 = 15;
}

/// The fixed header's length and the packet's (section 1.5.5); None: more bytes are needed.
fn lengths(bytes: &[u8]) -> Result<Option<(usize, usize)>, Broken> {
    let mut length = 0usize;
    for place in 0..4 {
        let Some(byte) = bytes.get(1 + place) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((2 + place, 2 + place + length)));
        }
    }
    Err(Broken)
}

fn probe(probe: &Probe<'_>) -> Guess {
    let Some(first) = probe.bytes.first() else {
        return Guess::More;
    };
    if probe.server_port != PORT || first >> 4 == 0 || first >> 1 & 3 == 3 {
        return Guess::No;
    }
    match lengths(probe.bytes) {
        Ok(Some(_)) => Guess::Yes,
        Ok(None) => Guess::More,
        Err(Broken) => Guess::No,
    }
}

/// A parser of MQTT.
#[derive(Debug, Default)]
pub struct Mqtt {
    version: u8,
    connected: bool,
    /// `[identifier, transaction's name 2, messages]`.
    open: Table<4>,
    /// Bytes of a packet that is too long, by direction.
    skip: [u32; 2],
}

/// A control packet that is whole, or the head of one that is passed over.
struct Packet<'a> {
    first: u8,
    body: &'a [u8],
    /// Bytes of its body.
    size: usize,
    direction: Direction,
}

impl Packet<'_> {
    fn kind(&self) -> u8 {
        self.first >> 4
    }

    fn qos(&self) -> u8 {
        self.first >> 1 & 3
    }
}

impl Parse for Mqtt {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        if input.gap > 0 {
            return Err(Broken);
        }
        let (bytes, direction) = (input.bytes, input.direction);
        let way = direction.index();
        let mut at = 0;
        // Each round takes a byte at least, or leaves.
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let skip = lines::pass_over(&mut self.skip[way], rest);
            if skip > 0 {
                at += skip;
                continue;
            }
            let Ok(found) = lengths(rest) else {
                malformed(direction, out);
                return Err(Broken);
            };
            let Some((head, length)) = found else {
                return Ok(Taken::until(at, rest.len() + 1));
            };
            let most = out.shared.limits.parsers.number(Number::MqttMessage) as usize;
            if length - head > most || length > PACKET_MAX {
                self.skip[way] = length as u32;
                self.passed_over(rest, length - head, out);
                continue;
            }
            let Some(whole) = rest.get(..length) else {
                return Ok(Taken::until(at, length));
            };
            at += length;
            let body = whole.get(head..).unwrap_or(&[]);
            out.frame(Field::FrameMqttPdu, direction, whole);
            out.frame(
                Field::FrameMqttHeader,
                direction,
                whole.get(..2).unwrap_or(whole),
            );
            let shown = SHORT_HEAD..SHORT_HEAD + body.len();
            out.frame(
                Field::FrameMqttData,
                direction,
                whole.get(shown).unwrap_or(body),
            );
            let packet = Packet {
                first: whole.first().copied().unwrap_or(0),
                body,
                size: body.len(),
                direction,
            };
            if self.packet(&packet, out).is_none() {
                malformed(direction, out);
                return Err(Broken);
            }
        }
        Ok(Taken::all(at))
    }

    fn free(&mut self, heap: &mut Heap) {
        self.open.clear(heap);
    }
}

fn malformed(direction: Direction, out: &mut Output<'_>) {
    let tx = out.open_one_way(direction);
    event(tx, direction, Odd::Malformed, out);
    out.complete(tx);
}

fn event(tx: TxId, direction: Direction, odd: Odd, out: &mut Output<'_>) {
    out.event(tx, direction, AppEvent::of(AppProtocol::Mqtt, odd as u8));
}

/// Takes a string or binary data with their length off the front (sections 1.5.4 and 1.5.6).
fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(u16::from_be_bytes(*bytes.first_chunk()?));
    let found = bytes.get(2..2 + length)?;
    *bytes = bytes.get(2 + length..)?;
    Some(found)
}

fn byte(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

fn identifier(bytes: &mut &[u8]) -> Option<u32> {
    let found = u16::from_be_bytes(*bytes.first_chunk()?);
    *bytes = bytes.get(2..)?;
    Some(u32::from(found))
}

impl Mqtt {
    /// Passes over properties, which version 5 has (section 2.2.2).
    fn properties(&self, bytes: &mut &[u8]) -> Option<()> {
        if self.version != 5 {
            return Some(());
        }
        let mut length = 0usize;
        for place in 0..4 {
            let digit = byte(bytes)?;
            length |= usize::from(digit & 0x7f) << (7 * place);
            if digit & 0x80 == 0 {
                *bytes = bytes.get(length..)?;
                return Some(());
            }
        }
        None
    }

    /// Reads a packet; None when it is malformed.
    fn packet(&mut self, packet: &Packet<'_>, out: &mut Output<'_>) -> Option<()> {
        let mut body = packet.body;
        match packet.kind() {
            kind::CONNECT => self.connect(packet, out),
            kind::PUBLISH => self.publish(packet, out),
            kind::SUBSCRIBE | kind::UNSUBSCRIBE => self.subscribe(packet, out),
            kind::CONNACK => {
                let flags = byte(&mut body)?;
                let code = u64::from(byte(&mut body)?);
                let (tx, way, known) = self.join(CONNECTION, packet, Odd::MissingConnect, out);
                let session = u64::from(flags & 1);
                out.number(tx, Field::MqttConnackSessionPresent, way, session);
                out.number(tx, Field::MqttConnackReturnCode, way, code);
                out.number(tx, Field::MqttReasonCode, way, code);
                self.connected |= known;
                self.settle(CONNECTION, tx, out);
                Some(())
            }
            kind::PUBACK | kind::PUBREC | kind::PUBREL | kind::PUBCOMP => {
                let id = identifier(&mut body)?;
                let ends = matches!(packet.kind(), kind::PUBACK | kind::PUBCOMP);
                if !ends && self.is_full(id, packet, out) {
                    return Some(());
                }
                let (tx, way, _) = self.join(id, packet, Odd::MissingPublish, out);
                if self.version == 5 {
                    let code = u64::from(byte(&mut body).unwrap_or(0));
                    out.number(tx, Field::MqttReasonCode, way, code);
                }
                if ends {
                    self.settle(id, tx, out);
                }
                Some(())
            }
            kind::SUBACK | kind::UNSUBACK => {
                let id = identifier(&mut body)?;
                self.properties(&mut body)?;
                let missing = match packet.kind() {
                    kind::SUBACK => Odd::MissingSubscribe,
                    _ => Odd::MissingUnsubscribe,
                };
                let (tx, way, _) = self.join(id, packet, missing, out);
                for code in body.iter().take(CODES_MAX) {
                    out.number(tx, Field::MqttReasonCode, way, u64::from(*code));
                }
                self.settle(id, tx, out);
                Some(())
            }
            _ => self.alone(packet, out),
        }
    }

    /// Packets that nobody answers.
    fn alone(&mut self, packet: &Packet<'_>, out: &mut Output<'_>) -> Option<()> {
        let tx = self.begin(packet, out);
        match packet.kind() {
            kind::PINGREQ | kind::PINGRESP => self.introduced(tx, packet, out),
            kind::DISCONNECT | kind::AUTH => {
                self.introduced(tx, packet, out);
                if self.version == 5 || packet.kind() == kind::AUTH {
                    let code = packet.body.first().copied().unwrap_or(0);
                    out.number(tx, Field::MqttReasonCode, packet.direction, u64::from(code));
                }
            }
            _ => event(tx, packet.direction, Odd::Unassigned, out),
        }
        out.complete(tx);
        Some(())
    }

    /// A message that is too long is a transaction without anything but its header. Whichever side
    /// sends it, it is the server's, as in Suricata.
    fn passed_over(&mut self, rest: &[u8], size: usize, out: &mut Output<'_>) {
        let packet = Packet {
            first: rest.first().copied().unwrap_or(0),
            body: &[],
            size,
            direction: ToClient,
        };
        let tx = self.begin(&packet, out);
        out.complete(tx);
    }

    fn begin(&mut self, packet: &Packet<'_>, out: &mut Output<'_>) -> TxId {
        let most = out.shared.limits.parsers.number(Number::MqttTransactions);
        if self.open.len() > most as usize
            && let Some([_, index, serial, _]) = self.open.remove(out.heap(), 0)
        {
            let oldest = tx_of(index, serial);
            let way = out.only(oldest).unwrap_or(packet.direction);
            event(oldest, way, Odd::TooMany, out);
            out.complete(oldest);
        }
        let tx = out.open_one_way(packet.direction);
        self.give_header(tx, packet.direction, packet, out);
        tx
    }

    fn give_header(&self, tx: TxId, way: Direction, packet: &Packet<'_>, out: &mut Output<'_>) {
        out.number(tx, Field::MqttType, way, u64::from(packet.kind()));
        out.number(tx, Field::MqttFlags, way, u64::from(packet.first & 0xf));
        out.number(tx, Field::MqttQos, way, u64::from(packet.qos()));
        // Before a client has said which, it is 0.
        out.number(tx, Field::MqttProtocolVersion, way, u64::from(self.version));
        if out.wants(Field::MqttMessage) {
            let scratch = &mut out.shared.scratch;
            scratch.clear();
            scratch.extend_from_slice(&[self.version, packet.first]);
            scratch.extend_from_slice(&(packet.size as u32).to_be_bytes());
            let most = MESSAGE_MAX - scratch.len();
            scratch.extend_from_slice(packet.body.get(..most).unwrap_or(packet.body));
            out.field_of_scratch(tx, Field::MqttMessage, packet.direction);
        }
    }

    /// Before the server has accepted the client nothing else is due.
    fn introduced(&self, tx: TxId, packet: &Packet<'_>, out: &mut Output<'_>) {
        if !self.connected {
            event(tx, packet.direction, Odd::Unintroduced, out);
        }
    }

    /// Whether an exchange has as many messages as are read, which is told.
    fn is_full(&mut self, id: u32, packet: &Packet<'_>, out: &mut Output<'_>) -> bool {
        let most = out.shared.limits.parsers.number(Number::MqttMessages);
        let heap = &mut out.shared.heap;
        let Some((place, mut record)) = self.open.find(heap, |record| record[0] == id) else {
            return false;
        };
        let full = record[3] >= most;
        record[3] += u32::from(!full);
        self.open.set(heap, place, &record);
        if full {
            let tx = tx_of(record[1], record[2]);
            let way = out.only(tx).unwrap_or(packet.direction);
            event(tx, way, Odd::ManyMessages, out);
        }
        full
    }

    /// The transaction that a packet answers, in whose direction rules look at it, or one of its
    /// own, and which of both.
    fn join(
        &mut self,
        id: u32,
        packet: &Packet<'_>,
        missing: Odd,
        out: &mut Output<'_>,
    ) -> (TxId, Direction, bool) {
        let found = self.open.find(out.heap(), |record| record[0] == id);
        if let Some((_, record)) = found {
            let tx = tx_of(record[1], record[2]);
            let way = out.only(tx).unwrap_or(packet.direction);
            self.give_header(tx, way, packet, out);
            return (tx, way, true);
        }
        let tx = self.begin(packet, out);
        event(tx, packet.direction, missing, out);
        if missing != Odd::MissingConnect {
            self.introduced(tx, packet, out);
        }
        out.complete(tx);
        (tx, packet.direction, false)
    }

    /// The exchange will be answered.
    fn wait(&mut self, id: u32, tx: TxId, out: &mut Output<'_>) {
        let [index, serial] = tx_words(tx);
        let record = [id, index, serial, 1];
        // Without room in the heap nothing answers it.
        if let Some([_, index, serial, _]) = self.open.push(out.heap(), usize::MAX, &record) {
            out.complete(tx_of(index, serial));
        }
    }

    /// The exchange is over.
    fn settle(&mut self, id: u32, tx: TxId, out: &mut Output<'_>) {
        if let Some((place, _)) = self.open.find(out.heap(), |record| record[0] == id) {
            let _ = self.open.remove(out.heap(), place);
        }
        out.complete(tx);
    }

    fn connect(&mut self, packet: &Packet<'_>, out: &mut Output<'_>) -> Option<()> {
        let mut body = packet.body;
        let name = text(&mut body)?;
        self.version = byte(&mut body)?;
        let flags = byte(&mut body)?;
        identifier(&mut body)?;
        self.properties(&mut body)?;
        let client = text(&mut body)?;
        let tx = self.begin(packet, out);
        let way = packet.direction;
        out.number(tx, Field::MqttConnectFlags, way, u64::from(flags));
        let mut give = |field, value: &[u8]| {
            if !value.is_empty() {
                out.field(tx, field, way, value);
            }
        };
        give(Field::MqttConnectProtocolString, name);
        give(Field::MqttConnectClientid, client);
        let mut whole = true;
        if flags & 4 != 0 {
            whole &= self.properties(&mut body).is_some();
            for field in [Field::MqttConnectWilltopic, Field::MqttConnectWillmessage] {
                whole &= text(&mut body).map(|value| give(field, value)).is_some();
            }
        }
        for (bit, field) in [
            (0x80, Field::MqttConnectUsername),
            (0x40, Field::MqttConnectPassword),
        ] {
            if flags & bit != 0 {
                whole &= text(&mut body).map(|value| give(field, value)).is_some();
            }
        }
        if self.connected {
            event(tx, way, Odd::DoubleConnect, out);
        }
        self.wait(CONNECTION, tx, out);
        whole.then_some(())
    }

    fn publish(&mut self, packet: &Packet<'_>, out: &mut Output<'_>) -> Option<()> {
        let mut body = packet.body;
        let topic = text(&mut body)?;
        let id = match packet.qos() {
            0 => None,
            _ => Some(identifier(&mut body)?),
        };
        self.properties(&mut body)?;
        let tx = self.begin(packet, out);
        let way = packet.direction;
        for (field, value) in [
            (Field::MqttPublishTopic, topic),
            (Field::MqttPublishMessage, body),
        ] {
            if !value.is_empty() {
                out.field(tx, field, way, value);
            }
        }
        self.introduced(tx, packet, out);
        self.answered(tx, id, packet, out);
        Some(())
    }

    fn subscribe(&mut self, packet: &Packet<'_>, out: &mut Output<'_>) -> Option<()> {
        let mut body = packet.body;
        let id = identifier(&mut body)?;
        self.properties(&mut body)?;
        let tx = self.begin(packet, out);
        let subscribes = packet.kind() == kind::SUBSCRIBE;
        let field = match subscribes {
            true => Field::MqttSubscribeTopic,
            false => Field::MqttUnsubscribeTopic,
        };
        let most = out.shared.limits.parsers.number(match subscribes {
            true => Number::MqttSubscribed,
            false => Number::MqttUnsubscribed,
        });
        let topics = if most == 0 { TOPICS_MAX } else { most };
        for _ in 0..topics {
            let Some(topic) = text(&mut body) else {
                break;
            };
            out.field(tx, field, packet.direction, topic);
            if subscribes && byte(&mut body).is_none() {
                break;
            }
        }
        self.introduced(tx, packet, out);
        self.answered(tx, Some(id), packet, out);
        Some(())
    }

    /// Quality 1 and 2 ask for an answer, 0 for none.
    fn answered(&mut self, tx: TxId, id: Option<u32>, packet: &Packet<'_>, out: &mut Output<'_>) {
        match (packet.qos(), id) {
            (1 | 2, Some(id)) => self.wait(id, tx, out),
            (3, _) => {
                event(tx, packet.direction, Odd::InvalidQos, out);
                out.complete(tx);
            }
            _ => out.complete(tx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, run_missing, same_for_every_cut, survives_damage};
    use super::*;
    use crate::packet::Direction::ToServer;

    const PLACE: Place = Place {
        transport: Transport::Tcp,
        server_port: PORT,
    };

    #[test]
    fn messages_longer_than_the_setting_are_passed_over() {
        let connect = b"\x10\x15\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01c\x00\x01u\x00\x03pwd";
        let pieces: [(Direction, u32, &[u8]); 3] = [
            (ToServer, 0, connect),
            (ToServer, 0, b"\x30\x1b\x00\x01t01234567890123456789more"),
            (ToServer, 0, b"\x30\x05\x00\x01tok"),
        ];
        let seen = |most| {
            let key = "app-layer.protocols.mqtt.max-msg-length";
            let lines = run_missing(PLACE, &[(key, most)], &pieces);
            let said = lines.iter().filter(|l| l.contains("publish.message"));
            said.count()
        };
        assert_eq!((seen("27"), seen("26")), (2, 1));
        let key = "app-layer.protocols.mqtt.max-msg-length";
        let lines = run_missing(PLACE, &[(key, "26")], &pieces);
        let types = lines.iter().filter(|l| l.ends_with("mqtt.type 3"));
        let expected = ["tx 1 ToClient mqtt.type 3", "tx 2 ToServer mqtt.type 3"];
        assert_eq!(types.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn topics_messages_and_exchanges_are_as_many_as_is_set() {
        let connect: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c";
        let publish = |id: u8| [b"\x34\x06\x00\x01t\x00", &[id][..], b"m"].concat();
        let (one, two) = (publish(1), publish(2));
        let pieces: [(Direction, u32, &[u8]); 7] = [
            (ToServer, 0, connect),
            (ToClient, 0, b"\x20\x02\x00\x00"),
            (ToServer, 0, b"\x82\x0a\x00\x08\x00\x01x\x00\x00\x01y\x00"),
            (ToServer, 0, &one),
            (ToServer, 0, &two),
            (ToClient, 0, b"\x50\x02\x00\x02"),
            (ToServer, 0, b"\x62\x02\x00\x02"),
        ];
        let count = |key: &str, value, what: &str| {
            let key = format!("app-layer.protocols.mqtt.{key}");
            let lines = run_missing(PLACE, &[(&key, value)], &pieces);
            lines.iter().filter(|line| line.contains(what)).count()
        };
        let topics = |most| count("subscribe-topic-match-limit", most, "subscribe.topic");
        assert_eq!((topics("2"), topics("1")), (2, 1));
        let full = |most| count("max-messages", most, "too_many_messages");
        assert_eq!((full("3"), full("2")), (0, 1));
        let many = |most| count("max-tx", most, "too_many_transactions");
        assert_eq!((many("2"), many("1")), (0, 1));
    }

    #[test]
    fn an_acceptance_that_nobody_asked_for_introduces_nobody() {
        let publish: &[u8] = b"\x30\x04\x00\x01tm";
        let pieces: [(Direction, u32, &[u8]); 2] =
            [(ToClient, 0, b"\x20\x02\x00\x00"), (ToServer, 0, publish)];
        let said = run_missing(PLACE, &[], &pieces).join(" ");
        assert!(said.contains("missing_connect") && said.contains("unintroduced_message"));
        assert!(
            said.contains("mqtt.protocol_version 0"),
            "nobody said which"
        );
    }

    #[test]
    fn answers_join_their_questions() {
        let connect = b"\x10\x15\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01c\x00\x01u\x00\x03pwd";
        let talk: &[(Direction, &[u8])] = &[
            (ToServer, connect),
            (ToClient, b"\x20\x02\x01\x00"),
            (ToServer, b"\x32\x07\x00\x01t\x00\x07hi"),
            (ToClient, b"\x40\x02\x00\x07"),
            (ToServer, b"\x82\x06\x00\x08\x00\x01x\x00"),
            (ToClient, b"\x90\x03\x00\x08\x80"),
        ];
        survives_damage(PLACE, talk, 200);
        let (protocol, lines) = same_for_every_cut(PLACE, talk);
        assert_eq!(protocol, AppProtocol::Mqtt);
        let names = [
            "connect.",
            "connack.",
            "publish",
            "subscribe",
            "reason",
            "event",
        ];
        let shown: Vec<_> = lines
            .iter()
            .filter(|line| names.iter().any(|name| line.contains(name)))
            .map(|line| line.splitn(3, ' ').nth(2).unwrap())
            .collect();
        assert_eq!(
            shown,
            [
                "ToServer mqtt.connect.flags 194",
                "ToServer mqtt.connect.protocol_string \"MQTT\"",
                "ToServer mqtt.connect.clientid \"c\"",
                "ToServer mqtt.connect.username \"u\"",
                "ToServer mqtt.connect.password \"pwd\"",
                "ToServer mqtt.connack.session_present 1",
                "ToServer mqtt.connack.return_code 0",
                "ToServer mqtt.reason_code 0",
                "ToServer mqtt.publish.topic \"t\"",
                "ToServer mqtt.publish.message \"hi\"",
                "ToServer mqtt.subscribe.topic \"x\"",
                "ToServer mqtt.reason_code 128",
            ]
        );
    }
}
