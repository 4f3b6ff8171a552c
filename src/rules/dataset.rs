//! `dataset`: sets of values that rules ask, fill and empty, with files behind them.
//!
//! A set is told of by the rules and made here; its file is read by whoever loads the rules, before
//! the lanes start ([`Dataset::fill`]). From then on it is one table of a fixed size, shared by all
//! lanes: a place is a 64-bit keyed hash of a value (the key is new each start), taken and given up
//! by compare-and-swap, so a lane neither waits nor allocates. A table that is full keeps what it
//! has and counts what it could not take. A set outlives a reload of the rules by its name.
//!
//! Deliberately absent: `datarep` (values with a reputation) and formats other than lines.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use base64::Engine;

use super::argument::Argument;
use super::diagnostic::{Code, Problem};
use super::lex::shorten;
use super::parse::Builder;
use super::signature::{DatasetCommand, DatasetTest, Test};

/// Values that a set takes beside those of its file, unless `hashsize` says more.
const ROOM: usize = 4096;
/// Values of a set at most.
const VALUES_MAX: usize = 1 << 24;
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
    /// 32 bytes.
    Sha256,
    /// 4 bytes.
    Ipv4,
    /// 4 or 16 bytes.
    Ip,
}

impl Kind {
    fn by_name(name: &str) -> Option<Kind> {
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
    fn takes(self, value: &[u8]) -> bool {
        match self {
            Kind::Text => !value.is_empty(),
            Kind::Md5 => value.len() == 16,
            Kind::Sha256 => value.len() == 32,
            Kind::Ipv4 => value.len() == 4,
            Kind::Ip => matches!(value.len(), 4 | 16),
        }
    }

    /// The value that a line of a file stands for.
    fn read(self, line: &str) -> Option<Vec<u8>> {
        let value = match self {
            Kind::Text => base64::engine::general_purpose::STANDARD
                .decode(line)
                .ok()?,
            Kind::Md5 | Kind::Sha256 => hex(line)?,
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

/// A set.
#[derive(Debug)]
pub struct Dataset {
    name: Box<str>,
    kind: Kind,
    /// File to read at the start.
    load: Option<Box<str>>,
    /// File to write at the end.
    save: Option<Box<str>>,
    room: usize,
    key: RandomState,
    places: OnceLock<Box<[AtomicU64]>>,
    /// Values behind each other, each with its length, for the file.
    kept: Mutex<Vec<u8>>,
    full: AtomicU64,
}

impl Dataset {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// File to read at the start.
    pub fn load(&self) -> Option<&str> {
        self.load.as_deref()
    }

    /// File to write at the end.
    pub fn save(&self) -> Option<&str> {
        self.save.as_deref()
    }

    /// Whether it has been filled: a reload leaves it as it is.
    pub fn is_filled(&self) -> bool {
        self.places.get().is_some()
    }

    /// Values that did not fit.
    pub fn lost(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }

    /// Makes the table, with the values of its file. Once; what comes after is ignored.
    ///
    /// # Errors
    /// Number of the first line that is no value of the set's type.
    pub fn fill(&self, text: &str) -> Result<(), usize> {
        let mut values = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // What stands behind a comma is for `datarep`.
            let value = line.split(',').next().unwrap_or(line).trim();
            values.push(self.kind.read(value).ok_or(number + 1)?);
        }
        let count = (values.len() + self.room).min(VALUES_MAX);
        let places = (0..(2 * count).next_power_of_two()).map(|_| AtomicU64::new(FREE));
        if self.places.set(places.collect()).is_err() {
            return Ok(());
        }
        if self.save.is_some() {
            let bytes: usize = values.iter().map(|value| value.len() + 4).sum();
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.reserve_exact(bytes + KEPT_MAX);
        }
        for value in values {
            self.insert(&value);
        }
        Ok(())
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
            text.push_str(&self.kind.write(value));
            text.push('\n');
        }
        text
    }

    /// What a rule does to the set with a value, and whether that holds: asking, or a change that
    /// changed something.
    pub fn test(&self, command: DatasetCommand, value: &[u8]) -> bool {
        if !self.kind.takes(value) {
            return command == DatasetCommand::IsNotSet;
        }
        match command {
            DatasetCommand::IsSet => self.contains(value),
            DatasetCommand::IsNotSet => !self.contains(value),
            DatasetCommand::Set => self.insert(value),
            DatasetCommand::Unset => self.remove(value),
        }
    }

    /// The value's mark, and the places where it may stand.
    fn mark(&self, value: &[u8]) -> (u64, impl Iterator<Item = &AtomicU64>) {
        let mark = self.key.hash_one(value).max(GIVEN_UP + 1);
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
        if self.save.is_none() {
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

    fn get(&self, name: &str) -> Option<&Arc<Dataset>> {
        self.sets.iter().find(|set| *set.name == *name)
    }
}

/// What the words of an option say.
#[derive(Default)]
struct Words<'a> {
    kind: Option<Kind>,
    load: Option<&'a str>,
    save: Option<&'a str>,
    room: Option<usize>,
}

/// `dataset:command,name[,type T][,load FILE][,save FILE][,state FILE][,hashsize N][,memcap N]`.
pub fn parse<'a>(builder: &mut Builder<'a, '_>, argument: Argument<'a>) -> Result<(), Problem> {
    if builder.sticky.is_none() {
        return Err(argument.problem(Code::NoBuffer, "`dataset` needs a sticky buffer before it"));
    }
    let mut parts = argument.text.split(',').map(str::trim);
    let command = match parts.next().unwrap_or("") {
        "set" => DatasetCommand::Set,
        "unset" => DatasetCommand::Unset,
        "isset" => DatasetCommand::IsSet,
        "isnotset" => DatasetCommand::IsNotSet,
        other => {
            let message = format!("`{}` is no command of a dataset", shorten(other));
            return Err(argument
                .bad(message)
                .help("commands are set, unset, isset, isnotset"));
        }
    };
    let name = parts.next().filter(|name| !name.is_empty());
    let Some(name) = name else {
        return Err(argument.bad("`dataset` needs the name of a set behind its command"));
    };
    let words = words(&argument, parts)?;
    let set = declared(builder, &argument, name, &words)?;
    builder.push(
        Test::Dataset(DatasetTest { command, set }),
        false,
        argument.span,
    );
    Ok(())
}

fn words<'a>(
    argument: &Argument<'a>,
    parts: impl Iterator<Item = &'a str>,
) -> Result<Words<'a>, Problem> {
    let mut words = Words::default();
    for part in parts {
        let (key, value) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
        let value = value.trim();
        match key {
            "type" => {
                let Some(kind) = Kind::by_name(value) else {
                    let message = format!("`{}` is no type of a dataset", shorten(value));
                    return Err(argument
                        .bad(message)
                        .help("types are string, md5, sha256, ipv4, ip"));
                };
                words.kind = Some(kind);
            }
            "load" => words.load = Some(value),
            "save" => words.save = Some(written(argument, value)?),
            "state" => {
                let path = written(argument, value)?;
                (words.load, words.save) = (Some(path), Some(path));
            }
            "hashsize" => words.room = value.parse().ok(),
            // Its memory is planned by the number of values.
            "memcap" => {}
            other => {
                return Err(argument.bad(format!("`{}` is not known here", shorten(other))));
            }
        }
    }
    Ok(words)
}

