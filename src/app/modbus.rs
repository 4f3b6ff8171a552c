//! Modbus over TCP (Modbus Messaging on TCP/IP 1.0b, Application Protocol 1.1b3): a transaction is
//! a request and its response. What the `modbus` keyword asks of a request becomes instances of
//! [`SIZE`] bytes: one for the request, and one more for each value that it writes.

use super::field::{Field, Progress};
use super::heap::Heap;
use super::output::{AppEvent, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::reader::Reader;
use super::table::{Table, tx_of, tx_words};
use crate::packet::Direction;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Modbus,
    probe,
    over: &[Transport::Tcp],
    fields: &[Field::Modbus, Field::ModbusMessage],
    events: &[
        "unsolicited_response",
        "invalid_function_code",
        "invalid_length",
        "invalid_value",
        "invalid_exception_code",
        "value_mismatch",
        "flooded",
        "invalid_protocol_id",
    ],
};

const UNSOLICITED: AppEvent = AppEvent::of(AppProtocol::Modbus, 0);
const FUNCTION: AppEvent = AppEvent::of(AppProtocol::Modbus, 1);
const LENGTH: AppEvent = AppEvent::of(AppProtocol::Modbus, 2);
const VALUE_EVENT: AppEvent = AppEvent::of(AppProtocol::Modbus, 3);
const EXCEPTION: AppEvent = AppEvent::of(AppProtocol::Modbus, 4);
const MISMATCH: AppEvent = AppEvent::of(AppProtocol::Modbus, 5);
const FLOODED: AppEvent = AppEvent::of(AppProtocol::Modbus, 6);
const PROTOCOL: AppEvent = AppEvent::of(AppProtocol::Modbus, 7);

const PORT: u16 = 502;
/// Bytes before the unit: transaction, protocol, length.
const HEADER: usize = 6;
/// Most bytes of unit and message.
const LENGTH_MAX: usize = 254;
/// Requests that wait for their response; one more is a flood, and the next one ends the parser's
/// work (Suricata's number).
const PENDING_MAX: usize = 500;

/// Bytes of an instance, numbers with the high byte first.
pub const SIZE: usize = 16;
/// Places in an instance: unit (1), function (1), subfunction (2), access (1), category (1), first
/// and last address (2 each), whether there are addresses (1), whether it is a value (1) and then
/// its address and itself (2 each).
pub const UNIT: i64 = 0;
#[allow(missing_docs)]
pub const FUNCTION_AT: i64 = 1;
#[allow(missing_docs)]
pub const SUBFUNCTION: i64 = 2;
#[allow(missing_docs)]
pub const ACCESS: i64 = 4;
#[allow(missing_docs)]
pub const CATEGORY: i64 = 5;
#[allow(missing_docs)]
pub const FIRST: i64 = 6;
#[allow(missing_docs)]
pub const LAST: i64 = 8;
#[allow(missing_docs)]
pub const HAS_ADDRESS: i64 = 10;
#[allow(missing_docs)]
pub const IS_VALUE: i64 = 11;
#[allow(missing_docs)]
pub const VALUE_ADDRESS: i64 = 12;
#[allow(missing_docs)]
pub const VALUE: i64 = 14;

/// Bits of access.
pub mod access {
    #![allow(missing_docs)]
    pub const READ: u8 = 1;
    pub const WRITE: u8 = 2;
    pub const DISCRETES: u8 = 4;
    pub const COILS: u8 = 8;
    pub const INPUT: u8 = 16;
    pub const HOLDING: u8 = 32;
}

/// Bits of the category of a function.
pub mod category {
    #![allow(missing_docs)]
    pub const UNASSIGNED: u8 = 1;
    pub const ASSIGNED: u8 = 2;
    pub const USER: u8 = 4;
    pub const RESERVED: u8 = 8;
}

fn probe(probe: &Probe<'_>) -> Guess {
    if probe.server_port != PORT && probe.client_port != PORT {
        return Guess::No;
    }
    let mut at = Reader::new(probe.bytes);
    match (at.u16(), at.u16(), at.u16(), at.u16()) {
        (_, Some(protocol), ..) if protocol != 0 => Guess::No,
        (_, _, Some(length), _) if !(2..=LENGTH_MAX as u16).contains(&length) => Guess::No,
        (_, _, _, Some(_)) => Guess::Yes,
        _ => Guess::More,
    }
}

/// The parser of a flow.
#[derive(Debug, Default)]
pub struct Modbus {
    /// `[transaction, transaction's name 2, what its answer says]`.
    pending: Table<5>,
}

/// What the answer to a request says, if all is well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    /// Nothing that is known here.
    Any,
    /// Whatever, with so many bytes of values.
    Bytes(u8),
    /// The same four bytes as the request.
    Same([u8; 4]),
}

