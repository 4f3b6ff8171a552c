//! Windows on streams: the last bytes of one flow direction, and which signatures wait for more.
//!
//! A window ends where the stream ends so far and begins at a multiple of [`BLOCK`]: its start
//! depends on the position in the stream alone and never on how the bytes were cut into segments.
//! A match may span [`BLOCK`] bytes wherever it lies. Positions are counted from the start of the
//! stream.
//!
//! ```text
//!   |<----- BLOCK ----->|<----- BLOCK ----->|
//!   base                                    base + SIZE: full, the first half is let go
//!   |======================|+++++++|
//!    bytes seen before      new      end
//! ```
//!
//! Each window has a few *entries*: a signature whose fast pattern stands in the window and that
//! did not match yet (`live`), one that matches unless what follows contradicts it (`deferred`),
//! or one that matched (`floor`: bytes before it count no more). When they do not fit, the window
//! is scanned as a whole from then on, which costs time and loses nothing but floors.

use crate::memory::prefetch::{prefetch_read, prefetch_write};

/// Bytes by which a window moves on.
pub const BLOCK: usize = 4096;
/// Bytes of a window.
pub const SIZE: usize = 2 * BLOCK;
/// A signature matches once in a chunk of this many stream bytes, however often it could.
pub const CHUNK: u64 = 2560;
/// Memory of a window and what is known of it.
pub const MEMORY: usize = SIZE + size_of::<Head>();
/// Floor of a signature that matched in the chunk at hand, until that is closed.
const UNTIL_CLOSED: u16 = u16::MAX;
/// No content of the signature is known to be lacking.
const NO_STEP: u8 = u8::MAX;
/// Signatures that a window keeps in mind.
pub const ENTRIES_MAX: usize = 100;

/// A signature in relation to a window. 16 bytes; places are counted from the window's base.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Number of the signature.
    pub signature: u32,
    /// Where its fast pattern was seen last.
    seen: u16,
    /// Where it was seen first since it counts.
    first: u16,
    /// It matched up to here.
    floor: u16,
    /// Up to here the content of `step` was looked for in vain.
    sought: u16,
    /// The test whose content stands nowhere yet, or [`NO_STEP`].
    step: u8,
    /// Its fast pattern stands in the window, beyond the floor.
    pub live: bool,
    /// It matched, unless what follows contradicts it; asked again when the turn ends.
    pub deferred: bool,
    /// It matched, and inline its bytes may still be among the last ones: asked with each packet.
    pub again: bool,
}

impl Entry {
    const fn of(signature: u32) -> Entry {
        Entry {
            signature,
            seen: 0,
            first: 0,
            floor: 0,
            sought: 0,
            step: NO_STEP,
            live: false,
            deferred: false,
            again: false,
        }
    }
}

/// What is known of a window, without its bytes: a line of memory, which holds the first entry too,
/// and further ones where there are more.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Head {
    base: u64,
    /// Where the turn began that the last bytes belong to.
    turn: u64,
    length: usize,
    count: usize,
    deferred: u32,
    /// Generation of the rules that the entries are of.
    generation: u32,
    overflowed: bool,
    entries: [Entry; ENTRIES_MAX],
}

const _: () = assert!(size_of::<Entry>() == 16 && SIZE < UNTIL_CLOSED as usize);

impl Head {
    const EMPTY: Head = Head {
        base: 0,
        length: 0,
        entries: [Entry::of(0); ENTRIES_MAX],
        count: 0,
        deferred: 0,
        turn: 0,
        generation: 0,
        overflowed: false,
    };
}

/// Windows of one match stage.
pub struct Windows {
    /// Generation of the rules in force.
    generation: u32,
    free: Vec<u32>,
    heads: Vec<Head>,
    bytes: Vec<u8>,
}

impl Windows {
    /// `count` windows; their pages are touched when first used.
    pub fn new(count: usize) -> Windows {
        Windows {
            generation: 0,
            free: (0..count as u32).rev().collect(),
            heads: vec![Head::EMPTY; count],
            bytes: vec![0; count * SIZE],
        }
    }

    /// Takes an empty window whose stream is at `position`, or `None` when all are in use.
    pub fn take(&mut self, position: u64) -> Option<u32> {
        let window = self.free.pop()?;
        self.restart(window, position);
        if let Some(head) = self.heads.get_mut(window as usize) {
            head.generation = self.generation;
        }
        Some(window)
    }

    /// Asks for what is known of a window ahead of its use.
    #[inline(always)]
    pub fn prefetch(&self, window: u32) {
        if let Some(head) = self.heads.get(window as usize) {
            prefetch_read(head);
        }
    }

