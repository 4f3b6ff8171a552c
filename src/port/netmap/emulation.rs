//! A machine with netmap ports that are none: memory regions laid out as the kernel's, rings,
//! buffers, registration and closing, all in memfds, with the kernel's part played by the code
//! here and the syncs in emulation/kernel.rs. It exercises our port layer (opening included) and
//! **not netmap's kernel code**; the same tests run on the real module too (tests/netmap_port.rs).
//!
//! Stricter than the kernel: every buffer is in the pool, the kernel's, or the application's, and
//! each breach of the protocol is a recorded [`Violation`]. And adversarial: see [`Faults`] and the
//! calls that take links down, set rings anew and pull NICs out.
//!
//! Kinds of port, by name: `x{1` and `x}1` (pipes: index for index, no byte is copied), `vale0:a`
//! (a switch without learning: all others get a copy), anything else a NIC that `add_nic` made,
//! cabled to another by `cable` (bytes are copied, as by DMA; rings by a symmetric hash).

mod kernel;
mod registry;
pub mod wire;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use netmap_sys::{PortInfo, Register};

use super::provider::{Descriptor, Provider};
use crate::memory::between;
use crate::port::memory::eventfd;
use crate::port::ring::{BUFFER_INDEX_MIN, Mapping, SLOT_BYTES, SLOTS_AT};
use kernel::Kring;

pub use crate::port::served::Violation;

/// Frames that a cable holds; a full one is back-pressure.
const CABLE_FRAMES_MAX: usize = 1024;
/// Descriptors open at once, in each region.
const INTERFACES_MAX: usize = 64;
const PAGE: usize = 4096;

/// Sizes of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Slots of a ring.
    pub slots: u32,
    /// Bytes of a buffer.
    pub buf_size: u32,
    /// Buffers of a region.
    pub buffers: u32,
    /// Rings of a region, at most.
    pub rings_max: u32,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            slots: 1024,
            buf_size: 2048,
            buffers: 16_384,
            rings_max: 32,
        }
    }
}

/// How the machine misbehaves; by default it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Most frames that a receive sync shows at once; 0 for all.
    pub shown_max: u32,
    /// Sent slots come back at each so many syncs only; 0 and 1 for at once.
    pub complete_every: u32,
    /// Most extra buffers granted.
    pub extra_max: Option<u32>,
    /// Rings open in both directions or not at all, as some drivers have it (EINVAL).
    pub both_ways_only: bool,
    /// Every port has a region of its own, whatever is asked for.
    pub own_regions: bool,
    /// Opening fails with this error number.
    pub refuse: Option<i32>,
    /// Waiting ends though there is no frame.
    pub spurious: bool,
}

/// Whose a buffer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    Pool,
    Kernel,
    User,
}

/// A memory region.
struct Memory {
    fd: OwnedFd,
    mapping: Arc<Mapping>,
    owners: Vec<Owner>,
    free: Vec<u32>,
    rings_free: Vec<usize>,
    interfaces_free: Vec<usize>,
    buffers_at: usize,
    /// Open descriptors.
    users: u32,
}

impl Memory {
    fn new(shape: &Shape) -> io::Result<Memory> {
        let ring_bytes = (SLOTS_AT + shape.slots as usize * SLOT_BYTES).next_multiple_of(PAGE);
        let rings_at = PAGE * (1 + INTERFACES_MAX);
        let buffers_at = rings_at + shape.rings_max as usize * ring_bytes;
        let length = buffers_at + shape.buffers as usize * shape.buf_size as usize;
        let fd = between::memfd(c"sluice-netmap", length)?;
        let mapping = Mapping::new(fd.as_fd(), length)?;
        let mut owners = vec![Owner::Pool; shape.buffers as usize];
        owners[..BUFFER_INDEX_MIN as usize].fill(Owner::Kernel);
        Ok(Memory {
            fd,
            mapping,
            owners,
            free: (BUFFER_INDEX_MIN..shape.buffers).rev().collect(),
            rings_free: (0..shape.rings_max as usize)
                .map(|ring| rings_at + ring * ring_bytes)
                .collect(),
            interfaces_free: (0..INTERFACES_MAX)
                .map(|number| PAGE * (1 + number))
                .collect(),
            buffers_at,
            users: 0,
        })
    }

    /// Takes a buffer out of the pool for `owner`.
    fn take(&mut self, owner: Owner) -> Option<u32> {
        let index = self.free.pop()?;
        self.owners[index as usize] = owner;
        Some(index)
    }

