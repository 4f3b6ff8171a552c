//! Records of SMB 2 and 3 (MS-SMB2 2.2), requests and responses, alone or compounded.

use super::super::field::Field;
use super::super::output::{Output, TxId};
use super::super::reader::Reader;
use super::super::settings::Number;
use super::calls::Kind;
use super::files::Transfer;
use super::{Key, Smb, auth, narrow, odd, pipe, told};
use crate::packet::Direction;

/// Bytes of the header.
const HEADER: usize = 64;
/// Fixed bytes of a write request and of a read response before the data.
const WRITE_HEAD: usize = 48;
const READ_HEAD: usize = 16;

/// Commands.
const NEGOTIATE: u16 = 0;
const SESSION_SETUP: u16 = 1;
const TREE_CONNECT: u16 = 3;
const TREE_DISCONNECT: u16 = 4;
const CREATE: u16 = 5;
const CLOSE: u16 = 6;
pub(super) const READ: u16 = 8;
pub(super) const WRITE: u16 = 9;
/// Device control: calls on a pipe may come with it.
pub(super) const IOCTL: u16 = 11;
const GET_INFO: u16 = 16;
const SET_INFO: u16 = 17;

/// FSCTL_PIPE_TRANSCEIVE.
const PIPE_TRANSCEIVE: u32 = 0x0011_c017;

/// Dialects of a client that events tell of.
const DIALECTS_TOLD_MAX: usize = 8;

const PENDING: u32 = 0x0000_0103;
const END_OF_FILE: u32 = 0xc000_0011;

/// A record.
#[derive(Clone, Copy, Debug)]
struct Record<'a> {
    command: u16,
    status: u32,
    response: bool,
    /// Bytes to the next record of the compound; 0: it is the last.
    next: usize,
    key: Key,
    body: &'a [u8],
    /// Bytes of the header, which offsets count.
    header: usize,
}

impl<'a> Record<'a> {
    fn read(bytes: &'a [u8]) -> Option<Record<'a>> {
        let mut at = Reader::new(bytes);
        at.skip(4)?;
        let header = usize::from(at.le16()?);
        at.skip(2)?;
        let status = at.le32()?;
        let command = at.le16()?;
        at.skip(2)?;
        let flags = at.le32()?;
        let next = at.le32()? as usize;
        let message = at.le64()?;
        let (_process, tree) = (at.le32()?, at.le32()?);
        let session = at.le64()?;
        at.skip(16)?;
        let end = if next > header { next } else { bytes.len() };
        let asynchronous = flags & 2 != 0;
        Some(Record {
            command,
            status,
            response: flags & 1 != 0,
            next: if next > header { next } else { 0 },
            key: Key {
                session,
                tree: if asynchronous { 0 } else { tree },
                message,
            },
            body: bytes.get(HEADER..end.min(bytes.len())).unwrap_or(&[]),
            header: HEADER,
        })
    }
}

/// The write request in a record that stands alone, if it is one.
pub(super) fn write_alone(content: &[u8]) -> Option<Transfer> {
    let record = Record::read(content)?;
    if record.next != 0 || record.response || record.command != WRITE {
        return None;
    }
    write_head(&record)
}

fn write_head(record: &Record<'_>) -> Option<Transfer> {
    let mut at = Reader::new(record.body);
    at.skip(2)?;
    let data = usize::from(at.le16()?);
    let size = at.le32()?;
    let offset = at.le64()?;
    let file = at.array()?;
    at.skip(16)?;
    Some(Transfer {
        key: record.key,
        version: 2,
        file,
        offset,
        size,
        at: data.max(record.header + WRITE_HEAD),
    })
}

impl Smb {
    /// The read response in a record that stands alone, with what it answers.
    pub(super) fn smb2_read_alone(
        &mut self,
        content: &[u8],
        out: &mut Output<'_>,
    ) -> Option<Transfer> {
        let record = Record::read(content)?;
        if record.next != 0 || !record.response || record.command != READ {
            return None;
        }
        if !matches!(record.status, 0 | pipe::BUFFER_OVERFLOW) {
            return None;
        }
        self.read_head(out, &record)
    }

    fn read_head(&mut self, out: &mut Output<'_>, record: &Record<'_>) -> Option<Transfer> {
        let mut at = Reader::new(record.body);
        at.skip(2)?;
        let data = usize::from(at.u8()?);
        at.skip(1)?;
        let size = at.le32()?;
        at.skip(8)?;
        let (file, offset) = self.asked(out.heap(), record.key.untreed(), false)?;
        Some(Transfer {
            key: record.key,
            version: 2,
            file,
            offset,
            size,
            at: data.max(record.header + READ_HEAD),
        })
    }

