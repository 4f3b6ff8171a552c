//! Frames of an SMB flow (`frame:nbss.pdu`, `frame:smb2.data`, ...): parts of a record, told as its
//! bytes are taken, so that a frame needs no record that is whole. Bytes of a compound belong to
//! the frames of its first record.

use super::super::field::Field;
use super::super::output::{Growing, Output, TxId};
use crate::packet::Direction;

/// Parts of a record.
const PARTS: usize = 6;

const NBSS: [Field; 3] = [
    Field::FrameNbssPdu,
    Field::FrameNbssHdr,
    Field::FrameNbssData,
];
const SMB: [[Field; 3]; 3] = [
    [
        Field::FrameSmb1Pdu,
        Field::FrameSmb1Hdr,
        Field::FrameSmb1Data,
    ],
    [
        Field::FrameSmb2Pdu,
        Field::FrameSmb2Hdr,
        Field::FrameSmb2Data,
    ],
    [
        Field::FrameSmb3Pdu,
        Field::FrameSmb3Hdr,
        Field::FrameSmb3Data,
    ],
];

/// All of them, for `Description`.
pub(super) const FIELDS: [Field; 12] = [
    NBSS[0], NBSS[1], NBSS[2], SMB[0][0], SMB[0][1], SMB[0][2], SMB[1][0], SMB[1][1], SMB[1][2],
    SMB[2][0], SMB[2][1], SMB[2][2],
];

/// The record whose bytes are being taken in a direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frames {
    /// Version (1 to 3); 0: no frame is asked for.
    version: u8,
    /// Bytes of the record so far, and in all.
    at: u32,
    end: u32,
    begun: [(TxId, Growing); PARTS],
}

impl Frames {
    /// A record begins, `length` bytes with its frame.
    pub fn begin(&mut self, out: &mut Output<'_>, magic: u8, length: usize) {
        self.stop(out);
        let version = match magic {
            0xff => 1,
            0xfe => 2,
            0xfd => 3,
            _ => return,
        };
        if FIELDS.iter().any(|field| out.wants(*field)) {
            self.version = version;
            self.at = 0;
            self.end = length as u32;
        }
    }

    /// Field, first byte and end of a part.
    fn part(&self, place: usize) -> Option<(Field, u32, u32)> {
        let row = SMB.get(usize::from(self.version).checked_sub(1)?)?;
        let header = [36, 68, 56].get(usize::from(self.version) - 1)?;
        Some(match place {
            0 => (NBSS[0], 0, self.end),
            1 => (NBSS[1], 0, 4),
            2 => (NBSS[2], 4, self.end),
            3 => (row[0], 4, self.end),
            4 => (row[1], 4, *header),
            _ => (row[2], *header, self.end),
        })
    }

    /// Bytes of the record.
    pub fn take(&mut self, out: &mut Output<'_>, direction: Direction, bytes: &[u8]) {
        if self.version == 0 {
            return;
        }
        for place in 0..PARTS {
            let Some((field, from, to)) = self.part(place) else {
                return;
            };
            let first = from.saturating_sub(self.at) as usize;
            let last = (to.saturating_sub(self.at) as usize).min(bytes.len());
            let Some(part) = bytes.get(first..last).filter(|part| !part.is_empty()) else {
                continue;
            };
            if !out.wants(field) {
                continue;
            }
            let Some(slot) = self.begun.get_mut(place) else {
                return;
            };
            if !slot.0.is_some() {
                *slot = out.begin_frame(field, direction);
            }
            out.grow(slot.0, slot.1, part);
            if last < bytes.len() || self.at + last as u32 >= to {
                out.complete(slot.0);
                slot.0 = TxId::NONE;
            }
        }
        self.at += bytes.len() as u32;
        if self.at >= self.end {
            self.stop(out);
        }
    }

    /// No more bytes of the record will come.
    pub fn stop(&mut self, out: &mut Output<'_>) {
        for (tx, _) in &mut self.begun {
            if tx.is_some() {
                out.complete(*tx);
                *tx = TxId::NONE;
            }
        }
        self.version = 0;
    }
}
