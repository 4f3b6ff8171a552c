//! Names and handles that a directory lists (RFC 1813 section 3.3.17, READDIRPLUS): a client that reads a
//! file behind it asks for its handle alone.

use super::{NAMES_MAX, Nfs, attributes, digest, handle_bytes, opaque};
use crate::app::field::Field;
use crate::app::output::Output;
use crate::app::reader::Reader;
use crate::app::table::guid_words;

/// Entries of one reply that are looked at: as many as there are names.
const ENTRIES_MAX: usize = NAMES_MAX;

impl Nfs {
    /// Remembers the entries of a reply, from its status on; `None` if it is cut short.
    pub(super) fn entries(&mut self, out: &mut Output<'_>, at: &mut Reader<'_>) -> Option<()> {
        if !out.wants(Field::FileName) && !out.wants(Field::NfsFilename) {
            return Some(());
        }
        attributes(at)?;
        // The verifier of the cookies.
        at.skip(8)?;
        for _ in 0..ENTRIES_MAX {
            if at.u32()? == 0 {
                break;
            }
            // The number of the file, its name and cookie.
            at.skip(8)?;
            let name = opaque(at)?;
            at.skip(8)?;
            attributes(at)?;
            if at.u32()? == 0 {
                continue;
            }
            let handle = handle_bytes(at, 3)?;
            out.shared.scratch.clear();
            out.shared.scratch.extend_from_slice(name);
            self.names.put(out, NAMES_MAX, guid_words(digest(handle)));
        }
        Some(())
    }
}
