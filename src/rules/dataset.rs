//! `dataset`: sets of values that rules ask, fill and empty, with files behind them.
//!
//! A set is told of by the rules and made here; its file is read with the first rule that names it,
//! before the lanes start ([`Dataset::read`]). From then on it is one table of a fixed size, shared by all
//! lanes: a place is a 64-bit keyed hash of a value (the key is new each start), taken and given up
//! by compare-and-swap, so a lane neither waits nor allocates. A table that is full keeps what it
//! has and counts what it could not take. A set outlives a reload of the rules by its name.
//!
//! With `datarep` a file's values have a reputation each; those are read at the start and stay.
//! The keywords are dataset_keywords.rs's. Deliberately absent: what a JSON file says beside its
//! values (enrichment) does not reach events.

use std::collections::hash_map::RandomState;
use std::fmt::{Display, Formatter};
use std::hash::BuildHasher;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use base64::Engine;

use super::dataset_json as json;
use super::signature::DatasetCommand;

/// Values that a set takes beside those of its file, unless `hashsize` says more.
pub(super) const ROOM: usize = 65_536;
/// Bytes of a memory cap that make one value.
const VALUE_BYTES: usize = 128;
/// Values of a set at most.
pub(super) const VALUES_MAX: usize = 1 << 24;
/// Bytes of values that are kept to be written to a file, over those read from it.
const KEPT_MAX: usize = 1 << 20;
/// Places looked at for a value.
const STEPS_MAX: usize = 256;
/// A place that was never taken.
const FREE: u64 = 0;
/// A place that was given up.
const GIVEN_UP: u64 = 1;

/// What the values of a set are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Bytes; base64 in files.
    Text,
    /// 16 bytes.
    Md5,
    /// 20 bytes; lists of `filesha1` alone.
    Sha1,
    /// 32 bytes.
    Sha256,
    /// 4 bytes.
    Ipv4,
    /// 4 or 16 bytes.
    Ip,
}

impl Kind {
    /// The type that a rule names.
    pub fn by_name(name: &str) -> Option<Kind> {
        Some(match name {
            "string" => Kind::Text,
            "md5" => Kind::Md5,
            "sha256" => Kind::Sha256,
            "ipv4" => Kind::Ipv4,
            "ip" => Kind::Ip,
            _ => return None,
        })
    }

    /// Whether bytes can be a value.
    pub(super) fn takes(self, value: &[u8]) -> bool {
        match self {
            Kind::Text => !value.is_empty(),
            Kind::Md5 => value.len() == 16,
            Kind::Sha1 => value.len() == 20,
            Kind::Sha256 => value.len() == 32,
            Kind::Ipv4 => value.len() == 4,
            Kind::Ip => matches!(value.len(), 4 | 16),
        }
    }

    /// The value that a line of a file stands for.
    pub(super) fn read(self, line: &str) -> Option<Vec<u8>> {
        let value = match self {
            Kind::Text => base64::engine::general_purpose::STANDARD
                .decode(line)
                .ok()?,
            // Lists of hashes have the file's name behind it.
            Kind::Md5 | Kind::Sha1 | Kind::Sha256 => hex(line.split_whitespace().next()?)?,
            Kind::Ipv4 | Kind::Ip => match line.parse::<IpAddr>().ok()? {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => match address.to_ipv4_mapped() {
                    Some(address) => address.octets().to_vec(),
                    None => address.octets().to_vec(),
                },
            },
        };
        self.takes(&value).then_some(value)
    }

