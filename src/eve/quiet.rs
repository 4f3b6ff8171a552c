//! Transactions that no line tells of, as in Suricata: those that say nothing of their own, and what
//! settings leave out. They are nested in alerts all the same.

use super::{dhcp, dns};
use crate::app::record::{Record, Value};
use crate::app::{AppProtocol, Field};
use crate::config::Eve;
use crate::event::Event;
use crate::packet::Direction;

/// Procedure GETATTR of NFS 2 and 3 (RFC 1094 section 2.2.2, RFC 1813 section 3.3.1), as
/// [`Field::NfsCall`] holds it.
const GET_ATTRIBUTES: [u64; 2] = [2 << 32 | 1, 3 << 32 | 1];

/// Whether the event of a transaction is no line of its own.
pub fn is_quiet(event: &Event, eve: &Eve) -> bool {
    let Some(record) = Record::new(&event.record) else {
        return false;
    };
    match record.protocol() {
        AppProtocol::Dns => message(record).is_some_and(|message| !message.asks()),
        AppProtocol::Dhcp => match record.bytes(Field::DhcpMessage) {
            Some(bytes) if !eve.dhcp_extended => {
                let extended = false;
                !dhcp::Message { bytes, extended }.acknowledges()
            }
            _ => false,
        },
        AppProtocol::Http2 => !record.parts().any(|part| says(part.field)),
        AppProtocol::Nfs => match record.value(Field::NfsCall) {
            Some(Value::Number(call)) => GET_ATTRIBUTES.contains(&call),
            _ => false,
        },
        _ => false,
    }
}

/// The message of a transaction of DNS.
pub fn message(record: Record<'_>) -> Option<dns::Message<'_>> {
    let found = record
        .parts()
        .find(|part| part.field == Field::DnsMessage)?;
    let Value::Bytes(bytes) = found.value else {
        return None;
    };
    let response = found.direction == Direction::ToClient;
    Some(dns::Message::new(bytes, record.number(), response))
}

/// What an event of HTTP/2 shows beside the stream's number; other frames (windows, pings) say nothing.
fn says(field: Field) -> bool {
    matches!(
        field,
        Field::Http2Header
            | Field::Http2SizeUpdate
            | Field::Http2Settings
            | Field::Http2Errorcode
            | Field::Http2Priority
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::heap::Heap;
    use crate::app::record::{Extra, RECORD_MAX, encode};
    use crate::app::transaction::Transaction;
    use crate::event::EventKind;

    /// The event of a transaction of a client with these numbers and a message.
    fn event(protocol: AppProtocol, numbers: &[(Field, u64)], message: (Field, &[u8])) -> Event {
        let mut heap = Heap::new(1 << 16);
        let mut tx = Transaction::new(protocol, 0);
        let way = Direction::ToServer;
        for (field, number) in numbers {
            assert!(tx.add_number(&mut heap, *field, way, *number));
        }
        assert!(tx.add(&mut heap, message.0, way, message.1));
        let mut record = Vec::with_capacity(RECORD_MAX);
        encode(&tx, &heap, Extra::default(), &mut record);
        tx.free(&mut heap);
        Event {
            kind: EventKind::App,
            record,
            ..Event::default()
        }
    }

    #[test]
    fn what_says_nothing_is_no_line() {
        let none: (Field, &[u8]) = (Field::HttpUri, b"");
        let quiet =
            |protocol, numbers: &[_]| is_quiet(&event(protocol, numbers, none), &Eve::default());
        let http2 = |number| quiet(AppProtocol::Http2, &[(Field::Http2StreamId, 0), number]);
        assert!(http2((Field::Http2Window, 9)));
        assert!(!http2((Field::Http2Settings, 2 << 32)) && !http2((Field::Http2Errorcode, 1)));
        let nfs = |call| quiet(AppProtocol::Nfs, &[(Field::NfsCall, call)]);
        assert!(nfs(3 << 32 | 1) && nfs(2 << 32 | 1));
        assert!(!nfs(3 << 32 | 3) && !nfs(4 << 32 | 1));
        let dns = |message: &[u8]| {
            let event = event(AppProtocol::Dns, &[], (Field::DnsMessage, message));
            is_quiet(&event, &Eve::default())
        };
        assert!(dns(b"\0\x01\x80\x01\0\0\0\0\0\0\0\0"), "it asks nothing");
        assert!(!dns(b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01"));
    }

    #[test]
    fn what_settings_leave_out_is_no_line() {
        let dhcp = |kind: u8, dhcp_extended: bool| {
            let mut message = vec![1; 240];
            message.extend([53, 1, kind, 255]);
            let event = event(AppProtocol::Dhcp, &[], (Field::DhcpMessage, &message));
            let mut eve = Eve::default();
            eve.dhcp_extended = dhcp_extended;
            is_quiet(&event, &eve)
        };
        assert!(dhcp(1, false) && !dhcp(5, false));
        assert!(!dhcp(1, true) && !dhcp(5, true));
    }
}
