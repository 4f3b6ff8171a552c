//! Memory that several workers share, and the move-only tokens that say who may touch what.
//!
//! Three kinds live here: *regions* (bytes of a port or of a pool, read through a `Span`), the
//! *arena* of contexts (touched through a `Handle`), and *block pools* (written through a `Block`).
//! A token is minted once, at start, and moves with the work: port → decode → flow → match →
//! verdict → back. Who holds the token owns the bytes; that is the whole protocol, and the queues
//! (queue.rs) are its only way between threads. Invariant: nothing here allocates after start.

pub mod between;
mod buffer;
pub mod heap;
pub mod prefetch;
pub mod slab;

use std::cell::UnsafeCell;
use std::ptr::{self, NonNull};
use std::{fmt, fs, io, sync::Arc};

pub use buffer::{Buffer, BufferPlace};

/// Names one record of an [`Arena`]; exactly one handle exists for each record, and it is neither
/// `Copy` nor `Clone`, so holding it is the right to touch the record.
///
/// ```text
///  63            40 39      32 31                             0
///  +---------------+----------+-------------------------------+
///  |    length     |  flags   |            index              |
///  +---------------+----------+-------------------------------+
/// ```
#[derive(PartialEq, Eq, Debug)]
pub struct Handle(u64);

/// Flag: further contexts of the same frame (views) follow this one in the burst.
pub const HANDLE_MORE: u8 = 1;

impl Handle {
    /// Index of the record in its arena.
    pub fn index(&self) -> u32 {
        self.0 as u32
    }

    /// Length of the frame in bytes (24 bits), so that it can be known without the record.
    pub fn length(&self) -> u32 {
        (self.0 >> 40) as u32
    }

    /// Sets the length; longer than 24 bits saturates.
    pub fn set_length(&mut self, length: u32) {
        let length = u64::from(length.min(0xff_ffff));
        self.0 = (self.0 & 0xff_ffff_ffff) | (length << 40);
    }

    /// Whether views of the same frame follow.
    pub fn more(&self) -> bool {
        self.0 >> 32 & u64::from(HANDLE_MORE) != 0
    }

    /// Says whether views of the same frame follow.
    pub fn set_more(&mut self, more: bool) {
        let bit = u64::from(HANDLE_MORE) << 32;
        self.0 = if more { self.0 | bit } else { self.0 & !bit };
    }

    /// The handle as the word that travels in a ring cell (queue.rs).
    pub(crate) fn into_word(self) -> u64 {
        self.0
    }

    /// The handle back from a ring cell.
    ///
    /// # Safety
    /// `word` must come from [`Handle::into_word`] and be turned back once at most.
    pub(crate) unsafe fn from_word(word: u64) -> Handle {
        Handle(word)
    }
}

/// A fixed array of records, each reachable through its one [`Handle`] alone.
pub struct Arena<T> {
    records: Box<[UnsafeCell<T>]>,
}

// SAFETY: a record is reached only through its handle, of which there is one, and which moves
// between threads through rings that publish with release and read with acquire.
unsafe impl<T: Send> Sync for Arena<T> {}

impl<T> Arena<T> {
    /// An arena of `count` records and the handles of all of them, in order.
    pub fn new(count: usize, mut make: impl FnMut() -> T) -> (Arc<Arena<T>>, Vec<Handle>) {
        assert!(count <= u32::MAX as usize, "an arena's index has 32 bits");
        let records = (0..count).map(|_| UnsafeCell::new(make())).collect();
        let handles = (0..count as u64).map(Handle).collect();
        (Arc::new(Arena { records }), handles)
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether the arena has no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The record that the handle names. The handle must be one of this arena's.
    pub fn get(&self, handle: &Handle) -> &T {
        // SAFETY: the only handle of this record is borrowed, so nobody can hold `&mut` to it.
        unsafe { &*self.records[handle.index() as usize].get() }
    }

    /// The record that the handle names, to write. The handle must be one of this arena's.
    #[allow(clippy::mut_from_ref)]
    pub fn get_mut(&self, handle: &mut Handle) -> &mut T {
        // SAFETY: the only handle of this record is borrowed mutably for as long as the result.
        unsafe { &mut *self.records[handle.index() as usize].get() }
    }
}

// ---------------------------------------------------------------------------------------------
// Regions and spans
// ---------------------------------------------------------------------------------------------

/// Place of bytes in a region: which region, where, how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// Byte position in the region.
    pub offset: u64,
    /// Length in bytes.
    pub length: u32,
    /// Index into [`Regions`].
    pub region: u16,
}

