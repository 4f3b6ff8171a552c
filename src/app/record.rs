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
        )
}

/// Writes a transaction to `out` (emptied before), within its capacity and [`RECORD_MAX`].
pub fn encode(transaction: &Transaction, heap: &Heap, out: &mut Vec<u8>) {
    out.clear();
    let room = out.capacity().min(RECORD_MAX);
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
        if told || instance.field.known_at() == Progress::Complete {
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
        if out.len() + HEAD + value.len() > room {
            continue;
        }
        out.extend_from_slice(&(instance.field as u16).to_le_bytes());
        out.push(flags);
        out.extend_from_slice(&(value.len() as u16).to_le_bytes());
        out.extend_from_slice(value);
    }
}

/// Adds a file: what is known of it, and its name.
pub(super) fn add_file(out: &mut Vec<u8>, direction: Direction, info: &[u8], name: &[u8]) {
    let room = out.capacity().min(RECORD_MAX);
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
            | Field::LdapMessage
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
            (Field::HttpUri, &b"/a"[..]),
            (Field::HttpHost, &long),
            (Field::HttpMethod, b"GET"),
        ] {
            assert!(tx.add(&mut heap, field, Direction::ToServer, bytes));
        }
        assert!(tx.add_number(&mut heap, Field::AppLayerEvent, Direction::ToClient, 515));
        let mut bytes = Vec::with_capacity(RECORD_MAX);
        encode(&tx, &heap, &mut bytes);
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
        encode(&tx, &heap, &mut bytes);
        assert!(bytes.len() <= RECORD_MAX);
        tx.free(&mut heap);
    }
}
