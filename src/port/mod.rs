//! Ports: where frames enter and leave. One pair of traits that captures, rings in memory,
//! AF_PACKET and netmap implement; nothing here reads what is inside a frame (but for the spread
//! of a capture over lanes, which plays the NIC's RSS).
//!
//! A port opens as two halves, `Receive` and `Transmit`, because in a split layout they belong to
//! two workers. Frames are never copied between rings of one region:
//!
//! ```text
//!  RX slot ──buffer──► context ──…stages…──► TX slot          (the frame's buffer)
//!  RX slot ◄──free── receiver's list ◄──context goes home◄── TX slot   (the displaced buffer)
//! ```
//!
//! `receive` takes a full RX slot's buffer and puts a free one in its place, so that the RX ring
//! refills at once; the frame travels by index in its context. `transmit` swaps that buffer into a
//! TX slot and leaves the one it displaced *in the context*. The context goes home to the worker
//! that minted it anyway (through the lane's handle ring, or at once in a fused lane), and
//! `reclaim` there puts the buffer back on the receiver's free list. So the return path of buffers
//! needs no ring of its own, a frame that is dropped takes the same way home, and buffers are
//! conserved by construction: slots + free list + contexts.
//!
//! Who may touch a slot: [head..tail) of a ring is ours, the rest is the kernel's (ring.rs).
//! Deliberately absent: waiting. A port that has nothing says so; the worker decides to spin, to
//! yield or to sleep on `wait_fd`.

pub mod af_packet;
pub mod capture;
pub mod checksum;
pub mod ethtool;
pub mod facts;
pub mod generator;
pub mod ledger;
pub mod memory;
pub mod netmap;
pub mod open;
pub mod ring;
pub mod rss;
pub mod served;
pub mod spec;
#[cfg(test)]
mod testing;

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::counters::{Counter, Counters};
use crate::memory::{Arena, Buffer, Handle, Regions, Span};
use crate::packet::{Burst, Context, Kind, Verdict};
use crate::reason::Reason;
use ledger::Ledger;

/// What one call of [`Receive::receive`] brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Frames appended to the burst.
    pub count: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that were received and thrown away at once, because they do not fit one buffer
    /// (`Reason::PortFrameTooLong`). Not in `count`; the lane counts them as dropped.
    pub too_long: u32,
    /// Frames were waiting, but no context or no free buffer was left: they stay in the ring.
    pub starved: bool,
    /// No frame will ever follow.
    pub end: bool,
    /// Captures: the next order number that this half could still deliver; every frame of this
    /// lane with a smaller number has been delivered. `u64::MAX` at the end; 0 for live ports.
    pub watermark: u64,
}

impl Received {
    /// Hands a frame on: a free context gets it, with what `tell` says of it besides where it lies.
    /// Gives the handle for the burst.
    #[inline]
    fn frame(
        &mut self,
        contexts: &Arena<Context>,
        mut handle: Handle,
        span: Span,
        tell: impl FnOnce(&mut Context),
    ) -> Handle {
        handle.set_length(span.length);
        handle.set_more(false);
        let context = contexts.get_mut(&mut handle);
        context.reset();
        context.span = span;
        tell(context);
        self.count += 1;
        self.bytes += u64::from(span.length);
        handle
    }

    /// Counts what was received at its half of a port.
    pub fn count_in(&self, counters: &PortCounters) {
        counters.add(PortCounter::Packets, self.count as u64);
        counters.add(PortCounter::Bytes, self.bytes);
        counters.add(PortCounter::TooLong, u64::from(self.too_long));
    }

    /// Counts what was received, and as dropped what was thrown away at once.
    pub fn account(&self, counters: &Counters) {
        let all = self.count as u64 + u64::from(self.too_long);
        counters.add(Counter::PacketsReceived, all);
        counters.add(Counter::BytesReceived, self.bytes);
        for _ in 0..self.too_long {
            counters.drop_for(Reason::PortFrameTooLong);
            counters.inc(Counter::PacketsDropped);
        }
    }
}

/// Puts a buffer into a context that has none: it goes with the frame and comes home with it.
fn own(context: &mut Context, buffer: Buffer) {
    let before = context.buffer.put(buffer);
    debug_assert!(before.is_none(), "a free context owns no buffer");
}

/// The receiving half of a port, for one lane. Used by one worker at a time.
pub trait Receive {
    /// Adds the memory that frames lie in. Called once, before the first `receive`.
    fn register(&mut self, regions: &mut Regions);