    /// Asks for the line in which a window's bytes go on; what is known of it has come by now.
    #[inline(always)]
    pub fn prefetch_end(&self, window: u32) {
        if let Some(head) = self.heads.get(window as usize) {
            let end = window as usize * SIZE + head.length;
            if let Some(byte) = self.bytes.get(end) {
                prefetch_write(byte);
            }
        }
    }

    /// Gives a window back.
    pub fn give(&mut self, window: u32) {
        debug_assert!(!self.free.contains(&window), "a window is given back once");
        self.free.push(window);
    }

    /// Windows not in use.
    pub fn available(&self) -> usize {
        self.free.len()
    }

    /// Rules of this generation are in force from now on.
    pub fn set_generation(&mut self, generation: u32) {
        self.generation = generation;
    }

    /// Brings the entries over to the rules in force; those of rules that are gone are let go.
    pub fn renew(&mut self, window: u32, renewal: &super::Renewal) {
        let Some(head) = self.heads.get_mut(window as usize) else {
            return;
        };
        let of = std::mem::replace(&mut head.generation, renewal.to);
        if of == renewal.to {
            return;
        }
        let mut kept = 0;
        for at in 0..head.count {
            let mut entry = head.entries[at];
            entry.signature = renewal.number(of, entry.signature);
            // What was known of its tests was of the rule's old form.
            entry.step = NO_STEP;
            if entry.signature != super::state::NONE {
                head.entries[kept] = entry;
                kept += 1;
            } else if entry.deferred {
                head.deferred = head.deferred.saturating_sub(1);
            }
        }
        head.count = kept;
    }

    /// Forgets all; the stream goes on at `position` (after a gap).
    pub fn restart(&mut self, window: u32, position: u64) {
        if let Some(head) = self.heads.get_mut(window as usize) {
            (head.base, head.length, head.count) = (position, 0, 0);
            (head.deferred, head.overflowed, head.turn) = (0, false, position);
        }
    }

    /// Stream position after the last byte.
    pub fn end(&self, window: u32) -> u64 {
        self.heads
            .get(window as usize)
            .map_or(0, |head| head.base + head.length as u64)
    }

    /// Stream position of the first byte.
    pub fn base(&self, window: u32) -> u64 {
        self.heads.get(window as usize).map_or(0, |head| head.base)
    }

    /// The bytes.
    pub fn data(&self, window: u32) -> &[u8] {
        let length = self.heads.get(window as usize).map_or(0, |h| h.length);
        let start = window as usize * SIZE;
        self.bytes.get(start..start + length).unwrap_or(&[])
    }

    /// Whether the next byte needs the window to let go of its first block.
    pub fn is_full(&self, window: u32) -> bool {
        self.heads
            .get(window as usize)
            .is_some_and(|head| head.base + head.length as u64 >= limit(head.base))
    }

    /// Appends as many bytes as go in before the window is full; gives how many.
    pub fn append(&mut self, window: u32, piece: &[u8]) -> usize {
        let Some(head) = self.heads.get_mut(window as usize) else {
            return 0;
        };
        let room = (limit(head.base) - head.base) as usize - head.length;
        let taken = room.min(piece.len());
        let start = window as usize * SIZE + head.length;
        if let Some(place) = self.bytes.get_mut(start..start + taken)
            && let Some(piece) = piece.get(..taken)
        {
            place.copy_from_slice(piece);
        }
        head.length += taken;
        taken
    }

    /// Lets go of the first block, and of entries that concern it alone.
    pub fn slide(&mut self, window: u32) {
        let Some(head) = self.heads.get_mut(window as usize) else {
            return;
        };
        let base = limit(head.base) - BLOCK as u64;
        let gone = ((base - head.base) as usize).min(head.length);
        let start = window as usize * SIZE;
        if let Some(bytes) = self.bytes.get_mut(start..start + head.length) {
            bytes.copy_within(gone.., 0);
        }
        head.base = base;
        head.length -= gone;
        let gone = gone as u16;
        let mut kept = 0;
        for at in 0..head.count {
            let mut entry = head.entries[at];
            entry.live &= entry.seen >= gone;
            entry.seen = entry.seen.saturating_sub(gone);
            entry.first = entry.first.saturating_sub(gone);
            entry.sought = entry.sought.saturating_sub(gone);
            if entry.floor != UNTIL_CLOSED {
                entry.floor = entry.floor.saturating_sub(gone);
            }
            if entry.live || entry.deferred || entry.again || entry.floor > 0 {
                head.entries[kept] = entry;
                kept += 1;
            }
        }
        head.count = kept;
    }

    /// Entries of a window.
    pub fn entries(&self, window: u32) -> &[Entry] {
        self.heads
            .get(window as usize)
            .and_then(|head| head.entries.get(..head.count))
            .unwrap_or(&[])
    }

    /// The entry of a signature.
    pub fn entry(&self, window: u32, signature: u32) -> Option<&Entry> {
        self.entries(window)
            .iter()
            .find(|entry| entry.signature == signature)
    }

