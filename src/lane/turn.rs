//! Turns: in an ordered feed, state that lanes share is touched in capture order.
//!
//! Thresholds and host bits belong to addresses, not to flows, so two lanes may reach for one of
//! them. Live, whoever comes first is first. In a replay the result must not depend on the number
//! of lanes: before a lane touches such state for packet `order` it waits until no other lane can
//! still do so for an earlier packet. Each lane publishes how far its match stage has come; a
//! waiting lane has published its own order, so the smallest always goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far the match stage of each lane has come: all orders below are done.
pub struct Progress {
    lanes: Vec<AtomicU64>,
    ordered: bool,
}

impl Progress {
    /// For `lanes` lanes; `ordered` says that the feed stamps orders.
    pub fn new(lanes: usize, ordered: bool) -> Arc<Progress> {
        Arc::new(Progress {
            lanes: (0..lanes).map(|_| AtomicU64::new(0)).collect(),
            ordered,
        })
    }
}

/// One lane's view of the progress of all.
#[derive(Clone)]
pub struct LaneTurn {
    progress: Arc<Progress>,
    lane: usize,
}

impl LaneTurn {
    /// The turn of one lane.
    pub fn new(progress: Arc<Progress>, lane: usize) -> LaneTurn {
        LaneTurn { progress, lane }
    }

    /// Publishes that this lane has done everything below `order`.
    pub fn publish(&self, order: u64) {
        if let Some(own) = self.progress.lanes.get(self.lane) {
            own.fetch_max(order, Ordering::AcqRel);
        }
    }

    /// Waits until every other lane has done what comes before `order`. Live: returns at once.
    pub fn wait(&self, order: u64) {
        if !self.progress.ordered || self.progress.lanes.len() < 2 || order == 0 {
            return;
        }
        self.publish(order);
        for (lane, reached) in self.progress.lanes.iter().enumerate() {
            while lane != self.lane && reached.load(Ordering::Acquire) < order {
                std::thread::yield_now();
            }
        }
    }
}

impl crate::matcher::Turn for LaneTurn {
    fn wait_turn(&mut self, order: u64) {
        self.wait(order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_packet_goes_first() {
        let progress = Progress::new(2, true);
        let (first, second) = (
            LaneTurn::new(progress.clone(), 0),
            LaneTurn::new(progress, 1),
        );
        let log = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for order in [2u64, 4, 6] {
                    second.wait(order);
                    log.lock().unwrap().push(order);
                    second.publish(order + 1);
                }
                second.publish(u64::MAX);
            });
            for order in [1u64, 3, 5] {
                first.wait(order);
                log.lock().unwrap().push(order);
                first.publish(order + 1);
            }
            first.publish(u64::MAX);
        });
        assert_eq!(*log.lock().unwrap(), [1, 2, 3, 4, 5, 6]);
    }
}
