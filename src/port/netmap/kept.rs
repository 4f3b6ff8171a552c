//! Netmap ports that outlive who moves their frames: descriptors and memory that a keeper opened
//! and that an engine uses as well, one of both at a time.
//!
//! Where the buffers are is written down in memory that both have mapped, the *marks*: a byte for
//! each buffer of the region, 0 for those that stand in a ring, else the number of the receiver
//! that a buffer belongs to while it is held outside. The rings keep them (ring.rs, `swap_out`), so
//! that after a death all buffers are found again, also where a peer puts its own into a pipe and
//! takes ours: nothing is told by comparing with what there was at the start.
//!
//! A port that was pulled out is opened anew by the keeper alone (`open_again`), and the next engine
//! gets the new descriptors. Buffers that are held meanwhile stay those of their receiver; with the
//! old descriptors the kernel frees those that stand in the old rings.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use netmap_sys::Register;

use super::provider::{self, Descriptor, WORDS, register_of, words_of};
use super::spec::NetmapSpec;
use super::{
    Binding, Opener, Wanted, check_extra, longest, ring_place, take_extra, watch_interface,
};
use crate::memory::{Buffer, Region, between};
use crate::port::memory::LINK_ETHERNET;
use crate::port::open::PortError;
use crate::port::ring::halves::{Place, RingReceiver, RingTransmitter};
use crate::port::ring::{BUFS_HEAD_AT, Mapping, Ring};

/// Receivers of all ports together, at most: their numbers are a byte, and 0 is nobody's.
const HOLDERS_MAX: usize = 254;

/// A memory region, and who holds which of its buffers.
struct Memory {
    /// Machine and number of the region; only who opened it knows them.
    name: Option<(Option<PathBuf>, u16)>,
    mapped: Option<(Arc<Mapping>, Arc<Region>)>,
    marks: Arc<Mapping>,
    marks_fd: OwnedFd,
}

/// The descriptors of one ring.
struct Lane {
    memory: usize,
    holder: u8,
    extra: usize,
    longest: u32,
    receive: Box<dyn Descriptor>,
    transmit: Box<dyn Descriptor>,
}

/// Descriptors of a port that was gone, receiving and transmitting, by lane.
pub struct Reopened(Vec<(Box<dyn Descriptor>, Box<dyn Descriptor>)>);

/// Both halves of one ring.
pub type KeptHalves = (RingReceiver<Binding>, RingTransmitter<Binding>);

/// All netmap ports that are kept. Ports have numbers, in the order in which they came.
#[derive(Default)]
pub struct KeptPorts {
    opener: Opener,
    memories: Vec<Memory>,
    ports: Vec<Vec<Lane>>,
    /// What was opened; only who did it knows.
    specs: Vec<NetmapSpec>,
    promiscuous: Vec<super::interface::Promiscuous>,
    holders: usize,
    /// This process opened them, and gives the buffers back at the end.
    own: bool,
}

fn port_error(what: impl std::fmt::Display, hint: &str) -> PortError {
    PortError {
        what: what.to_string(),
        hint: hint.to_string(),
    }
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no offer of this version")
}

impl Memory {
    fn map(&mut self, descriptor: &dyn Descriptor) -> io::Result<Arc<Mapping>> {
        if let Some((mapping, _)) = &self.mapped {
            return Ok(Arc::clone(mapping));
        }
        let mapping = descriptor.map()?;
        self.mapped = Some((Arc::clone(&mapping), mapping.region()));
        Ok(mapping)
    }
}

/// The ring of a descriptor, with its marks.
fn ring_of(
    memory: &Memory,
    descriptor: &dyn Descriptor,
    receiving: bool,
) -> Result<Ring, PortError> {
    let hint = "is the module's API 14 or 15? See dmesg";
    let Some((mapping, _)) = &memory.mapped else {
        return Err(port_error("a port's memory is not mapped", hint));
    };
    let granted = descriptor.granted();
    let at = ring_place(mapping, granted.offset as usize, granted, receiving);
    let ring = Ring::new(Arc::clone(mapping), at).map_err(|error| port_error(error.what, hint))?;
    Ok(ring.marked(&memory.marks))
}

