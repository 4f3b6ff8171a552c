//! netmap's kernel interface, API 14 (sys/net/netmap.h of netmap and of FreeBSD): what lies in
//! mapped memory, what is asked by ioctl, and the numbers of both, for Linux and FreeBSD.
//!
//! Layouts are asserted when this is compiled, so no header and no C compiler is needed, and a
//! wrong field is an error at build time. Deliberately absent: every call. Opening, mapping and
//! syncing are the port's (src/port/netmap of Sluice), and so is the syntax of port names, which
//! the kernel does not know either: it takes a bare name (with a pipe's `{id` or `}id`) and the
//! rest as fields of [`Register`].
//!
//! ```text
//!  mapped region:  | netmap_if ... | rings: header, slots ... | buffers ...                |
//!                    ring_ofs[] ─────►  buf_ofs ───────────────► buffer 0, 1, 2, ...
//! ```

#![no_std]
#![forbid(unsafe_code)]

use core::mem::{align_of, offset_of, size_of};

/// The version that requests name. Older kernels than 14 do not know [`NIOCCTRL`].
pub const API: u16 = 14;
/// The oldest version whose structures these are.
pub const API_MIN: u16 = 14;
/// The newest version whose structures these are.
pub const API_MAX: u16 = 15;

/// The device that is opened once for each set of rings.
pub const DEVICE: &str = "/dev/netmap";

/// Bytes of a port's name in a request, its NUL included.
pub const NAME_BYTES: usize = 64;
/// Slots of one frame, at most (`NETMAP_MAX_FRAGS`).
pub const CHAIN_MAX: u32 = 64;
/// Lowest buffer index that a slot may name: 0 and 1 are the kernel's own.
pub const BUFFER_INDEX_MIN: u32 = 2;

/// Flags of a slot (`NS_*`).
pub mod slot {
    /// The buffer index was changed, by us or by the kernel.
    pub const BUF_CHANGED: u16 = 0x0001;
    /// Tell when this slot has been sent.
    pub const REPORT: u16 = 0x0002;
    /// Pass the frame on between NIC and host stack when the slot is released.
    pub const FORWARD: u16 = 0x0004;
    /// A VALE switch does not learn from this frame.
    pub const NO_LEARN: u16 = 0x0008;
    /// The bytes lie at `ptr` of the slot; VALE transmit only.
    pub const INDIRECT: u16 = 0x0010;
    /// The frame goes on in the next slot.
    pub const MOREFRAG: u16 = 0x0020;
    /// Monitors: the frame was transmitted by the port that is watched.
    pub const TXMON: u16 = 0x0040;
}

/// Flags of a ring (`NR_TIMESTAMP`, `NR_FORWARD`).
pub mod ring {
    /// Set the ring's time stamp at every sync.
    pub const TIMESTAMP: u32 = 0x0002;
    /// Slots may carry [`super::slot::FORWARD`].
    pub const FORWARD: u32 = 0x0004;
}

/// What a request asks for (`NETMAP_REQ_*`).
pub mod request {
    /// Bind the descriptor to rings of a port.
    pub const REGISTER: u16 = 1;
    /// Tell sizes of a port.
    pub const PORT_INFO_GET: u16 = 2;
    /// Attach a port to a VALE switch.
    pub const VALE_ATTACH: u16 = 3;
    /// Detach it.
    pub const VALE_DETACH: u16 = 4;
    /// Name the ports of VALE switches.
    pub const VALE_LIST: u16 = 5;
    /// Make a VALE port that stays.
    pub const VALE_NEWIF: u16 = 8;
    /// Delete it.
    pub const VALE_DELIF: u16 = 9;
    /// Tell the pools of a memory region.
    pub const POOLS_INFO_GET: u16 = 12;
}

/// Which rings a descriptor is bound to (`NR_REG_*`).
pub mod mode {
    /// All of the NIC's.
    pub const ALL_NIC: u32 = 1;
    /// The host stack's.
    pub const SW: u32 = 2;
    /// Both.
    pub const NIC_SW: u32 = 3;
    /// One of the NIC's, in both directions.
    pub const ONE_NIC: u32 = 4;
    /// None: memory alone.
    pub const NULL: u32 = 7;
    /// One of the host stack's.
    pub const ONE_SW: u32 = 8;
}

/// Flags of a registration (`NR_*`).
pub mod flag {
    /// Watch what the port transmits.
    pub const MONITOR_TX: u64 = 0x100;
    /// Watch what the port receives.
    pub const MONITOR_RX: u64 = 0x200;
    /// Watch without a copy.
    pub const ZCOPY_MON: u64 = 0x400;
    /// Refuse others the same rings.
    pub const EXCLUSIVE: u64 = 0x800;
    /// Bind receive rings alone.
    pub const RX_RINGS_ONLY: u64 = 0x2000;
    /// Bind transmit rings alone.
    pub const TX_RINGS_ONLY: u64 = 0x4000;
    /// Frames may have a virtio-net header. Never set here.
    pub const ACCEPT_VNET_HDR: u64 = 0x8000;
    /// `poll` receives without being asked to.
    pub const DO_RX_POLL: u64 = 0x1_0000;
    /// `poll` transmits only when asked to.
    pub const NO_TX_POLL: u64 = 0x2_0000;
}

