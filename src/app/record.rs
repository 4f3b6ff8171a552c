//! A transaction as bytes, for events: written by a lane when it lets go of the transaction or an
//! alert names it, read by the event writer. Long values are cut, and what finds no room is left
//! out: a record is never longer than its room.

use super::field::{Field, Progress};
use super::heap::Heap;
use super::protocol::AppProtocol;
use super::transaction::Transaction;
use crate::packet::Direction;

/// Bytes of a record at most.
pub const RECORD_MAX: usize = 4096;
/// Bytes of a record with what settings ask for beside the usual ([`Extra`]) at most.
pub const RECORD_LONG_MAX: usize = RECORD_MAX + 4 * BODY_MAX;
/// Bytes of a body in it at most.
pub const BODY_MAX: usize = 4096;
/// Bytes of one value in it at most.
pub const VALUE_MAX: usize = 1024;
/// Bytes of a whole message in it (of DNS, DHCP) at most.
pub const MESSAGE_MAX: usize = 3072;

const NUMBER: u8 = 2;
const TO_CLIENT: u8 = 1;
/// Bytes before each value: field, flags, length (of numbers: eight bytes follow).
const HEAD: usize = 5;

/// Whether events tell of a field: it is found for them even where no rule asks for it. The rest
/// are views of these, bodies, or what rules alone look at.
pub fn is_told(field: Field) -> bool {
    !field.is_frame()
        && field.known_at() != Progress::Complete
        && !matches!(
            field,
            Field::HttpUri
                | Field::HttpHeader
                | Field::HttpHeaderRaw
                | Field::HttpHeaderNames
                | Field::HttpRequestHeader
                | Field::HttpResponseHeader
                | Field::HttpStart
                | Field::HttpRequestLine
                | Field::HttpResponseLine
                | Field::HttpHostRaw
                | Field::HttpCookie
                | Field::HttpAccept
                | Field::HttpAcceptEnc
                | Field::HttpAcceptLang
                | Field::HttpConnection
                | Field::HttpServer
                | Field::Http2HeaderName
                | Field::TlsCerts
                | Field::TlsRandom
                | Field::TlsRandomTime
                | Field::TlsRandomBytes
                | Field::DcerpcStubData
                | Field::WebsocketPayload
        )
}

/// What records carry beside what they always do, as the settings of events ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extra {
    /// Headers of HTTP/1 one by one: of requests, of responses.
    pub headers: [bool; 2],
    /// Bodies of HTTP/1 and payloads of WebSocket.
    pub bodies: bool,
    /// How far each side has come (`progress`).
    pub progress: bool,
}

/// Fields of [`Extra`]'s `headers`.
pub const HEADERS: [Field; 2] = [Field::HttpRequestHeader, Field::HttpResponseHeader];
/// Fields of [`Extra`]'s `bodies`.
pub const BODIES: [Field; 3] = [
    Field::HttpRequestBody,
    Field::HttpResponseBody,
    Field::WebsocketPayload,
];

impl Extra {
    /// Whether a part of a transaction is in its record, bodies aside.
    fn carries(self, field: Field, protocol: AppProtocol) -> bool {
        let header = HEADERS.iter().position(|header| *header == field);
        match header {
            Some(side) => protocol == AppProtocol::Http && self.headers[side],
            None => is_told(field),
        }
    }
}