/// What keeps a region's bytes alive.
enum Backing {
    Map(#[allow(dead_code)] memmap2::Mmap),
    Shared(#[allow(dead_code)] Box<dyn Send + Sync>),
}

/// Bytes that frames or pooled views lie in. Unmapped when the last user is gone.
pub struct Region {
    base: *const u8,
    length: usize,
    _backing: Backing,
}

// SAFETY: the pointer is to memory that `_backing` keeps mapped; reads follow the token protocol.
unsafe impl Send for Region {}
// SAFETY: as above; `Region` hands out shared reads only.
unsafe impl Sync for Region {}

impl Region {
    /// A region over a file, read in place.
    ///
    /// # Errors
    /// What `mmap` says. A file that another process cuts short while it is read kills the reader
    /// with SIGBUS: captures must not be truncated under us (README says so).
    pub fn map_file(file: &std::fs::File) -> std::io::Result<Region> {
        // SAFETY: the map is private to reads; a concurrent truncation is the documented hazard.
        let map = unsafe { memmap2::MmapOptions::new().map(file)? };
        Ok(Region {
            base: map.as_ptr(),
            length: map.len(),
            _backing: Backing::Map(map),
        })
    }

    /// A region over bytes owned elsewhere.
    ///
    /// # Safety
    /// `base..base + length` stays mapped and readable for as long as `owner` lives, and bytes of
    /// a span are not written while the token that carries the span is in flight.
    pub unsafe fn shared(base: *const u8, length: usize, owner: Box<dyn Send + Sync>) -> Region {
        Region {
            base,
            length,
            _backing: Backing::Shared(owner),
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether the region is empty.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// `length` bytes at `offset`; what lies beyond the region is cut off.
    pub fn bytes(&self, offset: u64, length: u32) -> &[u8] {
        let start = (offset as usize).min(self.length);
        let length = (length as usize).min(self.length - start);
        // SAFETY: in bounds by the two lines above; not written meanwhile by the token protocol
        // (`shared`) or because nobody writes a map of a capture.
        unsafe { std::slice::from_raw_parts(self.base.add(start), length) }
    }
}

/// All regions of a process, by index; fixed at start.
#[derive(Default)]
pub struct Regions {
    list: Vec<Arc<Region>>,
}

impl Regions {
    /// Adds a region before start, and gives its index.
    pub fn add(&mut self, region: Arc<Region>) -> u16 {
        self.list.push(region);
        u16::try_from(self.list.len() - 1).expect("at most 65,536 regions are made at start")
    }

    /// The index of a region that several users share: the first to come adds it.
    pub fn add_once(&mut self, region: &Arc<Region>) -> u16 {
        let known = self
            .list
            .iter()
            .position(|other| Arc::ptr_eq(other, region));
        match known.and_then(|index| u16::try_from(index).ok()) {
            Some(index) => index,
            None => self.add(Arc::clone(region)),
        }
    }

    /// The bytes of a span; empty where the span names no region.
    pub fn bytes(&self, span: Span) -> &[u8] {
        match self.list.get(usize::from(span.region)) {
            Some(region) => region.bytes(span.offset, span.length),
            None => &[],
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Block pools
// ---------------------------------------------------------------------------------------------

/// The right to write (and then to show) one block of a pool. Move-only.
#[derive(PartialEq, Eq, Debug)]
pub struct Block(u32);

impl Block {
    /// The block's number, to be kept in a plain record; see [`Block::from_index`].
    pub fn into_index(self) -> u32 {
        self.0
    }

    /// The block back from a number that [`Block::into_index`] gave. Turning one number into two
    /// blocks breaks the pool's bookkeeping (not memory safety of other pools), hence `pub(crate)`.
    pub(crate) fn from_index(index: u32) -> Block {
        Block(index)
    }
}

/// Fixed-size blocks of bytes for views that no frame holds: reassembled datagrams and stream data
/// that waited for a gap. One worker allocates and frees; others read through spans.
pub struct BlockPool {
    storage: Arc<BlockStorage>,
    free: Vec<Block>,
    region: u16,
}

struct BlockStorage {
    bytes: Box<[UnsafeCell<u8>]>,
    block_size: usize,
}

// SAFETY: a block is written only through its `Block` token, by the pool's one owner, and read by
// others only while the owner keeps the token with the view in flight.
unsafe impl Sync for BlockStorage {}

impl BlockPool {
    /// A pool of `count` blocks of `block_size` bytes, registered as a region.
    pub fn new(count: usize, block_size: usize, regions: &mut Regions) -> BlockPool {
        let bytes = (0..count * block_size)
            .map(|_| UnsafeCell::new(0))
            .collect();
        let storage = Arc::new(BlockStorage { bytes, block_size });
        let base = storage.bytes.as_ptr().cast::<u8>();
        let length = storage.bytes.len();
        // SAFETY: the storage lives as long as the Arc given along; tokens order the accesses.
        let region = unsafe { Region::shared(base, length, Box::new(Arc::clone(&storage))) };
        let region = regions.add(Arc::new(region));
        let free = (0..count as u32).rev().map(Block).collect();
        BlockPool {
            storage,
            free,
            region,
        }
    }

    /// Size of each block in bytes.
    pub fn block_size(&self) -> usize {
        self.storage.block_size
    }

    /// Free blocks.
    pub fn available(&self) -> usize {
        self.free.len()
    }

    /// Takes a block, or `None` when all are in use.
    pub fn take(&mut self) -> Option<Block> {
        self.free.pop()
    }

    /// Gives a block back.
    pub fn give(&mut self, block: Block) {
        debug_assert!(!self.free.contains(&block), "a block is given back once");
        self.free.push(block);
    }

    /// The block's bytes, to fill.
    pub fn bytes_mut(&mut self, block: &mut Block) -> &mut [u8] {
        let start = block.0 as usize * self.storage.block_size;
        let cells = &self.storage.bytes[start..start + self.storage.block_size];
        // SAFETY: the block's one token is borrowed mutably, so no span of it is being read.
        unsafe {
            std::slice::from_raw_parts_mut(cells.as_ptr().cast_mut().cast::<u8>(), cells.len())
        }
    }

    /// The block's bytes.
    pub fn bytes(&self, block: &Block) -> &[u8] {
        let start = block.0 as usize * self.storage.block_size;
        let cells = &self.storage.bytes[start..start + self.storage.block_size];
        // SAFETY: the block's token is borrowed, so nobody writes.
        unsafe { std::slice::from_raw_parts(cells.as_ptr().cast::<u8>(), cells.len()) }
    }

    /// Where `length` bytes at `at` of the block lie, for a view's context.
    pub fn span(&self, block: &Block, at: usize, length: usize) -> Span {
        debug_assert!(at + length <= self.storage.block_size);
        Span {
            offset: (block.0 as usize * self.storage.block_size + at) as u64,
            length: length as u32,
            region: self.region,
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Huge pages
// ---------------------------------------------------------------------------------------------
//
// What is needed once, at start, and for good (the flow table, pools): mmap(2) with MAP_HUGETLB, or
// madvise(2) with MADV_HUGEPAGE, or 4 KiB pages, all of it touched. See the kernel's
// Documentation/admin-guide/mm/{hugetlbpage,transhuge}.rst.

/// Size of one huge page, bytes.
pub const HUGE_PAGE_SIZE: usize = 2 << 20;
/// Size of one ordinary page, bytes.
pub const SMALL_PAGE_SIZE: usize = 4 << 10;

/// Mappings up to this size, bytes, stand on ordinary pages whatever the wish: a second-level TLB
/// covers them anyhow, and to ask the kernel which pages it gave (smaps) takes longer than to map
/// them, which thousands of small sessions in a test feel.
pub const HUGE_WORTH_SIZE: usize = 4 * HUGE_PAGE_SIZE;

/// The pages a mapping really stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// Reserved 2 MiB pages (MAP_HUGETLB).
    Huge,
    /// 2 MiB pages granted by the kernel on advice (THP), for at least nine tenths of the mapping.
    Transparent,
    /// 4 KiB pages: correct, but random access is about 1.6 times slower.
    Small,
}

impl PageKind {
    /// The slower of two.
    pub fn worse(self, other: PageKind) -> PageKind {
        match (self, other) {
            (PageKind::Small, _) | (_, PageKind::Small) => PageKind::Small,
            (PageKind::Transparent, _) | (_, PageKind::Transparent) => PageKind::Transparent,
            _ => PageKind::Huge,
        }
    }

    /// What the start message says: the kind, and what could not be had.
    pub fn start_text(self) -> &'static str {
        match self {
            PageKind::Huge => "reserved 2 MiB pages",
            PageKind::Transparent => "transparent 2 MiB pages (too few are reserved; as fast)",
            PageKind::Small => {
                "4 KiB pages: no 2 MiB pages were to be had, look-ups are up to 1.6 times slower \
                 [hint] vm.nr_hugepages, /sys/kernel/mm/transparent_hugepage/enabled"
            }
        }
    }

    /// Name for the start message.
    pub fn name(self) -> &'static str {
        match self {
            PageKind::Huge => "reserved 2 MiB pages",
            PageKind::Transparent => "transparent 2 MiB pages",
            PageKind::Small => "4 KiB pages",
        }
    }
}

/// Which pages to ask for; a kind that is refused falls back to the next one down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageWish {
    /// MAP_HUGETLB, else THP, else 4 KiB.
    Best,
    /// THP, else 4 KiB.
    Transparent,
    /// 4 KiB pages only.
    Small,
}

/// Why memory could not be had; all sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryError {
    /// More was planned than the machine (or our control group) has left.
    TooMuch {
        what: &'static str,
        planned: usize,
        available: usize,
    },
    /// The kernel refused the mapping itself.
    Refused {
        what: &'static str,
        planned: usize,
        available: usize,
        errno: i32,
    },
    /// The plan does not fit the room's index type.
    Unplannable {
        what: &'static str,
        planned: usize,
        limit: usize,
    },
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            MemoryError::TooMuch {
                what,
                planned,
                available,
            } => write!(
                f,
                "{what} needs {} MiB, {} MiB are available [hint] lower its maximum or add memory",
                planned >> 20,
                available >> 20
            ),
            MemoryError::Refused {
                what,
                planned,
                available,
                errno,
            } => write!(
                f,
                "{what}: the kernel refused {} MiB ({} MiB available): {} [hint] see ulimit -v, -l",
                planned >> 20,
                available >> 20,
                io::Error::from_raw_os_error(errno)
            ),
            MemoryError::Unplannable {
                what,
                planned,
                limit,
            } => {
                write!(
                    f,
                    "{what}: {planned} asked for, {limit} is the most it can hold"
                )
            }
        }
    }
}

impl std::error::Error for MemoryError {}

/// One zeroed, pre-faulted mapping, aligned to 2 MiB. Unmapped on drop.
#[derive(Debug)]
pub struct HugePages {
    start: NonNull<u8>,
    len: usize,
    kind: PageKind,
}

// SAFETY: the mapping is private to this value and not tied to a thread; access is governed by
// whoever holds the raw pointer it hands out.
unsafe impl Send for HugePages {}
// SAFETY: as above; `&HugePages` gives out only addresses and sizes.
unsafe impl Sync for HugePages {}

impl HugePages {
    /// Maps `len` bytes (rounded up to 2 MiB) for `what`, zeroed and touched.
    pub fn map(what: &'static str, len: usize, wish: PageWish) -> Result<HugePages, MemoryError> {
        HugePages::map_within(what, len, wish, available_bytes())
    }

    /// As [`HugePages::map`], with the bytes that may be used given by the caller.
    pub fn map_within(
        what: &'static str,
        len: usize,
        wish: PageWish,
        available: usize,
    ) -> Result<HugePages, MemoryError> {
        let planned = len
            .max(1)
            .div_ceil(HUGE_PAGE_SIZE)
            .saturating_mul(HUGE_PAGE_SIZE);
        let wish = if planned <= HUGE_WORTH_SIZE {
            PageWish::Small
        } else {
            wish
        };
        if wish == PageWish::Best
            && let Some(start) = map_reserved(planned)
        {
            let mut pages = HugePages {
                start,
                len: planned,
                kind: PageKind::Huge,
            };
            pages.touch(HUGE_PAGE_SIZE);
            return Ok(pages);
        }
        if planned > available {
            return Err(MemoryError::TooMuch {
                what,
                planned,
                available,
            });
        }
        let start = map_aligned(planned).map_err(|errno| MemoryError::Refused {
            what,
            planned,
            available,
            errno,
        })?;
        let advice = if wish == PageWish::Small {
            libc::MADV_NOHUGEPAGE
        } else {
            libc::MADV_HUGEPAGE
        };
        // SAFETY: the range is the mapping just made. A refusal (kernel without THP) is no error:
        // the pages are then small, and `kind` says so.
        unsafe { libc::madvise(start.as_ptr().cast(), planned, advice) };
        let mut pages = HugePages {
            start,
            len: planned,
            kind: PageKind::Small,
        };
        pages.touch(SMALL_PAGE_SIZE);
        if wish != PageWish::Small && transparent_bytes(start.as_ptr() as usize) >= planned / 10 * 9
        {
            pages.kind = PageKind::Transparent;
        }
        Ok(pages)
    }

    /// First byte; 2 MiB aligned.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.start
    }

    /// Size in bytes, a multiple of 2 MiB, never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The pages it stands on.
    pub fn kind(&self) -> PageKind {
        self.kind
    }

    /// Writes one byte a page, so that no page fault is left for the data plane.
    fn touch(&mut self, page_size: usize) {
        for offset in (0..self.len).step_by(page_size) {
            // SAFETY: offset < len, and the mapping is writable and ours alone.
            unsafe { self.start.as_ptr().add(offset).write_volatile(0) };
        }
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        // SAFETY: start and len are exactly one mapping (or the kept middle of one) made by us.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// A MAP_HUGETLB mapping, or None when too few pages are reserved.
fn map_reserved(len: usize) -> Option<NonNull<u8>> {
    map_anonymous(len, libc::MAP_HUGETLB | libc::MAP_HUGE_2MB).ok()
}

/// An ordinary mapping whose start is a multiple of 2 MiB; the overhang is unmapped again.
fn map_aligned(len: usize) -> Result<NonNull<u8>, i32> {
    let whole = len.checked_add(HUGE_PAGE_SIZE).ok_or(libc::ENOMEM)?;
    let mapped = map_anonymous(whole, 0)?;
    let head = mapped.as_ptr().align_offset(HUGE_PAGE_SIZE);
    // SAFETY: head <= HUGE_PAGE_SIZE, so start and end lie within the mapping of len + 2 MiB; the
    // two pieces cut off are page multiples that nobody uses.
    unsafe {
        let start = mapped.as_ptr().add(head);
        if head > 0 {
            libc::munmap(mapped.as_ptr().cast(), head);
        }
        if head < HUGE_PAGE_SIZE {
            libc::munmap(start.add(len).cast(), HUGE_PAGE_SIZE - head);
        }
        Ok(NonNull::new_unchecked(start))
    }
}

fn map_anonymous(len: usize, flags: i32) -> Result<NonNull<u8>, i32> {
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing of ours.
    let mapped = unsafe {
        libc::mmap(
            ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags,
            -1,
            0,
        )
    };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::ENOMEM));
    }
    NonNull::new(mapped.cast()).ok_or(libc::ENOMEM)
}

/// Bytes of reserved 2 MiB pages that nobody has taken; 0 if the kernel tells none.
pub fn reserved_bytes() -> usize {
    fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
        .ok()
        .and_then(|text| text.trim().parse::<usize>().ok())
        .map_or(0, |pages| pages.saturating_mul(HUGE_PAGE_SIZE))
}

/// Bytes that can still be taken without swapping: MemAvailable, or the rest of our control group
/// when that is less. usize::MAX if the kernel tells neither.
pub fn available_bytes() -> usize {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| kib_field(&text, "MemAvailable:"))
        .unwrap_or(usize::MAX);
    let number = |path| fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    let group = match (
        number("/sys/fs/cgroup/memory.max"),
        number("/sys/fs/cgroup/memory.current"),
    ) {
        (Some(max), Some(current)) => max.saturating_sub(current),
        _ => usize::MAX,
    };
    machine.min(group)
}

