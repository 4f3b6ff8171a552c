//! Records of SMB 1 (MS-CIFS 2.2, MS-SMB 2.2): requests and responses with their chained ("AndX")
//! commands.

use super::super::field::Field;
use super::super::output::{Output, SCRATCH_SIZE, TxId};
use super::super::reader::{Reader, until_zero};
use super::calls::Kind;
use super::files::Transfer;
use super::{HANDLES_MAX, Key, NT_LM, Smb, auth, narrow, odd, pipe, tell, told};
use crate::packet::Direction;

/// Bytes of the header, which offsets count.
const HEADER: usize = 32;

/// Commands.
const CLOSE: u8 = 0x04;
const RENAME: u8 = 0x07;
const WRITE: u8 = 0x0b;
const LOCKING: u8 = 0x24;
const TRANSACTION: u8 = 0x25;
const WRITE_AND_CLOSE: u8 = 0x2c;
const OPEN: u8 = 0x2d;
pub(super) const READ: u8 = 0x2e;
pub(super) const WRITE_ANDX: u8 = 0x2f;
const TRANSACTION2: u8 = 0x32;
const TRANSACTION2_SECONDARY: u8 = 0x33;
const TREE_DISCONNECT: u8 = 0x71;
const NEGOTIATE: u8 = 0x72;
const SESSION_SETUP: u8 = 0x73;
const LOGOFF: u8 = 0x74;
const TREE_CONNECT: u8 = 0x75;
const NT_CREATE: u8 = 0xa2;
const NT_CANCEL: u8 = 0xa4;
const NONE: u8 = 0xff;

/// Levels of information that are changed (MS-FSCC 2.4, as SMB1 numbers them).
const SET_NAME: u16 = 1010;
const SET_DISPOSITION: u16 = 1013;
/// Dialects of a client that events tell of.
const DIALECTS_TOLD_MAX: usize = 16;

/// A record; `at` is where the current command's words begin.
#[derive(Clone, Copy, Debug)]
struct Record<'a> {
    command: u8,
    status: u32,
    response: bool,
    unicode: bool,
    user: u16,
    key: Key,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Record<'a> {
    fn read(bytes: &'a [u8]) -> Option<Record<'a>> {
        let mut at = Reader::new(bytes);
        at.skip(4)?;
        let command = at.u8()?;
        let status = at.le32()?;
        let flags = at.u8()?;
        let flags2 = at.le16()?;
        at.skip(12)?;
        let tree = at.le16()?;
        at.skip(2)?;
        let user = at.le16()?;
        let message = at.le16()?;
        Some(Record {
            command,
            status,
            response: flags & 0x80 != 0,
            unicode: flags2 & 0x8000 != 0,
            user,
            key: Key {
                session: u64::from(user),
                tree: u32::from(tree),
                message: u64::from(message),
            },
            bytes,
            at: HEADER,
        })
    }

    fn words(&self) -> Reader<'a> {
        Reader::at(self.bytes, self.at)
    }

    /// The handle of this session.
    fn file(&self, id: [u8; 2]) -> [u8; 16] {
        let mut file = [0; 16];
        file[..2].copy_from_slice(&id);
        file[4..6].copy_from_slice(&self.user.to_be_bytes());
        file
    }

    /// The next command of the chain.
    fn next(&self) -> Option<Record<'a>> {
        let chained = matches!(
            self.command,
            LOCKING | OPEN | READ | SESSION_SETUP | LOGOFF | TREE_CONNECT | NT_CREATE | WRITE_ANDX
        );
        if !chained {
            return None;
        }
        let mut at = self.words();
        let [_, command, _] = at.array()?;
        let place = usize::from(at.le16()?);
        (place > self.at && command != NONE && place < self.bytes.len()).then_some(Record {
            command,
            at: place,
            ..*self
        })
    }

    /// A string in the record's alphabet, without its zeros, into `shared.scratch`; what follows.
    fn string(&self, out: &mut Output<'_>, bytes: &'a [u8]) -> Option<&'a [u8]> {
        if !self.unicode {
            let (text, rest) = until_zero(bytes)?;
            narrow(out, text);
            return Some(rest);
        }
        // UTF-16 stands at an even place of the record.
        let place = self.bytes.len() - bytes.len();
        let bytes = bytes.get(place % 2..)?;
        let scratch = &mut out.shared.scratch;
        scratch.clear();
        for (count, pair) in bytes.chunks(2).enumerate() {
            match pair {
                [0, 0] | [0] => return bytes.get(count * 2 + pair.len()..),
                [low, _] if scratch.len() < SCRATCH_SIZE => scratch.push(*low),
                _ => return None,
            }
        }
        None
    }
}

