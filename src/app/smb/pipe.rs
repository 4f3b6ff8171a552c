//! DCERPC on the named pipes of SMB: requests come with writes, transactions and device controls,
//! answers with reads or the answers to those. A call is a transaction of the SMB flow.

use super::super::dcerpc::{HEADER, NOT_BEGUN};
use super::super::dcerpc::{Header, REQUEST_HEAD, add_fragment, kind, open_call, tell_operation};
use super::super::field::{Field, Progress};
use super::super::heap::{Heap, Text};
use super::super::output::{Output, TxId};
use super::super::reader::Reader;
use super::super::table::{Table, guid_words, words};
use super::calls::{Call, Kind};
use super::files::transfer_command;
use super::{Key, RECORD_MAX, Smb, odd, tell};
use crate::packet::Direction;

/// Bytes with which it is told whether they are a PDU.
pub(super) const PROBE: usize = HEADER;
/// Answers that wait for their rest, at most.
const PIECES_MAX: usize = 8;
/// Bytes of one at most.
const PIECE_MAX: usize = RECORD_MAX / 2;

/// Status: there is more.
pub(super) const BUFFER_OVERFLOW: u32 = 0x8000_0005;

/// Pipes that speak DCERPC.
const PIPES: [&str; 7] = [
    "svcctl", "srvsvc", "atsvc", "lsarpc", "samr", "spoolss", "winreg",
];

/// Whether bytes look like a PDU.
pub(super) fn probe(data: &[u8]) -> bool {
    Header::read(data).is_some_and(|header| header.length > 0 && header.kind <= kind::LAST)
}

/// Answers that came in pieces: `[session 2, tree, handle 4, text 3]`.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    table: Table<10>,
}

impl Pieces {
    fn key(key: Key, file: &[u8; 16]) -> [u32; 7] {
        let [a, b] = words(key.session);
        let [c, d, e, f] = guid_words(*file);
        [a, b, key.tree, c, d, e, f]
    }

    /// Whether some of an answer waits.
    pub fn has(&self, heap: &Heap, key: Key, file: &[u8; 16]) -> bool {
        let wanted = Self::key(key, file);
        self.table
            .find(heap, |words| words.starts_with(&wanted))
            .is_some()
    }

    fn take(&mut self, heap: &mut Heap, key: Key, file: &[u8; 16]) -> Text {
        let wanted = Self::key(key, file);
        let found = self.table.find(heap, |words| words.starts_with(&wanted));
        match found.and_then(|(place, _)| self.table.remove(heap, place)) {
            Some(words) => Heap::of_parts([words[7], words[8], words[9]]),
            None => Text::default(),
        }
    }

    fn put(&mut self, heap: &mut Heap, key: Key, file: &[u8; 16], text: Text) {
        let [a, b, c, d, e, f, g] = Self::key(key, file);
        let [x, y, z] = text.into_parts();
        let entry = [a, b, c, d, e, f, g, x, y, z];
        if let Some(old) = self.table.push(heap, PIECES_MAX, &entry) {
            heap.free(Heap::of_parts([old[7], old[8], old[9]]));
        }
    }

    /// Gives the memory back.
    pub fn free(&mut self, heap: &mut Heap) {
        while let Some(words) = self.table.pop(heap) {
            heap.free(Heap::of_parts([words[7], words[8], words[9]]));
        }
        self.table.clear(heap);
    }
}

impl Smb {
    /// Whether a handle is a pipe that is known to speak DCERPC.
    pub(super) fn is_rpc_pipe(&self, out: &mut Output<'_>, file: &[u8; 16]) -> bool {
        if !self.name_of(out, file) {
            return false;
        }
        let name = out.shared.scratch.as_slice();
        let name = name.strip_prefix(b"\\").unwrap_or(name);
        PIPES.iter().any(|pipe| pipe.as_bytes() == name)
    }

