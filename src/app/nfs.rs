//! NFS 2, 3 and 4 (RFC 1094, 1813, 7530) on ONC RPC (RFC 5531), over TCP and UDP. A call and its
//! reply are a transaction; the reads and writes of a file handle are one more, with the file's
//! bytes in order. Of NFS 4 compounds the operations up to the first whose arguments are not known
//! here are told, and their reads and writes.
//!
//! Reads and writes are taken as they come; other records wait until they are whole, up to
//! [`RECORD_MAX`] bytes.

mod entries;
mod frames;
mod told;

use super::chunks::Files;
use super::field::{Field, Progress};
use super::heap::Heap;
use super::names::Names;
use super::output::{AppEvent, Output, TxId};
use super::protocol::{
    AppProtocol, Broken, Description, Guess, Input, Parse, Probe, Taken, Transport,
};
use super::reader::Reader;
use super::settings::Number;
use super::table::{Table, guid_bytes, guid_words, number, tx_of, tx_words, words};
use crate::packet::Direction;

/// See `Description`.
pub const DESCRIPTION: Description = Description {
    protocol: AppProtocol::Nfs,
    probe,
    over: &[Transport::Tcp, Transport::Udp],
    fields: &[
        Field::NfsProcedure,
        Field::NfsCall,
        Field::NfsVersion,
        Field::FileName,
        Field::Filesize,
        Field::Filemd5,
        Field::Filesha1,
        Field::Filesha256,
        Field::FileData,
        Field::FrameNfsRpcPdu,
        Field::FrameNfsRpcHdr,
        Field::FrameNfsRpcData,
        Field::FrameNfsRpcCreds,
        Field::FrameNfsPdu,
        Field::FrameNfsStatus,
        Field::FrameNfs4Pdu,
        Field::FrameNfs4Hdr,
        Field::FrameNfs4Ops,
        Field::FrameNfs4Status,
    ],
    events: &[
        "malformed_data",
        "non_existing_version",
        "unsupported_version",
        "too_many_transactions",
    ],
};

const MALFORMED: AppEvent = AppEvent::of(AppProtocol::Nfs, 0);
const VERSION: AppEvent = AppEvent::of(AppProtocol::Nfs, 1);
const TOO_MANY: AppEvent = AppEvent::of(AppProtocol::Nfs, 3);

/// RPC program of NFS.
const PROGRAM: u32 = 100_003;
const CALL: u32 = 0;
const REPLY: u32 = 1;
/// Bytes of a record that is no file's and is still kept until it is whole.
const RECORD_MAX: usize = 64 << 10;
/// Bytes of a record with which it is decided whether it streams.
const DECIDE: usize = 1024;
/// Most bytes of credentials and verifiers (RFC 5531 8.2).
const AUTH_MAX: u32 = 400;
/// Most bytes of a file handle.
const HANDLE_MAX: usize = 128;
/// Calls that wait for their reply; the oldest is completed.
const CALLS_MAX: usize = 128;
/// Names of handles and of calls that are remembered.
const NAMES_MAX: usize = 512;
const LOOKUPS_MAX: usize = 32;
/// Operations of a compound that are looked at.
const OPERATIONS_MAX: usize = 32;

fn probe(probe: &Probe<'_>) -> Guess {
    let head: &[u8] = match probe.transport {
        Transport::Udp => probe.bytes,
        Transport::Tcp => probe.bytes.get(4..).unwrap_or(&[]),
    };
    // A whole fragment, of two megabytes at most.
    let whole = matches!(probe.bytes, [] | [0x80] | [0x80, 0..=0x1f, ..]);
    if probe.transport == Transport::Tcp && !whole {
        return Guess::No;
    }
    let mut at = Reader::new(head);
    let read = (at.u32(), at.u32(), at.u32(), at.u32(), at.u32());
    match read {
        (_, Some(CALL), Some(2), Some(PROGRAM), Some(2..=4)) => Guess::Yes,
        (_, Some(CALL) | None, Some(2) | None, Some(PROGRAM) | None, None)
            if probe.transport == Transport::Tcp =>
        {
            Guess::More
        }
        _ => Guess::No,
    }
}

/// A read or write whose bytes follow.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    file: [u8; 16],
    offset: u64,
    size: u32,
    /// Where they begin in the record.
    at: usize,
    version: u32,
    procedure: u32,
}

