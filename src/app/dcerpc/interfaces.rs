//! The interfaces that a client of DCERPC binds to (C706 12.6.4.3, 12.6.4.4), as the calls of its flow
//! name them.

use super::{Header, IFACE_SIZE, INTERFACES_MAX, uuid_of};
use crate::app::field::Field;
use crate::app::heap::Heap;
use crate::app::output::{Output, TxId};
use crate::app::reader::Reader;
use crate::app::table::{Table, guid_bytes, guid_words};
use crate::packet::Direction;

/// The bindings of a flow: `[UUID 4, version | context << 16, call, index | flags << 16, minor version,
/// result | reason << 16]`.
#[derive(Debug, Default)]
pub(in crate::app) struct Interfaces {
    table: Table<9>,
}

const FIRST_FRAGMENT: u32 = 1 << 16;
const ANSWERED: u32 = 1 << 17;
const ACCEPTED: u32 = 1 << 18;

impl Interfaces {
    /// Takes the presentation contexts of a bind or alter context in (C706 12.6.4.3). `None` if the
    /// body is cut short.
    pub fn bind(&mut self, heap: &mut Heap, header: &Header, body: &[u8]) -> Option<()> {
        let mut at = Reader::at(body, 8);
        let [count, _, _, _] = at.array::<4>()?;
        for index in 0..count {
            let context = at.u16_of(header.little)?;
            let [syntaxes, _] = at.array::<2>()?;
            let uuid = uuid_of(at.array()?, header.little);
            let version = at.u16_of(header.little)?;
            let minor = at.u16_of(header.little)?;
            at.skip(20 * usize::from(syntaxes))?;
            let [a, b, c, d] = guid_words(uuid);
            let flags = if header.first { FIRST_FRAGMENT } else { 0 };
            let record = [
                a,
                b,
                c,
                d,
                u32::from(version) | u32::from(context) << 16,
                header.call,
                u32::from(index) | flags,
                u32::from(minor),
                0,
            ];
            let same = |known: &[u32; 9]| known[4] >> 16 == u32::from(context);
            match self.table.find(heap, same) {
                Some((place, _)) => self.table.set(heap, place, &record),
                // Who is pushed out holds nothing.
                None => drop(self.table.push(heap, INTERFACES_MAX, &record)),
            }
        }
        Some(())
    }

    /// Forgets all of them: on an SMB pipe every bind stands alone.
    pub fn clear(&mut self, heap: &mut Heap) {
        self.table.clear(heap);
    }

    /// Takes the results of a bind ack in (C706 12.6.4.4).
    pub fn answer(&mut self, heap: &mut Heap, header: &Header, body: &[u8]) -> Option<()> {
        let mut at = Reader::at(body, 8);
        let address = usize::from(at.u16_of(header.little)?);
        at.skip(address)?;
        // The list stands at a multiple of four.
        at.skip((address + 2).wrapping_neg() % 4)?;
        let [count, _, _, _] = at.array::<4>()?;
        for index in 0..count {
            let result = at.u16_of(header.little)?;
            let reason = at.u16_of(header.little)?;
            at.skip(20)?;
            let this = |r: &[u32; 9]| r[5] == header.call && r[6] & 0xffff == u32::from(index);
            if let Some((place, mut record)) = self.table.find(heap, this) {
                record[6] = record[6] & !ACCEPTED | ANSWERED;
                record[8] = u32::from(result) | u32::from(reason) << 16;
                if result == 0 {
                    record[6] |= ACCEPTED;
                }
                self.table.set(heap, place, &record);
            }
        }
        Some(())
    }

    /// Shows events the interfaces that a bind asked for, once it is answered.
    pub fn show_bind(&self, out: &mut Output<'_>, tx: TxId, call: Option<u32>) {
        // The table is bounded by INTERFACES_MAX.
        for place in 0..self.table.len() {
            match self.table.get(&out.shared.heap, place) {
                Some(record) if call.is_none_or(|call| record[5] == call) => {
                    show_interface(out, tx, &record);
                }
                Some(_) => {}
                None => break,
            }
        }
    }

    /// Names the accepted interfaces (of a context, or all) in both directions of a transaction;
    /// whether there were any. Events are shown those that were not accepted, too.
    pub fn tell(&self, out: &mut Output<'_>, tx: TxId, context: Option<u16>) -> bool {
        let mut told = false;
        // The table is bounded by INTERFACES_MAX.
        for place in 0..self.table.len() {
            let Some(record) = self.table.get(&out.shared.heap, place) else {
                break;
            };
            let other = context.is_some_and(|wanted| record[4] >> 16 != u32::from(wanted));
            if other {
                continue;
            }
            show_interface(out, tx, &record);
            if record[6] & ACCEPTED == 0 {
                continue;
            }
            let uuid = guid_bytes([record[0], record[1], record[2], record[3]]);
            tell_interface(
                out,
                tx,
                uuid,
                record[4] as u16,
                record[6] & FIRST_FRAGMENT != 0,
            );
            told = true;
        }
        told
    }
}

/// Bytes of an interface for events: UUID, major and minor version, whether it was answered, result and
/// reason.
const SHOWN_SIZE: usize = 25;

/// Shows events an interface as it was asked for, and what came of that.
fn show_interface(out: &mut Output<'_>, tx: TxId, record: &[u32; 9]) {
    if !out.wants(Field::DcerpcInterface) {
        return;
    }
    let mut value = [0; SHOWN_SIZE];
    value[..16].copy_from_slice(&guid_bytes([record[0], record[1], record[2], record[3]]));
    value[16..18].copy_from_slice(&(record[4] as u16).to_be_bytes());
    value[18..20].copy_from_slice(&(record[7] as u16).to_be_bytes());
    value[20] = u8::from(record[6] & ANSWERED != 0);
    value[21..23].copy_from_slice(&(record[8] as u16).to_be_bytes());
    value[23..].copy_from_slice(&((record[8] >> 16) as u16).to_be_bytes());
    out.field(tx, Field::DcerpcInterface, Direction::ToServer, &value);
}

/// Names an interface in both directions of a transaction.
pub(in crate::app) fn tell_interface(
    out: &mut Output<'_>,
    tx: TxId,
    uuid: [u8; 16],
    version: u16,
    first: bool,
) {
    let mut value = [0; IFACE_SIZE];
    value[..16].copy_from_slice(&uuid);
    value[16..18].copy_from_slice(&version.to_be_bytes());
    value[18] = u8::from(first);
    for direction in [Direction::ToServer, Direction::ToClient] {
        out.field(tx, Field::DcerpcIface, direction, &value);
    }
}
