//! Automata kept on disk: what was built of a pattern once is read back at the next start.
//!
//! What lives here: the file, what names an automaton in it, and what is refused. What does not:
//! how automata are built (linear.rs), and where the folder is (cli).
//!
//! ```text
//!  head      magic, format, number of entries, size of the file          32 bytes
//!  entries   key 32, place 8, length 4, starts unused 4, checksum 16     64 bytes each
//!  checksum  SHA-256 of all above                                        32 bytes
//!  automata  as regex-automata writes them, each at a multiple of 8
//! ```
//! An automaton is named by the SHA-256 of the translated pattern and of what the automaton is for:
//! rules that change bring new names and leave all others as they are. An entry of length 0 says
//! that the automaton is too large, which is what takes longest to find out.
//!
//! Invariants: nothing in the file is believed: the file must be the user's own and nobody else's to
//! write; head and entries have a checksum, each automaton has one and is then checked state by
//! state by regex-automata's own reader. What fails is counted, and built anew. The file is replaced
//! whole (rename), so no reader sees half of one. Its size and its entries' idle time are bounded.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use regex_automata::dfa::dense;
use regex_syntax::hir::Hir;
use sha2::{Digest, Sha256};

/// What is built from and to.
pub type Table = dense::DFA<Vec<u32>>;
/// Name of an automaton.
type Key = [u8; 32];
/// What a file has.
type Known = HashMap<Key, Entry>;

const MAGIC: &[u8; 8] = b"SLUICEAT";
/// Goes up whenever an automaton built before would not be built the same now.
const FORMAT: u32 = 1;
const HEAD_SIZE: usize = 32;
const ENTRY_SIZE: usize = 64;
const CHECKSUM_SIZE: usize = 32;
/// Bytes of the file at most; what is not used goes first.
const FILE_SIZE_MAX: u64 = 256 << 20;
/// Entries at most.
const ENTRIES_MAX: usize = 1 << 16;
/// Times that the file is written while an entry is not used, at most; then it is left out.
const UNUSED_MAX: u32 = 8;
/// Building that took less than this is not worth a new file.
const WORTH_WRITING: Duration = Duration::from_millis(50);
/// Name of the file in its folder.
const FILE_NAME: &str = "automata";

/// What an automaton is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Ends of matches that may begin anywhere; with a search for literals before it.
    Free {
        /// Whether there is one.
        prefiltered: bool,
    },
    /// Ends of matches that begin where the search does.
    Anchored,
    /// Starts, read backwards.
    Reverse,
}

/// What the file has.
#[derive(Clone, Copy, Debug)]
struct Entry {
    place: u64,
    length: u32,
    unused: u32,
    checksum: [u8; 16],
}

/// What came of using the cache.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Automata taken from the file.
    pub taken: u32,
    /// Automata built.
    pub built: u32,
    /// Automata of the file that were refused, or 1 for the file as a whole.
    pub refused: u32,
    /// What was wrong with the file, or with writing it: a line for the operator.
    pub trouble: Option<String>,
}

/// Automata by name: those of a file, and those built since.
#[derive(Debug)]
pub struct Tables {
    folder: PathBuf,
    file: Option<File>,
    known: Known,
    used: Mutex<Vec<Key>>,
    made: Mutex<HashMap<Key, Vec<u8>>>,
    taken: AtomicU32,
    built: AtomicU32,
    refused: AtomicU32,
    building_ns: AtomicU64,
    trouble: Option<String>,
}

impl Tables {
    /// Those in this folder. A file that is not to be trusted is as none, and reported.
    pub fn open(folder: &Path) -> Tables {
        let path = folder.join(FILE_NAME);
        let (file, known, trouble) = match read(&path) {
            Ok(Some((file, known))) => (Some(file), known, None),
            Ok(None) => (None, HashMap::new(), None),
            Err(why) => {
                let text = format!("{}: refused: {why}; built anew", path.display());
                (None, HashMap::new(), Some(text))
            }
        };
        Tables {
            folder: folder.to_path_buf(),
            file,
            known,
            used: Mutex::default(),
            made: Mutex::default(),
            taken: AtomicU32::new(0),
            built: AtomicU32::new(0),
            refused: AtomicU32::new(u32::from(trouble.is_some())),
            building_ns: AtomicU64::new(0),
            trouble,
        }
    }