    /// Puts a buffer back; says whether it was one that may be put back.
    fn give(&mut self, index: u32) -> bool {
        match self.owners.get_mut(index as usize) {
            Some(owner) if index >= BUFFER_INDEX_MIN && *owner != Owner::Pool => {
                *owner = Owner::Pool;
                self.free.push(index);
                true
            }
            _ => false,
        }
    }

    fn set(&self, at: usize, value: u32) {
        self.mapping.word(at).store(value, Ordering::Release);
    }
}

/// What kind a port is, and what is at its other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// The other end, by number.
    Pipe(usize),
    /// The NIC at the other end of the cable.
    Nic(Option<usize>),
    /// Number of the switch.
    Vale(usize),
}

struct Port {
    name: String,
    kind: Kind,
    region: Option<usize>,
    /// Rings of the NIC in each direction, without the host's.
    rings: u16,
    tx: Vec<Kring>,
    rx: Vec<Kring>,
    /// Frames that wait for room in a receive ring, by ring.
    queues: Vec<VecDeque<Vec<u8>>>,
    /// Frames that were sent to the host stack.
    host: VecDeque<Vec<u8>>,
    users: u32,
    down: bool,
    gone: bool,
    /// Descriptors of earlier plugs are dead for good.
    generation: u32,
    /// Frames that no receiver had room for.
    lost: u64,
}

/// A descriptor's binding.
struct Bound {
    port: usize,
    generation: u32,
    interface_at: usize,
    region: usize,
    tx: Vec<usize>,
    rx: Vec<usize>,
    busy: Arc<[AtomicBool; 2]>,
}

struct State {
    shape: Shape,
    faults: Faults,
    regions: Vec<Memory>,
    ports: Vec<Port>,
    bound: Vec<Option<Bound>>,
    violations: [u64; Violation::KINDS],
    leaked: u64,
    switches: Vec<String>,
}

/// A machine with netmap. `Clone` names the same machine.
#[derive(Clone)]
pub struct Machine {
    state: Arc<Mutex<State>>,
    line: Arc<Line>,
}

/// Who waits for the machine, in the order of coming. Without it a far end that syncs without a
/// break takes the lock again before who was woken gets to it, for hundreds of milliseconds.
#[derive(Default)]
struct Line {
    /// Number of the next to come.
    last: AtomicU64,
    /// Number of who may go.
    next: AtomicU64,
}

/// The machine's state, for as long as it is held.
struct Held<'a> {
    state: MutexGuard<'a, State>,
    line: &'a Line,
}