/// The write request in a record that stands alone, if it is one.
pub(super) fn write_alone(content: &[u8]) -> Option<Transfer> {
    let record = Record::read(content)?;
    let alone = record.words().take(2)?.get(1) == Some(&NONE);
    if record.response || record.command != WRITE_ANDX || !alone {
        return None;
    }
    write_head(&record)
}

fn write_head(record: &Record<'_>) -> Option<Transfer> {
    let mut at = record.words();
    let words = at.u8()?;
    let mut transfer = match record.command {
        WRITE_ANDX => {
            at.skip(4)?;
            let file = record.file(at.array()?);
            let offset = at.le32()?;
            at.skip(8)?;
            let (high, low) = (at.le16()?, at.le16()?);
            let data = usize::from(at.le16()?);
            let offset_high = if words == 14 { at.le32()? } else { 0 };
            Transfer {
                key: record.key,
                version: 1,
                file,
                offset: u64::from(offset_high) << 32 | u64::from(offset),
                size: u32::from(high) << 16 | u32::from(low),
                at: data,
            }
        }
        WRITE => {
            let file = record.file(at.array()?);
            at.skip(2)?;
            let offset = u64::from(at.le32()?);
            // Estimate of what remains, count of bytes, their kind.
            at.skip(5)?;
            let size = u32::from(at.le16()?);
            let data = record.bytes.len() - at.rest().len();
            Transfer {
                key: record.key,
                version: 1,
                file,
                offset,
                size,
                at: data,
            }
        }
        _ => {
            let file = record.file(at.array()?);
            let count = at.le16()?;
            let offset = u64::from(at.le32()?);
            at.skip(4)?;
            let bytes = at.le16()?;
            let padding = usize::from(bytes.saturating_sub(count));
            let data = record.bytes.len() - at.rest().len() + padding;
            Transfer {
                key: record.key,
                version: 1,
                file,
                offset,
                size: u32::from(count),
                at: data,
            }
        }
    };
    if record.command == WRITE_ANDX && (transfer.at < 0x3c || transfer.at < record.at) {
        return None;
    }
    transfer.key.message = record.key.message;
    Some(transfer)
}

impl Smb {
    /// The read response in a record that stands alone, with what it answers.
    pub(super) fn smb1_read_alone(
        &mut self,
        content: &[u8],
        out: &mut Output<'_>,
    ) -> Option<Transfer> {
        let record = Record::read(content)?;
        let alone = record.words().take(2)?.get(1) == Some(&NONE);
        if !record.response || record.command != READ || !alone {
            return None;
        }
        self.smb1_read_head(out, &record)
    }

    fn smb1_read_head(&mut self, out: &mut Output<'_>, record: &Record<'_>) -> Option<Transfer> {
        if !matches!(record.status, 0 | pipe::BUFFER_OVERFLOW) {
            return None;
        }
        let mut at = record.words();
        at.skip(11)?;
        let low = at.le16()?;
        let data = usize::from(at.le16()?);
        let high = at.le32()?;
        at.skip(8)?;
        let least = record.bytes.len() - at.rest().len();
        let (file, offset) = self.asked(out.heap(), record.key.untreed(), false)?;
        Some(Transfer {
            key: record.key,
            version: 1,
            file,
            offset,
            size: high << 16 | u32::from(low),
            at: data.max(least),
        })
    }

