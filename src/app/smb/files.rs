//! Reads and writes of SMB: whether their bytes are a file's or those of a pipe.

use super::super::chunks::Queue;
use super::super::field::Field;
use super::super::output::Output;
use super::super::table::guid_words;
use super::{Key, Smb, odd, pipe, smb1, smb2, tell, told};
use crate::packet::Direction;

/// A read or write that a record announces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub key: Key,
    pub version: u8,
    pub file: [u8; 16],
    pub offset: u64,
    /// Bytes that it says to carry.
    pub size: u32,
    /// Where they begin in the record.
    pub at: usize,
}

/// Where its bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Route {
    File,
    Pipe,
    Nothing,
}

impl Smb {
    /// Where the bytes of a transfer go.
    pub(super) fn route(
        &mut self,
        out: &mut Output<'_>,
        transfer: &Transfer,
        direction: Direction,
        data: &[u8],
    ) -> Route {
        if self.files.has(&out.shared.heap, &transfer.file, direction) {
            return Route::File;
        }
        match self.is_pipe(&out.shared.heap, transfer.key) {
            Some(false) => Route::File,
            Some(true) => {
                let rpc = transfer.version == 1
                    || self.is_rpc_pipe(out, &transfer.file)
                    || pipe::probe(data)
                    || self
                        .pieces
                        .has(&out.shared.heap, transfer.key, &transfer.file);
                if rpc { Route::Pipe } else { Route::Nothing }
            }
            // The tree connect was not seen: the bytes have to tell.
            None if transfer.version == 2 && pipe::probe(data) => {
                self.put_tree(out.heap(), transfer.key, true);
                Route::Pipe
            }
            None => Route::File,
        }
    }

    /// Begins a chunk; its bytes go to `Files::data`.
    pub(super) fn begin_chunk(
        &mut self,
        out: &mut Output<'_>,
        transfer: &Transfer,
        direction: Direction,
    ) {
        let mut files = std::mem::take(&mut self.files);
        let begun = files.begin(
            out,
            &transfer.file,
            direction,
            (transfer.offset, transfer.size),
            |out| {
                let tx = self.begin(out, transfer.version);
                let command = (
                    transfer.version,
                    transfer_command(transfer.version, direction),
                );
                self.tell_command(out, tx, command, transfer.key, direction);
                if !self.name_of(out, &transfer.file) {
                    let unknown = (transfer.version == 1) == (direction == Direction::ToServer);
                    let name: &[u8] = if unknown { b"<unknown>" } else { b"" };
                    out.shared.scratch.extend_from_slice(name);
                }
                out.field_of_scratch(tx, Field::FileName, direction);
                out.scratch_for_events(tx, Field::SmbFilename, direction);
                let handle = match transfer.version {
                    1 => &transfer.file[..2],
                    _ => &transfer.file[..],
                };
                told::tell_bytes(out, tx, Field::SmbFuid, direction, handle);
                tx
            },
        );
        self.files = files;
        if begun.overlaps {
            tell(out, begun.tx, odd::FILE_OVERLAP);
        }
        let event = match (begun.queue, direction) {
            (Queue::Fits, _) => return,
            (Queue::Large, Direction::ToServer) => odd::WRITE_QUEUE_SIZE,
            (Queue::Large, Direction::ToClient) => odd::READ_QUEUE_SIZE,
            (Queue::Long, Direction::ToServer) => odd::WRITE_QUEUE_COUNT,
            (Queue::Long, Direction::ToClient) => odd::READ_QUEUE_COUNT,
        };
        tell(out, begun.tx, event);
    }

    /// A transfer whose bytes are all here.
    pub(super) fn transfer_whole(
        &mut self,
        out: &mut Output<'_>,
        transfer: &Transfer,
        direction: Direction,
        data: &[u8],
    ) {
        let Some(bytes) = data.get(..transfer.size as usize) else {
            self.too_large(out, direction);
            return;
        };
        match self.route(out, transfer, direction, bytes) {
            Route::File => {
                self.begin_chunk(out, transfer, direction);
                self.files.data(out, &transfer.file, direction, bytes);
            }
            Route::Pipe if direction == Direction::ToServer => {
                self.pipe_request(out, (transfer.version, 0), transfer.key, bytes);
            }
            Route::Pipe => {
                self.pipe_answer(
                    out,
                    (transfer.version, 0),
                    transfer.key,
                    &transfer.file,
                    bytes,
                );
            }
            Route::Nothing => {}
        }
    }

    /// Closes a handle: its files are complete, its name is forgotten.
    pub(super) fn close_handle(&mut self, out: &mut Output<'_>, file: &[u8; 16]) {
        self.names.remove(out.heap(), guid_words(*file));
        for direction in [Direction::ToServer, Direction::ToClient] {
            self.files.close(out, file, direction);
        }
    }
}

/// The command of a read or a write.
pub(super) fn transfer_command(version: u8, direction: Direction) -> u16 {
    match (version, direction) {
        (1, Direction::ToServer) => u16::from(smb1::WRITE_ANDX),
        (1, Direction::ToClient) => u16::from(smb1::READ),
        (_, Direction::ToServer) => smb2::WRITE,
        (_, Direction::ToClient) => smb2::READ,
    }
}