impl Answer {
    /// To the request of a function, from what stands behind it.
    fn to(function: u8, content: &[u8]) -> Answer {
        let mut at = Reader::new(content);
        let Some(four) = at.array::<4>() else {
            return Answer::Any;
        };
        let count = u16::from_be_bytes([four[2], four[3]]);
        let bytes = match function {
            1 | 2 => count.div_ceil(8),
            3 | 4 | 23 => count.saturating_mul(2),
            5 | 6 | 15 | 16 | 22 => return Answer::Same(four),
            _ => return Answer::Any,
        };
        Answer::Bytes(bytes.min(255) as u8)
    }

    fn words(self) -> [u32; 2] {
        match self {
            Answer::Any => [0, 0],
            Answer::Bytes(count) => [1, u32::from(count)],
            Answer::Same(four) => [2, u32::from_be_bytes(four)],
        }
    }

    fn of_words([kind, value]: [u32; 2]) -> Answer {
        match kind {
            1 => Answer::Bytes(value as u8),
            2 => Answer::Same(value.to_be_bytes()),
            _ => Answer::Any,
        }
    }

    /// Whether what stands behind the function of an answer is this.
    fn fits(self, content: &[u8]) -> bool {
        match self {
            Answer::Any => true,
            Answer::Bytes(count) => {
                content.first() == Some(&count) && content.len() == 1 + usize::from(count)
            }
            Answer::Same(four) => content.starts_with(&four),
        }
    }
}

/// Whether a request asks for what its function allows (Modbus application protocol 1.1b3, chapter
/// 6: how many, and which values of a coil).
fn is_allowed(function: u8, content: &[u8]) -> bool {
    let mut at = Reader::new(content);
    let (Some(_), Some(second)) = (at.u16(), at.u16()) else {
        return true;
    };
    let bytes = at.u8().map(u16::from);
    match function {
        1 | 2 => (1..=2000).contains(&second),
        3 | 4 => (1..=125).contains(&second),
        5 => matches!(second, 0 | 0xff00),
        15 => (1..=1968).contains(&second) && bytes == Some(second.div_ceil(8)),
        16 => (1..=123).contains(&second) && bytes == Some(2 * second),
        23 => (1..=125).contains(&second),
        _ => true,
    }
}

/// Whether a code of an exception is one (chapter 7).
fn is_exception(code: Option<&u8>) -> bool {
    matches!(code, Some(1..=8 | 10 | 11))
}

impl Parse for Modbus {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        if input.gap > 0 {
            // A length is all that says where a message begins.
            return Err(Broken);
        }
        let mut taken = 0;
        // Every round takes a header at least.
        loop {
            let rest = input.bytes.get(taken..).unwrap_or(&[]);
            let mut at = Reader::new(rest);
            let (Some(id), Some(protocol), Some(length)) = (at.u16(), at.u16(), at.u16()) else {
                return Ok(Taken::until(taken, HEADER));
            };
            let length = usize::from(length);
            if !(2..=LENGTH_MAX).contains(&length) {
                out.event(TxId::NONE, input.direction, LENGTH);
                return Err(Broken);
            }
            let Some(message) = at.take(length) else {
                return Ok(Taken::until(taken, HEADER + length));
            };
            self.message(out, input.direction, id, protocol, message)?;
            taken += HEADER + length;
        }
    }

    fn free(&mut self, heap: &mut Heap) {
        self.pending.clear(heap);
    }
}

impl Modbus {
    fn message(
        &mut self,
        out: &mut Output<'_>,
        direction: Direction,
        id: u16,
        protocol: u16,
        message: &[u8],
    ) -> Result<(), Broken> {
        let tx = match direction {
            Direction::ToServer => self.request(out, id, message)?,
            Direction::ToClient => self.response(out, id, message),
        };
        if protocol != 0 {
            out.event(tx, direction, PROTOCOL);
        }
        if tx.is_some() && out.wants(Field::ModbusMessage) {
            let scratch = &mut out.shared.scratch;
            scratch.clear();
            scratch.extend_from_slice(&id.to_be_bytes());
            scratch.extend_from_slice(&protocol.to_be_bytes());
            scratch.extend_from_slice(message);
            out.field_of_scratch(tx, Field::ModbusMessage, direction);
        }
        if direction == Direction::ToClient {
            out.complete(tx);
        } else {
            out.progress(tx, direction, Progress::Complete);
        }
        Ok(())
    }

