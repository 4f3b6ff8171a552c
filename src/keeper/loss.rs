//! What a death cost: counters made whole from the ledgers (DESIGN.md 8, I1, I7, I8).
//!
//! Ledgers say how many frames left the receive rings and how many entered the transmit rings, to
//! the frame. Counters are bumped after the fact, so after a death they may lag behind, by a burst
//! at most; they never lead, and so are only ever raised here. What was received and came to no
//! end is lost.

use super::board::{Board, ENGINES, Half};
use crate::counters::Counter;

/// What [`settle`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Loss {
    /// Frames that the dead engine held.
    pub frames: u64,
    /// Flows that it had in its table.
    pub flows: u64,
}

/// Makes the counters agree with the ledgers once nobody has the rings, and counts as lost what
/// came to no end. `dead` is the engine that died, if one did: its flows have ended.
pub fn settle(board: Board, dead: Option<u32>) -> Loss {
    let sum = |counter: Counter| {
        let add = |sum: u64, value: u64| sum.wrapping_add(value);
        board
            .all_counters()
            .map(|cells| cells.get(counter))
            .fold(0, add)
    };
    // In the name of the dead: a post's counters have nobody else who writes them.
    let heir = board.counters(dead.unwrap_or(0), 0);
    let raise = |counter: Counter, by: u64| {
        // A lag is small; anything else is a ledger that began late, and no reason to count.
        if by < u64::from(u32::MAX) {
            heir.add(counter, by);
        }
    };
    if let Some(dead) = dead {
        // A reason is counted before its verdict.
        for worker in 0..board.shape().workers {
            let cells = board.counters(dead, worker);
            let verdicts = cells.get(Counter::PacketsDropped) + cells.get(Counter::PacketsRejected);
            cells.add(
                Counter::PacketsDropped,
                cells.dropped_total().saturating_sub(verdicts),
            );
        }
    }
    let received = board.frames(Half::Receive);
    raise(
        Counter::PacketsReceived,
        received.wrapping_sub(sum(Counter::PacketsReceived)),
    );
    let forwarded = sum(Counter::PacketsForwarded).wrapping_add(sum(Counter::PacketsBypassed));
    raise(
        Counter::PacketsForwarded,
        board.frames(Half::Transmit).wrapping_sub(forwarded),
    );
    let ends = [
        Counter::PacketsForwarded,
        Counter::PacketsBypassed,
        Counter::PacketsDropped,
        Counter::PacketsRejected,
        Counter::PacketsLost,
    ];
    let ended = ends
        .iter()
        .fold(0u64, |total, end| total.wrapping_add(sum(*end)));
    let frames = sum(Counter::PacketsReceived).wrapping_sub(ended);
    let frames = if frames < u64::from(u32::MAX) {
        frames
    } else {
        0
    };
    raise(Counter::PacketsLost, frames);
    Loss {
        frames,
        flows: dead.map_or(0, |dead| forget_flows(board, dead)),
    }
}

/// The flows of a dead engine have ended. Returns how many.
pub fn forget_flows(board: Board, dead: u32) -> u64 {
    let ends = [
        Counter::FlowsEndedTimeout,
        Counter::FlowsEndedClosed,
        Counter::FlowsEndedEvicted,
        Counter::FlowsEndedShutdown,
        Counter::FlowsEndedCrash,
    ];
    let workers = || (0..board.shape().workers).map(|worker| board.counters(dead, worker));
    let sum = |counter: Counter| workers().map(|cells| cells.get(counter)).sum::<u64>();
    let ended: u64 = ends.iter().map(|end| sum(*end)).sum();
    let flows = sum(Counter::FlowsCreated).saturating_sub(ended);
    board.counters(dead, 0).add(Counter::FlowsEndedCrash, flows);
    workers().for_each(|cells| cells.forget_flows());
    debug_assert!(dead < ENGINES);
    flows
}

#[cfg(test)]
mod tests {
    use super::super::board::Shape;
    use super::*;
    use crate::reason::Reason;

    #[test]
    fn what_came_to_no_end_is_lost_and_what_was_not_counted_yet_is() {
        let shape = Shape {
            lanes: 1,
            ports: 2,
            workers: 1,
        };
        let (board, _fd) = Board::create(shape).unwrap();
        let halves = [Half::Receive, Half::Transmit].map(|half| board.tally(0, 0, half).ledger);
        halves.iter().for_each(|ledger| ledger.begin(7));
        let worker = board.counters(1, 0);
        // 100 received, 10 of them not counted yet; 60 sent, of which 4 were built by a stage and
        // 6 are not counted; 3 dropped, one of them with its reason alone.
        halves[0].advance(100, 0);
        worker.add(Counter::PacketsReceived, 90);
        halves[1].advance(60, 4);
        worker.add(Counter::PacketsForwarded, 50);
        worker.add(Counter::PacketsDropped, 2);
        (0..3).for_each(|_| worker.drop_for(Reason::Rule));
        worker.add(Counter::FlowsCreated, 9);
        worker.add(Counter::FlowsEndedClosed, 4);
        let loss = settle(board, Some(1));
        assert_eq!(
            loss,
            Loss {
                frames: 41,
                flows: 5
            }
        );
        let total = |counter| {
            board
                .all_counters()
                .map(|cells| cells.get(counter))
                .sum::<u64>()
        };
        assert_eq!(total(Counter::PacketsReceived), 100);
        assert_eq!(total(Counter::PacketsForwarded), 56);
        assert_eq!(total(Counter::PacketsDropped), 3);
        assert_eq!(total(Counter::PacketsLost), 41);
        assert_eq!(total(Counter::FlowsEndedCrash), 5);
        assert_eq!(settle(board, Some(1)), Loss::default(), "once is enough");
    }
}
