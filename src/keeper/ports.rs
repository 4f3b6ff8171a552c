//! Ports that outlive the engine: opened by the keeper, handed to each engine as descriptors.
//!
//! A kind of ports needs a way to open, to be described with its descriptors, to be adopted from
//! these, and to give halves that wait for `resume`.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::board::{Board, Half};
use super::forward::HELD_MAX;
use crate::packet::BURST_MAX;
use crate::port::af_packet::{self, Presence, Shared};
use crate::port::memory::Memory;
use crate::port::memory::handover::Client;
use crate::port::netmap::kept::{KeptPorts, Reopened};
use crate::port::netmap::spec::NetmapSpec;
use crate::port::netmap::{self, Wanted};
use crate::port::open::{LanePorts, OpenOptions, PortError};
use crate::port::spec::PortSpec;
use crate::port::{PortCounter, Receive, Receiver, Transmit, Transmitter};

/// Pause between two attempts to open a netmap port that is gone.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// One port, for all lanes.
enum Kept {
    /// A ring per lane in a memory, by its number.
    Memory(usize, crate::port::memory::End),
    /// Sockets, one pair per lane.
    Packet(Vec<Shared>),
    /// A netmap port, by its number.
    Netmap(usize),
}

/// All ports, the inside one first.
pub struct Ports {
    ports: Vec<Kept>,
    memories: Vec<Arc<Memory>>,
    clients: Vec<Client>,
    netmap: KeptPorts,
    /// Interfaces that may be pulled out, with lane and port.
    presences: Vec<(u32, u32, Presence)>,
    /// Netmap ports that may be pulled out, with their number and port.
    absences: Vec<(usize, u32, Absence)>,
    lanes: usize,
    frames: u32,
    /// What the operator should know.
    pub notes: Vec<String>,
}

/// A netmap port that may be pulled out: whoever has its rings finds it gone and counts that.
struct Absence {
    name: String,
    /// How often it was found gone, by all lanes and halves, when it was last looked for.
    vanished: u64,
    gone: Option<Instant>,
    next: Instant,
    /// It is back: what it was opened by.
    fresh: Option<Reopened>,
}

impl Absence {
    fn new(name: String) -> Absence {
        Absence {
            name,
            vanished: 0,
            gone: None,
            next: Instant::now(),
            fresh: None,
        }
    }

    /// Looks, if it is time to, whether the port is gone or back; `vanished`: how often it was
    /// found gone by now.
    fn look(
        &mut self,
        now: Instant,
        vanished: u64,
        open: impl FnOnce() -> Result<Reopened, PortError>,
    ) -> Option<String> {
        let name = &self.name;
        let news = std::mem::replace(&mut self.vanished, vanished) != vanished;
        // Halves that have not asked since may find it gone when it is back already.
        if news && self.gone.is_none() && self.fresh.is_none() {
            (self.gone, self.next) = (Some(now), now + REOPEN_EVERY);
            return Some(format!(
                "{name}: the port is gone; frames for it are dropped until it is back"
            ));
        }
        let since = self
            .gone
            .filter(|_| now >= self.next && self.fresh.is_none())?;
        self.next = now + REOPEN_EVERY;
        self.fresh = Some(open().ok()?);
        self.gone = None;
        let millis = now.duration_since(since).as_millis();
        Some(format!("{name}: the port is back after {millis} ms"))
    }
}

/// How often halves of a port have found it gone.
fn vanished(board: Board, lanes: u32, port: u32) -> u64 {
    let halves = (0..lanes).flat_map(|lane| [(lane, Half::Receive), (lane, Half::Transmit)]);
    let counters = halves.map(|(lane, half)| board.tally(lane, port, half).counters);
    counters.map(|own| own.get(PortCounter::Vanished)).sum()
}

fn port_error(what: impl std::fmt::Display, hint: &str) -> PortError {
    PortError {
        what: what.to_string(),
        hint: hint.to_string(),
    }
}

