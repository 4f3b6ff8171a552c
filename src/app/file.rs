//! Files within transactions: size, hashes and the bytes that go to the store, counted as a parser
//! finds them. A parser begins a file, shows its bytes in order, and ends it; what it was is then an
//! instance of the transaction (`Field::FileInfo`), read by events and by the store.
//!
//! ```text
//!  parser ─► begin_file, file_bytes, end_file ─► growing `file.data` (up to the limit of bodies)
//!                                             ├► hashes, where a rule or a setting asks for them
//!                                             └► outbox: pieces for the writer, if it is stored
//! ```
//! Names of files on disk, and the disk, are eve/'s. Bounded: open files by the pool, pieces that
//! wait by the outbox; what finds no room makes its file `TRUNCATED` and is counted.

use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

use super::field::Field;
use super::heap::Heap;
use super::output::{Growing, Output, Shared, TxId};
use super::protocol::AppProtocol;
use super::record::add_file;
use super::transaction::{Instance, NONE, Transaction};
use crate::packet::Direction;

/// Bytes that wait for the writer at once, of all stored files of a lane.
pub const OUTBOX_BYTES: usize = 1 << 20;
/// Pieces that wait for the writer at once.
pub const OUTBOX_PIECES: usize = 1024;
/// Files of one kind (ended, going on) that an alert tells.
const FILES_TOLD_MAX: usize = 4;
/// Bytes of an encoded [`FileInfo`].
const INFO_SIZE: usize = 96;

/// Names an open file to its parser, together with its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileId(u32);

impl Default for FileId {
    fn default() -> Self {
        FileId::NONE
    }
}

impl FileId {
    /// No file: nobody asks for files, or there was no room.
    pub const NONE: FileId = FileId(NONE);

    /// As a number, for parsers that keep it in the heap.
    pub fn word(self) -> u32 {
        self.0
    }

    /// The file of such a number.
    pub fn of_word(word: u32) -> FileId {
        FileId(word)
    }
}

/// What is asked of files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileSettings {
    /// Each file is an event.
    pub events: bool,
    /// MD5, SHA-1 and SHA-256 are computed of every file (those that rules ask for are anyway).
    pub hashes: [bool; 3],
    /// Files may be stored.
    pub store: bool,
    /// Every file is stored, whatever rules say.
    pub store_all: bool,
    /// Bytes of a file that are stored or hashed at most.
    pub size_max: u64,
}

/// How a file ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum FileState {
    /// It was seen to its end.
    #[default]
    Closed,
    /// It went on beyond a limit, or its end was not seen.
    Truncated,
    /// It goes on (in alerts, which tell of files that have not ended).
    Open,
}

/// A file that is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileInfo {
    /// Its number in the lane, which names it to the store.
    pub number: u64,
    /// Bytes that were seen.
    pub size: u64,
    /// How it ended.
    pub state: FileState,
    /// Bytes were missing in it.
    pub gaps: bool,
    /// Its bytes went to the store.
    pub stored: bool,
    /// Instance that holds its name.
    pub name: Option<u32>,
    /// MD5, of files that were seen whole.
    pub md5: Option<[u8; 16]>,
    /// SHA-1.
    pub sha1: Option<[u8; 20]>,
    /// SHA-256.
    pub sha256: Option<[u8; 32]>,
}

impl FileInfo {
    /// As a `Field::FileInfo` instance.
    pub fn encode(&self) -> [u8; INFO_SIZE] {
        let mut out = [0; INFO_SIZE];
        let flags = u8::from(self.state == FileState::Truncated)
            | u8::from(self.state == FileState::Open) << 6
            | u8::from(self.gaps) << 1
            | u8::from(self.stored) << 2
            | u8::from(self.md5.is_some()) << 3
            | u8::from(self.sha1.is_some()) << 4
            | u8::from(self.sha256.is_some()) << 5;
        out[..8].copy_from_slice(&self.number.to_le_bytes());
        out[8..16].copy_from_slice(&self.size.to_le_bytes());
        out[16..20].copy_from_slice(&self.name.unwrap_or(NONE).to_le_bytes());
        out[20] = flags;
        out[24..40].copy_from_slice(&self.md5.unwrap_or_default());
        out[40..60].copy_from_slice(&self.sha1.unwrap_or_default());
        out[60..92].copy_from_slice(&self.sha256.unwrap_or_default());
        out
    }

