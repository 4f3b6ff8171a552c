//! The way out of a lane and back: frames that go on to the port on their other side, and contexts,
//! with the buffers that they carry, to the workers that minted them.

use super::{Input, Worker};
use crate::memory::{Arena, Handle, Regions};
use crate::packet::{BURST_MAX, Burst, Context, Kind, Verdict};
use crate::port::{Receive, Receiver, Transmit, Transmitter, port_of};

/// Hands the frames that go on to the port on their other side.
pub(super) fn transmit(
    transmitters: &mut [Transmitter],
    burst: &mut Burst,
    contexts: &Arena<Context>,
    regions: &Regions,
) {
    for handle in burst.iter_mut() {
        let context = contexts.get_mut(handle);
        if context.verdict == Verdict::Forward {
            let port = port_of(context.port ^ 1, transmitters.len());
            let sent = match transmitters.get_mut(port) {
                Some(transmitter) => transmitter.transmit(context, regions),
                None => Ok(()),
            };
            if let Err(reason) = sent {
                context.verdict = Verdict::Drop(reason);
            }
        }
    }
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
        let receivers = match &mut self.input {
            Input::Ports { receivers, .. } => receivers.as_mut_slice(),
            _ => &mut [],
        };
        let has_buffers = receivers.iter().any(Receiver::has_buffers);
        let (contexts, index) = (&*self.contexts, self.index);
        let is_own = |context: &Context| context.home == index && context.kind == Kind::Frame;
        // Nearly always all that is left of a burst: frames of this worker that own nothing.
        if !has_buffers && burst.iter().all(|handle| is_own(contexts.get(handle))) {
            self.frames.append(burst);
        }
        let mut others = std::mem::take(&mut self.state.retired);
        for mut handle in burst.drain(..) {
            let context = contexts.get_mut(&mut handle);
            if is_own(context) {
                if has_buffers {
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
