//! Files of transactions on their way out: what a `filestore` rule asks for, the pieces of stored
//! files, and the event of a file that is complete. What a file is, app/file.rs knows; where it is
//! written, eve/.

use super::feed::OfFlow;
use super::{DetectionAccess, FlowMark, Hit, MatchStage, state};
use crate::app::{Apps, Field, FileInfo, FileState, Heap, Instance, Transaction, record};
use crate::counters::Counter;
use crate::event::{Emit, EventKind, FileNote};
use crate::packet::Direction;
use crate::rules::signature::Signature;

impl<D: DetectionAccess> MatchStage<D> {
    /// Nothing is told of a transaction at its end.
    pub(super) fn hush(&mut self, transaction: u32) {
        if let Some((transaction, _)) = self
            .apps
            .as_mut()
            .and_then(|apps| apps.transaction_mut(transaction))
        {
            transaction.told = true;
        }
    }

    /// Marks the files that a rule stores.
    pub(super) fn store_files(
        &mut self,
        signature: &Signature,
        hit: &Hit,
        mark: &FlowMark,
        emit: &mut Emit,
    ) {
        let Some(asked) = signature.filestore else {
            return;
        };
        let app = self.slabs.app(mark.slab);
        let Some(apps) = self.apps.as_mut().filter(|_| app != state::NONE) else {
            return;
        };
        // A rule about a file means the side that it matched in, another rule the answer too.
        let about_file = signature.inspect.iter().any(|view| {
            super::app_program::field_of(view).is_some_and(|f| f.name().starts_with("file"))
        });
        let side = [Direction::ToServer, Direction::ToClient].map(|d| d == hit.direction);
        let directions = match asked.directions {
            Some(directions) => directions,
            None if about_file => side,
            None => [true; 2],
        };
        if about_file && let Some((transaction, heap)) = apps.transaction_mut(hit.transaction) {
            for direction in [Direction::ToServer, Direction::ToClient] {
                let sid = u64::from(signature.sid);
                let asked = directions[direction.index()];
                let kept = !asked || transaction.add_number(heap, Field::FileSid, direction, sid);
                self.lost += u64::from(!kept);
            }
        }
        // What waits was said before the bytes that are shown now.
        drain(apps, emit);
        apps.store_files(
            app,
            hit.transaction,
            directions,
            asked.flow,
            |number, bytes| {
                emit.file_bytes(number, 0, bytes);
            },
        );
    }
}

/// Hands the pieces that wait to the writer.
pub(super) fn drain(apps: &mut Apps, emit: &mut Emit) {
    let outbox = &mut apps.shared.outbox;
    if outbox.is_empty() {
        return;
    }
    for (piece, bytes) in outbox.pieces() {
        emit.file_bytes(piece.file, piece.offset, bytes);
    }
    outbox.clear();
}

/// Tells of the files of a transaction that is complete: of each, if they are events, else of stored
/// ones.
pub(super) fn tell(
    transaction: &Transaction,
    heap: &Heap,
    (events, extra): (bool, record::Extra),
    flow: OfFlow<'_>,
    emit: &mut Emit,
) {
    for instance in transaction.instances(heap) {
        if instance.field != Field::FileInfo {
            continue;
        }
        let Some(info) = FileInfo::decode(transaction.bytes(heap, &instance)) else {
            continue;
        };
        if events || info.stored {
            emit.counters.inc(Counter::Files);
            tell_file((transaction, extra), heap, &instance, &info, flow, emit);
        }
    }
}

fn tell_file(
    (transaction, extra): (&Transaction, record::Extra),
    heap: &Heap,
    instance: &Instance,
    info: &FileInfo,
    flow: OfFlow<'_>,
    emit: &mut Emit,
) {
    emit.event(|event| {
        flow.fill(event, EventKind::File, instance.direction);
        event.app = transaction.protocol as u8;
        event.file = FileNote {
            number: info.number,
            offset: 0,
            size: info.size,
            truncated: info.state == FileState::Truncated,
            gaps: info.gaps,
            stored: info.stored,
            md5: info.md5,
            sha1: info.sha1,
            sha256: info.sha256,
        };
        event.set_payload(name(transaction, heap, info));
        record::encode(transaction, heap, extra, &mut event.record);
    });
}

/// The file's name; of a body without one, its path.
fn name<'a>(transaction: &Transaction, heap: &'a Heap, info: &FileInfo) -> &'a [u8] {
    let given = info
        .name
        .and_then(|place| transaction.instance(heap, place as usize));
    if let Some(given) = given {
        return transaction.bytes(heap, &given);
    }
    let path = transaction
        .value(heap, Field::HttpPath, Direction::ToServer)
        .or_else(|| transaction.value(heap, Field::HttpUriRaw, Direction::ToServer))
        .unwrap_or(&[]);
    let end = memchr::memchr(b'?', path).unwrap_or(path.len());
    path.get(..end).unwrap_or(path)
}