    /// Reads a `Field::FileInfo` instance.
    pub fn decode(bytes: &[u8]) -> Option<FileInfo> {
        let bytes: &[u8; INFO_SIZE] = bytes.try_into().ok()?;
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let name = u32::from_le_bytes(bytes.get(16..20)?.try_into().ok()?);
        let flags = bytes[20];
        let has = |bit: u8| flags >> bit & 1 != 0;
        Some(FileInfo {
            number: word(0)?,
            size: word(8)?,
            state: match (has(0), has(6)) {
                (true, _) => FileState::Truncated,
                (false, true) => FileState::Open,
                (false, false) => FileState::Closed,
            },
            gaps: has(1),
            stored: has(2),
            name: (name != NONE).then_some(name),
            md5: bytes[24..40].try_into().ok().filter(|_| has(3)),
            sha1: bytes[40..60].try_into().ok().filter(|_| has(4)),
            sha256: bytes[60..92].try_into().ok().filter(|_| has(5)),
        })
    }

    /// A file in a record: what is known of it, and its name.
    pub fn split(bytes: &[u8]) -> Option<(FileInfo, &[u8])> {
        let (info, name) = bytes.split_at_checked(INFO_SIZE)?;
        Some((FileInfo::decode(info)?, name))
    }
}

/// Adds to a transaction's record its files: those that ended, and those that go on.
pub fn tell_files(transaction: &Transaction, shared: &Shared, out: &mut Vec<u8>) {
    let heap = &shared.heap;
    let mut tell = |info: &FileInfo, direction| {
        let name = info.name.and_then(|place| {
            let instance = transaction.instance(heap, place as usize)?;
            Some(transaction.bytes(heap, &instance))
        });
        add_file(out, direction, &info.encode(), name.unwrap_or(&[]));
    };
    let ended = |instance: &Instance| instance.field == Field::FileInfo;
    for instance in transaction
        .instances(heap)
        .filter(ended)
        .take(FILES_TOLD_MAX)
    {
        if let Some(info) = FileInfo::decode(transaction.bytes(heap, &instance)) {
            tell(&info, instance.direction);
        }
    }
    let mut index = transaction.files;
    for _ in 0..FILES_TOLD_MAX {
        let Some(open) = shared.files.get(index) else {
            break;
        };
        let info = FileInfo {
            number: open.number,
            size: open.size,
            state: FileState::Open,
            gaps: open.gaps,
            stored: open.store,
            name: (open.name != NONE).then_some(open.name),
            ..FileInfo::default()
        };
        tell(&info, open.direction);
        index = open.next;
    }
}

/// A file that goes on.
#[derive(Debug)]
pub(super) struct Open {
    tx: u32,
    direction: Direction,
    growing: Growing,
    number: u64,
    name: u32,
    size: u64,
    gaps: bool,
    truncated: bool,
    store: bool,
    /// What it is has been told.
    told: bool,
    /// Next open file of the same transaction.
    next: u32,
    md5: Md5,
    sha1: Sha1,
    sha256: Sha256,
}

impl Default for Open {
    fn default() -> Self {
        Open {
            tx: NONE,
            direction: Direction::ToServer,
            growing: Growing(NONE),
            number: 0,
            name: NONE,
            size: 0,
            gaps: false,
            truncated: false,
            store: false,
            told: false,
            next: NONE,
            md5: Md5::new(),
            sha1: Sha1::new(),
            sha256: Sha256::new(),
        }
    }
}

/// Bytes of a stored file on their way to the writer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Number of the file.
    pub file: u64,
    /// Where in the file they belong.
    pub offset: u64,
    start: usize,
    length: usize,
}

/// The pieces that wait for the writer.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
}

impl Outbox {
    /// With all the room that it will ever have; none where nothing is stored.
    pub fn new(store: bool) -> Outbox {
        let room = |size: usize| if store { size } else { 0 };
        Outbox {
            bytes: Vec::with_capacity(room(OUTBOX_BYTES)),
            pieces: Vec::with_capacity(room(OUTBOX_PIECES)),
        }
    }