    /// The automaton of `hir` for this purpose: the file's, or what `build` makes.
    pub fn table(
        &self,
        hir: &Hir,
        purpose: Purpose,
        build: impl FnOnce() -> Option<Table>,
    ) -> Option<Table> {
        let key = key(hir, purpose);
        if let Some(entry) = self.known.get(&key) {
            match self.take(entry) {
                Some(table) => {
                    self.taken.fetch_add(1, Relaxed);
                    if let Ok(mut used) = self.used.lock() {
                        used.push(key);
                    }
                    return table;
                }
                None => self.refused.fetch_add(1, Relaxed),
            };
        }
        let begin = Instant::now();
        let table = build();
        let took = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.building_ns.fetch_add(took, Relaxed);
        self.built.fetch_add(1, Relaxed);
        if let Ok(mut made) = self.made.lock() {
            made.insert(key, table.as_ref().map_or(Vec::new(), written));
        }
        table
    }

    /// An entry's automaton (`Some(None)`: too large); `None` if it is not what it was.
    fn take(&self, entry: &Entry) -> Option<Option<Table>> {
        if entry.length == 0 {
            return (entry.checksum == checksum(&[])).then_some(None);
        }
        // The reader wants the alignment of its numbers.
        let length = entry.length as usize;
        let mut bytes = vec![0u8; length + 8];
        let shift = bytes.as_ptr().align_offset(align_of::<u64>());
        let bytes = bytes.get_mut(shift..shift.checked_add(length)?)?;
        self.file.as_ref()?.read_exact_at(bytes, entry.place).ok()?;
        if checksum(bytes) != entry.checksum {
            return None;
        }
        let (table, read) = dense::DFA::from_bytes(bytes).ok()?;
        (read == length).then(|| Some(table.to_owned()))
    }

    /// Writes the file anew if building took so long that it is worth it. Gives what came of all.
    pub fn save(self) -> Report {
        let building = Duration::from_nanos(self.building_ns.load(Relaxed));
        let mut trouble = self.trouble.clone();
        if building >= WORTH_WRITING
            && let Err(error) = self.write()
        {
            let text = format!("{}: not written: {error}", self.folder.display());
            trouble = Some(trouble.map_or(text.clone(), |known| format!("{known}; {text}")));
        }
        Report {
            taken: self.taken.load(Relaxed),
            built: self.built.load(Relaxed),
            refused: self.refused.load(Relaxed),
            trouble,
        }
    }

    /// Writes what was made, then what was used, then what was not for long, as far as there is
    /// room.
    fn write(&self) -> io::Result<()> {
        let poisoned = |_| io::Error::other("a thread that built automata died");
        let made = self.made.lock().map_err(poisoned)?;
        let used = self.used.lock().map_err(|_| io::Error::other("as above"))?;
        let used: hashbrown::HashSet<&Key> = used.iter().collect();
        let mut kept: Vec<(&Key, Entry)> = Vec::new();
        for (key, entry) in self
            .known
            .iter()
            .filter(|(key, _)| !made.contains_key(*key))
        {
            let unused = if used.contains(key) {
                0
            } else {
                entry.unused + 1
            };
            if unused <= UNUSED_MAX {
                kept.push((key, Entry { unused, ..*entry }));
            }
        }
        kept.sort_by_key(|(key, entry)| (entry.unused, **key));
        let mut new: Vec<(&Key, &Vec<u8>)> = made.iter().collect();
        new.sort_by_key(|(key, _)| **key);
        let mut image = Image::default();
        for (key, bytes) in new {
            image.push(key, bytes, 0, checksum(bytes));
        }
        for (key, entry) in kept {
            let mut bytes = vec![0u8; entry.length as usize];
            let Some(file) = &self.file else { continue };
            if file.read_exact_at(&mut bytes, entry.place).is_ok() {
                image.push(key, &bytes, entry.unused, entry.checksum);
            }
        }
        replace(&self.folder, &image)
    }
}

/// A file in the making.
#[derive(Default)]
struct Image {
    entries: Vec<u8>,
    bytes: Vec<u8>,
    /// Places are counted from the first automaton on, until the number of entries is known.
    count: usize,
}

