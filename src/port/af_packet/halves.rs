//! The two halves over AF_PACKET's mapped rings. What the kernel promises about status words, and
//! what is done to a frame before it is handed on, is told in af_packet.rs.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::presence::Successor;
use super::whole::{Told, make_whole};
use super::{OUTGOING, OpenError, Options, Presence, Sizes, Socket, ring_bytes};
use crate::memory::{Arena, Buffer, Handle, Region, Regions, Span};
use crate::packet::{Burst, Context};
use crate::port::ledger::Ledger;
use crate::port::memory::LINK_ETHERNET;
use crate::port::ring::Mapping;
use crate::port::{PortCounter, PortCounters, Receive, Received, Tally, Transmit, own};
use crate::reason::Reason;

/// Status of a frame that we took and that has not come home: not the kernel's, since it is not 0,
/// and not to be delivered again, since `TP_STATUS_USER` is not set. The kernel uses no such bit.
const STATUS_TAKEN: u32 = 1 << 24;
/// With it, in every second lap around the ring: a frame taken and not yet noted in the ledger can
/// be told from one of the lap before.
const STATUS_ODD_LAP: u32 = 1 << 25;
/// Receives between two looks at the kernel's drop count.
const STATISTICS_INTERVAL: u32 = 4096;
/// Frames that a take-over looks at before the first new one is received; what a dead engine held is
/// among them but for a rare one. The ring's headers lie far apart, so that to look at all of them
/// costs the better part of a millisecond.
const LOOKED_AT_FIRST: u32 = 256;
/// Frames that each receive after that looks at.
const LOOKED_AT_LATER: u32 = 64;

/// Field positions in a frame's header (`struct tpacket2_hdr`).
mod field {
    pub const STATUS: usize = 0;
    pub const LENGTH: usize = 4;
    pub const CAPTURED: usize = 8;
    /// Position of the frame's first byte (16 bits), then of its network header.
    pub const MAC: usize = 12;
    pub const SECONDS: usize = 16;
    pub const NANOS: usize = 20;
    /// In a frame to send: its number, by which a frame queued and not yet noted is told. The kernel
    /// does not read it, and writes it only where sending is time-stamped, which is not asked for.
    pub const NUMBER: usize = 16;
    /// VLAN tag control information, then tag type, 16 bits each.
    pub const VLAN: usize = 24;
    /// Packet type, of the address (`struct sockaddr_ll`) behind the aligned header.
    pub const PACKET_TYPE: usize = 32 + 10;
    /// Where the bytes of a frame to send start: behind the aligned header.
    pub const SEND_DATA: usize = 32;
}

const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(libc::tpacket2_hdr, tp_len) == field::LENGTH);
    assert!(offset_of!(libc::tpacket2_hdr, tp_mac) == field::MAC);
    assert!(offset_of!(libc::tpacket2_hdr, tp_sec) == field::SECONDS);
    assert!(offset_of!(libc::tpacket2_hdr, tp_vlan_tci) == field::VLAN);
    assert!(size_of::<libc::tpacket2_hdr>() == field::SEND_DATA);
    assert!(
        size_of::<libc::tpacket2_hdr>() + offset_of!(libc::sockaddr_ll, sll_pkttype)
            == field::PACKET_TYPE
    );
};

/// A mapped ring of one direction.
struct FrameRing {
    socket: Socket,
    mapping: Arc<Mapping>,
    frame_size: u32,
    frames: u32,
    next: u32,
}

impl FrameRing {
    fn new(socket: Socket, frame_size: u32, frames: u32) -> Result<FrameRing, OpenError> {
        let mapping = Mapping::new(socket.as_fd(), ring_bytes(frame_size, frames))
            .map_err(|error| socket.error("its ring cannot be mapped", &error))?;
        Ok(FrameRing {
            socket,
            mapping,
            frame_size,
            frames,
            next: 0,
        })
    }

    fn at(&self, frame: u32) -> usize {
        frame as usize * self.frame_size as usize
    }

    fn load(&self, frame: u32, field: usize) -> u32 {
        let word = self.mapping.word(self.at(frame) + field);
        word.load(Ordering::Relaxed)
    }