/// A call that waits for its reply.
#[derive(Clone, Copy, Debug)]
struct Call {
    xid: u32,
    version: u32,
    procedure: u32,
    tx: TxId,
    file: [u8; 16],
    offset: u64,
}

impl Call {
    /// Whether it asks for a part of a file.
    fn reads(&self) -> bool {
        matches!((self.version, self.procedure), (2 | 3, 6))
    }

    fn encode(&self) -> [u32; 10] {
        let [tx, serial] = tx_words(self.tx);
        let [a, b, c, d] = guid_words(self.file);
        let [low, high] = words(self.offset);
        let what = self.procedure & 0xffff | self.version << 16;
        [self.xid, what, tx, serial, a, b, c, d, low, high]
    }

    fn decode(w: &[u32; 10]) -> Call {
        Call {
            xid: w[0],
            procedure: w[1] & 0xffff,
            version: w[1] >> 16,
            tx: tx_of(w[2], w[3]),
            file: guid_bytes([w[4], w[5], w[6], w[7]]),
            offset: number(w[8], w[9]),
        }
    }
}

/// One direction's stream.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    left: u32,
    file: [u8; 16],
    skip: u32,
    lost: bool,
}

/// The parser of a flow.
#[derive(Debug, Default)]
pub struct Nfs {
    ways: [Way; 2],
    calls: Table<10>,
    /// Calls without a reply, those that are forgotten among them.
    waiting: u32,
    files: Files,
    /// Names of handles.
    names: Names,
    /// Names that calls ask for, by their number.
    asked: Names,
}

impl Parse for Nfs {
    fn parse(&mut self, input: &Input<'_>, out: &mut Output<'_>) -> Result<Taken, Broken> {
        let (direction, bytes) = (input.direction, input.bytes);
        if input.transport == Transport::Udp {
            self.show_frames(out, direction, bytes, 0);
            self.record(out, direction, bytes, bytes.len());
            self.files_of_datagram(out, direction, bytes);
            return Ok(Taken::all(bytes.len()));
        }
        if input.gap > 0 {
            self.lose(input.gap, direction, out);
        }
        let mut taken = 0;
        // Every round takes bytes.
        loop {
            let rest = bytes.get(taken..).unwrap_or(&[]);
            if rest.is_empty() {
                return Ok(Taken::all(taken));
            }
            let passed = self.pass(rest, direction, out);
            if passed > 0 {
                taken += passed;
                continue;
            }
            if self.ways[direction.index()].lost {
                if !begins(rest) {
                    // The next piece may begin with a record.
                    return Ok(Taken::all(bytes.len()));
                }
                self.ways[direction.index()].lost = false;
            }
            let Some(mark) = Reader::new(rest).u32() else {
                return Ok(Taken::until(taken, 4));
            };
            let length = (mark & 0x7fff_ffff) as usize;
            let decide = 4 + length.min(DECIDE);
            let Some(head) = rest.get(4..decide) else {
                return Ok(Taken::until(taken, decide));
            };
            let content = rest.get(4..4 + length);
            // A record that rules see as a frame is whole, wherever TCP cut it.
            let framed =
                length <= RECORD_MAX && frames::FRAMES.iter().any(|field| out.wants(*field));
            let streams = !framed && transfer_ahead(head).is_some_and(|transfer| transfer);
            if content.is_none() && length <= RECORD_MAX && !streams {
                // Only the reply tells a read from other answers: its call is known.
                let reads = direction == Direction::ToClient && self.reads(out, head).is_some();
                if framed || !reads {
                    return Ok(Taken::until(taken, 4 + length));
                }
            }
            if framed {
                let whole = rest.get(..4 + length).unwrap_or(rest);
                self.show_frames(out, direction, whole, 4);
            }
            let used = self.record(out, direction, content.unwrap_or(head), length);
            let way = &mut self.ways[direction.index()];
            way.skip = (length - used) as u32 - way.left;
            taken += 4 + used;
        }
    }

    fn free(&mut self, heap: &mut Heap) {
        self.calls.clear(heap);
        self.files.free(heap);
        self.names.free(heap);
        self.asked.free(heap);
    }
}

