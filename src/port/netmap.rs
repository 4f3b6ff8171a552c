//! Ports over netmap: NICs, host rings, VALE switches, pipes. What differs from rings in memory is
//! here: how rings are opened (`Opener`) and how slots are traded (`Binding`); the halves above are
//! ring/halves.rs, the same code for both. netmap(4); API 14 in netmap-sys.
//!
//! What holds, and why:
//!
//! - **A descriptor per ring and direction.** The kernel reads head and cur of all rings of a
//!   descriptor inside any call on it, so a second thread's call would see half-written ones. Where
//!   a driver knows all-ring descriptors only, one ring may be served by two of those.
//! - **One memory region** for zero copy. Pipes and VALE ports are asked into the region of the
//!   port opened before; where the kernel gives another, frames are copied, and that is told.
//! - **The list of extra buffers is taken, and 0 stored at once**: a process that dies later then
//!   leaves no list behind that the kernel would free a second time. A clean close links what is
//!   free and stores it again.
//! - **All rings are served**: rings and lanes must be as many, on both sides, or traffic would
//!   pass a box that nobody watches. That is refused with what to do.
//! - **A port that is down or gone is no error of ours**: syncs fail and are counted, its lane goes
//!   on, and a port that is gone is opened again about once a second.

pub mod emulation;
pub mod interface;
pub mod kept;
pub mod provider;
pub mod spec;

use std::collections::HashMap;
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use netmap_sys::{Register, flag, mode};

use super::memory::LINK_ETHERNET;
use super::open::PortError;
use super::ring::halves::{
    CHAIN_BYTES_MAX, Exchange, Place, RingReceiver, RingTransmitter, Synced,
};
use super::ring::{self, BUFS_HEAD_AT, Mapping, Ring};
use crate::memory::{Buffer, Region};
use provider::{Descriptor, Kernel, Provider};
use spec::{NetmapSpec, Rings};

/// Pause between two attempts to open a port that is gone.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// Both halves of one ring; a port that was named as receiving only has no second one.
pub type Halves = (RingReceiver<Binding>, Option<RingTransmitter<Binding>>);

/// One ring in one direction: the descriptor that it was opened with.
pub struct Binding {
    /// `None` while the port is gone.
    descriptor: Option<Box<dyn Descriptor>>,
    /// How it is opened again; a port that a keeper holds is for the keeper to open.
    source: Option<Source>,
    /// Number of the receiver whose buffers are marked while they are in no ring; 0: they are this
    /// process's own.
    holder: u8,
    receiving: bool,
    /// Where the netmap_if of the descriptor lies.
    interface_at: usize,
    /// When a port that is gone is asked for next.
    retry: Option<Instant>,
    /// Keeps the NIC of a port that came back promiscuous: the mode went with it.
    promiscuous: Option<interface::Promiscuous>,
}

/// What a binding was opened by, and is again when its port was gone.
struct Source {
    provider: Arc<dyn Provider>,
    port: String,
    interface: Option<String>,
    asked: Register,
}

/// Whether an error says that the port is not there any more, rather than down for a while.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENXIO | libc::ENODEV | libc::EBADF)
    )
}

impl Binding {
    /// Opens a port anew that was gone. The region must be the one that our buffers lie in.
    fn reopen(&mut self, ring: &mut Ring) -> bool {
        let now = Instant::now();
        if self.retry.is_some_and(|retry| now < retry) {
            return false;
        }
        self.retry = Some(now + REOPEN_EVERY);
        let Some(source) = &self.source else {
            return false;
        };
        let Ok(descriptor) = source.provider.open(&source.port, &source.asked) else {
            return false;
        };
        let granted = *descriptor.granted();
        if granted.mem_id != source.asked.mem_id {
            return false;
        }
        let interface_at = granted.offset as usize;
        let at = ring_place(ring.mapping(), interface_at, &granted, self.receiving);
        let Ok(fresh) = Ring::new(Arc::clone(ring.mapping()), at) else {
            return false;
        };
        *ring = fresh;
        if let Some(name) = source.interface.as_ref().filter(|_| self.receiving) {
            self.promiscuous = interface::Promiscuous::new(name).ok();
        }
        self.interface_at = interface_at;
        self.descriptor = Some(descriptor);
        self.retry = None;
        true
    }
}