    /// The commands of a record that is whole.
    pub(super) fn smb1(&mut self, content: &[u8], direction: Direction, out: &mut Output<'_>) {
        let Some(mut record) = Record::read(content) else {
            self.odd(out, direction, odd::MALFORMED);
            return;
        };
        // Every command stands behind the one before.
        loop {
            match (direction, record.response) {
                (Direction::ToServer, false) => self.smb1_request(&record, out),
                (Direction::ToClient, true) => self.smb1_response(&record, out),
                (Direction::ToServer, true) => {
                    return self.odd(out, direction, odd::RESPONSE_TO_SERVER);
                }
                (Direction::ToClient, false) => {
                    return self.odd(out, direction, odd::REQUEST_TO_CLIENT);
                }
            }
            match record.next() {
                Some(next) => record = next,
                None => return,
            }
        }
    }

    fn smb1_request(&mut self, record: &Record<'_>, out: &mut Output<'_>) {
        let done = match record.command {
            NEGOTIATE => self.smb1_negotiate(record, out),
            SESSION_SETUP => {
                self.smb1_session(record, out);
                Some(())
            }
            TREE_CONNECT => self.smb1_tree_connect(record, out),
            TREE_DISCONNECT => {
                self.remove_tree(out.heap(), record.key);
                self.smb1_plain(out, record);
                Some(())
            }
            NT_CREATE => self.smb1_create(record, out),
            CLOSE => {
                self.smb1_plain(out, record);
                Reader::at(record.bytes, record.at + 1)
                    .array()
                    .map(|id| self.close_handle(out, &record.file(id)))
            }
            READ => self.smb1_read_request(record, out),
            WRITE | WRITE_ANDX | WRITE_AND_CLOSE => self.smb1_write(record, out),
            TRANSACTION => self.smb1_transaction(record, out),
            TRANSACTION2 => self.smb1_transaction2(record, out),
            RENAME => {
                let tx = self.smb1_plain(out, record);
                // What cannot be read is told without its names.
                let _ = smb1_tell_names(record, out, tx);
                Some(())
            }
            NT_CANCEL | TRANSACTION2_SECONDARY | LOCKING => {
                let tx = self.begin(out, 1);
                let command = (1, u16::from(record.command));
                self.tell_command(out, tx, command, record.key, Direction::ToServer);
                out.complete(tx);
                Some(())
            }
            _ => {
                self.smb1_plain(out, record);
                Some(())
            }
        };
        if done.is_none() {
            self.odd(out, Direction::ToServer, odd::MALFORMED);
        }
    }

    fn smb1_plain(&mut self, out: &mut Output<'_>, record: &Record<'_>) -> TxId {
        let command = (1, u16::from(record.command));
        self.call(out, Kind::Plain, command, record.key, false)
    }

    fn smb1_negotiate(&mut self, record: &Record<'_>, out: &mut Output<'_>) -> Option<()> {
        let known = |call: &super::calls::Call| call.kind == Kind::Negotiate && call.version == 1;
        if let Some((_, call)) = self.calls.find(&out.shared.heap, known) {
            tell(out, call.tx, odd::DUPLICATE_NEGOTIATE);
            return Some(());
        }
        let command = (1, u16::from(NEGOTIATE));
        let tx = self.call(out, Kind::Negotiate, command, record.key, false);
        let mut rest = record.bytes.get(record.at + 3..)?;
        let mut odd_one = false;
        // A kind and a name that ends with zero, each.
        let mut place = 0u16;
        self.nt_lm = 0;
        while let Some((dialect, behind)) = until_zero(rest) {
            odd_one |= dialect.len() <= 1;
            place = place.saturating_add(1);
            if dialect == b"\x02NT LM 0.12" {
                self.nt_lm = place;
            }
            if usize::from(place) <= DIALECTS_TOLD_MAX {
                let name = dialect.get(1..).unwrap_or(&[]);
                told::tell_bytes(out, tx, Field::SmbDialectName, Direction::ToServer, name);
            }
            rest = behind;
        }
        if odd_one {
            tell(out, tx, odd::MALFORMED_DIALECTS);
        }
        Some(())
    }

