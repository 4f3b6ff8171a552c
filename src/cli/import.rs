//! `sluice config import suricata.yaml`: Suricata's settings as ours.
//!
//! Every value of the file ends in exactly one of two lists: taken over, or left with the reason
//! why. What has the same name and meaning goes straight across (config/keys.rs); the rest is here:
//! variables, rule files, pairs of ports, and limits that are counted otherwise. Facts about
//! Suricata's keys are from its user guide ("Suricata.yaml", "Exception Policies").

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

mod events;

use super::{Failure, exit};
use crate::config::foreign::reason;
use crate::config::keys::{KEYS, Kind, Reader, VARIABLES, key};

/// Bytes of Suricata's memory caps that we count as one flow, and as one inspected connection.
const FLOW_BYTES: u64 = 320;
const CONNECTION_BYTES: u64 = 256;
/// Files that include each other end here.
const INCLUDES_MAX: usize = 32;

/// What came of a file.
#[derive(Debug, Default)]
pub struct Import {
    /// The sluice.toml.
    pub text: String,
    /// Values that were taken over.
    pub taken: usize,
    /// Values that were not: place, name, value and reason.
    pub left: Vec<String>,
    /// What the operator should look at.
    pub remarks: Vec<String>,
}

/// One value of the file: a scalar, or a list of scalars.
#[derive(Clone, Debug)]
struct Leaf {
    /// Names from the top, dotted; places in lists by number.
    path: String,
    values: Vec<String>,
    place: String,
}

impl Leaf {
    fn text(&self) -> String {
        self.values.join(", ")
    }
}

/// What becomes of a leaf.
enum Fate {
    /// Written as this key, with this TOML value.
    Key(&'static str, String),
    /// Taken into account elsewhere.
    Used,
    /// Left, and why.
    Left(String),
}

/// Reads a suricata.yaml.
///
/// # Errors
/// A file that cannot be read (6) or is no YAML (3).
pub fn import(path: &Path) -> Result<Import, Failure> {
    let mut leaves = Vec::new();
    read(path, &mut leaves, 0)?;
    let mut work = Work::new(path, &leaves);
    work.ports(&leaves);
    work.events = events::Chosen::of(&leaves);
    for leaf in &leaves {
        match work.fate(leaf) {
            Fate::Key(name, value) => {
                work.taken += 1;
                // As in Suricata, what comes later (an included file) stands.
                work.keys.insert(name, value);
            }
            Fate::Used => work.taken += 1,
            Fate::Left(why) => {
                let (place, name, text) = (&leaf.place, &leaf.path, leaf.text());
                work.left.push(format!("{place}: {name} = {text}: {why}"));
            }
        }
    }
    Ok(work.finish(path))
}

fn read(path: &Path, leaves: &mut Vec<Leaf>, depth: usize) -> Result<(), Failure> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let hint = "name a suricata.yaml that can be read";
        Failure::new(exit::INPUT, format!("{name}: {error}\n [hint] {hint}"))
    })?;
    let documents = MarkedYaml::load_from_str(&text).map_err(|error| {
        let hint = "is this a file that Suricata reads?";
        Failure::new(exit::CONFIG, format!("{name}: {error}\n [hint] {hint}"))
    })?;
    let from = leaves.len();
    for document in &documents {
        flatten("", document, &name, leaves);
    }
    let files: Vec<String> = leaves[from..]
        .iter()
        .filter(|leaf| leaf.path == "include")
        .flat_map(|leaf| leaf.values.clone())
        .collect();
    for file in files {
        if depth == INCLUDES_MAX {
            let text = format!("{name}: files include each other\n [hint] take one include out");
            return Err(Failure::new(exit::CONFIG, text));
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        read(&folder.join(file), leaves, depth + 1)?;
    }
    Ok(())
}

fn scalar(node: &MarkedYaml<'_>) -> Option<String> {
    Some(match &node.data {
        YamlData::Value(Scalar::Null) => String::new(),
        YamlData::Value(Scalar::Boolean(flag)) => flag.to_string(),
        YamlData::Value(Scalar::Integer(number)) => number.to_string(),
        YamlData::Value(Scalar::FloatingPoint(number)) => number.to_string(),
        YamlData::Value(Scalar::String(text)) => text.to_string(),
        YamlData::Representation(text, ..) => text.to_string(),
        YamlData::Tagged(_, node) => scalar(node)?,
        _ => return None,
    })
}