/// Writes a transaction to `out` (emptied before), within its capacity and [`RECORD_MAX`]; what is
/// extra of it, within [`RECORD_LONG_MAX`].
pub fn encode(transaction: &Transaction, heap: &Heap, extra: Extra, out: &mut Vec<u8>) {
    out.clear();
    let most = match extra.headers.contains(&true) {
        true => RECORD_MAX + BODY_MAX,
        false => RECORD_MAX,
    };
    let room = out.capacity().min(most);
    if transaction.is_frame {
        return encode_frame(transaction, heap, out);
    }
    // A call of DCERPC that a pipe carries is the pipe's.
    let piped = transaction.protocol == AppProtocol::Dcerpc
        && transaction
            .instances(heap)
            .any(|instance| instance.field == Field::SmbCommand);
    out.push(if piped {
        AppProtocol::Smb as u8
    } else {
        transaction.protocol as u8
    });
    out.extend_from_slice(&transaction.number.to_le_bytes());
    for instance in transaction.instances(heap) {
        // Bodies and files are no part of a record; a whole message says all that its fields do.
        let is_message = is_message(instance.field);
        let told = by_messages(transaction.protocol) && !is_message;
        if told || !is_message && !extra.carries(instance.field, transaction.protocol) {
            continue;
        }
        let turned = if instance.direction == Direction::ToClient {
            TO_CLIENT
        } else {
            0
        };
        let number = instance.number().to_le_bytes();
        let (flags, value) = if instance.is_number() {
            (turned | NUMBER, &number[..])
        } else {
            let bytes = transaction.bytes(heap, &instance);
            let most = if is_message { MESSAGE_MAX } else { VALUE_MAX };
            (turned, bytes.get(..most).unwrap_or(bytes))
        };
        if out.len() + HEAD + value.len() <= room {
            push(out, instance.field, flags, value);
        }
    }
    let [to_server, to_client] = transaction.progress.map(|side| side as u8);
    if extra.progress && out.len() + HEAD + 8 <= room {
        let sides = u64::from(to_server) | u64::from(to_client) << 8;
        push(out, Field::TxProgress, NUMBER, &sides.to_le_bytes());
    }
    if extra.bodies {
        add_bodies(transaction, heap, out);
    }
}

/// Bytes of a frame that a record carries.
const FRAME_MAX: usize = 3072;
/// Bytes before those: whether it is whole, its length.
const FRAME_HEAD: usize = 5;