    /// The status, after which the rest of the frame may be read.
    fn status(&self, frame: u32) -> u32 {
        let word = self.mapping.word(self.at(frame) + field::STATUS);
        word.load(Ordering::Acquire)
    }

    /// Sets the status, after everything else was written.
    fn set_status(&self, frame: u32, status: u32) {
        let word = self.mapping.word(self.at(frame) + field::STATUS);
        word.store(status, Ordering::Release);
    }

    fn advance(&mut self) {
        self.next += 1;
        if self.next == self.frames {
            self.next = 0;
        }
    }

    /// Goes to where a ledger says.
    fn go_to(&mut self, position: u64) {
        self.next = (position % u64::from(self.frames.max(1))) as u32;
    }

    /// Status of a frame taken at a position.
    fn taken(&self, position: u64) -> u32 {
        match position / u64::from(self.frames.max(1)) % 2 {
            0 => STATUS_TAKEN,
            _ => STATUS_TAKEN | STATUS_ODD_LAP,
        }
    }
}

/// The receiving half.
pub struct PacketReceiver {
    ring: FrameRing,
    memory: Arc<Region>,
    region: u16,
    port: u8,
    /// The kernel delivers what is sent on the interface, too: it is passed over here.
    brings_outgoing: bool,
    /// Receives until the next look at the drop count.
    until_statistics: u32,
    /// Frames of the ring that we hold.
    held: u64,
    /// After a take-over: frames before the ring's next that have not been looked at, whether the
    /// dead engine held them.
    unseen: u32,
    /// The ring's next frame when that began.
    from: u32,
    /// What takes the socket's place when its interface has been away.
    successor: Arc<Successor>,
    counters: Arc<PortCounters>,
    ledger: Ledger,
}

impl PacketReceiver {
    pub(super) fn open(interface: &str, options: &Options) -> Result<PacketReceiver, OpenError> {
        let socket = Socket::open(interface)?;
        let frame_size = socket.frame_size();
        let frames = socket.receive_ring(frame_size, options.frames)?;
        let ring = FrameRing::new(socket, frame_size, frames)?;
        let brings_outgoing = ring.socket.start(options)?;
        Ok(PacketReceiver::over(ring, options.port, brings_outgoing))
    }

    fn over(ring: FrameRing, port: u8, brings_outgoing: bool) -> PacketReceiver {
        PacketReceiver {
            memory: ring.mapping.region(),
            ring,
            region: 0,
            port,
            brings_outgoing,
            until_statistics: STATISTICS_INTERVAL,
            held: 0,
            unseen: 0,
            from: 0,
            successor: Arc::default(),
            counters: Arc::default(),
            ledger: Ledger::default(),
        }
    }

    /// A receiver over the ring that another process made on this socket.
    pub(super) fn attach(
        socket: Socket,
        sizes: Sizes,
        port: u8,
    ) -> Result<PacketReceiver, OpenError> {
        let ring = FrameRing::new(socket, sizes.frame_size, sizes.receive_frames)?;
        Ok(PacketReceiver::over(ring, port, sizes.brings_outgoing))
    }