    #[must_use]
    fn push(&mut self, file: u64, offset: u64, bytes: &[u8]) -> bool {
        let full = self.pieces.len() == self.pieces.capacity();
        if full || self.bytes.capacity() - self.bytes.len() < bytes.len() {
            return false;
        }
        self.pieces.push(Piece {
            file,
            offset,
            start: self.bytes.len(),
            length: bytes.len(),
        });
        self.bytes.extend_from_slice(bytes);
        true
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The pieces, in the order in which they came.
    pub fn pieces(&self) -> impl Iterator<Item = (&Piece, &[u8])> {
        self.pieces.iter().map(|piece| {
            let bytes = self.bytes.get(piece.start..piece.start + piece.length);
            (piece, bytes.unwrap_or(&[]))
        })
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.pieces.clear();
    }
}

/// Whether a hash is asked for, by a setting or by rules.
fn hashes(shared: &Shared) -> [bool; 3] {
    let wants = |field: Field| shared.wanted.get(field as usize) == Some(&true);
    let [md5, sha1, sha256] = shared.limits.files.hashes;
    [
        md5 || wants(Field::Filemd5),
        sha1 || wants(Field::Filesha1),
        sha256 || wants(Field::Filesha256),
    ]
}

impl Output<'_> {
    /// Whether anything is done with files.
    pub fn wants_files(&self) -> bool {
        let files = &self.shared.limits.files;
        files.events
            || files.store
            || self.wants(Field::FileData)
            || self.wants(Field::FileMagic)
            || hashes(self.shared) != [false; 3]
    }

    /// Begins a file. Its name, if it has one, is the last `file.name` of the transaction.
    pub fn begin_file(&mut self, tx: TxId, direction: Direction) -> FileId {
        if !self.wants_files() || self.transaction(tx).is_none() {
            return FileId::NONE;
        }
        let name = self.last_name(tx);
        let files = self.shared.limits.files;
        let shown = self.wants(Field::FileData) || self.wants(Field::FileMagic);
        let growing = if files.store || shown {
            self.begin(tx, Field::FileData, direction)
        } else {
            Growing(NONE)
        };
        let asked = self.flow.stores[direction.index()] || files.store_all;
        self.shared.file_number += 1;
        let number = self.shared.file_number;
        let Some(transaction) = self.shared.transactions.get_mut(tx.index) else {
            return FileId::NONE;
        };
        let file = Open {
            tx: tx.index,
            direction,
            growing,
            number,
            name,
            store: files.store && (asked || transaction.stores[direction.index()]),
            next: transaction.files,
            ..Open::default()
        };
        match self.shared.files.take(file) {
            Some(index) => {
                transaction.files = index;
                FileId(index)
            }
            None => {
                self.shared.lost += 1;
                FileId::NONE
            }
        }
    }

    /// The name that was given since the last file began.
    fn last_name(&self, tx: TxId) -> u32 {
        let Some(transaction) = self.transaction(tx) else {
            return NONE;
        };
        let heap = &self.shared.heap;
        for place in (0..transaction.len()).rev() {
            match transaction.instance(heap, place).map(|i| i.field) {
                Some(Field::FileName) => return place as u32,
                Some(Field::FileData | Field::FileInfo) | None => return NONE,
                Some(_) => {}
            }
        }
        NONE
    }

    /// Whether bytes beyond the `kept` first ones matter for the file.
    pub fn file_goes_on(&self, file: FileId) -> bool {
        let all = hashes(self.shared) != [false; 3];
        let open = self.shared.files.get(file.0);
        open.is_some_and(|file| {
            (file.store || all) && !file.truncated && file.size < self.shared.limits.files.size_max
        })
    }

    /// Takes the next bytes of a file; `limit` is how many of the file rules get to see. False: more
    /// bytes would only be counted.
    pub fn file_bytes(&mut self, tx: TxId, file: FileId, limit: usize, bytes: &[u8]) -> bool {
        let [md5, sha1, sha256] = hashes(self.shared);
        let size_max = self.shared.limits.files.size_max;
        let Some(open) = self.shared.files.get_mut(file.0) else {
            return false;
        };
        if open.tx != tx.index {
            return false;
        }
        let offset = open.size;
        open.size = open.size.saturating_add(bytes.len() as u64);
        if md5 {
            open.md5.update(bytes);
        }
        if sha1 {
            open.sha1.update(bytes);
        }
        if sha256 {
            open.sha256.update(bytes);
        }
        let growing = open.growing;
        if open.store && !open.truncated {
            let room = usize::try_from(size_max.saturating_sub(offset)).unwrap_or(usize::MAX);
            let kept = bytes.get(..room).unwrap_or(bytes);
            let queued = self.shared.outbox.push(open.number, offset, kept);
            open.truncated = !queued || kept.len() < bytes.len();
            self.shared.lost += u64::from(!queued);
        }
        if growing.0 != NONE {
            let room = limit.saturating_sub(usize::try_from(offset).unwrap_or(usize::MAX));
            let kept = bytes.get(..room.min(bytes.len())).unwrap_or(&[]);
            if !kept.is_empty() && self.grow(tx, growing, kept) {
                if offset + kept.len() as u64 >= super::magic::BYTES as u64 {
                    tell_kind(self.shared, file.0);
                }
                return true;
            }
        }
        self.file_goes_on(file)
    }

