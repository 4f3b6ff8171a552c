//! SMB over TCP (MS-SMB, MS-SMB2; NetBIOS session framing of RFC 1002 4.3): records of all three
//! versions, in order, with lost bytes. Here: framing, what streams and what waits until it is
//! whole, and the tables of a flow. What the records mean is smb1.rs's and smb2.rs's; files.rs
//! follows files, pipe.rs the DCERPC on named pipes, calls.rs open exchanges, auth.rs who logs in.
//!
//! Reads and writes of files are taken as they come, whatever their size; every other record waits
//! until it is whole, up to [`RECORD_MAX`] bytes.

mod auth;
mod calls;
mod files;
mod frames;
mod pipe;
mod smb1;
mod smb2;
#[cfg(test)]
mod tests;
mod told;

use super::chunks::Files;
use super::dcerpc::Interfaces;
use super::field::Field;
use super::heap::Heap;
use super::names::Names;
use super::output::{AppEvent, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::table::{Table, guid_words, number, words};
use crate::packet::Direction;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Smb,
    probe,
    over: &[Transport::Tcp],
    fields: &[
        Field::SmbNamedPipe,
        Field::SmbShare,
        Field::SmbNtlmsspUser,
        Field::SmbNtlmsspDomain,
        Field::SmbVersion,
        Field::SmbFilename,
        Field::SmbAccess,
        Field::SmbSetInfoClass,
        Field::SmbSetInfoLevel,
        Field::SmbRenameFrom,
        Field::SmbRenameTo,
        Field::SmbCommand,
        Field::SmbStatus,
        Field::SmbStatusCode,
        Field::SmbDialect,
        Field::SmbClientDialects,
        Field::SmbSessionId,
        Field::SmbTreeId,
        Field::DcerpcIface,
        Field::DcerpcOpnum,
        Field::DcerpcStubData,
        Field::DcerpcLittleEndian,
        Field::FileData,
        Field::FileName,
        Field::Filesize,
        Field::Filemd5,
        Field::Filesha1,
        Field::Filesha256,
        Field::FrameNbssPdu,
        Field::FrameNbssHdr,
        Field::FrameNbssData,
        Field::FrameSmb1Pdu,
        Field::FrameSmb1Hdr,
        Field::FrameSmb1Data,
        Field::FrameSmb2Pdu,
        Field::FrameSmb2Hdr,
        Field::FrameSmb2Data,
        Field::FrameSmb3Pdu,
        Field::FrameSmb3Hdr,
        Field::FrameSmb3Data,
    ],
    events: &[
        "internal_error",
        "malformed_data",
        "record_overflow",
        "malformed_ntlmssp_request",
        "malformed_ntlmssp_response",
        "duplicate_negotiate",
        "negotiate_malformed_dialects",
        "file_overlap",
        "request_to_client",
        "response_to_server",
        "negotiate_max_read_size_too_large",
        "negotiate_max_write_size_too_large",
        "read_request_too_large",
        "read_response_too_large",
        "read_queue_size_exceeded",
        "read_queue_cnt_exceeded",
        "write_request_too_large",
        "write_queue_size_exceeded",
        "write_queue_cnt_exceeded",
        "unusual_ntlmssp_order",
        "too_many_transactions",
    ],
};

/// Places in the list of events.
mod odd {
    use super::{AppEvent, AppProtocol};
    const fn event(place: u8) -> AppEvent {
        AppEvent::of(AppProtocol::Smb, place)
    }
    pub const MALFORMED: AppEvent = event(1);
    pub const RECORD_OVERFLOW: AppEvent = event(2);
    pub const DUPLICATE_NEGOTIATE: AppEvent = event(5);
    pub const MALFORMED_DIALECTS: AppEvent = event(6);
    pub const FILE_OVERLAP: AppEvent = event(7);
    pub const REQUEST_TO_CLIENT: AppEvent = event(8);
    pub const RESPONSE_TO_SERVER: AppEvent = event(9);
    pub const MAX_READ: AppEvent = event(10);
    pub const MAX_WRITE: AppEvent = event(11);
    pub const READ_REQUEST: AppEvent = event(12);
    pub const READ_RESPONSE: AppEvent = event(13);
    pub const READ_QUEUE_SIZE: AppEvent = event(14);
    pub const READ_QUEUE_COUNT: AppEvent = event(15);
    pub const WRITE_REQUEST: AppEvent = event(16);
    pub const WRITE_QUEUE_SIZE: AppEvent = event(17);
    pub const WRITE_QUEUE_COUNT: AppEvent = event(18);
    pub const NTLMSSP_ORDER: AppEvent = event(19);
    pub const TOO_MANY: AppEvent = event(20);
}

