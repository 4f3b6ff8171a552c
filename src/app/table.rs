//! Small tables of a parser (open calls, handles, names): records of `N` words in one text of the
//! heap, searched from the oldest on. Bounded by their owner: who is pushed out is handed back, so
//! that what it holds is given back too.

use super::heap::{Heap, Text};
use super::output::{Growing, TxId};

/// An empty record, of the largest size.
const BLANK: [u8; 128] = [0; 128];

/// A table of records of `N` words.
#[derive(Debug, Default)]
pub struct Table<const N: usize> {
    text: Text,
}

impl<const N: usize> Table<N> {
    const SIZE: usize = N * 4;

    /// Records.
    pub fn len(&self) -> usize {
        self.text.len() / Self::SIZE
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn decode(bytes: &[u8]) -> [u32; N] {
        let mut words = [0; N];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes(bytes.try_into().unwrap_or([0; 4]));
        }
        words
    }

    /// The record at a place.
    pub fn get(&self, heap: &Heap, place: usize) -> Option<[u32; N]> {
        let bytes = heap.get(&self.text);
        let bytes = bytes.get(place * Self::SIZE..(place + 1) * Self::SIZE)?;
        Some(Self::decode(bytes))
    }

    /// The oldest record that answers, and its place.
    pub fn find(
        &self,
        heap: &Heap,
        mut wanted: impl FnMut(&[u32; N]) -> bool,
    ) -> Option<(usize, [u32; N])> {
        let bytes = heap.get(&self.text).chunks_exact(Self::SIZE);
        let mut records = bytes.map(Self::decode).enumerate();
        records.find(|(_, record)| wanted(record))
    }

    /// Writes the record at a place.
    pub fn set(&mut self, heap: &mut Heap, place: usize, record: &[u32; N]) {
        let bytes = heap.get_mut(&mut self.text);
        let Some(bytes) = bytes.get_mut(place * Self::SIZE..(place + 1) * Self::SIZE) else {
            return;
        };
        for (bytes, word) in bytes.chunks_exact_mut(4).zip(record) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }

    /// Appends a record. Gives back the one that has no room: the oldest beyond `most` records, or
    /// the new one when the heap is full.
    #[must_use]
    pub fn push(&mut self, heap: &mut Heap, most: usize, record: &[u32; N]) -> Option<[u32; N]> {
        let out = if self.len() >= most {
            self.remove(heap, 0)
        } else {
            None
        };
        let at = self.len();
        const { assert!(N * 4 <= BLANK.len()) };
        // Room first, then the words: what was pushed out has left room, so that one of both is
        // handed back at most.
        if !heap.append(&mut self.text, BLANK.get(..Self::SIZE).unwrap_or(&[])) {
            return Some(*record);
        }
        self.set(heap, at, record);
        out
    }

    /// Takes the record at a place out; those behind it move up.
    pub fn remove(&mut self, heap: &mut Heap, place: usize) -> Option<[u32; N]> {
        let record = self.get(heap, place)?;
        let length = self.text.len();
        let bytes = heap.get_mut(&mut self.text);
        bytes.copy_within((place + 1) * Self::SIZE..length, place * Self::SIZE);
        heap.truncate(&mut self.text, length - Self::SIZE);
        Some(record)
    }

    /// Takes the youngest record out.
    pub fn pop(&mut self, heap: &mut Heap) -> Option<[u32; N]> {
        let last = self.len().checked_sub(1)?;
        self.remove(heap, last)
    }

    /// Forgets all records; they must hold nothing.
    pub fn clear(&mut self, heap: &mut Heap) {
        heap.clear(&mut self.text);
    }
}

/// Two words of a number.
pub fn words(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

/// The number of two words.
pub fn number(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// Four words of sixteen bytes.
pub fn guid_words(guid: [u8; 16]) -> [u32; 4] {
    let mut out = [0; 4];
    for (word, bytes) in out.iter_mut().zip(guid.chunks_exact(4)) {
        *word = u32::from_le_bytes(bytes.try_into().unwrap_or([0; 4]));
    }
    out
}

/// The sixteen bytes of four words.
pub fn guid_bytes(words: [u32; 4]) -> [u8; 16] {
    let mut out = [0; 16];
    for (bytes, word) in out.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    out
}

/// Two words of a transaction's name.
pub fn tx_words(tx: TxId) -> [u32; 2] {
    [tx.index, tx.serial]
}

/// The transaction of two words.
pub fn tx_of(index: u32, serial: u32) -> TxId {
    TxId { index, serial }
}

/// The word of a growing instance.
pub fn growing_word(growing: Growing) -> u32 {
    growing.0
}

/// The growing instance of a word.
pub fn growing_of(word: u32) -> Growing {
    Growing(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leaves_when_the_table_is_full() {
        let mut heap = Heap::new(1 << 18);
        let mut table = Table::<2>::default();
        for number in 0..3 {
            assert_eq!(table.push(&mut heap, 3, &[number, number * 10]), None);
        }
        assert_eq!(table.push(&mut heap, 3, &[3, 30]), Some([0, 0]));
        assert_eq!(table.find(&heap, |r| r[0] == 2), Some((1, [2, 20])));
        table.set(&mut heap, 1, &[7, 70]);
        assert_eq!(table.remove(&mut heap, 0), Some([1, 10]));
        assert_eq!(table.get(&heap, 0), Some([7, 70]));
        assert_eq!(table.pop(&mut heap), Some([3, 30]));
        assert_eq!(table.len(), 1);
        table.clear(&mut heap);
        assert_eq!(heap.used(), 0);
        assert_eq!(table.pop(&mut heap), None);
    }

    #[test]
    fn words_have_their_values_back() {
        let [low, high] = words(0x1234_5678_9abc_def0);
        assert_eq!(number(low, high), 0x1234_5678_9abc_def0);
        let guid = *b"0123456789abcdef";
        assert_eq!(guid_bytes(guid_words(guid)), guid);
    }
}
