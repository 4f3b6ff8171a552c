//! Receiving in blocks (TPACKET_V3), for taps: the kernel fills a block with frames of any length
//! and hands it over when it is full or a moment has passed. Fewer status words to touch and no room
//! lost behind short frames, at the price of that moment; inline ports take frames one by one
//! (halves.rs). packet(7), Documentation/networking/packet_mmap.rst.
//!
//! A block is the kernel's again when its last frame has come home. Deliberately absent: a way to
//! hand a ring over to another process; a tap that dies holds up nobody.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::presence::Successor;
use super::whole::{Told, make_whole};
use super::{BLOCK_BYTES, OpenError, Options, Presence, RESERVE, Socket};
use crate::memory::{Arena, Buffer, Handle, Region, Regions, Span};
use crate::packet::{Burst, Context};
use crate::port::ledger::Ledger;
use crate::port::memory::LINK_ETHERNET;
use crate::port::ring::Mapping;
use crate::port::{PortCounter, PortCounters, Receive, Received, Tally, own};

/// Longest time that the kernel keeps a block which is not full, milliseconds: the shortest there
/// is. The kernel rounds it up to its ticks.
const RETIRE_MS: u32 = 1;
/// Bytes of a ring's frame, from which the kernel reckons how many a block holds at least; with
/// blocks no frame is bound to it.
const FRAME_BYTES: u32 = 2048;
/// Longest frame that is taken: an Ethernet header and the longest IP packet, with a tag.
const FRAME_BYTES_MAX: u32 = 65_535 + 18;
/// Receives between two looks at the kernel's drop count.
const STATISTICS_INTERVAL: u32 = 4096;

/// Field positions in a block's header (`struct tpacket_block_desc`).
mod block {
    pub const STATUS: usize = 8;
    pub const FRAMES: usize = 12;
    pub const FIRST_AT: usize = 16;
}

/// Field positions in a frame's header (`struct tpacket3_hdr`).
mod field {
    pub const NEXT: usize = 0;
    pub const SECONDS: usize = 4;
    pub const NANOS: usize = 8;
    pub const CAPTURED: usize = 12;
    pub const LENGTH: usize = 16;
    pub const STATUS: usize = 20;
    /// Position of the frame's first byte (16 bits), then of its network header.
    pub const MAC: usize = 24;
    pub const VLAN: usize = 32;
    /// Tag type, in the lower 16 bits.
    pub const VLAN_KIND: usize = 36;
    /// Packet type, of the address (`struct sockaddr_ll`) behind the header.
    pub const PACKET_TYPE: usize = 48 + 10;
}

const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(libc::tpacket3_hdr, tp_nsec) == field::NANOS);
    assert!(offset_of!(libc::tpacket3_hdr, tp_snaplen) == field::CAPTURED);
    assert!(offset_of!(libc::tpacket3_hdr, tp_len) == field::LENGTH);
    assert!(offset_of!(libc::tpacket3_hdr, tp_status) == field::STATUS);
    assert!(offset_of!(libc::tpacket3_hdr, tp_mac) == field::MAC);
    assert!(
        size_of::<libc::tpacket3_hdr>() + offset_of!(libc::sockaddr_ll, sll_pkttype)
            == field::PACKET_TYPE
    );
    assert!(offset_of!(libc::tpacket_hdr_v1, num_pkts) + block::STATUS == block::FRAMES);
    assert!(
        offset_of!(libc::tpacket_hdr_v1, offset_to_first_pkt) + block::STATUS == block::FIRST_AT
    );
};

/// What is known of a block that the kernel handed over.
#[derive(Clone, Copy, Default)]
struct Held {
    /// Frames that have not come home.
    out: u32,
    /// All of its frames were taken.
    read: bool,
}

/// Where the next frame lies.
#[derive(Clone, Copy, Default)]
struct Cursor {
    block: u32,
    /// Frames of the block that are still to be taken.
    left: u32,
    /// Position of the next one in the mapping.
    at: usize,
}

/// The receiving half of a tap.
pub struct BlockReceiver {
    socket: Socket,
    mapping: Arc<Mapping>,
    memory: Arc<Region>,
    region: u16,
    port: u8,
    blocks: Vec<Held>,
    cursor: Cursor,
    /// The kernel delivers what is sent on the interface, too: it is passed over here.
    brings_outgoing: bool,
    until_statistics: u32,
    /// What takes the socket's place when its interface has been away.
    successor: Arc<Successor>,
    counters: Arc<PortCounters>,
    ledger: Ledger,
}