impl Exchange for Binding {
    fn sync(&mut self, ring: &mut Ring) -> Synced {
        let Some(descriptor) = &self.descriptor else {
            return match self.reopen(ring) {
                true => Synced::Reopened,
                false => Synced::Gone,
            };
        };
        let done = match self.receiving {
            true => descriptor.rxsync(),
            false => descriptor.txsync(),
        };
        match done {
            Ok(()) => Synced::Up,
            Err(error) if is_gone(&error) => {
                // With it the kernel frees the ring and the buffers that stand in it.
                self.descriptor = None;
                Synced::Gone
            }
            Err(_) => Synced::Down,
        }
    }

    fn wait_fd(&mut self, ring: &Ring) -> Option<RawFd> {
        // `poll` on it receives by itself, so nothing is to be armed.
        let descriptor = self.descriptor.as_ref()?;
        (ring.space() == 0).then(|| descriptor.fd())
    }

    fn close(&mut self, ring: &Ring, free: &mut Vec<Buffer>) {
        if self.holder != 0 {
            return self.leave(ring, free);
        }
        if !self.receiving || self.descriptor.is_none() {
            return;
        }
        let head = ring.give_list(free);
        ring.mapping()
            .word(self.interface_at + BUFS_HEAD_AT)
            .store(head, Ordering::Release);
    }

    fn mend(&mut self, ring: &Ring) {
        if let Some(descriptor) = &self.descriptor {
            descriptor.mend();
        }
        ring.unmark_slots();
    }

    fn fetch(&mut self, ring: &Ring, free: &mut Vec<Buffer>) {
        if self.holder != 0 && self.receiving {
            ring.take_marked(self.holder, free);
        }
    }

    fn leave(&mut self, _ring: &Ring, free: &mut Vec<Buffer>) {
        if self.holder != 0 {
            // The marks say where they are.
            free.drain(..).for_each(|buffer| {
                buffer.into_index();
            });
        }
    }
}

/// Byte position of the ring that a registration bound.
fn ring_place(
    mapping: &Mapping,
    interface_at: usize,
    granted: &Register,
    receiving: bool,
) -> usize {
    let number = match granted.mode {
        mode::ONE_NIC => u32::from(granted.ringid),
        // Host rings stand behind those of the NIC.
        mode::SW | mode::ONE_SW => {
            let before = match receiving {
                true => granted.rx_rings,
                false => granted.tx_rings,
            };
            let ring = match granted.mode {
                mode::ONE_SW => granted.ringid,
                _ => 0,
            };
            u32::from(before) + u32::from(ring)
        }
        _ => 0,
    };
    match receiving {
        true => ring::rx_ring_at(mapping, interface_at, number),
        false => ring::tx_ring_at(mapping, interface_at, number),
    }
}

/// A memory region that ports of this process lie in.
struct Known {
    /// The emulated machine it is of; `None` for the kernel.
    emulation: Option<PathBuf>,
    id: u16,
    mapping: Arc<Mapping>,
    region: Arc<Region>,
}

/// What became of opening a port.
pub struct OpenedPort {
    /// Halves by lane.
    pub lanes: Vec<Halves>,
    /// Number of the memory region, among those of its machine.
    pub region: u16,
    /// What the operator should know.
    pub notes: Vec<String>,
    /// Keeps the NIC promiscuous.
    pub promiscuous: Option<interface::Promiscuous>,
}

/// Opens ports, and knows the regions of those opened before.
#[derive(Default)]
pub struct Opener {
    known: Vec<Known>,
    machines: HashMap<PathBuf, Arc<dyn Provider>>,
}

