//! A worker under a keeper: when it takes the rings, when it lets go of them, and how it ends.
//!
//! Rings are let go of by all workers or by none: a frame that was received by one lane may belong
//! to another, which sends it. So a worker that has let go goes on with what others send it, until
//! no frame is out anywhere; the keeper waits for all of them (keeper/child.rs, `is_parked`).

use std::sync::atomic::Ordering;

use super::mesh::{MeshIn, MeshOut};
use super::{Input, Worker};
use crate::keeper::pulse::Order;
use crate::port::{Receive, Transmit};

impl Worker {
    /// Begins, on the worker's own thread.
    pub fn begin(&mut self) {
        self.state.minted = self.frames.len();
        if let Some(pulse) = &mut self.pulse {
            pulse.begin(matches!(self.input, Input::Ports { .. }));
        }
    }

    /// Beats, and takes or leaves the rings as the keeper says. False: there is nothing to do
    /// until it has the rings.
    pub fn attend(&mut self) -> bool {
        let Some(pulse) = &mut self.pulse else {
            return true;
        };
        pulse.beat();
        let stops = self.stop.load(Ordering::Relaxed);
        match pulse.look() {
            Order::Take => {
                self.take_rings();
                true
            }
            Order::Same if !stops => true,
            Order::Same | Order::Leave => self.let_go(stops),
        }
    }

    pub(super) fn take_rings(&mut self) {
        if let Some(pulse) = &mut self.pulse
            && pulse.look() == Order::Take
            && pulse.claim()
        {
            if let Input::Ports { receivers, .. } = &mut self.input {
                receivers.iter_mut().for_each(Receive::resume);
            }
            if let Some(part) = &mut self.verdict {
                part.transmitters.iter_mut().for_each(Transmit::resume);
            }
        }
    }

    /// Lets go of the rings, for good if the engine stops: what is left of its end then is nothing
    /// that a frame waits for, and no reason to fence it. False: there is nothing to do until it
    /// gets them again.
    fn let_go(&mut self, stops: bool) -> bool {
        // Frames in work go out first.
        let has_ports = matches!(self.input, Input::Ports { .. });
        if !has_ports || !self.is_clear() {
            return true;
        }
        self.park();
        let Some(pulse) = &mut self.pulse else {
            return true;
        };
        if stops {
            pulse.give_back();
            return true;
        }
        pulse.park();
        pulse.sleep();
        false
    }

    /// Whether no frame is here, its own ones are home, and none of another lane has come.
    fn is_clear(&mut self) -> bool {
        let waits = match &self.input {
            Input::Ports { decode, mesh, .. } => {
                decode.is_waiting() || !mesh.as_ref().is_none_or(MeshOut::is_clear)
            }
            Input::Mesh | Input::Ring(_) => false,
        };
        let home = self.frames.len() == self.state.minted && self.state.held.is_empty();
        let flow = self.flow.as_mut();
        home && !waits
            && flow.is_none_or(|part| {
                !part.stage.is_waiting() && part.mesh.as_mut().is_none_or(MeshIn::is_empty)
            })
    }

    /// Lets go of the rings of its ports; what was sent goes out first.
    fn park(&mut self) {
        if let Some(part) = &mut self.verdict {
            part.transmitters.iter_mut().for_each(Transmit::park);
        }
        if let Input::Ports { receivers, .. } = &mut self.input {
            receivers.iter_mut().for_each(Receive::park);
        }
    }

    /// Ends in order: the rings are let go of before anybody is told.
    pub(super) fn leave(&mut self) {
        if self.pulse.is_some() {
            self.park();
        }
        if let Some(pulse) = &mut self.pulse {
            pulse.end();
        }
    }
}
