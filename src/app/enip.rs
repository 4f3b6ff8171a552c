//! EtherNet/IP with CIP (ODVA CIP volumes 1 and 2), over TCP and UDP: a transaction is a request
//! and its response. Multiple service packets are opened one level deep.

use super::field::{Field, Progress};
use super::heap::Heap;
use super::output::{AppEvent, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::reader::Reader;
use super::settings::Number;
use super::table::{Table, tx_of, tx_words};
use crate::packet::Direction;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Enip,
    probe,
    over: &[Transport::Tcp, Transport::Udp],
    fields: &[
        Field::EnipProductName,
        Field::EnipServiceName,
        Field::EnipMessage,
        Field::CipService,
        Field::EnipCommand,
        Field::EnipCapabilities,
        Field::EnipCipAttribute,
        Field::EnipCipClass,
        Field::EnipCipExtendedstatus,
        Field::EnipCipInstance,
        Field::EnipCipStatus,
        Field::EnipDeviceType,
        Field::EnipIdentityStatus,
        Field::EnipProductCode,
        Field::EnipProtocolVersion,
        Field::EnipRevision,
        Field::EnipSerial,
        Field::EnipState,
        Field::EnipStatus,
        Field::EnipVendorId,
        Field::FrameEnipHdr,
        Field::FrameEnipData,
        Field::FrameEnipPdu,
        Field::FrameEnipCip,
        Field::FrameEnipItem,
    ],
    events: &["too_many_transactions", "invalid_pdu"],
};

const TOO_MANY: AppEvent = AppEvent::of(AppProtocol::Enip, 0);
const INVALID: AppEvent = AppEvent::of(AppProtocol::Enip, 1);

const PORT: u16 = 44_818;
/// Bytes of the encapsulation header.
const HEADER: usize = 24;
/// Items of a message, services of a packet and parts of a path that are told.
const ITEMS_MAX: usize = 16;
const SERVICES_MAX: usize = 64;
const SEGMENTS_MAX: usize = 64;
const ATTRIBUTES_MAX: usize = 64;

/// Commands.
const LIST_SERVICES: u16 = 4;
const LIST_IDENTITY: u16 = 0x63;
const LIST_INTERFACES: u16 = 0x64;
const REGISTER_SESSION: u16 = 0x65;
const SEND_RR_DATA: u16 = 0x6f;
const SEND_UNIT_DATA: u16 = 0x70;

/// Kinds of items.
pub mod kind {
    #![allow(missing_docs)]
    pub const IDENTITY: u16 = 0x0c;
    pub const CONNECTED: u16 = 0xb1;
    pub const UNCONNECTED: u16 = 0xb2;
    pub const SERVICES: u16 = 0x100;
}
use kind::{CONNECTED, IDENTITY, SERVICES, UNCONNECTED};

/// CIP services.
const GET_ATTRIBUTE_LIST: u8 = 3;
const SET_ATTRIBUTE_LIST: u8 = 4;
const MULTIPLE: u8 = 10;

/// A value of `cip_service`: the service alone, or with a class of its path, or with both a class
/// and an attribute. Classes and attributes beyond 27 bits are cut.
pub fn service_value(service: u8, class: Option<u32>, attribute: Option<u32>) -> u64 {
    const PART: u64 = (1 << 27) - 1;
    let kind = u64::from(class.is_some()) + u64::from(class.is_some() && attribute.is_some());
    let class_part = u64::from(class.unwrap_or(0)) & PART;
    let attribute = if kind == 2 { attribute.unwrap_or(0) } else { 0 };
    kind << 62 | u64::from(service) << 54 | class_part << 27 | u64::from(attribute) & PART
}

fn probe(probe: &Probe<'_>) -> Guess {
    if probe.server_port != PORT && probe.client_port != PORT {
        return Guess::No;
    }
    match Header::read(probe.bytes) {
        None if probe.transport == Transport::Tcp => Guess::More,
        Some(header) if header.is_known() => Guess::Yes,
        _ => Guess::No,
    }
}

