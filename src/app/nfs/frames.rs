//! Records as frames of rules.

use super::{Nfs, auth, call_head};
use crate::app::field::Field;
use crate::app::output::Output;
use crate::app::reader::Reader;
use crate::packet::Direction;

/// Frames of records.
pub(super) const FRAMES: [Field; 10] = [
    Field::FrameNfsRpcPdu,
    Field::FrameNfsRpcHdr,
    Field::FrameNfsRpcData,
    Field::FrameNfsRpcCreds,
    Field::FrameNfsPdu,
    Field::FrameNfsStatus,
    Field::FrameNfs4Pdu,
    Field::FrameNfs4Hdr,
    Field::FrameNfs4Ops,
    Field::FrameNfs4Status,
];

/// Shows what NFS itself says in a record as frames.
fn show_program(out: &mut Output<'_>, direction: Direction, version: Option<u32>, data: &[u8]) {
    let (whole, status) = match version {
        Some(2 | 3) => (Field::FrameNfsPdu, Field::FrameNfsStatus),
        Some(4) => (Field::FrameNfs4Pdu, Field::FrameNfs4Status),
        _ => return,
    };
    if data.is_empty() {
        return;
    }
    out.frame(whole, direction, data);
    if direction == Direction::ToClient {
        out.frame(status, direction, data.get(..4).unwrap_or(data));
    }
    if let Some((head, operations)) = data.split_at_checked(8)
        && version == Some(4)
        && !operations.is_empty()
    {
        out.frame(Field::FrameNfs4Hdr, direction, head);
        out.frame(Field::FrameNfs4Ops, direction, operations);
    }
}

impl Nfs {
    /// Shows a whole record (behind its mark of `mark` bytes) as frames, if rules ask for them.
    pub(super) fn show_frames(
        &self,
        out: &mut Output<'_>,
        direction: Direction,
        record: &[u8],
        mark: usize,
    ) {
        if !FRAMES.iter().any(|field| out.wants(*field)) {
            return;
        }
        let content = record.get(mark..).unwrap_or(&[]);
        out.frame(Field::FrameNfsRpcPdu, direction, record);
        let mut at = Reader::new(content);
        let version = match direction {
            Direction::ToServer => {
                let version = call_head(&mut at).map(|(version, ..)| version);
                let mut credentials = Reader::new(content.get(28..).unwrap_or(&[]));
                let length = credentials.u32().unwrap_or(0) as usize;
                if let Some(credentials) = content.get(24..32 + length) {
                    out.frame(Field::FrameNfsRpcCreds, direction, credentials);
                }
                version
            }
            Direction::ToClient => {
                let (head, data) = record.split_at((mark + 8).min(record.len()));
                out.frame(Field::FrameNfsRpcHdr, direction, head);
                out.frame(Field::FrameNfsRpcData, direction, data);
                let call = at
                    .u32()
                    .and_then(|xid| self.find(&out.shared.heap, xid))
                    .map(|(_, call)| call.version);
                // Kind, state, verifier, state.
                let passed = at
                    .skip(8)
                    .and_then(|()| auth(&mut at))
                    .and_then(|()| at.skip(4));
                call.filter(|_| passed.is_some())
            }
        };
        show_program(out, direction, version, at.rest());
    }
}