/// How to open a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Lanes; each gets a ring.
    pub lanes: usize,
    /// Extra buffers for each receiving half: frames that may be in flight.
    pub extra: u32,
    /// Port index in the lane's pair: 0 inside, 1 outside.
    pub port: u8,
    /// How long to wait for a carrier.
    pub patience: Duration,
}

fn refuse<T>(what: impl Into<String>, hint: impl Into<String>) -> Result<T, PortError> {
    Err(PortError {
        what: what.into(),
        hint: hint.into(),
    })
}

/// What to do about an error of opening.
fn hint(error: &io::Error, spec: &NetmapSpec) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOENT) => "load the module: modprobe netmap",
        Some(libc::EACCES | libc::EPERM) => "run as root, or give the user rights to /dev/netmap",
        Some(libc::EBUSY) => {
            "another program holds the rings with /x, or the interface is a member of a bridge or \
             bond: take it out, or name the bond"
        }
        Some(libc::ENOMEM) => {
            "netmap's memory is used up: raise its module parameters buf_num and ring_num while no \
             port is open"
        }
        Some(libc::EINVAL) if spec.interface().is_some() => {
            "the driver refuses these rings: is the module's API 14 or 15, is the MTU larger than \
             netmap's buf_size? See dmesg"
        }
        _ => "see dmesg for what the kernel says",
    }
}

impl Opener {
    /// An opener whose emulated ports are those of machines in this process, by name.
    pub fn with_machine(socket: impl Into<PathBuf>, machine: Arc<dyn Provider>) -> Opener {
        Opener {
            machines: HashMap::from([(socket.into(), machine)]),
            ..Opener::default()
        }
    }

    /// Who provides a port; an emulated machine may be a moment late.
    fn provider(
        &mut self,
        spec: &NetmapSpec,
        patience: Duration,
    ) -> Result<Arc<dyn Provider>, PortError> {
        let Some(socket) = &spec.emulation else {
            return Ok(Arc::new(Kernel));
        };
        if let Some(machine) = self.machines.get(socket) {
            return Ok(Arc::clone(machine));
        }
        let start = Instant::now();
        let connected = loop {
            match emulation::wire::Client::connect(socket) {
                Err(_) if start.elapsed() < patience => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                done => break done,
            }
        };
        match connected {
            Ok(client) => {
                let machine: Arc<dyn Provider> = Arc::new(client);
                self.machines.insert(socket.clone(), Arc::clone(&machine));
                Ok(machine)
            }
            Err(error) => refuse(
                format!(
                    "{spec}: no emulated machine at {}: {error}",
                    socket.display()
                ),
                "pcap-replay serves one: --port netmap-emu:SOCKET",
            ),
        }
    }

    /// Opens both halves of a port for every lane.
    ///
    /// # Errors
    /// What the kernel refuses, and rings that nobody would serve.
    pub fn open(&mut self, spec: &NetmapSpec, wanted: &Wanted) -> Result<OpenedPort, PortError> {
        let (provider, pairs) = self.pairs(spec, wanted)?;
        let mut opened = OpenedPort {
            lanes: Vec::with_capacity(wanted.lanes),
            region: pairs[0].0.granted().mem_id,
            notes: Vec::new(),
            promiscuous: None,
        };
        for pair in pairs {
            let halves = self.halves(&provider, spec, wanted, pair, &mut opened.notes)?;
            opened.lanes.push(halves);
        }
        if let Some(lane) = opened.lanes.first() {
            let buf_size = lane.0.ring().buf_size();
            let (notes, promiscuous) = watch_interface(spec, wanted, buf_size);
            opened.notes.extend(notes);
            opened.promiscuous = promiscuous;
        }
        Ok(opened)
    }

