//! Sparse bytes in fixed pages: what stream.rs keeps of a direction (bytes that wait behind a gap,
//! bytes not yet acknowledged) and what defrag.rs keeps of a datagram. A page holds 2,048 bytes of
//! one aligned piece of offsets and a bit for each byte that is there, so overlaps need no list of
//! ranges. First bytes win: a byte that is there is never overwritten. Who may keep how many pages
//! is the business of stream.rs and defrag.rs. Invariant: nothing is allocated after `PagePool::new`.

/// Bytes of a page.
pub const PAGE_BYTES: u32 = 2048;
const WORDS: usize = PAGE_BYTES as usize / 64;
/// No page.
const NONE: u32 = u32::MAX;

/// What is known of one page beside its bytes.
#[derive(Clone)]
struct Page {
    /// Offset of its first byte.
    start: u32,
    /// Next page of the same list, or of the free list.
    next: u32,
    /// None of the bytes from here on is there.
    end: u32,
    /// Which bytes are there.
    present: [u64; WORDS],
}

/// All pages of a worker.
pub struct PagePool {
    bytes: Box<[u8]>,
    pages: Box<[Page]>,
    free: u32,
    available: u32,
}

/// The pages of one stream direction or datagram, in the order of their offsets (which wrap).
/// Its pages go back by [`Pages::clear`] or [`Pages::release`]; dropping it loses them.
#[derive(Clone, Debug)]
pub struct Pages {
    first: u32,
    last: u32,
    count: u32,
}

impl Default for Pages {
    fn default() -> Self {
        Pages {
            first: NONE,
            last: NONE,
            count: 0,
        }
    }
}

/// What a comparison found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compared {
    /// Bytes of the range that are there.
    pub present: u32,
    /// Whether one of them differs.
    pub differs: bool,
}

/// The bits `from..to` of a page's word `word`.
fn mask(word: usize, from: u32, to: u32) -> u64 {
    let base = word as u32 * 64;
    let low = from.saturating_sub(base).min(64);
    let high = to.saturating_sub(base).min(64);
    let below = |bits: u32| {
        if bits >= 64 {
            u64::MAX
        } else {
            (1u64 << bits) - 1
        }
    };
    below(high) & !below(low)
}

/// The words that hold the bits `from..to`.
fn words(from: u32, to: u32) -> std::ops::Range<usize> {
    (from / 64) as usize..(to.div_ceil(64) as usize).min(WORDS)
}

impl Page {
    /// Present bytes among `from..to`.
    fn count(&self, from: u32, to: u32) -> u32 {
        if from >= self.end {
            return 0;
        }
        words(from, to)
            .filter_map(|w| self.present.get(w).map(|bits| bits & mask(w, from, to)))
            .map(u64::count_ones)
            .sum()
    }

    fn has(&self, at: u32) -> bool {
        self.present
            .get((at / 64) as usize)
            .is_some_and(|bits| bits >> (at % 64) & 1 != 0)
    }

    /// Marks `from..to`, which is not empty, as present.
    fn set(&mut self, from: u32, to: u32) {
        let (first, last) = ((from / 64) as usize, ((to - 1) / 64) as usize);
        let (low, high) = (u64::MAX << (from % 64), u64::MAX >> (63 - (to - 1) % 64));
        match self.present.get_mut(first..=last) {
            None | Some([]) => return,
            Some([only]) => *only |= low & high,
            Some([first, between @ .., last]) => {
                *first |= low;
                between.fill(u64::MAX);
                *last |= high;
            }
        }
        self.end = self.end.max(to);
    }

    /// First position at or after `from` whose byte is there (`wanted`) or is not.
    fn find(&self, from: u32, wanted: bool) -> Option<u32> {
        words(from, PAGE_BYTES).find_map(|w| {
            let bits = *self.present.get(w)?;
            let bits = if wanted { bits } else { !bits } & mask(w, from, PAGE_BYTES);
            (bits != 0).then(|| w as u32 * 64 + bits.trailing_zeros())
        })
    }
}

impl PagePool {
    /// Bytes of a pool, for the plan printed at start.
    pub fn size_of(count: usize) -> usize {
        count.saturating_mul(PAGE_BYTES as usize + size_of::<Page>())
    }