/// A slot of a ring (`struct netmap_slot`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetmapSlot {
    /// Buffer index.
    pub buf_idx: u32,
    /// Bytes of the frame, or of its part.
    pub len: u16,
    /// See [`slot`].
    pub flags: u16,
    /// Address of indirect bytes.
    pub ptr: u64,
}

/// Room for a lock of the application's (`sem`), on cache lines of its own.
#[repr(C, align(128))]
pub struct NetmapSem(pub [u8; 128]);

/// A ring (`struct netmap_ring`); its slots follow.
#[repr(C)]
pub struct NetmapRing {
    /// Distance from this struct to buffer 0, bytes.
    pub buf_ofs: i64,
    /// Slots; any number, not only powers of two. One always stays empty.
    pub num_slots: u32,
    /// Bytes of a buffer.
    pub nr_buf_size: u32,
    /// Number of the ring.
    pub ringid: u16,
    /// 0 transmit, 1 receive.
    pub dir: u16,
    /// First slot of the application's; the application writes.
    pub head: u32,
    /// Where the application wants to be woken; it writes.
    pub cur: u32,
    /// First slot of the kernel's; the kernel writes.
    pub tail: u32,
    /// See [`ring`].
    pub flags: u32,
    /// Time of the last sync: seconds, microseconds.
    pub ts: [i64; 2],
    /// Bits of a slot's `ptr` that are an offset.
    pub offset_mask: u64,
    /// What offsets must be a multiple of.
    pub buf_align: u64,
    /// The application's lock.
    pub sem: NetmapSem,
}

/// What a descriptor is bound to (`struct netmap_if`). The distances of its rings follow, in the
/// order NIC transmit, host transmit, NIC receive, host receive; those that were not asked for
/// are 0, or point to the struct itself.
#[repr(C)]
pub struct NetmapIf {
    /// Name of the interface.
    pub ni_name: [u8; 16],
    /// Version of this interface.
    pub ni_version: u32,
    /// 1: the region is the port's alone.
    pub ni_flags: u32,
    /// Transmit rings of the NIC.
    pub ni_tx_rings: u32,
    /// Receive rings of the NIC.
    pub ni_rx_rings: u32,
    /// First of the extra buffers, 0 for none; each names the next in its first word.
    pub ni_bufs_head: u32,
    /// Transmit rings of the host stack.
    pub ni_host_tx_rings: u32,
    /// Receive rings of the host stack.
    pub ni_host_rx_rings: u32,
    /// Unused.
    pub ni_spare1: [u32; 3],
}

/// Head of every request (`struct nmreq_header`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// [`API`].
    pub version: u16,
    /// See [`request`].
    pub reqtype: u16,
    /// 0.
    pub reserved: u32,
    /// Name of the port, NUL-terminated.
    pub name: [u8; NAME_BYTES],
    /// Address of the first option, 0 for none.
    pub options: u64,
    /// Address of the request's body.
    pub body: u64,
}

impl Header {
    /// A request for a port; `None` where the name is too long. The body is to be set.
    pub fn new(reqtype: u16, port: &str) -> Option<Header> {
        let mut name = [0; NAME_BYTES];
        // The last byte stays NUL.
        name[..NAME_BYTES - 1]
            .get_mut(..port.len())?
            .copy_from_slice(port.as_bytes());
        Some(Header {
            version: API,
            reqtype,
            reserved: 0,
            name,
            options: 0,
            body: 0,
        })
    }
}

/// Body of [`request::REGISTER`] (`struct nmreq_register`): asked for, and answered in place.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Register {
    /// Answer: where the [`NetmapIf`] lies in the region.
    pub offset: u64,
    /// Answer: bytes of the region.
    pub memsize: u64,
    /// Slots of transmit rings; 0 asks for the default.
    pub tx_slots: u32,
    /// Slots of receive rings.
    pub rx_slots: u32,
    /// Transmit rings of the NIC.
    pub tx_rings: u16,
    /// Receive rings of the NIC.
    pub rx_rings: u16,
    /// Transmit rings of the host stack.
    pub host_tx_rings: u16,
    /// Receive rings of the host stack.
    pub host_rx_rings: u16,
    /// Memory region; 0 asks for the port's own.
    pub mem_id: u16,
    /// Ring number for [`mode::ONE_NIC`] and [`mode::ONE_SW`].
    pub ringid: u16,
    /// See [`mode`].
    pub mode: u32,
    /// Extra buffers asked for, and granted.
    pub extra_bufs: u32,
    /// Makes the gap before `flags` a field, so that every byte is written.
    pub pad: u32,
    /// See [`flag`].
    pub flags: u64,
}