impl std::ops::Deref for Held<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl std::ops::DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.line.next.fetch_add(1, Ordering::Release);
    }
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl Machine {
    /// A machine without ports; pipes and VALE ports are made when they are opened.
    pub fn new(shape: Shape) -> Machine {
        Machine {
            state: Arc::new(Mutex::new(State {
                shape,
                faults: Faults::default(),
                regions: Vec::new(),
                ports: Vec::new(),
                bound: Vec::new(),
                violations: [0; Violation::KINDS],
                leaked: 0,
                switches: Vec::new(),
            })),
            line: Arc::default(),
        }
    }

    fn state(&self) -> Held<'_> {
        let number = self.line.last.fetch_add(1, Ordering::Relaxed);
        while self.line.next.load(Ordering::Acquire) != number {
            std::thread::yield_now();
        }
        Held {
            // A test that failed in another thread must not hide what this one sees.
            state: self.state.lock().unwrap_or_else(PoisonError::into_inner),
            line: &self.line,
        }
    }

    /// Puts a NIC in.
    pub fn add_nic(&self, name: &str, rings: u16) {
        let mut state = self.state();
        state.port_named(name, Kind::Nic(None), rings);
    }

    /// Runs a cable between two NICs.
    pub fn cable(&self, one: &str, other: &str) {
        let mut state = self.state();
        let (Some(one), Some(other)) = (state.find(one), state.find(other)) else {
            return;
        };
        state.ports[one].kind = Kind::Nic(Some(other));
        state.ports[other].kind = Kind::Nic(Some(one));
    }

    /// Changes how the machine misbehaves.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Takes a port's link down, or up again: syncs fail meanwhile.
    pub fn set_down(&self, name: &str, down: bool) {
        self.with_port(name, |port| port.down = down);
    }

    /// Pulls a NIC out; its descriptors are dead from now on.
    pub fn unplug(&self, name: &str) {
        self.with_port(name, |port| {
            port.gone = true;
            port.generation += 1;
        });
    }

    /// Puts it in again.
    pub fn plug(&self, name: &str) {
        self.with_port(name, |port| port.gone = false);
    }

    /// Sets all rings of a port anew at their next sync, as the kernel does after an index that
    /// makes no sense.
    pub fn reinit(&self, name: &str) {
        self.with_port(name, |port| {
            for kring in port.tx.iter_mut().chain(&mut port.rx) {
                kring.reinit_next = true;
            }
        });
    }

    /// Frames that a port had no room for.
    pub fn lost(&self, name: &str) -> u64 {
        self.with_port(name, |port| port.lost).unwrap_or(0)
    }

    /// Takes what was sent to a NIC's host stack.
    pub fn take_host(&self, name: &str) -> Vec<Vec<u8>> {
        self.with_port(name, |port| port.host.drain(..).collect())
            .unwrap_or_default()
    }

    /// Gives a frame to a receive ring, whatever its length; beyond a buffer it comes as a chain.
    /// Ring `rings` is the host stack's.
    pub fn inject(&self, name: &str, ring: usize, frame: &[u8]) {
        self.with_port(name, |port| port.push(ring, frame));
    }

    fn with_port<T>(&self, name: &str, work: impl FnOnce(&mut Port) -> T) -> Option<T> {
        let mut state = self.state();
        let port = state.find(name)?;
        state.ports.get_mut(port).map(work)
    }

    /// Violations of a kind so far.
    pub fn violations(&self, violation: Violation) -> u64 {
        self.state().violations[violation as usize]
    }

    /// All violations so far.
    pub fn violations_total(&self) -> u64 {
        self.state().violations.iter().sum()
    }

    /// Buffers that were not back when the last descriptor of their region was closed.
    pub fn leaked(&self) -> u64 {
        self.state().leaked
    }

    /// Buffers of all regions that are in the pool, and in all.
    pub fn pooled(&self) -> (usize, usize) {
        let state = self.state();
        let free = state.regions.iter().map(|region| region.free.len()).sum();
        let all = state
            .regions
            .iter()
            .map(|region| region.owners.len() - BUFFER_INDEX_MIN as usize)
            .sum();
        (free, all)
    }

    /// Descriptors that are open.
    pub fn descriptors(&self) -> usize {
        self.state().bound.iter().flatten().count()
    }

    /// Whether a port is open.
    pub fn is_open(&self, name: &str) -> bool {
        self.with_port(name, |port| port.users > 0).unwrap_or(false)
    }

    fn close(&self, number: usize) {
        self.state().close(number);
    }

    /// Closes every descriptor that is still open, as when processes are gone.
    #[cfg(test)]
    pub(in crate::port) fn close_all(&self) {
        let mut state = self.state();
        (0..state.bound.len()).for_each(|number| state.close(number));
    }

    fn sync(&self, number: usize, receiving: bool) -> io::Result<()> {
        let busy = {
            let state = self.state();
            let Some(Some(bound)) = state.bound.get(number) else {
                return Err(errno(libc::EBADF));
            };
            Arc::clone(&bound.busy)
        };
        let flag = &busy[usize::from(receiving)];
        // The kernel only tries its lock as well: who comes second is sent away.
        if flag.swap(true, Ordering::Acquire) {
            self.state().record(Violation::TwoThreads);
            return Ok(());
        }
        let done = self.state().sync(number, receiving);
        flag.store(false, Ordering::Release);
        done
    }

    /// Registers, and gives the descriptor's number with what it needs.
    fn register(&self, name: &str, asked: &Register) -> io::Result<(usize, Register)> {
        self.state().register(name, asked)
    }

    /// Descriptors of a region and of a receive ring's wake-ups, for the other process.
    fn descriptors_of(&self, number: usize) -> io::Result<(OwnedFd, OwnedFd)> {
        let state = self.state();
        let Some(Some(bound)) = state.bound.get(number) else {
            return Err(errno(libc::EBADF));
        };
        let port = &state.ports[bound.port];
        let wake = match bound.rx.first().and_then(|ring| port.rx.get(*ring)) {
            Some(kring) => kring.wake.as_fd().try_clone_to_owned()?,
            None => eventfd()?.into(),
        };
        Ok((state.regions[bound.region].fd.try_clone()?, wake))
    }
}