fn flatten(path: &str, node: &MarkedYaml<'_>, file: &str, leaves: &mut Vec<Leaf>) {
    let below = |name: &str| match path {
        "" => name.to_string(),
        path => format!("{path}.{name}"),
    };
    let mut leaf = |values: Vec<String>| {
        leaves.push(Leaf {
            path: path.to_string(),
            values,
            place: format!("{file}:{}", node.span.start.line()),
        });
    };
    match &node.data {
        YamlData::Mapping(map) => {
            for (name, value) in map {
                let name = scalar(name).unwrap_or_default();
                flatten(&below(&name), value, file, leaves);
            }
        }
        YamlData::Sequence(list) => match list.iter().map(scalar).collect() {
            Some(values) => leaf(values),
            None => {
                for (number, item) in list.iter().enumerate() {
                    flatten(&below(&number.to_string()), item, file, leaves);
                }
            }
        },
        YamlData::Tagged(_, node) => flatten(path, node, file, leaves),
        _ => leaf(vec![scalar(node).unwrap_or_default()]),
    }
}

/// `yes` or `no`, in any of the words that Suricata takes for them.
fn switch(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Some("yes"),
        "no" | "false" | "off" | "0" => Some("no"),
        _ => None,
    }
}

/// Ports of the capture sections.
#[derive(Default)]
struct Ports {
    pairs: Vec<[String; 2]>,
    taps: Vec<String>,
}

impl Ports {
    /// A direction of a pair; the other one says the same again.
    fn pair(&mut self, near: String, far: String) {
        let known = |pair: &[String; 2]| pair.contains(&near) && pair.contains(&far);
        if !self.pairs.iter().any(known) {
            self.pairs.push([near, far]);
        }
    }
}

/// An import under way.
struct Work {
    /// Values by key, as TOML.
    keys: BTreeMap<&'static str, String>,
    variables: Vec<(String, String)>,
    /// Entries of capture sections (`af-packet.0`, ...), and why no port was made of one.
    entries: BTreeMap<String, Option<&'static str>>,
    /// The event log among the outputs.
    events: events::Chosen,
    folder: PathBuf,
    taken: usize,
    left: Vec<String>,
    remarks: Vec<String>,
}