    /// A line for a value.
    fn write(self, value: &[u8]) -> String {
        match (self, value.len()) {
            (Kind::Text, _) => base64::engine::general_purpose::STANDARD.encode(value),
            (Kind::Ipv4 | Kind::Ip, 4) => {
                let octets: [u8; 4] = value.try_into().unwrap_or_default();
                IpAddr::from(octets).to_string()
            }
            (Kind::Ip, _) => {
                let octets: [u8; 16] = value.try_into().unwrap_or_default();
                IpAddr::from(octets).to_string()
            }
            _ => value.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

fn hex(line: &str) -> Option<Vec<u8>> {
    let digits = line.as_bytes();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<Vec<u8>>>()
        .filter(|_| digits.len().is_multiple_of(2))
}

/// How the file of a set is written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// A value a line, its reputation behind a comma.
    #[default]
    Lines,
    /// JSON: an array of objects, or one with such an array under the first name (`a.b` for one
    /// within another); an object's value stands under the second.
    Json {
        /// Where the array is; empty: all of the file.
        array: Box<str>,
        /// Where the value is in an object.
        value: Box<str>,
    },
    /// An object of JSON a line.
    JsonLines {
        /// Where the value is.
        value: Box<str>,
    },
}

/// What a rule says of a set that it is the first to name.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name.
    pub name: Box<str>,
    /// What its values are.
    pub kind: Kind,
    /// File to read at the start.
    pub load: Option<Box<str>>,
    /// File to write at the end.
    pub save: Option<Box<str>>,
    /// How the file is written.
    pub format: Format,
    /// Values that it takes beside those of the file.
    pub room: usize,
    /// Values have reputations.
    pub ranked: bool,
}

impl Plan {
    /// A set of strings without files.
    fn string(name: &str) -> Plan {
        Plan {
            name: name.into(),
            kind: Kind::Text,
            load: None,
            save: None,
            format: Format::Lines,
            room: ROOM,
            ranked: false,
        }
    }
}

/// Values, and those that have a reputation with it.
type Read = (Vec<Vec<u8>>, Vec<(Vec<u8>, u16)>);

/// A set.
#[derive(Debug)]
pub struct Dataset {
    plan: Plan,
    key: RandomState,
    places: OnceLock<Box<[AtomicU64]>>,
    /// Reputations by mark, sorted.
    ranks: OnceLock<Box<[(u64, u16)]>>,
    /// Values behind each other, each with its length, for the file.
    kept: Mutex<Vec<u8>>,
    full: AtomicU64,
}

/// Why the file of a set gives no values.
#[derive(Debug)]
pub enum Unread {
    /// It cannot be read.
    File(PathBuf, std::io::Error),
    /// A line is no value of the set's type.
    Line(PathBuf, usize),
}

impl Display for Unread {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Unread::File(path, error) => write!(f, "{}: {error}", path.display()),
            Unread::Line(path, line) => {
                write!(f, "{}:{line}: no value of the set's type", path.display())
            }
        }
    }
}

impl Unread {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Unread::File(..) => {
                "`load`, `filemd5` and their kin name a file beside the rules, a value a line"
            }
            Unread::Line(..) => {
                "string: base64; md5, sha1, sha256: hexadecimal; ipv4, ip: an address; behind a \
                 comma the number that datarep asks"
            }
        }
    }
}