    fn smb1_session(&mut self, record: &Record<'_>, out: &mut Output<'_>) {
        let mut at = record.words();
        let words = at.u8();
        if !matches!(words, Some(12 | 13)) {
            return;
        }
        let command = (1, u16::from(SESSION_SETUP));
        let tx = self.call(out, Kind::Session, command, record.key, true);
        let mut blob = || -> Option<&[u8]> {
            at.skip(14)?;
            let length = usize::from(at.le16()?);
            at.skip(10)?;
            at.take(length)
        };
        if words == Some(12)
            && let Some(blob) = blob()
        {
            auth::tell_user(out, tx, blob);
            let next = |out: &mut Output<'_>, bytes| record.string(out, bytes);
            told::tell_host(out, tx, Direction::ToServer, at.rest(), next);
        }
        self.request_is_known(out, tx);
    }

    fn smb1_tree_connect(&mut self, record: &Record<'_>, out: &mut Output<'_>) -> Option<()> {
        let command = (1, u16::from(TREE_CONNECT));
        let tx = self.call(out, Kind::Tree, command, record.key.untreed(), true);
        let mut at = record.words();
        at.skip(7)?;
        let password = usize::from(at.le16()?);
        at.skip(2 + password)?;
        let rest = record.string(out, at.rest())?;
        if let Some((service, _)) = until_zero(rest) {
            told::tell_bytes(out, tx, Field::SmbService, Direction::ToServer, service);
        }
        // The first of the two backslashes goes, as in Suricata.
        if out.shared.scratch.len() > 1 {
            out.shared.scratch.remove(0);
        }
        self.name_tree(out, tx);
        Some(())
    }

    fn smb1_create(&mut self, record: &Record<'_>, out: &mut Output<'_>) -> Option<()> {
        let tx = self.smb1_plain(out, record);
        let mut at = record.words();
        at.skip(6)?;
        let length = usize::from(at.le16()?);
        // Flags, root, access, size, attributes, share access; then how it is opened.
        at.skip(28)?;
        let (disposition, options) = (at.le32()?, at.le32()?);
        at.skip(5)?;
        let bytes = at.le16()?;
        if usize::from(bytes) < length {
            return None;
        }
        record.string(out, at.rest())?;
        told::tell_creation(out, tx, disposition, options);
        self.put_create(out, record.key.untreed());
        Some(())
    }

    fn smb1_read_request(&mut self, record: &Record<'_>, out: &mut Output<'_>) -> Option<()> {
        let mut at = record.words();
        let words = at.u8()?;
        at.skip(4)?;
        let file = record.file(at.array()?);
        let offset = at.le32()?;
        at.skip(10)?;
        let high = if words == 12 { at.le32()? } else { 0 };
        let offset = u64::from(high) << 32 | u64::from(offset);
        self.put_read(out.heap(), record.key.untreed(), file, offset);
        Some(())
    }

    fn smb1_write(&mut self, record: &Record<'_>, out: &mut Output<'_>) -> Option<()> {
        if record.command != WRITE_ANDX {
            self.smb1_plain(out, record);
        }
        let transfer = write_head(record)?;
        let data = record.bytes.get(transfer.at..)?;
        self.transfer_whole(out, &transfer, Direction::ToServer, data);
        if record.command == WRITE_AND_CLOSE {
            self.close_handle(out, &transfer.file);
        }
        Some(())
    }

    fn smb1_transaction(&mut self, record: &Record<'_>, out: &mut Output<'_>) -> Option<()> {
        let mut at = record.words();
        let words = at.u8()?;
        at.skip(22)?;
        let size = usize::from(at.le16()?);
        let place = usize::from(at.le16()?);
        let setup = at.u8()?;
        at.skip(1)?;
        if words != 16 || setup != 2 || size == 0 {
            return Some(());
        }
        at.skip(2)?;
        let id: [u8; 2] = at.array()?;
        let file = record.file(id);
        let [session, message] = [record.key.session as u32, record.key.message as u32];
        let entry = [session, message, u32::from(u16::from_le_bytes(id))];
        // Who is pushed out holds nothing.
        let _ = self.handles.push(out.heap(), HANDLES_MAX, &entry);
        let data = record.bytes.get(place..place + size)?;
        if self.is_rpc_pipe(out, &file) || pipe::probe(data) {
            let command = (1, u16::from(TRANSACTION));
            self.pipe_request(out, command, record.key, data);
        }
        Some(())
    }