impl KeptPorts {
    /// Opens a port for good. Gives its number and what the operator should know.
    ///
    /// # Errors
    /// As [`Opener::open`]; a port that only receives.
    pub fn open(
        &mut self,
        spec: &NetmapSpec,
        wanted: &Wanted,
    ) -> Result<(usize, Vec<String>), PortError> {
        self.own = true;
        let (_, pairs) = self.opener.pairs(spec, wanted)?;
        let (mut lanes, mut notes) = (Vec::with_capacity(pairs.len()), Vec::new());
        let mut buf_size = 0;
        for (receive, transmit) in pairs {
            let Some(transmit) = transmit else {
                let what = format!("{spec}: a keeper needs both directions of a port");
                return Err(port_error(what, "leave out /R"));
            };
            let memory = self.memory(spec, receive.as_ref())?;
            self.holders += 1;
            if self.holders > HOLDERS_MAX {
                let what = format!("more than {HOLDERS_MAX} rings in one process");
                return Err(port_error(what, "a process for each pair"));
            }
            let holder = self.holders as u8;
            let known = &self.memories[memory];
            let ring = ring_of(known, receive.as_ref(), true)?;
            buf_size = ring.buf_size();
            let extra = take_extra(&ring, receive.granted());
            check_extra(spec, extra.len(), wanted, &mut notes)?;
            ring.mark(holder, &extra);
            lanes.push(Lane {
                memory,
                holder,
                extra: extra.len(),
                longest: longest(spec),
                receive,
                transmit,
            });
        }
        let (more, promiscuous) = watch_interface(spec, wanted, buf_size);
        notes.extend(more);
        self.promiscuous.extend(promiscuous);
        self.ports.push(lanes);
        self.specs.push(spec.clone());
        Ok((self.ports.len() - 1, notes))
    }

    /// Opens a port anew that was gone, with the rings and the region that it had.
    ///
    /// # Errors
    /// It is not there, or not as it was.
    pub fn open_again(&mut self, port: usize) -> Result<Reopened, PortError> {
        let gone = || port_error("a port is gone", "restart sluice");
        let spec = self.specs.get(port).ok_or_else(gone)?;
        let provider = self.opener.provider(spec, Duration::ZERO)?;
        let open = |was: &dyn Descriptor| {
            let asked = Register {
                extra_bufs: 0,
                offset: 0,
                memsize: 0,
                ..*was.granted()
            };
            let refused = |error: io::Error| port_error(format!("{spec}: {error}"), "see dmesg");
            let fresh = provider.open(&spec.name, &asked).map_err(refused)?;
            let rings =
                |register: &Register| (register.mem_id, register.rx_rings, register.tx_rings);
            match rings(fresh.granted()) == rings(was.granted()) {
                true => Ok(fresh),
                false => Err(port_error(
                    format!("{spec}: it is back with other rings or memory"),
                    "give it the rings that it had (ethtool -L), or restart sluice",
                )),
            }
        };
        let lanes = self.ports.get(port).ok_or_else(gone)?.iter();
        let lanes =
            lanes.map(|lane| Ok((open(lane.receive.as_ref())?, open(lane.transmit.as_ref())?)));
        Ok(Reopened(lanes.collect::<Result<_, PortError>>()?))
    }

    /// Puts what was opened anew in the place of what a port was opened by. While nobody has its
    /// rings; halves that were made before are no use any more. Gives slots of the rings, receiving
    /// and transmitting, by lane.
    pub fn put(&mut self, port: usize, fresh: Reopened) -> Vec<[u32; 2]> {
        let lanes = self.ports.get_mut(port).map(Vec::as_mut_slice);
        let lanes = lanes.unwrap_or_default().iter_mut().zip(fresh.0);
        let slots = lanes.map(|(lane, (receive, transmit))| {
            (lane.receive, lane.transmit) = (receive, transmit);
            let granted = [lane.receive.granted(), lane.transmit.granted()];
            [granted[0].rx_slots, granted[1].tx_slots]
        });
        let slots = slots.collect();
        if let Some(name) = self.specs.get(port).and_then(NetmapSpec::interface) {
            // The mode went with the interface.
            self.promiscuous
                .extend(super::interface::Promiscuous::new(name).ok());
        }
        slots
    }