impl Ports {
    /// Opens ports for good.
    ///
    /// # Errors
    /// A port that cannot be opened, or has not as many rings as there are lanes.
    pub fn open(specs: &[PortSpec], options: &OpenOptions) -> Result<Ports, PortError> {
        let mut ports = Ports {
            ports: Vec::new(),
            memories: Vec::new(),
            clients: Vec::new(),
            netmap: KeptPorts::default(),
            presences: Vec::new(),
            absences: Vec::new(),
            lanes: options.lanes,
            frames: options.frames,
            notes: Vec::new(),
        };
        let mut paths: Vec<PathBuf> = Vec::new();
        for (number, spec) in specs.iter().enumerate() {
            let kept = match spec {
                PortSpec::Memory { path, end } => {
                    let known = paths.iter().position(|known| known == path);
                    let memory = match known {
                        Some(memory) => memory,
                        None => {
                            let client = Client::connect(path, options.patience)
                                .map_err(|error| port_error(error.what, error.hint))?;
                            paths.push(path.clone());
                            ports.memories.push(Arc::clone(&client.memory));
                            ports.clients.push(client);
                            paths.len() - 1
                        }
                    };
                    Kept::Memory(memory, *end)
                }
                PortSpec::Interface(name) => ports.open_interface(name, number)?,
                PortSpec::Netmap(spec) => ports.open_netmap(spec, number, options.patience)?,
            };
            ports.ports.push(kept);
        }
        ports.check_rings()?;
        Ok(ports)
    }

    fn open_interface(&mut self, name: &str, port: usize) -> Result<Kept, PortError> {
        let convert = |error: af_packet::OpenError| port_error(error.what, error.hint);
        let refused = af_packet::offloads_off(name).map_err(convert)?;
        if !refused.is_empty() {
            let refused = refused.join(", ");
            self.notes.push(format!(
                "{name}: {refused} cannot be switched off; larger frames than the MTU will be \
                 dropped"
            ));
        }
        // Groups are numbered per network namespace, so two processes must not meet.
        let group = (std::process::id() as u16).wrapping_mul(4);
        let options = af_packet::Options {
            frames: self.frames,
            fanout: (self.lanes > 1).then(|| group.wrapping_add(port as u16)),
            port: port as u8,
            ..af_packet::Options::default()
        };
        let mut lanes = Vec::with_capacity(self.lanes);
        for lane in 0..self.lanes as u32 {
            let shared = Shared::open(name, &options).map_err(convert)?;
            let presence = shared.presence(&options).map_err(convert)?;
            self.presences
                .push((lane, port as u32, presence.spoken_for(lane > 0)));
            lanes.push(shared);
        }
        Ok(Kept::Packet(lanes))
    }

    fn open_netmap(
        &mut self,
        spec: &NetmapSpec,
        port: usize,
        patience: Duration,
    ) -> Result<Kept, PortError> {
        self.notes.extend(netmap::offloads(spec));
        let wanted = Wanted {
            lanes: self.lanes,
            extra: self.frames,
            port: port as u8,
            patience,
        };
        let (number, notes) = self.netmap.open(spec, &wanted)?;
        self.notes.extend(notes);
        let absence = Absence::new(spec.to_string());
        self.absences.push((number, port as u32, absence));
        Ok(Kept::Netmap(number))
    }