    /// Where bytes begin to count for a signature, from the window's base.
    pub fn floor(&self, window: u32, signature: u32, of_turn: bool) -> usize {
        let entry = self.entry(window, signature);
        let floor = match entry.map_or(0, |entry| entry.floor) {
            UNTIL_CLOSED => usize::MAX,
            floor => usize::from(floor),
        };
        match self.heads.get(window as usize) {
            Some(head) if of_turn => floor.max(head.turn.saturating_sub(head.base) as usize),
            _ => floor,
        }
    }

    /// A new turn begins: signatures that look at single turns start anew.
    pub fn begin_turn(&mut self, window: u32) {
        if let Some(head) = self.heads.get_mut(window as usize) {
            head.turn = head.base + head.length as u64;
        }
    }

    /// Whether entries did not fit: the window must be scanned as a whole.
    pub fn overflowed(&self, window: u32) -> bool {
        self.heads
            .get(window as usize)
            .is_some_and(|head| head.overflowed)
    }

    /// Whether some signature waits for the end of the turn.
    pub fn has_deferred(&self, window: u32) -> bool {
        self.heads
            .get(window as usize)
            .is_some_and(|head| head.deferred > 0)
    }

    /// Notes that the fast pattern of a signature stands at `place`. False: no room.
    pub fn note_seen(&mut self, window: u32, signature: u32, place: usize) -> bool {
        let place = place.min(SIZE) as u16;
        self.with_entry(window, signature, |entry| {
            entry.seen = entry.seen.max(place);
            if place >= entry.floor && !std::mem::replace(&mut entry.live, true) {
                entry.first = place;
            }
        })
    }

    /// Notes that a signature matched. Bytes count for it again after this chunk of the stream, or
    /// after those at hand where it looks at turns or is asked about them with each packet (`again`).
    /// False: no room.
    pub fn note_match(
        &mut self,
        window: u32,
        signature: u32,
        (of_turn, again): (bool, bool),
    ) -> bool {
        let mut end = self.data(window).len() as u16;
        if !(of_turn || again) {
            let position = self.end(window);
            end += (position.next_multiple_of(CHUNK) - position) as u16;
        }
        self.set_deferred(window, signature, false)
            && self.with_entry(window, signature, |entry| {
                entry.live = false;
                entry.again = again;
                entry.floor = end;
            })
    }

    /// Whether a signature is asked again about bytes that it matched in; it no longer is.
    pub fn take_again(&mut self, window: u32, signature: u32) -> bool {
        let Some(head) = self.heads.get_mut(window as usize) else {
            return false;
        };
        let used = head.entries.get_mut(..head.count).unwrap_or_default();
        let entry = used.iter_mut().find(|e| e.signature == signature);
        entry.is_some_and(|entry| std::mem::take(&mut entry.again))
    }

    /// The test of a signature whose content was looked for in vain, and up to where: nowhere from
    /// where its bytes began to count then.
    pub fn lacks(&self, window: u32, signature: u32) -> Option<(u8, usize)> {
        let entry = self.entry(window, signature)?;
        (entry.step != NO_STEP).then_some((entry.step, usize::from(entry.sought)))
    }

    /// Notes that the content of a test stands nowhere up to `sought`, or that none is known to be
    /// lacking.
    pub fn note_lack(&mut self, window: u32, signature: u32, step: Option<u8>, sought: usize) {
        let Some(head) = self.heads.get_mut(window as usize) else {
            return;
        };
        let used = head.entries.get_mut(..head.count).unwrap_or_default();
        if let Some(entry) = used.iter_mut().find(|e| e.signature == signature) {
            entry.step = step.unwrap_or(NO_STEP);
            entry.sought = sought.min(SIZE) as u16;
        }
    }

    /// Notes that a signature matched in the chunk at hand: it is not asked again before that is
    /// closed. False: no room.
    pub fn note_match_in_chunk(&mut self, window: u32, signature: u32) -> bool {
        self.set_deferred(window, signature, false)
            && self.with_entry(window, signature, |entry| {
                entry.live = false;
                entry.floor = UNTIL_CLOSED;
            })
    }

    /// Whether a signature matched in the chunk at hand.
    pub fn matched_in_chunk(&self, window: u32, signature: u32) -> bool {
        self.entry(window, signature)
            .is_some_and(|entry| entry.floor == UNTIL_CLOSED)
    }

