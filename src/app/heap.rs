//! The heap of a lane's parsers: one piece of memory, planned at start, from which growable byte
//! strings take power-of-two blocks (buddy system: Knuth, TAOCP 1, 2.5, algorithms R and S). Never
//! grows; a heap that is full says so, and the caller has a policy. No parser lives here.

/// Bytes of the smallest block.
const GRAIN: usize = 64;
/// Orders of blocks: 64 bytes to 256 KiB.
const ORDERS: usize = 13;
/// Bytes of the largest block, and of the longest text.
pub const TEXT_MAX: usize = GRAIN << (ORDERS - 1);
/// No grain.
const NONE: u32 = u32::MAX;
/// State of a grain that does not begin a free block; free ones hold their order.
const TAKEN: u8 = u8::MAX;

/// A byte string in a heap. Move-only: whoever has it may change it, and must give it back with
/// [`Heap::free`]. An empty one holds no memory.
#[derive(Debug)]
pub struct Text {
    at: u32,
    length: u32,
    order: u8,
}

impl Default for Text {
    fn default() -> Self {
        Text {
            at: NONE,
            length: 0,
            order: 0,
        }
    }
}

impl Text {
    /// Bytes.
    pub fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// The memory and its free blocks.
#[derive(Debug)]
pub struct Heap {
    bytes: Vec<u8>,
    /// Order of the free block that begins at a grain, else [`TAKEN`].
    state: Vec<u8>,
    /// Neighbours of a free block in the list of its order.
    links: Vec<[u32; 2]>,
    first: [u32; ORDERS],
    used: usize,
    /// Requests that found no room.
    exhausted: u64,
}

impl Heap {
    /// A heap of `size` bytes, rounded up to largest blocks, all touched.
    pub fn new(size: usize) -> Heap {
        let blocks = size.div_ceil(TEXT_MAX).max(1);
        let grains = blocks << (ORDERS - 1);
        let mut heap = Heap {
            // Written, so that the pages are there before the first packet.
            bytes: vec![0xa5; grains * GRAIN],
            state: vec![TAKEN; grains],
            links: vec![[NONE; 2]; grains],
            first: [NONE; ORDERS],
            used: 0,
            exhausted: 0,
        };
        for block in (0..blocks).rev() {
            heap.push((block << (ORDERS - 1)) as u32, ORDERS - 1);
        }
        heap
    }

    /// Bytes of a text.
    pub fn get(&self, text: &Text) -> &[u8] {
        self.slice(text.at, text.length)
    }

    /// Bytes of a text, to change them.
    pub fn get_mut(&mut self, text: &mut Text) -> &mut [u8] {
        let from = text.at as usize * GRAIN;
        let end = from + text.length as usize;
        if text.length == 0 {
            return &mut [];
        }
        self.bytes.get_mut(from..end).unwrap_or(&mut [])
    }

    /// Bytes of the text that has these parts.
    pub(super) fn slice_of(&self, at: u32, length: u32) -> &[u8] {
        self.slice(at, length)
    }

    fn slice(&self, at: u32, length: u32) -> &[u8] {
        if length == 0 {
            return &[];
        }
        let from = at as usize * GRAIN;
        self.bytes.get(from..from + length as usize).unwrap_or(&[])
    }

    /// Appends bytes. False, and nothing is appended, if it would pass [`TEXT_MAX`] or the heap is
    /// full (counted).
    #[must_use]
    pub fn append(&mut self, text: &mut Text, bytes: &[u8]) -> bool {
        if !self.reserve(text, bytes.len()) {
            return false;
        }
        let from = text.at as usize * GRAIN + text.length as usize;
        if let Some(room) = self.bytes.get_mut(from..from + bytes.len()) {
            room.copy_from_slice(bytes);
            text.length += bytes.len() as u32;
        }
        true
    }

    /// Makes room for `more` bytes behind the text.
    fn reserve(&mut self, text: &mut Text, more: usize) -> bool {
        let wanted = text.len() + more;
        if wanted == 0 || (text.at != NONE && wanted <= GRAIN << text.order) {
            return true;
        }
        if wanted > TEXT_MAX {
            return false;
        }
        let order = (wanted.div_ceil(GRAIN))
            .next_power_of_two()
            .trailing_zeros() as usize;
        let Some(at) = self.take(order) else {
            self.exhausted += 1;
            return false;
        };
        let old = std::mem::replace(
            text,
            Text {
                at,
                length: text.length,
                order: order as u8,
            },
        );
        if old.at != NONE {
            let from = old.at as usize * GRAIN;
            self.bytes
                .copy_within(from..from + old.length as usize, at as usize * GRAIN);
            self.free(old);
        }
        true
    }

    /// Takes the first `count` bytes out.
    pub fn consume(&mut self, text: &mut Text, count: usize) {
        let count = count.min(text.len());
        let from = text.at as usize * GRAIN;
        if count == text.len() {
            text.length = 0;
            return;
        }
        self.bytes
            .copy_within(from + count..from + text.len(), from);
        text.length -= count as u32;
    }

