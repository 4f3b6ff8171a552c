//! Files that are read or written piece by piece (SMB, NFS): reads and writes of one handle and
//! direction are one transaction, whose bytes are put in order. A chunk that comes early waits; one
//! that overlaps what is known is not looked at again (what Suricata's tracker does). Bytes beyond
//! the limit of a file are counted and not kept.

use super::field::Progress;
use super::file::FileId;
use super::heap::{Heap, Text};
use super::output::{Output, TxId};
use super::table::{Table, guid_bytes, guid_words, number, tx_of, tx_words, words};
use crate::packet::Direction;

/// Files of a flow that are followed at once; the oldest is closed.
const FILES_MAX: usize = 64;
/// Early chunks of a file at most (Suricata's limits on their number and their bytes).
const CHUNKS_MAX: usize = 64;
const QUEUED_MAX: u32 = 64 << 20;
/// Bytes before an early chunk in the text that holds them: offset, length.
const CHUNK_HEAD: usize = 12;

/// A chunk that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// Transaction of its file.
    pub tx: TxId,
    /// It overlaps what is known.
    pub overlaps: bool,
    /// How it fits among the early chunks.
    pub queue: Queue,
}

/// Whether the early chunks of a file are within their bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queue {
    #[allow(missing_docs)]
    Fits,
    /// They say to be more than [`QUEUED_MAX`] bytes.
    Large,
    /// [`CHUNKS_MAX`] wait already: it is not kept.
    Long,
}

/// A file that is followed.
#[derive(Clone, Copy, Debug)]
struct File {
    file: [u8; 16],
    direction: Direction,
    tx: TxId,
    open: u32,
    /// Bytes known in order.
    tracked: u64,
    /// Offset at which the chunk that is being taken goes on, and bytes of it that are to come.
    at: u64,
    left: u32,
    /// It is kept: in order at its end, or early.
    early: bool,
    /// Nothing more is looked at.
    full: bool,
    early_text: [u32; 3],
    /// Bytes that the early chunks say to be.
    queued: u32,
}

impl File {
    fn encode(&self) -> [u32; 17] {
        let [a, b, c, d] = guid_words(self.file);
        let [tx, serial] = tx_words(self.tx);
        let [tracked, tracked_high] = words(self.tracked);
        let [at, at_high] = words(self.at);
        let [x, y, z] = self.early_text;
        let flags = u32::from(self.direction == Direction::ToClient)
            | u32::from(self.early) << 1
            | u32::from(self.full) << 2;
        [
            a,
            b,
            c,
            d,
            flags,
            tx,
            serial,
            self.open,
            tracked,
            tracked_high,
            at,
            at_high,
            self.left,
            x,
            y,
            z,
            self.queued,
        ]
    }

    fn decode(w: &[u32; 17]) -> File {
        File {
            file: guid_bytes([w[0], w[1], w[2], w[3]]),
            direction: if w[4] & 1 != 0 {
                Direction::ToClient
            } else {
                Direction::ToServer
            },
            early: w[4] & 2 != 0,
            full: w[4] & 4 != 0,
            tx: tx_of(w[5], w[6]),
            open: w[7],
            tracked: number(w[8], w[9]),
            at: number(w[10], w[11]),
            left: w[12],
            early_text: [w[13], w[14], w[15]],
            queued: w[16],
        }
    }
}

/// The files of a flow.
#[derive(Debug, Default)]
pub struct Files {
    table: Table<17>,
}

impl Files {
    fn find(&self, heap: &Heap, file: &[u8; 16], direction: Direction) -> Option<(usize, File)> {
        let wanted = |words: &[u32; 17]| {
            let known = File::decode(words);
            known.file == *file && known.direction == direction
        };
        let (place, words) = self.table.find(heap, wanted)?;
        Some((place, File::decode(&words)))
    }

    /// Whether a file is being followed.
    pub fn has(&self, heap: &Heap, file: &[u8; 16], direction: Direction) -> bool {
        self.find(heap, file, direction).is_some()
    }