impl BlockReceiver {
    /// Watches the interface, which `options` opened.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn presence(&self, options: &Options) -> Result<Presence, OpenError> {
        let mut presence = Presence::new(self.socket.copy()?, None, options);
        let count = self.blocks.len() as u32;
        let opens = move |name: &str| BlockReceiver::socket(name, count);
        presence.replaces(&self.successor, Box::new(opens));
        presence.count_at(vec![Arc::clone(&self.counters)]);
        Ok(presence)
    }

    /// Opens an interface for one lane of a tap; nothing is sent on it.
    ///
    /// # Errors
    /// As [`super::open`].
    pub fn open(interface: &str, options: &Options) -> Result<BlockReceiver, OpenError> {
        let count = (options.frames / (BLOCK_BYTES / FRAME_BYTES)).max(4);
        let socket = BlockReceiver::socket(interface, count)?;
        let mapping = Mapping::new(socket.as_fd(), (count * BLOCK_BYTES) as usize)
            .map_err(|error| socket.error("its ring cannot be mapped", &error))?;
        let brings_outgoing = socket.start(options)?;
        Ok(BlockReceiver {
            memory: mapping.region(),
            mapping,
            region: 0,
            port: options.port,
            blocks: vec![Held::default(); count as usize],
            cursor: Cursor::default(),
            brings_outgoing,
            until_statistics: STATISTICS_INTERVAL,
            successor: Arc::default(),
            counters: Arc::default(),
            ledger: Ledger::default(),
            socket,
        })
    }

    /// An unbound socket with a ring of so many blocks.
    fn socket(interface: &str, count: u32) -> Result<Socket, OpenError> {
        let version = libc::tpacket_versions::TPACKET_V3 as libc::c_int;
        let socket = Socket::with_version(interface, version)?;
        socket.option(libc::PACKET_RESERVE, &RESERVE, "no room before frames")?;
        let request = libc::tpacket_req3 {
            tp_block_size: BLOCK_BYTES,
            tp_block_nr: count,
            tp_frame_size: FRAME_BYTES,
            tp_frame_nr: count * (BLOCK_BYTES / FRAME_BYTES),
            tp_retire_blk_tov: RETIRE_MS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        socket.option(libc::PACKET_RX_RING, &request, "its ring cannot be made")?;
        Ok(socket)
    }

    /// Goes on with the socket that takes this one's place, once none of the old ring's frames is
    /// out: the new ring comes to lie where the old one did.
    #[cold]
    fn succeed(&mut self) {
        if self.blocks.iter().any(|held| held.out > 0) {
            return;
        }
        // SAFETY: no frame of the ring is out, so nobody has a reference into it, and this half,
        // which alone looks at its status words, does not do so meanwhile.
        let replace = |fd: BorrowedFd<'_>| unsafe { self.mapping.replace(fd) };
        if let Some(socket) = self.successor.take_if(replace) {
            self.socket = socket;
            self.cursor = Cursor::default();
            self.blocks.fill(Held::default());
        }
    }

    /// Name of the interface.
    pub fn interface(&self) -> &str {
        self.socket.interface()
    }

    /// Adds what the kernel lost since the last look; a system call.
    pub fn read_statistics(&self) {
        let missed = u64::from(self.socket.missed());
        self.counters.add(PortCounter::Missed, missed);
    }

    fn load(&self, at: usize, field: usize) -> u32 {
        self.mapping.word(at + field).load(Ordering::Relaxed)
    }

    fn status(&self, block: u32) -> u32 {
        let word = self
            .mapping
            .word((block * BLOCK_BYTES) as usize + block::STATUS);
        word.load(Ordering::Acquire)
    }

    fn give_back(&self, block: u32) {
        let word = self
            .mapping
            .word((block * BLOCK_BYTES) as usize + block::STATUS);
        word.store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }

    /// Whether a frame waits; goes on to the next block when this one is read.
    fn is_waiting(&mut self) -> bool {
        if self.cursor.left > 0 {
            return true;
        }
        let block = self.cursor.block;
        // A block that we still hold frames of has gone round the whole ring: the kernel waits too.
        let is_held = self.blocks.get(block as usize).is_none_or(|held| held.read);
        if is_held || self.status(block) & libc::TP_STATUS_USER == 0 {
            return false;
        }
        let at = (block * BLOCK_BYTES) as usize;
        self.cursor.left = self.load(at, block::FRAMES);
        self.cursor.at = at + self.load(at, block::FIRST_AT) as usize;
        if self.cursor.left == 0 {
            self.read();
        }
        self.cursor.left > 0
    }

    /// The block at hand is read to its end.
    fn read(&mut self) {
        let block = self.cursor.block;
        self.cursor.block = match (block + 1) as usize == self.blocks.len() {
            true => 0,
            false => block + 1,
        };
        if let Some(held) = self.blocks.get_mut(block as usize) {
            held.read = true;
        }
        self.settle(block);
    }

    /// Gives a block back that is read and of which nothing is out.
    fn settle(&mut self, block: u32) {
        if let Some(held) = self.blocks.get_mut(block as usize)
            && held.read
            && held.out == 0
        {
            held.read = false;
            self.give_back(block);
        }
    }

    /// Passes over the frame at hand; gives where it lies and its block.
    fn pass(&mut self) -> (usize, u32) {
        let Cursor { block, left, at } = self.cursor;
        self.cursor.left = left - 1;
        self.cursor.at = at + self.load(at, field::NEXT) as usize;
        (at, block)
    }

    /// Where the bytes of the frame at `at` lie, made whole. `None` if it is cut or too long.
    fn whole_frame(&self, at: usize) -> Option<Span> {
        let captured = self.load(at, field::CAPTURED);
        let before = self.load(at, field::MAC) & 0xffff;
        let end = (at as u64 % u64::from(BLOCK_BYTES)) + u64::from(before) + u64::from(captured);
        if captured < self.load(at, field::LENGTH)
            || captured > FRAME_BYTES_MAX
            || end > u64::from(BLOCK_BYTES)
        {
            return None;
        }
        let span = Span {
            offset: at as u64 + u64::from(before),
            length: captured,
            region: self.region,
        };
        let told = Told {
            status: self.load(at, field::STATUS),
            vlan: self.load(at, field::VLAN) & 0xffff | self.load(at, field::VLAN_KIND) << 16,
            before,
        };
        let place = (self.mapping.as_ref(), self.memory.as_ref());
        Some(make_whole(place, &self.counters, told, span))
    }

    /// Frames of each block that have not come home.
    #[cfg(test)]
    pub(super) fn frames_out(&self) -> Vec<u32> {
        self.blocks.iter().map(|held| held.out).collect()
    }

    fn is_outgoing(&self, at: usize) -> bool {
        self.brings_outgoing
            && self.memory.bytes((at + field::PACKET_TYPE) as u64, 1) == [super::OUTGOING]
    }

    /// Ends the frame at hand: the next one, or the next block.
    fn next(&mut self) {
        if self.cursor.left == 0 {
            self.read();
        }
    }
}