    /// Takes up to `limit` frames: for each a handle from `free`, whose context is reset and gets
    /// span, time, order, link and port, and which is appended to `burst`. Bounded work, no
    /// allocation, at most one system call a burst. `now_ns` is the time stamp of live frames.
    fn receive(
        &mut self,
        contexts: &Arena<Context>,
        free: &mut Vec<Handle>,
        burst: &mut Burst,
        limit: usize,
        now_ns: u64,
    ) -> Received;

    /// Takes back what a context that has come home carries: the frame's buffer if it was dropped,
    /// the displaced one if it was transmitted. To be called once for every context of this port
    /// (`Context::port`) on its way back to the free list.
    fn reclaim(&mut self, context: &mut Context);

    /// [`Receive::reclaim`] for the contexts at the beginning of a run, as far as they are frames
    /// that came from `port` and that the worker `home` minted. Gives how many; none of them has
    /// views that follow.
    #[inline]
    fn reclaim_run(
        &mut self,
        run: &mut [Handle],
        (port, home): (u8, u8),
        contexts: &Arena<Context>,
    ) -> usize {
        let mut count = 0;
        for handle in run {
            let context = contexts.get_mut(handle);
            if context.port != port || context.home != home || context.kind != Kind::Frame {
                break;
            }
            self.reclaim(context);
            count += 1;
        }
        count
    }

    /// Counters of this half.
    fn counters(&self) -> &Arc<PortCounters>;

    /// Counts from now on where it is told. Called before the first `receive`.
    fn keep(&mut self, tally: Tally) {
        let _ = tally;
    }

    /// Lets go of the ring: all frames have come home, and another process may go on with it.
    fn park(&mut self) {}

    /// Goes on with a ring where somebody else stopped.
    fn resume(&mut self) {}

    /// Mends the ring after its holder's death: what was moved and not made known is lost, and
    /// stands so in the ledger. For the keeper, which then resumes.
    fn take_over(&mut self) {}

    /// A descriptor that will poll readable when frames wait; asking arms the wake-up. `None` if
    /// frames wait already, or where nothing can be waited for.
    fn wait_fd(&mut self) -> Option<RawFd> {
        None
    }
}

/// The transmitting half of a port, for one lane. Used by one worker at a time.
pub trait Transmit {
    /// Learns the number of its memory region. Called once, before the first `transmit`.
    fn register(&mut self, regions: &mut Regions);

    /// Queues the context's frame. Afterwards the context carries the buffer that must go home.
    ///
    /// # Errors
    /// Why the frame could not be queued; it still lies in its context's buffer then.
    fn transmit(&mut self, context: &mut Context, regions: &Regions) -> Result<(), Reason>;

    /// [`Transmit::transmit`] for the frames at the beginning of a run that came from the port
    /// `from`, as far as they are to go on; what cannot be queued is dropped. Gives how many it saw.
    #[inline]
    fn transmit_run(
        &mut self,
        run: &mut [Handle],
        from: u8,
        contexts: &Arena<Context>,
        regions: &Regions,
    ) -> usize {
        let mut count = 0;
        for handle in run {
            let context = contexts.get_mut(handle);
            if context.port != from {
                break;
            }
            if context.verdict == Verdict::Forward
                && let Err(reason) = self.transmit(context, regions)
            {
                context.verdict = Verdict::Drop(reason);
            }
            count += 1;
        }
        count
    }

    /// Queues a copy of a frame that a stage built.
    ///
    /// # Errors
    /// Why the frame could not be queued.
    fn send_copy(&mut self, frame: &[u8]) -> Result<(), Reason>;

    /// Publishes what was queued; once a burst. The RX head of the burst must be published before
    /// (`receive` does it), so that a crash between the two loses a burst and never doubles it.
    fn sync(&mut self);

    /// Frames that can be queued now; a lane that must not lose any receives no more than that. No
    /// bound where the port is gone or down and nothing is to wait for it: they are dropped.
    fn room(&mut self) -> usize {
        usize::MAX
    }

    /// Publishes, and says whether the other side has taken all that was queued: what an orderly
    /// stop waits for before it closes a port.
    fn is_drained(&mut self) -> bool {
        true
    }

    /// Counters of this half.
    fn counters(&self) -> &Arc<PortCounters>;

    /// Counts from now on where it is told. Called before the first `transmit`.
    fn keep(&mut self, tally: Tally) {
        let _ = tally;
    }

    /// Publishes, and lets go of the ring: another process may go on with it.
    fn park(&mut self) {
        self.sync();
    }

    /// Goes on with a ring where somebody else stopped.
    fn resume(&mut self) {}

    /// Mends the ring after its holder's death: what was moved and not made known is lost, and
    /// stands so in the ledger. For the keeper, which then resumes.
    fn take_over(&mut self) {}
}