    /// Watches the interface of both halves, which `options` opened.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn presence(
        &self,
        transmitter: &PacketTransmitter,
        options: &Options,
    ) -> Result<Presence, OpenError> {
        let (receive, transmit) = (self.ring.socket.copy()?, transmitter.ring.socket.copy()?);
        let mut presence = Presence::new(receive, Some(transmit), options);
        let (frame_size, frames) = (self.ring.frame_size, self.ring.frames);
        let opens = move |name: &str| {
            let fresh = Socket::open(name)?;
            if fresh.frame_size() > frame_size {
                return Err(fresh.too_large());
            }
            fresh.receive_ring(frame_size, frames)?;
            Ok(fresh)
        };
        presence.replaces(&self.successor, Box::new(opens));
        let counters = [&self.counters, &transmitter.counters];
        presence.count_at(counters.map(Arc::clone).to_vec());
        Ok(presence)
    }

    /// Socket and sizes of the ring, to hand over.
    pub(super) fn shared(&self) -> (&Socket, u32, u32, bool) {
        let ring = &self.ring;
        (
            &ring.socket,
            ring.frame_size,
            ring.frames,
            self.brings_outgoing,
        )
    }

    /// Notes that the frame at hand is taken, after its status says so.
    fn note(&mut self, other: u64) {
        self.ring.advance();
        self.ledger.advance(1, other);
    }

    /// Goes on with the socket that takes this one's place, once none of the old ring's frames is
    /// out: the new ring comes to lie where the old one did.
    #[cold]
    fn succeed(&mut self) {
        if self.held > 0 {
            return;
        }
        // SAFETY: no frame of the ring is held, so nobody has a reference into it, and this half,
        // which alone looks at its status words, does not do so meanwhile.
        let replace = |fd: BorrowedFd<'_>| unsafe { self.ring.mapping.replace(fd) };
        if let Some(socket) = self.successor.take_if(replace) {
            self.ring.socket = socket;
            self.unseen = 0;
            self.ledger.skip_to_start(u64::from(self.ring.frames));
            self.ring.go_to(self.ledger.position());
        }
    }

    /// Name of the interface.
    pub fn interface(&self) -> &str {
        self.ring.socket.interface()
    }

    /// Adds what the kernel lost since the last look; a system call.
    pub fn read_statistics(&self) {
        let missed = u64::from(self.ring.socket.missed());
        self.counters.add(PortCounter::Missed, missed);
    }

    /// Whether the frame was sent on this interface, by us or by others of this host.
    fn is_outgoing(&self, frame: u32) -> bool {
        let at = self.ring.at(frame) + field::PACKET_TYPE;
        let kind = self.memory.bytes(at as u64, 1);
        kind == [OUTGOING]
    }

    /// Where the frame's bytes lie, made whole. `None` if the ring's frame did not hold them.
    fn whole_frame(&self, frame: u32, status: u32) -> Option<Span> {
        let captured = self.ring.load(frame, field::CAPTURED);
        let before = self.ring.load(frame, field::MAC) & 0xffff;
        let end = captured + before;
        if captured < self.ring.load(frame, field::LENGTH) || end > self.ring.frame_size {
            return None;
        }
        let span = Span {
            offset: self.ring.at(frame) as u64 + u64::from(before),
            length: captured,
            region: self.region,
        };
        let told = Told {
            status,
            vlan: self.ring.load(frame, field::VLAN),
            before,
        };
        let place = (self.ring.mapping.as_ref(), self.memory.as_ref());
        Some(make_whole(place, &self.counters, told, span))
    }

    /// Gives frames back that a dead engine held, of the next `count` that have not been looked at,
    /// the newest first. While we hold none ourselves.
    pub(super) fn recover(&mut self, count: u32) -> u32 {
        let mut found = 0;
        for _ in 0..count.min(self.unseen) {
            self.unseen -= 1;
            // The last one that was taken first, then backwards; `from` is where that began.
            let frame = (self.from + self.unseen) % self.ring.frames;
            if self.ring.status(frame) & STATUS_TAKEN != 0 {
                self.ring.set_status(frame, libc::TP_STATUS_KERNEL);
                found += 1;
            }
        }
        found
    }
}

impl Receive for PacketReceiver {
    fn register(&mut self, regions: &mut Regions) {
        self.region = regions.add_once(&self.memory);
    }