#[derive(Clone, Copy, Debug)]
struct Header {
    command: u16,
    length: usize,
    session: u32,
    status: u32,
    options: u32,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Header> {
        let mut at = Reader::new(bytes);
        let (command, length) = (at.le16()?, usize::from(at.le16()?));
        let (session, status) = (at.le32()?, at.le32()?);
        at.skip(8)?;
        Some(Header {
            command,
            length,
            session,
            status,
            options: at.le32()?,
        })
    }

    fn is_known(&self) -> bool {
        let status = matches!(self.status, 0..=3 | 0x64 | 0x65 | 0x69 | 0x6a);
        let command = matches!(
            self.command,
            0 | 4 | 0x63..=0x66 | 0x6f | 0x70 | 0x72 | 0x73
        );
        status && command && (self.command != 0 || self.options == 0)
    }
}

/// What a response is matched by: has it CIP, and a sequence number of a connection?
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Mark {
    cip: bool,
    connected: bool,
    sequence: u16,
}

/// The parser of a flow.
#[derive(Debug, Default)]
pub struct Enip {
    /// `[command | flags << 16, sequence, session, transaction 2]`.
    pending: Table<5>,
    lost: [bool; 2],
}

impl Parse for Enip {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let way = input.direction.index();
        self.lost[way] |= input.gap > 0;
        let mut taken = 0;
        // Every round takes a header at least.
        loop {
            let rest = input.bytes.get(taken..).unwrap_or(&[]);
            let Some(header) = Header::read(rest) else {
                return Ok(if input.transport == Transport::Udp {
                    Taken::all(input.bytes.len())
                } else {
                    Taken::until(taken, HEADER)
                });
            };
            if self.lost[way] && !header.is_known() {
                // The next piece may begin with a message.
                return Ok(Taken::all(input.bytes.len()));
            }
            self.lost[way] = false;
            let Some(whole) = rest.get(..HEADER + header.length) else {
                return Ok(Taken::until(taken, HEADER + header.length));
            };
            show_frames(out, input.direction, &header, whole);
            self.message(out, input.direction, &header, whole);
            taken += HEADER + header.length;
        }
    }

    fn free(&mut self, heap: &mut Heap) {
        self.pending.clear(heap);
    }
}

impl Enip {
    fn message(
        &mut self,
        out: &mut Output<'_>,
        direction: Direction,
        header: &Header,
        message: &[u8],
    ) {
        let data = message.get(HEADER..).unwrap_or(&[]);
        let mark = mark_of(header, data);
        let found = match direction {
            Direction::ToServer => None,
            Direction::ToClient => self.answered(out, header, mark),
        };
        let tx = found.unwrap_or_else(|| out.open());
        out.number(tx, Field::EnipCommand, direction, u64::from(header.command));
        out.number(tx, Field::EnipStatus, direction, u64::from(header.status));
        if tx.is_some() && out.wants(Field::EnipMessage) {
            out.field(tx, Field::EnipMessage, direction, message);
        }
        if tell(out, tx, direction, header, data).is_none() {
            out.event(tx, direction, INVALID);
        }
        out.progress(tx, direction, Progress::Complete);
        if direction == Direction::ToClient {
            out.complete(tx);
            return;
        }
        let [index, serial] = tx_words(tx);
        let flags = u32::from(mark.cip) << 16 | u32::from(mark.connected) << 17;
        let record = [
            u32::from(header.command) | flags,
            u32::from(mark.sequence),
            header.session,
            index,
            serial,
        ];
        // Beyond the bound the oldest is completed.
        let most = out.shared.limits.parsers.number(Number::EnipTransactions) as usize;
        if let Some(oldest) = self.pending.push(out.heap(), most, &record) {
            let oldest = tx_of(oldest[3], oldest[4]);
            out.event(oldest, direction, TOO_MANY);
            out.complete(oldest);
        }
    }