/// Where half a port counts: both survive the process if they lie in the keeper's memory.
#[derive(Default)]
pub struct Tally {
    /// Counters.
    pub counters: Arc<PortCounters>,
    /// Position in the ring, and frames moved.
    pub ledger: Ledger,
}

impl Tally {
    /// Lets half a port count here from now on; a ledger that has not begun does so at `at`.
    pub fn replace(self, at: u64, counters: &mut Arc<PortCounters>, ledger: &mut Ledger) {
        self.ledger.begin(at);
        *counters = self.counters;
        *ledger = self.ledger;
    }
}

macro_rules! port_counters {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal;)+) => {
        /// One counter of half a port.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub enum PortCounter { $($(#[doc = $doc])+ $variant,)+ }

        impl PortCounter {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [PortCounter] = &[$(PortCounter::$variant,)+];

            /// Exported family name; labels `port` and `dir` come from the port.
            pub const fn name(self) -> &'static str {
                match self { $(PortCounter::$variant => $name,)+ }
            }

            /// HELP text.
            pub const fn help(self) -> &'static str {
                match self { $(PortCounter::$variant => concat!($($doc,)+),)+ }
            }
        }
    };
}

port_counters! {
    /// Frames taken or queued.
    Packets = "sluice_port_packets_total";
    /// Bytes of these frames.
    Bytes = "sluice_port_bytes_total";
    /// Syncs: the calls that exchange slots with the other side.
    Syncs = "sluice_port_sync_calls_total";
    /// Frames refused because the TX ring was full.
    RingFull = "sluice_port_ring_full_total";
    /// Receives that left frames in the ring because no context or buffer was free.
    Starved = "sluice_port_starved_total";
    /// Frames copied because their buffer could not be handed over.
    Copied = "sluice_port_copied_packets_total";
    /// Bytes copied for that.
    CopiedBytes = "sluice_port_copied_bytes_total";
    /// Frames of several buffers (jumbo frames) that were put together, or sent so.
    Chains = "sluice_port_chains_total";
    /// Frames thrown away because they do not fit one buffer.
    TooLong = "sluice_port_too_long_packets_total";
    /// Frames whose checksums the sender had left to its NIC, and that the port completed.
    ChecksumCompleted = "sluice_port_checksum_completed_total";
    /// Frames that the kernel or NIC says it lost before we saw them.
    Missed = "sluice_port_missed_packets_total";
    /// Ring indexes that made no sense and were set anew.
    Reinit = "sluice_port_ring_reinit_total";
    /// Frames that were queued when a ring was set anew, and not sent.
    ReinitLost = "sluice_port_ring_reinit_lost_total";
    /// Syncs that failed because the port was down or gone.
    Down = "sluice_port_down_syncs_total";
    /// Times that a sync found a port gone that had been there.
    Vanished = "sluice_port_vanished_total";
    /// Times that a port was gone and was opened again.
    Reopened = "sluice_port_reopened_total";
}

/// Cells of the counters of half a port.
pub type PortCells = [AtomicU64; PortCounter::ALL.len()];

/// Counters of half a port: written by its worker alone, read by the control thread. The cells may
/// lie in memory that outlives the process.
pub struct PortCounters {
    home: PortHome,
    slots_used: AtomicU64,
}

enum PortHome {
    Own(PortCells),
    Given(&'static PortCells),
}

impl Default for PortCounters {
    fn default() -> PortCounters {
        PortCounters {
            home: PortHome::Own(std::array::from_fn(|_| AtomicU64::new(0))),
            slots_used: AtomicU64::new(0),
        }
    }
}

impl PortCounters {
    /// Counters over cells that lie elsewhere, with what they say already.
    pub fn over(cells: &'static PortCells) -> PortCounters {
        PortCounters {
            home: PortHome::Given(cells),
            slots_used: AtomicU64::new(0),
        }
    }

    fn cells(&self) -> &PortCells {
        match &self.home {
            PortHome::Own(cells) => cells,
            PortHome::Given(cells) => cells,
        }
    }

    /// Adds to a counter. Single writer: no locked instruction.
    pub fn add(&self, counter: PortCounter, by: u64) {
        if let Some(cell) = self.cells().get(counter as usize) {
            cell.store(cell.load(Relaxed).wrapping_add(by), Relaxed);
        }
    }

    /// Says how many slots of the ring hold frames: in work (receive), not sent yet (transmit).
    pub fn set_slots_used(&self, slots: u64) {
        self.slots_used.store(slots, Relaxed);
    }