    /// Opens the descriptors of a port, for every lane.
    fn pairs(
        &mut self,
        spec: &NetmapSpec,
        wanted: &Wanted,
    ) -> Result<(Arc<dyn Provider>, Vec<Pair>), PortError> {
        if spec.flags & flag::TX_RINGS_ONLY != 0 {
            return refuse(
                format!("{spec}: a port that only sends brings nothing to inspect"),
                "leave out /T",
            );
        }
        if let Some(name) = spec.interface()
            && let Some((what, hint)) = interface::refusal(name)
        {
            return refuse(what, hint);
        }
        let provider = self.provider(spec, wanted.patience)?;
        let first = self.first_ring(&provider, spec, wanted)?;
        check_rings(spec, first.0.granted(), wanted.lanes)?;
        let region = first.0.granted().mem_id;
        let mut pairs = vec![first];
        for ring in 1..wanted.lanes as u16 {
            pairs.push(self.pair(&provider, spec, wanted, ring, region)?);
        }
        Ok((provider, pairs))
    }

    /// The first ring of a port, in the region of a port opened before if that can be.
    fn first_ring(
        &self,
        provider: &Arc<dyn Provider>,
        spec: &NetmapSpec,
        wanted: &Wanted,
    ) -> Result<Pair, PortError> {
        let same = |known: &&Known| known.emulation == spec.emulation;
        let region = match (spec.region, self.known.iter().find(same)) {
            (Some(region), _) => region,
            (None, Some(known)) if spec.is_ephemeral() => known.id,
            _ => 0,
        };
        let ring = match spec.rings {
            Rings::One(ring) | Rings::OneHost(ring) => ring,
            Rings::All | Rings::Host => 0,
        };
        match self.pair(provider, spec, wanted, ring, region) {
            // The wish was ours alone; copying is better than not starting.
            Err(_) if region != 0 && spec.region.is_none() => {
                self.pair(provider, spec, wanted, ring, 0)
            }
            done => done,
        }
    }

