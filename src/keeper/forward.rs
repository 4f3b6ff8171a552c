//! The keeper's own way of moving frames: from each port to the other side, uninspected, or into
//! nowhere. The same halves as in the engine, without stages; it looks into no frame.

use std::os::fd::RawFd;
use std::sync::Arc;

use super::board::Board;
use crate::counters::{Counter, Counters};
use crate::memory::{Arena, Handle, Regions};
use crate::packet::{BURST_MAX, Burst, Context};
use crate::port::open::LanePorts;
use crate::port::{Receive, Transmit, straight};
use crate::reason::Reason;

/// Bursts that a port may bring in one turn: what waits in a ring is moved with one sync of the other
/// side, and the port that brings nothing is asked only so often. At some 40 cycles a frame that is
/// 20,000 cycles, a stage's share (DESIGN.md 1).
const BURSTS_MAX: usize = 8;

/// Frames that a forwarder holds at once, at most: those of a burst, and as many again.
pub const HELD_MAX: usize = 2 * BURST_MAX;

/// What becomes of frames while no engine has the rings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// They go through uninspected.
    Open,
    /// They are dropped (`keeper_closed`).
    Closed,
}

/// All lanes of the keeper.
pub struct Forwarder {
    lanes: Vec<LanePorts>,
    contexts: Arc<Arena<Context>>,
    free: Vec<Handle>,
    burst: Burst,
    regions: Regions,
    counters: Arc<Counters>,
}

impl Forwarder {
    /// A forwarder over halves that have not resumed.
    pub fn new(mut lanes: Vec<LanePorts>, board: Board) -> Forwarder {
        let mut regions = Regions::default();
        for lane in &mut lanes {
            lane.receivers
                .iter_mut()
                .for_each(|half| half.register(&mut regions));
            lane.transmitters
                .iter_mut()
                .for_each(|half| half.register(&mut regions));
        }
        let (contexts, free) = Arena::new(HELD_MAX, Context::default);
        Forwarder {
            lanes,
            contexts,
            free,
            burst: Vec::with_capacity(BURST_MAX),
            regions,
            counters: board.keeper_counters(),
        }
    }

    fn each(&mut self, work: impl Fn(&mut dyn HalfOf)) {
        for lane in &mut self.lanes {
            lane.transmitters.iter_mut().for_each(|half| work(half));
            lane.receivers.iter_mut().for_each(|half| work(half));
        }
    }

    /// Mends the rings of a dead engine. What it had queued for the wire is sent first.
    pub fn take_over(&mut self) {
        self.each(|half| half.mend());
    }

    /// Goes on where the engine stopped.
    pub fn resume(&mut self) {
        self.each(|half| half.go_on());
    }

    /// Lets go of the rings; no frame is held.
    pub fn park(&mut self) {
        self.each(|half| half.let_go());
    }

    /// What waits at each port of each lane, a few bursts at most. Returns the frames moved.
    pub fn turn(&mut self, policy: Policy) -> usize {
        let mut moved = 0;
        let now = crate::time::wall_nanos();
        for lane in 0..self.lanes.len() {
            let ports = self.lanes.get(lane).map_or(0, |lane| lane.receivers.len());
            for port in 0..ports {
                moved += self.port(lane, port, policy, now);
            }
            if let Some(lane) = self.lanes.get_mut(lane) {
                lane.transmitters.iter_mut().for_each(Transmit::sync);
            }
        }
        moved
    }

    /// What waits at a port, straight from ring to ring where that can be.
    fn port(&mut self, lane: usize, port: usize, policy: Policy, now: u64) -> usize {
        let own = self.lanes.get_mut(lane);
        if policy == Policy::Open
            && let Some(LanePorts {
                receivers,
                transmitters,
            }) = own
            && let (Some(receiver), Some(transmitter)) =
                (receivers.get_mut(port), transmitters.get_mut(port ^ 1))
        {
            let limit = transmitter.room().min(BURSTS_MAX * BURST_MAX);
            if let Some(got) = straight(receiver, transmitter, limit) {
                got.account(&self.counters);
                self.counters
                    .add(Counter::PacketsBypassed, got.count as u64);
                self.counters.add(Counter::BytesForwarded, got.bytes);
                return got.count;
            }
        }
        let mut moved = 0;
        for _ in 0..BURSTS_MAX {
            let count = self.burst(lane, port, policy, now);
            moved += count;
            if count < BURST_MAX {
                break;
            }
        }
        moved
    }

    /// One burst of a port, frame by frame.
    fn burst(&mut self, lane: usize, port: usize, policy: Policy, now: u64) -> usize {
        let Some(LanePorts {
            receivers,
            transmitters,
        }) = self.lanes.get_mut(lane)
        else {
            return 0;
        };
        let (Some(receiver), Some(transmitter)) =
            (receivers.get_mut(port), transmitters.get_mut(port ^ 1))
        else {
            return 0;
        };
        // Nothing is taken that the other side has no room for: it waits in its ring.
        let limit = match policy {
            Policy::Open => transmitter.room().min(BURST_MAX),
            Policy::Closed => BURST_MAX,
        };
        let got = receiver.receive(&self.contexts, &mut self.free, &mut self.burst, limit, now);
        let counters = &self.counters;
        got.account(counters);
        for mut handle in self.burst.drain(..) {
            let context = self.contexts.get_mut(&mut handle);
            let sent = match policy {
                Policy::Open => transmitter.transmit(context, &self.regions),
                Policy::Closed => Err(Reason::KeeperClosed),
            };
            let bytes = u64::from(context.span.length);
            match sent {
                Ok(()) => {
                    counters.inc(Counter::PacketsBypassed);
                    counters.add(Counter::BytesForwarded, bytes);
                }
                Err(reason) => {
                    counters.drop_for(reason);
                    counters.inc(Counter::PacketsDropped);
                    counters.add(Counter::BytesDropped, bytes);
                }
            }
            receiver.reclaim(context);
            self.free.push(handle);
        }
        got.count
    }

    /// Descriptors that poll readable when frames wait; `None` if some wait already.
    pub fn wait_fds(&mut self, fds: &mut Vec<RawFd>) -> Option<()> {
        fds.clear();
        for receiver in self.lanes.iter_mut().flat_map(|lane| &mut lane.receivers) {
            fds.push(receiver.wait_fd()?);
        }
        Some(())
    }
}

/// What both kinds of halves do when rings change hands.
trait HalfOf {
    fn mend(&mut self);
    fn go_on(&mut self);
    fn let_go(&mut self);
}

impl HalfOf for crate::port::Receiver {
    fn mend(&mut self) {
        self.take_over();
    }

    fn go_on(&mut self) {
        self.resume();
    }

    fn let_go(&mut self) {
        self.park();
    }
}

impl HalfOf for crate::port::Transmitter {
    fn mend(&mut self) {
        self.take_over();
    }

    fn go_on(&mut self) {
        self.resume();
    }

    fn let_go(&mut self) {
        self.park();
    }
}
