//! Open exchanges of an SMB flow: which transaction a response belongs to. Bounded; the oldest is
//! completed when there is no room.

use super::super::dcerpc::NOT_BEGUN;
use super::super::field::{Field, Progress};
use super::super::heap::Heap;
use super::super::output::{Output, TxId};
use super::super::settings::Number;
use super::super::table::{Table, number, tx_of, tx_words, words};
use super::{Key, Smb, odd, tell};
use crate::packet::Direction;

/// The end of the path of all pipes.
const PIPES: &[u8] = b"\\IPC$";

/// What an exchange is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// A command and its answer.
    Plain = 0,
    Negotiate = 1,
    Session = 2,
    Tree = 3,
    /// A call on a pipe.
    Rpc = 4,
}

/// An open exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub kind: Kind,
    pub version: u8,
    pub command: u16,
    pub session: u64,
    pub message: u64,
    /// Id of a call on a pipe.
    pub rpc: u32,
    pub done: [bool; 2],
    pub tx: TxId,
    /// Stub data of both directions.
    pub stub: [u32; 2],
}

impl Call {
    fn encode(&self) -> [u32; 11] {
        let [a, b] = words(self.session);
        let [c, d] = words(self.message);
        let [tx, serial] = tx_words(self.tx);
        [
            self.kind as u32 | u32::from(self.version) << 8 | u32::from(self.command) << 16,
            a,
            b,
            c,
            d,
            self.rpc,
            u32::from(self.done[0]) | u32::from(self.done[1]) << 1,
            tx,
            serial,
            self.stub[0],
            self.stub[1],
        ]
    }

    fn decode(words: &[u32; 11]) -> Call {
        Call {
            kind: match words[0] & 0xff {
                1 => Kind::Negotiate,
                2 => Kind::Session,
                3 => Kind::Tree,
                4 => Kind::Rpc,
                _ => Kind::Plain,
            },
            version: (words[0] >> 8) as u8,
            command: (words[0] >> 16) as u16,
            session: number(words[1], words[2]),
            message: number(words[3], words[4]),
            rpc: words[5],
            done: [words[6] & 1 != 0, words[6] & 2 != 0],
            tx: tx_of(words[7], words[8]),
            stub: [words[9], words[10]],
        }
    }
}

/// The open exchanges of a flow.
#[derive(Debug, Default)]
pub(super) struct Calls {
    table: Table<11>,
}

impl Calls {
    /// The oldest that answers.
    pub fn find(
        &self,
        heap: &Heap,
        mut wanted: impl FnMut(&Call) -> bool,
    ) -> Option<(usize, Call)> {
        let found = self.table.find(heap, |words| wanted(&Call::decode(words)));
        found.map(|(place, words)| (place, Call::decode(&words)))
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// The one at a place.
    pub fn get(&self, heap: &Heap, place: usize) -> Option<Call> {
        Some(Call::decode(&self.table.get(heap, place)?))
    }

    /// A direction of a call has come so far; it is forgotten when both are complete.
    pub fn step(
        &mut self,
        out: &mut Output<'_>,
        place: usize,
        mut call: Call,
        direction: Direction,
        done: bool,
    ) {
        call.done[direction.index()] |= done;
        let progress = if done {
            Progress::Complete
        } else {
            Progress::Head
        };
        out.progress(call.tx, direction, progress);
        if call.done == [true; 2] {
            let _ = self.table.remove(out.heap(), place);
        } else {
            self.table.set(out.heap(), place, &call.encode());
        }
    }

    /// Both directions are complete.
    pub fn finish(&mut self, out: &mut Output<'_>, place: usize) {
        if let Some(words) = self.table.remove(out.heap(), place) {
            out.complete(Call::decode(&words).tx);
        }
    }

    /// No more bytes of a direction belong to what is open (they were lost, or there are none).
    pub fn give_up(&mut self, out: &mut Output<'_>, direction: Direction) {
        let mut place = 0;
        while let Some(call) = self.get(out.heap(), place) {
            let before = self.len();
            self.step(out, place, call, direction, true);
            if self.len() == before {
                place += 1;
            }
        }
    }

    /// Gives the memory back.
    pub fn free(&mut self, heap: &mut Heap) {
        self.table.clear(heap);
    }
}

impl Smb {
    /// Begins a transaction: version and command are known in both directions.
    pub(super) fn begin(&mut self, out: &mut Output<'_>, version: u8) -> TxId {
        let tx = out.open();
        if tx.is_some() {
            self.last = tx;
        }
        self.describe(out, tx, version);
        tx
    }

    pub(super) fn describe(&mut self, out: &mut Output<'_>, tx: TxId, version: u8) {
        if out.wants(Field::SmbVersion) {
            for direction in [Direction::ToServer, Direction::ToClient] {
                out.number(tx, Field::SmbVersion, direction, u64::from(version));
            }
        }
    }

    /// What events tell of every exchange: command (with its version), session and tree, and the
    /// dialect, which a negotiation's answer tells.
    pub(super) fn tell_command(
        &self,
        out: &mut Output<'_>,
        tx: TxId,
        (version, command): (u8, u16),
        key: Key,
        direction: Direction,
    ) {
        let dialect = u64::from(self.dialect);
        let negotiates = matches!((version, command), (1, 0x72) | (2, 0));
        let command = u64::from(version) << 16 | u64::from(command);
        for (field, number, known) in [
            (Field::SmbDialect, dialect, dialect != 0 && !negotiates),
            (Field::SmbCommand, command, true),
            (Field::SmbSessionId, key.session, true),
            (Field::SmbTreeId, u64::from(key.tree), true),
        ] {
            if known {
                out.number_for_events(tx, field, direction, number);
            }
        }
    }