impl Image {
    /// Adds an automaton if there is room for it.
    fn push(&mut self, key: &Key, bytes: &[u8], unused: u32, checksum: [u8; 16]) {
        let size = bytes.len().next_multiple_of(8);
        let whole = self.bytes.len() + size + (self.count + 1) * ENTRY_SIZE;
        let Ok(length) = u32::try_from(bytes.len()) else {
            return;
        };
        if self.count >= ENTRIES_MAX || whole as u64 > FILE_SIZE_MAX / 2 {
            return;
        }
        self.entries.extend_from_slice(key);
        self.entries
            .extend_from_slice(&(self.bytes.len() as u64).to_le_bytes());
        self.entries.extend_from_slice(&length.to_le_bytes());
        self.entries.extend_from_slice(&unused.to_le_bytes());
        self.entries.extend_from_slice(&checksum);
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.count += 1;
    }

    /// Head, entries and their checksum.
    fn front(&self) -> Vec<u8> {
        let size = HEAD_SIZE + self.entries.len() + CHECKSUM_SIZE;
        let mut front = Vec::with_capacity(size);
        front.extend_from_slice(MAGIC);
        front.extend_from_slice(&FORMAT.to_le_bytes());
        front.extend_from_slice(&(self.count as u32).to_le_bytes());
        front.extend_from_slice(&((size + self.bytes.len()) as u64).to_le_bytes());
        front.resize(HEAD_SIZE, 0);
        front.extend_from_slice(&self.entries);
        let sum = Sha256::digest(&front);
        front.extend_from_slice(&sum);
        front
    }
}

/// Puts a new file in the old one's place.
fn replace(folder: &Path, image: &Image) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let name = format!("{FILE_NAME}.{}", std::process::id());
    let path = folder.join(name);
    // What a process of this number left when it died.
    let _ = std::fs::remove_file(&path);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| {
            file.write_all(&image.front())?;
            file.write_all(&image.bytes)
        })
        .and_then(|()| std::fs::rename(&path, folder.join(FILE_NAME)));
    if written.is_err() {
        let _ = std::fs::remove_file(&path);
    }
    written
}

/// Opens the file and reads what it has. `None` if there is no file.
fn read(path: &Path) -> Result<Option<(File, Known)>, String> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let about = file.metadata().map_err(|error| error.to_string())?;
    let user = rustix::process::geteuid().as_raw();
    if !about.is_file() || ![0, user].contains(&about.uid()) || about.mode() & 0o022 != 0 {
        return Err("others may write it".to_string());
    }
    let mut head = [0u8; HEAD_SIZE];
    let short = |_| "cut short".to_string();
    file.read_exact(&mut head).map_err(short)?;
    if head.get(..8) != Some(MAGIC) {
        return Err("no file of automata".to_string());
    }
    if number(&head, 8, 4) != Some(u64::from(FORMAT)) {
        return Err("of another version".to_string());
    }
    let count = number(&head, 12, 4).unwrap_or(0) as usize;
    let size = number(&head, 16, 8).unwrap_or(0);
    if size != about.len() || size > FILE_SIZE_MAX || count > ENTRIES_MAX {
        return Err("its size is not what it says".to_string());
    }
    let mut entries = vec![0u8; count * ENTRY_SIZE + CHECKSUM_SIZE];
    file.read_exact(&mut entries).map_err(short)?;
    let (entries, sum) = entries.split_at(count * ENTRY_SIZE);
    let expected = Sha256::new().chain_update(head).chain_update(entries);
    if expected.finalize().as_slice() != sum {
        return Err("its checksum is wrong".to_string());
    }
    let base = (HEAD_SIZE + entries.len() + CHECKSUM_SIZE) as u64;
    let known = entries
        .chunks_exact(ENTRY_SIZE)
        .map(|bytes| entry(bytes, base, size))
        .collect::<Option<Known>>();
    let known = known.ok_or("an automaton lies outside of it")?;
    Ok(Some((file, known)))
}