impl Work {
    fn new(path: &Path, leaves: &[Leaf]) -> Work {
        let group = |leaf: &Leaf| {
            let rest = leaf.path.strip_prefix("vars.")?;
            let (_, name) = rest.split_once('.')?;
            Some((name.to_string(), leaf.text()))
        };
        Work {
            keys: BTreeMap::new(),
            variables: leaves.iter().filter_map(group).collect(),
            entries: BTreeMap::new(),
            events: events::Chosen::default(),
            folder: path.parent().unwrap_or(Path::new("")).to_path_buf(),
            taken: 0,
            left: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// Pairs and taps of the capture sections.
    fn ports(&mut self, leaves: &[Leaf]) {
        let mut found = Ports::default();
        for (section, prefix) in [("af-packet", ""), ("netmap", "netmap:"), ("pcap", "")] {
            // Suricata's command line chooses a section; its own file has taps in all of them.
            let has_taps = !found.taps.is_empty();
            for number in 0.. {
                let entry = format!("{section}.{number}");
                let of = |name: &str| {
                    let wanted = format!("{entry}.{name}");
                    let found = leaves.iter().find(|leaf| leaf.path == wanted);
                    found.map(Leaf::text)
                };
                let Some(interface) = of("interface") else {
                    break;
                };
                if interface == "default" {
                    continue;
                }
                let name = |interface: &str| match interface.contains(':') {
                    true => interface.to_string(),
                    false => format!("{prefix}{interface}"),
                };
                let near = name(&interface);
                let why = match (of("copy-mode").as_deref(), of("copy-iface")) {
                    (Some("ips"), Some(far)) => {
                        found.pair(near, name(&far));
                        None
                    }
                    (Some(_), Some(_)) => Some("no mode that copies whatever the verdict is"),
                    _ if has_taps => Some("ports of a section before it are taken"),
                    _ => {
                        found.taps.push(near);
                        None
                    }
                };
                self.entries.insert(entry, why);
            }
        }
        if !found.pairs.is_empty() {
            let pairs: Vec<String> = found.pairs.iter().map(|pair| list(pair)).collect();
            let pairs = format!("[{}]", pairs.join(", "));
            self.keys.insert("run.inline", pairs);
            if !found.taps.is_empty() {
                self.remarks.push(format!(
                    "{} are watched only: one process is a gate or a tap; run a second one with \
                     --tap for them",
                    found.taps.join(", ")
                ));
            }
        } else if !found.taps.is_empty() {
            self.keys.insert("run.tap", list(&found.taps));
        }
    }

    fn fate(&mut self, leaf: &Leaf) -> Fate {
        let path = leaf.path.as_str();
        let text = leaf.text();
        // An entry of its list of events needs no value.
        if let Some(output) = path.strip_prefix("outputs.") {
            return self.output(output, leaf);
        }
        if leaf.values.iter().all(String::is_empty) {
            return Fate::Left("it has no value".to_string());
        }
        if path.starts_with("vars.address-groups.") || path.starts_with("vars.port-groups.") {
            return Fate::Used;
        }
        match path {
            "include" => return Fate::Used,
            "rule-files" => {
                let globs = leaf.values.iter().filter(|file| file.contains('*'));
                for glob in globs {
                    self.remarks
                        .push(format!("rule-files: {glob}: name each file, or a folder"));
                }
                return Fate::Key("rules.files", list(&leaf.values));
            }
            "default-rule-path" => return Fate::Key("rules.path", quote(&text)),
            "classification-file" => return Fate::Key("rules.classification", quote(&text)),
            "reference-config-file" => return Fate::Key("rules.references", quote(&text)),
            "default-log-dir" => return Fate::Key("log.dir", quote(&text)),
            "action-order" => return Fate::Key("action-order", quote(&text)),
            "flow.memcap" => return counted("flows", &text, FLOW_BYTES, &mut self.remarks),
            "stream.memcap" => {
                let key = "inspected-flows";
                return counted(key, &text, CONNECTION_BYTES, &mut self.remarks);
            }
            "stats.interval" => return Fate::Key("log.stats-interval", text),
            _ => {}
        }
        let capture = path.rsplit_once('.');
        if let Some((entry, name)) = capture
            && let Some(why) = self.entries.get(entry)
        {
            if let Some(why) = why {
                return Fate::Left(why.to_string());
            }
            return match name {
                "interface" | "copy-iface" | "copy-mode" => Fate::Used,
                "threads" => match text.parse::<u32>() {
                    Ok(lanes) => Fate::Key("run.lanes", lanes.to_string()),
                    Err(_) => Fate::Left("lanes are given as a number: run.lanes".to_string()),
                },
                _ => Fate::Left("the port sees to it itself".to_string()),
            };
        }
        match key(path).filter(|key| key.reader == Reader::Engine) {
            Some(key) => self.across(key.name, leaf),
            None => Fate::Left(reason(path).to_string()),
        }
    }

    /// A key of the same name and meaning.
    fn across(&self, name: &'static str, leaf: &Leaf) -> Fate {
        let Some(key) = key(name) else {
            return Fate::Left(reason(name).to_string());
        };
        let text = leaf.text();
        let lower = text.to_ascii_lowercase();
        let left = |what: &str| Fate::Left(what.to_string());
        let switch = switch(&text);
        match key.kind {
            Kind::Flag => match switch {
                Some(word) => Fate::Key(name, (word == "yes").to_string()),
                None => left("neither yes nor no"),
            },
            Kind::Number | Kind::Seconds => match text.parse::<u32>() {
                Ok(number) => Fate::Key(name, number.to_string()),
                Err(_) => left("no number"),
            },
            Kind::Bytes => match crate::config::size(name, &text) {
                Ok(size) if text.parse::<u64>().is_ok() => Fate::Key(name, size.to_string()),
                Ok(_) => Fate::Key(name, quote(&text.replace(' ', ""))),
                Err(_) => left("no size"),
            },
            Kind::Word(words) => {
                let word = switch.filter(|word| words.contains(word));
                let word = word.unwrap_or(&lower);
                match words.contains(&word) {
                    true => Fate::Key(name, quote(word)),
                    false => left("a word that Sluice does not know here"),
                }
            }
            Kind::Ports => match self.port_list(&text) {
                Some(ports) => Fate::Key(name, format!("[{}]", ports.join(", "))),
                None => left("no list of ports"),
            },
            Kind::Texts => Fate::Key(name, list(&leaf.values)),
            _ => Fate::Key(name, quote(&text)),
        }
    }

    /// Ports of a list that may name variables; `any` is an empty list.
    fn port_list(&self, text: &str) -> Option<Vec<String>> {
        let mut ports = Vec::new();
        for word in text.split([',', '[', ']', ' ']).filter(|w| !w.is_empty()) {
            let value = match word.strip_prefix('$') {
                Some(name) => {
                    let found = self.variables.iter().find(|(known, _)| known == name);
                    found.map(|(_, value)| value.clone())?
                }
                None => word.to_string(),
            };
            for port in value.split([',', '[', ']', ' ']).filter(|w| !w.is_empty()) {
                match port {
                    "any" => return Some(Vec::new()),
                    port => ports.push(port.parse::<u16>().ok()?.to_string()),
                }
            }
        }
        Some(ports)
    }

    /// The file, keys in the reference's order.
    fn finish(mut self, path: &Path) -> Import {
        self.finish_events();
        for name in ["rules.path", "rules.classification", "rules.references"] {
            // Suricata's paths are absolute, or relative to where it is started.
            let relative = |value: &&String| !value.starts_with("\"/");
            if let Some(value) = self.keys.get(name).filter(relative) {
                self.remarks.push(format!(
                    "{name} = {value} is relative: Sluice looks for it below {}",
                    match self.folder.as_os_str().is_empty() {
                        true => ".".to_string(),
                        false => self.folder.display().to_string(),
                    }
                ));
            }
        }
        let mut text = format!(
            "# Taken over from {} by `sluice config import`.\n\
             # `sluice config reference` tells what each key means and which others there are.\n",
            path.display()
        );
        let mut tables: Vec<&str> = Vec::new();
        let table_of = |name: &'static str| name.rsplit_once('.').unwrap_or(("", name));
        for key in KEYS {
            let (table, _) = table_of(key.name);
            if self.keys.contains_key(key.name) && !tables.contains(&table) {
                tables.push(table);
            }
        }
        tables.sort_by_key(|table| !table.is_empty());
        for table in tables {
            text.push('\n');
            if !table.is_empty() {
                text.push_str(&format!("[{table}]\n"));
            }
            for key in KEYS {
                let (of, name) = table_of(key.name);
                if let Some(value) = self.keys.get(key.name).filter(|_| of == table) {
                    text.push_str(&format!("{name} = {value}\n"));
                }
            }
        }
        if !self.variables.is_empty() {
            text.push_str(&format!("\n[{VARIABLES}]\n"));
            for (name, value) in &self.variables {
                text.push_str(&format!("{} = {}\n", quote(name), quote(value)));
            }
        }
        if !self.left.is_empty() {
            text.push_str("\n# Not taken over:\n");
            for line in &self.left {
                text.push_str(&format!("#   {}\n", line.replace('\n', " ")));
            }
        }
        Import {
            text,
            taken: self.taken,
            left: self.left,
            remarks: self.remarks,
        }
    }
}

fn quote(text: &str) -> String {
    toml::Value::String(text.to_string()).to_string()
}

fn list(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quote(value)).collect();
    format!("[{}]", quoted.join(", "))
}

/// A memory cap as a number of things.
fn counted(name: &'static str, text: &str, bytes: u64, remarks: &mut Vec<String>) -> Fate {
    match crate::config::size(name, text) {
        Ok(size) => {
            let number = (size / bytes).clamp(1024, u64::from(u32::MAX));
            remarks.push(format!(
                "a memory cap of {text} became {name} = {number} ({bytes} bytes each): Sluice \
                 counts them and takes the memory at start"
            ));
            Fate::Key(name, number.to_string())
        }
        Err(_) => Fate::Left("no size".to_string()),
    }
}