    /// Begins a chunk; its bytes go to [`Files::data`]. `open` begins the transaction of a file that
    /// is new and names it.
    pub fn begin(
        &mut self,
        out: &mut Output<'_>,
        file: &[u8; 16],
        direction: Direction,
        (offset, size): (u64, u32),
        open: impl FnOnce(&mut Output<'_>) -> TxId,
    ) -> Begun {
        let found = match self.find(&out.shared.heap, file, direction) {
            Some(found) => Ok(found),
            None => {
                let tx = open(out);
                self.open(out, file, direction, tx).ok_or(tx)
            }
        };
        let (place, mut known) = match found {
            Ok(found) => found,
            // The heap is full: the file is not followed.
            Err(tx) => {
                return Begun {
                    tx,
                    overlaps: false,
                    queue: Queue::Fits,
                };
            }
        };
        self.settle(out, place, &mut known);
        known.at = offset;
        known.left = size;
        known.early = offset > known.tracked;
        let waiting = Heap::of_parts(known.early_text);
        let queue = if !known.early {
            Queue::Fits
        } else {
            known.queued = known.queued.saturating_add(size);
            let long = count_early(out.heap().get(&waiting)) >= CHUNKS_MAX;
            match (known.queued > QUEUED_MAX, long) {
                (true, _) => Queue::Large,
                (_, true) => Queue::Long,
                _ => Queue::Fits,
            }
        };
        known.early_text = waiting.into_parts();
        self.table.set(out.heap(), place, &known.encode());
        Begun {
            tx: known.tx,
            overlaps: offset < known.tracked,
            queue,
        }
    }

    fn open(
        &mut self,
        out: &mut Output<'_>,
        file: &[u8; 16],
        direction: Direction,
        tx: TxId,
    ) -> Option<(usize, File)> {
        let open = out.begin_file(tx, direction).word();
        for direction in [Direction::ToServer, Direction::ToClient] {
            out.progress(tx, direction, Progress::Head);
        }
        let known = File {
            file: *file,
            direction,
            tx,
            open,
            tracked: 0,
            at: 0,
            left: 0,
            early: false,
            full: false,
            early_text: Text::default().into_parts(),
            queued: 0,
        };
        let record = known.encode();
        if let Some(words) = self.table.push(out.heap(), FILES_MAX, &record) {
            finish(out, File::decode(&words));
            if words == record {
                return None;
            }
        }
        Some((self.table.len().checked_sub(1)?, known))
    }

    /// Takes bytes of the chunk that was begun last.
    pub fn data(
        &mut self,
        out: &mut Output<'_>,
        file: &[u8; 16],
        direction: Direction,
        bytes: &[u8],
    ) {
        let Some((place, mut known)) = self.find(&out.shared.heap, file, direction) else {
            return;
        };
        if known.early {
            keep_early(out, &mut known, bytes);
        } else if known.at == known.tracked {
            append(out, &mut known, bytes);
        }
        self.went_on(out, place, known, bytes.len() as u32);
    }

    /// The chunk has come `count` bytes further.
    fn went_on(&mut self, out: &mut Output<'_>, place: usize, mut known: File, count: u32) {
        known.at = known.at.saturating_add(u64::from(count));
        known.left = known.left.saturating_sub(count);
        if known.left == 0 && !known.early {
            self.settle(out, place, &mut known);
        } else {
            self.table.set(out.heap(), place, &known.encode());
        }
    }

    /// Bytes of it that will never be seen: they count as zeros, as in Suricata.
    pub fn gap(&mut self, out: &mut Output<'_>, file: &[u8; 16], direction: Direction, count: u32) {
        const ZEROS: [u8; 1024] = [0; 1024];
        let Some((place, mut known)) = self.find(&out.shared.heap, file, direction) else {
            return;
        };
        let follows = !known.early && known.at == known.tracked;
        let mut left = if follows { count as usize } else { 0 };
        if left > 0 {
            out.file_gap(FileId::of_word(known.open));
        }
        while left > 0 && !known.full {
            let zeros = ZEROS.get(..left).unwrap_or(&ZEROS);
            append(out, &mut known, zeros);
            left -= zeros.len();
        }
        known.tracked = known.tracked.saturating_add(left as u64);
        self.went_on(out, place, known, count);
    }

    /// The chunk ends: early ones may follow now.
    fn settle(&mut self, out: &mut Output<'_>, place: usize, known: &mut File) {
        let mut text = Heap::of_parts(known.early_text);
        // Each round takes a chunk out; there are CHUNKS_MAX at most.
        for _ in 0..CHUNKS_MAX {
            let Some((from, length)) = next_early(out.heap().get(&text), known.tracked) else {
                break;
            };
            let data = from + CHUNK_HEAD;
            // Copied out: the text and the file's bytes are of the same heap.
            let mut scratch = std::mem::take(&mut out.shared.scratch);
            scratch.clear();
            let bytes = out.heap().get(&text).get(data..data + length);
            scratch.extend_from_slice(bytes.unwrap_or(&[]));
            append(out, known, &scratch);
            out.shared.scratch = scratch;
            let heap = out.heap();
            let all = text.len();
            heap.get_mut(&mut text)
                .copy_within(data + length..all, from);
            heap.truncate(&mut text, all - CHUNK_HEAD - length);
            known.queued = known.queued.saturating_sub(length as u32);
        }
        if text.is_empty() {
            known.queued = 0;
            out.heap().clear(&mut text);
        }
        known.early_text = text.into_parts();
        known.early = false;
        self.table.set(out.heap(), place, &known.encode());
    }

    /// The handle is closed: its file in a direction is complete.
    pub fn close(&mut self, out: &mut Output<'_>, file: &[u8; 16], direction: Direction) {
        if let Some((place, _)) = self.find(&out.shared.heap, file, direction)
            && let Some(words) = self.table.remove(out.heap(), place)
        {
            finish(out, File::decode(&words));
        }
    }

    /// Gives the memory back.
    pub fn free(&mut self, heap: &mut Heap) {
        while let Some(words) = self.table.pop(heap) {
            heap.free(Heap::of_parts(File::decode(&words).early_text));
        }
        self.table.clear(heap);
    }
}

fn finish(out: &mut Output<'_>, known: File) {
    out.heap().free(Heap::of_parts(known.early_text));
    out.end_file(known.tx, FileId::of_word(known.open));
    out.complete(known.tx);
}

/// Bytes that follow what is known.
fn append(out: &mut Output<'_>, known: &mut File, bytes: &[u8]) {
    known.tracked = known.tracked.saturating_add(bytes.len() as u64);
    if known.full {
        return;
    }
    let file = FileId::of_word(known.open);
    let limit = out.shared.limits.file;
    out.file_bytes(known.tx, file, limit, bytes);
    if known.tracked >= limit as u64 && !out.file_goes_on(file) {
        known.full = true;
        out.file_full(file);
    }
}

/// Bytes of a chunk that comes early. Those beyond the file's limit are never looked at.
fn keep_early(out: &mut Output<'_>, known: &mut File, bytes: &[u8]) {
    let limit = out.shared.limits.file as u64;
    let room = usize::try_from(limit.saturating_sub(known.at)).unwrap_or(0);
    let kept = bytes.get(..room).unwrap_or(bytes);
    if kept.is_empty() || known.full {
        return;
    }
    let mut text = Heap::of_parts(known.early_text);
    let held = out.shared.heap.get(&text);
    let last = last_early(held);
    let all = held.len();
    let fits = all + kept.len() + CHUNK_HEAD <= out.shared.limits.file + CHUNKS_MAX * CHUNK_HEAD;
    let grows = last.filter(|(from, length)| {
        let begins = held.get(*from..from + 8).and_then(|b| b.try_into().ok());
        begins.map(u64::from_le_bytes) == Some(known.at.wrapping_sub(*length as u64))
    });
    if fits && let Some((from, length)) = grows {
        if out.heap().append(&mut text, kept) {
            let total = (length + kept.len()) as u32;
            if let Some(head) = out.heap().get_mut(&mut text).get_mut(from + 8..from + 12) {
                head.copy_from_slice(&total.to_le_bytes());
            }
        }
    } else if fits && count_early(held) < CHUNKS_MAX {
        let mut head = [0; CHUNK_HEAD];
        head[..8].copy_from_slice(&known.at.to_le_bytes());
        head[8..].copy_from_slice(&(kept.len() as u32).to_le_bytes());
        let heap = out.heap();
        if !heap.append(&mut text, &head) || !heap.append(&mut text, kept) {
            heap.truncate(&mut text, all);
        }
    }
    known.early_text = text.into_parts();
}

/// The chunks of a text: place, offset, length.
fn chunks(held: &[u8]) -> impl Iterator<Item = (usize, u64, usize)> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        let head: [u8; CHUNK_HEAD] = held.get(from..from + CHUNK_HEAD)?.try_into().ok()?;
        let [a, b, c, d, e, f, g, h, i, j, k, l] = head;
        let offset = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let length = u32::from_le_bytes([i, j, k, l]) as usize;
        let place = from;
        from += CHUNK_HEAD + length;
        Some((place, offset, length))
    })
}

fn count_early(held: &[u8]) -> usize {
    chunks(held).count()
}

fn last_early(held: &[u8]) -> Option<(usize, usize)> {
    chunks(held)
        .last()
        .map(|(place, _, length)| (place, length))
}

fn next_early(held: &[u8], offset: u64) -> Option<(usize, usize)> {
    chunks(held)
        .find(|(_, begins, _)| *begins == offset)
        .map(|(place, _, length)| (place, length))
}
