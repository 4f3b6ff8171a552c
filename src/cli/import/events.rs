//! The event log among Suricata's outputs. Sluice writes one: the first that is switched on is taken
//! over, and the events of further ones are written to it, too. Its list of types becomes
//! `outputs.eve-log.types`, and what Suricata leaves out unless it is asked for stays out.

use std::path::Path;

use super::{Fate, Leaf, Work, below, list, quote, switch};
use crate::config::eve::{event_of, own};
use crate::config::foreign::reason;
use crate::config::keys::key;

/// The event log that is taken over.
#[derive(Default)]
pub(super) struct Chosen {
    /// Its place among the outputs.
    place: Option<String>,
    /// There are logs, and none is on.
    all_off: bool,
    /// Places of further ones that are on.
    further: Vec<String>,
    /// Events that they have, by our names, and the place of the log that named each first.
    types: Vec<(String, String)>,
    /// Events that are switched off in a log's list, and its place.
    off: Vec<(String, String)>,
    /// Counters are not told at all (`stats.enabled: no`).
    pub stats_off: bool,
}

/// Whether a switch is off.
fn is_off(text: &str) -> bool {
    switch(text) == Some("no")
}

/// What stands behind `outputs.N.eve-log.`, and N.
fn of_log(path: &str) -> Option<(&str, &str)> {
    let (place, rest) = path.strip_prefix("outputs.")?.split_once('.')?;
    Some((place, rest.strip_prefix("eve-log.")?))
}

impl Chosen {
    pub(super) fn of(leaves: &[Leaf]) -> Chosen {
        let logs = leaves.iter().filter_map(|leaf| of_log(&leaf.path));
        let has_logs = logs.clone().next().is_some();
        let is_on = |place: &str| {
            let name = format!("outputs.{place}.eve-log.enabled");
            let found = leaves.iter().find(|leaf| leaf.path == name);
            // As there, an output is off unless it says otherwise.
            found.is_some_and(|leaf| switch(&leaf.text()) == Some("yes"))
        };
        let mut on: Vec<String> = Vec::new();
        for (place, _) in logs.filter(|(place, _)| is_on(place)) {
            if !on.iter().any(|known| known == place) {
                on.push(place.to_string());
            }
        }
        let mut on = on.into_iter();
        Chosen {
            all_off: has_logs && on.len() == 0,
            place: on.next(),
            further: on.collect(),
            ..Chosen::default()
        }
    }

    /// Adds an event to the list; false if none has this name here.
    fn add(&mut self, place: &str, name: &str) -> bool {
        let event = event_of(name);
        let new = |event: &&str| !self.types.iter().any(|(known, _)| known == event);
        if let Some(event) = event.filter(new) {
            self.types.push((event.to_string(), place.to_string()));
        }
        event.is_some()
    }

    /// Whether the log at this place was the first to name an event.
    fn is_of(&self, event: &str, place: &str) -> bool {
        let mut types = self.types.iter();
        types.any(|(known, of)| known == event && of == place)
    }
}

impl Work {
    /// A value of an output; `path` is what stands behind `outputs.`.
    pub(super) fn output(&mut self, path: &str, leaf: &Leaf) -> Fate {
        let Some((place, rest)) = of_log(&leaf.path) else {
            // The store has keys of its own, whatever its place in the list.
            let (_, rest) = path.split_once('.').unwrap_or(("", path));
            return match key(rest).filter(|_| rest.starts_with("file-store.")) {
                Some(key) => self.across(key.name, leaf),
                None => Fate::Left(reason(&leaf.path).to_string()),
            };
        };
        let is_further = self.events.further.iter().any(|known| known == place);
        let chosen = self.events.place.as_deref();
        if !is_further && chosen.is_some_and(|chosen| chosen != place) {
            let why = "this log is off, and there is one event log";
            return Fate::Left(why.to_string());
        }
        let listed = rest.strip_prefix("types.").map(|rest| rest.split_once('.'));
        match listed {
            _ if rest == "types" => self.all_types(place, leaf),
            // A name alone.
            Some(None) => self.all_types(place, leaf),
            Some(Some((_, rest))) => self.one_type(place, rest, leaf),
            None if is_further => {
                let why = "there is one event log: the events of this one are written to it, too";
                Fate::Left(why.to_string())
            }
            None if rest == "filename" => self.filename(&leaf.text()),
            None => self.log_setting(leaf),
        }
    }

