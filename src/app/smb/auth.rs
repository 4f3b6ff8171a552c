//! Who logs in (MS-NLMP 2.2.1.3): user and domain of an NTLMSSP authenticate message, wherever it
//! stands in the security blob (bare, or inside SPNEGO). Of tickets of Kerberos only what is plain is
//! told (told.rs).

use super::super::field::Field;
use super::super::output::{Output, TxId};
use super::super::reader::Reader;
use super::{narrow, odd, tell, told};
use crate::packet::Direction;

/// Name and type before the fields; offsets count from its start.
const NAME: &[u8] = b"NTLMSSP\0";
const AUTHENTICATE: u32 = 3;
/// The flag of a version (MS-NLMP 2.2.2.5).
const HAS_VERSION: u32 = 0x0200_0000;

/// Where a part of the message stands.
#[derive(Clone, Copy)]
struct Part {
    length: usize,
    at: usize,
}

impl Part {
    /// Reads one; `None` if it cannot lie within `whole` bytes.
    fn read(cursor: &mut Reader<'_>, whole: usize) -> Option<Part> {
        let length = usize::from(cursor.le16()?);
        cursor.skip(2)?;
        let at = cursor.le32()? as usize;
        (length < whole && at < whole).then_some(Part { length, at })
    }

    fn of<'a>(&self, message: &'a [u8]) -> Option<&'a [u8]> {
        if self.at < NAME.len() + 4 {
            return None;
        }
        message.get(self.at..self.at + self.length)
    }
}

/// Tells user and domain of a blob, if it has them.
pub(super) fn tell_user(out: &mut Output<'_>, tx: TxId, blob: &[u8]) {
    if read(out, tx, blob).is_none() {
        let _ = told::tell_ticket(out, tx, blob);
    }
}

fn read(out: &mut Output<'_>, tx: TxId, blob: &[u8]) -> Option<()> {
    let message = blob.get(memchr::memmem::find(blob, NAME)?..)?;
    let mut cursor = Reader::at(message, NAME.len());
    if cursor.le32()? != AUTHENTICATE {
        return None;
    }
    // Two answers to the challenge, domain, user, workstation, session key.
    let mut parts = [Part { length: 0, at: 0 }; 6];
    for part in &mut parts {
        *part = Part::read(&mut cursor, message.len())?;
    }
    let [_, _, domain, user, host, _] = parts;
    let (domain_bytes, user_bytes) = (domain.of(message)?, user.of(message)?);
    let host_bytes = host.of(message)?;
    for (field, bytes) in [
        (Field::SmbNtlmsspUser, user_bytes),
        (Field::SmbNtlmsspDomain, domain_bytes),
    ] {
        narrow(out, bytes);
        out.field_of_scratch(tx, field, Direction::ToServer);
    }
    narrow(out, host_bytes);
    out.scratch_for_events(tx, Field::SmbNtlmsspHost, Direction::ToServer);
    // A version follows the flags where they say so and the parts leave room for it.
    let (flags, version) = (cursor.le32(), cursor.array::<8>());
    let first = parts.iter().map(|part| part.at).min().unwrap_or(0);
    if let (Some(flags), Some(version)) = (flags, version)
        && flags & HAS_VERSION != 0
        && first >= NAME.len() + 4 + 48 + 4 + version.len()
    {
        told::tell_version(out, tx, version);
    }
    let mixed = user.at < domain.at + domain.length || host.at < user.at + user.length;
    if mixed {
        tell(out, tx, odd::NTLMSSP_ORDER);
    }
    Some(())
}
