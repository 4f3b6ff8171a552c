//! The way out of a lane and back: frames that go on to the port on their other side, and contexts,
//! with the buffers that they carry, to the workers that minted them.

use super::{Input, Worker};
use crate::counters::Counter;
use crate::event::Emit;
use crate::memory::{Arena, Handle, Regions};
use crate::packet::{BURST_MAX, Burst, Context, Kind};
use crate::port::{Receive, Receiver, Transmit, Transmitter, port_of};

/// Hands the frames that go on to the port on their other side; those of one port go at once.
pub(super) fn transmit(
    transmitters: &mut [Transmitter],
    burst: &mut Burst,
    contexts: &Arena<Context>,
    regions: &Regions,
) {
    let count = transmitters.len();
    let mut rest = burst.as_mut_slice();
    while let Some(first) = rest.first() {
        let from = contexts.get(first).port;
        let Some(transmitter) = transmitters.get_mut(port_of(from ^ 1, count)) else {
            return;
        };
        let sent = transmitter.transmit_run(rest, from, contexts, regions);
        rest = rest.get_mut(sent.max(1)..).unwrap_or_default();
    }
}

/// Queues copies of the frames that stages built.
pub(super) fn send_built(transmitters: &mut [Transmitter], emit: &mut Emit) {
    for built in emit.built.iter().take(emit.built_count) {
        let port = port_of(built.port, transmitters.len());
        let frame = built.bytes.get(..usize::from(built.length)).unwrap_or(&[]);
        if let Some(transmitter) = transmitters.get_mut(port)
            && transmitter.send_copy(frame).is_err()
        {
            emit.counters.inc(Counter::RejectLost);
        }
    }
    emit.built_count = 0;
}

/// Gives the buffer of a frame's context back to the port that it came from.
#[inline]
fn reclaim(receivers: &mut [Receiver], context: &mut Context) {
    let port = port_of(context.port, receivers.len());
    if let Some(receiver) = receivers.get_mut(port) {
        receiver.reclaim(context);
    }
}

impl Worker {
    /// Sends carriers and retired views to the workers that minted them.
    pub(super) fn go_home(&mut self, burst: &mut Burst) {
        self.keep_own(burst);
        let mut others = std::mem::take(&mut self.state.retired);
        for mut handle in burst.drain(..) {
            let context = self.contexts.get_mut(&mut handle);
            if context.home == self.index && context.kind == Kind::Frame {
                if let Input::Ports { receivers, .. } = &mut self.input {
                    reclaim(receivers, context);
                }
                handle.set_more(false);
                self.frames.push(handle);
            } else {
                others.push(handle);
            }
        }
        for handle in others.drain(..) {
            self.part_with(handle);
        }
        self.state.retired = others;
    }

    /// Takes the frames at the burst's beginning home that are this worker's own, those of one port at
    /// once: with one lane these are all of them.
    fn keep_own(&mut self, burst: &mut Burst) {
        let Input::Ports { receivers, .. } = &mut self.input else {
            return;
        };
        let (mut own, count) = (0, receivers.len());
        while let Some(first) = burst.get(own) {
            let port = self.contexts.get(first).port;
            let run = burst.get_mut(own..).unwrap_or_default();
            let came = match receivers.get_mut(port_of(port, count)) {
                Some(receiver) => receiver.reclaim_run(run, (port, self.index), &self.contexts),
                None => 0,
            };
            if came == 0 {
                break;
            }
            own += came;
        }
        self.frames.extend(burst.drain(..own));
    }

    fn part_with(&mut self, mut handle: Handle) {
        handle.set_more(false);
        let home = self.contexts.get(&handle).home;
        if home == self.index {
            self.welcome(handle);
        } else if let Some(Some(ring)) = self.returns_out.get_mut(usize::from(home)) {
            // The ring holds all contexts of its home, so it always has room.
            self.state.scratch.push(handle);
            ring.push_burst(&mut self.state.scratch);
            debug_assert!(self.state.scratch.is_empty(), "a return ring is never full");
        }
    }

    /// Takes contexts that came home back into the free lists. Returns how many.
    pub(super) fn collect(&mut self) -> usize {
        let mut home = std::mem::take(&mut self.state.scratch);
        for ring in &mut self.returns_in {
            ring.pop_burst(&mut home, BURST_MAX);
        }
        let count = home.len();
        home.drain(..).for_each(|handle| self.welcome(handle));
        self.state.scratch = home;
        count
    }

    /// One context is home: its buffer or block is freed, its flow released.
    #[inline]
    fn welcome(&mut self, mut handle: Handle) {
        let context = self.contexts.get_mut(&mut handle);
        if context.kind == Kind::Frame {
            if let Input::Ports { receivers, .. } = &mut self.input {
                reclaim(receivers, context);
            }
            self.frames.push(handle);
            return;
        }
        if let Some(part) = &mut self.flow {
            part.stage.recycle(&mut handle);
        }
        self.emit.views.push(handle);
    }
}