/// Whether a record seems to begin: a whole fragment of some size, a call or a reply.
fn begins(bytes: &[u8]) -> bool {
    let mut at = Reader::new(bytes);
    let (mark, _, kind) = (at.u32(), at.u32(), at.u32());
    let length = mark.map(|mark| mark & 0x7fff_ffff);
    matches!(mark, Some(0x8000_0000..)) && matches!(length, Some(24..=0x20_0000)) && {
        let next = at.u32();
        (kind == Some(CALL) && next == Some(2)) || (kind == Some(REPLY) && next == Some(0))
    }
}

/// The head of a call, up to its arguments: version, procedure, number.
fn call_head<'a>(at: &mut Reader<'a>) -> Option<(u32, u32, u32)> {
    let xid = at.u32()?;
    if at.u32()? != CALL {
        return None;
    }
    let (rpc, program) = (at.u32()?, at.u32()?);
    if rpc != 2 || program != PROGRAM {
        return None;
    }
    let (version, procedure) = (at.u32()?, at.u32()?);
    // Credentials and verifier.
    auth(at)?;
    auth(at)?;
    Some((version, procedure, xid))
}

fn auth(at: &mut Reader<'_>) -> Option<()> {
    at.skip(4)?;
    let length = at.u32().filter(|length| *length <= AUTH_MAX)?;
    at.skip(padded(length))
}

/// Bytes that an opaque value takes (RFC 4506 4.10).
fn padded(length: u32) -> usize {
    (length as usize).div_ceil(4) * 4
}

/// Whether a call is one whose data streams.
fn transfer_ahead(head: &[u8]) -> Option<bool> {
    let mut at = Reader::new(head);
    let (version, procedure, _) = call_head(&mut at)?;
    Some(matches!((version, procedure), (2, 8) | (3, 7)))
}

/// A file handle: what it is known by.
fn handle(at: &mut Reader<'_>, version: u32) -> Option<[u8; 16]> {
    handle_bytes(at, version).map(digest)
}

/// NFS 2 has handles of 32 bytes, the others say how long.
fn handle_bytes<'a>(at: &mut Reader<'a>, version: u32) -> Option<&'a [u8]> {
    match version {
        2 => at.take(32),
        _ => opaque(at).filter(|bytes| bytes.len() <= HANDLE_MAX),
    }
}

fn opaque<'a>(at: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = at.u32()?;
    let bytes = at.take(padded(length))?;
    bytes.get(..length as usize)
}

/// Sixteen bytes of a handle: two FNV-1a hashes, forwards and backwards. Handles are the server's.
fn digest(bytes: &[u8]) -> [u8; 16] {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    let forwards = bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold);
    let backwards = bytes.iter().rev().fold(0x6c62_272e_07bb_0142, fold);
    let mut out = [0; 16];
    out[..8].copy_from_slice(&forwards.to_le_bytes());
    out[8..].copy_from_slice(&backwards.to_le_bytes());
    out
}

impl Nfs {
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

    fn lose(&mut self, gap: u32, direction: Direction, out: &mut Output<'_>) {
        let way = &mut self.ways[direction.index()];
        let of_file = gap.min(way.left);
        way.left -= of_file;
        let skipped = (gap - of_file).min(way.skip);
        way.skip -= skipped;
        way.lost |= of_file + skipped < gap;
        let file = way.file;
        if of_file > 0 {
            self.files.gap(out, &file, direction, of_file);
        }
    }

    /// The bytes of a transfer that came with its datagram.
    fn files_of_datagram(&mut self, out: &mut Output<'_>, direction: Direction, bytes: &[u8]) {
        let way = &mut self.ways[direction.index()];
        let (left, file) = (std::mem::take(&mut way.left) as usize, way.file);
        let from = std::mem::take(&mut way.skip) as usize;
        if left > 0 {
            let data = bytes.get(from..).unwrap_or(&[]);
            let data = data.get(..left).unwrap_or(data);
            self.files.data(out, &file, direction, data);
        }
    }