    /// A response that was asked for has come.
    pub(super) fn settle_read(
        &mut self,
        out: &mut Output<'_>,
        transfer: &Transfer,
        direction: Direction,
    ) {
        if direction == Direction::ToClient {
            let _ = self.asked(out.heap(), transfer.key.untreed(), true);
            if self.max_read != 0 && transfer.size > self.max_read {
                self.odd(out, direction, odd::READ_RESPONSE);
            }
        } else if self.max_write != 0 && transfer.size > self.max_write {
            self.odd(out, direction, odd::WRITE_REQUEST);
        }
    }

    /// The records of a frame that is whole.
    pub(super) fn smb2(&mut self, content: &[u8], direction: Direction, out: &mut Output<'_>) {
        let mut rest = content;
        // Every round takes more than a header.
        while !rest.is_empty() {
            let record = match rest.first_chunk::<4>() {
                Some(b"\xfeSMB") => Record::read(rest),
                _ => None,
            };
            let Some(record) = record else {
                self.odd(out, direction, odd::MALFORMED);
                return;
            };
            match (direction, record.response) {
                (Direction::ToServer, false) => self.smb2_request(&record, rest, out),
                (Direction::ToClient, true) => self.smb2_response(&record, rest, out),
                (Direction::ToServer, true) => self.odd(out, direction, odd::RESPONSE_TO_SERVER),
                (Direction::ToClient, false) => self.odd(out, direction, odd::REQUEST_TO_CLIENT),
            }
            if record.next == 0 {
                return;
            }
            rest = rest.get(record.next..).unwrap_or(&[]);
        }
    }

    fn smb2_request(&mut self, record: &Record<'_>, bytes: &[u8], out: &mut Output<'_>) {
        let command = (2, record.command);
        let done = match record.command {
            NEGOTIATE => self.smb2_negotiate(record, out),
            SESSION_SETUP => {
                let tx = self.call(out, Kind::Session, command, record.key, true);
                auth::tell_user(out, tx, record.body.get(24..).unwrap_or(&[]));
                self.request_is_known(out, tx);
                Some(())
            }
            TREE_CONNECT => self.smb2_tree_connect(record, bytes, out),
            TREE_DISCONNECT => {
                self.remove_tree(out.heap(), record.key);
                self.plain(out, record);
                Some(())
            }
            CREATE => self.smb2_create(record, bytes, out),
            CLOSE => {
                let file = Reader::at(record.body, 8).array();
                if let Some(file) = file {
                    self.close_handle(out, &file);
                }
                self.plain(out, record);
                file.map(|_| ())
            }
            READ => self.smb2_read_request(record, out),
            WRITE => self.smb2_write(record, bytes, out),
            IOCTL => self.smb2_ioctl(record, out),
            GET_INFO => Some(()),
            SET_INFO => self.smb2_set_info(record, out),
            _ => {
                self.plain(out, record);
                Some(())
            }
        };
        if done.is_none() {
            self.odd(out, Direction::ToServer, odd::MALFORMED);
        }
    }

    /// A command that is only followed to its answer.
    fn plain(&mut self, out: &mut Output<'_>, record: &Record<'_>) -> TxId {
        let command = (2, record.command);
        self.call(out, Kind::Plain, command, record.key, false)
    }

    fn smb2_negotiate(&mut self, record: &Record<'_>, out: &mut Output<'_>) -> Option<()> {
        let known = |call: &super::calls::Call| call.kind == Kind::Negotiate && call.version == 2;
        let tx = match self.calls.find(&out.shared.heap, known) {
            None => self.call(out, Kind::Negotiate, (2, NEGOTIATE), record.key, false),
            Some(_) => TxId::NONE,
        };
        let dialects = Reader::at(record.body, 2).le16()?;
        let list = record.body.get(36..36 + 2 * usize::from(dialects))?;
        for pair in list.chunks_exact(2).take(DIALECTS_TOLD_MAX) {
            let dialect = u64::from(Reader::new(pair).le16()?);
            out.number_for_events(tx, Field::SmbClientDialects, Direction::ToServer, dialect);
        }
        let guid = record.body.get(12..28)?;
        told::tell_bytes(out, tx, Field::SmbClientGuid, Direction::ToServer, guid);
        Some(())
    }

    fn smb2_tree_connect(
        &mut self,
        record: &Record<'_>,
        bytes: &[u8],
        out: &mut Output<'_>,
    ) -> Option<()> {
        let tx = self.call(
            out,
            Kind::Tree,
            (2, TREE_CONNECT),
            record.key.untreed(),
            true,
        );
        let mut at = Reader::at(record.body, 4);
        let offset = usize::from(at.le16()?);
        let length = usize::from(at.le16()?);
        let path = bytes.get(offset..offset + length)?;
        narrow(out, path);
        self.name_tree(out, tx);
        Some(())
    }