    /// Requests on a pipe.
    pub(super) fn pipe_request(
        &mut self,
        out: &mut Output<'_>,
        command: (u8, u16),
        key: Key,
        data: &[u8],
    ) {
        let mut rest = data;
        // Every round takes a header at least.
        while !rest.is_empty() {
            let Some(header) = Header::read(rest) else {
                self.odd(out, Direction::ToServer, odd::MALFORMED);
                return;
            };
            let length = usize::from(header.length).max(HEADER);
            let Some(body) = rest.get(HEADER..length) else {
                self.odd(out, Direction::ToServer, odd::MALFORMED);
                return;
            };
            self.request_pdu(out, command, key, &header, body);
            rest = rest.get(length..).unwrap_or(&[]);
        }
    }

    fn find_rpc(
        &self,
        heap: &Heap,
        command: (u8, u16),
        key: Key,
        id: u32,
    ) -> Option<(usize, Call)> {
        // Reads and writes of SMB2, and all of SMB1, are exchanges of their own.
        let by_message = command == (2, super::smb2::IOCTL);
        self.calls.find(heap, |call| {
            call.kind == Kind::Rpc
                && call.rpc == id
                && call.session == key.session
                && (!by_message || call.message == key.message)
        })
    }

    fn request_pdu(
        &mut self,
        out: &mut Output<'_>,
        command: (u8, u16),
        key: Key,
        header: &Header,
        body: &[u8],
    ) {
        let is_request = header.kind == kind::REQUEST;
        if is_request && !header.first {
            let Some((place, mut call)) =
                self.find_rpc(&out.shared.heap, command, key, header.call)
            else {
                return;
            };
            let stub = body.get(REQUEST_HEAD..).unwrap_or(&[]);
            add_fragment(out, call.tx, Direction::ToServer, &mut call.stub[0], stub);
            self.calls
                .step(out, place, call, Direction::ToServer, header.last);
            return;
        }
        let tx = open_call(out, header.little);
        if tx.is_some() {
            self.last = tx;
        }
        self.describe(out, tx, command.0);
        tell_request(out, tx, header);
        // A write of a file, as far as SMB is concerned.
        let told = match command {
            (version, 0) => (version, transfer_command(version, Direction::ToServer)),
            other => other,
        };
        self.tell_command(out, tx, told, key, Direction::ToServer);
        let mut call = Call {
            kind: Kind::Rpc,
            version: command.0,
            command: command.1,
            session: key.session,
            message: key.message,
            rpc: header.call,
            done: [false; 2],
            tx,
            stub: [NOT_BEGUN; 2],
        };
        let mut done = true;
        match header.kind {
            kind::REQUEST => {
                let mut at = Reader::at(body, REQUEST_HEAD - 2);
                if let Some(operation) = at.u16_of(header.little) {
                    tell_operation(out, tx, operation);
                    self.interfaces.tell(out, tx, None);
                    add_fragment(out, tx, Direction::ToServer, &mut call.stub[0], at.rest());
                    done = header.last;
                } else {
                    tell(out, tx, odd::MALFORMED);
                }
            }
            kind::BIND | kind::ALTER_CONTEXT => {
                self.interfaces.clear(out.heap());
                if self.interfaces.bind(out.heap(), header, body).is_none() {
                    tell(out, tx, odd::MALFORMED);
                }
            }
            other if other <= kind::LAST => {}
            _ => tell(out, tx, odd::MALFORMED),
        }
        if let Some(place) = self.push(out, &call) {
            self.calls.step(out, place, call, Direction::ToServer, done);
        }
    }

    /// Part of an answer: the rest comes with the next read.
    pub(super) fn pipe_piece(
        &mut self,
        out: &mut Output<'_>,
        key: Key,
        file: &[u8; 16],
        data: &[u8],
    ) {
        let heap = out.heap();
        let mut text = self.pieces.take(heap, key, file);
        if text.len() + data.len() > PIECE_MAX || !heap.append(&mut text, data) {
            heap.free(text);
            return;
        }
        self.pieces.put(heap, key, file, text);
    }