    /// Closes the chunk at `position`: what matched in it counts from there on. `matched` is told
    /// which did. Gives whether a fast pattern stands beyond.
    pub fn close_chunk(
        &mut self,
        window: u32,
        position: u64,
        mut matched: impl FnMut(u32),
    ) -> bool {
        let Some(head) = self.heads.get_mut(window as usize) else {
            return false;
        };
        let floor = position.saturating_sub(head.base).min(head.length as u64) as u16;
        let mut live = false;
        let used = head.entries.get_mut(..head.count).unwrap_or_default();
        // What stands beyond the chunk belongs to the next one.
        let closed = |entry: &&mut Entry| entry.floor == UNTIL_CLOSED && entry.first <= floor;
        for entry in used.iter_mut().filter(closed) {
            matched(entry.signature);
            entry.floor = floor;
            entry.first = entry.seen;
            entry.live = entry.seen > floor;
            live |= entry.live;
        }
        live
    }

    /// Where the chunk at hand begins, from the window's base.
    pub fn chunk_start(&self, window: u32) -> usize {
        self.heads
            .get(window as usize)
            .map_or(0, |head| head.turn.saturating_sub(head.base) as usize)
    }

    /// A new chunk begins at `position`.
    pub fn begin_chunk(&mut self, window: u32, position: u64) {
        if let Some(head) = self.heads.get_mut(window as usize) {
            head.turn = position;
        }
    }

    /// Stream position at which the chunk at hand begins.
    pub fn chunk_position(&self, window: u32) -> u64 {
        self.heads.get(window as usize).map_or(0, |head| head.turn)
    }

    /// Notes whether a signature waits for the end of the turn. False: no room.
    pub fn set_deferred(&mut self, window: u32, signature: u32, deferred: bool) -> bool {
        let mut change = 0i32;
        let done = self.with_entry(window, signature, |entry| {
            change = i32::from(deferred) - i32::from(entry.deferred);
            entry.deferred = deferred;
        });
        if let Some(head) = self.heads.get_mut(window as usize) {
            head.deferred = head.deferred.saturating_add_signed(change);
        }
        done
    }

    fn with_entry(&mut self, window: u32, signature: u32, f: impl FnOnce(&mut Entry)) -> bool {
        let Some(head) = self.heads.get_mut(window as usize) else {
            return false;
        };
        let used = head.entries.get_mut(..head.count).unwrap_or_default();
        if let Some(entry) = used.iter_mut().find(|e| e.signature == signature) {
            f(entry);
            return true;
        }
        let Some(entry) = head.entries.get_mut(head.count) else {
            head.overflowed = true;
            return false;
        };
        *entry = Entry::of(signature);
        head.count += 1;
        f(entry);
        true
    }
}

/// Stream position at which a window that begins at `base` is full.
fn limit(base: u64) -> u64 {
    base - base % BLOCK as u64 + SIZE as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_window_begins_depends_on_the_position_alone() {
        let stream: Vec<u8> = (0..30_000u32).map(|i| (i / 7) as u8).collect();
        for cut in [1, 7, 1460, BLOCK, BLOCK + 1, SIZE, 30_000] {
            let mut windows = Windows::new(1);
            let window = windows.take(0).unwrap();
            for piece in stream.chunks(cut) {
                let mut rest = piece;
                while !rest.is_empty() {
                    if windows.is_full(window) {
                        windows.slide(window);
                    }
                    let taken = windows.append(window, rest);
                    rest = &rest[taken..];
                    let (base, end) = (windows.base(window), windows.end(window));
                    let expected = ((end - 1) / BLOCK as u64).saturating_sub(1) * BLOCK as u64;
                    assert_eq!(base, expected, "end {end}, cut {cut}");
                    assert_eq!(windows.data(window), &stream[base as usize..end as usize]);
                }
            }
        }
    }

    #[test]
    fn an_entry_lives_as_long_as_its_bytes() {
        let mut windows = Windows::new(1);
        let window = windows.take(0).unwrap();
        windows.append(window, &[0; SIZE]);
        assert!(windows.note_seen(window, 1, 10));
        assert!(windows.note_seen(window, 2, BLOCK + 1));
        assert!(windows.note_seen(window, 3, 20));
        assert!(windows.note_match(window, 3, (true, false)));
        windows.slide(window);
        let left: Vec<u32> = windows
            .entries(window)
            .iter()
            .map(|e| e.signature)
            .collect();
        assert_eq!(left, [2, 3]);
        assert!(windows.note_seen(window, 3, BLOCK - 1));
        assert!(
            !windows.entry(window, 3).unwrap().live,
            "it lies before the floor"
        );
    }

    #[test]
    fn too_many_entries_are_said() {
        let mut windows = Windows::new(1);
        let window = windows.take(0).unwrap();
        for signature in 0..ENTRIES_MAX as u32 {
            assert!(windows.note_seen(window, signature, 0));
        }
        assert!(!windows.note_seen(window, u32::MAX, 0));
        assert!(windows.overflowed(window));
        windows.give(window);
        let window = windows.take(0).unwrap();
        assert!(!windows.overflowed(window) && windows.entries(window).is_empty());
    }
}
