//! Work of loading that falls into many independent parts, on as many threads as there are cores.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

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
    let threads = cores.min(parts.len());
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
}