/// An entry of a file of `size` bytes whose automata begin at `base`.
fn entry(bytes: &[u8], base: u64, size: u64) -> Option<(Key, Entry)> {
    let key = bytes.get(..32)?.try_into().ok()?;
    let place = base.checked_add(number(bytes, 32, 8)?)?;
    let length = number(bytes, 40, 4)?;
    let entry = Entry {
        place,
        length: u32::try_from(length).ok()?,
        unused: u32::try_from(number(bytes, 44, 4)?).ok()?,
        checksum: bytes.get(48..64)?.try_into().ok()?,
    };
    let lies_inside = place.checked_add(length)? <= size;
    lies_inside.then_some((key, entry))
}

/// The little-endian number of `size` bytes, eight at most, at `at`.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let mut wide = [0u8; 8];
    wide.get_mut(..size)?
        .copy_from_slice(bytes.get(at..at.checked_add(size)?)?);
    Some(u64::from_le_bytes(wide))
}

/// A hash of tables.
pub fn fingerprint<'a>(tables: impl Iterator<Item = &'a Table>) -> u64 {
    let mut sum = Sha256::new();
    tables.for_each(|table| sum.update(written(table)));
    let sum = sum.finalize();
    number(&sum, 0, 8).unwrap_or(0)
}

fn written(table: &Table) -> Vec<u8> {
    let (mut bytes, padding) = table.to_bytes_native_endian();
    bytes.drain(..padding);
    bytes
}

fn checksum(bytes: &[u8]) -> [u8; 16] {
    let sum = Sha256::digest(bytes);
    std::array::from_fn(|i| sum.get(i).copied().unwrap_or(0))
}

/// Hashes what is written into it.
struct Hashing(Sha256);