    fn request(&mut self, out: &mut Output<'_>, id: u16, message: &[u8]) -> Result<TxId, Broken> {
        if self.pending.len() > PENDING_MAX {
            return Err(Broken);
        }
        let tx = out.open();
        if self.pending.len() == PENDING_MAX {
            out.event(tx, Direction::ToServer, FLOODED);
        }
        tell(out, tx, message);
        let (function, content) = match message {
            [_, function, content @ ..] => (*function, content),
            _ => (0, &[][..]),
        };
        if !is_allowed(function, content) {
            out.event(tx, Direction::ToServer, VALUE_EVENT);
        }
        let [index, serial] = tx_words(tx);
        let [kind, value] = Answer::to(function, content).words();
        let record = [u32::from(id), index, serial, kind, value];
        // Without room in the heap nothing answers it.
        if let Some(lost) = self.pending.push(out.heap(), usize::MAX, &record) {
            out.complete(tx_of(lost[1], lost[2]));
        }
        Ok(tx)
    }

    fn response(&mut self, out: &mut Output<'_>, id: u16, message: &[u8]) -> TxId {
        let found = self
            .pending
            .find(&out.shared.heap, |record| record[0] == u32::from(id));
        let (code, content) = match message {
            [_, code, content @ ..] => (*code, content),
            _ => (0, &[][..]),
        };
        if let Some((place, record)) = found {
            let _ = self.pending.remove(out.heap(), place);
            let tx = tx_of(record[1], record[2]);
            if code & 0x80 == 0 {
                if !Answer::of_words([record[3], record[4]]).fits(content) {
                    out.event(tx, Direction::ToClient, MISMATCH);
                }
            } else if !is_exception(content.first()) {
                out.event(tx, Direction::ToClient, EXCEPTION);
            }
            return tx;
        }
        let tx = out.open();
        out.event(tx, Direction::ToClient, UNSOLICITED);
        tell(out, tx, message);
        tx
    }
}

/// What functions do: access, and category.
fn kind_of(function: u8) -> (u8, u8) {
    use access::{COILS, DISCRETES, HOLDING, INPUT, READ, WRITE};
    let what = match function {
        1 => READ | COILS,
        2 => READ | DISCRETES,
        3 | 24 => READ | HOLDING,
        4 => READ | INPUT,
        5 | 15 => WRITE | COILS,
        6 | 16 | 22 => WRITE | HOLDING,
        20 => READ,
        21 => WRITE,
        23 => READ | WRITE | HOLDING,
        _ => 0,
    };
    let category = match function {
        9 | 10 | 13 | 14 | 41 | 42 | 90 | 91 | 125..=127 => category::RESERVED,
        1..=8 | 11 | 12 | 15..=17 | 20..=24 | 43 => category::ASSIGNED,
        65..=72 | 100..=110 => category::USER,
        _ => category::UNASSIGNED,
    };
    (what, category)
}

/// Tells a message: unit, function and what it reads or writes. Rules ask for it in the direction of
/// requests alone, as Suricata's do.
fn tell(out: &mut Output<'_>, tx: TxId, message: &[u8]) {
    let mut at = Reader::new(message);
    let (Some(unit), Some(code)) = (at.u8(), at.u8()) else {
        return;
    };
    let function = code & 0x7f;
    if code == 0 {
        out.event(tx, Direction::ToServer, FUNCTION);
    }
    let (what, category) = kind_of(function);
    let mut value = [0; SIZE];
    value[0] = unit;
    value[1] = function;
    let subfunction = Reader::new(at.rest()).u16().filter(|_| function == 8);
    value[2..4].copy_from_slice(&subfunction.unwrap_or(u16::MAX).to_be_bytes());
    value[4] = what;
    value[5] = category;
    if code & 0x80 == 0 && what != 0 && (1..=24).contains(&function) {
        let _ = ranges(out, tx, function, &mut value, &mut at);
    } else {
        put(out, tx, &value);
    }
}

fn put(out: &mut Output<'_>, tx: TxId, value: &[u8; SIZE]) {
    out.field(tx, Field::Modbus, Direction::ToServer, value);
}

/// Sets the addresses of an instance: `count` from `first` on.
fn set_range(value: &mut [u8; SIZE], first: u16, count: u16) {
    let last = first.saturating_add(count.saturating_sub(1));
    value[6..8].copy_from_slice(&first.to_be_bytes());
    value[8..10].copy_from_slice(&last.to_be_bytes());
    value[10] = 1;
}

/// Addresses and values of a request; `None` if it is cut short.
fn ranges(
    out: &mut Output<'_>,
    tx: TxId,
    function: u8,
    value: &mut [u8; SIZE],
    at: &mut Reader<'_>,
) -> Option<()> {
    let (Some(first), Some(second)) = (at.u16(), at.u16()) else {
        put(out, tx, value);
        return None;
    };
    let single = matches!(function, 5 | 6 | 22);
    let coils = value[4] & access::COILS != 0;
    if function == 23 {
        // What it reads, and then what it writes.
        let mut reads = *value;
        reads[4] &= !access::WRITE;
        set_range(&mut reads, first, second);
        put(out, tx, &reads);
        value[4] &= !access::READ;
        let (first, count) = (at.u16()?, at.u16()?);
        set_range(value, first, count);
        put(out, tx, value);
        return values(out, tx, value, first, at.counted_u8()?, false, count);
    }
    if matches!(function, 20 | 21 | 24) {
        put(out, tx, value);
        return Some(());
    }
    set_range(value, first, if single { 1 } else { second });
    put(out, tx, value);
    match function {
        5 => written(out, tx, value, first, u16::from(second == 0xff00)),
        6 => written(out, tx, value, first, second),
        15 | 16 => return values(out, tx, value, first, at.counted_u8()?, coils, second),
        _ => {}
    }
    Some(())
}