impl Receive for BlockReceiver {
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
        for _ in 0..limit {
            if !self.is_waiting() {
                if self.successor.is_there() {
                    self.succeed();
                }
                break;
            }
            if free.is_empty() {
                received.starved = true;
                self.counters.add(PortCounter::Starved, 1);
                break;
            }
            let (at, block) = self.pass();
            if self.is_outgoing(at) {
                self.ledger.advance(1, 1);
                self.next();
                continue;
            }
            self.ledger.advance(1, 0);
            let Some(span) = self.whole_frame(at) else {
                received.too_long += 1;
                self.next();
                continue;
            };
            let Some(handle) = free.pop() else {
                break;
            };
            burst.push(received.frame(contexts, handle, span, |context| {
                context.time_ns = u64::from(self.load(at, field::SECONDS)) * 1_000_000_000
                    + u64::from(self.load(at, field::NANOS));
                context.link = LINK_ETHERNET;
                context.port = self.port;
                own(context, Buffer::from_index(block));
            }));
            if let Some(held) = self.blocks.get_mut(block as usize) {
                held.out += 1;
            }
            self.next();
        }
        self.until_statistics -= 1;
        if self.until_statistics == 0 {
            self.until_statistics = STATISTICS_INTERVAL;
            self.read_statistics();
        }
        received.count_in(&self.counters);
        self.counters.set_slots_used(u64::from(self.cursor.left));
        received
    }

    fn reclaim(&mut self, context: &mut Context) {
        if let Some(buffer) = context.buffer.take() {
            let block = buffer.into_index();
            if let Some(held) = self.blocks.get_mut(block as usize) {
                held.out = held.out.saturating_sub(1);
            }
            self.settle(block);
        }
    }

    fn counters(&self) -> &Arc<PortCounters> {
        &self.counters
    }

    fn keep(&mut self, tally: Tally) {
        tally.replace(0, &mut self.counters, &mut self.ledger);
    }

    fn wait_fd(&mut self) -> Option<RawFd> {
        (!self.is_waiting()).then(|| self.socket.as_fd().as_raw_fd())
    }
}