    /// A record, or the head of one whose data streams; the bytes of it that were used. After a
    /// transfer these end where its data begins.
    fn record(
        &mut self,
        out: &mut Output<'_>,
        direction: Direction,
        content: &[u8],
        length: usize,
    ) -> usize {
        let transfer = match direction {
            Direction::ToServer => self.call(out, content),
            Direction::ToClient => self.reply(out, content),
        };
        let Some(transfer) = transfer else {
            return content.len();
        };
        let size = (transfer.size as usize).min(length.saturating_sub(transfer.at));
        let transfer = Transfer {
            size: size as u32,
            ..transfer
        };
        self.begin_chunk(out, &transfer, direction);
        let way = &mut self.ways[direction.index()];
        way.left = size as u32;
        way.file = transfer.file;
        way.skip = transfer.at as u32;
        transfer.at
    }

    fn begin_chunk(&mut self, out: &mut Output<'_>, transfer: &Transfer, direction: Direction) {
        let names = &self.names;
        let (file, chunk) = (&transfer.file, (transfer.offset, transfer.size));
        self.files.begin(out, file, direction, chunk, |out| {
            let tx = open(out, transfer.version, transfer.procedure);
            names.copy(out, guid_words(*file));
            out.field_of_scratch(tx, Field::FileName, direction);
            out.scratch_for_events(tx, Field::NfsFilename, direction);
            out.number_for_events(tx, Field::NfsFile, direction, 1);
            tx
        });
    }

    fn call(&mut self, out: &mut Output<'_>, content: &[u8]) -> Option<Transfer> {
        let mut at = Reader::new(content);
        let (version, procedure, xid) = call_head(&mut at)?;
        let call = Call {
            xid,
            version,
            procedure,
            tx: TxId::NONE,
            file: [0; 16],
            offset: 0,
        };
        let read = self.arguments(out, content, at, call);
        if read.is_none() {
            out.event(TxId::NONE, Direction::ToServer, MALFORMED);
        }
        read.flatten()
    }

    /// Takes the arguments of a call; `None` if they are cut short.
    fn arguments(
        &mut self,
        out: &mut Output<'_>,
        content: &[u8],
        mut at: Reader<'_>,
        mut call: Call,
    ) -> Option<Option<Transfer>> {
        let (version, procedure) = (call.version, call.procedure);
        match (version, procedure) {
            (2, 8) | (3, 7) => {
                let file = handle(&mut at, version)?;
                let offset = if version == 2 {
                    at.skip(4)?;
                    let offset = u64::from(at.u32()?);
                    at.skip(4)?;
                    offset
                } else {
                    let offset = at.u64()?;
                    at.skip(8)?;
                    offset
                };
                let size = at.u32()?;
                return Some(Some(Transfer {
                    file,
                    offset,
                    size,
                    at: content.len() - at.rest().len(),
                    version,
                    procedure,
                }));
            }
            (2 | 3, 6) => {
                call.file = handle(&mut at, version)?;
                call.offset = if version == 2 {
                    u64::from(at.u32()?)
                } else {
                    at.u64()?
                };
                self.wait(out, &call);
                return Some(None);
            }
            // Lookups, creations: the reply has the handle of the name.
            (2, 4 | 9) | (3, 3 | 8) => {
                call.tx = open(out, version, procedure);
                self.tell_call(out, &call, content, at);
                handle(&mut at, version)?;
                out.shared.scratch.clear();
                out.shared.scratch.extend_from_slice(opaque(&mut at)?);
                self.asked.put(out, LOOKUPS_MAX, [call.xid, 0, 0, 0]);
            }
            (3, 21) => {
                // What was written is committed: the file is complete.
                let file = handle(&mut at, version)?;
                self.files.close(out, &file, Direction::ToServer);
                return Some(None);
            }
            (4, 1) => {
                call.tx = open(out, version, procedure);
                self.tell_call(out, &call, content, at);
                compound(out, call.tx, &mut at);
            }
            _ => {
                call.tx = open(out, version, procedure);
                self.tell_call(out, &call, content, at);
            }
        }
        out.progress(call.tx, Direction::ToServer, Progress::Complete);
        self.wait(out, &call);
        Some(None)
    }

    fn wait(&mut self, out: &mut Output<'_>, call: &Call) {
        let pushed = self.calls.push(out.heap(), CALLS_MAX, &call.encode());
        let oldest = pushed.map_or(TxId::NONE, |oldest| Call::decode(&oldest).tx);
        // Reads are a part of their file's transaction.
        if !call.reads() {
            self.waiting = self.waiting.saturating_add(1);
            let most = out.shared.limits.parsers.number(Number::NfsTransactions);
            if self.waiting > most + 1 {
                out.event(oldest, Direction::ToServer, TOO_MANY);
            }
        }
        out.complete(oldest);
    }