    /// The request of a response. Those that wait longer will get none.
    fn answered(&mut self, out: &mut Output<'_>, header: &Header, mark: Mark) -> Option<TxId> {
        while let Some(record) = self.pending.remove(out.heap(), 0) {
            let tx = tx_of(record[3], record[4]);
            let session = record[2] == header.session || header.command == REGISTER_SESSION;
            let asked = Mark {
                cip: record[0] & 1 << 16 != 0,
                connected: record[0] & 1 << 17 != 0,
                sequence: record[1] as u16,
            };
            let same = if asked.connected && mark.connected {
                asked.sequence == mark.sequence
            } else {
                asked.cip == mark.cip
            };
            if record[0] as u16 == header.command && session && same {
                return Some(tx);
            }
            out.complete(tx);
        }
        None
    }
}

/// What a message is matched by.
fn mark_of(header: &Header, data: &[u8]) -> Mark {
    let mut mark = Mark::default();
    if !matches!(header.command, SEND_RR_DATA | SEND_UNIT_DATA) {
        return mark;
    }
    mark.cip = true;
    if let Some((CONNECTED, item)) = items(data.get(6..).unwrap_or(&[])).nth(1)
        && let Some(sequence) = Reader::new(item).le16()
    {
        mark.connected = true;
        mark.sequence = sequence;
    }
    mark
}

/// The items of a list that begins with their count: kind and bytes.
pub fn items(list: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut at = Reader::new(list);
    let count = usize::from(at.le16().unwrap_or(0)).min(ITEMS_MAX);
    let mut left = count;
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let (kind, length) = (at.le16()?, at.le16()?);
        Some((kind, at.take(usize::from(length))?))
    })
}

/// Shows a message and its items as frames, if rules ask for them; CIP's own are `service`'s.
fn show_frames(out: &mut Output<'_>, direction: Direction, header: &Header, message: &[u8]) {
    let data = message.get(HEADER..).unwrap_or(&[]);
    out.frame(
        Field::FrameEnipHdr,
        direction,
        message.get(..HEADER).unwrap_or(&[]),
    );
    out.frame(Field::FrameEnipData, direction, data);
    out.frame(Field::FrameEnipPdu, direction, message);
    let list = match header.command {
        LIST_SERVICES | LIST_IDENTITY | LIST_INTERFACES => data,
        SEND_RR_DATA | SEND_UNIT_DATA => data.get(6..).unwrap_or(&[]),
        _ => return,
    };
    if !out.wants(Field::FrameEnipItem) {
        return;
    }
    let mut at = 2;
    for (_, item) in items(list) {
        let end = at + 4 + item.len();
        out.frame(
            Field::FrameEnipItem,
            direction,
            list.get(at..end).unwrap_or(&[]),
        );
        at = end;
    }
}

/// Tells the parts of a message; `None` if it does not read.
fn tell(
    out: &mut Output<'_>,
    tx: TxId,
    direction: Direction,
    header: &Header,
    data: &[u8],
) -> Option<()> {
    match header.command {
        REGISTER_SESSION => {
            let version = Reader::new(data).le16()?;
            let version = u64::from(version);
            out.number(tx, Field::EnipProtocolVersion, direction, version);
        }
        LIST_SERVICES | LIST_IDENTITY | LIST_INTERFACES => {
            let first = items(data).next();
            match first {
                Some((IDENTITY, item)) => identity(out, tx, direction, item)?,
                Some((SERVICES, item)) => services(out, tx, direction, item)?,
                _ => {}
            }
        }
        SEND_RR_DATA | SEND_UNIT_DATA => {
            let list = data.get(6..)?;
            for (kind, item) in items(list) {
                let cip = match kind {
                    CONNECTED => item.get(2..)?,
                    UNCONNECTED => item,
                    _ => continue,
                };
                service(out, tx, direction, cip, true)?;
                break;
            }
        }
        _ => {}
    }
    Some(())
}

fn identity(out: &mut Output<'_>, tx: TxId, direction: Direction, item: &[u8]) -> Option<()> {
    let mut at = Reader::new(item);
    let version = at.le16()?;
    at.skip(16)?;
    for (field, number) in [
        (Field::EnipProtocolVersion, version),
        (Field::EnipVendorId, at.le16()?),
        (Field::EnipDeviceType, at.le16()?),
        (Field::EnipProductCode, at.le16()?),
        // Major revision first.
        (Field::EnipRevision, at.u16()?),
        (Field::EnipIdentityStatus, at.le16()?),
    ] {
        out.number(tx, field, direction, u64::from(number));
    }
    let serial = at.le32()?;
    out.number(tx, Field::EnipSerial, direction, u64::from(serial));
    let name = at.counted_u8()?;
    out.field(tx, Field::EnipProductName, direction, name);
    let state = at.u8()?;
    out.number(tx, Field::EnipState, direction, u64::from(state));
    Some(())
}