    fn smb2_create(
        &mut self,
        record: &Record<'_>,
        bytes: &[u8],
        out: &mut Output<'_>,
    ) -> Option<()> {
        let tx = self.plain(out, record);
        let mut at = Reader::at(record.body, 44);
        let offset = usize::from(at.le16()?);
        let length = usize::from(at.le16()?);
        let name = bytes.get(offset..offset + length);
        // Without a name the offset need not make sense.
        let name = if length == 0 { &[] } else { name? };
        narrow(out, name);
        let mut at = Reader::at(record.body, 36);
        if let (Some(disposition), Some(options)) = (at.le32(), at.le32()) {
            told::tell_creation(out, tx, disposition, options);
        }
        self.put_create(out, record.key.untreed());
        Some(())
    }

    /// Renames and deletions (MS-FSCC 2.4.42, 2.4.11) alone are transactions.
    fn smb2_set_info(&mut self, record: &Record<'_>, out: &mut Output<'_>) -> Option<()> {
        let rename = match record.body.get(2..4)? {
            [1, 10] => true,
            [1, 13] => false,
            _ => return Some(()),
        };
        let tx = self.plain(out, record);
        let file: [u8; 16] = Reader::at(record.body, 16).array()?;
        let mut data = Reader::at(record.body, 32);
        if !self.name_of(out, &file) {
            out.shared.scratch.extend_from_slice(b"<unknown>");
        }
        let way = Direction::ToServer;
        told::tell_bytes(out, tx, Field::SmbFuid, way, &file);
        if !rename {
            out.scratch_for_events(tx, Field::SmbFilename, way);
            told::tell_access(out, tx, data.u8()? & 1 != 0);
            return Some(());
        }
        out.scratch_for_events(tx, Field::SmbRenameFrom, way);
        for (field, text) in [
            (Field::SmbSetInfoClass, &b"FILE_INFO"[..]),
            (Field::SmbSetInfoLevel, b"SMB2_FILE_RENAME_INFO"),
        ] {
            told::tell_bytes(out, tx, field, way, text);
        }
        data.skip(16)?;
        let length = data.le32()? as usize;
        narrow(out, data.take(length)?);
        out.scratch_for_events(tx, Field::SmbRenameTo, Direction::ToServer);
        Some(())
    }

    fn smb2_read_request(&mut self, record: &Record<'_>, out: &mut Output<'_>) -> Option<()> {
        let mut at = Reader::at(record.body, 4);
        let size = at.le32()?;
        let offset = at.le64()?;
        let file = at.array()?;
        let over = exceeds(out, Number::SmbRead, size);
        if (self.max_read != 0 && size > self.max_read) || over {
            self.odd(out, Direction::ToServer, odd::READ_REQUEST);
        }
        self.put_read(out.heap(), record.key.untreed(), file, offset);
        Some(())
    }

    fn smb2_write(
        &mut self,
        record: &Record<'_>,
        bytes: &[u8],
        out: &mut Output<'_>,
    ) -> Option<()> {
        let transfer = write_head(record)?;
        let end = record.header + record.body.len();
        let data = bytes.get(transfer.at..end)?;
        self.settle_read(out, &transfer, Direction::ToServer);
        self.transfer_whole(out, &transfer, Direction::ToServer, data);
        Some(())
    }

    fn smb2_ioctl(&mut self, record: &Record<'_>, out: &mut Output<'_>) -> Option<()> {
        let mut at = Reader::at(record.body, 4);
        let function = at.le32()?;
        let file: [u8; 16] = at.array()?;
        at.skip(4)?;
        let size = at.le32()? as usize;
        let data = Reader::at(record.body, 56).take(size);
        if function == PIPE_TRANSCEIVE
            && let Some(data) = data
            && (self.is_rpc_pipe(out, &file) || pipe::probe(data))
        {
            self.pipe_request(out, (2, IOCTL), record.key, data);
            return Some(());
        }
        let tx = self.plain(out, record);
        let (way, number) = (Direction::ToServer, u64::from(function));
        out.number_for_events(tx, Field::SmbFunction, way, number);
        data.map(|_| ())
    }

