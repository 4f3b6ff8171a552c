//! `--config FILE`: reads `sluice.toml` and fills in what the command line left open.
//!
//! The keys are config/keys.rs's; what is wrong is told with file, line, column, and the nearest
//! name that there is. The command line wins: options given there stand, `--set` and `--var` come
//! after the file's. Reading Suricata's own file is import.rs's.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{Failure, exit};
use crate::config::foreign;
use crate::config::keys::{DATASET_KEYS, DATASETS, KEYS, Key, Kind, Reader, VARIABLES, key};
use crate::rules::diagnostic::nearest;

/// A value, as its key takes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A flag, number, size, word, text or path.
    One(String),
    /// A list.
    Many(Vec<String>),
    /// Pairs of ports.
    Pairs(Vec<[String; 2]>),
}

/// One setting of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Its key.
    pub key: &'static Key,
    /// Its value.
    pub value: Value,
    /// `file:line:column`.
    pub place: String,
}

/// What a settings file says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// The settings, in the file's order.
    pub entries: Vec<Setting>,
    /// Variables of rules.
    pub variables: Vec<(String, String)>,
    /// What is said of datasets: key and value as `--set` takes them, place.
    datasets: Vec<[String; 3]>,
    folder: PathBuf,
}

/// What is wrong at one place of a file.
struct Fault {
    offset: usize,
    what: String,
    hint: String,
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read (6), or what is wrong in it, all of it (3).
    pub fn read(path: &Path) -> Result<Settings, Failure> {
        if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            let path = path.display();
            let text = format!(
                "{path}: that is the form of Suricata's settings\n [hint] sluice config import \
                 {path} -o sluice.toml"
            );
            return Err(Failure::new(exit::CONFIG, text));
        }
        let text = std::fs::read_to_string(path).map_err(|error| {
            let hint = "--config names a sluice.toml; `sluice config reference` writes one";
            Failure::new(
                exit::INPUT,
                format!("{}: {error}\n [hint] {hint}", path.display()),
            )
        })?;
        Settings::parse(path, &text)
    }

    /// Reads a text; `path` names it and is what its paths are relative to.
    ///
    /// # Errors
    /// All that is wrong, a place and a hint each (3).
    pub fn parse(path: &Path, text: &str) -> Result<Settings, Failure> {
        let mut reader = Reading {
            name: path.display().to_string(),
            text,
            settings: Settings {
                folder: path.parent().unwrap_or(Path::new("")).to_path_buf(),
                ..Settings::default()
            },
            faults: Vec::new(),
        };
        match DeTable::parse(text) {
            Ok(table) => reader.table("", table.get_ref()),
            Err(error) => reader.faults.push(Fault {
                offset: error.span().map_or(0, |span| span.start),
                what: error.message().to_string(),
                hint: "the form is TOML; `sluice config reference` shows every key".to_string(),
            }),
        }
        reader.finish()
    }

    fn find(&self, name: &str) -> Option<&Value> {
        let found = self.entries.iter().rev().find(|s| s.key.name == name);
        found.map(|setting| &setting.value)
    }

    /// A single value.
    pub fn one(&self, name: &str) -> Option<&str> {
        match self.find(name)? {
            Value::One(text) => Some(text),
            _ => None,
        }
    }

    /// A list.
    pub fn many(&self, name: &str) -> &[String] {
        match self.find(name) {
            Some(Value::Many(list)) => list,
            _ => &[],
        }
    }

    /// A setting as TOML writes it, and its place.
    pub fn shown(&self, key: &Key) -> Option<(String, &str)> {
        let quote = |text: &String| toml::Value::String(text.clone()).to_string();
        let list = |parts: Vec<String>| format!("[{}]", parts.join(", "));
        let mut entries = self.entries.iter().rev();
        let setting = entries.find(|setting| setting.key.name == key.name)?;
        let bare = match key.kind {
            Kind::Flag | Kind::Number | Kind::Seconds | Kind::Ports => true,
            Kind::Bytes => {
                matches!(&setting.value, Value::One(text) if text.parse::<u64>().is_ok())
            }
            _ => false,
        };
        let one = |text: &String| if bare { text.clone() } else { quote(text) };
        let text = match &setting.value {
            Value::One(text) => one(text),
            Value::Many(texts) => list(texts.iter().map(one).collect()),
            Value::Pairs(pairs) => {
                let pair = |pair: &[String; 2]| list(pair.iter().map(quote).collect());
                list(pairs.iter().map(pair).collect())
            }
        };
        Some((text, &setting.place))
    }

    /// A flag; false where it is not given.
    pub fn flag(&self, name: &str) -> bool {
        self.one(name) == Some("true")
    }

    /// A number that was checked when it was read.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.one(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            let place = self.entries.iter().find(|s| s.key.name == name);
            let place = place.map_or("", |setting| setting.place.as_str());
            let text = format!("{place}: {name}: `{text}` is out of range\n [hint] a smaller one");
            Failure::new(exit::CONFIG, text)
        })
    }

    /// A path, seen from here.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.one(name).map(|path| self.folder.join(path))
    }

    /// Pairs of ports.
    pub fn pairs(&self) -> &[[String; 2]] {
        match self.find("run.inline") {
            Some(Value::Pairs(pairs)) => pairs,
            _ => &[],
        }
    }

    /// Rule files, seen from here.
    pub fn rule_files(&self) -> Vec<PathBuf> {
        let folder = self.path("rules.path").unwrap_or(self.folder.clone());
        let files = self.many("rules.files").iter();
        files.map(|file| folder.join(file)).collect()
    }

    /// What the engine reads: key, value as `--set` takes it, place.
    pub fn engine(&self) -> impl Iterator<Item = (&str, String, &str)> {
        let engine = |s: &&Setting| s.key.reader == Reader::Engine;
        let sets = self.datasets.iter();
        let sets = sets.map(|[key, value, place]| (key.as_str(), value.clone(), place.as_str()));
        let engine = self.entries.iter().filter(engine).map(|setting| {
            let value = match (&setting.value, setting.key.kind) {
                (Value::One(path), Kind::Path) => self.folder.join(path).display().to_string(),
                (Value::One(text), _) => text.clone(),
                (Value::Many(list), _) => list.join(","),
                (Value::Pairs(_), _) => String::new(),
            };
            (setting.key.name, value, setting.place.as_str())
        });
        engine.chain(sets)
    }
}