/// Body of [`request::PORT_INFO_GET`] (`struct nmreq_port_info_get`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortInfo {
    /// Bytes of the region.
    pub memsize: u64,
    /// Slots of transmit rings.
    pub tx_slots: u32,
    /// Slots of receive rings.
    pub rx_slots: u32,
    /// Transmit rings of the NIC.
    pub tx_rings: u16,
    /// Receive rings of the NIC.
    pub rx_rings: u16,
    /// Transmit rings of the host stack.
    pub host_tx_rings: u16,
    /// Receive rings of the host stack.
    pub host_rx_rings: u16,
    /// Memory region; asked about, and answered.
    pub mem_id: u16,
    /// Unused.
    pub pad: [u16; 3],
}

/// Body of [`request::POOLS_INFO_GET`] (`struct nmreq_pools_info`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolsInfo {
    /// Bytes of the region.
    pub memsize: u64,
    /// Memory region; asked about, and answered.
    pub mem_id: u16,
    /// Unused.
    pub pad: [u16; 3],
    /// Where interfaces lie.
    pub if_pool_offset: u64,
    /// How many fit.
    pub if_pool_objtotal: u32,
    /// Bytes of each.
    pub if_pool_objsize: u32,
    /// Where rings lie.
    pub ring_pool_offset: u64,
    /// How many fit.
    pub ring_pool_objtotal: u32,
    /// Bytes of each.
    pub ring_pool_objsize: u32,
    /// Where buffers lie.
    pub buf_pool_offset: u64,
    /// How many there are.
    pub buf_pool_objtotal: u32,
    /// Bytes of each.
    pub buf_pool_objsize: u32,
}

// Both systems build ioctl numbers from the same parts, but mark "no argument" differently.
const GROUP: u32 = (b'i' as u32) << 8;
const IN_OUT: u32 = 0xc000_0000;
#[cfg(target_os = "freebsd")]
const NO_ARGUMENT: u32 = 0x2000_0000;
#[cfg(not(target_os = "freebsd"))]
const NO_ARGUMENT: u32 = 0;

/// All requests of API 14: `_IOWR('i', 151, struct nmreq_header)`.
pub const NIOCCTRL: u32 = IN_OUT | (size_of::<Header>() as u32) << 16 | GROUP | 151;
/// Sync the transmit rings of a descriptor: `_IO('i', 148)`.
pub const NIOCTXSYNC: u32 = NO_ARGUMENT | GROUP | 148;
/// Sync the receive rings of a descriptor: `_IO('i', 149)`.
pub const NIOCRXSYNC: u32 = NO_ARGUMENT | GROUP | 149;

const _: () = {
    assert!(size_of::<NetmapSlot>() == 16 && offset_of!(NetmapSlot, ptr) == 8);
    assert!(offset_of!(NetmapSlot, len) == 4 && offset_of!(NetmapSlot, flags) == 6);
    assert!(size_of::<NetmapRing>() == 256 && align_of::<NetmapRing>() == 128);
    assert!(offset_of!(NetmapRing, num_slots) == 8 && offset_of!(NetmapRing, nr_buf_size) == 12);
    assert!(offset_of!(NetmapRing, ringid) == 16 && offset_of!(NetmapRing, dir) == 18);
    assert!(offset_of!(NetmapRing, head) == 20 && offset_of!(NetmapRing, cur) == 24);
    assert!(offset_of!(NetmapRing, tail) == 28 && offset_of!(NetmapRing, flags) == 32);
    assert!(offset_of!(NetmapRing, ts) == 40 && offset_of!(NetmapRing, offset_mask) == 56);
    assert!(offset_of!(NetmapRing, buf_align) == 64 && offset_of!(NetmapRing, sem) == 128);
    assert!(size_of::<NetmapIf>() == 56 && offset_of!(NetmapIf, ni_version) == 16);
    assert!(offset_of!(NetmapIf, ni_tx_rings) == 24 && offset_of!(NetmapIf, ni_rx_rings) == 28);
    assert!(offset_of!(NetmapIf, ni_bufs_head) == 32);
    assert!(offset_of!(NetmapIf, ni_host_tx_rings) == 36);
    assert!(offset_of!(NetmapIf, ni_host_rx_rings) == 40);
    assert!(size_of::<Header>() == 88 && offset_of!(Header, name) == 8);
    assert!(offset_of!(Header, options) == 72 && offset_of!(Header, body) == 80);
    assert!(size_of::<Register>() == 56 && offset_of!(Register, tx_slots) == 16);
    assert!(offset_of!(Register, tx_rings) == 24 && offset_of!(Register, mem_id) == 32);
    assert!(offset_of!(Register, ringid) == 34 && offset_of!(Register, mode) == 36);
    assert!(offset_of!(Register, extra_bufs) == 40 && offset_of!(Register, flags) == 48);
    assert!(size_of::<PortInfo>() == 32 && offset_of!(PortInfo, mem_id) == 24);
    assert!(size_of::<PoolsInfo>() == 64 && offset_of!(PoolsInfo, buf_pool_offset) == 48);
    assert!(NIOCCTRL == 0xc058_6997);
    assert!(NIOCTXSYNC & 0xffff == 0x6994 && NIOCRXSYNC & 0xffff == 0x6995);
    // Slots are read as one word: index, length and flags from the low end.
    assert!(cfg!(target_endian = "little"));
};