    fn smb1_transaction2(&mut self, record: &Record<'_>, out: &mut Output<'_>) -> Option<()> {
        let mut at = record.words();
        at.skip(21)?;
        let parameters = usize::from(at.le16()?);
        at.skip(2)?;
        let data = usize::from(at.le16()?);
        at.skip(2)?;
        let function = at.le16()?;
        let mut at = Reader::at(record.bytes, parameters);
        let file = match function {
            6 => None,
            8 => Some(at.array::<2>()?),
            _ => return Some(()),
        };
        // Renames and deletions alone are transactions.
        let level = at.le16()?;
        if matches!(level, SET_NAME | SET_DISPOSITION) {
            let tx = self.smb1_plain(out, record);
            match file {
                Some(file) => {
                    told::tell_bytes(out, tx, Field::SmbFuid, Direction::ToServer, &file);
                    if !self.name_of(out, &record.file(file)) {
                        out.shared.scratch.extend_from_slice(b"<unknown>");
                    }
                }
                None => {
                    at.skip(4)?;
                    out.shared.scratch.clear();
                    let _ = record.string(out, at.rest());
                }
            }
            // What cannot be read is left out.
            let data = Reader::at(record.bytes, data);
            let _ = smb1_tell_change(out, tx, data, level, function);
        }
        Some(())
    }

    fn smb1_response(&mut self, record: &Record<'_>, out: &mut Output<'_>) {
        let (key, ok) = (record.key, record.status == 0);
        self.status = record.status;
        match record.command {
            NEGOTIATE => {
                let chosen = Reader::at(record.bytes, record.at + 1).le16();
                if ok && chosen.is_some_and(|place| place.checked_add(1) == Some(self.nt_lm)) {
                    self.dialect = NT_LM;
                }
                self.answer_negotiate(out, 1);
            }
            SESSION_SETUP => {
                let tx = self.asked_by(out, Kind::Session, key);
                let _ = smb1_tell_host(record, out, tx);
                self.answer_session(out, key);
            }
            TREE_CONNECT => {
                let pipe = ok && smb1_is_pipe(record);
                let tx = self.asked_by(out, Kind::Tree, key);
                if let Some((service, _)) = smb1_service(record).and_then(until_zero) {
                    told::tell_bytes(out, tx, Field::SmbService, Direction::ToClient, service);
                }
                if self.answer_tree(out, key.untreed(), pipe) && ok {
                    self.put_tree(out.heap(), key, pipe);
                }
            }
            TREE_DISCONNECT => {
                self.remove_tree(out.heap(), key);
                self.smb1_answered(out, record);
            }
            NT_CREATE => {
                let id = Reader::at(record.bytes, record.at + 6).array();
                if ok && let Some(id) = id {
                    self.created(out, key.untreed(), record.file(id));
                    self.smb1_tell_created(out, record, id);
                }
                self.smb1_answered(out, record);
            }
            READ => {
                if let Some(transfer) = self.smb1_read_head(out, record)
                    && let Some(data) = record.bytes.get(transfer.at..)
                {
                    self.settle_read(out, &transfer, Direction::ToClient);
                    self.transfer_whole(out, &transfer, Direction::ToClient, data);
                }
            }
            TRANSACTION => self.smb1_transacted(record, out),
            _ => self.smb1_answered(out, record),
        }
    }

    fn smb1_tell_created(&self, out: &mut Output<'_>, record: &Record<'_>, id: [u8; 2]) {
        let tx = self.exchange(out, (1, u16::from(NT_CREATE)), record.key);
        let way = Direction::ToClient;
        // Words, the next command, the lock, the handle, what was done.
        told::tell_times(out, tx, Reader::at(record.bytes, record.at + 12));
        // Four times, attributes, the size on disk.
        if let Some(size) = Reader::at(record.bytes, record.at + 56).le64() {
            out.number_for_events(tx, Field::SmbSize, way, size);
        }
        told::tell_bytes(out, tx, Field::SmbFuid, way, &id);
    }