/// A file being read.
struct Reading<'a> {
    name: String,
    text: &'a str,
    settings: Settings,
    faults: Vec<Fault>,
}

impl Reading<'_> {
    /// `name:line:column` of an offset, both from 1.
    fn place(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(start..).map_or(0, |l| l.chars().count()) + 1;
        format!("{}:{line}:{column}", self.name)
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (word, value) in table.iter() {
            let name = match prefix {
                "" => word.get_ref().to_string(),
                prefix => format!("{prefix}.{}", word.get_ref()),
            };
            let below = format!("{name}.");
            if prefix.is_empty() && name == VARIABLES {
                self.variables(value.get_ref(), value.span().start);
            } else if prefix.is_empty() && name == DATASETS {
                self.datasets(value.get_ref(), value.span().start);
            } else if let Some(key) = key(&name) {
                match taken(key.kind, value.get_ref()) {
                    Ok(value) => {
                        let place = self.place(word.span().start);
                        self.settings.entries.push(Setting { key, value, place });
                    }
                    Err(what) => self.faults.push(Fault {
                        offset: value.span().start,
                        what: format!("{name}: {what}"),
                        hint: format!("it takes {}", key.kind.unit()),
                    }),
                }
            } else if let (DeValue::Table(table), true) = (
                value.get_ref(),
                KEYS.iter().any(|key| key.name.starts_with(&below)),
            ) {
                self.table(&name, table);
            } else {
                self.faults.push(unknown(&name, word.span().start));
            }
        }
    }

    fn variables(&mut self, value: &DeValue<'_>, offset: usize) {
        let DeValue::Table(table) = value else {
            self.faults.push(Fault {
                offset,
                what: format!("`{VARIABLES}` is no table"),
                hint: format!("write [{VARIABLES}] and below it HOME_NET = \"10.0.0.0/8\""),
            });
            return;
        };
        for (name, value) in table.iter() {
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.to_string(),
                DeValue::Array(_) => match texts(value.get_ref()) {
                    Some(list) => format!("[{}]", list.join(",")),
                    None => String::new(),
                },
                _ => String::new(),
            };
            if text.is_empty() {
                self.faults.push(Fault {
                    offset: value.span().start,
                    what: format!("{VARIABLES}.{}: no value of a variable", name.get_ref()),
                    hint: "write \"10.0.0.0/8\", \"[80,8080]\" or a list of such texts".to_string(),
                });
            } else {
                let entry = (name.get_ref().to_string(), text);
                self.settings.variables.push(entry);
            }
        }
    }

    fn datasets(&mut self, value: &DeValue<'_>, offset: usize) {
        let hint = || format!("write [{DATASETS}.NAME] and below it type = \"string\"");
        let DeValue::Table(sets) = value else {
            let what = format!("`{DATASETS}` is no table");
            self.faults.push(Fault {
                offset,
                what,
                hint: hint(),
            });
            return;
        };
        for (name, value) in sets.iter() {
            let name = format!("{DATASETS}.{}", name.get_ref());
            let DeValue::Table(table) = value.get_ref() else {
                let what = format!("`{name}` is no table");
                let offset = value.span().start;
                self.faults.push(Fault {
                    offset,
                    what,
                    hint: hint(),
                });
                continue;
            };
            for (word, value) in table.iter() {
                self.of_dataset(&name, word.get_ref(), word.span().start, value);
            }
        }
    }

    /// One key of a dataset's table.
    fn of_dataset(&mut self, set: &str, word: &str, at: usize, value: &toml::Spanned<DeValue<'_>>) {
        let name = format!("{set}.{word}");
        let Some((_, kind)) = DATASET_KEYS.iter().find(|(known, _)| *known == word) else {
            let words: Vec<&str> = DATASET_KEYS.iter().map(|(known, _)| *known).collect();
            self.faults.push(Fault {
                offset: at,
                what: format!("unknown setting `{name}`"),
                hint: format!("a dataset has {}", words.join(", ")),
            });
            return;
        };
        match (taken(*kind, value.get_ref()), kind) {
            (Ok(Value::One(path)), Kind::Path) => {
                let path = self.settings.folder.join(path).display().to_string();
                self.settings.datasets.push([name, path, self.place(at)]);
            }
            (Ok(Value::One(text)), _) => {
                self.settings.datasets.push([name, text, self.place(at)]);
            }
            (Ok(_), _) => {}
            (Err(what), _) => self.faults.push(Fault {
                offset: value.span().start,
                what: format!("{name}: {what}"),
                hint: format!("it takes {}", kind.unit()),
            }),
        }
    }

    fn finish(mut self) -> Result<Settings, Failure> {
        if self.faults.is_empty() {
            return Ok(self.settings);
        }
        self.faults.sort_by_key(|fault| fault.offset);
        let lines: Vec<String> = self
            .faults
            .iter()
            .map(|fault| {
                let place = self.place(fault.offset);
                format!("{place}: {}\n [hint] {}", fault.what, fault.hint)
            })
            .collect();
        Err(Failure::new(exit::CONFIG, lines.join("\n")))
    }
}