    /// A pool of `count` pages; its memory is touched here, so that it does not grow later.
    pub fn new(count: usize) -> PagePool {
        let count = count.clamp(1, (NONE - 1) as usize);
        let mut bytes = vec![0u8; count * PAGE_BYTES as usize].into_boxed_slice();
        for byte in bytes.iter_mut().step_by(PAGE_BYTES as usize) {
            // A write that the compiler may not drop faults the memory in.
            *byte = std::hint::black_box(0);
        }
        let pages = (0..count as u32)
            .map(|index| Page {
                start: 0,
                next: if index + 1 == count as u32 {
                    NONE
                } else {
                    index + 1
                },
                end: 0,
                present: [0; WORDS],
            })
            .collect();
        PagePool {
            bytes,
            pages,
            free: 0,
            available: count as u32,
        }
    }

    /// Free pages.
    pub fn available(&self) -> u32 {
        self.available
    }

    /// All pages.
    pub fn len(&self) -> u32 {
        self.pages.len() as u32
    }

    /// Whether there are none (never: the least pool has one page).
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    fn page(&self, index: u32) -> Option<&Page> {
        self.pages.get(index as usize)
    }

    fn page_mut(&mut self, index: u32) -> Option<&mut Page> {
        self.pages.get_mut(index as usize)
    }

    fn slice(&self, index: u32, from: u32, to: u32) -> &[u8] {
        let base = index as usize * PAGE_BYTES as usize;
        self.bytes
            .get(base + from as usize..base + to as usize)
            .unwrap_or(&[])
    }

    fn take(&mut self, start: u32) -> Option<u32> {
        let index = self.free;
        let page = self.pages.get_mut(index as usize)?;
        self.free = page.next;
        self.available -= 1;
        // Field by field: a new page would be made elsewhere and copied here.
        (page.start, page.next, page.end) = (start, NONE, 0);
        page.present = [0; WORDS];
        Some(index)
    }

    fn give(&mut self, index: u32) {
        let free = self.free;
        if let Some(page) = self.page_mut(index) {
            page.next = free;
            self.free = index;
            self.available += 1;
        }
    }

    /// Writes bytes into a page behind all that it has, if they lie there. Most do.
    #[inline]
    fn append(&mut self, index: u32, offset: u32, bytes: &[u8]) -> bool {
        let from = offset % PAGE_BYTES;
        let to = from as usize + bytes.len();
        let Some(page) = self.pages.get_mut(index as usize) else {
            return false;
        };
        if page.start != offset - from
            || from < page.end
            || to > PAGE_BYTES as usize
            || bytes.is_empty()
        {
            return false;
        }
        let base = index as usize * PAGE_BYTES as usize;
        let Some(target) = self.bytes.get_mut(base + from as usize..base + to) else {
            return false;
        };
        target.copy_from_slice(bytes);
        page.set(from, to as u32);
        true
    }

    /// Writes bytes that are not there yet, and gives how many those were.
    fn write(&mut self, index: u32, from: u32, bytes: &[u8]) -> u32 {
        if bytes.is_empty() {
            return 0;
        }
        let to = from + bytes.len() as u32;
        let base = index as usize * PAGE_BYTES as usize;
        let Some(page) = self.pages.get_mut(index as usize) else {
            return 0;
        };
        let Some(target) = self.bytes.get_mut(base + from as usize..base + to as usize) else {
            return 0;
        };
        let there = page.count(from, to);
        if there == 0 {
            target.copy_from_slice(bytes);
        } else if there < to - from {
            for (at, (place, byte)) in (from..).zip(target.iter_mut().zip(bytes)) {
                if !page.has(at) {
                    *place = *byte;
                }
            }
        }
        page.set(from, to);
        to - from - there
    }
}

/// A range of offsets cut at page borders.
struct Pieces {
    offset: u32,
    left: u32,
    done: u32,
}

/// One piece: start of its page, first and last-plus-one byte in the page, bytes before it.
struct Piece {
    start: u32,
    from: u32,
    to: u32,
    done: u32,
}

fn pieces(offset: u32, length: u32) -> Pieces {
    Pieces {
        offset,
        left: length,
        done: 0,
    }
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.left == 0 {
            return None;
        }
        let from = self.offset % PAGE_BYTES;
        let length = self.left.min(PAGE_BYTES - from);
        let piece = Piece {
            start: self.offset - from,
            from,
            to: from + length,
            done: self.done,
        };
        self.offset = self.offset.wrapping_add(length);
        self.left -= length;
        self.done += length;
        Some(piece)
    }
}

