//! The store of files: the writer's thread puts the pieces of stored files into a folder. A file is
//! written under `tmp/` and moved to `ab/ab12...`, its SHA-256, once it is complete: no name comes
//! from the wire (CVE-2026-45767 class), and the same bytes are kept once.
//!
//! Bounded: files open at once, files and bytes in all; what is beyond is counted and its event says
//! `stored: false`. A piece that was lost on the way, or a disk that is full, ends its file there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hashbrown::HashMap;
use sha2::{Digest, Sha256};

use crate::event::{Event, FileNote};

/// Ending of a file that is not complete.
const PART: &str = "part";

/// Where files go, and how many.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreOptions {
    /// The folder; made if it is not there.
    pub dir: PathBuf,
    /// Files that are written at once.
    pub open_max: usize,
    /// Files from start to end.
    pub count_max: u64,
    /// Bytes from start to end.
    pub bytes_max: u64,
}

/// What the store did, readable while it works.
#[derive(Default, Debug)]
pub struct StoreCounters {
    /// Files that are complete and stand under their hash.
    pub stored: AtomicU64,
    /// Bytes written.
    pub bytes: AtomicU64,
    /// Files not stored since too many were open, or a limit was reached.
    pub refused: AtomicU64,
    /// Files not stored since a piece was lost or the disk refused one.
    pub failed: AtomicU64,
}

/// A file that is being written.
struct Part {
    file: File,
    path: PathBuf,
    length: u64,
    hash: Sha256,
}

/// Which file: lane, number in the lane.
type Key = (u8, u64);

/// See the file's head.
pub struct Store {
    options: StoreOptions,
    counters: std::sync::Arc<StoreCounters>,
    /// `None`: given up.
    open: HashMap<Key, Option<Part>>,
    count: u64,
    bytes: u64,
}

/// What became of a stored file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Its hash, which is its name.
    pub sha256: [u8; 32],
    /// Its number in the store, from 1.
    pub id: u64,
}