    fn find(&self, heap: &Heap, xid: u32) -> Option<(usize, Call)> {
        let (place, words) = self.calls.find(heap, |words| words[0] == xid)?;
        Some((place, Call::decode(&words)))
    }

    /// The call of a reply, if it asked for a part of a file.
    fn reads(&self, out: &Output<'_>, head: &[u8]) -> Option<()> {
        let xid = Reader::new(head).u32()?;
        let (_, call) = self.find(&out.shared.heap, xid)?;
        call.reads().then_some(())
    }

    fn reply(&mut self, out: &mut Output<'_>, content: &[u8]) -> Option<Transfer> {
        let mut at = Reader::new(content);
        let xid = at.u32()?;
        if at.u32()? != REPLY {
            return None;
        }
        let found = self.find(&out.shared.heap, xid);
        let read = found.is_some_and(|(_, call)| call.reads());
        self.waiting = self.waiting.saturating_sub(u32::from(!read));
        let (place, call) = found?;
        let _ = self.calls.remove(out.heap(), place);
        told::tell_reply(out, call.tx, at);
        if !(2..=4).contains(&call.version) {
            out.complete(call.tx);
            out.event(TxId::NONE, Direction::ToClient, VERSION);
            return None;
        }
        let read = self.results(out, content, at, call);
        out.complete(call.tx);
        if read.is_none() {
            out.event(TxId::NONE, Direction::ToClient, MALFORMED);
        }
        read.flatten()
    }

    /// Takes the results of a reply to a call; `None` if they are cut short.
    fn results(
        &mut self,
        out: &mut Output<'_>,
        content: &[u8],
        mut at: Reader<'_>,
        call: Call,
    ) -> Option<Option<Transfer>> {
        let xid = call.xid;
        let accepted = at.u32()? == 0;
        if !accepted {
            return Some(None);
        }
        auth(&mut at)?;
        let done = at.u32()? == 0;
        // What follows is NFS's: most results begin with a status.
        if !done || at.is_empty() || at.u32()? != 0 {
            return Some(None);
        }
        let version = call.version;
        match (version, call.procedure) {
            (2, 6) => {
                at.skip(68)?;
            }
            (3, 6) => {
                attributes(&mut at)?;
                // Count and end of file.
                at.skip(8)?;
            }
            (2, 4 | 9) | (3, 3 | 8) => {
                // A creation need not give the handle back.
                if (version, call.procedure) == (3, 8) && at.u32()? == 0 {
                    return Some(None);
                }
                let bytes = handle_bytes(&mut at, version)?;
                told::tell_handle(out, call.tx, Direction::ToClient, bytes);
                let file = digest(bytes);
                if self.asked.copy(out, [xid, 0, 0, 0]) {
                    self.asked.remove(out.heap(), [xid, 0, 0, 0]);
                    self.names.put(out, NAMES_MAX, guid_words(file));
                }
                return Some(None);
            }
            (3, 17) => {
                // Of a long one the beginning alone is at hand.
                let _ = self.entries(out, &mut at);
                return Some(None);
            }
            _ => return Some(None),
        }
        let size = at.u32()?;
        Some(Some(Transfer {
            file: call.file,
            offset: call.offset,
            size,
            at: content.len() - at.rest().len(),
            version,
            procedure: call.procedure,
        }))
    }
}

/// Attributes that may follow (RFC 1813 2.6, `post_op_attr`).
fn attributes(at: &mut Reader<'_>) -> Option<()> {
    if at.u32()? != 0 {
        at.skip(84)?;
    }
    Some(())
}

fn open(out: &mut Output<'_>, version: u32, procedure: u32) -> TxId {
    let tx = out.open();
    let way = Direction::ToServer;
    out.number(tx, Field::NfsVersion, way, u64::from(version));
    tell_procedure(out, tx, version, procedure);
    tx
}

/// The number of a procedure, and with its version where a rule names it.
fn tell_procedure(out: &mut Output<'_>, tx: TxId, version: u32, procedure: u32) {
    let (way, number) = (Direction::ToServer, u64::from(procedure));
    out.number(tx, Field::NfsProcedure, way, number);
    if out.wants(Field::NfsCall) {
        out.number(tx, Field::NfsCall, way, u64::from(version) << 32 | number);
    }
}