/// The setting or table whose name is nearest to one that nobody knows.
pub fn near(name: &str) -> Option<&'static str> {
    // Each way of tables counts as a name, so that a misspelt [straem] finds its table.
    let names = KEYS.iter().flat_map(|key| {
        let dots = key.name.match_indices('.').map(|(at, _)| &key.name[..at]);
        dots.chain(std::iter::once(key.name))
    });
    nearest(name, names.chain([VARIABLES, DATASETS]))
}

fn unknown(name: &str, offset: usize) -> Fault {
    if let Some(why) = foreign::of_parser(name) {
        return Fault {
            offset,
            what: format!("`{name}` has no effect here: {why}"),
            hint: "take it out".to_string(),
        };
    }
    let hint = match near(name) {
        Some(near) => format!("did you mean `{near}`?"),
        None => match KEYS.iter().find(|key| last(key.name) == last(name)) {
            Some(elsewhere) => format!("did you mean `{}`?", elsewhere.name),
            None if foreign::knows(name) => format!("take it out: {}", foreign::reason(name)),
            None => "`sluice config reference` shows every key".to_string(),
        },
    };
    Fault {
        offset,
        what: format!("unknown setting `{name}`"),
        hint,
    }
}

/// The part of a name behind its tables.
fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    let list = value.as_array()?.iter();
    list.map(|item| match item.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        _ => None,
    })
    .collect()
}