    /// The two descriptors of a ring.
    fn pair(
        &self,
        provider: &Arc<dyn Provider>,
        spec: &NetmapSpec,
        wanted: &Wanted,
        ring: u16,
        region: u16,
    ) -> Result<Pair, PortError> {
        let mode = match spec.rings {
            Rings::All | Rings::One(_) => mode::ONE_NIC,
            Rings::Host => mode::SW,
            Rings::OneHost(_) => mode::ONE_SW,
        };
        let only = flag::RX_RINGS_ONLY | flag::TX_RINGS_ONLY;
        let asked = Register {
            mem_id: region,
            ringid: ring,
            mode,
            flags: spec.flags & !only | flag::NO_TX_POLL,
            ..Register::default()
        };
        let receive = Register {
            extra_bufs: wanted.extra,
            flags: asked.flags | flag::RX_RINGS_ONLY,
            ..asked
        };
        let transmit = Register {
            flags: asked.flags | flag::TX_RINGS_ONLY,
            ..asked
        };
        let open = |asked: &Register| provider.open(&spec.name, asked);
        let refused = |error: io::Error| PortError {
            what: format!("{spec}: ring {ring} cannot be opened: {error}"),
            hint: hint(&error, spec).to_string(),
        };
        // The transmit ring first: with few buffers left it must not go without for extra ones.
        let both = || -> io::Result<Pair> {
            let second = (!spec.receives_only())
                .then(|| open(&transmit))
                .transpose()?;
            // The region that the first got is the port's from now on.
            let granted = second.as_ref().map(|second| second.granted().mem_id);
            let receive = Register {
                mem_id: granted.unwrap_or(region),
                ..receive
            };
            Ok((open(&receive)?, second))
        };
        match both() {
            Ok(pair) => Ok(pair),
            // Some drivers bind all rings in both directions or none.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && mode == mode::ONE_NIC => {
                let all = |asked: Register| Register {
                    mode: mode::ALL_NIC,
                    ringid: 0,
                    flags: asked.flags & !only,
                    ..asked
                };
                let first = open(&all(receive)).map_err(|_| refused(error))?;
                check_single(spec, first.granted())?;
                let second = open(&all(transmit)).map_err(refused)?;
                Ok((first, Some(second)))
            }
            Err(error) => Err(refused(error)),
        }
    }

    /// The mapping of a descriptor's region: one for all descriptors of a region.
    fn region(
        &mut self,
        spec: &NetmapSpec,
        descriptor: &dyn Descriptor,
    ) -> Result<(Arc<Mapping>, Arc<Region>), PortError> {
        let id = descriptor.granted().mem_id;
        let same = |known: &&Known| known.emulation == spec.emulation && known.id == id;
        if let Some(known) = self.known.iter().find(same) {
            return Ok((Arc::clone(&known.mapping), Arc::clone(&known.region)));
        }
        let mapping = descriptor.map().map_err(|error| PortError {
            what: format!("{spec}: its memory cannot be mapped: {error}"),
            hint: "is there enough memory? All of netmap's region is touched at start".to_string(),
        })?;
        let region = mapping.region();
        self.known.push(Known {
            emulation: spec.emulation.clone(),
            id,
            mapping: Arc::clone(&mapping),
            region: Arc::clone(&region),
        });
        Ok((mapping, region))
    }

    /// Turns descriptors into halves.
    fn halves(
        &mut self,
        provider: &Arc<dyn Provider>,
        spec: &NetmapSpec,
        wanted: &Wanted,
        (receive, transmit): Pair,
        notes: &mut Vec<String>,
    ) -> Result<Halves, PortError> {
        let (mapping, region) = self.region(spec, receive.as_ref())?;
        let place = || Place {
            region: Arc::clone(&region),
            port: wanted.port,
            link: LINK_ETHERNET,
            longest: longest(spec),
        };
        let bind = |descriptor: Box<dyn Descriptor>, receiving| {
            let granted = *descriptor.granted();
            let interface_at = granted.offset as usize;
            let at = ring_place(&mapping, interface_at, &granted, receiving);
            let ring = Ring::new(Arc::clone(&mapping), at).map_err(|error| PortError {
                what: format!("{spec}: {}", error.what),
                hint: "is the module's API 14 or 15? See dmesg".to_string(),
            })?;
            let source = Source {
                provider: Arc::clone(provider),
                port: spec.name.clone(),
                interface: spec.interface().map(str::to_string),
                asked: Register {
                    extra_bufs: 0,
                    offset: 0,
                    memsize: 0,
                    ..granted
                },
            };
            let binding = Binding {
                descriptor: Some(descriptor),
                source: Some(source),
                holder: 0,
                receiving,
                interface_at,
                retry: None,
                promiscuous: None,
            };
            Ok::<_, PortError>((ring, binding))
        };
        let granted = *receive.granted();
        let (receive_ring, receive) = bind(receive, true)?;
        let transmit = transmit
            .map(|descriptor| bind(descriptor, false))
            .transpose()?;
        let free = take_extra(&receive_ring, &granted);
        check_extra(spec, free.len(), wanted, notes)?;
        Ok((
            RingReceiver::new(receive_ring, receive, free, place()),
            transmit.map(|(ring, binding)| RingTransmitter::new(ring, binding, place())),
        ))
    }
}

/// Longest frame that may be sent to a port, bytes: what its MTU allows. That a port with a larger
/// MTU than its buffers was opened at all says that its driver chains (netmap(4)).
fn longest(spec: &NetmapSpec) -> u32 {
    spec.interface()
        .map_or(CHAIN_BYTES_MAX, interface::longest_frame)
}

/// Switches off what the NIC behind a port does to frames, for netmap leaves that as it is, and
/// frames that a NIC merged fit no slot. What the operator should know, if it cannot be done.
pub fn offloads(spec: &NetmapSpec) -> Option<String> {
    match super::af_packet::offloads_off(spec.interface()?) {
        Ok(refused) if refused.is_empty() => None,
        Ok(refused) => Some(format!(
            "{spec}: {} cannot be switched off; frames longer than a slot will be dropped",
            refused.join(", ")
        )),
        Err(error) => Some(format!("{spec}: offloads: {}", error.what)),
    }
}

