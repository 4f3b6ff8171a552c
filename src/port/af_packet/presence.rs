//! An interface that is pulled out and comes back. Its sockets stay, with their rings and all that
//! is mapped of them, in whatever processes: the kernel takes only the interface away from them,
//! and they are bound anew to the one that comes under the same name.
//!
//! A socket that shares its frames with those of other lanes is bound anew by nobody (packet(7),
//! `PACKET_FANOUT`): another one takes its place (`Successor`), with a ring of the same sizes, as
//! soon as the receiver has no frame of the old ring any more. Where the sockets are in use by two
//! processes that is for the keeper to arrange (keeper/ports.rs).

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{OpenError, Options, Socket, offloads_off};
use crate::port::{PortCounter, PortCounters};

/// Time between two looks while all is well, and first pause before an interface is looked for.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// Longest such pause; it is doubled each time in vain.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Opens an unbound socket with a receiving ring that fits in another one's place.
pub(super) type Opens = Box<dyn Fn(&str) -> Result<Socket, OpenError> + Send + Sync>;

/// A receiving socket that waits to take another one's place.
#[derive(Default)]
pub(super) struct Successor {
    is_there: AtomicBool,
    socket: Mutex<Option<Socket>>,
}

impl Successor {
    /// Whether one waits; as cheap as can be, for the receiver asks whenever nothing came.
    pub(super) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Acquire)
    }

    /// The one that waits, if its ring can be put in the old one's place; else it waits on.
    pub(super) fn take_if(
        &self,
        replace: impl FnOnce(BorrowedFd<'_>) -> std::io::Result<()>,
    ) -> Option<Socket> {
        self.is_there.store(false, Ordering::Release);
        let socket = self.place().take()?;
        match replace(socket.as_fd()) {
            Ok(()) => Some(socket),
            Err(_) => {
                self.put(socket);
                None
            }
        }
    }

    pub(super) fn put(&self, socket: Socket) {
        *self.place() = Some(socket);
        self.is_there.store(true, Ordering::Release);
    }

    fn place(&self) -> std::sync::MutexGuard<'_, Option<Socket>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches the interface of a pair of sockets. Not for the path of a packet.
pub struct Presence {
    receive: Socket,
    /// None where frames are only received.
    transmit: Option<Socket>,
    options: Options,
    /// Where the receiver finds its next socket, and how that is opened.
    successor: Option<(Arc<Successor>, Opens)>,
    /// The interface is back, for sockets that others must open anew.
    is_stale: bool,
    is_quiet: bool,
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
            successor: None,
            is_stale: false,
            is_quiet: false,
            gone: None,
            told: false,
            pause: PAUSE_FIRST,
            next: Instant::now(),
            counters: Vec::new(),
        }
    }

    /// The receiver's socket is replaced, where it cannot be bound anew.
    pub(super) fn replaces(&mut self, successor: &Arc<Successor>, opens: Opens) {
        if self.options.fanout.is_some() {
            self.successor = Some((Arc::clone(successor), opens));
        }
    }

    /// Says only what goes wrong, where another one that watches the same interface says the rest.
    #[must_use]
    pub fn spoken_for(mut self, yes: bool) -> Presence {
        self.is_quiet = yes;
        self
    }

    /// Name of the interface.
    pub fn interface(&self) -> &str {
        self.receive.interface()
    }

    /// Whether the interface is back, for sockets that must be opened anew.
    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Counts each return there (`PortCounter::Reopened`, of which this is the only writer).
    pub fn count_at(&mut self, counters: Vec<Arc<PortCounters>>) {
        self.counters = counters;
    }

    /// Looks, if it is time to, and takes up an interface that has come back. What the operator
    /// should know, if something has changed.
    pub fn look(&mut self, now: Instant) -> Option<String> {
        if now < self.next || self.is_stale {
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
            return (!self.is_quiet).then(|| {
                format!(
                    "{name}: the interface is gone; frames for it are dropped (port_tx_down) until \
                     there is one of that name"
                )
            });
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
                let text = || format!("{name}: the interface is back after {millis} ms");
                (!self.is_quiet).then(text)
            }
            Err(_) if self.told => None,
            Err(error) => {
                self.told = true;
                Some(error.to_string())
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
        match (&self.successor, self.options.fanout) {
            (Some((successor, opens)), _) => {
                let fresh = opens(&self.receive.name)?;
                fresh.start(&self.options)?;
                self.receive = fresh.copy()?;
                successor.put(fresh);
            }
            (None, None) => {
                self.receive.start(&self.options)?;
            }
            (None, Some(_)) => self.is_stale = true,
        }
        Ok(true)
    }
}