/// The value as a key of this kind takes it, or what is wrong.
fn taken(kind: Kind, value: &DeValue<'_>) -> Result<Value, String> {
    let wrong = || format!("{} is not what it takes", value.type_str());
    let one = |text: String| Ok(Value::One(text));
    match (kind, value) {
        (Kind::Flag, DeValue::Boolean(flag)) => one(flag.to_string()),
        (Kind::Number | Kind::Seconds | Kind::Bytes, DeValue::Integer(number)) => {
            let text = number.to_string();
            match text.parse::<u64>() {
                Ok(number) => one(number.to_string()),
                Err(_) => Err(format!("{text} is less than 0, or too large")),
            }
        }
        (Kind::Bytes, DeValue::String(text)) => {
            crate::config::size("", text).map_err(|_| format!("`{text}` is no size"))?;
            one(text.to_string())
        }
        (Kind::Word(words), DeValue::String(text)) => match words.contains(&text.as_ref()) {
            true => one(text.to_string()),
            false => Err(format!("`{text}` is none of {}", words.join(", "))),
        },
        (Kind::Text | Kind::Path, DeValue::String(text)) => one(text.to_string()),
        (Kind::Ports, DeValue::Array(_)) => {
            let list = texts(value).ok_or_else(wrong)?;
            match list.iter().find(|port| port.parse::<u16>().is_err()) {
                Some(port) => Err(format!("`{port}` is no port")),
                None => Ok(Value::Many(list)),
            }
        }
        (Kind::Paths | Kind::Texts, DeValue::Array(_)) => {
            texts(value).map(Value::Many).ok_or_else(wrong)
        }
        (Kind::Pairs, DeValue::Array(list)) => list
            .iter()
            .map(|pair| texts(pair.get_ref())?.try_into().ok())
            .collect::<Option<Vec<[String; 2]>>>()
            .map(Value::Pairs)
            .ok_or_else(|| "a pair has two ports, as in [[\"eth1\", \"eth2\"]]".to_string()),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, Failure> {
        Settings::parse(Path::new("dir/sluice.toml"), text)
    }

    #[test]
    fn a_file_says_what_the_command_line_would() {
        let text = "flows = 1000\n[run]\ninline = [[\"a\", \"b\"], [\"c\", \"d\"]]\nlanes = 2\n\
                    [rules]\nfiles = [\"x.rules\"]\npath = \"r\"\n[stream]\nmidstream = true\n\
                    reassembly.depth = \"2mb\"\n[datasets.ua-seen]\ntype = \"string\"\n\
                    state = \"ua.lst\"\n[vars]\nHTTP_PORTS = [80, 8080]\n";
        let settings = parse(text).unwrap();
        assert_eq!(settings.pairs(), [["a", "b"], ["c", "d"]]);
        assert_eq!(settings.number::<usize>("run.lanes").unwrap(), Some(2));
        assert_eq!(settings.rule_files(), [Path::new("dir/r/x.rules")]);
        let engine: Vec<(&str, String)> = settings.engine().map(|(k, v, _)| (k, v)).collect();
        assert!(engine.contains(&("stream.reassembly.depth", "2mb".to_string())));
        assert!(engine.contains(&("stream.midstream", "true".to_string())));
        assert!(engine.contains(&("datasets.ua-seen.type", "string".to_string())));
        assert!(engine.contains(&("datasets.ua-seen.state", "dir/ua.lst".to_string())));
        assert_eq!(settings.variables[0].1, "[80,8080]");
    }

    #[test]
    fn what_is_wrong_has_a_place_and_the_nearest_name() {
        let cases = [
            ("flowz = 1\n", ":1:1: unknown setting `flowz`", "`flows`"),
            (
                "[stream]\n\n  midstraem = true\n",
                ":3:3: unknown setting `stream.midstraem`",
                "`stream.midstream`",
            ),
            (
                "[straem]\nmidstream = true\n",
                ":1:2: unknown setting `straem`",
                "`stream`",
            ),
            (
                "[run]\nmidstream = true\n",
                ":2:1: unknown setting `run.midstream`",
                "`stream.midstream`",
            ),
            (
                "[stream]\nmidstream = 3\n",
                ":2:13: stream.midstream: integer",
                "true or false",
            ),
            (
                "[stream]\nmidstream-policy = \"explode\"\n",
                "`explode` is none of",
                "words",
            ),
            ("flows = -1\n", ":1:9: flows: -1", "number"),
            ("flows = \n", ":1:9:", "TOML"),
            (
                "[run]\ninline = [[\"a\"]]\n",
                "a pair has two ports",
                "inside",
            ),
            ("vars = 3\n", ":1:8: `vars` is no table", "[vars]"),
            (
                "datasets = 3\n",
                ":1:12: `datasets` is no table",
                "[datasets.NAME]",
            ),
            (
                "[datasets.a]\ntyp = \"md5\"\n",
                ":2:1: unknown setting `datasets.a.typ`",
                "type, load",
            ),
            (
                "[datasets.a]\ntype = \"md4\"\n",
                ":2:8: datasets.a.type: `md4` is none of",
                "words",
            ),
        ];
        for (text, what, hint) in cases {
            let error = parse(text).unwrap_err();
            assert_eq!(error.code, exit::CONFIG, "{text}");
            assert!(error.text.contains(what), "{text}: {}", error.text);
            assert!(error.text.contains(hint), "{text}: {}", error.text);
        }
        let all = parse("flowz = 1\nrunn = 2\n").unwrap_err().text;
        assert_eq!(all.matches("unknown setting").count(), 2, "{all}");
    }
}
