//! Chunks of a stream, as a tap counts by them.
//!
//! A tap sees bytes before it can know that the receiver took them. Suricata, as a tap, inspects a
//! direction's acknowledged bytes piece by piece: at a packet of the direction, once a parser said
//! that a message is complete, or the piece is `Config::stream_chunks` long, or the connection
//! closes (its stream-tcp-reassemble.c, which also varies that length at random by a tenth). A signature matches once in such a piece, and
//! what `offset` and `depth` count from is the piece's start. Here bytes are looked at when they
//! come; the chunk decides how often a signature that matches again and again is told.
//!
//! Without acknowledgments (a capture of one side) a chunk ends at multiples of its length, and with
//! the turn. Inline none of this is asked: there streams.rs looks at bytes before anybody has them.

use super::{DetectionAccess, FlowMark, MatchStage, state};
use crate::packet::{Context, Direction, Kind, flag};

/// Bits of the flags of a TCP header.
const FIN: u8 = 1;
const RST: u8 = 4;
const ACK: u8 = 16;

/// What is known of one direction of a flow. Twenty bytes: two stand in the slab's line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chunk {
    /// Sequence number of stream offset 0, if bytes were seen.
    base: u32,
    /// The last acknowledgment from the other side.
    acked: u32,
    /// Stream offset at which the first message ends that has not been acted on.
    message: u32,
    /// The same of the last one.
    message_last: u32,
    /// `HAS_*`, and whether the other side closes.
    known: u8,
}

/// Bits of `Chunk::known`.
const HAS_BASE: u8 = 1;
const HAS_ACKED: u8 = 2;
const HAS_MESSAGE: u8 = 4;
const CLOSING: u8 = 8;

impl Chunk {
    fn has(&self, bits: u8) -> bool {
        self.known & bits == bits
    }

    /// Stream offset up to which the other side has acknowledged.
    pub fn acked(&self) -> Option<u32> {
        let acked = self.acked.wrapping_sub(self.base);
        (self.has(HAS_BASE | HAS_ACKED) && acked as i32 > 0).then_some(acked)
    }

    /// Notes a sequence number of the direction.
    pub fn note_base(&mut self, base: u32) {
        self.base = base;
        self.known |= HAS_BASE;
    }

    /// Notes an acknowledgment of the other side.
    pub fn note_ack(&mut self, ack: u32, closing: bool) {
        if !self.has(HAS_ACKED) || ack.wrapping_sub(self.acked) as i32 > 0 {
            self.acked = ack;
            self.known |= HAS_ACKED;
        }
        if closing {
            self.note_closing();
        }
    }

    /// Notes that the other side closes.
    pub fn note_closing(&mut self) {
        self.known |= CLOSING;
    }

    /// Notes that a message of the direction ends at a stream offset.
    pub fn note_message(&mut self, end: u32) {
        if !self.has(HAS_MESSAGE) {
            self.message = end;
            self.known |= HAS_MESSAGE;
        }
        self.message_last = end;
    }

    /// Where the chunk that begins at `from` ends now, if it is to be closed.
    pub fn due(&mut self, from: u64, end: u64, length: u64) -> Option<u64> {
        let acked = from as u32;
        let ahead = self.acked()?.wrapping_sub(acked) as i32;
        let to = (from + u64::try_from(ahead).ok()?).min(end);
        if to <= from {
            return None;
        }
        let passed =
            |message: u32| to as u32 == message || (to as u32).wrapping_sub(message) as i32 > 0;
        let message = self.has(HAS_MESSAGE) && passed(self.message);
        if !(message || self.has(CLOSING) || to - from >= length) {
            return None;
        }
        if message {
            self.message = self.message_last;
            if passed(self.message_last) {
                self.known &= !HAS_MESSAGE;
            }
        }
        Some(to)
    }
}

impl<D: DetectionAccess> MatchStage<D> {
    /// A tap's packet: closes the chunk of its direction if that is due, and notes what the packet
    /// acknowledges. Gives whether signatures are to be asked about what lies beyond.
    pub(super) fn begin_in_tap(
        &mut self,
        context: &Context,
        bytes: &[u8],
        mark: &mut FlowMark,
    ) -> bool {
        if self.inline || mark.slab == state::NONE || context.protocol != super::feed::TCP {
            return false;
        }
        let again = self.close_due(context, mark);
        self.note_tcp(context, bytes, mark.slab);
        again
    }