/// Bytes of a record that is not a file's and is still kept until it is whole.
pub const RECORD_MAX: usize = 192 << 10;
/// Bytes before a record: type and length (RFC 1002 4.3.1).
const FRAME: usize = 4;
/// Bytes of a record with which it is decided whether it streams.
const DECIDE: usize = 256;
/// The dialect of SMB1 that is still spoken, as events tell it (SMB2's numbers begin at 0x202).
const NT_LM: u16 = 1;
/// Most entries of the tables of a flow; the oldest goes.
const TREES_MAX: usize = 128;
const READS_MAX: usize = 128;
const NAMES_MAX: usize = 256;
const CREATES_MAX: usize = 64;
const HANDLES_MAX: usize = 64;

fn probe(probe: &Probe<'_>) -> Guess {
    let bytes = probe.bytes;
    let Some(kind) = bytes.first() else {
        return Guess::More;
    };
    match kind {
        0 => is_record(bytes),
        // A session request or its answer may come first.
        0x81..=0x85 => {
            let Some(length) = frame_length(bytes) else {
                return Guess::More;
            };
            if length >= 256 {
                return Guess::No;
            }
            match bytes.get(FRAME + length..) {
                Some(next) if next.first() == Some(&0) => is_record(next),
                Some([]) | None => Guess::More,
                Some(_) => Guess::No,
            }
        }
        _ => Guess::No,
    }
}

/// Whether a frame's content begins with the name of a version.
fn is_record(bytes: &[u8]) -> Guess {
    let Some(content) = bytes.get(FRAME..) else {
        return Guess::More;
    };
    let fits = content.iter().zip(b"\xffSMB").enumerate();
    for (place, (byte, wanted)) in fits {
        let version = place == 0 && matches!(byte, 0xfd..=0xff);
        if byte != wanted && !version {
            return Guess::No;
        }
    }
    if content.len() >= 4 {
        Guess::Yes
    } else {
        Guess::More
    }
}

fn frame_length(bytes: &[u8]) -> Option<usize> {
    let [_, a, b, c] = *bytes.first_chunk::<4>()?;
    Some(usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c))
}

/// What an exchange is known by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Key {
    session: u64,
    tree: u32,
    message: u64,
}

impl Key {
    /// Session and message.
    fn words(self) -> [u32; 4] {
        let ([a, b], [c, d]) = (words(self.session), words(self.message));
        [a, b, c, d]
    }

    /// Without the tree: answers that come late do not name it.
    fn untreed(self) -> Key {
        Key { tree: 0, ..self }
    }
}

/// One direction's stream.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    /// Bytes of a file that follow, and the file.
    left: u32,
    file: [u8; 16],
    /// Bytes after them that say nothing.
    skip: u32,
    /// Bytes were lost: a record has to be found first.
    lost: bool,
    /// Parts of the record, as rules may ask for them.
    frames: frames::Frames,
}

/// What was taken of a record.
enum Step {
    Took(usize),
    Need(usize),
}

/// The parser of a flow.
#[derive(Debug, Default)]
pub struct Smb {
    ways: [Way; 2],
    /// `[session 2, tree, flags]`: see `PIPE` and `KNOWN`.
    trees: Table<4>,
    /// Reads that were asked for: `[session 2, message 2, file 4, offset 2]`.
    reads: Table<10>,
    /// Names of open files.
    names: Names,
    /// Names of files that are being opened, by session and message.
    creates: Names,
    /// Pipes that SMB1 transactions speak to: `[session, message, handle]`.
    handles: Table<3>,
    calls: calls::Calls,
    files: Files,
    pieces: pipe::Pieces,
    interfaces: Interfaces,
    max_read: u32,
    max_write: u32,
    /// What was negotiated ([`NT_LM`], SMB2's numbers), 0 before; and of the record at hand.
    dialect: u16,
    status: u32,
    /// Place of `NT LM 0.12` among the dialects of SMB1 that the client speaks, counted from 1.
    nt_lm: u16,
    /// The transaction that was begun last: events without one of their own are its.
    last: TxId,
}