impl Dataset {
    /// A set without values.
    pub fn new(plan: Plan) -> Dataset {
        Dataset {
            plan,
            key: RandomState::new(),
            places: OnceLock::new(),
            ranks: OnceLock::new(),
            kept: Mutex::new(Vec::new()),
            full: AtomicU64::new(0),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// What its values are.
    pub fn kind(&self) -> Kind {
        self.plan.kind
    }

    /// Whether its values have reputations.
    pub fn is_ranked(&self) -> bool {
        self.plan.ranked
    }

    /// File to read at the start.
    pub fn load(&self) -> Option<&str> {
        self.plan.load.as_deref()
    }

    /// File to write at the end.
    pub fn save(&self) -> Option<&str> {
        self.plan.save.as_deref()
    }

    /// Whether it has been filled: a reload leaves it as it is.
    pub fn is_filled(&self) -> bool {
        self.places.get().is_some()
    }

    /// Values that did not fit.
    pub fn lost(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }

    /// Makes the table, with the values of its file below `folder`, unless it is filled already.
    ///
    /// # Errors
    /// Why the file gives no values.
    pub fn read(&self, folder: &Path) -> Result<(), Unread> {
        if self.is_filled() {
            return Ok(());
        }
        let path = self.load().map(|file| folder.join(file));
        let text = match path.as_deref().map(std::fs::read_to_string) {
            None => String::new(),
            Some(Ok(text)) => text,
            // A set that is written at the end begins empty the first time.
            Some(Err(error)) if error.kind() == ErrorKind::NotFound && self.save().is_some() => {
                String::new()
            }
            Some(Err(error)) => return Err(Unread::File(path.unwrap_or_default(), error)),
        };
        let wrong = |line| Unread::Line(path.unwrap_or_default(), line);
        self.fill(&text).map_err(wrong)
    }

    /// Makes the table, with the values of a text. Once; what comes after is ignored.
    ///
    /// # Errors
    /// Number of the first line that is no value of the set's type.
    pub fn fill(&self, text: &str) -> Result<(), usize> {
        let (values, ranks) = match &self.plan.format {
            Format::Lines => self.lines_of(text)?,
            format => (json::values(format, self.plan.kind, text)?, Vec::new()),
        };
        let mut ranks: Vec<(u64, u16)> = ranks
            .into_iter()
            .map(|(value, rank)| (self.key_of(&value), rank))
            .collect();
        ranks.sort_unstable();
        let _ = self.ranks.set(ranks.into());
        let count = (values.len() + self.plan.room).min(VALUES_MAX);
        let places = (0..(2 * count).next_power_of_two()).map(|_| AtomicU64::new(FREE));
        if self.places.set(places.collect()).is_err() {
            return Ok(());
        }
        if self.plan.save.is_some() {
            let bytes: usize = values.iter().map(|value| value.len() + 4).sum();
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.reserve_exact(bytes + KEPT_MAX);
        }
        for value in values {
            self.insert(&value);
        }
        Ok(())
    }

    /// Values and reputations of a file of lines; the number of a line that is neither.
    fn lines_of(&self, text: &str) -> Result<Read, usize> {
        let (mut values, mut ranks) = (Vec::new(), Vec::new());
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (value, rank) = line.split_once(',').unwrap_or((line, ""));
            let value = self.plan.kind.read(value.trim()).ok_or(number + 1)?;
            if self.plan.ranked {
                let rank = rank.trim().parse().map_err(|_| number + 1)?;
                ranks.push((value.clone(), rank));
            }
            values.push(value);
        }
        Ok((values, ranks))
    }

    /// The lines of its file now.
    pub fn lines(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = kept.as_slice();
        let mut values = std::collections::BTreeSet::new();
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            let Some((value, behind)) = behind.split_at_checked(length) else {
                break;
            };
            values.insert(value);
            rest = behind;
        }
        let mut text = String::new();
        for value in values.into_iter().filter(|value| self.contains(value)) {
            text.push_str(&self.plan.kind.write(value));
            text.push('\n');
        }
        text
    }

    /// What a rule does to the set with a value, and whether that holds: asking, or a change that
    /// changed something.
    pub fn test(&self, command: DatasetCommand, value: &[u8]) -> bool {
        if !self.plan.kind.takes(value) {
            return command == DatasetCommand::IsNotSet;
        }
        match command {
            DatasetCommand::IsSet => self.contains(value),
            DatasetCommand::IsNotSet => !self.contains(value),
            DatasetCommand::Set => self.insert(value),
            DatasetCommand::Unset => self.remove(value),
            DatasetCommand::Ranks(compare) => {
                let mark = self.key_of(value);
                let ranks = self.ranks.get().map_or(&[][..], |ranks| ranks);
                let place = ranks.partition_point(|(known, _)| *known < mark);
                let found = ranks.get(place).filter(|(known, _)| *known == mark);
                found.is_some_and(|(_, rank)| compare.test(u64::from(*rank)))
            }
        }
    }

