//! Memory that several workers share, and the move-only tokens that say who may touch what.
//!
//! Three kinds live here: *regions* (bytes of a port or of a pool, read through a `Span`), the
//! *arena* of contexts (touched through a `Handle`), and *block pools* (written through a `Block`).
//! A token is minted once, at start, and moves with the work: port → decode → flow → match →
//! verdict → back. Who holds the token owns the bytes; that is the whole protocol, and the queues
//! (queue.rs) are its only way between threads. Invariant: nothing here allocates after start.

use std::cell::UnsafeCell;
use std::sync::Arc;

// ---------------------------------------------------------------------------------------------
// Handles and the arena
// ---------------------------------------------------------------------------------------------

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

    /// The bytes of a span; empty where the span names no region.
    pub fn bytes(&self, span: Span) -> &[u8] {
        match self.list.get(usize::from(span.region)) {
            Some(region) => region.bytes(span.offset, span.length),
            None => &[],
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Buffers of ports
// ---------------------------------------------------------------------------------------------

/// The right to one buffer of a port's region, by index. Move-only: who holds it alone may put it
/// into a slot, so that a buffer can never stand in two slots.
#[derive(PartialEq, Eq, Debug)]
pub struct Buffer(u32);

impl Buffer {
    /// The buffer's index, to be written into a slot.
    pub(crate) fn into_index(self) -> u32 {
        self.0
    }

    /// The buffer that a slot (or a kernel's list) gave up. Turning one index into two buffers
    /// breaks conservation, which the rings' audits find; hence `pub(crate)`, for ports alone.
    pub(crate) fn from_index(index: u32) -> Buffer {
        Buffer(index)
    }
}

/// Where a context keeps the buffer that it owns, if it owns one. A clone owns none.
#[derive(PartialEq, Eq, Debug)]
pub struct BufferPlace(u32);

impl BufferPlace {
    const EMPTY: u32 = u32::MAX;

    /// Takes the buffer out.
    pub fn take(&mut self) -> Option<Buffer> {
        match std::mem::replace(&mut self.0, BufferPlace::EMPTY) {
            BufferPlace::EMPTY => None,
            index => Some(Buffer(index)),
        }
    }

    /// Puts a buffer in; gives back the one that was there.
    pub fn put(&mut self, buffer: Buffer) -> Option<Buffer> {
        let before = self.take();
        self.0 = buffer.into_index();
        before
    }

    /// Whether a buffer is in it.
    pub fn is_full(&self) -> bool {
        self.0 != BufferPlace::EMPTY
    }

    /// Index of the buffer in it, for audits.
    pub fn index(&self) -> Option<u32> {
        self.is_full().then_some(self.0)
    }
}

impl Default for BufferPlace {
    fn default() -> BufferPlace {
        BufferPlace(BufferPlace::EMPTY)
    }
}

impl Clone for BufferPlace {
    /// The copy of a context does not own the buffer of the original.
    fn clone(&self) -> BufferPlace {
        BufferPlace::default()
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
}
