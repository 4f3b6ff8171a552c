//! What events alone tell of calls and replies: who calls, which file, what came of it (RFC 5531
//! sections 8 and 9; RFC 1094 section 2.2, RFC 1813 section 3).

use super::{Call, Nfs, auth, digest, handle_bytes, opaque};
use crate::app::field::Field;
use crate::app::output::{Output, TxId};
use crate::app::reader::Reader;
use crate::app::table::guid_words;
use crate::packet::Direction::{self, ToClient, ToServer};

/// Credentials that say who calls (RFC 5531 appendix A).
const UNIX: u32 = 1;

/// Procedures by what their arguments begin with: a handle; a handle and a name; two of these.
enum Arguments {
    Handle,
    Name,
    Names,
}

fn arguments_of(version: u32, procedure: u32) -> Option<Arguments> {
    Some(match (version, procedure) {
        (2 | 3, 1) | (3, 4 | 16 | 17) => Arguments::Handle,
        (2, 4 | 9 | 10 | 14 | 15) | (3, 3 | 8 | 9 | 12 | 13) => Arguments::Name,
        (2, 11) | (3, 14) => Arguments::Names,
        _ => return None,
    })
}

impl Nfs {
    /// Tells of a call whose transaction has begun. `at`: its arguments.
    pub(super) fn tell_call(
        &self,
        out: &mut Output<'_>,
        call: &Call,
        content: &[u8],
        at: Reader<'_>,
    ) {
        if !out.wants(Field::NfsXid) || !call.tx.is_some() {
            return;
        }
        let _ = tell_caller(out, call.tx, content);
        let _ = self.tell_names(out, call, at);
    }

    fn tell_names(&self, out: &mut Output<'_>, call: &Call, mut at: Reader<'_>) -> Option<()> {
        let arguments = arguments_of(call.version, call.procedure)?;
        let handle = handle_bytes(&mut at, call.version)?;
        tell_handle(out, call.tx, ToServer, handle);
        let field = Field::NfsFilename;
        if let Arguments::Handle = arguments {
            self.names.copy(out, guid_words(digest(handle)));
            out.scratch_for_events(call.tx, field, ToServer);
            return Some(());
        }
        let name = opaque(&mut at)?;
        out.field(call.tx, field, ToServer, name);
        if let Arguments::Names = arguments {
            out.field(call.tx, Field::NfsRenameFrom, ToServer, name);
            handle_bytes(&mut at, call.version)?;
            out.field(call.tx, Field::NfsRenameTo, ToServer, opaque(&mut at)?);
        }
        Some(())
    }
}

/// Number and credentials of a call.
fn tell_caller(out: &mut Output<'_>, tx: TxId, content: &[u8]) -> Option<()> {
    let mut at = Reader::new(content);
    let mut tell = |field, number| out.number(tx, field, ToServer, u64::from(number));
    tell(Field::NfsXid, at.u32()?);
    // Kind of message, version of RPC, program, its version, procedure.
    at.skip(20)?;
    let flavor = at.u32()?;
    tell(Field::NfsAuth, flavor);
    if flavor != UNIX {
        return Some(());
    }
    // Length of the credentials, a stamp.
    at.skip(8)?;
    let machine = opaque(&mut at)?;
    tell(Field::NfsUid, at.u32()?);
    tell(Field::NfsGid, at.u32()?);
    out.field(tx, Field::NfsMachine, ToServer, machine);
    Some(())
}

/// Tells a handle as readers of Suricata know it: by its CRC-32 (IEEE 802.3).
pub(super) fn tell_handle(out: &mut Output<'_>, tx: TxId, direction: Direction, handle: &[u8]) {
    if out.wants(Field::NfsHandle) && tx.is_some() {
        let number = u64::from(crc32(handle));
        out.number(tx, Field::NfsHandle, direction, number);
    }
}

/// Whether the call was taken, and what came of it. `at`: behind the kind of the message.
pub(super) fn tell_reply(out: &mut Output<'_>, tx: TxId, mut at: Reader<'_>) -> Option<()> {
    let state = at.u32()?;
    out.number_for_events(tx, Field::NfsRpcStatus, ToClient, u64::from(state));
    if state != 0 {
        return Some(());
    }
    auth(&mut at)?;
    if at.u32()? == 0 {
        // A procedure without results has no status.
        let status = at.u32().unwrap_or(0);
        out.number_for_events(tx, Field::NfsStatus, ToClient, u64::from(status));
    }
    Some(())
}

/// Bit by bit: handles have 128 bytes at most.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), step);
    !bytes.iter().fold(!0, byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_the_check_string() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