    /// What an operator does to the set: `dataset-add`, `dataset-remove`, `dataset-lookup`, with the
    /// type that it should have and a value as its file would have it.
    ///
    /// # Errors
    /// Why that cannot be done.
    pub fn obey(&self, command: &str, kind: &str, value: &str) -> Result<&'static str, String> {
        let name = self.name();
        if Kind::by_name(kind) != Some(self.kind()) {
            return Err(format!("the set `{name}` has another type than `{kind}`"));
        }
        let read = self.kind().read(value);
        let value = read.ok_or_else(|| {
            let hint = "string: base64; hashes: hexadecimal; ip: an address";
            format!("`{value}` is no value of type {kind} ({hint})")
        })?;
        match command {
            "dataset-add" if self.contains(&value) => Ok("data already in set"),
            "dataset-add" if self.insert(&value) => Ok("data added"),
            "dataset-add" => Err(format!("the set `{name}` is full: memcap or hashsize")),
            "dataset-remove" if self.remove(&value) => Ok("data removed"),
            "dataset-lookup" if self.contains(&value) => Ok("item found in set"),
            _ => Err(format!("no such value in the set `{name}`")),
        }
    }

    /// The value's mark.
    fn key_of(&self, value: &[u8]) -> u64 {
        self.key.hash_one(value).max(GIVEN_UP + 1)
    }

    /// The value's mark, and the places where it may stand.
    fn mark(&self, value: &[u8]) -> (u64, impl Iterator<Item = &AtomicU64>) {
        let mark = self.key_of(value);
        let places = self.places.get().map_or(&[][..], |places| places);
        let mask = places.len().wrapping_sub(1);
        let at = (mark >> 8) as usize;
        let steps = 0..STEPS_MAX.min(places.len());
        (
            mark,
            steps.filter_map(move |step| places.get(at.wrapping_add(step) & mask)),
        )
    }

    fn contains(&self, value: &[u8]) -> bool {
        let (mark, places) = self.mark(value);
        for place in places {
            match place.load(Ordering::Acquire) {
                FREE => return false,
                known if known == mark => return true,
                _ => {}
            }
        }
        false
    }

    fn insert(&self, value: &[u8]) -> bool {
        if self.contains(value) {
            return false;
        }
        let (mark, places) = self.mark(value);
        for place in places {
            let mut known = place.load(Ordering::Acquire);
            while matches!(known, FREE | GIVEN_UP) {
                let taken =
                    place.compare_exchange(known, mark, Ordering::AcqRel, Ordering::Acquire);
                match taken {
                    Ok(_) => {
                        self.keep(value);
                        return true;
                    }
                    Err(now) => known = now,
                }
            }
            if known == mark {
                return false;
            }
        }
        self.full.fetch_add(1, Ordering::Relaxed);
        false
    }

    fn remove(&self, value: &[u8]) -> bool {
        let (mark, places) = self.mark(value);
        for place in places {
            match place.load(Ordering::Acquire) {
                FREE => return false,
                known if known == mark => {
                    return place
                        .compare_exchange(mark, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire)
                        .is_ok();
                }
                _ => {}
            }
        }
        false
    }

    /// Keeps a value for the file, if there is one and it has room.
    fn keep(&self, value: &[u8]) {
        if self.plan.save.is_none() {
            return;
        }
        // Another lane that keeps one at this moment makes this one be counted, not waited for.
        match self.kept.try_lock() {
            Ok(mut kept) if kept.capacity() - kept.len() >= value.len() + 4 => {
                kept.extend_from_slice(&(value.len() as u32).to_le_bytes());
                kept.extend_from_slice(value);
            }
            _ => {
                self.full.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Whether a setting is a set's memory cap.
fn is_memcap(key: &str, name: &str) -> bool {
    key.rsplit_once('.') == Some((name, "memcap"))
}

/// Values that a memory cap has room for.
pub(super) fn room_of(memory: &str) -> Option<usize> {
    let bytes = crate::config::size("memcap", memory).ok()?;
    Some((bytes as usize / VALUE_BYTES).clamp(1, VALUES_MAX))
}

/// The sets of a load, by name.
#[derive(Clone, Debug, Default)]
pub struct Datasets {
    sets: Vec<Arc<Dataset>>,
}

impl Datasets {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Dataset>> {
        self.sets.iter()
    }

    /// The set of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Dataset>> {
        self.sets.iter().find(|set| set.name() == name)
    }

    /// One more.
    pub fn add(&mut self, set: Arc<Dataset>) {
        self.sets.push(set);
    }

    /// Adds the sets that settings tell of, each by `NAME.type` and what else there is of it; those
    /// that are there already stay.
    ///
    /// # Errors
    /// A set without a type, or of one that nobody knows.
    pub fn declare(&mut self, settings: &[(String, String)]) -> Result<(), String> {
        let mut plans: Vec<(&str, Option<Kind>, Plan)> = Vec::new();
        for (key, value) in settings {
            let (name, what) = key.rsplit_once('.').unwrap_or((key, ""));
            let known = plans.iter().position(|(of, ..)| *of == name);
            let place = known.unwrap_or_else(|| {
                plans.push((name, None, Plan::string(name)));
                plans.len() - 1
            });
            let (_, kind, plan) = &mut plans[place];
            let path = || Some(value.as_str().into());
            match what {
                "type" => {
                    let known = Kind::by_name(value);
                    let wrong = || format!("datasets.{name}: `{value}` is no type of a dataset");
                    *kind = Some(known.ok_or_else(wrong)?);
                }
                "load" => plan.load = path(),
                "save" => plan.save = path(),
                "state" => (plan.load, plan.save) = (path(), path()),
                // Buckets of a table there, which bound nothing: the memory cap does.
                "memcap" => plan.room = room_of(value).unwrap_or(plan.room),
                "hashsize" if settings.iter().any(|(k, _)| is_memcap(k, name)) => {}
                "hashsize" => plan.room = value.parse().unwrap_or(ROOM).clamp(ROOM, VALUES_MAX),
                _ => {}
            }
        }
        for (name, kind, plan) in plans {
            let kind = kind.ok_or_else(|| format!("datasets.{name} has no type"))?;
            if self.get(name).is_none() {
                self.add(Arc::new(Dataset::new(Plan { kind, ..plan })));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_tell_of_sets() {
        let given = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            let own = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
            pairs.iter().map(own).collect()
        };
        let mut sets = Datasets::default();
        let settings = [
            ("ua-seen.type", "string"),
            ("ua-seen.state", "seen.lst"),
            ("dns.sha.type", "sha256"),
            ("dns.sha.load", "dns.lst"),
            ("dns.sha.memcap", "10mb"),
            ("dns.sha.hashsize", "1024"),
        ];
        sets.declare(&given(&settings)).unwrap();
        let seen = sets.get("ua-seen").unwrap();
        assert_eq!(
            (seen.load(), seen.save()),
            (Some("seen.lst"), Some("seen.lst"))
        );
        assert_eq!(seen.plan.room, ROOM);
        let hashes = sets.get("dns.sha").unwrap();
        assert_eq!(
            hashes.plan.room,
            (10 << 20) / VALUE_BYTES,
            "not the buckets"
        );
        assert_eq!(
            (hashes.kind(), hashes.load(), hashes.save()),
            (Kind::Sha256, Some("dns.lst"), None)
        );
        sets.declare(&given(&settings)).unwrap();
        assert_eq!(sets.iter().count(), 2, "once");
        for wrong in [("a.type", "number"), ("a.load", "b")] {
            assert!(sets.declare(&given(&[wrong])).is_err(), "{wrong:?}");
        }
    }

    fn set(kind: Kind, room: usize) -> Dataset {
        Dataset::new(Plan {
            name: "s".into(),
            kind,
            load: None,
            save: Some("s.lst".into()),
            format: Format::Lines,
            room,
            ranked: false,
        })
    }

    #[test]
    fn a_change_holds_when_it_changes_something() {
        use DatasetCommand::{IsNotSet, IsSet, Set, Unset};
        let set = set(Kind::Text, 8);
        set.fill("YWxwaGE=\n").unwrap();
        let steps = [
            (IsSet, "alpha", true),
            (Set, "alpha", false),
            (IsNotSet, "beta", true),
            (Set, "beta", true),
            (IsSet, "beta", true),
            (Unset, "alpha", true),
            (Unset, "alpha", false),
            (IsSet, "alpha", false),
        ];
        for (command, value, holds) in steps {
            let got = set.test(command, value.as_bytes());
            assert_eq!(got, holds, "{command:?} {value}");
        }
        assert_eq!(set.lines(), "YmV0YQ==\n");
    }

    #[test]
    fn operators_add_and_remove_values() {
        let set = set(Kind::Ip, 2);
        set.fill("").unwrap();
        let say = |command: &str, kind: &str, value: &str| set.obey(command, kind, value);
        assert_eq!(say("dataset-add", "ip", "10.0.0.1"), Ok("data added"));
        assert_eq!(
            say("dataset-add", "ip", "10.0.0.1"),
            Ok("data already in set")
        );
        assert!(set.test(DatasetCommand::IsSet, &[10, 0, 0, 1]));
        assert_eq!(
            say("dataset-lookup", "ip", "10.0.0.1"),
            Ok("item found in set")
        );
        assert_eq!(say("dataset-remove", "ip", "10.0.0.1"), Ok("data removed"));
        for (kind, value) in [("ip", "10.0.0.1"), ("md5", "10.0.0.1"), ("ip", "ten")] {
            assert!(
                say("dataset-remove", kind, value).is_err(),
                "{kind} {value}"
            );
        }
    }

    #[test]
    fn files_are_lines_of_the_type() {
        let md5 = set(Kind::Md5, 1);
        md5.fill("# comment\nd41d8cd98f00b204e9800998ecf8427e\n")
            .unwrap();
        assert_eq!(md5.lines(), "d41d8cd98f00b204e9800998ecf8427e\n");
        assert_eq!(set(Kind::Md5, 1).fill("\nd41d\n"), Err(2));
        let ip = set(Kind::Ip, 1);
        ip.fill("10.0.0.1\n2001:db8::1\n").unwrap();
        assert!(ip.test(DatasetCommand::IsSet, &[10, 0, 0, 1]));
        assert!(!ip.test(DatasetCommand::IsSet, &[10, 0, 0]));
        assert_eq!(set(Kind::Ipv4, 1).fill("2001:db8::1\n"), Err(1));
    }

    #[test]
    fn a_full_table_keeps_what_it_has_and_counts() {
        let set = set(Kind::Text, 1);
        set.fill("").unwrap();
        let added = (0..9u8).filter(|n| set.insert(&[*n])).count();
        assert_eq!((added, set.lost()), (2, 7));
    }

    #[test]
    fn reputations_stand_behind_a_comma() {
        let mut ranked = set(Kind::Ipv4, 1);
        ranked.plan.ranked = true;
        ranked.fill("10.0.0.1,200\n10.0.0.2, 5\n").unwrap();
        let ranks = |value: &[u8], compare| ranked.test(DatasetCommand::Ranks(compare), value);
        use crate::rules::signature::Compare::{Greater, Less};
        assert!(ranks(&[10, 0, 0, 1], Greater(100)) && !ranks(&[10, 0, 0, 2], Greater(100)));
        assert!(ranks(&[10, 0, 0, 2], Less(6)) && !ranks(&[10, 0, 0, 3], Less(6)));
        let mut bare = set(Kind::Ipv4, 1);
        bare.plan.ranked = true;
        assert_eq!(bare.fill("10.0.0.1\n"), Err(1));
    }

    #[test]
    fn values_stand_under_a_name_in_json() {
        use DatasetCommand::IsSet;
        let of = |format, text: &str| {
            let mut set = set(Kind::Text, 1);
            set.plan.format = format;
            set.fill(text).map(|()| set)
        };
        let array = || Format::Json {
            array: "threat.list".into(),
            value: "id.name".into(),
        };
        let text = r#"{"threat":{"list":[{"id":{"name":"alpha"}},{"id":{"name":"beta"}}]}}"#;
        let set = of(array(), text).unwrap();
        assert!(set.test(IsSet, b"alpha") && set.test(IsSet, b"beta"));
        assert_eq!(of(array(), "{\n\"threat\":1}").err(), Some(1));
        let lines = || Format::JsonLines { value: "v".into() };
        let set = of(lines(), "{\"v\":\"x\"}\n\n{\"v\":\"y\",\"n\":1}\n").unwrap();
        assert!(set.test(IsSet, b"x") && set.test(IsSet, b"y") && !set.test(IsSet, b"1"));
        assert_eq!(of(lines(), "{\"v\":\"x\"}\n{}\n").err(), Some(2));
    }
}
