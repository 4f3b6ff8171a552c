//! The ring between two workers: one producer, one consumer, no lock, no system call.
//!
//! What lives here: the public face of the ring ([`ring`], [`Producer`], [`Consumer`], [`Word`]),
//! the choice of atomics, and the tests. The protocol itself stands once, in `queue/line.rs`, and its
//! model check in `queue/modelled.rs`.
//! What does not live here: waiting. A ring neither sleeps nor wakes; a worker that finds it empty
//! or full decides what to do next (lane.rs). Nor does it know what a word means.
//!
//! Read first: Lamport, "Specifying concurrent program modules" (1983), for the index ring this is
//! not; Giacomoni, Moseley and Vachharajani, "FastForward for efficient pipeline parallelism"
//! (PPoPP 2008), for the idea that the slot itself says whether it is full, so that one cache line
//! moves a hop where an index ring moves two.

mod line;

use crate::memory::{Buffer, Handle};

pub use line::{CELL_ITEMS, CELLS_MAX, Consumer, Producer, ring};

/// A thing that travels as one machine word and is moved, never copied, through a ring.
///
/// Neither function may panic: the ring stays sound if one does, but the item is lost.
pub trait Word: Send {
    /// Gives the item up for a word.
    fn into_word(self) -> u64;
    /// Makes the item again.
    ///
    /// # Safety
    /// `word` must come from `into_word` of the same type and be turned back once at most, so that
    /// a move-only handle stays the only one of its kind. The ring keeps this.
    unsafe fn from_word(word: u64) -> Self;
}

impl Word for Handle {
    #[inline(always)]
    fn into_word(self) -> u64 {
        Handle::into_word(self)
    }
    #[inline(always)]
    unsafe fn from_word(word: u64) -> Self {
        // SAFETY: the caller's word is ours to pass on.
        unsafe { Handle::from_word(word) }
    }
}

impl Word for Buffer {
    #[inline(always)]
    fn into_word(self) -> u64 {
        u64::from(self.into_index())
    }
    /// A word made by `into_word` has no upper half, so nothing is cut off.
    #[inline(always)]
    unsafe fn from_word(word: u64) -> Self {
        Buffer::from_index(word as u32)
    }
}

impl Word for u64 {
    #[inline(always)]
    fn into_word(self) -> u64 {
        self
    }
    #[inline(always)]
    unsafe fn from_word(word: u64) -> Self {
        word
    }
}

/// What `line.rs` stands on. The model check below compiles `line.rs` a second time over loom's
/// twins of these names, so that the feature never changes the ring that everyone else uses.
mod sync {
    pub use std::sync::Arc;
    pub use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// True where a layout assertion would measure loom's types instead of ours.
    pub const MODELLED: bool = false;

    /// `std::cell::UnsafeCell` with loom's calling convention: access through closures, which is
    /// how loom sees the beginning and the end of each access.
    pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }
        #[inline(always)]
        pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            read(self.0.get())
        }
        #[inline(always)]
        pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            write(self.0.get())
        }
    }
}

