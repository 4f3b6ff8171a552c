//! Who logs in (MS-NLMP 2.2.1.3): user and domain of an NTLMSSP authenticate message, wherever it
//! stands in the security blob (bare, or inside SPNEGO). Tickets of Kerberos are not opened.

use super::super::field::Field;
use super::super::output::{Output, TxId};
use super::super::reader::Reader;
use super::{narrow, odd, tell};
use crate::packet::Direction;

/// Name and type before the fields; offsets count from its start.
const NAME: &[u8] = b"NTLMSSP\0";
const AUTHENTICATE: u32 = 3;

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
    let _ = read(out, tx, blob);
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
    host.of(message)?;
    for (field, bytes) in [
        (Field::SmbNtlmsspUser, user_bytes),
        (Field::SmbNtlmsspDomain, domain_bytes),
    ] {
        narrow(out, bytes);
        out.field_of_scratch(tx, field, Direction::ToServer);
    }
    let mixed = user.at < domain.at + domain.length || host.at < user.at + user.length;
    if mixed {
        tell(out, tx, odd::NTLMSSP_ORDER);
    }
    Some(())
}