/// Whether offset `a` lies before `b`, the shorter way round.
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl Pages {
    /// Pages kept.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The page that starts at `start`, and the one before its place.
    fn locate(&self, pool: &PagePool, start: u32) -> (u32, Option<u32>) {
        match pool.page(self.last) {
            None => return (NONE, None),
            Some(last) if last.start == start => return (NONE, Some(self.last)),
            Some(last) if before(last.start, start) => return (self.last, None),
            Some(_) => {}
        }
        let (mut previous, mut at) = (NONE, self.first);
        while let Some(page) = pool.page(at) {
            if page.start == start {
                return (previous, Some(at));
            }
            if before(start, page.start) {
                break;
            }
            (previous, at) = (at, page.next);
        }
        (previous, None)
    }

    /// Pages that a range would need beyond those kept.
    pub fn missing(&self, pool: &PagePool, offset: u32, length: u32) -> u32 {
        pieces(offset, length)
            .filter(|piece| self.locate(pool, piece.start).1.is_none())
            .count() as u32
    }

    fn open(&mut self, pool: &mut PagePool, start: u32) -> Option<u32> {
        let (previous, found) = self.locate(pool, start);
        if found.is_some() {
            return found;
        }
        let index = pool.take(start)?;
        let next = match pool.page_mut(previous) {
            Some(page) => std::mem::replace(&mut page.next, index),
            None => std::mem::replace(&mut self.first, index),
        };
        if next == NONE {
            self.last = index;
        }
        if let Some(page) = pool.page_mut(index) {
            page.next = next;
        }
        self.count += 1;
        Some(index)
    }

    /// Writes the bytes of a range that are not there yet; `None` when the pool ran out (what
    /// fitted stays).
    #[inline]
    pub fn insert(&mut self, pool: &mut PagePool, offset: u32, bytes: &[u8]) -> Option<u32> {
        let is_written = pool.append(self.last, offset, bytes)
            || self.begin(pool, offset, bytes)
            || self.extend(pool, offset, bytes);
        match is_written {
            true => Some(bytes.len() as u32),
            false => self.insert_pieces(pool, offset, bytes),
        }
    }

    /// Writes bytes that go on beyond the end of the last page (or of the first one, where none is
    /// kept) into one more.
    fn extend(&mut self, pool: &mut PagePool, offset: u32, bytes: &[u8]) -> bool {
        let here = (offset.wrapping_neg() % PAGE_BYTES) as usize;
        let Some((head, rest)) = bytes.split_at_checked(here) else {
            return false;
        };
        if rest.is_empty() || rest.len() > PAGE_BYTES as usize || pool.available < 2 {
            return false;
        }
        let start = offset.wrapping_add(here as u32);
        let is_begun = match pool.page(self.last) {
            Some(last) if head.is_empty() => before(last.start, start),
            _ => pool.append(self.last, offset, head) || self.begin(pool, offset, head),
        };
        let Some(index) = is_begun.then(|| pool.take(start)).flatten() else {
            return false;
        };
        if let Some(last) = pool.page_mut(self.last) {
            last.next = index;
        }
        self.last = index;
        self.count += 1;
        pool.append(index, start, rest)
    }

    /// Writes bytes of one page where none is kept.
    #[inline]
    fn begin(&mut self, pool: &mut PagePool, offset: u32, bytes: &[u8]) -> bool {
        let from = offset % PAGE_BYTES;
        if self.count != 0 || bytes.is_empty() || from as usize + bytes.len() > PAGE_BYTES as usize
        {
            return false;
        }
        let Some(index) = pool.take(offset - from) else {
            return false;
        };
        (self.first, self.last, self.count) = (index, index, 1);
        pool.append(index, offset, bytes)
    }

    fn insert_pieces(&mut self, pool: &mut PagePool, offset: u32, bytes: &[u8]) -> Option<u32> {
        let mut new = 0;
        for piece in pieces(offset, bytes.len() as u32) {
            let index = self.open(pool, piece.start)?;
            let length = (piece.to - piece.from) as usize;
            let done = piece.done as usize;
            new += pool.write(index, piece.from, bytes.get(done..done + length)?);
        }
        Some(new)
    }

    /// Writes over what is there of a range; holes stay holes.
    pub fn replace(&mut self, pool: &mut PagePool, offset: u32, bytes: &[u8]) {
        for piece in pieces(offset, bytes.len() as u32) {
            let Some(index) = self.locate(pool, piece.start).1 else {
                continue;
            };
            let base = index as usize * PAGE_BYTES as usize;
            let range = base + piece.from as usize..base + piece.to as usize;
            let (page, kept) = (pool.pages.get(index as usize), pool.bytes.get_mut(range));
            let (Some(page), Some(kept)) = (page, kept) else {
                continue;
            };
            let given = bytes.get(piece.done as usize..).unwrap_or(&[]);
            for (at, (place, byte)) in (piece.from..).zip(kept.iter_mut().zip(given)) {
                if page.has(at) {
                    *place = *byte;
                }
            }
        }
    }

    /// Compares a range with what is there of it.
    pub fn compare(&self, pool: &PagePool, offset: u32, bytes: &[u8]) -> Compared {
        let mut result = Compared::default();
        for piece in pieces(offset, bytes.len() as u32) {
            let Some(index) = self.locate(pool, piece.start).1 else {
                continue;
            };
            let Some(page) = pool.page(index) else {
                continue;
            };
            let kept = pool.slice(index, piece.from, piece.to);
            let done = piece.done as usize;
            let given = bytes.get(done..done + kept.len()).unwrap_or(&[]);
            let present = page.count(piece.from, piece.to);
            result.present += present;
            result.differs |= if present == piece.to - piece.from {
                kept != given
            } else {
                (piece.from..)
                    .zip(kept.iter().zip(given))
                    .any(|(at, (a, b))| a != b && page.has(at))
            };
        }
        result
    }

    /// Bytes that are there from `offset` on without a hole, `limit` at most.
    pub fn contiguous(&self, pool: &PagePool, offset: u32, limit: u32) -> u32 {
        let mut length = 0;
        for piece in pieces(offset, limit) {
            let Some(page) = self
                .locate(pool, piece.start)
                .1
                .and_then(|at| pool.page(at))
            else {
                break;
            };
            let end = page
                .find(piece.from, false)
                .unwrap_or(PAGE_BYTES)
                .min(piece.to);
            length += end - piece.from;
            if end < piece.to {
                break;
            }
        }
        length
    }

    /// Bytes of a range that are there.
    pub fn count_present(&self, pool: &PagePool, offset: u32, length: u32) -> u32 {
        pieces(offset, length)
            .filter_map(|piece| {
                let page = pool.page(self.locate(pool, piece.start).1?)?;
                Some(page.count(piece.from, piece.to))
            })
            .sum()
    }

    /// First offset at or after `offset` whose byte is there.
    pub fn next_present(&self, pool: &PagePool, offset: u32) -> Option<u32> {
        let mut at = self.first;
        while let Some(page) = pool.page(at) {
            let end = page.start.wrapping_add(PAGE_BYTES - 1);
            if !before(end, offset) {
                let from = if before(page.start, offset) {
                    offset.wrapping_sub(page.start)
                } else {
                    0
                };
                if let Some(found) = page.find(from, true) {
                    return Some(page.start.wrapping_add(found));
                }
            }
            at = page.next;
        }
        None
    }

    /// Copies a range that is there to `out`.
    pub fn copy(&self, pool: &PagePool, offset: u32, out: &mut [u8]) {
        for piece in pieces(offset, out.len() as u32) {
            let Some(index) = self.locate(pool, piece.start).1 else {
                continue;
            };
            let kept = pool.slice(index, piece.from, piece.to);
            let done = piece.done as usize;
            if let Some(place) = out.get_mut(done..done + kept.len()) {
                place.copy_from_slice(kept);
            }
        }
    }

    /// Gives back the pages that lie before `offset` altogether.
    pub fn release(&mut self, pool: &mut PagePool, offset: u32) {
        while let Some(page) = pool.page(self.first) {
            let end = page.start.wrapping_add(PAGE_BYTES);
            if before(offset, end) {
                break;
            }
            let next = page.next;
            pool.give(self.first);
            self.first = next;
            self.count -= 1;
        }
        if self.first == NONE {
            self.last = NONE;
        }
    }

    /// Gives back all pages.
    pub fn clear(&mut self, pool: &mut PagePool) {
        while let Some(page) = pool.page(self.first) {
            let next = page.next;
            pool.give(self.first);
            self.first = next;
        }
        *self = Pages::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn first_bytes_win_and_holes_are_seen() {
        let mut pool = PagePool::new(4);
        let mut pages = Pages::default();
        assert_eq!(pages.insert(&mut pool, 10, b"abc"), Some(3));
        assert_eq!(pages.insert(&mut pool, 8, b"XXXXXXX"), Some(4));
        let mut out = [0; 7];
        pages.copy(&pool, 8, &mut out);
        assert_eq!(&out, b"XXabcXX");
        assert_eq!(pages.contiguous(&pool, 8, 100), 7);
        assert_eq!(pages.next_present(&pool, 0), Some(8));
        assert_eq!(pages.next_present(&pool, 15), None);
        // What is there is written over, across pages, too; holes stay.
        pages.insert(&mut pool, 2046, b"abcd");
        pages.replace(&mut pool, 13, &[b'y'; 2040]);
        pages.copy(&pool, 8, &mut out);
        assert_eq!(&out, b"XXabcyy");
        let mut ends = [0; 4];
        pages.copy(&pool, 2046, &mut ends);
        assert_eq!((&ends, pages.contiguous(&pool, 15, 9)), (b"yyyy", 0));
        pages.clear(&mut pool);
        assert_eq!(pool.available(), 4);
    }

    #[test]
    fn an_empty_pool_says_so_and_keeps_what_fitted() {
        let mut pool = PagePool::new(1);
        let mut pages = Pages::default();
        assert_eq!(pages.missing(&pool, 2040, 16), 2);
        assert_eq!(pages.insert(&mut pool, 2040, &[1; 16]), None);
        assert_eq!(pages.contiguous(&pool, 2040, 16), 8);
        pages.release(&mut pool, 2048);
        assert_eq!((pool.available(), pages.count()), (1, 0));
    }

    proptest! {
        /// The naive twin keeps one entry per byte.
        #[test]
        fn pages_agree_with_a_map_of_bytes(
            base in prop_oneof![Just(0u32), Just(u32::MAX - 3000), any::<u32>()],
            steps in proptest::collection::vec((0u32..9000, 1usize..3000, any::<u8>(), 0u8..4), 1..40),
        ) {
            let mut pool = PagePool::new(16);
            let mut pages = Pages::default();
            let mut twin: BTreeMap<u32, u8> = BTreeMap::new();
            let mut low = 0u32;
            for (at, length, seed, action) in steps {
                let at = at.max(low);
                let bytes: Vec<u8> = (0..length).map(|i| seed.wrapping_add((i / 7) as u8)).collect();
                let range = at..at + length as u32;
                let expected = Compared {
                    present: twin.range(range.clone()).count() as u32,
                    differs: twin.range(range.clone())
                        .any(|(k, v)| bytes[(k - at) as usize] != *v),
                };
                prop_assert_eq!(pages.compare(&pool, base.wrapping_add(at), &bytes), expected);
                if action == 0 {
                    low = at;
                    pages.release(&mut pool, base.wrapping_add(low));
                    // Pages go whole; the twin forgets what whole pages took along.
                    let first = base.wrapping_add(low);
                    let kept = first - first % PAGE_BYTES;
                    let cut = kept.wrapping_sub(base) as i32;
                    if cut > 0 { twin = twin.split_off(&(cut as u32)); }
                } else {
                    let new = pages.insert(&mut pool, base.wrapping_add(at), &bytes);
                    let mut count = 0;
                    for (k, byte) in range.clone().zip(&bytes) {
                        twin.entry(k).or_insert_with(|| { count += 1; *byte });
                    }
                    prop_assert_eq!(new, Some(count));
                }
                let run = (at..).take_while(|k| twin.contains_key(k)).count() as u32;
                prop_assert_eq!(pages.contiguous(&pool, base.wrapping_add(at), 1 << 20), run);
                let next = twin.range(at..).next().map(|(k, _)| base.wrapping_add(*k));
                prop_assert_eq!(pages.next_present(&pool, base.wrapping_add(at)), next);
                let mut out = vec![0; run as usize];
                pages.copy(&pool, base.wrapping_add(at), &mut out);
                let kept: Vec<u8> = twin.range(at..at + run).map(|(_, v)| *v).collect();
                prop_assert_eq!(out, kept);
                prop_assert_eq!(pool.available() + pages.count(), 16);
            }
            pages.clear(&mut pool);
            prop_assert_eq!(pool.available(), 16);
        }
    }
}