impl Parse for Smb {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let direction = input.direction;
        if input.gap > 0 {
            self.lose(input.gap, direction, out);
        }
        let mut taken = 0;
        // Every round takes bytes.
        loop {
            let rest = input.bytes.get(taken..).unwrap_or(&[]);
            if rest.is_empty() {
                break;
            }
            let passed = self.pass(rest, direction, out);
            if passed > 0 {
                self.frame(rest, passed, direction, out);
                taken += passed;
                continue;
            }
            if self.ways[direction.index()].lost {
                let (skipped, found) = search(rest);
                taken += skipped;
                if !found {
                    return Ok(Taken::all(taken));
                }
                self.ways[direction.index()].lost = false;
                continue;
            }
            match self.record(rest, direction, out) {
                Step::Took(count) => {
                    self.frame(rest, count, direction, out);
                    taken += count;
                }
                Step::Need(need) => {
                    if input.end {
                        break;
                    }
                    return Ok(Taken::until(taken, need));
                }
            }
        }
        if input.end {
            self.give_up(direction, out);
        }
        Ok(Taken::all(taken))
    }

    fn free(&mut self, heap: &mut Heap) {
        self.names.free(heap);
        self.creates.free(heap);
        self.trees.clear(heap);
        self.reads.clear(heap);
        self.handles.clear(heap);
        self.calls.free(heap);
        self.files.free(heap);
        self.pieces.free(heap);
        self.interfaces.clear(heap);
    }
}

impl Smb {
    /// Bytes that belong to a file, or to nothing.
    fn pass(&mut self, bytes: &[u8], direction: Direction, out: &mut Output<'_>) -> usize {
        let way = &mut self.ways[direction.index()];
        if way.left > 0 {
            let count = bytes.len().min(way.left as usize);
            way.left -= count as u32;
            let file = way.file;
            let data = bytes.get(..count).unwrap_or(&[]);
            self.files.data(out, &file, direction, data);
            return count;
        }
        let count = bytes.len().min(way.skip as usize);
        way.skip -= count as u32;
        count
    }

    fn frame(&mut self, bytes: &[u8], count: usize, direction: Direction, out: &mut Output<'_>) {
        let frames = &mut self.ways[direction.index()].frames;
        frames.take(out, direction, bytes.get(..count).unwrap_or(bytes));
    }

    /// `gap` bytes will never be seen.
    fn lose(&mut self, gap: u32, direction: Direction, out: &mut Output<'_>) {
        let way = &mut self.ways[direction.index()];
        let of_file = gap.min(way.left);
        way.left -= of_file;
        let skipped = (gap - of_file).min(way.skip);
        way.skip -= skipped;
        way.lost |= of_file + skipped < gap;
        way.frames.stop(out);
        let (file, lost) = (way.file, way.lost);
        if of_file > 0 {
            self.files.gap(out, &file, direction, of_file);
        }
        if lost {
            self.give_up(direction, out);
        }
    }