    /// The name of the log. A folder in it becomes the log folder.
    fn filename(&mut self, text: &str) -> Fate {
        let path = below(&self.log_dir, text);
        let path = Path::new(&path);
        let (Some(name), Some(folder)) = (path.file_name(), path.parent()) else {
            return Fate::Left("no name of a file".to_string());
        };
        if text.contains('%') {
            let why = "the log has one name, without the time in it: rotated from outside, it is \
                       opened anew by itself";
            return Fate::Left(why.to_string());
        }
        if folder != Path::new(&self.log_dir) {
            let folder = folder.display().to_string();
            self.over.insert("log.dir", quote(&folder));
            // Its place is not that of the log any more.
            self.store_folder = Some(self.log_dir.clone());
        }
        let name = name.to_string_lossy();
        Fate::Key("outputs.eve-log.filename", quote(&name))
    }

    fn all_types(&mut self, place: &str, leaf: &Leaf) -> Fate {
        let mut unknown = Vec::new();
        for name in &leaf.values {
            if !self.events.add(place, name) {
                unknown.push(name.as_str());
            }
        }
        match unknown.is_empty() {
            true => Fate::Used,
            false => Fate::Left(format!("no event is named {}", unknown.join(", "))),
        }
    }

    /// What an entry of the list says of itself: `dns.enabled`, `alert.payload`.
    fn one_type(&mut self, place: &str, rest: &str, leaf: &Leaf) -> Fate {
        let (name, setting) = rest.split_once('.').unwrap_or((rest, ""));
        let event = event_of(name).unwrap_or(name).to_string();
        let here = (event.clone(), place.to_string());
        if setting == "enabled" && is_off(&leaf.text()) {
            self.events.types.retain(|known| *known != here);
            self.events.off.push(here);
            return Fate::Used;
        }
        if !self.events.off.contains(&here) && !self.events.add(place, name) {
            return Fate::Left(format!("no event is named {name}"));
        }
        let is_second = self.events.further.iter().any(|known| known == place)
            && !self.events.is_of(&event, place);
        match setting {
            "" | "enabled" => Fate::Used,
            _ if leaf.values.iter().all(String::is_empty) => {
                Fate::Left("it has no value".to_string())
            }
            _ if is_second => {
                Fate::Left("there is one event log: what the first says of it stands".to_string())
            }
            "force-hash" if name == "files" => self.across("files.force-hash", leaf),
            _ => self.log_setting(leaf),
        }
    }

    fn log_setting(&mut self, leaf: &Leaf) -> Fate {
        let own = own(&leaf.path).unwrap_or_default();
        if own == "alert.metadata" {
            for part in ["app-layer", "flow", "rule.metadata"] {
                let name = format!("outputs.eve-log.alert.metadata.{part}");
                if let Some(key) = key(&name) {
                    self.keys
                        .insert(key.name, (!is_off(&leaf.text())).to_string());
                }
            }
            return Fate::Used;
        }
        match key(&format!("outputs.eve-log.{own}")) {
            Some(key) => self.across(key.name, leaf),
            None => Fate::Left(reason(&leaf.path).to_string()),
        }
    }

    /// Writes the list of events down, and where Suricata says less of one than Sluice.
    pub(super) fn finish_events(&mut self) {
        if !self.events.further.is_empty() {
            self.remarks.push(
                "several event logs: all events are written to one, the first's; who reads the \
                 others has to read this one"
                    .to_string(),
            );
        }
        if self.events.all_off {
            self.over
                .insert("outputs.eve-log.enabled", "false".to_string());
        }
        if self.events.stats_off {
            self.events.types.retain(|(known, _)| known != "stats");
        }
        let types: Vec<String> = self
            .events
            .types
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        if types.is_empty() {
            return;
        }
        for (event, name, usual) in [
            ("anomaly", "outputs.eve-log.anomaly.types.decode", "false"),
            ("anomaly", "outputs.eve-log.anomaly.types.stream", "false"),
            ("drop", "outputs.eve-log.drop.flows", "\"start\""),
        ] {
            if types.iter().any(|known| known == event)
                && let Some(key) = key(name)
            {
                self.keys
                    .entry(key.name)
                    .or_insert_with(|| usual.to_string());
            }
        }
        self.keys.insert("outputs.eve-log.types", list(&types));
    }

    /// The store of files stays where it is when the log goes elsewhere.
    pub(super) fn finish_store(&mut self) {
        let Some(folder) = self.store_folder.take() else {
            return;
        };
        if self
            .keys
            .get("file-store.enabled")
            .is_some_and(|on| on == "true")
        {
            let dir = self
                .keys
                .get("file-store.dir")
                .map(|dir| dir.trim_matches('"'));
            let dir = below(&folder, dir.unwrap_or("filestore"));
            self.keys.insert("file-store.dir", quote(&dir));
        }
    }
}
