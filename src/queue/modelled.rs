//! The model check of the ring: every interleaving loom finds over one or two cells.
//!
//! What lives here: `line.rs`, compiled a second time over loom's atomics, and the cases it is
//! checked with. What does not: the ring everyone else uses, which the feature leaves as it is.
//! Run with `cargo test --features loom --lib queue::modelled`.

use super::Word;

mod sync {
    pub use loom::cell::UnsafeCell;
    pub use loom::sync::Arc;
    pub use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub const MODELLED: bool = true;
}

#[allow(
    clippy::duplicate_mod,
    reason = "the model is the same text over other atomics"
)]
#[allow(
    dead_code,
    reason = "the cases use what moves items; the rest has no other thread in it"
)]
#[path = "line.rs"]
mod line;
use line::{CELL_ITEMS, ring};

/// Sends `bursts` through a ring of `cells` and checks that they arrive whole and in order.
fn check(cells: usize, bursts: &'static [usize], pop_max: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let (mut producer, mut consumer) = ring::<u64>(cells * CELL_ITEMS);
        let sender = loom::thread::spawn(move || {
            let mut next = 0u64;
            for &count in bursts {
                let mut burst: Vec<u64> = (next..next + count as u64).collect();
                next += count as u64;
                while !burst.is_empty() {
                    if producer.push_burst(&mut burst) == 0 {
                        loom::thread::yield_now();
                    }
                }
            }
        });
        let mut out = Vec::with_capacity(64);
        while !consumer.is_closed() {
            if consumer.pop_burst(&mut out, pop_max) == 0 {
                loom::thread::yield_now();
            }
        }
        sender.join().expect("the producer ends");
        assert!(
            out.iter()
                .copied()
                .eq(0..bursts.iter().sum::<usize>() as u64)
        );
    });
}

#[test]
fn one_cell_is_refilled_only_after_it_was_read() {
    check(1, &[1, 2, 1], 8);
}

#[test]
fn two_cells_wrap_with_bursts_that_straddle_them() {
    check(2, &[8, 1, 9], 16);
}

#[test]
fn a_cell_read_in_two_pieces_is_not_given_back_early() {
    check(1, &[3, 2], 2);
}

#[test]
fn an_abandoned_ring_can_be_dropped_from_either_side_first() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring::<u64>(CELL_ITEMS);
        let sender = loom::thread::spawn(move || {
            let pushed = producer.push(1).is_ok();
            drop(producer);
            pushed
        });
        let mut out = Vec::with_capacity(1);
        let popped = consumer.pop_burst(&mut out, 1);
        drop(consumer);
        assert!(sender.join().expect("the producer ends"));
        assert!(popped <= 1);
    });
}