    fn smb2_response(&mut self, record: &Record<'_>, bytes: &[u8], out: &mut Output<'_>) {
        let key = record.key;
        let ok = record.status == 0;
        self.status = record.status;
        match record.command {
            NEGOTIATE => self.smb2_negotiated(record, out),
            SESSION_SETUP => self.answer_session(out, key),
            TREE_CONNECT => {
                let pipe = ok && record.body.get(2) == Some(&2);
                if let Some(kind) = record.body.get(2).filter(|_| ok) {
                    let (tx, number) = (self.asked_by(out, Kind::Tree, key), u64::from(*kind));
                    out.number_for_events(tx, Field::SmbShareType, Direction::ToClient, number);
                }
                if self.answer_tree(out, key.untreed(), pipe) && ok {
                    self.put_tree(out.heap(), key, pipe);
                }
            }
            TREE_DISCONNECT => {
                self.remove_tree(out.heap(), key);
                self.answered(out, record);
            }
            CREATE => {
                if ok && let Some(file) = Reader::at(record.body, 64).array() {
                    self.created(out, key.untreed(), file);
                    self.smb2_tell_created(out, record, &file);
                }
                self.answered(out, record);
            }
            READ => self.smb2_read_response(record, bytes, out),
            IOCTL => self.smb2_controlled(record, bytes, out),
            _ => self.answered(out, record),
        }
    }

    fn smb2_tell_created(&self, out: &mut Output<'_>, record: &Record<'_>, file: &[u8; 16]) {
        let tx = self.exchange(out, (2, CREATE), record.key);
        let way = Direction::ToClient;
        told::tell_times(out, tx, Reader::at(record.body, 8));
        if let Some(size) = Reader::at(record.body, 48).le64() {
            out.number_for_events(tx, Field::SmbSize, way, size);
        }
        told::tell_bytes(out, tx, Field::SmbFuid, way, file);
    }

    fn answered(&mut self, out: &mut Output<'_>, record: &Record<'_>) {
        if record.status != PENDING {
            self.answer(out, (2, record.command), record.key);
        }
    }

    fn smb2_negotiated(&mut self, record: &Record<'_>, out: &mut Output<'_>) {
        if record.status == 0 {
            self.dialect = Reader::at(record.body, 4).le16().unwrap_or(0);
        }
        let mut at = Reader::at(record.body, 32);
        if record.status == 0
            && let (Some(read), Some(write)) = (at.le32(), at.le32())
        {
            (self.max_read, self.max_write) = (read, write);
            let tx = self.negotiation(out);
            let guid = record.body.get(8..24).unwrap_or(&[]);
            told::tell_bytes(out, tx, Field::SmbServerGuid, Direction::ToClient, guid);
            for (field, size) in [(Field::SmbMaxRead, read), (Field::SmbMaxWrite, write)] {
                out.number_for_events(tx, field, Direction::ToClient, u64::from(size));
            }
            if exceeds(out, Number::SmbRead, read) {
                self.odd(out, Direction::ToClient, odd::MAX_READ);
            }
            if exceeds(out, Number::SmbWrite, write) {
                self.odd(out, Direction::ToClient, odd::MAX_WRITE);
            }
        }
        // It may answer a negotiation of SMB 1.
        if self.answer_negotiate(out, 2).is_none() {
            self.answer_negotiate(out, 1);
        }
    }

    fn smb2_read_response(&mut self, record: &Record<'_>, bytes: &[u8], out: &mut Output<'_>) {
        let key = record.key.untreed();
        if record.status == END_OF_FILE {
            if let Some((file, _)) = self.asked(out.heap(), key, true) {
                self.files.close(out, &file, Direction::ToClient);
            }
            return;
        }
        if !matches!(record.status, 0 | pipe::BUFFER_OVERFLOW) {
            return;
        }
        if let Some(transfer) = self.read_head(out, record)
            && let Some(data) = bytes.get(transfer.at..record.header + record.body.len())
        {
            self.settle_read(out, &transfer, Direction::ToClient);
            self.transfer_whole(out, &transfer, Direction::ToClient, data);
        }
    }

    fn smb2_controlled(&mut self, record: &Record<'_>, bytes: &[u8], out: &mut Output<'_>) {
        let ok = matches!(record.status, 0 | pipe::BUFFER_OVERFLOW);
        if ok
            && let Some((file, data)) = control_output(record, bytes)
            && (self.is_rpc_pipe(out, &file) || pipe::probe(data))
        {
            self.pipe_answer(out, (2, IOCTL), record.key, &file, data);
            return;
        }
        if record.status != PENDING {
            self.pipe_error(out, record.key);
        }
        self.answered(out, record);
    }
}

/// Handle and output of a pipe's device control.
fn control_output<'a>(record: &Record<'_>, bytes: &'a [u8]) -> Option<([u8; 16], &'a [u8])> {
    let mut at = Reader::at(record.body, 4);
    if at.le32()? != PIPE_TRANSCEIVE {
        return None;
    }
    let file = at.array()?;
    at.skip(8)?;
    let offset = at.le32()? as usize;
    let size = at.le32()? as usize;
    Some((file, bytes.get(offset..)?.get(..size)?))
}

/// Whether a transfer is longer than the setting allows; 0: any length is allowed.
fn exceeds(out: &Output<'_>, setting: Number, size: u32) -> bool {
    let most = out.shared.limits.parsers.number(setting);
    most != 0 && size > most
}
