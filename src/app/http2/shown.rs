//! HTTP/2's frames as rules see them (`frame:http2.hdr`, `.data`, `.pdu`). Most are shown whole; those
//! of DATA grow as their bytes come, so that no byte is held for them.

use super::super::field::Field;
use super::super::output::{Growing, Output, TxId};
use super::{FRAME_MAX, HEAD};
use crate::packet::Direction;

/// A DATA frame that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Its payload, and all of it.
    open: [Option<(TxId, Growing)>; 2],
    size: usize,
}

impl Shown {
    /// Begins with the frame's head and what was read with it.
    pub(super) fn begin(&mut self, head: &[u8], direction: Direction, out: &mut Output<'_>) {
        let hdr = head.get(..HEAD).unwrap_or(head);
        out.frame(Field::FrameHttp2Hdr, direction, hdr);
        self.size = 0;
        let parts = [(Field::FrameHttp2Data, HEAD), (Field::FrameHttp2Pdu, 0)];
        for (open, (field, from)) in self.open.iter_mut().zip(parts) {
            *open = out.wants(field).then(|| {
                let (tx, growing) = out.begin_frame(field, direction);
                out.grow(tx, growing, head.get(from..).unwrap_or(&[]));
                (tx, growing)
            });
        }
    }

    /// Takes what was read of it; `over`: that was all.
    pub(super) fn grow(&mut self, bytes: &[u8], over: bool, out: &mut Output<'_>) {
        let room = FRAME_MAX.saturating_sub(self.size);
        let bytes = bytes.get(..room).unwrap_or(bytes);
        self.size += bytes.len();
        for open in &mut self.open {
            if let Some((tx, growing)) = *open {
                out.grow(tx, growing, bytes);
                if over {
                    out.complete(tx);
                    *open = None;
                }
            }
        }
    }
}

/// Shows a whole frame of another kind.
pub(super) fn show(whole: &[u8], direction: Direction, out: &mut Output<'_>) {
    for (field, part) in [
        (Field::FrameHttp2Hdr, whole.get(..HEAD)),
        (Field::FrameHttp2Data, whole.get(HEAD..)),
        (Field::FrameHttp2Pdu, Some(whole)),
    ] {
        out.frame(field, direction, part.unwrap_or(&[]));
    }
}