    fn record(&mut self, bytes: &[u8], direction: Direction, out: &mut Output<'_>) -> Step {
        let Some(length) = frame_length(bytes) else {
            return Step::Need(FRAME);
        };
        let whole = FRAME + length;
        if bytes.first() != Some(&0) || length < 4 {
            self.ways[direction.index()].skip = length as u32;
            return Step::Took(FRAME);
        }
        if bytes.len() < whole.min(FRAME + DECIDE) {
            return Step::Need(whole.min(FRAME + DECIDE));
        }
        let content = bytes.get(FRAME..whole.min(bytes.len())).unwrap_or(&[]);
        match content.first_chunk::<4>() {
            Some(magic) if magic.get(1..) != Some(b"SMB") => return self.no_record(out, direction),
            Some([0xfe | 0xff, ..]) => {}
            Some([magic @ (0xfd | 0xfc), ..]) => {
                // Encrypted or compressed: nothing to be seen.
                let way = &mut self.ways[direction.index()];
                way.skip = length as u32;
                way.frames.begin(out, *magic, whole);
                return Step::Took(FRAME);
            }
            _ => return self.no_record(out, direction),
        }
        let magic = content.first().copied().unwrap_or(0);
        let step = if let Some(taken) = self.stream(content, length, direction, out) {
            Step::Took(FRAME + taken)
        } else if content.len() == length {
            self.whole(content, direction, out);
            Step::Took(whole)
        } else if length > RECORD_MAX {
            self.odd(out, direction, odd::RECORD_OVERFLOW);
            self.ways[direction.index()].skip = length as u32;
            Step::Took(FRAME)
        } else {
            return Step::Need(whole);
        };
        self.ways[direction.index()].frames.begin(out, magic, whole);
        step
    }

    fn no_record(&mut self, out: &mut Output<'_>, direction: Direction) -> Step {
        self.odd(out, direction, odd::MALFORMED);
        self.ways[direction.index()].lost = true;
        Step::Took(FRAME)
    }

    /// Begins a transfer of a file whose bytes need not be here yet; bytes of the record before
    /// them. `None`: the record has to be whole.
    fn stream(
        &mut self,
        content: &[u8],
        length: usize,
        direction: Direction,
        out: &mut Output<'_>,
    ) -> Option<usize> {
        let is_smb2 = content.first() == Some(&0xfe);
        let transfer = match (is_smb2, direction) {
            (true, Direction::ToServer) => smb2::write_alone(content),
            (true, Direction::ToClient) => self.smb2_read_alone(content, out),
            (false, Direction::ToServer) => smb1::write_alone(content),
            (false, Direction::ToClient) => self.smb1_read_alone(content, out),
        }?;
        let behind = length.checked_sub(transfer.at)?;
        let data = content.get(transfer.at..)?;
        if data.len() < pipe::PROBE.min(behind) {
            return None;
        }
        let route = self.route(out, &transfer, direction, data);
        match route {
            files::Route::File => {}
            files::Route::Pipe => return None,
            files::Route::Nothing => {
                self.settle_read(out, &transfer, direction);
                self.ways[direction.index()].skip = length as u32;
                return Some(0);
            }
        }
        self.settle_read(out, &transfer, direction);
        if transfer.size as usize > behind {
            self.too_large(out, direction);
            self.ways[direction.index()].skip = length as u32;
            return Some(0);
        }
        self.begin_chunk(out, &transfer, direction);
        let way = &mut self.ways[direction.index()];
        way.left = transfer.size;
        way.file = transfer.file;
        way.skip = behind as u32 - transfer.size;
        Some(transfer.at)
    }

    fn too_large(&self, out: &mut Output<'_>, direction: Direction) {
        let event = match direction {
            Direction::ToServer => odd::WRITE_REQUEST,
            Direction::ToClient => odd::READ_RESPONSE,
        };
        self.odd(out, direction, event);
    }

    fn whole(&mut self, content: &[u8], direction: Direction, out: &mut Output<'_>) {
        if content.first() == Some(&0xfe) {
            self.smb2(content, direction, out);
        } else {
            self.smb1(content, direction, out);
        }
    }

    /// An event of the last transaction, or of the flow when that is gone.
    fn odd(&self, out: &mut Output<'_>, direction: Direction, event: AppEvent) {
        if out.transaction(self.last).is_some() {
            tell(out, self.last, event);
        } else {
            out.event(TxId::NONE, direction, event);
        }
    }

    /// A direction ends, or bytes of it were lost: what waits for it gets nothing any more.
    fn give_up(&mut self, direction: Direction, out: &mut Output<'_>) {
        self.calls.give_up(out, direction);
    }
}

/// Tells an event of a transaction. It is one of both directions: rules may ask in either.
fn tell(out: &mut Output<'_>, tx: TxId, event: AppEvent) {
    for direction in [Direction::ToServer, Direction::ToClient] {
        out.event(tx, direction, event);
    }
}

/// Flags of a tree.
const PIPE: u32 = 1;

