//! All bytes of a direction as one frame, for rules that ask for it (`frame:PROTOCOL.stream`). It
//! begins once the protocol is known, with what came before; the protocols' own frames are theirs.

use super::field::{Field, Progress};
use super::heap::{Heap, Text};
use super::output::{FlowState, Growing, Output, Shared, TxId};
use super::protocol::AppProtocol;
use crate::packet::Direction;

/// Bytes of a direction that rules see as its `stream` frame.
const STREAM_FRAME_MAX: usize = 64 << 10;

/// The frame of one direction.
#[derive(Debug, Default)]
struct StreamFrame {
    /// Bytes that came before the protocol was known.
    early: Text,
    open: Option<(TxId, Growing)>,
    size: usize,
}

/// The frames of a flow.
#[derive(Debug, Default)]
pub(super) struct StreamFrames([StreamFrame; 2]);

impl StreamFrames {
    /// Takes the bytes of a piece in the direction `way`.
    pub(super) fn take(
        &mut self,
        holds: &mut Heap,
        shared: &mut Shared,
        state: &mut FlowState,
        way: usize,
        bytes: &[u8],
    ) {
        let Some(frame) = self.0.get_mut(way) else {
            return;
        };
        let room = STREAM_FRAME_MAX.saturating_sub(frame.size);
        let bytes = bytes.get(..room).unwrap_or(bytes);
        frame.size += bytes.len();
        if state.protocol == AppProtocol::Unknown {
            shared.lost += u64::from(!holds.append(&mut frame.early, bytes));
            return;
        }
        for direction in [Direction::ToServer, Direction::ToClient] {
            let frame = &mut self.0[direction.index()];
            if frame.size == 0 {
                continue;
            }
            let mut output = Output {
                shared,
                flow: state,
            };
            let (tx, growing) = *frame.open.get_or_insert_with(|| {
                let begun = output.begin_frame(Field::FrameStream, direction);
                output.progress(begun.0, direction.opposite(), Progress::Complete);
                begun
            });
            if !frame.early.is_empty() {
                output.grow(tx, growing, holds.get(&frame.early));
                holds.clear(&mut frame.early);
            }
            if direction.index() == way {
                output.grow(tx, growing, bytes);
            }
        }
    }

    /// Gives back what it holds.
    pub(super) fn clear(&mut self, holds: &mut Heap) {
        for frame in &mut self.0 {
            holds.clear(&mut frame.early);
        }
    }
}