    /// Slots of the ring that hold frames, when the half was last used.
    pub fn slots_used(&self) -> u64 {
        self.slots_used.load(Relaxed)
    }

    /// Current value.
    pub fn get(&self, counter: PortCounter) -> u64 {
        self.cells()
            .get(counter as usize)
            .map_or(0, |cell| cell.load(Relaxed))
    }
}

/// A receiving half of any kind. The kinds are a closed set, so that dispatch is a jump table and
/// not a pointer per packet.
pub enum Receiver {
    /// Frames of capture files.
    Capture(Box<capture::CaptureReader>),
    /// A ring in memory.
    Memory(Box<ring::halves::RingReceiver<memory::Pipe>>),
    /// An interface by AF_PACKET, frame by frame.
    Packet(Box<af_packet::PacketReceiver>),
    /// An interface that is only watched, by AF_PACKET, in blocks.
    Blocks(Box<af_packet::BlockReceiver>),
    /// A ring of a netmap port.
    Netmap(Box<ring::halves::RingReceiver<netmap::Binding>>),
    /// One that its caller made: for benches. It is called through a pointer, once a burst and once
    /// a frame that comes home, which no port of the product does.
    Made(Box<dyn Receive + Send>),
}

impl Receiver {
    /// The capture reader, if it is one.
    pub fn as_capture(&self) -> Option<&capture::CaptureReader> {
        match self {
            Receiver::Capture(reader) => Some(reader),
            _ => None,
        }
    }
}

/// Waits until frames have come to one of the receivers, for at most so many milliseconds. Returns
/// `false` at once where one of them cannot be waited for; a receiver that has frames ends it.
pub fn wait(receivers: &mut [Receiver], timeout_ms: i32) -> bool {
    let mut fds = [-1; ring::WAIT_MAX];
    if receivers.len() > fds.len() {
        return false;
    }
    for (place, receiver) in fds.iter_mut().zip(receivers.iter_mut()) {
        match receiver.wait_fd() {
            Some(fd) => *place = fd,
            None => return false,
        }
    }
    ring::wait_readable(&fds, timeout_ms);
    true
}

/// Moves up to `limit` frames from one port to the other without looking into them, where both are
/// rings of one region; `None` where that cannot be (`RingReceiver::straight`).
pub fn straight(from: &mut Receiver, to: &mut Transmitter, limit: usize) -> Option<Received> {
    match (from, to) {
        (Receiver::Memory(from), Transmitter::Memory(to)) => from.straight(to, limit),
        (Receiver::Netmap(from), Transmitter::Netmap(to)) => from.straight(to, limit),
        _ => None,
    }
}

/// A transmitting half of any kind.
pub enum Transmitter {
    /// Nowhere: a replay that writes nothing.
    Discard(Discard),
    /// To a capture file.
    Capture(Box<capture::CaptureWriter>),
    /// A ring in memory.
    Memory(Box<ring::halves::RingTransmitter<memory::Pipe>>),
    /// An interface by AF_PACKET.
    Packet(Box<af_packet::PacketTransmitter>),
    /// A ring of a netmap port.
    Netmap(Box<ring::halves::RingTransmitter<netmap::Binding>>),
    /// One that its caller made: as [`Receiver::Made`].
    Made(Box<dyn Transmit + Send>),
}

macro_rules! each {
    ($self:expr, $kind:ident, [$($variant:ident),+], $half:ident => $call:expr) => {
        match $self { $($kind::$variant($half) => $call,)+ }
    };
}

/// The port with this number, of so many. (A division would be the dearest step of all.)
#[inline]
pub fn port_of(number: u8, ports: usize) -> usize {
    let port = usize::from(number);
    if port < ports {
        port
    } else {
        port % ports.max(1)
    }
}

impl Receive for Receiver {
    fn register(&mut self, regions: &mut Regions) {
        each!(self, Receiver, [Capture, Memory, Packet, Blocks, Netmap, Made], half => half.register(regions));
    }

    fn receive(
        &mut self,
        contexts: &Arena<Context>,
        free: &mut Vec<Handle>,
        burst: &mut Burst,
        limit: usize,
        now_ns: u64,
    ) -> Received {
        each!(self, Receiver, [Capture, Memory, Packet, Blocks, Netmap, Made],
            half => half.receive(contexts, free, burst, limit, now_ns))
    }

    #[inline]
    fn reclaim(&mut self, context: &mut Context) {
        each!(self, Receiver, [Capture, Memory, Packet, Blocks, Netmap, Made], half => half.reclaim(context));
    }