    fn smb1_answered(&mut self, out: &mut Output<'_>, record: &Record<'_>) {
        self.answer(out, (1, u16::from(record.command)), record.key);
    }

    fn smb1_transacted(&mut self, record: &Record<'_>, out: &mut Output<'_>) {
        let [session, message] = [record.key.session as u32, record.key.message as u32];
        let heap = out.heap();
        let found = self
            .handles
            .find(heap, |h| h[0] == session && h[1] == message);
        let Some((place, entry)) = found else {
            return;
        };
        let _ = self.handles.remove(heap, place);
        let file = record.file((entry[2] as u16).to_le_bytes());
        let ok = matches!(record.status, 0 | pipe::BUFFER_OVERFLOW);
        let Some(data) = transaction_data(record).filter(|_| ok) else {
            self.pipe_error(out, record.key);
            return;
        };
        if record.status == pipe::BUFFER_OVERFLOW {
            self.pipe_piece(out, record.key, &file, data);
        } else {
            let command = (1, u16::from(TRANSACTION));
            self.pipe_answer(out, command, record.key, &file, data);
        }
    }
}

/// The service that a tree connect's answer names, and what follows it.
fn smb1_service<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    let words = usize::from(record.words().u8()?);
    Some(Reader::at(record.bytes, record.at + 3 + 2 * words).rest())
}

fn smb1_is_pipe(record: &Record<'_>) -> bool {
    smb1_service(record).is_some_and(|service| service.starts_with(b"IPC\0"))
}

/// The names of a rename (MS-CIFS 2.2.4.8.1).
fn smb1_tell_names(record: &Record<'_>, out: &mut Output<'_>, tx: TxId) -> Option<()> {
    let mut at = record.words();
    // Count of words, attributes, count of bytes; a kind before each name.
    at.skip(6)?;
    let rest = record.string(out, at.rest())?;
    out.scratch_for_events(tx, Field::SmbRenameFrom, Direction::ToServer);
    record.string(out, rest.get(1..)?)?;
    out.scratch_for_events(tx, Field::SmbRenameTo, Direction::ToServer);
    Some(())
}

/// A new name or a deletion (MS-CIFS 2.2.6.7, 2.2.6.9, MS-FSCC 2.4); the old name stands in
/// `shared.scratch`.
fn smb1_tell_change(
    out: &mut Output<'_>,
    tx: TxId,
    mut data: Reader<'_>,
    level: u16,
    function: u16,
) -> Option<()> {
    let way = Direction::ToServer;
    if level == SET_NAME {
        out.scratch_for_events(tx, Field::SmbRenameFrom, way);
        data.skip(8)?;
        let length = data.le32()? as usize;
        narrow(out, data.take(length)?);
        out.scratch_for_events(tx, Field::SmbRenameTo, way);
        return Some(());
    }
    out.scratch_for_events(tx, Field::SmbFilename, way);
    let subcommand: &[u8] = match function {
        8 => b"SET_FILE_INFO",
        _ => b"SET_PATH_INFO",
    };
    told::tell_bytes(out, tx, Field::SmbSubcommand, way, subcommand);
    let level = b"Set Disposition Information";
    told::tell_bytes(out, tx, Field::SmbLevel, way, level);
    told::tell_access(out, tx, data.u8()? & 1 != 0);
    Some(())
}

/// System and manager of a server, as the answer to a session setup names them (MS-SMB 2.2.4.6.2).
fn smb1_tell_host(record: &Record<'_>, out: &mut Output<'_>, tx: TxId) -> Option<()> {
    let mut at = record.words();
    let words = at.u8()?;
    at.skip(6)?;
    let blob = match words {
        4 => usize::from(at.le16()?),
        _ => 0,
    };
    at.skip(2 + blob)?;
    let next = |out: &mut Output<'_>, bytes| record.string(out, bytes);
    told::tell_host(out, tx, Direction::ToClient, at.rest(), next)
}

fn transaction_data<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    let mut at = record.words();
    if at.u8()? == 0 {
        return None;
    }
    at.skip(12)?;
    let size = usize::from(at.le16()?);
    let place = usize::from(at.le16()?);
    record.bytes.get(place..place + size)
}