/// A switch's name in that of a VALE port.
fn switch_of(name: &str) -> Option<&str> {
    let (switch, port) = name.split_once(':')?;
    (switch.starts_with("vale") && !port.is_empty()).then_some(switch)
}

impl State {
    fn record(&mut self, violation: Violation) {
        self.violations[violation as usize] += 1;
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.ports.iter().position(|port| port.name == name)
    }

    fn port_named(&mut self, name: &str, kind: Kind, rings: u16) -> usize {
        if let Some(port) = self.find(name) {
            return port;
        }
        self.ports.push(Port {
            name: name.to_string(),
            kind,
            region: None,
            rings,
            tx: Vec::new(),
            rx: Vec::new(),
            queues: Vec::new(),
            host: VecDeque::new(),
            users: 0,
            down: false,
            gone: false,
            generation: 0,
            lost: 0,
        });
        self.ports.len() - 1
    }

    /// The port of a name; made now if it is one that opening makes.
    fn resolve(&mut self, name: &str) -> io::Result<usize> {
        if let Some(port) = self.find(name) {
            return match self.ports[port].gone {
                true => Err(errno(libc::ENXIO)),
                false => Ok(port),
            };
        }
        if let Some(place) = name.find(['{', '}']) {
            let other = match name.as_bytes()[place] {
                b'{' => name.replacen('{', "}", 1),
                _ => name.replacen('}', "{", 1),
            };
            let one = self.port_named(name, Kind::Pipe(0), 1);
            let other = self.port_named(&other, Kind::Pipe(one), 1);
            self.ports[one].kind = Kind::Pipe(other);
            return Ok(one);
        }
        let Some(switch) = switch_of(name) else {
            return Err(errno(libc::ENXIO));
        };
        let number = match self.switches.iter().position(|known| known == switch) {
            Some(number) => number,
            None => {
                self.switches.push(switch.to_string());
                self.switches.len() - 1
            }
        };
        Ok(self.port_named(name, Kind::Vale(number), 1))
    }
}

/// Whether a descriptor polls readable within a time.
fn readable(fd: RawFd, timeout_ms: i32) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&mut poll, 1, timeout_ms) == 1 }
}

/// What a machine gave to this process; closed with the last descriptor that names it.
struct Local {
    machine: Machine,
    number: usize,
    granted: Register,
    wake: OwnedFd,
}

/// A descriptor of a machine in this process.
struct LocalDescriptor(Arc<Local>);

/// The kernel's part of a call. Who dies in a test dies outside of it: a call that was begun ends.
fn in_kernel<T>(work: impl FnOnce() -> T) -> T {
    #[cfg(test)]
    return crate::port::ring::death::pause(work);
    #[cfg(not(test))]
    work()
}

impl Provider for Machine {
    fn info(&self, port: &str, region: u16) -> io::Result<PortInfo> {
        let mut state = self.state();
        let port = state.resolve(port)?;
        let region = state.region_of(port, region)?;
        Ok(state.info(port, region))
    }

    fn open(&self, port: &str, asked: &Register) -> io::Result<Box<dyn Descriptor>> {
        let (number, granted) = self.register(port, asked)?;
        let (_, wake) = self.descriptors_of(number)?;
        Ok(Box::new(LocalDescriptor(Arc::new(Local {
            machine: self.clone(),
            number,
            granted,
            wake,
        }))))
    }
}

impl Descriptor for LocalDescriptor {
    fn granted(&self) -> &Register {
        &self.0.granted
    }

    fn map(&self) -> io::Result<Arc<Mapping>> {
        let (fd, _) = self.0.machine.descriptors_of(self.0.number)?;
        Mapping::new(fd.as_fd(), self.0.granted.memsize as usize)
    }

    fn txsync(&self) -> io::Result<()> {
        in_kernel(|| self.0.machine.sync(self.0.number, false))
    }

    fn rxsync(&self) -> io::Result<()> {
        in_kernel(|| self.0.machine.sync(self.0.number, true))
    }

    fn poll(&self, timeout_ms: i32) -> io::Result<bool> {
        let ready = readable(self.0.wake.as_raw_fd(), timeout_ms);
        self.rxsync()?;
        Ok(ready)
    }

    fn fd(&self) -> RawFd {
        self.0.wake.as_raw_fd()
    }

    fn again(&self) -> Option<Box<dyn Descriptor>> {
        Some(Box::new(LocalDescriptor(Arc::clone(&self.0))))
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.machine.close(self.number);
    }
}