/// What the operator should know of the interface behind an open port, and its promiscuous mode.
fn watch_interface(
    spec: &NetmapSpec,
    wanted: &Wanted,
    buf_size: u32,
) -> (Vec<String>, Option<interface::Promiscuous>) {
    let Some(name) = spec.interface() else {
        return (Vec::new(), None);
    };
    let mut notes = interface::notes(name, buf_size, wanted.patience);
    match interface::Promiscuous::new(name) {
        Ok(mode) => (notes, Some(mode)),
        Err(error) => {
            notes.push(format!(
                "{spec}: not promiscuous: {error}; frames for other stations are not seen"
            ));
            (notes, None)
        }
    }
}

/// Takes the extra buffers that a registration brought, and leaves no list behind.
fn take_extra(ring: &Ring, granted: &Register) -> Vec<Buffer> {
    let head = ring
        .mapping()
        .word(granted.offset as usize + BUFS_HEAD_AT)
        .swap(0, Ordering::AcqRel);
    ring.take_list(head, granted.extra_bufs as usize)
}

/// Refuses a port without extra buffers, and tells of one with few.
fn check_extra(
    spec: &NetmapSpec,
    found: usize,
    wanted: &Wanted,
    notes: &mut Vec<String>,
) -> Result<(), PortError> {
    if found == 0 {
        return refuse(
            format!("{spec}: netmap has no buffer left to spare"),
            "raise netmap's module parameter buf_num while no port is open",
        );
    }
    if found < wanted.extra as usize {
        notes.push(format!(
            "{spec}: {found} of {} extra buffers granted; with more frames in flight, frames wait \
             in the ring (sluice_port_starved_total)\n [hint] raise netmap's module parameter \
             buf_num while no port is open",
            wanted.extra
        ));
    }
    Ok(())
}

/// Descriptors of one ring: receive, transmit.
type Pair = (Box<dyn Descriptor>, Option<Box<dyn Descriptor>>);

/// Refuses a port whose driver opens all rings at once, if they are several: one worker's call
/// would trade the slots of another.
fn check_single(spec: &NetmapSpec, granted: &Register) -> Result<(), PortError> {
    if (granted.rx_rings, granted.tx_rings) == (1, 1) {
        return Ok(());
    }
    refuse(
        format!("{spec}: its driver opens all of its rings or none"),
        format!("ethtool -L {} combined 1, and --lanes 1", spec.name),
    )
}

/// Refuses a port some of whose rings nobody would serve.
fn check_rings(spec: &NetmapSpec, granted: &Register, lanes: usize) -> Result<(), PortError> {
    let (receive, transmit) = match spec.rings {
        Rings::All => (granted.rx_rings, granted.tx_rings),
        Rings::Host => (granted.host_rx_rings.max(1), granted.host_tx_rings.max(1)),
        // One ring was asked for by name: that others are not served was the operator's wish.
        Rings::One(_) | Rings::OneHost(_) => (1, 1),
    };
    if receive != transmit && !spec.receives_only() {
        return refuse(
            format!("{spec} has {receive} receive and {transmit} transmit rings"),
            format!(
                "as many of both are needed, or some would pass uninspected: ethtool -L {} \
                 combined {}",
                spec.name,
                receive.min(transmit).max(1)
            ),
        );
    }
    if usize::from(receive) == lanes {
        return Ok(());
    }
    let hint = match spec.rings {
        Rings::All => format!(
            "run with --lanes {receive}, or ethtool -L {} combined {lanes} (both ports of a pair \
             need as many): a ring that nobody serves stops its traffic",
            spec.name
        ),
        _ => format!("run with --lanes {receive}"),
    };
    refuse(
        format!("{spec} has {receive} rings, for {lanes} lanes"),
        hint,
    )
}

#[cfg(test)]
mod tests;