    fn check_rings(&self) -> Result<(), PortError> {
        for memory in &self.memories {
            let rings = memory.shape().rings as usize;
            if rings != self.lanes {
                return Err(port_error(
                    format!("the memory has {rings} rings, for {} lanes", self.lanes),
                    &format!(
                        "run with --lanes {rings}: a ring that nobody serves stops its traffic"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Counts on a board what becomes of interfaces.
    pub fn count_on(&mut self, board: Board) {
        for (lane, port, presence) in &mut self.presences {
            let halves = [Half::Receive, Half::Transmit];
            let counters = halves.map(|half| board.tally(*lane, *port, half).counters);
            presence.count_at(counters.to_vec());
        }
    }

    /// Looks whether all ports are there, and takes up those that have come back, whoever has the
    /// rings. Gives what has changed.
    pub fn look(&mut self, now: Instant, board: Board) -> Option<String> {
        let presences = self.presences.iter_mut();
        let mut texts: Vec<String> = presences
            .filter_map(|(_, _, presence)| presence.look(now))
            .collect();
        let (netmap, lanes) = (&mut self.netmap, self.lanes as u32);
        for (number, port, absence) in &mut self.absences {
            let vanished = vanished(board, lanes, *port);
            texts.extend(absence.look(now, vanished, || netmap.open_again(*number)));
        }
        texts
            .into_iter()
            .reduce(|all, text| all + "\nkeeper: " + &text)
    }

    /// Whether a port has come back that only new descriptors can serve.
    pub fn is_stale(&self) -> bool {
        self.presences.iter().any(|(_, _, own)| own.is_stale())
            || self.absences.iter().any(|(_, _, own)| own.fresh.is_some())
    }

    /// Puts new descriptors in the place of stale ones. While nobody has the rings; halves that
    /// were made before are no use any more.
    ///
    /// # Errors
    /// An interface that has gone again, or cannot be opened.
    pub fn renew(&mut self, board: Board) -> Result<(), PortError> {
        let skip = |lane: usize, port: u32, slots: [u32; 2]| {
            for (half, slots) in [Half::Receive, Half::Transmit].into_iter().zip(slots) {
                let tally = board.tally(lane as u32, port, half);
                tally.ledger.skip_to_start(u64::from(slots));
            }
        };
        let stale = self.presences.iter().find(|(_, _, own)| own.is_stale());
        if let Some((_, port, presence)) = stale {
            let (port, name) = (*port, presence.interface().to_string());
            let known = self.presences.len();
            let opened = self.open_interface(&name, port as usize);
            let (old, fresh) = match &opened {
                Ok(_) => (0..known, known..self.presences.len()),
                Err(_) => (known..self.presences.len(), 0..0),
            };
            let mut place = 0..;
            self.presences.retain(|(_, of, _)| {
                let place = place.next().unwrap_or(0);
                fresh.contains(&place) || !(old.contains(&place) && *of == port)
            });
            let kept = opened?;
            if let Kept::Packet(lanes) = &kept {
                for (lane, shared) in lanes.iter().enumerate() {
                    skip(lane, port, shared.frames());
                }
            }
            if let Some(place) = self.ports.get_mut(port as usize) {
                *place = kept;
            }
            self.count_on(board);
        }
        for (number, port, absence) in &mut self.absences {
            if let Some(fresh) = absence.fresh.take() {
                absence.vanished = vanished(board, self.lanes as u32, *port);
                let slots = self.netmap.put(*number, fresh);
                for (lane, slots) in slots.into_iter().enumerate() {
                    skip(lane, *port, slots);
                    let tally = board.tally(lane as u32, *port, Half::Receive);
                    tally.counters.add(PortCounter::Reopened, 1);
                }
            }
        }
        Ok(())
    }

    /// What an engine must be sent: a text, and the descriptors that it speaks of in order.
    pub fn offer(&self) -> (String, Vec<BorrowedFd<'_>>) {
        // Netmap's ports come first: they are told apart by their number alone.
        let (mut text, mut fds) = self.netmap.offer();
        for memory in &self.memories {
            let own = memory.descriptors();
            text.push_str(&format!("memory {}\n", own.len()));
            fds.extend(own);
        }
        for port in &self.ports {
            match port {
                Kept::Memory(number, end) => {
                    let (cable, side) = (end.cable, end.side as u32);
                    text.push_str(&format!("ring {number} {cable} {side}\n"));
                }
                Kept::Netmap(number) => text.push_str(&format!("kept {number}\n")),
                Kept::Packet(lanes) => {
                    text.push_str("sockets\n");
                    for lane in lanes {
                        text.push_str(&format!("lane {}\n", lane.describe()));
                        fds.extend(lane.descriptors());
                    }
                }
            }
        }
        (text, fds)
    }

    /// The ports of an offer.
    ///
    /// # Errors
    /// An offer that this version did not write.
    pub fn adopt(
        text: &str,
        descriptors: Vec<OwnedFd>,
        lanes: usize,
        frames: u32,
    ) -> io::Result<Ports> {
        use crate::port::memory::{End, Side};
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "no offer of this version");
        let mut ports = Ports {
            ports: Vec::new(),
            memories: Vec::new(),
            clients: Vec::new(),
            netmap: KeptPorts::default(),
            presences: Vec::new(),
            absences: Vec::new(),
            lanes,
            frames,
            notes: Vec::new(),
        };
        let mut fds = descriptors.into_iter();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let numbers: Vec<usize> = rest
                .split(' ')
                .filter_map(|word| word.parse().ok())
                .collect();
            match (word, numbers.as_slice()) {
                ("memory", [count]) => {
                    let own = fds.by_ref().take(*count).collect();
                    ports.memories.push(Memory::from_descriptors(own)?);
                }
                ("kept", [number]) => ports.ports.push(Kept::Netmap(*number)),
                ("marks" | "netmap", _) => ports.netmap.adopt(line, &mut fds)?,
                ("ring", [memory, cable, side]) => {
                    let side = match side {
                        0 => Side::Outer,
                        _ => Side::Inner,
                    };
                    let cable = *cable as u8;
                    ports.ports.push(Kept::Memory(*memory, End { cable, side }));
                }
                ("sockets", []) => ports.ports.push(Kept::Packet(Vec::new())),
                ("lane", _) => {
                    let (Some(receive), Some(transmit)) = (fds.next(), fds.next()) else {
                        return Err(wrong());
                    };
                    let shared = Shared::adopt(rest, receive, transmit)?;
                    match ports.ports.last_mut() {
                        Some(Kept::Packet(lanes)) => lanes.push(shared),
                        _ => return Err(wrong()),
                    }
                }
                _ => return Err(wrong()),
            }
        }
        Ok(ports)
    }

    /// Halves of all ports for each lane, counting on the board, without the rings until they
    /// `resume`. `keeper` says whose they are.
    ///
    /// # Errors
    /// Rings that cannot be mapped.
    pub fn halves(&self, board: Board, keeper: bool) -> Result<Vec<LanePorts>, PortError> {
        let lane_halves = |lane: usize| {
            let mut own = LanePorts {
                receivers: Vec::with_capacity(self.ports.len()),
                transmitters: Vec::with_capacity(self.ports.len()),
            };
            for port in 0..self.ports.len() {
                let (mut receiver, mut transmitter) = self.pair(lane, port, keeper)?;
                let tally = |half| board.tally(lane as u32, port as u32, half);
                receiver.keep(tally(Half::Receive));
                transmitter.keep(tally(Half::Transmit));
                own.receivers.push(receiver);
                own.transmitters.push(transmitter);
            }
            Ok(own)
        };
        (0..self.lanes).map(lane_halves).collect()
    }

    fn pair(
        &self,
        lane: usize,
        port: usize,
        keeper: bool,
    ) -> Result<(Receiver, Transmitter), PortError> {
        let gone = || port_error("a port is gone", "restart sluice");
        match self.ports.get(port) {
            Some(Kept::Memory(number, end)) => {
                let memory = self.memories.get(*number).ok_or_else(gone)?;
                // The keeper takes no more buffers than it can use: a takeover waits for it.
                let frames = match keeper {
                    true => HELD_MAX as u32,
                    false => self.frames,
                };
                let halves = memory.attach(*end, lane as u32, frames, port as u8, keeper);
                let (receiver, transmitter) =
                    halves.map_err(|error| port_error(error, "restart sluice"))?;
                Ok((
                    Receiver::Memory(Box::new(receiver)),
                    Transmitter::Memory(Box::new(transmitter)),
                ))
            }
            Some(Kept::Packet(lanes)) => {
                let shared = lanes.get(lane).ok_or_else(gone)?;
                let (receiver, transmitter) = shared
                    .halves(port as u8)
                    .map_err(|error| port_error(error.what, error.hint))?;
                Ok((
                    Receiver::Packet(Box::new(receiver)),
                    Transmitter::Packet(Box::new(transmitter)),
                ))
            }
            Some(Kept::Netmap(number)) => {
                let (receiver, transmitter) = self.netmap.halves(*number, lane, port as u8)?;
                Ok((
                    Receiver::Netmap(Box::new(receiver)),
                    Transmitter::Netmap(Box::new(transmitter)),
                ))
            }
            None => Err(gone()),
        }
    }

    /// Before halves take over from a dead engine: what it had locked is free.
    pub fn unlock(&self) {
        self.memories.iter().for_each(|memory| memory.unlock_pool());
    }

    /// Whether the keeper could not forward without the buffers that a dead engine held.
    pub fn is_short(&self) -> bool {
        let enough = (4 * BURST_MAX * self.ports.len() * self.lanes) as u32;
        let mut memories = self.memories.iter();
        memories.any(|memory| memory.pooled() < enough)
    }

    /// After all halves took over, and while nobody holds a buffer: gives back those that the dead
    /// engine held. False: it cannot be told yet, and must be tried again.
    #[must_use]
    pub fn reclaim(&self) -> bool {
        // All of them are asked, whatever one says.
        let done = self.memories.iter().map(|memory| memory.reclaim());
        done.fold(true, |all, done| all & done)
    }

    /// Whether the processes that serve memories are still there.
    pub fn is_served(&self) -> bool {
        self.clients.iter().all(Client::is_served)
    }
}
