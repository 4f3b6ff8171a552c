//! `sluice config import suricata.yaml`: Suricata's settings as ours.
//!
//! Every value of the file ends in exactly one of two lists: taken over, or left with the reason
//! why. What has the same name and meaning goes straight across (config/keys.rs); the rest is here:
//! variables, rule files, pairs of ports, and limits that are counted otherwise. Facts about
//! Suricata's keys are from its user guide ("Suricata.yaml", "Exception Policies").

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

mod events;
mod ports;
mod yaml;

use super::Failure;
use crate::config::foreign::reason;
use crate::config::keys::{DATASET_KEYS, DATASETS, KEYS, Kind, Reader, VARIABLES, key};
use ports::Ports;
use yaml::Leaf;

/// Bytes of Suricata's memory caps that we count as one flow, and as one inspected connection.
const FLOW_BYTES: u64 = 320;
const CONNECTION_BYTES: u64 = 256;
/// Folders that Suricata looks into unless its file says otherwise.
const DATA_DIR: &str = "/var/lib/suricata/data";
const REPUTATION_DIR: &str = "/etc/suricata/iprep";
const LOG_DIR: &str = "/var/log/suricata";

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
    let leaves = yaml::leaves(path)?;
    let mut work = Work::new(path, &leaves);
    for leaf in &leaves {
        match work.fate(leaf) {
            Fate::Key(name, value) => {
                work.taken += 1;
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

/// `yes` or `no`, in any of the words that Suricata takes for them.
fn switch(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Some("yes"),
        "no" | "false" | "off" | "0" => Some("no"),
        _ => None,
    }
}

/// An import under way.
struct Work {
    /// Values by key, as TOML.
    keys: BTreeMap<&'static str, String>,
    /// Those that stand whatever else is said of their keys.
    over: BTreeMap<&'static str, String>,
    variables: Vec<(String, String)>,
    /// Sets: name, key, value as TOML.
    datasets: Vec<(String, &'static str, String)>,
    ports: Ports,
    /// The event log among the outputs.
    events: events::Chosen,
    folder: PathBuf,
    /// Where Suricata looks for sets and reputations, and writes its logs.
    data_dir: String,
    reputation_dir: String,
    log_dir: String,
    /// Folder of stored files, where the event log does not lie in it.
    store_folder: Option<String>,
    taken: usize,
    left: Vec<String>,
    remarks: Vec<String>,
}

impl Work {
    fn new(path: &Path, leaves: &[Leaf]) -> Work {
        let group = |leaf: &Leaf| {
            let rest = leaf.path.strip_prefix("vars.")?;
            let (_, name) = rest.split_once('.')?;
            let text = match leaf.values.len() {
                1 => leaf.text(),
                _ => format!("[{}]", leaf.text()),
            };
            Some((name.to_string(), text))
        };
        let or = |name: &str, usual: &str| {
            let found = leaves.iter().find(|leaf| leaf.path == name);
            let given = found.map(Leaf::text).filter(|text| !text.is_empty());
            given.unwrap_or_else(|| usual.to_string())
        };
        let mut work = Work {
            keys: BTreeMap::new(),
            over: BTreeMap::new(),
            variables: leaves.iter().filter_map(group).collect(),
            datasets: Vec::new(),
            ports: Ports::of(leaves),
            events: events::Chosen::of(leaves),
            folder: path.parent().unwrap_or(Path::new("")).to_path_buf(),
            data_dir: or("default-data-dir", DATA_DIR),
            reputation_dir: or("default-reputation-path", REPUTATION_DIR),
            log_dir: or("default-log-dir", LOG_DIR),
            store_folder: None,
            taken: 0,
            left: Vec::new(),
            remarks: Vec::new(),
        };
        let (ports, remarks) = work.ports.setting();
        work.keys.extend(ports);
        work.remarks.extend(remarks);
        work
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
            "rule-files" => return Fate::Key("rules.files", list(&leaf.values)),
            "default-rule-path" => return Fate::Key("rules.path", quote(&text)),
            "classification-file" => return Fate::Key("rules.classification", quote(&text)),
            "reference-config-file" => return Fate::Key("rules.references", quote(&text)),
            "default-log-dir" => return Fate::Key("log.dir", quote(&text)),
            "default-reputation-path" | "default-data-dir" => return Fate::Used,
            "reputation-files" => {
                let below = |file: &String| below(&self.reputation_dir, file);
                let files: Vec<String> = leaf.values.iter().map(below).collect();
                return Fate::Key("reputation-files", quote(&files.join(",")));
            }
            "action-order" => return Fate::Key("action-order", quote(&text)),
            "flow.memcap" => return counted("flows", &text, FLOW_BYTES, &mut self.remarks),
            "stream.memcap" => {
                let key = "inspected-flows";
                return counted(key, &text, CONNECTION_BYTES, &mut self.remarks);
            }
            "stream.reassembly.memcap" if size_of_text(&text) == Some(0) => return no_limit(),
            "stats.interval" if text.parse::<u32>().is_ok() => {
                return Fate::Key("log.stats-interval", text);
            }
            "stats.enabled" if switch(&text) == Some("no") => {
                self.events.stats_off = true;
                return Fate::Used;
            }
            "capture.checksum-validation" => {
                self.no_checksums(text == "none");
                return Fate::Used;
            }
            "threading.set-cpu-affinity" if switch(&text).is_some() => {
                let pin = switch(&text) == Some("yes");
                return Fate::Key("run.pin", pin.to_string());
            }
            _ => {}
        }
        if let Some(own) = path.strip_prefix("datasets.") {
            return self.dataset(own, leaf);
        }
        if let Some(fate) = self.of_port(leaf) {
            return fate;
        }
        match key(path).filter(|key| key.reader == Reader::Engine) {
            Some(key) => self.across(key.name, leaf),
            None => Fate::Left(reason(path).to_string()),
        }
    }

    /// Checksums are not verified, or they are, whatever is said of it elsewhere.
    fn no_checksums(&mut self, off: bool) {
        self.over
            .insert("stream.checksum-validation", (!off).to_string());
    }

    /// What is said of a set: `NAME.load`.
    fn dataset(&mut self, own: &str, leaf: &Leaf) -> Fate {
        let left = || Fate::Left(reason(&leaf.path).to_string());
        let Some((name, what)) = own.rsplit_once('.') else {
            return left();
        };
        let known = DATASET_KEYS.iter().find(|(known, _)| *known == what);
        let (false, Some((what, kind))) = (["defaults", "limits", "rules"].contains(&name), known)
        else {
            return left();
        };
        let text = leaf.text();
        let value = match (kind, size_of_text(&text)) {
            (Kind::Path, _) => quote(&below(&self.data_dir, &text)),
            (Kind::Number | Kind::Bytes, Some(number)) => number.to_string(),
            (Kind::Number | Kind::Bytes, None) => return Fate::Left("no number".to_string()),
            _ => quote(&text),
        };
        self.datasets.push((name.to_string(), *what, value));
        Fate::Used
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

    /// Tables of sets.
    fn sets(&mut self, text: &mut String) {
        self.datasets.sort();
        let mut set = "";
        for (name, what, value) in &self.datasets {
            if name != set {
                text.push_str(&format!("\n[{DATASETS}.{}]\n", quote(name)));
                set = name;
            }
            text.push_str(&format!("{what} = {value}\n"));
        }
    }

    /// The file, keys in the reference's order.
    fn finish(mut self, path: &Path) -> Import {
        self.finish_events();
        self.finish_store();
        self.keys.append(&mut self.over);
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
        self.sets(&mut text);
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

/// A path seen from a folder.
fn below(folder: &str, path: &str) -> String {
    Path::new(folder).join(path).display().to_string()
}

fn size_of_text(text: &str) -> Option<u64> {
    crate::config::size("", text).ok()
}

/// A memory cap of 0.
fn no_limit() -> Fate {
    Fate::Left("0 is no limit there; here all memory is planned: the default stands".to_string())
}

/// A memory cap as a number of things.
fn counted(name: &'static str, text: &str, bytes: u64, remarks: &mut Vec<String>) -> Fate {
    match size_of_text(text) {
        Some(0) => no_limit(),
        Some(size) => {
            let number = (size / bytes).clamp(1024, u64::from(u32::MAX));
            remarks.push(format!(
                "a memory cap of {text} became {name} = {number} ({bytes} bytes each): Sluice \
                 counts them and takes the memory at start"
            ));
            Fate::Key(name, number.to_string())
        }
        None => Fate::Left("no size".to_string()),
    }
}