    /// Notes sequence numbers of a packet, once its flow has a slab.
    pub(super) fn note_tcp(&mut self, context: &Context, bytes: &[u8], slab: u32) {
        let framed = matches!(context.kind, Kind::Frame | Kind::Inner | Kind::Datagram);
        if self.inline || !framed || !context.has(flag::TRANSPORT) {
            return;
        }
        let header = bytes.get(usize::from(context.l4)..).unwrap_or(&[]);
        let (Some(sequence), Some(ack), Some(flags)) =
            (long(header, 4), long(header, 8), header.get(13).copied())
        else {
            return;
        };
        let closing = flags & (FIN | RST) != 0;
        if context.has(flag::STREAM)
            && context.stream_length > 0
            && let Some(own) = self.slabs.chunk_mut(slab, context.direction)
        {
            own.note_base(sequence.wrapping_sub(context.stream_offset));
        }
        if let Some(other) = self.slabs.chunk_mut(slab, context.direction.opposite()) {
            if flags & ACK != 0 {
                other.note_ack(ack, closing);
            } else if closing {
                other.note_closing();
            }
        }
    }

    /// Closes the chunk of the packet's direction if the packet is one that makes it due.
    fn close_due(&mut self, context: &Context, mark: &mut FlowMark) -> bool {
        let window = self.slabs.windows(mark.slab)[context.direction.index()];
        if window == state::NONE {
            return false;
        }
        let (from, end) = (
            self.windows.chunk_position(window),
            self.windows.end(window),
        );
        let length = self.chunks[context.direction.index()];
        let chunk = self.slabs.chunk_mut(mark.slab, context.direction);
        match chunk.and_then(|chunk| chunk.due(from, end, length)) {
            Some(to) => self.close_chunk(window, to, context.direction, context, mark),
            None => false,
        }
    }

    /// Decides what waited in a chunk and begins the next one. Gives whether signatures that matched
    /// in it have more to look at.
    pub(super) fn close_chunk(
        &mut self,
        window: u32,
        to: u64,
        direction: Direction,
        context: &Context,
        mark: &mut FlowMark,
    ) -> bool {
        self.upto = to;
        self.settle(window, direction, context, mark);
        self.upto = u64::MAX;
        let told = &mut self.told;
        let again = self.windows.close_chunk(window, to, |signature| {
            if told.len() < told.capacity() {
                told.push(signature);
            }
        });
        self.windows.begin_chunk(window, to);
        again
    }

    /// Whether a tap goes by acknowledgments of this direction.
    pub(super) fn goes_by_acks(&mut self, slab: u32, direction: Direction) -> bool {
        !self.inline
            && self
                .slabs
                .chunk_mut(slab, direction)
                .is_some_and(|chunk| chunk.acked().is_some())
    }
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::window::CHUNK;

    #[test]
    fn a_chunk_is_due_at_a_message_at_its_length_and_at_the_close() {
        let mut chunk = Chunk::default();
        chunk.note_base(u32::MAX - 9);
        assert_eq!(chunk.due(0, 100, CHUNK), None, "nothing acknowledged");
        chunk.note_ack(90, false);
        assert_eq!(chunk.acked(), Some(100));
        assert_eq!(chunk.due(0, 100, CHUNK), None, "too short");
        chunk.note_message(80);
        assert_eq!(chunk.due(0, 100, CHUNK), Some(100));
        assert_eq!(chunk.due(100, 100, CHUNK), None, "all of it was looked at");
        chunk.note_ack(90 + CHUNK as u32, false);
        assert_eq!(chunk.due(100, 200, CHUNK), None, "bytes that were not seen");
        assert_eq!(chunk.due(100, 100 + CHUNK, CHUNK), Some(100 + CHUNK));
        chunk.note_ack(95, true);
        assert_eq!(
            chunk.due(100, 104, CHUNK),
            Some(104),
            "an older word changes nothing"
        );
    }

    #[test]
    fn a_message_behind_what_is_acknowledged_waits() {
        let mut chunk = Chunk::default();
        chunk.note_base(0);
        chunk.note_message(10);
        chunk.note_message(30);
        chunk.note_ack(20, false);
        assert_eq!(chunk.due(0, 30, CHUNK), Some(20));
        assert_eq!(chunk.due(20, 30, CHUNK), None);
        chunk.note_ack(30, false);
        assert_eq!(chunk.due(20, 30, CHUNK), Some(30));
    }
}
