//! A worker with two ports, reduced to what moving frames takes: the far ends and the little lane
//! of this room's tests.

use std::sync::Arc;

use super::{Receive, Received, Transmit};
use crate::memory::{Arena, Handle, Regions};
use crate::packet::{Burst, Context};

/// Both ports of one side with what a worker has: contexts, free handles, a burst.
pub(super) struct Worker<R, T> {
    pub receivers: Vec<R>,
    pub transmitters: Vec<T>,
    pub contexts: Arc<Arena<Context>>,
    pub free: Vec<Handle>,
    pub burst: Burst,
    pub regions: Regions,
}

/// What became of frames.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    pub received: u64,
    pub forwarded: u64,
    pub dropped: u64,
    pub full: u64,
}

impl<R: Receive, T: Transmit> Worker<R, T> {
    pub fn new(ports: impl IntoIterator<Item = (R, T)>, contexts: usize) -> Worker<R, T> {
        let mut regions = Regions::default();
        let (mut receivers, mut transmitters) = (Vec::new(), Vec::new());
        for (mut receiver, mut transmitter) in ports {
            receiver.register(&mut regions);
            transmitter.register(&mut regions);
            receivers.push(receiver);
            transmitters.push(transmitter);
        }
        let (contexts, free) = Arena::new(contexts, Context::default);
        Worker {
            receivers,
            transmitters,
            contexts,
            free,
            burst: Vec::with_capacity(64),
            regions,
        }
    }

    pub fn receive(&mut self, port: usize, limit: usize) -> Received {
        let (contexts, free) = (&self.contexts, &mut self.free);
        self.receivers[port].receive(contexts, free, &mut self.burst, limit, 77)
    }

    /// Forwards what `keep` says of the burst to the other port, drops the rest, as a fused lane.
    pub fn forward(&mut self, totals: &mut Totals, mut keep: impl FnMut(&Context, &[u8]) -> bool) {
        for mut handle in self.burst.drain(..) {
            let context = self.contexts.get_mut(&mut handle);
            let port = usize::from(context.port);
            let frame = self.regions.bytes(context.span);
            if !keep(context, frame) {
                totals.dropped += 1;
            } else if self.transmitters[1 - port]
                .transmit(context, &self.regions)
                .is_ok()
            {
                totals.forwarded += 1;
            } else {
                totals.full += 1;
            }
            self.receivers[port].reclaim(context);
            self.free.push(handle);
        }
        for transmitter in &mut self.transmitters {
            transmitter.sync();
        }
    }

    /// One turn over both ports, never receiving more than the other side has room for.
    pub fn turn(&mut self, totals: &mut Totals, mut keep: impl FnMut(&Context, &[u8]) -> bool) {
        for port in 0..2 {
            let limit = self.transmitters[1 - port].room().min(64);
            let received = self.receive(port, limit);
            totals.received += received.count as u64;
            self.forward(totals, &mut keep);
        }
    }

    /// Takes what has come to a port; `see` gets each frame.
    pub fn collect(&mut self, port: usize, mut see: impl FnMut(&Context, &[u8])) -> usize {
        let count = self.receive(port, 64).count;
        for mut handle in self.burst.drain(..) {
            let context = self.contexts.get_mut(&mut handle);
            see(context, self.regions.bytes(context.span));
            self.receivers[port].reclaim(context);
            self.free.push(handle);
        }
        count
    }
}
