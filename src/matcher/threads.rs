//! Work of loading that falls into many independent parts, on as many threads as there are cores.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

thread_local! {
    /// Work that this thread asks for is done by it alone.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// What this thread asks for from now on it does alone: beside lanes at work, each further thread
/// would be on the core of one.
pub fn work_alone() {
    ALONE.set(true);
}

/// Does `work` on each of `parts`. Results come with the numbers of their parts, in their order; the
/// results of a thread that died are missing.
pub fn each<P: Sync, R: Send>(parts: &[P], work: impl Fn(&P) -> R + Sync) -> Vec<(usize, R)> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Relaxed);
            let Some(part) = parts.get(number) else {
                return done;
            };
            done.push((number, work(part)));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if ALONE.get() {
        1
    } else {
        cores.min(parts.len())
    };
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(take)).collect();
        let own = take();
        let joined = others.into_iter().filter_map(|other| other.join().ok());
        joined.chain([own]).flatten().collect()
    });
    done.sort_by_key(|(number, _)| *number);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_done_once_and_in_order() {
        let parts: Vec<u32> = (0..1000).collect();
        let done = each(&parts, |part| part * 2);
        assert!(
            done.iter()
                .enumerate()
                .all(|(i, (number, twice))| i == *number && *twice == 2 * i as u32)
        );
        assert_eq!(done.len(), 1000);
        assert!(each(&[] as &[u32], |part| *part).is_empty());
    }

    #[test]
    fn a_thread_that_works_alone_asks_no_other() {
        let other = std::thread::spawn(|| {
            work_alone();
            let own = std::thread::current().id();
            let who = each(&[0; 100], |_| std::thread::current().id());
            who.iter().all(|(_, id)| *id == own)
        });
        assert!(other.join().unwrap());
    }
}