fn services(out: &mut Output<'_>, tx: TxId, direction: Direction, item: &[u8]) -> Option<()> {
    let mut at = Reader::new(item);
    let (version, capabilities) = (at.le16()?, at.le16()?);
    let version = u64::from(version);
    out.number(tx, Field::EnipProtocolVersion, direction, version);
    let capabilities = u64::from(capabilities);
    out.number(tx, Field::EnipCapabilities, direction, capabilities);
    out.field(tx, Field::EnipServiceName, direction, at.take(16)?);
    Some(())
}

/// A CIP request or response; `outer`: it may hold others.
fn service(
    out: &mut Output<'_>,
    tx: TxId,
    direction: Direction,
    cip: &[u8],
    outer: bool,
) -> Option<()> {
    let mut at = Reader::new(cip);
    let code = at.u8()?;
    out.frame(Field::FrameEnipCip, direction, cip);
    let number = code & 0x7f;
    let value = service_value(number, None, None);
    out.number(tx, Field::CipService, direction, value);
    if code & 0x80 == 0 {
        request(out, tx, direction, number, &mut at)?;
    } else {
        at.skip(1)?;
        let (status, more) = (at.u8()?, at.counted_u8()?);
        out.number(tx, Field::EnipCipStatus, direction, u64::from(status));
        if let [low, high] = *more {
            let more = u64::from(u16::from_le_bytes([low, high]));
            out.number(tx, Field::EnipCipExtendedstatus, direction, more);
        }
    }
    if number == MULTIPLE && outer {
        let list = at.rest();
        let count = usize::from(at.le16()?);
        for number in 0..count.min(SERVICES_MAX) {
            let place = usize::from(at.le16()?);
            let next = match number + 1 < count {
                true => Reader::new(at.rest())
                    .le16()
                    .map_or(list.len(), usize::from),
                false => list.len(),
            };
            // Places that are out of order do not say where a service ends.
            let one = list.get(place..next).or_else(|| list.get(place..))?;
            service(out, tx, direction, one, false)?;
        }
    }
    Some(())
}

/// A logical segment of a path, of 8, 16 or 32 bits: its kind and value.
fn segment(path: &mut Reader<'_>) -> Option<(u8, u32)> {
    let segment = path.u8()?;
    if segment >> 5 != 1 {
        return None;
    }
    let value = match segment & 3 {
        0 => u32::from(path.u8()?),
        1 => {
            path.skip(1)?;
            u32::from(path.le16()?)
        }
        2 => {
            path.skip(1)?;
            path.le32()?
        }
        _ => return None,
    };
    Some((segment, value))
}