    /// Answers on a pipe, after what came of them before.
    pub(super) fn pipe_answer(
        &mut self,
        out: &mut Output<'_>,
        command: (u8, u16),
        key: Key,
        file: &[u8; 16],
        data: &[u8],
    ) {
        let before = self.pieces.take(out.heap(), key, file);
        if before.is_empty() {
            out.heap().free(before);
            self.answers(out, command, key, file, data);
            return;
        }
        let mut scratch = std::mem::take(&mut out.shared.scratch2);
        scratch.clear();
        scratch.extend_from_slice(out.heap().get(&before));
        let room = super::super::output::SCRATCH_SIZE - scratch.len();
        scratch.extend_from_slice(data.get(..room).unwrap_or(data));
        out.heap().free(before);
        self.answers(out, command, key, file, &scratch);
        out.shared.scratch2 = scratch;
    }

    fn answers(
        &mut self,
        out: &mut Output<'_>,
        command: (u8, u16),
        key: Key,
        file: &[u8; 16],
        data: &[u8],
    ) {
        let mut rest = data;
        // Every round takes a header at least.
        while !rest.is_empty() {
            let Some(header) = Header::read(rest) else {
                self.odd(out, Direction::ToClient, odd::MALFORMED);
                return;
            };
            let length = usize::from(header.length).max(HEADER);
            let Some(body) = rest.get(HEADER..length) else {
                // A read may end before the fragment does.
                self.pipe_piece(out, key, file, rest);
                return;
            };
            self.answer_pdu(out, command, key, &header, body);
            rest = rest.get(length..).unwrap_or(&[]);
        }
    }

    fn answer_pdu(
        &mut self,
        out: &mut Output<'_>,
        command: (u8, u16),
        key: Key,
        header: &Header,
        body: &[u8],
    ) {
        if matches!(header.kind, kind::BIND_ACK | kind::ALTER_CONTEXT_RESP) {
            let _ = self.interfaces.answer(out.heap(), header, body);
        }
        let found = self.find_rpc(&out.shared.heap, command, key, header.call);
        let (place, mut call) = match found {
            Some(found) => found,
            // Its request was not seen.
            None => {
                let tx = open_call(out, header.little);
                self.describe(out, tx, command.0);
                let (way, id) = (Direction::ToClient, u64::from(header.call));
                out.number_for_events(tx, Field::DcerpcCallId, way, id);
                let call = Call {
                    kind: Kind::Rpc,
                    version: command.0,
                    command: command.1,
                    session: key.session,
                    message: key.message,
                    rpc: header.call,
                    done: [true, false],
                    tx,
                    stub: [NOT_BEGUN; 2],
                };
                out.progress(tx, Direction::ToServer, Progress::Complete);
                let Some(place) = self.push(out, &call) else {
                    return;
                };
                (place, call)
            }
        };
        if header.first || call.stub[1] == NOT_BEGUN {
            let (way, number) = (Direction::ToClient, u64::from(header.kind));
            out.number_for_events(call.tx, Field::DcerpcResponse, way, number);
        }
        if header.kind == kind::BIND_ACK {
            self.interfaces.show_bind(out, call.tx, None);
        }
        let mut done = true;
        if header.kind == kind::RESPONSE {
            let stub = body.get(REQUEST_HEAD..).unwrap_or(&[]);
            add_fragment(out, call.tx, Direction::ToClient, &mut call.stub[1], stub);
            done = header.last;
        } else if header.kind > kind::LAST {
            tell(out, call.tx, odd::MALFORMED);
        }
        self.calls.step(out, place, call, Direction::ToClient, done);
    }

    /// The answer to a call is an error: there is none.
    pub(super) fn pipe_error(&mut self, out: &mut Output<'_>, key: Key) {
        let wanted = |call: &Call| {
            call.kind == Kind::Rpc && call.session == key.session && call.message == key.message
        };
        if let Some((place, call)) = self.calls.find(&out.shared.heap, wanted) {
            self.calls.step(out, place, call, Direction::ToClient, true);
        }
    }
}

/// What events tell of a request.
fn tell_request(out: &mut Output<'_>, tx: TxId, header: &Header) {
    let way = Direction::ToServer;
    out.number_for_events(tx, Field::DcerpcRequest, way, u64::from(header.kind));
    out.number_for_events(tx, Field::DcerpcCallId, way, u64::from(header.call));
}