    fn receive(
        &mut self,
        contexts: &Arena<Context>,
        free: &mut Vec<Handle>,
        burst: &mut Burst,
        limit: usize,
        _now_ns: u64,
    ) -> Received {
        let mut received = Received::default();
        if self.unseen > 0 {
            self.recover(LOOKED_AT_LATER);
        }
        for _ in 0..limit {
            let frame = self.ring.next;
            let status = self.ring.status(frame);
            if status & libc::TP_STATUS_USER == 0 {
                if self.successor.is_there() {
                    self.succeed();
                }
                break;
            }
            let taken = self.ring.taken(self.ledger.position());
            if self.brings_outgoing && self.is_outgoing(frame) {
                self.ring.set_status(frame, taken);
                self.note(1);
                self.ring.set_status(frame, libc::TP_STATUS_KERNEL);
                continue;
            }
            let Some(handle) = free.pop() else {
                received.starved = true;
                self.counters.add(PortCounter::Starved, 1);
                break;
            };
            // Taken before anything is put back into it: a frame that was changed is never delivered
            // a second time, to whoever goes on after a crash.
            self.ring.set_status(frame, taken);
            self.note(0);
            let Some(span) = self.whole_frame(frame, status) else {
                free.push(handle);
                self.ring.set_status(frame, libc::TP_STATUS_KERNEL);
                received.too_long += 1;
                continue;
            };
            burst.push(received.frame(contexts, handle, span, |context| {
                context.time_ns = u64::from(self.ring.load(frame, field::SECONDS)) * 1_000_000_000
                    + u64::from(self.ring.load(frame, field::NANOS));
                context.link = LINK_ETHERNET;
                context.port = self.port;
                own(context, Buffer::from_index(frame));
            }));
        }
        self.until_statistics -= 1;
        if self.until_statistics == 0 {
            self.until_statistics = STATISTICS_INTERVAL;
            self.read_statistics();
        }
        received.count_in(&self.counters);
        self.held += received.count as u64;
        self.counters.set_slots_used(self.held);
        received
    }

    fn reclaim(&mut self, context: &mut Context) {
        if let Some(buffer) = context.buffer.take() {
            self.ring
                .set_status(buffer.into_index(), libc::TP_STATUS_KERNEL);
            self.held = self.held.saturating_sub(1);
        }
    }

    fn counters(&self) -> &Arc<PortCounters> {
        &self.counters
    }

    fn keep(&mut self, tally: Tally) {
        tally.replace(0, &mut self.counters, &mut self.ledger);
    }

    fn park(&mut self) {
        self.recover(u32::MAX);
    }

    fn resume(&mut self) {
        self.ring.go_to(self.ledger.position());
    }

    fn take_over(&mut self) {
        self.resume();
        // The frame behind the last one that was noted may have been taken all the same.
        let taken = self.ring.taken(self.ledger.position());
        if self.ring.status(self.ring.next) == taken {
            self.note(0);
        }
        self.from = self.ring.next;
        self.unseen = self.ring.frames;
        self.recover(LOOKED_AT_FIRST);
    }

    fn wait_fd(&mut self) -> Option<RawFd> {
        let waiting = self.ring.status(self.ring.next) & libc::TP_STATUS_USER != 0;
        (!waiting).then(|| self.ring.socket.as_fd().as_raw_fd())
    }
}

/// The transmitting half.
pub struct PacketTransmitter {
    ring: FrameRing,
    /// Frames queued since the last sync.
    queued: u32,
    /// The interface went down at the last sync.
    is_down: bool,
    /// The full ring was synced once in this burst already.
    synced_full: bool,
    counters: Arc<PortCounters>,
    ledger: Ledger,
}

impl PacketTransmitter {
    pub(super) fn open(interface: &str, options: &Options) -> Result<PacketTransmitter, OpenError> {
        let socket = Socket::open(interface)?;
        let frame_size = socket.frame_size();
        let frames = socket.transmit_ring(frame_size, options.frames)?;
        let ring = FrameRing::new(socket, frame_size, frames)?;
        ring.socket.bind(0)?;
        Ok(PacketTransmitter::over(ring))
    }

    fn over(ring: FrameRing) -> PacketTransmitter {
        PacketTransmitter {
            ring,
            queued: 0,
            is_down: false,
            synced_full: false,
            counters: Arc::default(),
            ledger: Ledger::default(),
        }
    }

    /// A transmitter over the ring that another process made on this socket.
    pub(super) fn attach(socket: Socket, sizes: Sizes) -> Result<PacketTransmitter, OpenError> {
        let ring = FrameRing::new(socket, sizes.frame_size, sizes.transmit_frames)?;
        Ok(PacketTransmitter::over(ring))
    }