    /// Number of the memory that a descriptor's rings lie in; mapped now if it is a new one.
    fn memory(
        &mut self,
        spec: &NetmapSpec,
        descriptor: &dyn Descriptor,
    ) -> Result<usize, PortError> {
        let name = Some((spec.emulation.clone(), descriptor.granted().mem_id));
        if let Some(known) = self.memories.iter().position(|known| known.name == name) {
            return Ok(known);
        }
        let hint = "is there enough memory? All of netmap's region is touched at start";
        let failed = |error: io::Error| port_error(format!("{spec}: its memory: {error}"), hint);
        // Where the mapping is known, ports opened later are asked into the same region.
        let (mapping, region) = self.opener.region(spec, descriptor)?;
        let smallest = mapping.len() / 64;
        let marks_fd = between::memfd(c"sluice-marks", smallest).map_err(failed)?;
        let marks = Mapping::new(marks_fd.as_fd(), smallest).map_err(failed)?;
        self.memories.push(Memory {
            name,
            mapped: Some((mapping, region)),
            marks,
            marks_fd,
        });
        Ok(self.memories.len() - 1)
    }

    /// What another process must be told of all memories and ports, a line each, and the
    /// descriptors that the lines speak of, in order.
    pub fn offer(&self) -> (String, Vec<BorrowedFd<'_>>) {
        let (mut text, mut fds) = (String::new(), Vec::new());
        for memory in &self.memories {
            text.push_str(&format!("marks {}\n", memory.marks.len()));
            fds.push(memory.marks_fd.as_fd());
        }
        for lanes in &self.ports {
            text.push_str("netmap port\n");
            for lane in lanes {
                let (memory, holder, extra) = (lane.memory, lane.holder, lane.extra);
                let longest = lane.longest;
                text.push_str(&format!("netmap ring {memory} {holder} {extra} {longest}"));
                for descriptor in [&lane.receive, &lane.transmit] {
                    let (kind, own) = descriptor.share().unwrap_or(("alone", Vec::new()));
                    text.push_str(&format!(" {kind} {}", own.len()));
                    for word in words_of(descriptor.granted()) {
                        text.push_str(&format!(" {word}"));
                    }
                    fds.extend(own);
                }
                text.push('\n');
            }
        }
        (text, fds)
    }

    /// Takes a line of an offer, with its descriptors.
    ///
    /// # Errors
    /// A line that this version did not write.
    pub fn adopt(&mut self, line: &str, fds: &mut dyn Iterator<Item = OwnedFd>) -> io::Result<()> {
        let mut words = line.split(' ');
        match (words.next(), words.next()) {
            (Some("marks"), Some(length)) => {
                let length = length.parse().map_err(|_| invalid())?;
                let marks_fd = fds.next().ok_or_else(invalid)?;
                let marks = Mapping::new(marks_fd.as_fd(), length)?;
                self.memories.push(Memory {
                    name: None,
                    mapped: None,
                    marks,
                    marks_fd,
                });
            }
            (Some("netmap"), Some("port")) => self.ports.push(Vec::new()),
            (Some("netmap"), Some("ring")) => {
                let (memory, holder) = (number(&mut words)? as usize, number(&mut words)? as u8);
                let (extra, longest) = (number(&mut words)? as usize, number(&mut words)? as u32);
                let receive = descriptor(&mut words, fds)?;
                let transmit = descriptor(&mut words, fds)?;
                let known = self.memories.get_mut(memory).ok_or_else(invalid)?;
                known.map(receive.as_ref())?;
                self.ports.last_mut().ok_or_else(invalid)?.push(Lane {
                    memory,
                    holder,
                    extra,
                    longest,
                    receive,
                    transmit,
                });
            }
            _ => return Err(invalid()),
        }
        Ok(())
    }

