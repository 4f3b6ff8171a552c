//! What the two directions of a connection share: which requests wait for their responses, in order
//! (RFC 9112 section 9.3.2), and how the search for the end of a head goes on from one piece of the
//! stream to the next. Parsing is request.rs's and response.rs's.

use super::super::heap::{Heap, Text};
use super::super::output::TxId;
use super::head::{Head, Outcome};
use crate::packet::Direction;

/// Bytes of a head at most; a longer one is given up. With every line of it normalised it still
/// fits into the scratch buffers.
pub(super) const HEAD_MAX: usize = 80 << 10;

/// Methods that matter to how a message is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Method {
    /// Any other, or not known yet.
    #[default]
    Other,
    Head,
    Connect,
    Post,
    Put,
}

impl Method {
    /// Of a request's first word.
    pub(super) fn of(word: &[u8]) -> Method {
        match word {
            b"HEAD" => Method::Head,
            b"CONNECT" => Method::Connect,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            _ => Method::Other,
        }
    }

    fn from_number(number: u8) -> Method {
        match number {
            1 => Method::Head,
            2 => Method::Connect,
            3 => Method::Post,
            4 => Method::Put,
            _ => Method::Other,
        }
    }
}

/// A request whose response has not begun.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waiting {
    /// Transaction.
    pub tx: TxId,
    /// Its method.
    pub method: Method,
    /// It was HTTP/0.9.
    pub old: bool,
}

/// Bytes of one in the queue.
const SIZE: usize = 10;

impl Waiting {
    fn encode(self) -> [u8; SIZE] {
        let mut out = [0; SIZE];
        out[..4].copy_from_slice(&self.tx.index.to_le_bytes());
        out[4..8].copy_from_slice(&self.tx.serial.to_le_bytes());
        out[8] = self.method as u8;
        out[9] = u8::from(self.old);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Waiting> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Waiting {
            tx: TxId {
                index: word(0)?,
                serial: word(4)?,
            },
            method: Method::from_number(*bytes.get(8)?),
            old: *bytes.get(9)? != 0,
        })
    }
}

/// What became of a CONNECT request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Connect {
    /// There is none.
    #[default]
    None,
    /// Its response has not come yet.
    Asked,
    /// It was refused.
    Refused,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    queue: Text,
    /// Of the last request.
    pub connect: Connect,
    /// The transaction whose request waits before it sends its body (`Expect: 100-continue`), and
    /// which was refused.
    pub refused: TxId,
}

impl Exchange {
    /// A request begins.
    pub(super) fn push(&mut self, heap: &mut Heap, waiting: Waiting) {
        // What finds no room has its response taken for one without a request.
        let _ = heap.append(&mut self.queue, &waiting.encode());
    }

    /// More is known about a request that may still wait: it is among the last ones.
    pub(super) fn update(&mut self, heap: &mut Heap, waiting: Waiting) {
        let queue = heap.get_mut(&mut self.queue);
        if let Some(last) = queue.rchunks_exact_mut(SIZE).next()
            && Waiting::decode(last).is_some_and(|last| last.tx == waiting.tx)
        {
            last.copy_from_slice(&waiting.encode());
        }
    }

    /// A response begins.
    pub(super) fn pop(&mut self, heap: &mut Heap) -> Option<Waiting> {
        let waiting = Waiting::decode(heap.get(&self.queue).get(..SIZE)?)?;
        heap.consume(&mut self.queue, SIZE);
        Some(waiting)
    }

    /// Gives everything back.
    pub(super) fn free(&mut self, heap: &mut Heap) {
        heap.clear(&mut self.queue);
    }
}

/// The search for the end of the headers, which may come in many pieces. Every line is looked at
/// once, or as often as lines are folded into its header.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Search {
    /// Bytes that were at hand at the last look.
    seen: u32,
    /// Where the first header begins that was not complete then.
    resume: u32,
}

impl Search {
    /// Makes the table of `head` if the headers, which begin at the start of `bytes`, are complete.
    /// `end`: no more will come.
    pub(super) fn run(
        &mut self,
        head: &mut Head,
        bytes: &[u8],
        direction: Direction,
        end: bool,
    ) -> Outcome {
        if self.seen > 0 && !end {
            let new = bytes.get(self.seen as usize..).unwrap_or(&[]);
            let from = self.resume as usize;
            // A line that ended with the last byte may go on with the first new one.
            let line = memchr::memchr2(b'\n', b'\r', new).is_some();
            let last = bytes.get((self.seen as usize).saturating_sub(1));
            if !line && !matches!(last, Some(b'\n' | b'\r')) {
                self.seen = bytes.len() as u32;
                return Outcome::More;
            }
            let rest = bytes.get(from..).unwrap_or(&[]);
            let outcome = head.skim(rest, direction);
            self.seen = bytes.len() as u32;
            if outcome == Outcome::More {
                self.resume = (from + head.resume()) as u32;
                return Outcome::More;
            }
        }
        let outcome = head.read(bytes, direction, end);
        self.seen = bytes.len() as u32;
        self.resume = head.resume() as u32;
        outcome
    }

    /// Bytes of the header that is not complete.
    pub(super) fn open(&self) -> usize {
        self.seen.saturating_sub(self.resume) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_wait_in_order() {
        let mut heap = Heap::new(1 << 20);
        let mut exchange = Exchange::default();
        for index in 0..100 {
            let waiting = Waiting {
                tx: TxId { index, serial: 7 },
                ..Waiting::default()
            };
            exchange.push(&mut heap, waiting);
            let method = if index % 2 == 0 {
                Method::Head
            } else {
                Method::Put
            };
            exchange.update(&mut heap, Waiting { method, ..waiting });
        }
        for index in 0..100 {
            let waiting = exchange.pop(&mut heap).expect("it waits");
            assert_eq!(waiting.tx.index, index);
            assert_eq!(waiting.method == Method::Head, index % 2 == 0);
        }
        assert!(exchange.pop(&mut heap).is_none());
        exchange.free(&mut heap);
        assert_eq!(heap.used(), 0);
    }
}