    fn reclaim_run(
        &mut self,
        run: &mut [Handle],
        from: (u8, u8),
        contexts: &Arena<Context>,
    ) -> usize {
        each!(self, Receiver, [Capture, Memory, Packet, Blocks, Netmap, Made],
            half => half.reclaim_run(run, from, contexts))
    }

    fn counters(&self) -> &Arc<PortCounters> {
        each!(self, Receiver, [Capture, Memory, Packet, Blocks, Netmap, Made], half => half.counters())
    }

    fn keep(&mut self, tally: Tally) {
        each!(self, Receiver, [Capture, Memory, Packet, Blocks, Netmap, Made], half => half.keep(tally));
    }

    fn park(&mut self) {
        each!(self, Receiver, [Capture, Memory, Packet, Blocks, Netmap, Made], half => half.park());
    }

    fn resume(&mut self) {
        each!(self, Receiver, [Capture, Memory, Packet, Blocks, Netmap, Made], half => half.resume());
    }

    fn take_over(&mut self) {
        each!(self, Receiver, [Capture, Memory, Packet, Blocks, Netmap, Made], half => half.take_over());
    }

    fn wait_fd(&mut self) -> Option<RawFd> {
        each!(self, Receiver, [Capture, Memory, Packet, Blocks, Netmap, Made], half => half.wait_fd())
    }
}

impl Transmit for Transmitter {
    fn register(&mut self, regions: &mut Regions) {
        each!(self, Transmitter, [Discard, Capture, Memory, Packet, Netmap, Made], half => half.register(regions));
    }

    #[inline]
    fn transmit(&mut self, context: &mut Context, regions: &Regions) -> Result<(), Reason> {
        each!(self, Transmitter, [Discard, Capture, Memory, Packet, Netmap, Made], half => half.transmit(context, regions))
    }

    fn transmit_run(
        &mut self,
        run: &mut [Handle],
        from: u8,
        contexts: &Arena<Context>,
        regions: &Regions,
    ) -> usize {
        each!(self, Transmitter, [Discard, Capture, Memory, Packet, Netmap, Made],
            half => half.transmit_run(run, from, contexts, regions))
    }

    fn send_copy(&mut self, frame: &[u8]) -> Result<(), Reason> {
        each!(self, Transmitter, [Discard, Capture, Memory, Packet, Netmap, Made], half => half.send_copy(frame))
    }

    fn sync(&mut self) {
        each!(self, Transmitter, [Discard, Capture, Memory, Packet, Netmap, Made], half => half.sync());
    }

    fn room(&mut self) -> usize {
        each!(self, Transmitter, [Discard, Capture, Memory, Packet, Netmap, Made], half => half.room())
    }

    fn keep(&mut self, tally: Tally) {
        each!(self, Transmitter, [Discard, Capture, Memory, Packet, Netmap, Made], half => half.keep(tally));
    }

    fn park(&mut self) {
        each!(self, Transmitter, [Discard, Capture, Memory, Packet, Netmap, Made], half => half.park());
    }

    fn resume(&mut self) {
        each!(self, Transmitter, [Discard, Capture, Memory, Packet, Netmap, Made], half => half.resume());
    }

    fn take_over(&mut self) {
        each!(self, Transmitter, [Discard, Capture, Memory, Packet, Netmap, Made], half => half.take_over());
    }

    fn is_drained(&mut self) -> bool {
        each!(self, Transmitter, [Discard, Capture, Memory, Packet, Netmap, Made], half => half.is_drained())
    }

    fn counters(&self) -> &Arc<PortCounters> {
        each!(self, Transmitter, [Discard, Capture, Memory, Packet, Netmap, Made], half => half.counters())
    }
}

/// The transmitting half that leads nowhere. Everything counts as sent.
#[derive(Default)]
pub struct Discard {
    counters: Arc<PortCounters>,
}

impl Discard {
    /// Counts frames as sent, and their bytes.
    pub fn count(&self, frames: u64, bytes: u64) {
        self.counters.add(PortCounter::Packets, frames);
        self.counters.add(PortCounter::Bytes, bytes);
    }
}

impl Transmit for Discard {
    fn register(&mut self, _regions: &mut Regions) {}

    #[inline]
    fn transmit(&mut self, context: &mut Context, _regions: &Regions) -> Result<(), Reason> {
        self.count(1, u64::from(context.span.length));
        Ok(())
    }

    fn send_copy(&mut self, frame: &[u8]) -> Result<(), Reason> {
        self.count(1, frame.len() as u64);
        Ok(())
    }

    fn sync(&mut self) {}

    fn counters(&self) -> &Arc<PortCounters> {
        &self.counters
    }
}
