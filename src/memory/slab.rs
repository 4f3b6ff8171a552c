//! A fixed number of equal records, taken and given back by index: memory for what only some flows
//! need (TCP state, stream bytes' bookkeeping, counters). One owner, no locks. What the records
//! mean is not known here. Invariant: nothing allocates after [`Slabs::new`].

use super::prefetch::prefetch_read;

/// Link of the last free record.
const END: u32 = u32::MAX;
/// Records of one pool at most.
pub const SLABS_MAX: u32 = u32::MAX - 1;

/// A pool of `T`. The free ones form a chain, last freed first, so that warm memory is used again.
#[derive(Debug)]
pub struct Slabs<T> {
    records: Vec<T>,
    /// Index of the free record after a free one, or [`END`].
    links: Vec<u32>,
    /// A bit per record: it is in use. (A look at a record asks this and never the links, so that
    /// it costs a line of its own only where there are very many.)
    in_use: Vec<u64>,
    first_free: u32,
    used: u32,
    /// `take` calls that found nothing.
    exhausted: u64,
}

impl<T: Clone> Slabs<T> {
    /// A pool of `count` records (at most [`SLABS_MAX`]), each a copy of `blank`, all touched.
    pub fn new(count: u32, blank: T) -> Slabs<T> {
        Slabs::from_fn(count, || blank.clone())
    }
}

impl<T> Slabs<T> {
    /// A pool of `count` records (at most [`SLABS_MAX`]), each made by `blank`, all touched.
    pub fn from_fn(count: u32, mut blank: impl FnMut() -> T) -> Slabs<T> {
        let count = count.min(SLABS_MAX);
        let mut links: Vec<u32> = (1..=count).collect();
        if let Some(last) = links.last_mut() {
            *last = END;
        }
        let first_free = if count == 0 { END } else { 0 };
        let records = (0..count).map(|_| blank()).collect();
        Slabs {
            records,
            in_use: vec![0; links.len().div_ceil(64)],
            links,
            first_free,
            used: 0,
            exhausted: 0,
        }
    }
}

impl<T> Slabs<T> {
    /// Takes a record and writes `value` into it; None when all are in use, which is counted.
    pub fn take(&mut self, value: T) -> Option<u32> {
        self.take_with(|record| *record = value)
    }

    /// As [`Slabs::take`], the record being made ready where it lies: what is left of its last use
    /// need not be written over.
    pub fn take_with(&mut self, make: impl FnOnce(&mut T)) -> Option<u32> {
        let index = self.first_free;
        let (Some(record), Some(link)) = (
            self.records.get_mut(index as usize),
            self.links.get_mut(index as usize),
        ) else {
            self.exhausted += 1;
            return None;
        };
        self.first_free = *link;
        make(record);
        if let Some(word) = self.in_use.get_mut(index as usize / 64) {
            *word |= 1 << (index % 64);
        }
        self.used += 1;
        Some(index)
    }

    /// Gives a record back. False, and nothing happens, if it is not in use.
    #[must_use]
    pub fn give_back(&mut self, index: u32) -> bool {
        if !self.is_in_use(index) {
            return false;
        }
        if let Some(word) = self.in_use.get_mut(index as usize / 64) {
            *word &= !(1 << (index % 64));
        }
        if let Some(link) = self.links.get_mut(index as usize) {
            *link = self.first_free;
            self.first_free = index;
        }
        self.used -= 1;
        true
    }

    #[inline(always)]
    fn is_in_use(&self, index: u32) -> bool {
        let word = self.in_use.get(index as usize / 64);
        word.is_some_and(|word| word >> (index % 64) & 1 != 0)
    }

    /// A record in use.
    #[inline(always)]
    pub fn get(&self, index: u32) -> Option<&T> {
        if !self.is_in_use(index) {
            return None;
        }
        self.records.get(index as usize)
    }

    /// A record in use, to change it.
    #[inline(always)]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        if !self.is_in_use(index) {
            return None;
        }
        self.records.get_mut(index as usize)
    }

    /// Asks for the first lines of a record ahead of its use.
    #[inline(always)]
    pub fn prefetch(&self, index: u32, lines: usize) {
        if let Some(record) = self.records.get(index as usize) {
            let first = std::ptr::from_ref(record).cast::<u8>();
            for line in 0..lines.min(size_of::<T>().div_ceil(64)) {
                prefetch_read(first.wrapping_add(64 * line));
            }
        }
    }

    /// Records in all.
    pub fn count(&self) -> u32 {
        self.links.len() as u32
    }

    /// Records in use.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// How often all were in use when one was wanted.
    pub fn exhausted(&self) -> u64 {
        self.exhausted
    }

    /// Bytes of `count` records, for the plan printed at start.
    pub fn size_of(count: u32) -> usize {
        count as usize * (size_of::<T>() + size_of::<u32>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_record_is_taken_once_and_given_back_once() {
        let mut slabs = Slabs::new(2, 0_u64);
        let (first, second) = (slabs.take(10).unwrap(), slabs.take(20).unwrap());
        assert_ne!(first, second);
        assert_eq!(slabs.take(30), None);
        assert_eq!((slabs.used(), slabs.exhausted()), (2, 1));
        assert!(slabs.give_back(first));
        assert!(!slabs.give_back(first), "a second time changes nothing");
        assert!(!slabs.give_back(99));
        assert_eq!(slabs.get(first), None);
        assert_eq!(slabs.get(second), Some(&20));
        *slabs.get_mut(second).unwrap() += 1;
        assert_eq!(slabs.take(40), Some(first));
        assert_eq!(slabs.get(first), Some(&40));
        assert_eq!(slabs.get(second), Some(&21));
    }

    #[test]
    fn an_empty_pool_has_nothing() {
        let mut slabs = Slabs::new(0, 0_u8);
        assert_eq!(slabs.take(1), None);
        assert_eq!((slabs.count(), slabs.get(0)), (0, None));
    }

    proptest! {
        #[test]
        fn the_pool_agrees_with_a_map(steps in prop::collection::vec((any::<bool>(), 0_u32..12), 0..200)) {
            let mut slabs = Slabs::new(8, 0_usize);
            let mut model = BTreeMap::new();
            for (step, (take, index)) in steps.into_iter().enumerate() {
                if take {
                    match slabs.take(step) {
                        Some(index) => prop_assert_eq!(model.insert(index, step), None),
                        None => prop_assert_eq!(model.len(), 8),
                    }
                } else {
                    prop_assert_eq!(slabs.give_back(index), model.remove(&index).is_some());
                }
                prop_assert_eq!(slabs.used() as usize, model.len());
                for index in 0..12 {
                    prop_assert_eq!(slabs.get(index), model.get(&index));
                }
            }
        }
    }
}