    /// Socket and frames of the ring, to hand over.
    pub(super) fn shared(&self) -> (&Socket, u32) {
        (&self.ring.socket, self.ring.frames)
    }

    fn is_free(&self, frame: u32) -> bool {
        let status = self.ring.status(frame);
        status & (libc::TP_STATUS_SEND_REQUEST | libc::TP_STATUS_SENDING) == 0
    }

    fn start(&mut self) {
        self.counters.set_slots_used(u64::from(self.queued));
        self.queued = 0;
        self.is_down = self.ring.socket.send();
        self.counters.add(PortCounter::Syncs, 1);
        self.counters
            .add(PortCounter::Down, u64::from(self.is_down));
    }

    fn queue(&mut self, frame: &[u8], built: bool) -> Result<(), Reason> {
        if frame.len() > self.ring.socket.frame_length_max() as usize {
            self.counters.add(PortCounter::TooLong, 1);
            return Err(Reason::PortFrameTooLong);
        }
        let next = self.ring.next;
        if !self.is_free(next) && !self.synced_full {
            self.synced_full = true;
            self.start();
        }
        if !self.is_free(next) {
            self.counters.add(PortCounter::RingFull, 1);
            return Err(match self.is_down {
                true => Reason::PortTxDown,
                false => Reason::PortTxFull,
            });
        }
        let at = self.ring.at(next);
        self.ring.mapping.write(at + field::SEND_DATA, frame);
        self.ring
            .mapping
            .word(at + field::LENGTH)
            .store(frame.len() as u32, Ordering::Relaxed);
        let number = self.ledger.position() as u32;
        let stamp = self.ring.mapping.word(at + field::NUMBER);
        stamp.store(number, Ordering::Relaxed);
        self.ring.set_status(next, libc::TP_STATUS_SEND_REQUEST);
        self.ring.advance();
        self.ledger.advance(1, u64::from(built));
        self.queued += 1;
        self.counters.add(PortCounter::Packets, 1);
        self.counters.add(PortCounter::Bytes, frame.len() as u64);
        Ok(())
    }
}

impl Transmit for PacketTransmitter {
    fn register(&mut self, _regions: &mut Regions) {}

    fn transmit(&mut self, context: &mut Context, regions: &Regions) -> Result<(), Reason> {
        let frame = regions.bytes(context.span);
        self.queue(frame, false)?;
        self.counters.add(PortCounter::Copied, 1);
        self.counters
            .add(PortCounter::CopiedBytes, frame.len() as u64);
        Ok(())
    }

    fn send_copy(&mut self, frame: &[u8]) -> Result<(), Reason> {
        self.queue(frame, true)
    }

    fn sync(&mut self) {
        self.synced_full = false;
        if self.queued > 0 {
            self.start();
        }
    }

    fn room(&mut self) -> usize {
        if self.is_down {
            return usize::MAX;
        }
        // Frames are freed in order, so the free ones behind `next` are found from both ends; to
        // know of a half is enough for a burst, and cheap.
        let frames = self.ring.frames;
        let ahead = |count: u32| (self.ring.next + count - 1) % frames;
        let mut count = frames / 2;
        while count > 0 && !self.is_free(ahead(count)) {
            count /= 2;
        }
        count as usize
    }

    fn is_drained(&mut self) -> bool {
        self.start();
        (0..self.ring.frames).all(|frame| self.is_free(frame))
    }

    fn keep(&mut self, tally: Tally) {
        tally.replace(0, &mut self.counters, &mut self.ledger);
    }

    fn resume(&mut self) {
        self.ring.go_to(self.ledger.position());
        self.synced_full = false;
        self.queued = 0;
    }

    fn take_over(&mut self) {
        self.resume();
        let number = self.ledger.position() as u32;
        let next = self.ring.next;
        if !self.is_free(next) && self.ring.load(next, field::NUMBER) == number {
            self.ring.advance();
            self.ledger.advance(1, 0);
        }
        // What the dead one queued goes out now, once: the kernel has each frame's status.
        self.start();
    }

    fn counters(&self) -> &Arc<PortCounters> {
        &self.counters
    }
}