    /// Bytes of it will never be seen.
    pub fn file_gap(&mut self, file: FileId) {
        if let Some(open) = self.shared.files.get_mut(file.0) {
            open.gaps = true;
        }
    }

    /// Rules get to see no more of it, though it may go on.
    pub fn file_full(&mut self, file: FileId) {
        if let Some((tx, growing)) = self.shared.files.get_mut(file.0).map(|open| {
            open.truncated = true;
            (open.tx, open.growing)
        }) && let Some(transaction) = self.shared.transactions.get_mut(tx)
            && growing.0 != NONE
        {
            transaction.end(&mut self.shared.heap, growing.0 as usize);
        }
    }

    /// The file goes on beyond what is looked at.
    pub fn file_cut(&mut self, file: FileId) {
        if let Some(open) = self.shared.files.get_mut(file.0) {
            open.truncated = true;
        }
    }

    /// The file is complete.
    pub fn end_file(&mut self, tx: TxId, file: FileId) {
        let known = self.shared.files.get(file.0);
        if known.is_some_and(|open| open.tx == tx.index) && self.transaction(tx).is_some() {
            finish(self.shared, file.0, FileState::Closed);
        }
    }
}

/// Ends the open files of a transaction in a direction, or in both: their parser will not.
pub(super) fn end_all(shared: &mut Shared, transaction: u32, direction: Option<Direction>) {
    let mut next = shared
        .transactions
        .get(transaction)
        .map_or(NONE, |tx| tx.files);
    // The list is as long as there are open files.
    while let Some(open) = shared.files.get(next) {
        let after = open.next;
        if direction.is_none_or(|direction| direction == open.direction) {
            finish(shared, next, FileState::Truncated);
        }
        next = after;
    }
}

/// Tells what a file is by its first bytes, once, if rules ask for it.
fn tell_kind(shared: &mut Shared, index: u32) {
    if !shared.wants(Field::FileMagic) {
        return;
    }
    let Some(open) = shared.files.get_mut(index).filter(|open| !open.told) else {
        return;
    };
    open.told = true;
    let (tx, growing, direction) = (open.tx, open.growing, open.direction);
    let Some(transaction) = shared.transactions.get_mut(tx) else {
        return;
    };
    let Some(instance) = transaction.instance(&shared.heap, growing.0 as usize) else {
        return;
    };
    let kind = super::magic::describe(transaction.bytes(&shared.heap, &instance));
    let kept = transaction.add(
        &mut shared.heap,
        Field::FileMagic,
        direction,
        kind.as_bytes(),
    );
    shared.lost += u64::from(!kept);
}

fn finish(shared: &mut Shared, index: u32, state: FileState) {
    if shared.files.get(index).is_some_and(|open| open.size > 0) {
        tell_kind(shared, index);
    }
    let wanted = hashes(shared);
    let Some(open) = shared.files.get_mut(index) else {
        return;
    };
    let open = std::mem::take(open);
    let given = shared.files.give_back(index);
    debug_assert!(given, "a file ends once");
    unlink(shared, open.tx, index, open.next);
    let Some(transaction) = shared.transactions.get_mut(open.tx) else {
        return;
    };
    let heap = &mut shared.heap;
    if open.growing.0 != NONE {
        transaction.end(heap, open.growing.0 as usize);
    }
    let state = if open.truncated {
        FileState::Truncated
    } else {
        state
    };
    let whole = state == FileState::Closed && !open.gaps;
    let [md5, sha1, sha256] = wanted.map(|wanted| wanted && whole);
    let info = FileInfo {
        number: open.number,
        size: open.size,
        state,
        gaps: open.gaps,
        stored: open.store,
        name: (open.name != NONE).then_some(open.name),
        md5: md5.then(|| open.md5.finalize().into()),
        sha1: sha1.then(|| open.sha1.finalize().into()),
        sha256: sha256.then(|| open.sha256.finalize().into()),
    };
    let mut kept = transaction.add(heap, Field::FileInfo, open.direction, &info.encode());
    let digests: [(Field, Option<&[u8]>); 3] = [
        (Field::Filemd5, info.md5.as_ref().map(<[u8; 16]>::as_slice)),
        (
            Field::Filesha1,
            info.sha1.as_ref().map(<[u8; 20]>::as_slice),
        ),
        (
            Field::Filesha256,
            info.sha256.as_ref().map(<[u8; 32]>::as_slice),
        ),
    ];
    // The other parsers tell the size themselves, as their bodies grow.
    let sized = matches!(
        transaction.protocol,
        AppProtocol::Smb | AppProtocol::Nfs | AppProtocol::Http2 | AppProtocol::Doh2
    );
    if sized && shared.wanted.get(Field::Filesize as usize) == Some(&true) {
        kept &= transaction.add_number(heap, Field::Filesize, open.direction, info.size);
    }
    for (field, digest) in digests {
        if shared.wanted.get(field as usize) == Some(&true)
            && let Some(digest) = digest
        {
            kept &= transaction.add(heap, field, open.direction, digest);
        }
    }
    shared.lost += u64::from(!kept);
}