impl Smb {
    /// Whether a tree is a pipe; `None` if its connect was not seen.
    fn is_pipe(&self, heap: &Heap, key: Key) -> Option<bool> {
        let [low, high] = words(key.session);
        let (_, entry) = self
            .trees
            .find(heap, |t| t[0] == low && t[1] == high && t[2] == key.tree)?;
        Some(entry[3] & PIPE != 0)
    }

    fn put_tree(&mut self, heap: &mut Heap, key: Key, pipe: bool) {
        self.remove_tree(heap, key);
        let [low, high] = words(key.session);
        let entry = [low, high, key.tree, if pipe { PIPE } else { 0 }];
        // Who is pushed out holds nothing.
        let _ = self.trees.push(heap, TREES_MAX, &entry);
    }

    fn remove_tree(&mut self, heap: &mut Heap, key: Key) {
        let [low, high] = words(key.session);
        let same = |t: &[u32; 4]| t[0] == low && t[1] == high && t[2] == key.tree;
        if let Some((place, _)) = self.trees.find(heap, same) {
            let _ = self.trees.remove(heap, place);
        }
    }

    fn put_read(&mut self, heap: &mut Heap, key: Key, file: [u8; 16], offset: u64) {
        let ([a, b], [c, d]) = (words(key.session), words(key.message));
        let [e, f, g, h] = guid_words(file);
        let [i, j] = words(offset);
        let _ = self
            .reads
            .push(heap, READS_MAX, &[a, b, c, d, e, f, g, h, i, j]);
    }

    /// The file and offset that a response answers; `take`: it is answered.
    fn asked(&mut self, heap: &mut Heap, key: Key, take: bool) -> Option<([u8; 16], u64)> {
        let ([a, b], [c, d]) = (words(key.session), words(key.message));
        let (place, entry) = self
            .reads
            .find(heap, |r| [r[0], r[1], r[2], r[3]] == [a, b, c, d])?;
        if take {
            let _ = self.reads.remove(heap, place);
        }
        let file = super::table::guid_bytes([entry[4], entry[5], entry[6], entry[7]]);
        Some((file, number(entry[8], entry[9])))
    }

    /// Copies the name of an open file into `shared.scratch`; whether there is one.
    fn name_of(&self, out: &mut Output<'_>, file: &[u8; 16]) -> bool {
        self.names.copy(out, guid_words(*file))
    }

    /// A file is being opened under a name, which stands in `shared.scratch`.
    fn put_create(&mut self, out: &mut Output<'_>, key: Key) {
        self.creates.put(out, CREATES_MAX, key.words());
    }

    /// The file is open: its name is known from now on.
    fn created(&mut self, out: &mut Output<'_>, key: Key, file: [u8; 16]) {
        if self.creates.copy(out, key.words()) {
            self.creates.remove(out.heap(), key.words());
            self.names.put(out, NAMES_MAX, guid_words(file));
        }
    }
}

/// Copies bytes without their zeros (what Suricata makes of UTF-16) into `shared.scratch`.
fn narrow(out: &mut Output<'_>, bytes: &[u8]) {
    let scratch = &mut out.shared.scratch;
    scratch.clear();
    let bytes = bytes
        .get(..RECORD_MAX.min(super::output::SCRATCH_SIZE))
        .unwrap_or(bytes);
    scratch.extend(bytes.iter().copied().filter(|byte| *byte != 0));
}

/// Looks for a record after lost bytes: bytes of no use, and whether one begins behind them.
fn search(bytes: &[u8]) -> (usize, bool) {
    let mut from = 0;
    while let Some(found) = memchr::memmem::find(bytes.get(from..).unwrap_or(&[]), b"SMB") {
        let name = from + found;
        // The byte before the name says which version, five before it begins the frame.
        if let Some(frame) = name.checked_sub(FRAME + 1)
            && bytes.get(frame) == Some(&0)
            && matches!(bytes.get(name - 1), Some(0xfd..=0xff))
        {
            return (frame, true);
        }
        from = name + 3;
    }
    (
        bytes
            .len()
            .saturating_sub(FRAME + 3)
            .max(from.min(bytes.len())),
        false,
    )
}