impl Store {
    /// Opens the folder; parts that an earlier process left are removed.
    ///
    /// # Errors
    /// The folder cannot be made or read; the error names it.
    pub fn open(options: StoreOptions) -> io::Result<Store> {
        let parts = options.dir.join("tmp");
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", parts.display()))
        };
        fs::create_dir_all(&parts).map_err(named)?;
        for entry in fs::read_dir(&parts).map_err(named)?.flatten() {
            if entry
                .path()
                .extension()
                .is_some_and(|ending| ending == PART)
            {
                fs::remove_file(entry.path()).map_err(named)?;
            }
        }
        Ok(Store {
            options,
            counters: std::sync::Arc::default(),
            open: HashMap::new(),
            count: 0,
            bytes: 0,
        })
    }

    /// What it did so far.
    pub fn counters(&self) -> &std::sync::Arc<StoreCounters> {
        &self.counters
    }

    /// Takes a piece of a file.
    pub fn piece(&mut self, event: &Event) {
        let key = (event.lane, event.file.number);
        if !self.open.contains_key(&key) {
            let part = self.begin(key);
            self.open.insert(key, part);
        }
        let room = self.options.bytes_max.saturating_sub(self.bytes);
        let Some(place) = self.open.get_mut(&key) else {
            return;
        };
        let Some(part) = place else {
            return;
        };
        let bytes = &event.payload;
        let lost = event.file.offset != part.length;
        let full = bytes.len() as u64 > room;
        if lost || full || part.file.write_all(bytes).is_err() {
            let counter = if full {
                &self.counters.refused
            } else {
                &self.counters.failed
            };
            counter.fetch_add(1, Relaxed);
            remove(&part.path);
            *place = None;
            return;
        }
        part.hash.update(bytes);
        part.length += bytes.len() as u64;
        self.bytes += bytes.len() as u64;
        self.counters.bytes.fetch_add(bytes.len() as u64, Relaxed);
    }

    fn begin(&mut self, (lane, number): Key) -> Option<Part> {
        let full = self.open.values().flatten().count() >= self.options.open_max;
        if full || self.count >= self.options.count_max {
            self.counters.refused.fetch_add(1, Relaxed);
            return None;
        }
        let path = self
            .options
            .dir
            .join("tmp")
            .join(format!("{lane}-{number}.{PART}"));
        // A link that somebody put there is not followed: the file must be new.
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o640)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path);
        match made {
            Ok(file) => Some(Part {
                file,
                path,
                length: 0,
                hash: Sha256::new(),
            }),
            Err(_) => {
                self.counters.failed.fetch_add(1, Relaxed);
                None
            }
        }
    }

    /// The file is complete: its name, if it was stored.
    pub fn end(&mut self, lane: u8, note: &FileNote) -> Option<Stored> {
        let part = self.open.remove(&(lane, note.number))??;
        let sha256: [u8; 32] = part.hash.finalize().into();
        drop(part.file);
        match keep(&self.options.dir, &part.path, &sha256) {
            Ok(()) => {
                self.count += 1;
                self.counters.stored.fetch_add(1, Relaxed);
                Some(Stored {
                    sha256,
                    id: self.count,
                })
            }
            Err(_) => {
                self.counters.failed.fetch_add(1, Relaxed);
                remove(&part.path);
                None
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        for part in self.open.values().flatten() {
            remove(&part.path);
        }
    }
}

/// A part that cannot be removed is removed at the next start.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Moves a complete file to its name.
fn keep(dir: &Path, part: &Path, sha256: &[u8; 32]) -> io::Result<()> {
    let mut name = String::with_capacity(64);
    for byte in sha256 {
        use std::fmt::Write;
        // Writing to a text does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    let folder = dir.join(name.get(..2).unwrap_or(""));
    if !folder.is_dir() {
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    fs::rename(part, folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(name: &str) -> StoreOptions {
        let dir = std::env::temp_dir().join(format!("sluice-store-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        StoreOptions {
            dir,
            open_max: 2,
            count_max: 3,
            bytes_max: 1000,
        }
    }

    fn piece(store: &mut Store, number: u64, offset: u64, bytes: &[u8]) {
        let mut event = Event::with_room(crate::event::EVENT_RECORD_MAX);
        event.file = FileNote {
            number,
            offset,
            ..FileNote::default()
        };
        event.set_payload(bytes);
        store.piece(&event);
    }

    fn end(store: &mut Store, number: u64) -> Option<Stored> {
        let note = FileNote {
            number,
            ..FileNote::default()
        };
        store.end(0, &note)
    }

    #[test]
    fn a_file_stands_under_its_hash() {
        let options = options("hash");
        let mut store = Store::open(options.clone()).unwrap();
        piece(&mut store, 1, 0, b"ab");
        piece(&mut store, 1, 2, b"c");
        let stored = end(&mut store, 1).unwrap();
        assert_eq!(stored.sha256, <[u8; 32]>::from(Sha256::digest(b"abc")));
        let name = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(fs::read(options.dir.join("ba").join(name)).unwrap(), b"abc");
        assert_eq!(end(&mut store, 1), None, "it ends once");
        assert_eq!(fs::read_dir(options.dir.join("tmp")).unwrap().count(), 0);
        fs::remove_dir_all(&options.dir).unwrap();
    }

    #[test]
    fn limits_and_lost_pieces_leave_nothing_behind() {
        let options = options("limits");
        let mut store = Store::open(options.clone()).unwrap();
        piece(&mut store, 1, 0, b"ab");
        piece(&mut store, 1, 5, b"c");
        assert_eq!(end(&mut store, 1), None, "a piece was lost");
        piece(&mut store, 2, 0, b"a");
        piece(&mut store, 3, 0, b"b");
        piece(&mut store, 4, 0, b"c");
        assert_eq!(end(&mut store, 4), None, "two are open");
        piece(&mut store, 3, 1, &[0; 2000]);
        assert_eq!(end(&mut store, 3), None, "too many bytes");
        assert!(end(&mut store, 2).is_some());
        let counters = std::sync::Arc::clone(store.counters());
        assert_eq!(counters.failed.load(Relaxed), 1);
        assert_eq!(counters.refused.load(Relaxed), 2);
        piece(&mut store, 9, 0, b"x");
        drop(store);
        assert_eq!(fs::read_dir(options.dir.join("tmp")).unwrap().count(), 0);
        fs::remove_dir_all(&options.dir).unwrap();
    }
}