/// Takes a file out of its transaction's list.
fn unlink(shared: &mut Shared, transaction: u32, index: u32, next: u32) {
    let Some(tx) = shared.transactions.get_mut(transaction) else {
        return;
    };
    if tx.files == index {
        tx.files = next;
        return;
    }
    let mut at = tx.files;
    while let Some(open) = shared.files.get_mut(at) {
        if open.next == index {
            open.next = next;
            return;
        }
        at = open.next;
    }
}

/// Marks the files of a transaction, those open and those to come, for the store; calls `show` with
/// the number and the bytes so far of each that was not marked yet and whose start is still there.
pub fn store(
    shared: &mut Shared,
    transaction: u32,
    directions: [bool; 2],
    mut show: impl FnMut(u64, &[u8]),
) {
    if !shared.limits.files.store {
        return;
    }
    let Some(tx) = shared.transactions.get_mut(transaction) else {
        return;
    };
    for (known, asked) in tx.stores.iter_mut().zip(directions) {
        *known |= asked;
    }
    let mut next = tx.files;
    while let Some(open) = shared.files.get_mut(next) {
        if directions[open.direction.index()] && !open.store {
            open.store = true;
            let bytes = kept(tx, &shared.heap, open.growing);
            // What was not kept cannot be stored any more.
            open.truncated |= (bytes.len() as u64) < open.size;
            show(open.number, bytes);
        }
        next = open.next;
    }
    store_ended(tx, &mut shared.heap, directions, &mut show);
}

fn kept<'a>(tx: &Transaction, heap: &'a Heap, growing: Growing) -> &'a [u8] {
    match tx.instance(heap, growing.0 as usize) {
        Some(instance) => tx.bytes(heap, &instance),
        None => &[],
    }
}

/// The same for files that have ended already, whose transaction has not been told of yet.
fn store_ended(
    tx: &mut Transaction,
    heap: &mut Heap,
    directions: [bool; 2],
    show: &mut impl FnMut(u64, &[u8]),
) {
    let mut data = None;
    for place in 0..tx.len() {
        let Some(instance) = tx.instance(heap, place) else {
            break;
        };
        match instance.field {
            Field::FileData => data = Some(instance),
            Field::FileInfo if directions[instance.direction.index()] => {
                let info = FileInfo::decode(tx.bytes(heap, &instance));
                let Some(mut info) = info.filter(|info| !info.stored) else {
                    continue;
                };
                let bytes = data.map_or(&[][..], |data| tx.bytes(heap, &data));
                show(info.number, bytes);
                info.stored = true;
                if (bytes.len() as u64) < info.size {
                    info.state = FileState::Truncated;
                }
                tx.overwrite(heap, &instance, &info.encode());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_was_is_read_back() {
        let info = FileInfo {
            number: 1 << 40,
            size: 77,
            state: FileState::Truncated,
            gaps: true,
            stored: true,
            name: Some(3),
            md5: None,
            sha1: Some([1; 20]),
            sha256: Some([2; 32]),
        };
        assert_eq!(FileInfo::decode(&info.encode()), Some(info));
        assert_eq!(FileInfo::decode(b"short"), None);
    }

    #[test]
    fn the_outbox_is_bounded() {
        let mut outbox = Outbox::new(true);
        assert!(outbox.push(1, 0, &[7; OUTBOX_BYTES]));
        assert!(!outbox.push(1, 5, b"x"), "no room");
        outbox.clear();
        for at in 0..OUTBOX_PIECES {
            assert!(outbox.push(2, at as u64, b"x"));
        }
        assert!(!outbox.push(2, 5, b"x"), "no room for another piece");
        assert_eq!(outbox.pieces().count(), OUTBOX_PIECES);
        assert!(!Outbox::new(false).push(1, 0, b"x"), "nothing is stored");
    }
}