/// The path of a request, and the attributes that it lists.
fn request(
    out: &mut Output<'_>,
    tx: TxId,
    direction: Direction,
    number: u8,
    at: &mut Reader<'_>,
) -> Option<()> {
    let size = usize::from(at.u8()?) * 2;
    let mut path = Reader::new(at.take(size)?);
    let mut class = None;
    let mut told = 0;
    // Rules may ask for parts of a request when its response is there, too.
    let mut both = |out: &mut Output<'_>, field: Field, value: u32| {
        told += 1;
        if told <= SEGMENTS_MAX + ATTRIBUTES_MAX {
            for direction in [Direction::ToServer, Direction::ToClient] {
                out.number(tx, field, direction, u64::from(value));
            }
        }
    };
    let mut attribute = |out: &mut Output<'_>, class: Option<u32>, value: u32| {
        both(out, Field::EnipCipAttribute, value);
        if class.is_some() {
            let value = service_value(number, class, Some(value));
            out.number(tx, Field::CipService, direction, value);
        }
    };
    for _ in 0..SEGMENTS_MAX {
        if path.is_empty() {
            break;
        }
        let (segment, value) = segment(&mut path)?;
        match segment >> 2 {
            8 => {
                class = class.or(Some(value));
                let with = service_value(number, Some(value), None);
                out.number(tx, Field::CipService, direction, with);
                for way in [Direction::ToServer, Direction::ToClient] {
                    out.number(tx, Field::EnipCipClass, way, u64::from(value));
                }
            }
            9 => {
                for way in [Direction::ToServer, Direction::ToClient] {
                    out.number(tx, Field::EnipCipInstance, way, u64::from(value));
                }
            }
            12 => attribute(out, class, value),
            _ => {}
        }
    }
    let listed = match number {
        GET_ATTRIBUTE_LIST => usize::from(at.le16()?).min(ATTRIBUTES_MAX),
        SET_ATTRIBUTE_LIST => usize::from(at.le16()?).min(1),
        _ => 0,
    };
    for _ in 0..listed {
        let value = u32::from(at.le16()?);
        attribute(out, class, value);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, same_for_every_cut};
    use super::*;
    use crate::packet::Direction::{ToClient, ToServer};

    const PLACE: Place = Place {
        transport: Transport::Tcp,
        server_port: PORT,
    };

    fn message(command: u16, session: u32, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(command.to_le_bytes());
        out.extend((data.len() as u16).to_le_bytes());
        out.extend(session.to_le_bytes());
        out.extend([0; 16]);
        out.extend(data);
        out
    }

    fn rr(cip: &[u8]) -> Vec<u8> {
        let mut data = vec![0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0xb2, 0];
        data.extend((cip.len() as u16).to_le_bytes());
        data.extend(cip);
        data
    }

    #[test]
    fn a_request_and_its_response_are_one_transaction() {
        // Multiple service at class 2, with a Get_Attribute_Single of class 4, attribute 3.
        let inner = [0x0e, 3, 0x20, 4, 0x24, 1, 0x30, 3];
        let mut cip = vec![MULTIPLE, 2, 0x20, 2, 0x24, 1, 1, 0, 4, 0];
        cip.extend(inner);
        let asked = message(SEND_RR_DATA, 7, &rr(&cip));
        let answer = message(SEND_RR_DATA, 7, &rr(&[0x8e, 0, 5, 2, 1, 2]));
        let (protocol, lines) =
            same_for_every_cut(PLACE, &[(ToServer, &asked), (ToClient, &answer)]);
        assert_eq!(protocol, AppProtocol::Enip);
        let has = |line: &str| lines.iter().any(|known| known == line);
        assert!(has("tx 0 ToServer enip_command 111"), "{lines:?}");
        for value in [
            service_value(MULTIPLE, None, None),
            service_value(0x0e, Some(4), None),
            service_value(0x0e, Some(4), Some(3)),
        ] {
            assert!(has(&format!("tx 0 ToServer cip_service {value}")));
        }
        assert!(has("tx 0 ToServer enip.cip_attribute 3"));
        assert!(
            has("tx 0 ToClient cip_service 252201579132747776")
                || has("tx 0 ToClient enip.cip_status 5")
        );
        assert!(has("tx 0 ToClient enip.cip_extendedstatus 513"));
        assert!(!lines.iter().any(|line| line.starts_with("tx 1")));
    }

    #[test]
    fn an_identity_is_told() {
        let mut item = vec![1, 0];
        item.extend([0; 16]);
        item.extend([1, 0, 12, 0, 65, 0, 3, 4, 0, 0, 9, 0, 0, 0, 2, b'P', b'X', 3]);
        let mut data = vec![1, 0, 0x0c, 0, item.len() as u8, 0];
        data.extend(&item);
        let bytes = message(LIST_IDENTITY, 0, &data);
        let (_, lines) = same_for_every_cut(PLACE, &[(ToClient, &bytes)]);
        assert!(lines.contains(&"tx 0 ToClient enip.product_name \"PX\"".to_string()));
        assert!(lines.contains(&"tx 0 ToClient enip.revision 772".to_string()));
        assert!(lines.contains(&"tx 0 ToClient enip.state 3".to_string()));
    }
}