    /// Begins an exchange. Its request is complete, unless `open`.
    pub(super) fn call(
        &mut self,
        out: &mut Output<'_>,
        kind: Kind,
        command: (u8, u16),
        key: Key,
        open: bool,
    ) -> TxId {
        let tx = self.begin(out, command.0);
        self.remember(out, tx, kind, command, key, open);
        tx
    }

    /// Remembers an exchange whose transaction has begun.
    pub(super) fn remember(
        &mut self,
        out: &mut Output<'_>,
        tx: TxId,
        kind: Kind,
        command: (u8, u16),
        key: Key,
        open: bool,
    ) {
        self.tell_command(out, tx, command, key, Direction::ToServer);
        let call = Call {
            kind,
            version: command.0,
            command: command.1,
            session: key.session,
            message: key.message,
            rpc: 0,
            done: [!open, false],
            tx,
            stub: [NOT_BEGUN; 2],
        };
        let _ = self.push(out, &call);
        if !open {
            out.progress(tx, Direction::ToServer, Progress::Complete);
        }
    }

    /// All of the request of the call that began last has been told.
    pub(super) fn request_is_known(&mut self, out: &mut Output<'_>, tx: TxId) {
        if let Some((place, call)) = self.calls.find(&out.shared.heap, |call| call.tx == tx) {
            self.calls.step(out, place, call, Direction::ToServer, true);
        }
    }

    /// Adds an open call; its place, or `None` when the heap is full.
    pub(super) fn push(&mut self, out: &mut Output<'_>, call: &Call) -> Option<usize> {
        let record = call.encode();
        let most = out.shared.limits.parsers.number(Number::SmbTransactions) as usize;
        if let Some(words) = self.calls.table.push(out.heap(), most, &record) {
            let oldest = Call::decode(&words).tx;
            tell(out, oldest, odd::TOO_MANY);
            out.complete(oldest);
            if words == record {
                return None;
            }
        }
        self.calls.len().checked_sub(1)
    }

    /// The answer to a plain command: its exchange is complete.
    pub(super) fn answer(
        &mut self,
        out: &mut Output<'_>,
        command: (u8, u16),
        key: Key,
    ) -> Option<TxId> {
        let wanted = |call: &Call| {
            call.kind == Kind::Plain
                && (call.version, call.command) == command
                && call.session == key.session
                && call.message == key.message
        };
        let (place, call) = self.calls.find(&out.shared.heap, wanted)?;
        self.finish_told(out, place, call.tx);
        Some(call.tx)
    }

    /// An exchange is over; its answer is the record at hand.
    fn finish_told(&mut self, out: &mut Output<'_>, place: usize, tx: TxId) {
        for field in [Field::SmbStatus, Field::SmbStatusCode] {
            out.number_for_events(tx, field, Direction::ToClient, u64::from(self.status));
        }
        self.calls.finish(out, place);
    }

    /// The answer to a negotiation.
    pub(super) fn answer_negotiate(&mut self, out: &mut Output<'_>, version: u8) -> Option<TxId> {
        let wanted = |call: &Call| call.kind == Kind::Negotiate && call.version == version;
        let (place, call) = self.calls.find(&out.shared.heap, wanted)?;
        if self.dialect != 0 {
            let dialect = u64::from(self.dialect);
            out.number_for_events(call.tx, Field::SmbDialect, Direction::ToClient, dialect);
        }
        self.finish_told(out, place, call.tx);
        Some(call.tx)
    }

    /// The answer to a session setup; the first one has no session yet when it is asked for.
    pub(super) fn answer_session(&mut self, out: &mut Output<'_>, key: Key) {
        for session in [key.session, 0] {
            let wanted = |call: &Call| {
                call.kind == Kind::Session && call.session == session && call.message == key.message
            };
            if let Some((place, call)) = self.calls.find(&out.shared.heap, wanted) {
                self.finish_told(out, place, call.tx);
                return;
            }
        }
    }

    /// A tree connect: the path in `shared.scratch` is a pipe if its name says so, until the
    /// answer tells. Rules see it with the request, so that it can be stopped.
    pub(super) fn name_tree(&mut self, out: &mut Output<'_>, tx: TxId) {
        let path = out.shared.scratch.as_slice();
        let end = path.get(path.len().saturating_sub(PIPES.len())..);
        let pipe = end.is_some_and(|end| end.eq_ignore_ascii_case(PIPES));
        out.field_of_scratch(tx, tree_field(pipe), Direction::ToServer);
        if let Some((place, mut call)) = self.calls.find(&out.shared.heap, |call| call.tx == tx) {
            call.rpc = u32::from(pipe);
            self.calls.step(out, place, call, Direction::ToServer, true);
        }
    }

    /// The answer to a tree connect, which tells whether it is a pipe.
    pub(super) fn answer_tree(&mut self, out: &mut Output<'_>, key: Key, pipe: bool) -> bool {
        let wanted = |call: &Call| {
            call.kind == Kind::Tree && call.session == key.session && call.message == key.message
        };
        let Some((place, call)) = self.calls.find(&out.shared.heap, wanted) else {
            return false;
        };
        if (call.rpc == 1) != pipe {
            let mut scratch = std::mem::take(&mut out.shared.scratch);
            scratch.clear();
            let path = out.value(call.tx, tree_field(!pipe), Direction::ToServer);
            scratch.extend_from_slice(path.unwrap_or(&[]));
            out.field(call.tx, tree_field(pipe), Direction::ToServer, &scratch);
            out.shared.scratch = scratch;
        }
        self.finish_told(out, place, call.tx);
        true
    }
}

fn tree_field(pipe: bool) -> Field {
    if pipe {
        Field::SmbNamedPipe
    } else {
        Field::SmbShare
    }
}