/// Bytes of the mapping at `start` that stand on transparent huge pages, by /proc/self/smaps.
fn transparent_bytes(start: usize) -> usize {
    let Ok(text) = fs::read_to_string("/proc/self/smaps") else {
        return 0;
    };
    let mut inside = false;
    for line in text.lines() {
        let first = line.split_ascii_whitespace().next().unwrap_or("");
        if let Some((low, high)) = first.split_once('-')
            && let (Ok(low), Ok(high)) = (
                usize::from_str_radix(low, 16),
                usize::from_str_radix(high, 16),
            )
        {
            // Neighbouring mappings may have been merged, so `start` need not be the first byte.
            inside = (low..high).contains(&start);
        } else if inside && first == "AnonHugePages:" {
            return kib_field(line, "AnonHugePages:").unwrap_or(0);
        }
    }
    0
}

/// The value in bytes of a "Name:   123 kB" line.
fn kib_field(text: &str, name: &str) -> Option<usize> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kib: usize = line
        .get(name.len()..)?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_keeps_length_flag_and_index_apart() {
        let (_, mut handles) = Arena::new(3, || 0u8);
        let mut handle = handles.pop().unwrap();
        handle.set_length(1514);
        handle.set_more(true);
        assert_eq!(
            (handle.index(), handle.length(), handle.more()),
            (2, 1514, true)
        );
        handle.set_more(false);
        handle.set_length(u32::MAX);
        assert_eq!(
            (handle.index(), handle.length(), handle.more()),
            (2, 0xff_ffff, false)
        );
    }

    #[test]
    fn blocks_are_shown_through_their_region() {
        let mut regions = Regions::default();
        let mut pool = BlockPool::new(2, 8, &mut regions);
        let mut block = pool.take().unwrap();
        pool.bytes_mut(&mut block)[2..4].copy_from_slice(b"ab");
        assert_eq!(regions.bytes(pool.span(&block, 2, 2)), b"ab");
        pool.give(block);
        assert_eq!(pool.available(), 2);
    }

    #[test]
    fn a_span_beyond_its_region_is_cut() {
        let mut regions = Regions::default();
        let pool = BlockPool::new(1, 8, &mut regions);
        let span = Span {
            offset: 6,
            length: 100,
            region: pool.region,
        };
        assert_eq!(regions.bytes(span).len(), 2);
        assert_eq!(
            regions
                .bytes(Span {
                    offset: 0,
                    length: 1,
                    region: 9
                })
                .len(),
            0
        );
    }

    #[test]
    fn a_mapping_is_zeroed_aligned_and_says_its_pages() {
        for wish in [PageWish::Best, PageWish::Transparent, PageWish::Small] {
            let pages = HugePages::map("test", 9 << 20, wish).expect("9 MiB");
            assert_eq!(pages.len(), 10 << 20);
            assert_eq!(pages.as_ptr().as_ptr() as usize % HUGE_PAGE_SIZE, 0);
            // SAFETY: the mapping is ours and 10 MiB long.
            let bytes = unsafe { std::slice::from_raw_parts(pages.as_ptr().as_ptr(), 10 << 20) };
            assert!(bytes.iter().all(|&byte| byte == 0));
            if wish == PageWish::Small {
                assert_eq!(pages.kind(), PageKind::Small);
            }
            assert!(pages.kind().name().contains("pages"));
        }
    }

    #[test]
    fn asking_for_more_than_there_is_fails_with_the_numbers() {
        let error =
            HugePages::map_within("flow table", 10 << 30, PageWish::Transparent, 3 << 30).err();
        let expected = MemoryError::TooMuch {
            what: "flow table",
            planned: 10 << 30,
            available: 3 << 30,
        };
        assert_eq!(error, Some(expected.clone()));
        let text = expected.to_string();
        assert!(
            text.contains("10240 MiB") && text.contains("3072 MiB"),
            "{text}"
        );
    }

    #[test]
    fn a_mapping_beyond_the_machine_is_refused_before_it_is_touched() {
        let error = HugePages::map("flow table", 1 << 46, PageWish::Best).expect_err("64 TiB");
        assert!(matches!(error, MemoryError::TooMuch { planned, .. } if planned == 1 << 46));
    }

    #[test]
    fn kib_fields_are_read_and_broken_ones_are_not() {
        assert_eq!(
            kib_field("A: 1 kB\nMemAvailable:   12 kB\n", "MemAvailable:"),
            Some(12 << 10)
        );
        assert_eq!(kib_field("MemAvailable: x kB\n", "MemAvailable:"), None);
        assert!(available_bytes() > 0);
    }
}