    /// Cuts the text after `count` bytes; the block stays.
    pub fn truncate(&mut self, text: &mut Text, count: usize) {
        text.length = text.length.min(count as u32);
    }

    /// Gives the memory back.
    pub fn free(&mut self, text: Text) {
        if text.at == NONE {
            return;
        }
        let (mut at, mut order) = (text.at, usize::from(text.order));
        self.used -= GRAIN << order;
        while order + 1 < ORDERS {
            let buddy = at ^ (1 << order);
            if self.state.get(buddy as usize) != Some(&(order as u8)) {
                break;
            }
            self.unlink(buddy, order);
            at = at.min(buddy);
            order += 1;
        }
        self.push(at, order);
    }

    /// Gives the memory of a text back and leaves it empty.
    pub fn clear(&mut self, text: &mut Text) {
        let old = std::mem::take(text);
        self.free(old);
    }

    fn take(&mut self, order: usize) -> Option<u32> {
        let mut found = (order..ORDERS).find(|order| self.first[*order] != NONE)?;
        let at = self.first[found];
        self.unlink(at, found);
        while found > order {
            found -= 1;
            self.push(at ^ (1 << found), found);
        }
        self.used += GRAIN << order;
        Some(at)
    }

    fn push(&mut self, at: u32, order: usize) {
        let next = self.first[order];
        if let Some(links) = self.links.get_mut(at as usize) {
            *links = [NONE, next];
        }
        if let Some(links) = self.links.get_mut(next as usize) {
            links[0] = at;
        }
        if let Some(state) = self.state.get_mut(at as usize) {
            *state = order as u8;
        }
        self.first[order] = at;
    }

    fn unlink(&mut self, at: u32, order: usize) {
        let [before, next] = self.links.get(at as usize).copied().unwrap_or([NONE; 2]);
        match self.links.get_mut(before as usize) {
            Some(links) => links[1] = next,
            None => self.first[order] = next,
        }
        if let Some(links) = self.links.get_mut(next as usize) {
            links[0] = before;
        }
        if let Some(state) = self.state.get_mut(at as usize) {
            *state = TAKEN;
        }
    }

    /// Bytes in blocks that are taken.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Bytes in all.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Requests that found no room so far.
    pub fn exhausted(&self) -> u64 {
        self.exhausted
    }

    /// A text that another piece of memory remembers by its parts; see [`Text::into_parts`].
    pub(super) fn of_parts(parts: [u32; 3]) -> Text {
        Text {
            at: parts[0],
            length: parts[1],
            order: parts[2] as u8,
        }
    }
}

impl Text {
    /// Start, length and order, to be remembered in bytes; [`Heap::of_parts`] brings it back, once.
    pub(super) fn into_parts(self) -> [u32; 3] {
        [self.at, self.length, u32::from(self.order)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_memory_comes_back_as_whole_blocks() {
        let mut heap = Heap::new(2 * TEXT_MAX);
        let mut texts: Vec<Text> = (0..300).map(|_| Text::default()).collect();
        for (i, text) in texts.iter_mut().enumerate() {
            assert!(heap.append(text, &vec![i as u8; 10 * (i % 50) + 1]));
        }
        for text in texts {
            heap.free(text);
        }
        assert_eq!(heap.used(), 0);
        let mut big = [Text::default(), Text::default()];
        for text in &mut big {
            assert!(heap.append(text, &vec![1; TEXT_MAX]));
        }
        let mut more = Text::default();
        assert!(!heap.append(&mut more, b"x"), "the heap is full");
        assert_eq!(heap.exhausted(), 1);
        assert!(!heap.append(&mut big[0], b"x"), "longer than a text can be");
    }

    proptest! {
        #[test]
        fn texts_agree_with_vectors(steps in prop::collection::vec((0usize..6, 0usize..5, 0usize..700), 0..200)) {
            let mut heap = Heap::new(TEXT_MAX);
            let mut texts: Vec<Text> = (0..6).map(|_| Text::default()).collect();
            let mut model: Vec<Vec<u8>> = vec![Vec::new(); 6];
            for (n, (which, what, size)) in steps.into_iter().enumerate() {
                match what {
                    0..=2 => {
                        let bytes = vec![n as u8; size];
                        if heap.append(&mut texts[which], &bytes) {
                            model[which].extend(bytes);
                        }
                    }
                    3 => {
                        heap.consume(&mut texts[which], size);
                        let taken = size.min(model[which].len());
                        model[which].drain(..taken);
                    }
                    _ => {
                        heap.clear(&mut texts[which]);
                        model[which].clear();
                    }
                }
                for (text, model) in texts.iter().zip(&model) {
                    prop_assert_eq!(heap.get(text), model.as_slice());
                }
            }
            for text in texts {
                heap.free(text);
            }
            prop_assert_eq!(heap.used(), 0);
        }
    }
}