/// A path that a rule may have written: below the folder of the rules.
fn written<'a>(argument: &Argument<'a>, path: &'a str) -> Result<&'a str, Problem> {
    let outside = |part: std::path::Component<'_>| {
        !matches!(
            part,
            std::path::Component::Normal(_) | std::path::Component::CurDir
        )
    };
    if path.is_empty() || std::path::Path::new(path).components().any(outside) {
        return Err(argument
            .bad(format!("`{}` is no path below the rules", shorten(path)))
            .help("what a rule writes lies beside it: a relative path without `..`"));
    }
    Ok(path)
}

/// The set of that name: the one that a rule before told of, or a new one.
fn declared(
    builder: &mut Builder<'_, '_>,
    argument: &Argument<'_>,
    name: &str,
    words: &Words<'_>,
) -> Result<Arc<Dataset>, Problem> {
    let sets = &mut builder.context.names.datasets;
    if let Some(set) = sets.get(name) {
        if words.kind.is_some_and(|kind| kind != set.kind) {
            let message = format!("the set `{name}` has another type in a rule before");
            return Err(argument.bad(message));
        }
        return Ok(Arc::clone(set));
    }
    let Some(kind) = words.kind else {
        return Err(argument
            .bad(format!("the set `{name}` has no type"))
            .help("write `type string` (or md5, sha256, ipv4, ip) where it is first used"));
    };
    let set = Arc::new(Dataset {
        name: name.into(),
        kind,
        load: words.load.map(Into::into),
        save: words.save.map(Into::into),
        room: words.room.unwrap_or(ROOM).clamp(1, VALUES_MAX),
        key: RandomState::new(),
        places: OnceLock::new(),
        kept: Mutex::new(Vec::new()),
        full: AtomicU64::new(0),
    });
    sets.sets.push(Arc::clone(&set));
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(kind: Kind, room: usize) -> Dataset {
        Dataset {
            name: "s".into(),
            kind,
            load: None,
            save: Some("s.lst".into()),
            room,
            key: RandomState::new(),
            places: OnceLock::new(),
            kept: Mutex::new(Vec::new()),
            full: AtomicU64::new(0),
        }
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
}
