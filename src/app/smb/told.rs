//! What events alone tell of exchanges of SMB: identities, times, services (MS-SMB2 2.2, MS-CIFS 2.2,
//! MS-NLMP 2.2.2.10, RFC 4120 section 5).

use super::super::der::{self, element, field as part, inner};
use super::super::field::Field;
use super::super::output::{Output, TxId};
use super::super::reader::Reader;
use super::calls::Kind;
use super::{Key, Smb};
use crate::packet::Direction;
use std::io::Write;

/// What stands for the root of a share, whose name is empty.
const ROOT: &[u8] = b"<share_root>";
/// Options of a creation (MS-SMB2 2.2.13).
const IS_DIRECTORY: u32 = 1;
const DELETE_ON_CLOSE: u32 = 0x1000;
/// Seconds from 1601, from which times of Windows count in steps of 100 ns, to 1970.
const EPOCH: u64 = 11_644_473_600;
/// Parts of a service's name that are told.
const NAMES_MAX: usize = 16;

/// Tells bytes that events alone show.
pub(super) fn tell_bytes(
    out: &mut Output<'_>,
    tx: TxId,
    field: Field,
    direction: Direction,
    bytes: &[u8],
) {
    if tx.is_some() && out.wants(field) {
        out.field(tx, field, direction, bytes);
    }
}

/// Tells how a file is opened; the name stands in `shared.scratch`.
pub(super) fn tell_creation(out: &mut Output<'_>, tx: TxId, disposition: u32, options: u32) {
    let way = Direction::ToServer;
    if out.shared.scratch.is_empty() {
        tell_bytes(out, tx, Field::SmbFilename, way, ROOT);
    } else if options & IS_DIRECTORY != 0 {
        out.scratch_for_events(tx, Field::SmbDirectory, way);
    } else {
        out.scratch_for_events(tx, Field::SmbFilename, way);
    }
    out.number_for_events(tx, Field::SmbDisposition, way, u64::from(disposition));
    tell_access(out, tx, options & DELETE_ON_CLOSE != 0);
}

/// Tells whether a file goes when it is closed.
pub(super) fn tell_access(out: &mut Output<'_>, tx: TxId, deleted: bool) {
    let access: &[u8] = if deleted {
        b"delete on close"
    } else {
        b"normal"
    };
    tell_bytes(out, tx, Field::SmbAccess, Direction::ToServer, access);
}

/// Tells the four times of a file that was opened.
pub(super) fn tell_times(out: &mut Output<'_>, tx: TxId, mut at: Reader<'_>) -> Option<()> {
    for field in [
        Field::SmbCreated,
        Field::SmbAccessed,
        Field::SmbModified,
        Field::SmbChanged,
    ] {
        let seconds = (at.le64()? / 10_000_000).saturating_sub(EPOCH);
        out.number_for_events(tx, field, Direction::ToClient, seconds);
    }
    Some(())
}

/// Tells native system and manager, and what follows is not read: two strings that `next` gives.
pub(super) fn tell_host<'a>(
    out: &mut Output<'_>,
    tx: TxId,
    direction: Direction,
    bytes: &'a [u8],
    next: impl Fn(&mut Output<'_>, &'a [u8]) -> Option<&'a [u8]>,
) -> Option<()> {
    let mut rest = bytes;
    for field in [Field::SmbNativeOs, Field::SmbNativeLm] {
        rest = next(out, rest)?;
        out.scratch_for_events(tx, field, direction);
    }
    Some(())
}

/// The version behind the flags of an NTLMSSP message: `10.0 build 19041 rev 15`.
pub(super) fn tell_version(out: &mut Output<'_>, tx: TxId, version: [u8; 8]) {
    let [major, minor, low, high, .., revision] = version;
    let build = u16::from_le_bytes([low, high]);
    let scratch = &mut out.shared.scratch;
    scratch.clear();
    // Writing to a vector with room does not fail.
    write!(scratch, "{major}.{minor} build {build} rev {revision}").unwrap_or_default();
    out.scratch_for_events(tx, Field::SmbNtlmsspVersion, Direction::ToServer);
}

/// Realm and service of a ticket in a security blob (RFC 4120 section 5.5.1, behind the token of
/// RFC 4121 section 4.1): nothing of it is decrypted.
pub(super) fn tell_ticket(out: &mut Output<'_>, tx: TxId, blob: &[u8]) -> Option<()> {
    if !out.wants(Field::SmbRealm) {
        return None;
    }
    /// Token of an AP-REQ and its tag.
    const TOKEN: &[u8] = b"\x01\0\x6e";
    let place = memchr::memmem::find(blob, TOKEN)? + TOKEN.len() - 1;
    let (request, _) = element(blob.get(place..)?)?;
    let (ticket, _) = element(part(inner(request.content)?, 3)?)?;
    let ticket = inner(ticket.content)?;
    let (realm, _) = element(part(ticket, 1)?)?;
    out.field(tx, Field::SmbRealm, Direction::ToServer, realm.content);
    let names = part(ticket, 2)
        .and_then(inner)
        .and_then(|name| part(name, 1))
        .and_then(inner)?;
    for name in der::elements(names).take(NAMES_MAX) {
        out.field(tx, Field::SmbSname, Direction::ToServer, name.content);
    }
    Some(())
}

impl Smb {
    /// The transaction that the answer to a command belongs to.
    pub(super) fn exchange(&self, out: &Output<'_>, command: (u8, u16), key: Key) -> TxId {
        let found = self.calls.find(&out.shared.heap, |call| {
            call.kind == Kind::Plain
                && (call.version, call.command) == command
                && call.session == key.session
                && call.message == key.message
        });
        found.map_or(TxId::NONE, |(_, call)| call.tx)
    }

    /// The transaction of the negotiation that is open.
    pub(super) fn negotiation(&self, out: &Output<'_>) -> TxId {
        let of = |version: u8| {
            let wanted =
                |call: &super::calls::Call| call.kind == Kind::Negotiate && call.version == version;
            self.calls.find(&out.shared.heap, wanted)
        };
        of(2)
            .or_else(|| of(1))
            .map_or(TxId::NONE, |(_, call)| call.tx)
    }

    /// The transaction of the exchange of this kind that a message answers.
    pub(super) fn asked_by(&self, out: &Output<'_>, kind: Kind, key: Key) -> TxId {
        let wanted = |call: &super::calls::Call| call.kind == kind && call.message == key.message;
        let found = self.calls.find(&out.shared.heap, wanted);
        found.map_or(TxId::NONE, |(_, call)| call.tx)
    }
}