#[cfg(all(test, feature = "loom"))]
mod modelled;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// The naive twin: cells as a queue of queues, with the counts the ring promises.
    struct Model {
        cells: VecDeque<VecDeque<u64>>,
        cells_max: usize,
        closed: bool,
    }

    impl Model {
        fn push(&mut self, items: &mut Vec<u64>) -> usize {
            let room = if self.closed {
                0
            } else {
                self.cells_max - self.cells.len()
            };
            let count = items.len().min(room * CELL_ITEMS);
            let moved: Vec<u64> = items.drain(..count).collect();
            for chunk in moved.chunks(CELL_ITEMS) {
                self.cells.push_back(chunk.iter().copied().collect());
            }
            count
        }

        fn pop(&mut self, max: usize) -> Vec<u64> {
            let mut out = Vec::new();
            while out.len() < max
                && let Some(cell) = self.cells.front_mut()
            {
                out.extend(cell.pop_front());
                if cell.is_empty() {
                    self.cells.pop_front();
                }
            }
            out
        }

        fn remaining(&self) -> usize {
            self.cells.iter().map(VecDeque::len).sum()
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        PushOne,
        Pop { max: usize, room: usize },
        Close,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0usize..40).prop_map(Step::Push),
            2 => Just(Step::PushOne),
            8 => (0usize..40, 0usize..40).prop_map(|(max, room)| Step::Pop { max, room }),
            1 => Just(Step::Close),
        ]
    }

    fn run_against_model(capacity_items: usize, steps: &[Step]) {
        let (mut producer, mut consumer) = ring::<u64>(capacity_items);
        let cells_max = producer.cells();
        let mut model = Model {
            cells: VecDeque::new(),
            cells_max,
            closed: false,
        };
        let mut next = 0u64;
        for step in steps {
            match *step {
                Step::Push(count) => {
                    let mut ours: Vec<u64> = (next..next + count as u64).collect();
                    let mut theirs = ours.clone();
                    let free = producer.free();
                    let pushed = producer.push_burst(&mut ours);
                    assert_eq!(pushed, model.push(&mut theirs));
                    assert!(
                        pushed >= count.min(free),
                        "free() promised room that was not there"
                    );
                    assert_eq!(ours, theirs, "what did not fit stays, in order");
                    next += pushed as u64;
                }
                Step::PushOne => {
                    let taken = producer.push(next).is_ok();
                    assert_eq!(usize::from(taken), model.push(&mut vec![next]));
                    next += u64::from(taken);
                }
                Step::Pop { max, room } => {
                    let mut out = Vec::with_capacity(room);
                    let room = out.capacity();
                    let popped = consumer.pop_burst(&mut out, max);
                    assert_eq!(out, model.pop(max.min(room)));
                    assert_eq!((popped, out.capacity()), (out.len(), room));
                }
                Step::Close => {
                    producer.close();
                    model.closed = true;
                }
            }
            assert_eq!(consumer.is_empty(), model.remaining() == 0);
            assert_eq!(consumer.remaining(), model.remaining());
            assert_eq!(consumer.is_closed(), model.closed && model.remaining() == 0);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 6 } else { 512 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]
        #[test]
        fn ring_and_naive_queue_agree(
            capacity in 1usize..70,
            steps in prop::collection::vec(any_step(), 1..if cfg!(miri) { 30 } else { 400 }),
        ) {
            run_against_model(capacity, &steps);
        }
    }

    /// A small generator with a seed, so that a failing run can be repeated.
    struct SplitMix(u64);

    impl SplitMix {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) % bound as u64) as usize
        }
    }

    fn produce(mut producer: Producer<u64>, items: u64, seed: u64) {
        let mut random = SplitMix(seed);
        let mut burst = Vec::with_capacity(64);
        let mut next = 0;
        while next < items || !burst.is_empty() {
            let wanted = 1 + random.below(64);
            while burst.len() < wanted && next < items {
                burst.push(next);
                next += 1;
            }
            if producer.push_burst(&mut burst) == 0 {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn two_threads_lose_nothing_double_nothing_and_keep_the_order() {
        let items: u64 = if cfg!(miri) { 1_500 } else { 10_500_000 };
        for (round, capacity) in [7usize, 64, 1024].into_iter().enumerate() {
            let (producer, mut consumer) = ring::<u64>(capacity);
            let share = items / 3;
            let sender = std::thread::spawn(move || produce(producer, share, round as u64));
            let mut random = SplitMix(100 + round as u64);
            let mut out = Vec::with_capacity(64);
            let mut expected = 0u64;
            while !consumer.is_closed() {
                out.clear();
                if consumer.pop_burst(&mut out, 1 + random.below(64)) == 0 {
                    std::thread::yield_now();
                }
                for &item in &out {
                    assert_eq!(item, expected);
                    expected += 1;
                }
            }
            sender.join().expect("the producer ends");
            assert_eq!(expected, share);
        }
    }

    #[test]
    fn a_dropped_producer_closes_and_what_it_pushed_can_still_be_read() {
        let (mut producer, mut consumer) = ring::<u64>(16);
        assert_eq!(producer.push_burst(&mut vec![1, 2, 3]), 3);
        drop(producer);
        assert!(!consumer.is_closed(), "not drained yet");
        let mut out = Vec::with_capacity(8);
        assert_eq!(consumer.pop_burst(&mut out, 8), 3);
        assert!(consumer.is_closed());
    }

    #[test]
    fn a_producer_sees_that_its_consumer_is_gone() {
        let (producer, consumer) = ring::<u64>(16);
        assert!(!producer.is_abandoned());
        drop(consumer);
        assert!(producer.is_abandoned());
    }

    /// A move-only item whose drop is visible: the ring must neither drop nor double it.
    struct Token(u32, std::sync::Arc<std::sync::atomic::AtomicU32>);

    impl Drop for Token {
        fn drop(&mut self) {
            self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    impl Word for Box<Token> {
        fn into_word(self) -> u64 {
            Box::into_raw(self).expose_provenance() as u64
        }
        unsafe fn from_word(word: u64) -> Self {
            let token = std::ptr::with_exposed_provenance_mut::<Token>(word as usize);
            // SAFETY: the word came from `into_raw` above and the ring gives each word back once.
            unsafe { Box::from_raw(token) }
        }
    }

    #[test]
    fn move_only_items_pass_through_exactly_once() {
        let drops = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let count = || drops.load(std::sync::atomic::Ordering::Relaxed);
        let (mut producer, mut consumer) = ring::<Box<Token>>(14);
        let mut burst: Vec<_> = (0..20).map(|i| Box::new(Token(i, drops.clone()))).collect();
        assert_eq!(producer.push_burst(&mut burst), 14);
        assert_eq!(
            burst.iter().map(|t| t.0).collect::<Vec<_>>(),
            (14..20).collect::<Vec<_>>()
        );
        assert_eq!(count(), 0, "the ring drops nothing");
        let mut out = Vec::with_capacity(20);
        assert_eq!(consumer.pop_burst(&mut out, 20), 14);
        assert!(out.iter().map(|t| t.0).eq(0..14));
        drop((burst, out));
        assert_eq!(count(), 20);
    }

    struct Breaking(u64);

    impl Word for Breaking {
        fn into_word(self) -> u64 {
            assert_ne!(self.0, 9, "the item that breaks");
            self.0
        }
        unsafe fn from_word(word: u64) -> Self {
            Self(word)
        }
    }

    #[test]
    fn an_item_that_panics_on_its_way_in_ends_the_ring_and_doubles_nothing() {
        let (mut producer, mut consumer) = ring::<Breaking>(64);
        assert_eq!(
            producer.push_burst(&mut (20..25).map(Breaking).collect()),
            5
        );
        let mut burst: Vec<_> = (0..30).map(Breaking).collect();
        let push = std::panic::AssertUnwindSafe(|| producer.push_burst(&mut burst));
        assert!(std::panic::catch_unwind(push).is_err());
        assert!(burst.is_empty(), "what was on its way is lost, not doubled");
        assert!(producer.push(Breaking(1)).is_err());
        drop(producer);
        let mut out = Vec::with_capacity(64);
        assert_eq!(consumer.pop_burst(&mut out, 64), 5);
        assert!(consumer.is_closed());
    }

    #[test]
    fn handles_of_an_arena_come_out_as_they_went_in() {
        let (arena, mut handles) = crate::memory::Arena::new(20, || 0u8);
        handles[3].set_length(1514);
        handles[4].set_more(true);
        let (mut producer, mut consumer) = ring::<Handle>(32);
        assert_eq!(producer.push_burst(&mut handles), arena.len());
        let mut out = Vec::with_capacity(20);
        assert_eq!(consumer.pop_burst(&mut out, 20), 20);
        assert!(out.iter().map(Handle::index).eq(0..20));
        assert_eq!((out[3].length(), out[4].more()), (1514, true));
    }

    #[test]
    fn capacity_is_whole_cells_and_a_single_item_takes_one() {
        let (mut producer, consumer) = ring::<u64>(100);
        assert_eq!((producer.cells(), producer.free()), (16, 112));
        for item in 0..16 {
            assert!(producer.push(item).is_ok());
        }
        assert_eq!(
            producer.push(16),
            Err(16),
            "sixteen cells of one item each are full"
        );
        assert_eq!(consumer.remaining(), 16);
    }

    #[test]
    fn both_ends_travel_to_another_thread_and_are_not_shared() {
        fn sendable<T: Send>() {}
        sendable::<Producer<u64>>();
        sendable::<Consumer<u64>>();
        // If an end were Sync or Clone, the `_` below could be inferred in two ways and this
        // test would not compile.
        trait Unless<Which> {
            fn holds() {}
        }
        impl<T: ?Sized> Unless<()> for T {}
        struct IsSync;
        impl<T: ?Sized + Sync> Unless<IsSync> for T {}
        struct IsClone;
        impl<T: Clone> Unless<IsClone> for T {}
        <Producer<u64> as Unless<_>>::holds();
        <Consumer<u64> as Unless<_>>::holds();
    }
}