/// The values of several registers or coils; as many as fit in a message.
fn values(
    out: &mut Output<'_>,
    tx: TxId,
    value: &[u8; SIZE],
    first: u16,
    data: &[u8],
    coils: bool,
    count: u16,
) -> Option<()> {
    for place in 0..count {
        let number = if coils {
            let byte = data.get(usize::from(place / 8))?;
            u16::from(byte >> (place % 8) & 1)
        } else {
            Reader::at(data, 2 * usize::from(place)).u16()?
        };
        written(out, tx, value, first.saturating_add(place), number);
    }
    Some(())
}

fn written(out: &mut Output<'_>, tx: TxId, value: &[u8; SIZE], address: u16, number: u16) {
    let mut value = *value;
    value[11] = 1;
    value[12..14].copy_from_slice(&address.to_be_bytes());
    value[14..16].copy_from_slice(&number.to_be_bytes());
    out.field(tx, Field::Modbus, Direction::ToServer, &value);
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

    /// A message of unit 7.
    fn message(function: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![0, 1, 0, 0, 0, 2 + content.len() as u8, 7, function];
        out.extend(content);
        out
    }

    #[test]
    fn what_is_wrong_with_values_is_told() {
        let events = |request: (u8, &[u8]), response: (u8, &[u8])| {
            let (asked, said) = (
                message(request.0, request.1),
                message(response.0, response.1),
            );
            let talk: &[(Direction, &[u8])] = &[(ToServer, &asked), (ToClient, &said)];
            let (_, lines) = same_for_every_cut(PLACE, talk);
            let name = |line: &String| Some(line.split("\"modbus\", \"").nth(1)?.to_string());
            let names: Vec<String> = lines.iter().filter_map(name).collect();
            names.concat().replace("\"))", " ")
        };
        // Two registers from 10 on, and their bytes.
        let read: (u8, &[u8]) = (3, &[0, 10, 0, 2]);
        assert_eq!(events(read, (3, &[4, 1, 2, 3, 4])), "");
        assert_eq!(events(read, (3, &[2, 1, 2])), "value_mismatch ");
        assert_eq!(events(read, (0x83, &[2])), "");
        assert_eq!(events(read, (0x83, &[9])), "invalid_exception_code ");
        // Nine coils are two bytes.
        assert_eq!(events((1, &[0, 0, 0, 9]), (1, &[2, 1, 1])), "");
        // No register, and too many.
        assert_eq!(events((3, &[0, 10, 0, 0]), (0x83, &[3])), "invalid_value ");
        assert_eq!(
            events((3, &[0, 10, 0, 126]), (0x83, &[3])),
            "invalid_value "
        );
        // A coil is on or off, and the answer says the same.
        assert_eq!(events((5, &[0, 1, 0xff, 0]), (5, &[0, 1, 0xff, 0])), "");
        assert_eq!(
            events((5, &[0, 1, 0xff, 0]), (5, &[0, 1, 0, 0])),
            "value_mismatch "
        );
        assert_eq!(
            events((5, &[0, 1, 1, 0]), (5, &[0, 1, 1, 0])),
            "invalid_value "
        );
    }

    #[test]
    fn a_write_tells_its_values() {
        // Write registers 10 and 11 of unit 7 with 0x1234 and 5.
        let request = [0, 1, 0, 0, 0, 11, 7, 16, 0, 10, 0, 2, 4, 0x12, 0x34, 0, 5];
        let response = [0, 1, 0, 0, 0, 6, 7, 16, 0, 10, 0, 2];
        let (protocol, lines) =
            same_for_every_cut(PLACE, &[(ToServer, &request), (ToClient, &response)]);
        assert_eq!(protocol, AppProtocol::Modbus);
        let head = "\\x07\\x10\\xff\\xff\\\"\\x02\\x00\\n\\x00\\x0b\\x01";
        assert_eq!(
            lines,
            [
                format!("tx 0 ToServer modbus \"{head}\\x00\\x00\\x00\\x00\\x00\""),
                format!("tx 0 ToServer modbus \"{head}\\x01\\x00\\n\\x124\""),
                format!("tx 0 ToServer modbus \"{head}\\x01\\x00\\x0b\\x00\\x05\""),
            ]
        );
    }
}