    /// Both halves of a lane's ring of a port. They move nothing before `resume`; `place` is the
    /// port's index in its lane.
    ///
    /// # Errors
    /// No such port, or its descriptors cannot be used twice.
    pub fn halves(&self, port: usize, lane: usize, place: u8) -> Result<KeptHalves, PortError> {
        let gone = || port_error("a port is gone", "restart sluice");
        let lane = self
            .ports
            .get(port)
            .and_then(|lanes| lanes.get(lane))
            .ok_or_else(gone)?;
        let memory = self.memories.get(lane.memory).ok_or_else(gone)?;
        let (_, region) = memory.mapped.as_ref().ok_or_else(gone)?;
        let place = || Place {
            region: Arc::clone(region),
            port: place,
            link: LINK_ETHERNET,
            longest: lane.longest,
        };
        let bind = |descriptor: &dyn Descriptor, receiving| {
            let ring = ring_of(memory, descriptor, receiving)?;
            let copy = copy_of(descriptor).map_err(|error| {
                port_error(format!("a port's descriptors: {error}"), "ulimit -n")
            })?;
            let binding = Binding {
                interface_at: copy.granted().offset as usize,
                descriptor: Some(copy),
                source: None,
                holder: lane.holder,
                receiving,
                retry: None,
                promiscuous: None,
            };
            Ok::<_, PortError>((ring, binding))
        };
        let (ring, binding) = bind(lane.receive.as_ref(), true)?;
        let receiver = RingReceiver::parked(ring, binding, lane.extra, place());
        let (ring, binding) = bind(lane.transmit.as_ref(), false)?;
        let transmitter = RingTransmitter::new(ring, binding, place());
        Ok((receiver, transmitter))
    }
}

impl Drop for KeptPorts {
    fn drop(&mut self) {
        if !self.own {
            return;
        }
        // Nobody holds a frame any more: what is marked is linked to the lists that the kernel
        // frees when the descriptors close.
        for lane in self.ports.iter().flatten() {
            let Some(memory) = self.memories.get(lane.memory) else {
                continue;
            };
            let Ok(ring) = ring_of(memory, lane.receive.as_ref(), true) else {
                continue;
            };
            let mut free: Vec<Buffer> = Vec::with_capacity(lane.extra);
            ring.take_marked(lane.holder, &mut free);
            ring.mark(0, &free);
            let head = ring.give_list(&mut free);
            ring.mapping()
                .word(lane.receive.granted().offset as usize + BUFS_HEAD_AT)
                .store(head, Ordering::Release);
        }
    }
}

fn number<'a>(words: &mut impl Iterator<Item = &'a str>) -> io::Result<u64> {
    let word = words.next().ok_or_else(invalid)?;
    word.parse().map_err(|_| invalid())
}

fn descriptor<'a>(
    words: &mut impl Iterator<Item = &'a str>,
    fds: &mut dyn Iterator<Item = OwnedFd>,
) -> io::Result<Box<dyn Descriptor>> {
    let kind = words.next().ok_or_else(invalid)?;
    let count = number(words)? as usize;
    let mut granted = [0; WORDS];
    for word in &mut granted {
        *word = number(words)?;
    }
    provider::adopt(kind, register_of(granted), fds.take(count).collect())
}

/// The same descriptor once more, for halves of this process.
fn copy_of(descriptor: &dyn Descriptor) -> io::Result<Box<dyn Descriptor>> {
    if let Some(copy) = descriptor.again() {
        return Ok(copy);
    }
    let (kind, fds) = descriptor.share().ok_or_else(invalid)?;
    let fds = fds.iter().map(BorrowedFd::try_clone_to_owned);
    let granted: Register = *descriptor.granted();
    provider::adopt(kind, granted, fds.collect::<io::Result<_>>()?)
}

#[cfg(test)]
mod tests;
