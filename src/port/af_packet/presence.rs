//! An interface that is pulled out and comes back. Its sockets stay, with their rings and all that
//! is mapped of them, in whatever processes: the kernel takes only the interface away from them,
//! and they are bound anew to the one that comes under the same name.
//!
//! Deliberately absent: sockets of several lanes. The kernel binds none anew that shares its frames
//! with others (packet(7), `PACKET_FANOUT`); those ports rest until a restart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{OpenError, Options, Socket, offloads_off};
use crate::port::{PortCounter, PortCounters};

/// Time between two looks while all is well, and first pause before an interface is looked for.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// Longest such pause; it is doubled each time in vain.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Watches the interface of a pair of sockets. Not for the path of a packet.
pub struct Presence {
    receive: Socket,
    /// None where frames are only received.
    transmit: Option<Socket>,
    options: Options,
    gone: Option<Instant>,
    /// It has been told why the interface cannot be taken up.
    told: bool,
    pause: Duration,
    next: Instant,
    counters: Vec<Arc<PortCounters>>,
}

impl Presence {
    pub(super) fn new(receive: Socket, transmit: Option<Socket>, options: &Options) -> Presence {
        Presence {
            receive,
            transmit,
            options: options.clone(),
            gone: None,
            told: false,
            pause: PAUSE_FIRST,
            next: Instant::now(),
            counters: Vec::new(),
        }
    }

    /// Counts each return there (`PortCounter::Reopened`, of which this is the only writer).
    pub fn count_at(&mut self, counters: Vec<Arc<PortCounters>>) {
        self.counters = counters;
    }

    /// Looks, if it is time to, and takes up an interface that has come back. What the operator
    /// should know, if something has changed.
    pub fn look(&mut self, now: Instant) -> Option<String> {
        if now < self.next {
            return None;
        }
        let sockets = || [Some(&self.receive), self.transmit.as_ref()];
        // What an interface leaves when it goes or goes down would end every wait at once.
        sockets()
            .into_iter()
            .flatten()
            .for_each(Socket::clear_error);
        if sockets().into_iter().flatten().all(Socket::is_bound) {
            self.next = now + PAUSE_FIRST;
            return None;
        }
        let name = self.receive.name.clone();
        let Some(since) = self.gone else {
            (self.gone, self.told) = (Some(now), false);
            self.pause = PAUSE_FIRST;
            self.next = now + self.pause;
            return Some(format!(
                "{name}: the interface is gone; frames for it are dropped (port_tx_down) until there \
                 is one of that name"
            ));
        };
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.next = now + self.pause;
        match self.take_up() {
            Ok(false) => None,
            Ok(true) => {
                self.gone = None;
                for counters in &self.counters {
                    counters.add(PortCounter::Reopened, 1);
                }
                let millis = now.duration_since(since).as_millis();
                Some(format!("{name}: the interface is back after {millis} ms"))
            }
            Err(_) if self.told => None,
            Err(error) => {
                self.told = true;
                Some(match self.options.fanout {
                    Some(_) => format!(
                        "{name}: the interface is back, but not for sockets of several lanes\n [hint] \
                         restart sluice; with --lanes 1 it goes on by itself"
                    ),
                    None => error.to_string(),
                })
            }
        }
    }

    /// Binds the sockets to the interface of their name; false: there is none.
    fn take_up(&mut self) -> Result<bool, OpenError> {
        if !self.receive.find() {
            return Ok(false);
        }
        offloads_off(&self.receive.name)?;
        if let Some(transmit) = &mut self.transmit
            && transmit.find()
        {
            transmit.bind(0)?;
        }
        self.receive.start(&self.options)?;
        Ok(true)
    }
}