impl std::fmt::Write for Hashing {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

/// Name of the automaton: a pattern in the form it is built from, its purpose and the bounds.
fn key(hir: &Hir, purpose: Purpose) -> Key {
    use std::fmt::Write;
    let mut hashing = Hashing(Sha256::new());
    let bounds = super::linear::SIZES_MAX;
    // A hash takes all that it is given.
    let _ = write!(hashing, "{purpose:?} {bounds:?} {:?}", hir.kind());
    hashing.0.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::super::{Regex, RegexCache, RegexFlags};
    use super::*;

    /// Its automaton takes longer to build than [`WORTH_WRITING`]; a way to say so without waiting.
    const PATTERNS: [&str; 5] = [
        r"^GET /[a-z]{3,8}\.php\?id=\d+$",
        r"User-Agent\x3a [^\r\n]*(bot|spider|crawl)",
        r"(?:[a-z0-9]{2,5}/){3}x",
        r"a.{60}b.{60}c",
        r"(.)\1{8}",
    ];

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let name = format!("sluice-tables-{name}-{}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            let _ = std::fs::remove_dir_all(&folder);
            Folder(folder)
        }

        fn file(&self) -> PathBuf {
            self.0.join(FILE_NAME)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn compiled(tables: Option<&Tables>) -> Vec<Regex> {
        let compile =
            |text: &&str| Regex::compile_with(text.as_bytes(), RegexFlags::default(), tables);
        PATTERNS
            .iter()
            .map(compile)
            .collect::<Result<_, _>>()
            .unwrap()
    }

    /// Compiles with the folder's automata and writes what was built, however fast.
    fn kept(folder: &Folder) -> (Vec<Regex>, Report) {
        let tables = Tables::open(&folder.0);
        let regexes = compiled(Some(&tables));
        let long = WORTH_WRITING.as_nanos() as u64;
        if tables.built.load(Relaxed) > 0 {
            tables.building_ns.store(long, Relaxed);
        }
        (regexes, tables.save())
    }

    /// What each finds in some subjects.
    fn finds(regexes: &[Regex]) -> Vec<String> {
        let mut cache = RegexCache::default();
        let long = [b"a".as_slice(), &[b'-'; 60], b"b", &[b'-'; 60], b"c"].concat();
        let subjects: [&[u8]; 5] = [
            b"GET /index.php?id=7",
            b"x\r\nUser-Agent: good bot\r\n",
            b"--ab/cd9/efg/x",
            &long,
            b"xaaaaaaaaay",
        ];
        let mut found = Vec::new();
        for regex in regexes {
            cache.reserve(regex);
            for subject in subjects {
                let limits = regex.limits();
                found.push(format!(
                    "{:?}",
                    regex.find_at(&mut cache, subject, 0, &limits)
                ));
            }
        }
        found
    }

    #[test]
    fn what_comes_from_the_file_is_what_was_built() {
        let folder = Folder::new("same");
        let (built, report) = kept(&folder);
        assert_eq!((report.taken, report.refused, report.trouble), (0, 0, None));
        assert!(report.built >= PATTERNS.len() as u32 - 1);
        let (taken, again) = kept(&folder);
        assert_eq!((again.taken, again.built), (report.built, 0));
        let plain = compiled(None);
        let expected = finds(&plain);
        assert!(expected.iter().filter(|f| f.starts_with("Match")).count() >= PATTERNS.len() - 1);
        assert_eq!(finds(&built), expected);
        assert_eq!(finds(&taken), expected);
        for (one, other) in taken.iter().zip(&plain) {
            assert_eq!(one.engine(), other.engine());
            assert_eq!(one.memory_bytes(), other.memory_bytes());
        }
    }

    #[test]
    fn a_byte_that_changed_anywhere_is_noticed_and_what_it_touches_is_built_anew() {
        let folder = Folder::new("bits");
        let (built, _) = kept(&folder);
        let expected = finds(&built);
        let whole = std::fs::read(folder.file()).unwrap();
        let mut refused = 0;
        for at in (0..whole.len())
            .step_by(whole.len() / 97 + 1)
            .chain([0, 8, 12, 16, 40, 70])
        {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(folder.file(), &bytes).unwrap();
            let tables = Tables::open(&folder.0);
            let regexes = compiled(Some(&tables));
            assert_eq!(finds(&regexes), expected, "byte {at}");
            // Bytes between automata and the head's spare ones mean nothing.
            refused += tables.refused.load(Relaxed);
        }
        assert!(refused > 90, "{refused}");
    }

    #[test]
    fn what_is_cut_short_foreign_or_open_to_others_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new("foreign");
        kept(&folder);
        let whole = std::fs::read(folder.file()).unwrap();
        let refuses = |what: &str| {
            let tables = Tables::open(&folder.0);
            assert!(tables.known.is_empty(), "{what}");
            let report = tables.save();
            assert_eq!(report.refused, 1, "{what}");
            assert!(report.trouble.is_some(), "{what}");
        };
        for length in [0, 7, HEAD_SIZE, HEAD_SIZE + 40, whole.len() - 1] {
            std::fs::write(folder.file(), &whole[..length]).unwrap();
            refuses(&format!("{length} bytes"));
        }
        std::fs::write(folder.file(), [&whole[..], b"x"].concat()).unwrap();
        refuses("one byte more");
        let mut newer = whole.clone();
        newer[8] += 1;
        std::fs::write(folder.file(), &newer).unwrap();
        refuses("another format");
        std::fs::write(folder.file(), &whole).unwrap();
        let open = std::fs::Permissions::from_mode(0o622);
        std::fs::set_permissions(folder.file(), open).unwrap();
        refuses("a file that others may write");
        let elsewhere = folder.0.join("elsewhere");
        std::fs::rename(folder.file(), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, folder.file()).unwrap();
        refuses("a link");
    }

    #[test]
    fn an_entry_that_is_not_used_is_left_out_in_the_end() {
        let folder = Folder::new("unused");
        kept(&folder);
        let first: Vec<Key> = Tables::open(&folder.0).known.into_keys().collect();
        assert!(first.len() >= PATTERNS.len() - 1);
        // Writes the file with another automaton, and gives how many of the first were there before.
        let other = |number: u32| {
            let tables = Tables::open(&folder.0);
            let text = format!("x{number}[a-f]+y");
            let flags = RegexFlags::default();
            Regex::compile_with(text.as_bytes(), flags, Some(&tables)).unwrap();
            tables.building_ns.store(u64::MAX / 2, Relaxed);
            let left = first.iter().filter(|key| tables.known.contains_key(*key));
            let left = left.count();
            assert_eq!(tables.save().trouble, None);
            left
        };
        for number in 0..=UNUSED_MAX {
            assert_eq!(other(number), first.len(), "after {number}");
        }
        assert_eq!(other(99), 0);
    }
}