/// Writes a frame, which is a transaction of its own.
fn encode_frame(transaction: &Transaction, heap: &Heap, out: &mut Vec<u8>) {
    out.push(transaction.protocol as u8);
    out.extend_from_slice(&transaction.number.to_le_bytes());
    let mut instances = transaction.instances(heap);
    let Some(frame) = instances.find(|instance| instance.field.is_frame()) else {
        return;
    };
    let whole = transaction.bytes(heap, &frame);
    let bytes = whole.get(..FRAME_MAX).unwrap_or(whole);
    if out.len() + HEAD + FRAME_HEAD + bytes.len() > out.capacity() {
        return;
    }
    out.extend_from_slice(&(frame.field as u16).to_le_bytes());
    out.push(u8::from(frame.direction == Direction::ToClient) * TO_CLIENT);
    out.extend_from_slice(&((FRAME_HEAD + bytes.len()) as u16).to_le_bytes());
    out.push(u8::from(frame.ended()));
    out.extend_from_slice(&(whole.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// A frame in a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Which.
    pub field: Field,
    /// Whose.
    pub direction: Direction,
    /// No more of it will come.
    pub complete: bool,
    /// Bytes of it.
    pub length: u32,
    /// Its first bytes.
    pub bytes: &'a [u8],
}

fn push(out: &mut Vec<u8>, field: Field, flags: u8, value: &[u8]) {
    out.extend_from_slice(&(field as u16).to_le_bytes());
    out.push(flags);
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
}

/// Adds the starts of bodies.
fn add_bodies(transaction: &Transaction, heap: &Heap, out: &mut Vec<u8>) {
    use AppProtocol::{Http, Websocket};
    if !matches!(transaction.protocol, Http | Websocket) {
        return;
    }
    let room = out.capacity().min(RECORD_LONG_MAX);
    let instances = transaction.instances(heap);
    for instance in instances.filter(|instance| BODIES.contains(&instance.field)) {
        let bytes = transaction.bytes(heap, &instance);
        let bytes = bytes.get(..BODY_MAX).unwrap_or(bytes);
        let turned = u8::from(instance.direction == Direction::ToClient) * TO_CLIENT;
        if out.len() + HEAD + bytes.len() <= room {
            push(out, instance.field, turned, bytes);
        }
    }
}

/// Adds a file: what is known of it, and its name.
pub(super) fn add_file(out: &mut Vec<u8>, direction: Direction, info: &[u8], name: &[u8]) {
    let room = out.capacity().min(RECORD_LONG_MAX);
    let name = name.get(..VALUE_MAX - info.len()).unwrap_or(name);
    let length = info.len() + name.len();
    if out.len() + HEAD + length > room {
        return;
    }
    out.extend_from_slice(&(Field::FileInfo as u16).to_le_bytes());
    out.push(u8::from(direction == Direction::ToClient) * TO_CLIENT);
    out.extend_from_slice(&(length as u16).to_le_bytes());
    out.extend_from_slice(info);
    out.extend_from_slice(name);
}

/// Protocols whose messages are carried whole, instead of their fields.
fn by_messages(protocol: AppProtocol) -> bool {
    use AppProtocol as P;
    matches!(
        protocol,
        P::Dns
            | P::Mdns
            | P::Llmnr
            | P::Dhcp
            | P::Modbus
            | P::Dnp3
            | P::Enip
            | P::Mqtt
            | P::Rdp
            | P::Ldap
            | P::Ike
            | P::BittorrentDht
    )
}

fn is_message(field: Field) -> bool {
    matches!(
        field,
        Field::DnsMessage
            | Field::DhcpMessage
            | Field::ModbusMessage
            | Field::Dnp3Message
            | Field::Dnp3Limits
            | Field::EnipMessage
            | Field::MqttMessage
            | Field::RdpMessage
            | Field::RdpSerial
            | Field::LdapMessage
            | Field::BittorrentDhtMessage
            | Field::IkeMessage
            | Field::IkeSaid
            | Field::IkeChosen
            | Field::IkeDoi
    )
}

/// A part of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part<'a> {
    /// Which field.
    pub field: Field,
    /// Whose.
    pub direction: Direction,
    /// A number, else bytes.
    pub value: Value<'a>,
    /// Whose record it stands in.
    pub of: AppProtocol,
}

/// Value of a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// A number.
    Number(u64),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// A record read back.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a>(&'a [u8]);

impl<'a> Record<'a> {
    /// The record in these bytes; `None` where there is none.
    pub fn new(bytes: &'a [u8]) -> Option<Record<'a>> {
        (bytes.len() >= HEAD).then_some(Record(bytes))
    }

    /// Whose transaction.
    pub fn protocol(&self) -> AppProtocol {
        AppProtocol::from_number(self.0.first().copied().unwrap_or(0))
    }

    /// Number of the transaction in its flow, from 0.
    pub fn number(&self) -> u32 {
        let bytes = self.0.get(1..HEAD).and_then(|b| b.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    }

    /// How far each side had come, as numbers of `Progress`; `None`: it does not say.
    pub fn progress(&self) -> Option<[u8; 2]> {
        match self.value(Field::TxProgress)? {
            Value::Number(sides) => Some([sides as u8, (sides >> 8) as u8]),
            Value::Bytes(_) => None,
        }
    }

    /// What the first part of a field says.
    pub fn value(&self, field: Field) -> Option<Value<'a>> {
        let part = self.parts().find(|part| part.field == field);
        part.map(|part| part.value)
    }

    /// The same, if it is bytes.
    pub fn bytes(&self, field: Field) -> Option<&'a [u8]> {
        match self.value(field)? {
            Value::Bytes(bytes) => Some(bytes),
            Value::Number(_) => None,
        }
    }

    /// The frame, if it is the record of one.
    pub fn frame(&self) -> Option<Frame<'a>> {
        let part = self.parts().next().filter(|part| part.field.is_frame())?;
        let Value::Bytes(value) = part.value else {
            return None;
        };
        let ([complete, length @ ..], bytes) = value.split_first_chunk::<FRAME_HEAD>()?;
        Some(Frame {
            field: part.field,
            direction: part.direction,
            complete: *complete != 0,
            length: u32::from_le_bytes(*length),
            bytes,
        })
    }

    /// All parts, in order.
    pub fn parts(&self) -> impl Iterator<Item = Part<'a>> + Clone + use<'a> {
        let mut rest = self.0.get(HEAD..).unwrap_or(&[]);
        let of = self.protocol();
        std::iter::from_fn(move || {
            let (head, after) = rest.split_at_checked(HEAD)?;
            let &[field_low, field_high, flags, low, high] = head.first_chunk()?;
            let length = usize::from(u16::from_le_bytes([low, high]));
            let (value, after) = after.split_at_checked(length)?;
            rest = after;
            Some(Part {
                field: Field::from_number(u16::from_le_bytes([field_low, field_high]))?,
                direction: if flags & TO_CLIENT != 0 {
                    Direction::ToClient
                } else {
                    Direction::ToServer
                },
                value: if flags & NUMBER != 0 {
                    Value::Number(value.try_into().map_or(0, u64::from_le_bytes))
                } else {
                    Value::Bytes(value)
                },
                of,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_keeps_its_bound() {
        let mut heap = Heap::new(1 << 20);
        let mut tx = Transaction::new(AppProtocol::Http, 7);
        let long = vec![b'x'; 3000];
        for (field, bytes) in [
            (Field::HttpUri, &b"a view"[..]),
            (Field::HttpUriRaw, b"/a"),
            (Field::HttpHost, &long),
            (Field::HttpMethod, b"GET"),
        ] {
            assert!(tx.add(&mut heap, field, Direction::ToServer, bytes));
        }
        assert!(tx.add_number(&mut heap, Field::AppLayerEvent, Direction::ToClient, 515));
        let mut bytes = Vec::with_capacity(RECORD_MAX);
        encode(&tx, &heap, Extra::default(), &mut bytes);
        let record = Record::new(&bytes).unwrap();
        assert_eq!((record.protocol(), record.number()), (AppProtocol::Http, 7));
        let parts: Vec<_> = record.parts().collect();
        assert_eq!(parts.len(), 4);
        assert_eq!(parts[0].value, Value::Bytes(b"/a"));
        assert_eq!(parts[1].value, Value::Bytes(&long[..VALUE_MAX]));
        assert_eq!(parts[3].value, Value::Number(515));
        assert_eq!(parts[3].direction, Direction::ToClient);
        for _ in 0..20 {
            assert!(tx.add(&mut heap, Field::HttpHost, Direction::ToServer, &long));
        }
        encode(&tx, &heap, Extra::default(), &mut bytes);
        assert!(bytes.len() <= RECORD_MAX);
        tx.free(&mut heap);
    }

    #[test]
    fn a_frame_is_its_record() {
        let mut heap = Heap::new(1 << 20);
        let mut tx = Transaction::new(AppProtocol::Dns, 2);
        tx.is_frame = true;
        let long = vec![b'f'; 5000];
        let direction = Direction::ToClient;
        assert!(tx.add(&mut heap, Field::FrameDnsPdu, direction, &long));
        let mut bytes = Vec::with_capacity(RECORD_MAX);
        encode(&tx, &heap, Extra::default(), &mut bytes);
        let frame = Record::new(&bytes).unwrap().frame().unwrap();
        assert_eq!(
            (frame.field, frame.direction),
            (Field::FrameDnsPdu, direction)
        );
        assert_eq!((frame.length, frame.complete), (5000, true));
        assert_eq!(frame.bytes, &long[..FRAME_MAX]);
        tx.free(&mut heap);
    }

    #[test]
    fn what_settings_ask_for_is_there_beside_the_rest() {
        let mut heap = Heap::new(1 << 20);
        let mut tx = Transaction::new(AppProtocol::Http, 0);
        let body = vec![b'b'; 2 * BODY_MAX];
        for (field, bytes) in [
            (Field::HttpMethod, &b"POST"[..]),
            (Field::HttpRequestHeader, b"A: 1"),
            (Field::HttpRequestBody, &body),
        ] {
            assert!(tx.add(&mut heap, field, Direction::ToServer, bytes));
        }
        let fields = |extra| {
            let mut bytes = Vec::with_capacity(RECORD_LONG_MAX);
            encode(&tx, &heap, extra, &mut bytes);
            let record = Record::new(&bytes).unwrap();
            let length = |value| match value {
                Value::Bytes(bytes) => bytes.len(),
                Value::Number(_) => 0,
            };
            let parts = record.parts();
            parts
                .map(|part| (part.field, length(part.value)))
                .collect::<Vec<_>>()
        };
        let usual = (Field::HttpMethod, 4);
        assert_eq!(fields(Extra::default()), [usual]);
        let extra = Extra {
            headers: [true, false],
            bodies: true,
            progress: false,
        };
        let header = (Field::HttpRequestHeader, 4);
        assert_eq!(
            fields(extra),
            [usual, header, (Field::HttpRequestBody, BODY_MAX)]
        );
        tx.free(&mut heap);
    }
}