/// Tells the operations of a compound, up to the first whose arguments are not known here.
fn compound(out: &mut Output<'_>, tx: TxId, at: &mut Reader<'_>) -> Option<()> {
    opaque(at)?;
    at.skip(4)?;
    let count = (at.u32()? as usize).min(OPERATIONS_MAX);
    for _ in 0..count {
        let operation = at.u32()?;
        tell_procedure(out, tx, 4, operation);
        match operation {
            // GETFH, LOOKUPP, PUTPUBFH, PUTROOTFH, READLINK, RESTOREFH, SAVEFH.
            10 | 16 | 23 | 24 | 27 | 31 | 32 => {}
            // ACCESS.
            3 => at.skip(4)?,
            // CLOSE: sequence number and state.
            4 => at.skip(20)?,
            // COMMIT.
            5 => at.skip(12)?,
            // GETATTR: a bitmap.
            9 => {
                let words = at.u32().filter(|words| *words <= 8)?;
                at.skip(4 * words as usize)?;
            }
            // LOOKUP, REMOVE, SECINFO, PUTFH: a name or a handle.
            15 | 22 | 28 | 33 => {
                opaque(at)?;
            }
            // READ: state, offset, count.
            25 => at.skip(28)?,
            // READDIR: cookie, verifier, two counts, a bitmap.
            26 => {
                at.skip(24)?;
                let words = at.u32().filter(|words| *words <= 8)?;
                at.skip(4 * words as usize)?;
            }
            // RENEW.
            30 => at.skip(8)?,
            // RENAME: two names.
            29 => {
                opaque(at)?;
                opaque(at)?;
            }
            // WRITE: state, offset, how stable, data.
            38 => {
                at.skip(28)?;
                opaque(at)?;
            }
            // SEQUENCE.
            53 => at.skip(32)?,
            _ => return None,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, for_events, run, run_missing, same_for_every_cut};
    use super::*;
    use crate::packet::Direction::{ToClient, ToServer};

    const PLACE: Place = Place {
        transport: Transport::Tcp,
        server_port: 2049,
    };

    fn numbers(list: &[u32]) -> Vec<u8> {
        list.iter()
            .flat_map(|number| number.to_be_bytes())
            .collect()
    }

    fn opaque_of(bytes: &[u8]) -> Vec<u8> {
        let mut out = numbers(&[bytes.len() as u32]);
        out.extend(bytes);
        out.resize(out.len().div_ceil(4) * 4, 0);
        out
    }

    fn framed(parts: &[Vec<u8>]) -> Vec<u8> {
        let content = parts.concat();
        let mut out = numbers(&[0x8000_0000 | content.len() as u32]);
        out.extend(content);
        out
    }

    fn call(xid: u32, procedure: u32) -> Vec<u8> {
        numbers(&[xid, CALL, 2, PROGRAM, 3, procedure, 0, 0, 0, 0])
    }

    #[test]
    fn a_file_that_is_looked_up_and_read_has_its_name() {
        let ask = framed(&[call(1, 3), opaque_of(b"dir."), opaque_of(b"evil.exe")]);
        let found = framed(&[numbers(&[1, REPLY, 0, 0, 0, 0, 0]), opaque_of(b"hand")]);
        let read = framed(&[call(2, 6), opaque_of(b"hand"), numbers(&[0, 0, 9])]);
        let first = framed(&[
            numbers(&[2, REPLY, 0, 0, 0, 0, 0, 0, 5, 0]),
            opaque_of(b"MZabc"),
        ]);
        let (protocol, lines) = same_for_every_cut(
            PLACE,
            &[
                (ToServer, &ask),
                (ToClient, &found),
                (ToServer, &read),
                (ToClient, &first),
            ],
        );
        assert_eq!(protocol, AppProtocol::Nfs);
        assert_eq!(
            lines,
            [
                "tx 0 ToServer nfs.version 3",
                "tx 0 ToServer nfs_procedure 3",
                "tx 0 ToServer -nfs_call 12884901891",
                "tx 1 ToServer nfs.version 3",
                "tx 1 ToServer nfs_procedure 6",
                "tx 1 ToServer -nfs_call 12884901894",
                "tx 1 ToClient file.name \"evil.exe\"",
                "tx 1 ToClient file.data \"MZabc\"",
                "tx 1 ToClient filesize 5",
            ]
        );
    }

    #[test]
    fn a_file_that_a_directory_listed_has_its_name() {
        let list = framed(&[call(1, 17), opaque_of(b"dir."), numbers(&[0; 6])]);
        let entry = |name: &[u8], handle: &[u8]| {
            let mut entry = numbers(&[1, 0, 7]);
            entry.extend(opaque_of(name));
            entry.extend(numbers(&[0, 1, 0, 1]));
            entry.extend(opaque_of(handle));
            entry
        };
        // One without a handle is between two with one.
        let mut bare = numbers(&[1, 0, 8]);
        bare.extend(opaque_of(b"bare"));
        bare.extend(numbers(&[0, 1, 0, 0]));
        let listed = framed(&[
            numbers(&[1, REPLY, 0, 0, 0, 0, 0, 0, 0, 0]),
            entry(b"one.txt", b"hand"),
            bare,
            entry(b"evil.exe", b"foot"),
            numbers(&[0, 1]),
        ]);
        let read = framed(&[call(2, 6), opaque_of(b"foot"), numbers(&[0, 0, 9])]);
        let first = framed(&[
            numbers(&[2, REPLY, 0, 0, 0, 0, 0, 0, 5, 0]),
            opaque_of(b"MZabc"),
        ]);
        let talk: [(Direction, &[u8]); 4] = [
            (ToServer, &list),
            (ToClient, &listed),
            (ToServer, &read),
            (ToClient, &first),
        ];
        let (_, lines) = same_for_every_cut(PLACE, &talk);
        assert!(
            lines.contains(&"tx 1 ToClient file.name \"evil.exe\"".to_string()),
            "{lines:?}"
        );
    }

    #[test]
    fn who_calls_and_what_came_of_it_is_told() {
        let mut caller = numbers(&[7, CALL, 2, PROGRAM, 3, 14, 1, 20, 5]);
        caller.extend(opaque_of(b"pc"));
        caller.extend(numbers(&[1000, 100, 0, 0]));
        let (hand, old, new) = (opaque_of(b"hand"), opaque_of(b"old"), opaque_of(b"new"));
        let ask = framed(&[caller, hand.clone(), old, hand, new]);
        let answer = framed(&[numbers(&[7, REPLY, 0, 0, 0, 0, 13])]);
        let lines = for_events(PLACE, &[(ToServer, &ask), (ToClient, &answer)]);
        assert_eq!(
            lines,
            [
                "tx 0 ToServer -nfs_call 12884901902",
                "tx 0 ToServer -nfs.xid 7",
                "tx 0 ToServer -nfs.auth_type 1",
                "tx 0 ToServer -nfs.uid 1000",
                "tx 0 ToServer -nfs.gid 100",
                "tx 0 ToServer -nfs.machine_name \"pc\"",
                "tx 0 ToServer -nfs.hhash 660750991",
                "tx 0 ToServer -nfs.filename \"old\"",
                "tx 0 ToServer -nfs.rename.from \"old\"",
                "tx 0 ToServer -nfs.rename.to \"new\"",
                "tx 0 ToClient -nfs.rpc_status 0",
                "tx 0 ToClient -nfs.status 13",
            ]
        );
    }

    #[test]
    fn writes_are_put_in_order() {
        let write = |offset: u32, data: &[u8]| {
            framed(&[
                call(9, 7),
                opaque_of(b"hand"),
                numbers(&[0, offset, data.len() as u32, 0]),
                opaque_of(data),
            ])
        };
        let (one, two) = (write(0, b"first"), write(5, b"second"));
        let (_, lines) = same_for_every_cut(PLACE, &[(ToServer, &one), (ToServer, &two)]);
        assert!(lines.contains(&"tx 0 ToServer file.data \"firstsecond\"".to_string()));
        let early = [write(0, b"a"), write(3, b"d"), write(1, b"bc")];
        let talk: Vec<_> = early.iter().map(|b| (ToServer, b.as_slice())).collect();
        let (_, lines) = same_for_every_cut(PLACE, &talk);
        assert!(
            lines.contains(&"tx 0 ToServer file.data \"abcd\"".to_string()),
            "{lines:?}"
        );
    }

    /// Names of the events of a conversation.
    fn events(talk: &[(Direction, &[u8])]) -> Vec<String> {
        let (_, lines) = same_for_every_cut(PLACE, talk);
        let name =
            |line: &String| Some(line.split("\"nfs\", \"").nth(1)?.split('"').next()?.into());
        lines.iter().filter_map(name).collect()
    }

    #[test]
    fn the_setting_says_how_many_calls_may_wait() {
        let ask = |id: u32| framed(&[call(id, 3), opaque_of(b"dir."), opaque_of(b"name")]);
        let told = |count: u32| {
            let settings = [("app-layer.protocols.nfs.max-tx", "2")];
            let bytes: Vec<u8> = (1..=count).flat_map(ask).collect();
            let lines = run_missing(PLACE, &settings, &[(ToServer, 0, &bytes)]);
            lines
                .iter()
                .any(|line| line.contains("too_many_transactions"))
        };
        assert_eq!((told(3), told(4)), (false, true));
    }

    #[test]
    fn what_is_cut_short_is_told() {
        let whole = framed(&[call(1, 3), opaque_of(b"dir."), opaque_of(b"name")]);
        assert!(events(&[(ToServer, &whole)]).is_empty());
        // The name is said to be longer than the call.
        let cut = framed(&[call(2, 3), opaque_of(b"dir."), numbers(&[99])]);
        assert_eq!(
            events(&[(ToServer, &whole), (ToServer, &cut)]),
            ["malformed_data"]
        );
        let found = framed(&[numbers(&[1, REPLY, 0, 0, 0, 0, 0]), opaque_of(b"hand")]);
        assert!(events(&[(ToServer, &whole), (ToClient, &found)]).is_empty());
        let refused = framed(&[numbers(&[1, REPLY, 0, 0, 0, 0, 2])]);
        assert!(events(&[(ToServer, &whole), (ToClient, &refused)]).is_empty());
        let found = framed(&[numbers(&[1, REPLY, 0, 0, 0, 0, 0, 99])]);
        assert_eq!(
            events(&[(ToServer, &whole), (ToClient, &found)]),
            ["malformed_data"]
        );
        let seven = framed(&[numbers(&[2, CALL, 2, PROGRAM, 7, 1, 0, 0, 0, 0])]);
        let answer = framed(&[numbers(&[2, REPLY, 0, 0, 0, 0, 0])]);
        let talk: &[(Direction, &[u8])] =
            &[(ToServer, &whole), (ToServer, &seven), (ToClient, &answer)];
        assert_eq!(events(talk), ["non_existing_version"]);
    }

    #[test]
    fn calls_without_replies_have_a_limit() {
        let calls = |first: u32, count: u32| -> Vec<u8> {
            let one = |xid| framed(&[call(xid, 1), opaque_of(b"hand")]);
            (first..first + count).flat_map(one).collect()
        };
        let replies: Vec<u8> = (0..1025)
            .flat_map(|xid| framed(&[numbers(&[xid, REPLY, 0, 0, 0, 0, 0])]))
            .collect();
        assert!(events(&[(ToServer, &calls(0, 1025))]).is_empty());
        let beyond = events(&[(ToServer, &calls(0, 1026))]);
        assert_eq!(beyond, ["too_many_transactions"]);
        let (first, second) = (calls(0, 1025), calls(2000, 1025));
        let talk: &[(Direction, &[u8])] = &[
            (ToServer, &first),
            (ToClient, &replies),
            (ToServer, &second),
        ];
        assert!(events(talk).is_empty());
    }

    #[test]
    fn a_datagram_is_a_call() {
        let place = Place {
            transport: Transport::Udp,
            server_port: 2049,
        };
        let bytes = [
            call(1, 7),
            opaque_of(b"h"),
            numbers(&[0, 0, 4, 0]),
            opaque_of(b"data"),
        ];
        let (protocol, lines) = run(place, &[(ToServer, &bytes.concat())]);
        assert_eq!(protocol, AppProtocol::Nfs);
        assert!(
            lines.contains(&"tx 0 ToServer file.data \"data\"".to_string()),
            "{lines:?}"
        );
    }
}
